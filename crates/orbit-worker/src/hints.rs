//! Follows the engine's events for as long as the worker lives.

use crate::input::Input;
use futures_util::StreamExt;
use orbit_core::worker::Owner;
use orbit_runtime::ContainerRuntime;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc::UnboundedSender;

/// How long to wait before an engine that went away is asked for its events again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(crate) async fn follow(runtime: Arc<dyn ContainerRuntime>, owner: Owner, inputs: UnboundedSender<Input>) {
    loop {
        let mut hints = runtime.hints(owner);
        orbit_shell::buggify().await;
        // What happened before this stream began is found by listing.
        if inputs.send(Input::HintsLost).is_err() {
            return;
        }
        while let Some(Ok(task)) = hints.next().await {
            if inputs.send(Input::Hint(task)).is_err() {
                return;
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

//! Blocking work that takes virtual time, so that a group gathers while another is written, and a
//! process can end before its write or after it.

use crate::machine::Machine;
use orbit_shell::BlockingExecutor;
use std::{
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::Duration,
};
use tokio::time::sleep;

/// Runs the work of one process on its machine.
pub(crate) struct SimulatedBlocking(pub Arc<Machine>);

impl BlockingExecutor for SimulatedBlocking {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let machine = self.0.clone();
        let (before, after) = (machine.latency(), machine.latency());
        // A task of its own, as a thread would be: it goes on when nobody waits for it any more, and
        // ends with its process.
        let running = tokio::spawn(async move {
            sleep(Duration::from_micros(before)).await;
            work();
            if machine.disk.is_cut() {
                // The process has ended in the middle of it.
                machine.ended(None);
                pending().await
            }
            sleep(Duration::from_micros(after)).await;
        });
        Box::pin(async move {
            running.await.expect("blocking work neither panics nor is cancelled");
        })
    }
}

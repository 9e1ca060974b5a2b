//! What reaches the driver from the tasks around it: from the manager handle and from the workers' sessions.

use orbit_core::{
    manager::{Request, SessionId},
    model::{Actor, Answer, Rejection, ToManager, ToWorker},
};
use tokio::sync::{mpsc, oneshot};

/// What a request got.
#[derive(Clone, Debug)]
pub struct Replied {
    /// The answer, or why not.
    pub result: Result<Answer, Rejection>,
    /// The cluster's revision when it was answered: for an accepted write, its own entry.
    pub revision: u64,
}

/// Looks at the machine between two steps: for the simulator's checks, and nobody else.
#[cfg(madsim)]
pub(crate) type Look = Box<dyn FnOnce(&orbit_core::manager::Manager, orbit_core::model::Time) + Send>;

/// One message to the driver.
#[allow(clippy::large_enum_variant, reason = "short-lived, one at a time")]
pub(crate) enum Input {
    Request(Actor, Request, oneshot::Sender<Replied>),
    #[cfg(madsim)]
    Inspect(Look),
    SessionOpened(SessionId, mpsc::Sender<ToWorker>),
    Message(SessionId, ToManager),
    SessionClosed(SessionId),
}

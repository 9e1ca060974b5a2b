//! What reaches the driver from the tasks around it: from connections, operations and the engine's hints.

use orbit_core::{
    model::{TaskId, ToManager, ToWorker},
    worker::{LinkId, OpId, OpResult},
};
use tokio::sync::mpsc;

/// One message to the driver.
pub(crate) enum Input {
    LinkUp(LinkId, mpsc::Sender<ToManager>),
    /// And why.
    LinkDown(LinkId, String),
    Message(LinkId, ToWorker),
    Done(OpId, OpResult),
    Hint(TaskId),
    HintsLost,
}

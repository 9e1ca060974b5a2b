//! The worker's memory of one task.

use crate::{DecodeError, error::*, v1};
use orbit_core::{
    model::Millis,
    worker::{LedgerTask, TimedFence},
};
use prost::Message;

/// What the ledger remembers of a task, as it stands in the worker's store.
pub fn encode_ledger_task(task: &LedgerTask) -> Vec<u8> {
    v1::LedgerTask::from(task).encode_to_vec()
}

/// Reads what the ledger remembers of a task.
///
/// # Errors
/// When the bytes are not that.
pub fn decode_ledger_task(bytes: &[u8]) -> std::result::Result<LedgerTask, DecodeError> {
    v1::LedgerTask::decode(bytes)?.try_into()
}

impl From<&LedgerTask> for v1::LedgerTask {
    fn from(t: &LedgerTask) -> Self {
        let fence = t.fence.map(|fence| v1::TimedFence { after_ms: fence.after.0, grace_ms: fence.grace.0 });
        let (end, container) = (t.end.as_ref().map(Into::into), t.container.clone());
        v1::LedgerTask { attempted: t.attempted, end, fence, fenced: t.fenced, container }
    }
}
impl TryFrom<v1::LedgerTask> for LedgerTask {
    type Error = DecodeError;
    fn try_from(t: v1::LedgerTask) -> Result<Self> {
        let fence = t.fence.map(|fence| TimedFence { after: Millis(fence.after_ms), grace: Millis(fence.grace_ms) });
        let end = maybe("end", t.end)?;
        Ok(LedgerTask { attempted: t.attempted, container: t.container, end, fence, fenced: t.fenced })
    }
}

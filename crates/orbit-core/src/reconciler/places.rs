//! Places: what serves is stopped for its successor only where the successor has a place.

use crate::model::{Task, Workload};

/// Where the tasks that follow others would run. The planner answers from the scheduler, with what it has promised to
/// others already.
pub trait Places {
    /// Whether a task of this version would find a node if `old`, which it follows in its slot, were gone. A place that is
    /// found is kept for it.
    fn is_there_for(&self, workload: &Workload, version: u32, old: &Task) -> bool;
}

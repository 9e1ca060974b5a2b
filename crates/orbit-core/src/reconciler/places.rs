//! Places: what serves is stopped for its successor only where the successor has a place, and its image is there.

use crate::model::{Task, Time, Workload};

/// Where the tasks that follow others would run. The planner answers from the scheduler, with what it has promised to
/// others already.
pub trait Places {
    /// Whether a task of this version would find a node if `old`, which it follows in its slot, were gone, and its image
    /// there. A place that has both is kept for it.
    fn find_for(&self, workload: &Workload, version: u32, old: &Task) -> Place;
}

/// What there is for a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A place, which is kept for it, with its image.
    Kept,
    /// No node would take it.
    Nowhere,
    /// A place, and a node that was asked for the image: look again at this time.
    ImageAwaited(Time),
    /// A place on a node that cannot have the image: that is tried again at this time.
    ImageFailed(Time),
}

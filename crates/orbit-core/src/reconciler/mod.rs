//! The reconciler: compares the desired with the actual state of a workload, slot by slot, and returns the changes.
//!
//! It takes the state, and never the event that woke it, so a lost or repeated wake-up cannot mislead
//! it. Reconciling a reconciled workload gives no change (invariant I24).
//!
//! Each kind has a file with a function of one signature ([`Reconcile`]), which decides which slots there shall be and
//! whose turn it is. What is done in one slot is the same for all kinds: `slot` classifies its tasks, and fills or
//! empties it. `budget` says whose turn it is, `places` whether the successor of what is stopped has a place, `rollout` says which version a slot gets, and `outage` when a task
//! of an unreachable node is replaced.

mod budget;
mod outage;
mod places;
mod rollout;
mod service;
mod slot;
mod task;

use crate::{model::*, state::Cluster};
pub use outage::{Outage, Outages, may_rerun};
pub use places::{Place, Places};
pub use rollout::{
    canaries, deadline, fails_fast, latest_settled_at, may_step, next_step, own, settled, stable_at, target,
};

/// How many ended attempts a slot keeps, for their logs and their reasons.
pub const HISTORY_MAX: usize = 3;

/// What decides besides the state: the time, and what happens to the tasks of unreachable nodes.
pub struct Context<'a> {
    /// The cluster's clock.
    pub at: Time,
    /// What happens to the tasks of each unreachable node.
    pub outages: &'a dyn Outages,
    /// Where the tasks that follow others would run.
    pub places: &'a dyn Places,
    /// The silence after which a task is replaced if its spec does not say.
    pub replace_after: Millis,
    /// How many new tasks may be made at most.
    pub creates_max: usize,
}

/// What to do for one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Slots that get a new task, each with its version and the newest attempt that was seen there. Ascending.
    pub creates: Vec<(u32, u32, Option<TaskId>)>,
    /// Tasks that are told to stop.
    pub stops: Vec<TaskId>,
    /// Slots whose task serves and would be stopped first, and goes on because the version that follows it has no place: the
    /// slot, that version, and the task.
    pub no_place: Vec<(u32, u32, TaskId)>,
    /// Ended tasks that are no longer remembered.
    pub removes: Vec<TaskId>,
    /// The slots from this one on are surplus and empty: they are cut off.
    pub trim: Option<u32>,
    /// Nothing is left of a deleted workload.
    pub drop: bool,
    /// The next step of its rollout.
    pub rollout: Option<RolloutStep>,
    /// Look again at this time, even if nothing happens.
    pub wake_at: Option<Time>,
    /// There is more to do than one plan holds.
    pub more: bool,
}

impl Changes {
    fn wake(&mut self, at: Time) {
        self.wake_at = Some(self.wake_at.map_or(at, |sooner| sooner.min(at)));
    }
}

/// Compares the desired with the actual state of a workload of one kind.
pub type Reconcile = fn(&Cluster, &Workload, &Context) -> Changes;

/// Compares the desired with the actual state of a workload.
pub fn reconcile(cluster: &Cluster, workload: &Workload, context: &Context) -> Changes {
    let of_kind: Reconcile = match workload.kind {
        Kind::Service => service::reconcile,
        Kind::Task => task::reconcile,
    };
    of_kind(cluster, workload, context)
}

//! What becomes of a task whose node is silent.

use super::{Millis, Rejection, check_span};

/// What becomes of a task whose node is not heard. It is part of what runs, and a change of it makes a new version:
/// so manager and node never differ about a task's fence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disconnect {
    /// It is replaced when its node has been silent for so long; `None`: as the manager is set.
    pub replace_after: Option<Millis>,
    /// Which of two stays when the node returns.
    pub keep: Keep,
    /// What has to be known before it is replaced.
    pub fence: Fence,
}

/// Which task of a slot stays when a silent node returns with one that was replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keep {
    /// The one that took its place, if it serves.
    #[default]
    Replacement,
    /// The one that was there before, if it serves.
    Original,
}

/// What keeps two tasks of one slot from running at the same time (invariants I7, I8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fence {
    /// Nothing: while a node is silent, both may.
    #[default]
    None,
    /// A node that has not heard of its manager for some time stops the task by itself, before it is replaced.
    Timed,
    /// It is replaced only when it was seen to have ended, or its node was forgotten.
    Confirmed,
}

impl Disconnect {
    /// How far the clocks of a node and of its manager may differ over a time: one part in so many.
    pub const DRIFT_PART: u64 = 10;
    /// How long it may take to kill what has not ended within its grace.
    pub const KILL_MARGIN: Millis = Millis::secs(2);

    /// After so long without an acknowledged heartbeat, counted from when that was sent, a node stops a task by itself,
    /// so that it has ended before it is replaced: what `replace_after` leaves when the grace, the kill and the
    /// difference of clocks are taken off. `None` where nothing is stopped.
    pub fn fenced_after(&self, grace: Millis) -> Option<Millis> {
        let replace_after = self.replace_after.filter(|_| self.fence == Fence::Timed)?;
        let drift = replace_after.0 / Disconnect::DRIFT_PART + 1;
        Some(Millis(replace_after.0.saturating_sub(drift + Disconnect::KILL_MARGIN.0).saturating_sub(grace.0)))
    }

    /// Checks what depends on the manager's settings: on how long a node may be silent before that means anything.
    ///
    /// # Errors
    /// The arithmetic that does not come out.
    pub fn validate_with(&self, lease: Millis, grace: Millis) -> Result<(), Rejection> {
        let Some(replace_after) = self.replace_after else { return Ok(()) };
        let fail = |message: String| Err(Rejection::invalid("disconnect.replace_after", message));
        if replace_after < lease {
            return fail(format!(
                "{replace_after} is shorter than the lease of {lease}: sooner nobody knows that a node is silent"
            ));
        }
        if self.fenced_after(grace).is_some_and(|fenced_after| fenced_after < lease) {
            let margin = Disconnect::KILL_MARGIN;
            let least = (lease.0 + grace.0 + margin.0 + 1) * Disconnect::DRIFT_PART / (Disconnect::DRIFT_PART - 1) + 1;
            return fail(format!(
                "with `fence: timed`, {replace_after} is too soon to know that the old task is gone: a lease of {lease}, \
                 a stop.grace of {grace}, {margin} to kill it, and a tenth for clocks that differ need at least {}",
                Millis(least.div_ceil(1000) * 1000)
            ));
        }
        Ok(())
    }

    pub(super) fn validate(&self) -> Result<(), Rejection> {
        match (self.replace_after, self.fence) {
            (Some(replace_after), _) => check_span("disconnect.replace_after", replace_after, 1000),
            (None, Fence::Timed) => {
                Err(Rejection::invalid("disconnect.replace_after", "`fence: timed` needs to know when it is replaced"))
            }
            (None, _) => Ok(()),
        }
    }
}

//! How a new version takes the place of the old one.

use super::{Millis, Rejection, check_span, limits};

/// How a new version of a service takes the place of the old one, slot by slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Update {
    /// So many slots at a time have a task of the new version beside the old one, which serves until
    /// the new one does.
    pub max_surge: u32,
    /// So many slots at a time may be without a task that serves, because the old one is stopped first.
    pub max_unavailable: u32,
    /// A new task counts once it has run for so long.
    pub min_healthy: Millis,
    /// So many slots come first, and the others follow when somebody has promoted them. None: all follow by themselves.
    pub canary: u32,
    /// A rollout fails in which for so long no more slots came to count than ever before. `None`: never.
    pub deadline: Option<Millis>,
    /// A rollout in which no slot became stable fails, too, when so many attempts of its version have failed, and there is
    /// a stable version to return to. 0: however many.
    pub max_failures: u32,
    /// What follows then.
    pub on_failure: OnFailure,
}

/// What becomes of a rollout that has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnFailure {
    /// It stands still where it is, until somebody says more.
    #[default]
    Pause,
    /// The last version that served in every slot takes its place back.
    Rollback,
}

impl OnFailure {
    /// Both, in order.
    pub const ALL: [OnFailure; 2] = [OnFailure::Pause, OnFailure::Rollback];
}

impl Update {
    /// One slot after the other, the old task beside the new one until that runs. What a definition means
    /// that does not say, because it was written before it could.
    pub const ONE_BY_ONE: Update = Update {
        max_surge: 1,
        max_unavailable: 0,
        min_healthy: Millis(0),
        canary: 0,
        deadline: None,
        max_failures: 0,
        on_failure: OnFailure::Pause,
    };

    pub(super) fn validate(&self) -> Result<(), Rejection> {
        let counts =
            [("max_surge", self.max_surge), ("max_unavailable", self.max_unavailable), ("canary", self.canary)];
        for (field, slots) in counts {
            if slots > limits::REPLICAS_MAX {
                let message = format!("{slots} is more than {}", limits::REPLICAS_MAX);
                return Err(Rejection::invalid(format!("update.{field}"), message));
            }
        }
        if self.max_surge == 0 && self.max_unavailable == 0 {
            let message = "no task could ever be replaced: with a max_surge of 0 it has to be at least 1";
            return Err(Rejection::invalid("update.max_unavailable", message));
        }
        check_span("update.min_healthy", self.min_healthy, 0)?;
        let Some(deadline) = self.deadline else { return Ok(()) };
        check_span("update.deadline", deadline, limits::DEADLINE_MS_MIN)?;
        if deadline <= self.min_healthy {
            let message = format!(
                "{deadline} is no longer than the min_healthy of {}: no task could count in time",
                self.min_healthy
            );
            return Err(Rejection::invalid("update.deadline", message));
        }
        Ok(())
    }
}

//! A rollout: one version of a service taking the place of another, as the log knows it.

use super::Time;

/// The newest rollout of a service, which brings its current version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// How far it has come.
    pub state: RolloutState,
    /// Since when.
    pub since: Time,
    /// Its deadline counts from here: the beginning, or when more slots had settled than ever before.
    pub progress_at: Time,
    /// So many had settled then.
    pub settled: u32,
    /// It goes on to all slots: it has no canaries, or they were promoted.
    pub promoted: bool,
    /// It takes the place back from this version, which failed.
    pub failed: Option<u32>,
    /// So many attempts of its version have failed since it began, or went on.
    pub failures: u32,
}

/// How far a rollout has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RolloutState {
    /// It goes from slot to slot.
    Running,
    /// Somebody wants it to stand still.
    Paused,
    /// Its canaries serve, and the other slots wait for somebody to promote them.
    Canary,
    /// Its deadline has passed, and it stands still.
    Failed,
    /// Every slot has settled.
    Done,
}

/// What the leader found of a rollout; written with its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RolloutStep {
    /// More slots have settled than ever before: its deadline begins anew.
    Extend,
    /// Its canaries have settled.
    AwaitPromotion,
    /// Its deadline has passed.
    Fail,
    /// Every slot has settled.
    Finish,
}

/// What somebody wants of a service's rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RolloutOrder {
    /// It stands still.
    Pause,
    /// It goes on, its deadline begins anew, and so do the failures that it may have.
    Resume,
    /// Its canaries are good: the other slots follow.
    Promote,
    /// An earlier version takes its place.
    Undo {
        /// Which; without one, the last one before it that served in every slot.
        to: Option<u32>,
    },
}

impl Rollout {
    /// It begins.
    pub fn begun(at: Time, promoted: bool) -> Rollout {
        Rollout {
            state: RolloutState::Running,
            since: at,
            progress_at: at,
            settled: 0,
            promoted,
            failed: None,
            failures: 0,
        }
    }
    /// It goes on, and its deadline begins anew.
    pub fn goes_on(self, at: Time) -> Rollout {
        Rollout { state: RolloutState::Running, since: at, progress_at: at, failures: 0, ..self }
    }
    /// Whether slots stay at the version that they have.
    pub fn is_held(&self) -> bool {
        matches!(self.state, RolloutState::Paused | RolloutState::Canary | RolloutState::Failed)
    }
}

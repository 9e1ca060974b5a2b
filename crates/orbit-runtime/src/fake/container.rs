//! A container of the fake engine, and what runs in it.

use crate::Identity;
use orbit_core::worker::{ContainerSpec, ContainerState};

/// What the containers of an image do once started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// Run until told to stop.
    #[default]
    Run,
    /// Run until told to stop, and then end well, with code 0.
    Polite,
    /// Print `stubborn`, run, and ignore the stop signal: only the kill after the grace ends it.
    Stubborn,
    /// End at once with this code.
    Exit(i32),
    /// Take more memory than it may, at once.
    OutOfMemory,
    /// Print `line 1` to `line n`, then run.
    Print(u32),
    /// There is no such program in the image: the start is refused.
    BadEntrypoint,
    /// The image's user is not known in it: each start fails, and the engine does not say whose fault that is.
    NoSuchUser,
    /// The image's working directory is a file: each create fails in the same way.
    NoSuchDirectory,
}

/// A container of the fake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeContainer {
    /// Given by the engine: the name that it was created with, and more where another had that.
    pub id: String,
    /// Its present name.
    pub name: String,
    /// What it was created from.
    pub spec: ContainerSpec,
    /// Read from its labels; `None` for a foreign one.
    pub identity: Option<Identity>,
    /// The labels of a foreign one that was made from one of ours, and carries them.
    pub copied: Option<Identity>,
    /// What it does.
    pub state: ContainerState,
    /// Somebody froze its process, which counts as running.
    pub paused: bool,
    /// Something ails it: it says no to every probe.
    pub unhealthy: bool,
    /// Its image brings a health check, which finds the same.
    pub health_check: bool,
    /// How often it said yes to one.
    pub yes: u64,
    /// What it runs.
    pub program: Program,
    /// Which bytes of it, where a registry knows them.
    pub digest: Option<String>,
    /// The ID of its image.
    pub image_id: String,
    /// What it wrote: (to standard error, the line without its end).
    pub lines: Vec<(bool, String)>,
}

/// What became of a task's containers over all time: the truth, whatever anyone believes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lives {
    /// How many containers were created for it.
    pub created: u32,
    /// How often one of them was started, by those who ask the engine.
    pub started: u32,
    /// How many were removed, by whom ever.
    pub removed: u32,
}

impl FakeContainer {
    /// What the health check of its image says; nothing where it has none, or nothing runs.
    pub fn image_health(&self) -> Option<bool> {
        (self.health_check && self.is_running()).then_some(!self.unhealthy)
    }
    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        self.state == ContainerState::Running
    }
    /// Whether it says yes to a probe: nobody froze it, and nothing ails it.
    pub fn is_well(&self) -> bool {
        !self.paused && !self.unhealthy
    }
    /// Its stop signal cannot be ignored.
    pub(super) fn is_killed_at_once(&self) -> bool {
        self.spec.stop_signal.as_deref() == Some("SIGKILL")
    }
}

//! A task: one attempt to fill a slot, on one node, once.

use super::{NodeId, ProbeKind, TaskId, Time, Uid};
use std::fmt;

/// Where a task is in its life. States only advance; see [`Task::advance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TaskState {
    /// Waits for a node.
    Pending,
    /// Has a node, which may not know of it yet.
    Assigned,
    /// The node fetches its image.
    Preparing,
    /// The node creates and starts its container.
    Starting,
    /// Its container runs.
    Running,
    /// Its container was sent the stop signal.
    Stopping,
    /// Ended by itself with exit code 0.
    Complete,
    /// Ended by itself otherwise, or could not be started.
    Failed,
    /// Ended because it was told to.
    Stopped,
    /// The node will not run it: trying again there would not help.
    Rejected,
    /// Its node was forgotten.
    Lost,
}

impl TaskState {
    /// All states, in order.
    pub const ALL: [TaskState; 11] = [
        TaskState::Pending,
        TaskState::Assigned,
        TaskState::Preparing,
        TaskState::Starting,
        TaskState::Running,
        TaskState::Stopping,
        TaskState::Complete,
        TaskState::Failed,
        TaskState::Stopped,
        TaskState::Rejected,
        TaskState::Lost,
    ];
    /// Whether the task has ended: nothing of it runs, and it holds nothing any more.
    pub fn is_terminal(self) -> bool {
        self >= TaskState::Complete
    }
    /// Whether a task may go from `self` to `next`: forward only, and never out of a terminal
    /// state (invariant I6).
    pub fn may_become(self, next: TaskState) -> bool {
        !self.is_terminal() && next > self
    }
    /// Lower-case text, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskState::Pending => "pending",
            TaskState::Assigned => "assigned",
            TaskState::Preparing => "preparing",
            TaskState::Starting => "starting",
            TaskState::Running => "running",
            TaskState::Stopping => "stopping",
            TaskState::Complete => "complete",
            TaskState::Failed => "failed",
            TaskState::Stopped => "stopped",
            TaskState::Rejected => "rejected",
            TaskState::Lost => "lost",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the manager wants of a task. Written by the manager alone, and it only advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Desired {
    /// It shall run.
    Running,
    /// It shall end; its container is kept for its logs.
    Stopped,
}

/// Why a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// Its process ended; see the exit code.
    Exited,
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// Somebody outside of Orbit killed it.
    Killed,
    /// It was told to stop.
    Stopped,
    /// Its image could not be had.
    PullFailed,
    /// Its image could not be had in time.
    PullTimeout,
    /// The engine would not create its container.
    CreateFailed,
    /// The engine would not start its container.
    StartFailed,
    /// A host port that was chosen for it is held by something else.
    PortTaken,
    /// The name of its container is held by something that is not ours.
    NameTaken,
    /// Its container was there, and is gone.
    Vanished,
    /// Its node was forgotten.
    NodeLost,
    /// Its node did not hear of its manager for so long that it may have been replaced, and stopped it.
    Fenced,
}

impl Reason {
    /// All reasons, in order.
    pub const ALL: [Reason; 13] = [
        Reason::Exited,
        Reason::OutOfMemory,
        Reason::Killed,
        Reason::Stopped,
        Reason::PullFailed,
        Reason::PullTimeout,
        Reason::CreateFailed,
        Reason::StartFailed,
        Reason::PortTaken,
        Reason::NameTaken,
        Reason::Vanished,
        Reason::NodeLost,
        Reason::Fenced,
    ];
    /// Stable text, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Exited => "exited",
            Reason::OutOfMemory => "out_of_memory",
            Reason::Killed => "killed",
            Reason::Stopped => "stopped",
            Reason::PullFailed => "pull_failed",
            Reason::PullTimeout => "pull_timeout",
            Reason::CreateFailed => "create_failed",
            Reason::StartFailed => "start_failed",
            Reason::PortTaken => "port_taken",
            Reason::NameTaken => "name_taken",
            Reason::Vanished => "vanished",
            Reason::NodeLost => "node_lost",
            Reason::Fenced => "fenced",
        }
    }
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    /// Why.
    pub reason: Reason,
    /// The process's exit code, where there was a process.
    pub exit_code: Option<i32>,
    /// The host port that was found to be held by something else, where the engine named it.
    pub port: Option<u16>,
    /// More, for a person; at most [`End::MESSAGE_BYTES_MAX`] bytes; may be empty.
    pub message: String,
}

impl End {
    /// Messages are cut here.
    pub const MESSAGE_BYTES_MAX: usize = 512;

    /// An end without an exit code.
    pub fn new(reason: Reason, message: impl Into<String>) -> End {
        End { reason, exit_code: None, port: None, message: cut(message.into()) }
    }
    /// The end of a process.
    pub fn exited(reason: Reason, exit_code: i32) -> End {
        End { reason, exit_code: Some(exit_code), port: None, message: String::new() }
    }
}

impl fmt::Display for End {
    /// `exited with code 1`, `pull_failed: no such image`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.reason.as_str())?;
        if let Some(code) = self.exit_code {
            write!(f, " with code {code}")?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// Cuts a message to [`End::MESSAGE_BYTES_MAX`] bytes, at a character's boundary.
pub fn cut(mut message: String) -> String {
    let end = (0..=End::MESSAGE_BYTES_MAX.min(message.len())).rev().find(|&i| message.is_char_boundary(i));
    message.truncate(end.unwrap_or(0));
    message
}

/// What the probes of a running task have found last: `None` where it is not known (yet). Unlike a state, it
/// goes to and fro.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probed {
    /// Whether its health probe passes.
    pub health: Option<bool>,
    /// Whether its readiness probe passes.
    pub ready: Option<bool>,
    /// What the health check says that its image brings, if it brings one. It is shown, and nothing follows from it: whoever
    /// made the image asked the engine, and not Orbit.
    pub image: Option<bool>,
}

impl Probed {
    /// What one of them has found.
    pub fn get(self, kind: ProbeKind) -> Option<bool> {
        match kind {
            ProbeKind::Health => self.health,
            ProbeKind::Ready => self.ready,
        }
    }
    /// With what one of them has found now.
    pub fn with(self, kind: ProbeKind, passes: bool) -> Probed {
        match kind {
            ProbeKind::Health => Probed { health: Some(passes), ..self },
            ProbeKind::Ready => Probed { ready: Some(passes), ..self },
        }
    }
    /// With newer findings; what they do not know stays. A node that was restarted knows nothing at first.
    pub fn updated(self, newer: Probed) -> Probed {
        let Probed { health, ready, image } = newer;
        Probed { health: health.or(self.health), ready: ready.or(self.ready), image: image.or(self.image) }
    }
}

/// One attempt to fill a slot. It never moves and never restarts: a new task fills the slot again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// Given in `apply`, never again.
    pub id: TaskId,
    /// The object it belongs to.
    pub workload: Uid,
    /// Which of the object's slots it fills.
    pub slot: u32,
    /// From which version of the object's spec it was made.
    pub version: u32,
    /// Where it runs: set once, for ever (invariant I5).
    pub node: Option<NodeId>,
    /// Grows with every order about this task, so that a worker can refuse an older one.
    pub generation: u32,
    /// What was observed.
    pub state: TaskState,
    /// What is wanted.
    pub desired: Desired,
    /// The node's ports, in the order of the spec's. Empty until it is placed.
    pub host_ports: Box<[u16]>,
    /// How it ended; present exactly when `state` is terminal.
    pub end: Option<Box<End>>,
    /// When it was created.
    pub created_at: Time,
    /// When it was first seen running.
    pub running_at: Option<Time>,
    /// What its probes have found.
    pub probed: Probed,
    /// Since when it runs and all of its probes pass. The end does not take it away.
    pub serving_since: Option<Time>,
    /// When it was seen to have ended.
    pub ended_at: Option<Time>,
    /// The attempt before this one in the same slot. An index, rebuilt on restore.
    pub(crate) older: Option<super::TaskKey>,
}

impl Task {
    /// Moves the observed state forward. The only place where it changes.
    ///
    /// Returns false, and changes nothing, where `next` is not ahead of the present state: a
    /// duplicate or a late report is ordinary input.
    pub(crate) fn advance(&mut self, next: TaskState, at: Time) -> bool {
        if !self.state.may_become(next) {
            return false;
        }
        self.state = next;
        if next == TaskState::Running {
            self.running_at = Some(at);
        }
        if next.is_terminal() {
            self.ended_at = Some(at);
        }
        true
    }

    /// Whether it holds its node's resources and ports: placed, and not *seen* to have ended. A
    /// task that was told to stop still holds them (invariants I1, I17).
    pub fn holds_resources(&self) -> bool {
        self.node.is_some() && !self.state.is_terminal()
    }

    /// Whether it runs and its probes pass.
    pub fn serves(&self) -> bool {
        self.state == TaskState::Running && self.serving_since.is_some()
    }

    /// Whether its health probe fails.
    pub fn is_unhealthy(&self) -> bool {
        self.state == TaskState::Running && self.probed.health == Some(false)
    }

    /// Whether a report says something that is not known.
    pub fn is_news(&self, report: &super::TaskReport) -> bool {
        let running = self.state == TaskState::Running && report.state == TaskState::Running;
        self.state.may_become(report.state) || (running && self.probed.updated(report.probed) != self.probed)
    }

    /// Whether it has failed before it ever ran: because of its image or its spec, or because of its node.
    pub fn could_not_start(&self) -> bool {
        const REASONS: [Reason; 4] =
            [Reason::PullFailed, Reason::PullTimeout, Reason::CreateFailed, Reason::StartFailed];
        let reason = self.end.as_ref().map(|end| end.reason);
        self.state == TaskState::Failed && self.running_at.is_none() && reason.is_some_and(|it| REASONS.contains(&it))
    }

    /// Whether it shall run and has not ended.
    pub fn is_live(&self) -> bool {
        self.desired == Desired::Running && !self.state.is_terminal()
    }
}

impl Task {
    /// The task without its index fields.
    pub(crate) fn bare(&self) -> Task {
        Task { older: None, ..self.clone() }
    }
    /// A task that nobody has seen yet: the rest of its fields are public.
    pub fn new(id: TaskId, workload: Uid, slot: u32, version: u32, at: Time) -> Task {
        Task {
            id,
            workload,
            slot,
            version,
            node: None,
            generation: 0,
            state: TaskState::Pending,
            desired: Desired::Running,
            host_ports: Box::default(),
            end: None,
            created_at: at,
            running_at: None,
            probed: Probed::default(),
            serving_since: None,
            ended_at: None,
            older: None,
        }
    }
}

//! One line of the history: what was done or happened, to what, for people.

use super::*;
use std::{fmt, sync::Arc};

/// Something that was done or happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HistoryEvent {
    /// Index of the entry that did it: the cluster's revision then.
    pub index: u64,
    /// The cluster's clock then.
    pub at: Time,
    /// By whom.
    pub actor: Actor,
    /// What.
    pub what: What,
    /// To which object.
    pub subject: Subject,
    /// To which of its tasks.
    pub task: Option<TaskId>,
    /// On which node.
    pub node: Option<NodeId>,
    /// That node's name then; empty without one. The node may have been forgotten since.
    pub node_name: Arc<str>,
    /// More, for a person; may be empty.
    pub message: String,
}

/// The object of an event. Its name may be another's by now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A service or a task definition.
    Workload(Kind, Uid, Arc<str>),
    /// A node, which the event names.
    Node,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum What {
    /// A workload was created.
    Created,
    /// A workload has a new version.
    Changed,
    /// A workload has another number of replicas.
    Scaled,
    /// A workload's tasks are replaced because somebody asked for it.
    Restarted,
    /// A workload was deleted.
    Deleted,
    /// Tasks of a workload find no node.
    Unplaced,
    /// A task was given its node.
    Placed,
    /// A task was seen running.
    Running,
    /// A task was told to stop.
    Stopping,
    /// A task ended with exit code 0.
    Complete,
    /// A task ended otherwise, or could not be started.
    Failed,
    /// A task ended because it was told to.
    Stopped,
    /// A task is not run by its node.
    Rejected,
    /// A task's node was given up.
    Lost,
    /// A node registered for the first time.
    Joined,
    /// A node is not heard.
    Unreachable,
    /// A node is heard again.
    Returned,
    /// A node was given up.
    Forgotten,
    /// A node takes no more tasks.
    Cordoned,
    /// A node's tasks shall go.
    Draining,
    /// A node takes tasks again.
    Uncordoned,
    /// The last task of a node that was being drained is gone.
    Drained,
    /// All probes of a task pass.
    Ready,
    /// A probe of a task that served fails.
    Unready,
    /// A task's health probe fails: it is replaced.
    Unhealthy,
    /// The current version of a service serves in every slot.
    RolledOut,
    /// A rollout's canaries serve: it waits for somebody to promote them.
    Canary,
    /// A rollout goes on to all slots.
    Promoted,
    /// A rollout stands still because somebody wants it to.
    Paused,
    /// A rollout goes on.
    Resumed,
    /// A rollout's deadline has passed, and it stands still.
    RolloutFailed,
    /// A rollout's deadline has passed, and the stable version takes its place back.
    RolledBack,
    /// Somebody wants an earlier version of a service back.
    Undone,
    /// It is known by now what the image of a version means.
    Resolved,
    /// Tasks could not be started on a node: they go elsewhere for a while.
    Avoided,
    /// A node cannot have the image of a version: what serves there goes on.
    ImageFailed,
    /// A node's disk is full: it takes no more tasks.
    DiskFull,
    /// A node's disk has room again.
    DiskHasRoom,
    /// A node has tasks that a restored state does not know: they are left alone.
    UnknownTasks,
    /// A task of a version runs another build of its image than the first one, because no registry says which it is.
    ImageDiffers,
    /// An operator wants nothing more of a volume's data.
    VolumeRemoved,
}

impl What {
    /// All, in order.
    pub const ALL: [What; 41] = [
        What::Created,
        What::Changed,
        What::Scaled,
        What::Restarted,
        What::Deleted,
        What::Unplaced,
        What::Placed,
        What::Running,
        What::Stopping,
        What::Complete,
        What::Failed,
        What::Stopped,
        What::Rejected,
        What::Lost,
        What::Joined,
        What::Unreachable,
        What::Returned,
        What::Forgotten,
        What::Cordoned,
        What::Draining,
        What::Uncordoned,
        What::Drained,
        What::Ready,
        What::Unready,
        What::Unhealthy,
        What::RolledOut,
        What::Canary,
        What::Promoted,
        What::Paused,
        What::Resumed,
        What::RolloutFailed,
        What::RolledBack,
        What::Undone,
        What::Resolved,
        What::Avoided,
        What::ImageFailed,
        What::DiskFull,
        What::DiskHasRoom,
        What::UnknownTasks,
        What::ImageDiffers,
        What::VolumeRemoved,
    ];

    /// Stable text, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Created => "created",
            What::Changed => "changed",
            What::Scaled => "scaled",
            What::Restarted => "restarted",
            What::Deleted => "deleted",
            What::Unplaced => "unplaced",
            What::Placed => "placed",
            What::Running => "running",
            What::Stopping => "stopping",
            What::Complete => "complete",
            What::Failed => "failed",
            What::Stopped => "stopped",
            What::Rejected => "rejected",
            What::Lost => "lost",
            What::Joined => "joined",
            What::Unreachable => "unreachable",
            What::Returned => "returned",
            What::Forgotten => "forgotten",
            What::Cordoned => "cordoned",
            What::Draining => "draining",
            What::Uncordoned => "uncordoned",
            What::Drained => "drained",
            What::Ready => "ready",
            What::Unready => "unready",
            What::Unhealthy => "unhealthy",
            What::RolledOut => "rolled_out",
            What::Canary => "canary",
            What::Promoted => "promoted",
            What::Paused => "paused",
            What::Resumed => "resumed",
            What::RolloutFailed => "rollout_failed",
            What::RolledBack => "rolled_back",
            What::Undone => "undone",
            What::Resolved => "resolved",
            What::Avoided => "avoided",
            What::ImageFailed => "image_failed",
            What::DiskFull => "disk_full",
            What::DiskHasRoom => "disk_has_room",
            What::UnknownTasks => "unknown_tasks",
            What::ImageDiffers => "image_differs",
            What::VolumeRemoved => "volume_removed",
        }
    }

    /// Whether a person should look at it.
    pub fn is_warning(self) -> bool {
        matches!(
            self,
            What::Unplaced
                | What::Failed
                | What::Rejected
                | What::Lost
                | What::Unreachable
                | What::Unready
                | What::Unhealthy
                | What::RolloutFailed
                | What::RolledBack
                | What::Avoided
                | What::ImageFailed
                | What::DiskFull
                | What::UnknownTasks
                | What::ImageDiffers
        )
    }

    /// What the end of a task is; nothing for a state that is no end.
    pub(crate) fn end(state: TaskState) -> Option<What> {
        match state {
            TaskState::Complete => Some(What::Complete),
            TaskState::Failed => Some(What::Failed),
            TaskState::Stopped => Some(What::Stopped),
            TaskState::Rejected => Some(What::Rejected),
            TaskState::Lost => Some(What::Lost),
            _ => None,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

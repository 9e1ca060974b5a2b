//! What a container is made from and how it is told to stop: the same for all kinds of workloads.

use super::Millis;

/// When a task's image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pull {
    /// When its node does not have it.
    #[default]
    Missing,
    /// Before every task, in case the registry has another one under the same tag.
    Always,
    /// Never: a node that does not have it cannot run the task.
    Never,
}

impl Pull {
    /// All policies, in order.
    pub const ALL: [Pull; 3] = [Pull::Missing, Pull::Always, Pull::Never];
}

/// A port of the container that is published on the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Unique within the spec.
    pub name: String,
    /// The port inside the container.
    pub container: u16,
    /// The node's port; `None` lets the scheduler choose one from the node's range.
    pub host: Option<u16>,
}

/// How a container is told to stop: the task has left its service's endpoints when the delay begins, and the
/// kill follows the grace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stop {
    /// Between the order to stop and the signal: whoever has the endpoints has the time to hear of it.
    pub delay: Millis,
    /// `SIGQUIT`, for example; `None` is the image's own.
    pub signal: Option<String>,
    /// Between the signal and the kill.
    pub grace: Millis,
}

impl Stop {
    /// The image's signal at once, and the kill after this grace.
    pub const fn within(grace: Millis) -> Stop {
        Stop { delay: Millis(0), signal: None, grace }
    }
}

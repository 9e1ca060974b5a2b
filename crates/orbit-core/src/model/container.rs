//! A container as its user describes it: what it is made from, what it may use, how it is asked whether it is well and
//! how it is told to stop. The same for all kinds of workloads.

use super::{
    Limits, Millis, Port, Probed, Probes, Resources, Setup,
    limits::{map_bytes, words_bytes},
};
use std::collections::BTreeMap;

/// The container of a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// The image's reference as Docker reads it.
    pub image: String,
    /// When it is pulled.
    pub pull: Pull,
    /// Overrides the image's entrypoint where it is not empty.
    pub command: Vec<String>,
    /// Overrides the image's arguments where it is not empty.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Requests: what is set aside for it on its node.
    pub resources: Resources,
    /// What it may take at most.
    pub limits: Limits,
    /// Limit on processes and threads.
    pub pids_max: u32,
    /// Published ports.
    pub ports: Vec<Port>,
    /// How it is told to stop.
    pub stop: Stop,
    /// How it is asked whether it is well while it runs.
    pub probes: Probes,
    /// What it does not leave as the image and the engine have it.
    pub setup: Setup,
}

impl Container {
    /// About how many bytes its texts and ports take in a message, without the probes.
    pub(super) fn bytes(&self) -> usize {
        let words = words_bytes(&self.command) + words_bytes(&self.args);
        self.image.len() + self.ports.len() * 32 + words + map_bytes(&self.env) + self.setup.bytes()
    }
    /// Without what only a start needs.
    pub(super) fn without_contents(&self) -> Container {
        let (command, args, env, setup) = (Vec::new(), Vec::new(), BTreeMap::new(), Setup::default());
        Container { command, args, env, setup, ..self.clone() }
    }

    /// Whether a port of the node is pinned: then two tasks never fit on one node, and a
    /// replacement has to wait until its predecessor is seen gone.
    pub fn pins_host_port(&self) -> bool {
        self.ports.iter().any(|port| port.host.is_some())
    }

    /// Whether it serves, while it runs, when its probes have found this.
    pub fn is_served_with(&self, probed: Probed) -> bool {
        self.probes.iter().all(|(kind, _)| probed.get(kind) == Some(true))
    }
}

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

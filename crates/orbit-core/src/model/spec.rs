//! What a user asks for: the content of a manifest in the core's own units.

use super::{
    Disconnect, Fence, Kind, Millis, Placement, Port, Probed, Probes, Pull, Resources, Restart, Stop, Update,
    limits::{map_bytes, words_bytes},
};
use std::collections::BTreeMap;

/// An object as its user submitted it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Definition {
    /// Service or task definition.
    pub kind: Kind,
    /// Unique among the living objects of its kind.
    pub name: String,
    /// For selection by people; changing them replaces nothing.
    pub labels: BTreeMap<String, String>,
    /// How many slots are kept filled. A task definition has exactly one.
    pub replicas: u32,
    /// How a new version takes the place of the old one. Changing it replaces nothing.
    pub update: Update,
    /// What runs in a slot. A change makes a new version, whose tasks replace the old ones.
    pub spec: Spec,
}

/// What runs in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
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
    /// Requests, which are the limits as well.
    pub resources: Resources,
    /// Limit on processes and threads.
    pub pids_max: u32,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Where tasks may and should run.
    pub placement: Placement,
    /// What follows when a task ends by itself.
    pub restart: Restart,
    /// How a container is told to stop.
    pub stop: Stop,
    /// How a running task is asked whether it is well.
    pub probes: Probes,
    /// What follows when its node is not heard.
    pub disconnect: Disconnect,
}

impl Spec {
    /// About how many bytes it takes in a message.
    pub fn bytes(&self) -> usize {
        let words = words_bytes(&self.command) + words_bytes(&self.args);
        256 + self.image.len() + self.ports.len() * 32 + words + map_bytes(&self.env)
    }
    /// Without what only a start needs: for a node that keeps no more than the logs of a task.
    pub fn without_contents(&self) -> Spec {
        Spec { command: Vec::new(), args: Vec::new(), env: BTreeMap::new(), ..self.clone() }
    }

    /// Whether a port of the node is pinned: then two tasks never fit on one node, and a
    /// replacement has to wait until its predecessor is seen gone.
    pub fn pins_host_port(&self) -> bool {
        self.ports.iter().any(|port| port.host.is_some())
    }

    /// Whether two tasks of a slot may never run at the same time, as far as it is known: then the old one has to be seen
    /// gone before another is made.
    pub fn runs_alone(&self) -> bool {
        self.pins_host_port() || self.disconnect.fence != Fence::None
    }

    /// After so long without an acknowledged heartbeat a node stops a task of this spec by itself.
    pub fn fenced_after(&self) -> Option<Millis> {
        self.disconnect.fenced_after(self.stop.grace)
    }

    /// Whether a running task serves whose probes have found this.
    pub fn is_served_with(&self, probed: Probed) -> bool {
        self.probes.iter().all(|(kind, _)| probed.get(kind) == Some(true))
    }
}

//! What a user asks for: the content of a manifest in the core's own units.

use super::{
    After, Container, Disconnect, Fence, Grant, HostAccess, Kind, Millis, Placement, Port, Restart, Setup, Update,
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

/// What a spec may say at most, as this version of Orbit understands it: 1 has [`Setup`], and ports of other
/// protocols and addresses; 2 has what asks for the word of a node's operator, and [`Network`](super::Network); 3 has
/// [volumes](super::VolumeMount).
pub const SPEC_LEVEL: u32 = 3;

/// What runs in a slot, where, and what follows when it ends or its node is silent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// The container of each task.
    pub container: Container,
    /// Where tasks may and should run.
    pub placement: Placement,
    /// What follows when a task ends by itself.
    pub restart: Restart,
    /// What follows when its node is not heard.
    pub disconnect: Disconnect,
    /// What has to be there before its tasks are placed, as long as this version has not been stable.
    pub after: Vec<After>,
}

impl Spec {
    /// What a worker has to understand at least to carry it out in full, as in [`SPEC_LEVEL`]. Limits of their own do not count:
    /// an older worker takes the request for the limit, as it always did, and an update of Orbit is not held up by that.
    pub fn level(&self) -> u32 {
        let Container { setup, ports, .. } = &self.container;
        match () {
            () if !setup.volumes.is_empty() => 3,
            () if setup.host != HostAccess::default() || setup.capabilities_beyond().next().is_some() => 2,
            () if *setup != Setup::default() || !ports.iter().all(Port::is_plain) => 1,
            () => 0,
        }
    }
    /// Everything that it asks of the operator of its node, in order.
    pub fn asks(&self) -> Vec<Grant> {
        self.container.setup.asks()
    }
    /// About how many bytes it takes in a message.
    pub fn bytes(&self) -> usize {
        256 + self.container.bytes() + self.after.iter().map(|it| it.name.len() + 8).sum::<usize>()
    }
    /// Without what only a start needs: for a node that keeps no more than the logs of a task.
    pub fn without_contents(&self) -> Spec {
        Spec { container: self.container.without_contents(), ..self.clone() }
    }

    /// Whether two tasks of a slot may never run at the same time, as far as it is known: then the old one has to be seen
    /// gone before another is made.
    pub fn runs_alone(&self) -> bool {
        let setup = &self.container.setup;
        let has_exclusive = || setup.volume_uses().exclusive().is_some();
        self.container.pins_host_port() || self.disconnect.fence != Fence::None || has_exclusive()
    }

    /// After so long without an acknowledged heartbeat a node stops a task of this spec by itself.
    pub fn fenced_after(&self) -> Option<Millis> {
        self.disconnect.fenced_after(self.container.stop.grace)
    }
}

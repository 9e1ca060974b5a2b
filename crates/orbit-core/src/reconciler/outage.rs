//! Outages: what happens to the tasks of an unreachable node, and when.

use crate::model::{Fence, Millis, NodeId, Spec, Time};
use std::collections::BTreeMap;

/// Which nodes are unreachable, and what follows for their tasks. The reconciler asks node by node, because most
/// questions are about a few nodes of many.
pub trait Outages {
    /// `None` if the node is reachable.
    fn of(&self, node: NodeId) -> Option<Outage>;
}

impl<F: Fn(NodeId) -> Option<Outage>> Outages for F {
    fn of(&self, node: NodeId) -> Option<Outage> {
        self(node)
    }
}

impl Outages for BTreeMap<NodeId, Outage> {
    fn of(&self, node: NodeId) -> Option<Outage> {
        self.get(&node).copied()
    }
}

/// What happens to the tasks of an unreachable node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Each task is replaced once its node has been silent for as long as its spec says, unless the node returns
    /// before.
    Silent {
        /// From when the silence counts: the last message, or the last re-arming or release by the brake if that is
        /// later.
        since: Time,
    },
    /// An operator drains the node, so the tasks are replaced without waiting for the silence to last.
    Drained {
        /// As above.
        since: Time,
        /// The beginning of the drain, or the end of the lease if that is later.
        at: Time,
    },
    /// The brake holds, because too many nodes fell silent together: nothing is replaced until it releases the node.
    Braked,
}

impl Outage {
    /// When a task of this spec is replaced, unless its node returns before. `None` if silence alone does not replace
    /// it.
    pub fn replace_at(self, spec: &Spec, replace_after: Millis) -> Option<Time> {
        let replace_after = spec.disconnect.replace_after.unwrap_or(replace_after);
        match (self, spec.disconnect.fence) {
            (_, Fence::Confirmed) => None,
            (Outage::Braked, _) => None,
            (Outage::Silent { since }, _) => Some(since + replace_after),
            // A drain does not stop what runs on an unreachable node: the timed fence has to pass first.
            (Outage::Drained { since, at }, Fence::Timed) => Some(at.max(since + replace_after)),
            (Outage::Drained { at, .. }, _) => Some(at),
        }
    }
}

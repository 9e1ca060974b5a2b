//! What becomes of the tasks of an unreachable node, and when.

use crate::{
    model::{Fence, Millis, NodeId, Spec, Time},
    planted::{Bug, planted},
};
use std::collections::BTreeMap;

/// Which nodes are unreachable, and what follows for their tasks. Asked node by node, because most
/// questions are about a few nodes of many.
pub trait Outages {
    /// `None` where the node is reachable.
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

/// What becomes of the tasks of an unreachable node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Each is replaced when its node has been silent for as long as its spec says, from this time on, unless the node
    /// returns.
    Silent {
        /// The last that was heard, or the last time that its silence was held against nobody.
        since: Time,
    },
    /// Draining it was an operator's word that they shall run elsewhere, from this time on.
    Drained {
        /// As above.
        since: Time,
        /// The drain's beginning, or the end of the lease.
        at: Time,
    },
    /// Too many nodes fell silent together: they are left alone until some return.
    Braked,
}

impl Outage {
    /// When a task of this spec is replaced, unless its node returns; `None` where that does not follow from silence.
    pub fn replace_at(self, spec: &Spec, replace_after: Millis) -> Option<Time> {
        let replace_after = spec.disconnect.replace_after.unwrap_or(replace_after);
        match (self, spec.disconnect.fence) {
            (_, Fence::Confirmed) if !planted(Bug::ConfirmedIsReplaced) => None,
            (Outage::Braked, _) => None,
            (Outage::Silent { since }, _) => Some(since + replace_after),
            // An operator's word does not stop what runs there.
            (Outage::Drained { since, at }, Fence::Timed) if !planted(Bug::DrainBeforeFence) => {
                Some(at.max(since + replace_after))
            }
            (Outage::Drained { at, .. }, _) => Some(at),
        }
    }
}

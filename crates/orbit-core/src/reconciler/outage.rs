//! Outages: what happens to the tasks of an unreachable node, and when.

use super::Context;
use crate::{
    model::{Desired, Fence, Millis, Node, NodeId, RestartPolicy, Slot, Spec, Task, Time, Workload},
    state::Cluster,
};
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

/// Whether a task of this workload may run again elsewhere while it is not known to have ended. Under the
/// restart policy `never` it may not, because it may still be running.
pub fn may_rerun(workload: &Workload) -> bool {
    workload.current().spec.restart.policy != RestartPolicy::Never
}

/// Whether a task is given up although it is not known to have ended: its node has been silent for too long, or
/// the task was already replaced in this silence, with or without success. A replacement is not taken back when a
/// leader that is new or was paused gives the node more time, because it would only be made again later.
pub(super) fn is_given_up(cluster: &Cluster, workload: &Workload, slot: &Slot, task: &Task, context: &Context) -> bool {
    let silent_for_too_long = || replace_at(cluster, task, context).is_some_and(|at| at <= context.at);
    // Only in this silence: a replacement of an earlier silence ended at the latest when the node returned.
    let silent_since = cluster.node_of(task).and_then(Node::silent_since);
    let in_this_silence = |newer: &Task| silent_since.is_some_and(|since| newer.created_at >= since);
    let replaced = || {
        let mut newer = cluster.attempts(slot).take_while(|newer| newer.id != task.id);
        // A task that was told to stop replaces no other.
        let replaces = |newer: &Task| newer.version == task.version && newer.desired == Desired::Running;
        newer.any(|newer| replaces(newer) && in_this_silence(newer))
    };
    may_rerun(workload) && is_absent(task, context) && (silent_for_too_long() || replaced())
}

/// Whether the node of a task is unreachable.
pub(super) fn is_absent(task: &Task, context: &Context) -> bool {
    task.node.is_some_and(|node| context.outages.of(node).is_some())
}

/// When a task is replaced because its node is unreachable, unless the node returns before.
pub(super) fn replace_at(cluster: &Cluster, task: &Task, context: &Context) -> Option<Time> {
    let outage = context.outages.of(task.node?)?;
    outage.replace_at(cluster.spec_of(task), context.replace_after)
}

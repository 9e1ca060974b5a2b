//! Leases: who was heard when, and what follows from silence.
//!
//! Heartbeats touch memory only. What is proposed are the edges: a node was lost from sight, a node
//! is back. A new leader, and one that was asleep itself, re-arms every lease in full, so that its
//! own absence is never held against a node.

use crate::{
    model::*,
    planted::{Bug, planted},
    reconciler::Absence,
    state::Cluster,
};
use std::collections::{BTreeMap, BTreeSet};

/// When each node was heard last. Memory of the leader.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    heard: BTreeMap<NodeId, Time>,
    /// When all leases were re-armed last.
    rearmed_at: Time,
    /// No lease ends before this time: between two looks it costs nothing to ask.
    next_look: Time,
    /// The nodes for which the brake holds.
    braked: BTreeSet<NodeId>,
    /// When the brake let go of each silent node.
    released_at: BTreeMap<NodeId, Time>,
}

impl Leases {
    /// Every lease begins anew.
    pub fn rearm(&mut self, now: Time, timing: &Timing) {
        self.rearmed_at = now;
        self.heard.clear();
        self.next_look = now + timing.lease;
    }

    /// The nodes that are there have changed. Those of which the brake lets go have all their time
    /// once more: when many return, the last ones are most likely on their way (invariant I32).
    pub fn nodes_changed(&mut self, cluster: &Cluster, now: Time, timing: &Timing) {
        let total = if planted(Bug::BrakeCountsForgotten) { cluster.nodes.len() } else { cluster.nodes().count() };
        let known = silent(cluster);
        // While nobody watched, any number may have fallen silent together. Only of those that were
        // given up before, each for itself, is it known that they have nothing to do with that.
        let watched = |(i, &(since, node)): (usize, &(Time, NodeId))| {
            let from = since.max(self.released_at.get(&node).copied().unwrap_or_default());
            let was_braked = self.braked.contains(&node) && !planted(Bug::BrakeForgottenInSleep);
            let long_ago = from + timing.replace_after <= self.rearmed_at;
            let given_up = long_ago && !was_braked && !braked(&known, i, total, timing.lease);
            (if given_up { since } else { since.max(self.rearmed_at) }, node)
        };
        let mut silent: Vec<(Time, NodeId)> = known.iter().enumerate().map(watched).collect();
        silent.sort_unstable();
        let holds = |(i, _): &(usize, &(Time, NodeId))| braked(&silent, *i, total, timing.lease);
        let held: BTreeSet<NodeId> = silent.iter().enumerate().filter(holds).map(|(_, (_, node))| *node).collect();
        self.released_at.retain(|node, _| silent.iter().any(|(_, id)| id == node));
        self.released_at.extend(self.braked.difference(&held).map(|node| (*node, now)));
        self.braked = held;
    }

    /// A node was heard.
    pub fn touch(&mut self, node: NodeId, now: Time) {
        self.heard.insert(node, now);
    }

    fn last_heard(&self, node: NodeId) -> Time {
        self.heard.get(&node).copied().unwrap_or_default().max(self.rearmed_at)
    }

    /// What was found to have expired could not be written: look again.
    pub fn look_again(&mut self) {
        self.next_look = Time(0);
    }

    /// When to look next.
    pub fn deadline(&self) -> Time {
        self.next_look
    }

    /// The reachable nodes whose lease has ended, with the time since which they have been silent.
    pub fn expired(&mut self, cluster: &Cluster, now: Time, timing: &Timing) -> Vec<Edge> {
        if now < self.next_look {
            return Vec::new();
        }
        let mut edges = Vec::new();
        self.next_look = now + timing.lease;
        for node in cluster.nodes().filter(|node| node.reach == Reach::Reachable) {
            let silent_since = self.last_heard(node.id);
            let ends = silent_since + timing.lease;
            if ends > now {
                self.next_look = self.next_look.min(ends);
            } else {
                let reach = Reach::Unreachable { silent_since };
                edges.push(Edge { node: node.id, incarnation: node.incarnation, reach });
            }
        }
        edges
    }

    /// Since when a node is silent, as far as this leader can vouch for it.
    pub fn silent_since(&self, node: &Node) -> Option<Time> {
        Some(node.silent_since()?.max(self.rearmed_at))
    }

    /// What becomes of the tasks of every unreachable node: replaced some time after its last
    /// heartbeat, the last re-arming or the release by the brake, unless that holds (invariant I32).
    pub fn absences(&self, cluster: &Cluster, timing: &Timing) -> BTreeMap<NodeId, Absence> {
        let absence = |(since, node): (Time, NodeId)| {
            let released_at = self.released_at.get(&node).copied().unwrap_or_default();
            let rearmed_at = if planted(Bug::ElectionNotCounted) { Time(0) } else { self.rearmed_at };
            // It may be heard again, and that not be written yet.
            let heard_at = self.heard.get(&node).copied().unwrap_or_default();
            let from = since.max(rearmed_at).max(released_at).max(heard_at);
            // Draining a silent node is an operator's word that its tasks shall run elsewhere.
            let drained_since = match cluster.nodes[node.slot()].duty {
                Duty::Draining { since, .. } if !planted(Bug::DrainWaitsForSilent) => Some(since),
                _ => None,
            };
            let absence = match self.braked.contains(&node) {
                _ if let Some(drained_since) = drained_since => {
                    Absence::Drained { since: from, at: drained_since.max(since + timing.lease) }
                }
                true => Absence::Braked,
                false => Absence::Silent { since: from },
            };
            (node, absence)
        };
        silent(cluster).into_iter().map(absence).collect()
    }
}

/// The unreachable nodes, by the time since which they are silent.
fn silent(cluster: &Cluster) -> Vec<(Time, NodeId)> {
    let mut silent: Vec<(Time, NodeId)> =
        cluster.nodes().filter_map(|node| Some((node.silent_since()?, node.id))).collect();
    silent.sort_unstable();
    silent
}

/// Whether the i-th silent node (by time) is one of a group of more than a third of all nodes that
/// fell silent within one lease.
fn braked(silent: &[(Time, NodeId)], i: usize, total: usize, lease: Millis) -> bool {
    if total < 3 {
        return false;
    }
    // The groups that contain node i begin at it or before it, each a window of one lease.
    (0..=i).rev().take_while(|&first| silent[i].0 <= silent[first].0 + lease).any(|first| {
        let end = silent.partition_point(|(since, _)| *since <= silent[first].0 + lease);
        (end - first) * 3 > total
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_holds_for_more_than_a_third_within_one_lease() {
        let silent = |times: &[u64]| -> Vec<(Time, NodeId)> {
            times.iter().enumerate().map(|(i, t)| (Time(t * 1000), NodeId(i as u32))).collect()
        };
        let braked_of = |times: &[u64], total| -> Vec<bool> {
            let silent = silent(times);
            (0..times.len()).map(|i| braked(&silent, i, total, Millis::secs(5))).collect()
        };
        assert_eq!(braked_of(&[0], 3), [false], "one of three is no more than a third");
        assert_eq!(braked_of(&[0, 5], 3), [true, true], "two of three within a lease");
        assert_eq!(braked_of(&[0, 6], 3), [false, false], "two of three, further apart");
        assert_eq!(braked_of(&[0, 3, 6, 9], 9), [false; 4], "never four of nine in one window");
        assert_eq!(braked_of(&[0, 20, 21, 22, 23], 9), [false, true, true, true, true]);
        assert_eq!(braked_of(&[0, 0], 2), [false, false], "no brake below three nodes");
    }
}

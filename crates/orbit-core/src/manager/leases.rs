//! Leases: when each node sent its last message, and what follows from silence.
//!
//! Heartbeats change memory only. Reachability changes go through the log. A new leader re-arms every lease
//! in full, and so does a leader whose process was paused, so that a node is never blamed for that.
//!
//! Cost: a heartbeat writes one row. A lease is looked at once per lease, and not once per heartbeat. The brake
//! is computed again only while more than a third of the nodes are unreachable, or while it holds for some.

use crate::{cost, model::*, reconciler::Outage, state::Cluster};
use std::collections::{BTreeMap, BTreeSet};

/// When each node was heard last. Memory of the leader.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    /// By the node's place in the arena.
    rows: Vec<Row>,
    /// When each watched lease ends at the earliest: heartbeats do not move an entry, the look that
    /// finds it too early does.
    queue: BTreeSet<(Time, NodeId)>,
    /// When the queue was looked at last.
    looked_at: Time,
    /// What follows from silence. Readers are given a copy when it changes.
    brake: Brake,
    /// Counts its changes.
    changes: u64,
}

/// What a leader knows of silence beside the log: how far it can vouch for it, and for which nodes the
/// brake holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brake {
    /// When all leases were re-armed last.
    rearmed_at: Time,
    /// The nodes for which it holds.
    braked: BTreeSet<NodeId>,
    /// When it released each silent node.
    released_at: BTreeMap<NodeId, Time>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    heard: Time,
    /// It stands in the queue.
    queued: bool,
}

impl Leases {
    /// Every lease begins anew.
    pub fn rearm(&mut self, cluster: &Cluster, now: Time, timing: &Timing) {
        (self.brake.rearmed_at, self.looked_at) = (now, now);
        self.changes += 1;
        self.rows.clear();
        self.queue.clear();
        let reachable = cluster.nodes().filter(|node| node.reach == Reach::Reachable);
        reachable.for_each(|node| self.watch(node.id, timing));
    }

    /// From now on the node is called silent when its lease ends. Nothing changes where it is watched
    /// already.
    pub fn watch(&mut self, node: NodeId, timing: &Timing) {
        let ends = self.last_heard(node) + timing.lease;
        let row = self.row(node);
        if !row.queued {
            row.queued = true;
            self.queue.insert((ends, node));
        }
    }

    fn row(&mut self, node: NodeId) -> &mut Row {
        if self.rows.len() <= node.slot() {
            self.rows.resize(node.slot() + 1, Row::default());
        }
        &mut self.rows[node.slot()]
    }

    /// Which nodes are there, or are silent, has changed. Those that the brake releases have all their
    /// time once more: when many return, the last ones are most likely on their way (invariant I32).
    /// Returns the nodes that it holds from now on, or releases.
    pub fn nodes_changed(&mut self, cluster: &Cluster, now: Time, timing: &Timing) -> Vec<NodeId> {
        let changed = self.brake.nodes_changed(cluster, now, timing);
        self.changes += u64::from(!changed.is_empty());
        changed
    }

    /// A node was heard.
    pub fn touch(&mut self, node: NodeId, now: Time) {
        cost::rows(1);
        self.row(node).heard = now;
    }

    fn last_heard(&self, node: NodeId) -> Time {
        self.heard_at(node).max(self.brake.rearmed_at)
    }

    pub fn heard_at(&self, node: NodeId) -> Time {
        self.rows.get(node.slot()).map_or(Time(0), |row| row.heard)
    }

    /// When to look next: once per lease at least, so that a process that was stopped notices it.
    pub fn deadline(&self, timing: &Timing) -> Time {
        let next = self.looked_at + timing.lease;
        self.queue.first().map_or(next, |(ends, _)| next.min(*ends))
    }

    /// The reachable nodes whose lease has ended, with the time since which they have been silent. One
    /// whose silence could not be written is found again.
    pub fn expired(&mut self, cluster: &Cluster, now: Time, timing: &Timing) -> Vec<ReachabilityChange> {
        let (mut changes, mut again) = (Vec::new(), Vec::new());
        if now >= self.deadline(timing) {
            self.looked_at = now;
        }
        while let Some(&(due, id)) = self.queue.first()
            && due <= now
        {
            cost::rows(1);
            self.queue.pop_first();
            let Some(node) = cluster.node(id).filter(|node| node.is_ready()) else {
                self.row(id).queued = false;
                continue;
            };
            let silent_since = self.last_heard(id);
            let ends = silent_since + timing.lease;
            if ends <= now {
                let reach = Reach::Unreachable { silent_since };
                changes.push(ReachabilityChange { node: id, incarnation: node.incarnation, reach });
            }
            again.push((ends, id));
        }
        self.queue.extend(again);
        changes
    }

    /// Since when a node is silent, as far as this leader can vouch for it.
    pub fn silent_since(&self, node: &Node) -> Option<Time> {
        Some(node.silent_since()?.max(self.brake.rearmed_at))
    }

    /// What readers are given.
    pub fn brake(&self) -> &Brake {
        &self.brake
    }

    /// Grows whenever what readers are given is another.
    pub fn changes(&self) -> u64 {
        self.changes
    }
}

impl Brake {
    fn nodes_changed(&mut self, cluster: &Cluster, now: Time, timing: &Timing) -> Vec<NodeId> {
        let total = cluster.node_count();
        cost::rows(1);
        if self.braked.is_empty() && !may_brake(cluster.silent().len(), total) {
            if self.released_at.len() > 2 * cluster.silent().len() {
                self.forget_released(cluster);
            }
            return Vec::new();
        }
        let known = Vec::from_iter(cluster.silent().iter().copied());
        cost::rows(known.len());
        let was_held = braked(&known, total, timing.lease);
        // While nobody watched, any number may have fallen silent together. Only of those that were
        // given up before, each for itself, is it known that they have nothing to do with that.
        let watched = |(&(since, node), was_held): (&(Time, NodeId), &bool)| {
            let from = since.max(self.released_at.get(&node).copied().unwrap_or_default());
            let was_braked = self.braked.contains(&node);
            let long_ago = from + timing.replace_after <= self.rearmed_at;
            let given_up = long_ago && !was_braked && !was_held;
            (if given_up { since } else { since.max(self.rearmed_at) }, node)
        };
        let mut silent: Vec<(Time, NodeId)> = known.iter().zip(&was_held).map(watched).collect();
        silent.sort_unstable();
        let holds = braked(&silent, total, timing.lease);
        let held = silent.iter().zip(holds).filter(|(_, holds)| *holds).map(|((_, node), _)| *node);
        let held = BTreeSet::from_iter(held);
        self.forget_released(cluster);
        self.released_at.extend(self.braked.difference(&held).map(|node| (*node, now)));
        let changed = Vec::from_iter(self.braked.symmetric_difference(&held).copied());
        self.braked = held;
        changed
    }

    fn forget_released(&mut self, cluster: &Cluster) {
        self.released_at.retain(|node, _| cluster.node(*node).is_some_and(|node| node.silent_since().is_some()));
    }

    /// What becomes of the tasks of a node, where it is unreachable: they are replaced some time after
    /// its last heartbeat, the last re-arming or the release by the brake, unless that holds (invariant
    /// I32).
    pub(super) fn outage(&self, cluster: &Cluster, timing: &Timing, id: NodeId, heard_at: Time) -> Option<Outage> {
        let node = cluster.node(id)?;
        let since = node.silent_since()?;
        let released_at = self.released_at.get(&id).copied().unwrap_or_default();
        // It may be heard again, and that not be written yet.
        let from = since.max(self.rearmed_at).max(released_at).max(heard_at);
        // Draining a silent node is an operator's word that its tasks shall run elsewhere.
        Some(match node.availability {
            Availability::Draining { since: drained_since, .. } => {
                Outage::Drained { since: from, at: drained_since.max(since + timing.lease) }
            }
            _ if self.braked.contains(&id) => Outage::Braked,
            _ => Outage::Silent { since: from },
        })
    }
}

/// Whether the brake may hold for any of so many silent nodes.
fn may_brake(silent: usize, total: usize) -> bool {
    total >= 3 && silent * 3 > total
}

/// Of each silent node (by time), whether it is one of a group of more than a third of all nodes that
/// fell silent within one lease. One pass: the groups begin at each node in turn, and their ends only
/// advance.
fn braked(silent: &[(Time, NodeId)], total: usize, lease: Millis) -> Vec<bool> {
    let (mut end, mut held_until) = (0, 0);
    let mut held = Vec::with_capacity(silent.len());
    for (first, (since, _)) in silent.iter().enumerate() {
        while end < silent.len() && silent[end].0 <= *since + lease {
            end += 1;
        }
        if may_brake(end - first, total) {
            held_until = end;
        }
        held.push(first < held_until);
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_holds_for_more_than_a_third_within_one_lease() {
        let silent = |times: &[u64]| -> Vec<(Time, NodeId)> {
            times.iter().enumerate().map(|(i, t)| (Time(t * 1000), NodeId(i as u32))).collect()
        };
        let braked_of = |times: &[u64], total| braked(&silent(times), total, Millis::secs(5));
        assert_eq!(braked_of(&[0], 3), [false], "one of three is no more than a third");
        assert_eq!(braked_of(&[0, 5], 3), [true, true], "two of three within a lease");
        assert_eq!(braked_of(&[0, 6], 3), [false, false], "two of three, further apart");
        assert_eq!(braked_of(&[0, 3, 6, 9], 9), [false; 4], "never four of nine in one window");
        assert_eq!(braked_of(&[0, 20, 21, 22, 23], 9), [false, true, true, true, true]);
        assert_eq!(braked_of(&[0, 0], 2), [false, false], "no brake below three nodes");
    }
}

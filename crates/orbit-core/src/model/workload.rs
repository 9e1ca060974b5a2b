//! A workload: a service or a task definition, its versions and its slots.

use super::{Definition, Kind, NodeId, Spec, Subject, TaskKey, Time, Uid, Update};
use std::{collections::BTreeMap, sync::Arc};

/// A replicated object that asks for tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What it is, whatever its name.
    pub uid: Uid,
    /// Service or task definition.
    pub kind: Kind,
    /// Unique among the living objects of its kind.
    pub name: Arc<str>,
    /// For selection by people.
    pub labels: BTreeMap<String, String>,
    /// How many slots are kept filled.
    pub replicas: u32,
    /// How a new version takes the place of the old one.
    pub update: Update,
    /// Index of the log entry that changed the definition last: its ETag.
    pub revision: u64,
    /// When it was created.
    pub created_at: Time,
    /// The versions of the spec that a task still refers to, and the current one, which is last.
    pub versions: Vec<Version>,
    /// The user deleted it: its name is free already, its tasks are being stopped.
    pub deleting: bool,
    /// The scheduler's last decision, for people.
    pub decision: Option<Decision>,
    /// The places of its replicas. There may be more than `replicas` while it shrinks.
    pub slots: Vec<Slot>,
}

/// One version of a workload's spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Counted from 1.
    pub number: u32,
    /// Shared by all tasks of the version.
    pub spec: Arc<Spec>,
    /// How many tasks refer to it. An index, rebuilt on restore.
    pub(crate) tasks: u32,
}

/// A replica's place, which keeps the history that its one-shot tasks cannot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// How often in a row its tasks ended by themselves.
    pub failures: u32,
    /// Before this time no new attempt is made.
    pub not_before: Time,
    /// The newest attempt. An index, rebuilt on restore.
    pub(crate) newest: Option<TaskKey>,
}

/// What the scheduler found when it last placed tasks of a workload. Bounded, whatever the size of
/// the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Index of the last entry that the plan had seen.
    pub parent: u64,
    /// How many tasks found a node.
    pub placed: u32,
    /// How many did not.
    pub unplaced: u32,
    /// For each filter, in order, how many nodes it refused and what it said of one of them.
    pub refusals: Vec<Refusals>,
    /// The best few nodes with their scores (higher is better), best first.
    pub best: Vec<(NodeId, u64)>,
}

/// How many nodes one filter refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refusals {
    /// The filter's name, for example `memory`.
    pub filter: String,
    /// How many nodes.
    pub nodes: u32,
    /// What it said, with numbers, of the node that came nearest.
    pub example: String,
}

impl Decision {
    /// Why tasks found no node: `2 nodes: needs 1Gi of memory, 512Mi free; 1 node: not reachable`.
    pub fn why(&self) -> String {
        if self.refusals.is_empty() {
            return "no node has registered".to_string();
        }
        let say = |r: &Refusals| format!("{} node{}: {}", r.nodes, if r.nodes == 1 { "" } else { "s" }, r.example);
        self.refusals.iter().map(say).collect::<Vec<_>>().join("; ")
    }
}

impl Workload {
    /// The current version.
    ///
    /// # Panics
    /// Never: a workload is made with a version, and the current one is never dropped.
    pub fn current(&self) -> &Version {
        self.versions.last().expect("a workload has a current version")
    }
    /// The spec of a version that a task refers to.
    pub fn spec(&self, version: u32) -> Option<&Arc<Spec>> {
        self.versions.iter().find(|v| v.number == version).map(|v| &v.spec)
    }
    /// Whether its spec and labels are those of a definition.
    pub(crate) fn is_as(&self, definition: &Definition) -> bool {
        *self.current().spec == definition.spec && self.labels == definition.labels
    }
    /// As the history names it.
    pub(crate) fn subject(&self) -> Subject {
        Subject::Workload(self.kind, self.uid, self.name.clone())
    }
    /// How many slots shall be filled now.
    pub fn wanted(&self) -> u32 {
        if self.deleting { 0 } else { self.replicas }
    }
}

//! A workload: a service or a task definition, its versions and its slots.

use super::{
    Definition, Desired, ImageBytes, Kind, NodeId, RestartPolicy, Rollout, Spec, Subject, Task, TaskKey, TaskState,
    Time, Uid, Update, is_pinned,
};
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
    /// The versions of the spec that are remembered, by number: those that a task refers to, the current one, the
    /// stable one, and the newest ones besides.
    pub versions: Vec<Version>,
    /// The number of the current one. It may be an older one, which took its place back.
    pub version: u32,
    /// The number of the one that served in every slot last: where a rollout goes back to.
    pub stable: Option<u32>,
    /// How the current version takes its place, where the kind has rollouts.
    pub rollout: Option<Rollout>,
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
    /// When it was made.
    pub created_at: Time,
    /// It is as the one before it: somebody wanted its tasks replaced.
    pub is_restart: bool,
    /// It has served in every slot.
    pub was_stable: bool,
    /// What its image meant when the first of its tasks had it.
    pub digest: Option<Arc<str>>,
    /// The engine's ID of its image in the first of its tasks, where no registry knows it: another task may have another build.
    pub image_id: Option<Arc<str>>,
    /// How many tasks refer to it. An index, rebuilt on restore.
    pub(crate) tasks: u32,
}

/// A replica's place, which keeps the history that its one-shot tasks cannot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// How often in a row its tasks ended by themselves.
    pub failures: u32,
    /// Of which version those were; 0 where there were none.
    pub version: u32,
    /// Before this time no new attempt of that version is made.
    pub not_before: Time,
    /// The version that it keeps while its rollout stands still, as it was when that began; 0 where it did not.
    pub own: u32,
    /// The newest attempt. An index, rebuilt on restore.
    pub(crate) newest: Option<TaskKey>,
}

impl Slot {
    /// Before when no new attempt of this version is made: what kept another one waiting says nothing about it.
    pub fn not_before(&self, version: u32) -> Time {
        if self.version == version { self.not_before } else { Time(0) }
    }
    /// How often in a row its tasks of this version ended by themselves.
    pub fn failures(&self, version: u32) -> u32 {
        if self.version == version { self.failures } else { 0 }
    }
    /// With its attempts, and nothing that holds the next one up.
    pub(crate) fn of(newest: Option<TaskKey>) -> Slot {
        Slot { newest, ..Slot::default() }
    }
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
    /// What was found of further tasks of the workload.
    pub(crate) fn add(&mut self, other: Decision) {
        self.placed += other.placed;
        self.unplaced += other.unplaced;
        let known = |refusals: &Refusals| self.refusals.iter().any(|it| it.filter == refusals.filter);
        let more: Vec<Refusals> = other.refusals.into_iter().filter(|it| !known(it)).collect();
        self.refusals.extend(more);
        if self.best.is_empty() {
            self.best = other.best;
        }
    }
    /// Why tasks found no node: `2 nodes: needs 1Gi of memory, 512Mi free; 1 node: not reachable`.
    pub fn why(&self) -> String {
        if self.refusals.is_empty() {
            return "no node has registered".to_string();
        }
        let say = |r: &Refusals| format!("{} node{}: {}", r.nodes, if r.nodes == 1 { "" } else { "s" }, r.example);
        self.refusals.iter().map(say).collect::<Vec<_>>().join("; ")
    }
}

impl Version {
    /// What the image of its tasks is asked for by.
    pub fn image(&self) -> ImageBytes {
        match &self.digest {
            Some(digest) => ImageBytes::Digest(digest.clone()),
            None if is_pinned(&self.spec.container.image) => ImageBytes::AsWritten,
            None => ImageBytes::Unresolved,
        }
    }
}

impl Workload {
    /// So many versions are remembered that no task refers to.
    pub const VERSIONS_MAX: usize = 10;

    /// The current version.
    ///
    /// # Panics
    /// Never: a workload is made with a version, and the current one is never dropped.
    pub fn current(&self) -> &Version {
        self.version(self.version).expect("a workload has a current version")
    }
    /// A version that is remembered.
    pub fn version(&self, number: u32) -> Option<&Version> {
        self.versions.iter().find(|v| v.number == number)
    }
    /// So many slots show first what a new version is worth.
    pub fn canaries(&self) -> u32 {
        self.update.canary.min(self.wanted())
    }
    /// The version that takes the current one's place where a user names none: the last one before it that served in
    /// every slot; while its rollout is under way, the one that did so last.
    pub fn undo_target(&self) -> Option<u32> {
        let mut before = self.versions.iter().filter(|v| v.was_stable && v.number < self.version);
        self.stable.filter(|stable| *stable != self.version).or(before.next_back().map(|v| v.number))
    }
    /// The spec of a version that a task refers to.
    pub fn spec(&self, version: u32) -> Option<&Arc<Spec>> {
        self.version(version).map(|v| &v.spec)
    }
    /// Whether its spec and labels are those of a definition.
    pub(crate) fn is_as(&self, definition: &Definition) -> bool {
        *self.current().spec == definition.spec && self.labels == definition.labels
    }
    /// As the history names it.
    pub(crate) fn subject(&self) -> Subject {
        Subject::Workload(self.kind, self.uid, self.name.clone())
    }
    /// About how many bytes its kept versions take.
    pub(crate) fn spec_bytes(&self) -> u64 {
        self.versions.iter().map(|version| version.spec.bytes() as u64).sum()
    }
    /// How many slots shall be filled now.
    pub fn wanted(&self) -> u32 {
        if self.deleting { 0 } else { self.replicas }
    }
}

// What follows an attempt.
impl Workload {
    /// Whether no attempt follows this one, the newest of its slot: runs have an end.
    pub fn is_final(&self, newest: &Task) -> bool {
        if !self.kind.rules().runs_to_end || !newest.state.is_terminal() {
            return false;
        }
        match self.current().spec.restart.policy {
            RestartPolicy::Always => false,
            RestartPolicy::Never => true,
            RestartPolicy::OnFailure => newest.state == TaskState::Complete || newest.desired == Desired::Stopped,
        }
    }
    /// Whether nothing follows this attempt, the newest of its slot: it is the last one of a task
    /// definition, or will be, because it was told to stop.
    pub fn is_over(&self, newest: &Task) -> bool {
        self.is_final(newest) || (self.kind.rules().runs_to_end && newest.desired == Desired::Stopped)
    }
    /// Whether a slot is filled again after this attempt, its newest, has ended.
    pub fn is_tried_again(&self, newest: &Task) -> bool {
        newest.slot < self.wanted() && !self.is_over(newest)
    }
}

impl Version {
    /// A version to which nothing refers yet.
    pub fn bare(number: u32, spec: Arc<Spec>, created_at: Time) -> Version {
        Version {
            number,
            spec,
            created_at,
            is_restart: false,
            was_stable: false,
            digest: None,
            image_id: None,
            tasks: 0,
        }
    }
}

impl Slot {
    /// A slot without attempts.
    pub fn bare(failures: u32, version: u32, not_before: Time, own: u32) -> Slot {
        Slot { failures, version, not_before, own, newest: None }
    }
}

//! The replicated state: what every replica of the log agrees on, and the indexes over it.
//!
//! Only `apply` changes it, and only through the methods below, each of which keeps the indexes
//! current. [`Cluster::check`] recomputes them.

use super::{Change, History, IdempotencyKeys, NodeTable, TaskTable};
use crate::{cost, model::*};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The replicated state.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The cluster's own ID; `None` before the first entry.
    pub id: Option<ClusterId>,
    /// Raised by every restore from a backup.
    pub epoch: u32,
    /// What becomes of tasks that nodes have from an earlier epoch and that stand nowhere here.
    pub unknown: UnknownTasks,
    /// Which behaviour of `apply` is in force.
    pub schema: u32,
    /// Index of the last applied entry: the cluster's revision.
    pub index: u64,
    /// Term of the last applied entry.
    pub term: u64,
    /// The cluster's clock at the last applied entry.
    pub at: Time,
    /// The wall clock at the last applied entry, in milliseconds since 1970.
    pub wall_ms: u64,
    /// The randomness of the present term.
    pub seed: u64,

    pub(crate) nodes: NodeTable,
    pub(crate) workloads: BTreeMap<Uid, Workload>,
    pub(crate) tasks: TaskTable,
    pub(crate) volumes: BTreeMap<Arc<str>, Volume>,
    pub(crate) keys: IdempotencyKeys,
    pub(crate) history: History,
    /// By the last entry; nobody's after a restore.
    pub(crate) changes: Vec<Change>,

    // Indexes.
    pub(crate) node_names: BTreeMap<String, NodeId>,
    pub(crate) node_uids: BTreeMap<NodeUid, NodeId>,
    pub(crate) names: BTreeMap<(Kind, Arc<str>), Uid>,
    pub(crate) pending: BTreeSet<(Uid, TaskId)>,
    pub(crate) finished: BTreeSet<(Time, Uid)>,
    pub(crate) slots: u64,
    /// Who asked for the entry that is being applied.
    pub(crate) actor: Actor,
    /// The unreachable nodes, by the time since which each is silent.
    pub(crate) silent: BTreeSet<(Time, NodeId)>,
    /// About how many bytes all kept versions take.
    pub(crate) spec_bytes: u64,
    /// How many tasks there are in each state, and how those ended.
    pub(crate) task_counts: BTreeMap<(TaskState, Option<Reason>), usize>,
    /// How many living workloads there are of each kind.
    pub(crate) workload_counts: BTreeMap<Kind, usize>,
}

/// The newest schema that this code applies.
pub const SCHEMA: u32 = 1;

impl Default for Cluster {
    fn default() -> Self {
        Cluster {
            id: None,
            epoch: 1,
            unknown: UnknownTasks::Removed,
            schema: SCHEMA,
            index: 0,
            term: 0,
            at: Time(0),
            wall_ms: 0,
            seed: 0,
            nodes: NodeTable::default(),
            workloads: BTreeMap::new(),
            tasks: TaskTable::default(),
            volumes: BTreeMap::new(),
            keys: IdempotencyKeys::default(),
            history: History::default(),
            changes: Vec::new(),
            node_names: BTreeMap::new(),
            node_uids: BTreeMap::new(),
            names: BTreeMap::new(),
            pending: BTreeSet::new(),
            finished: BTreeSet::new(),
            slots: 0,
            actor: Actor::Unknown,
            silent: BTreeSet::new(),
            spec_bytes: 0,
            task_counts: BTreeMap::new(),
            workload_counts: BTreeMap::new(),
        }
    }
}

// Getters.
impl Cluster {
    /// Every node, by ID.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().inspect(|_| cost::rows(1))
    }
    /// The nodes whose IDs come after `after`, by ID.
    pub fn nodes_after(&self, after: Option<NodeId>) -> impl Iterator<Item = &Node> {
        self.nodes.after(after).inspect(|_| cost::rows(1))
    }
    /// The nodes whose names come after `after`, by name.
    pub fn nodes_by_name(&self, after: Option<&str>) -> impl Iterator<Item = &Node> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let names = self.node_names.range::<str, _>((from, std::ops::Bound::Unbounded));
        names.inspect(|_| cost::rows(1)).filter_map(|(_, id)| self.node(*id))
    }
    /// How many tasks there are in each state that some are in, and, of those that have ended, why.
    pub fn task_counts(&self) -> &BTreeMap<(TaskState, Option<Reason>), usize> {
        &self.task_counts
    }
    /// How many living workloads there are of a kind.
    pub fn workload_count(&self, kind: Kind) -> usize {
        self.workload_counts.get(&kind).copied().unwrap_or(0)
    }
    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }
    /// The unreachable nodes, by the time since which each is silent.
    pub fn silent(&self) -> &BTreeSet<(Time, NodeId)> {
        &self.silent
    }
    /// A node by ID; `None` of a forgotten one.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }
    /// Whether a task that a node has is from before a restore and stands nowhere here, and is not to be removed.
    pub fn leaves_alone(&self, task: TaskId) -> bool {
        self.unknown != UnknownTasks::Removed && task.epoch < self.epoch && self.task(task).is_none()
    }
    /// A node by name.
    pub fn node_named(&self, name: &str) -> Option<&Node> {
        self.node(*self.node_names.get(name)?)
    }
    /// A node by its own ID.
    pub fn node_with_uid(&self, uid: NodeUid) -> Option<&Node> {
        self.node(*self.node_uids.get(&uid)?)
    }
    /// Every workload, by UID, those included that are being deleted.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.values().inspect(|_| cost::rows(1))
    }
    /// A workload by UID.
    pub fn workload(&self, uid: Uid) -> Option<&Workload> {
        self.workloads.get(&uid)
    }
    /// A living workload by kind and name.
    pub fn workload_named(&self, kind: Kind, name: &str) -> Option<&Workload> {
        self.workload(*self.names.get(&(kind, Arc::from(name)))?)
    }
    /// The living workloads of a kind whose names come after `after`, by name.
    pub fn workloads_by_name(&self, kind: Kind, after: Option<&str>) -> impl Iterator<Item = &Workload> {
        let from = match after {
            Some(name) => std::ops::Bound::Excluded((kind, Arc::from(name))),
            None => std::ops::Bound::Included((kind, Arc::from(""))),
        };
        self.names
            .range((from, std::ops::Bound::Unbounded))
            .take_while(move |((k, _), _)| *k == kind)
            .filter_map(|(_, uid)| self.workload(*uid))
    }
    /// A task by ID.
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.key(id).map(|key| self.tasks.at(key))
    }
    /// Every task, by ID.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().inspect(|_| cost::rows(1))
    }
    /// Every task whose ID comes after `after`, by ID.
    pub fn tasks_after(&self, after: TaskId) -> impl Iterator<Item = &Task> {
        self.tasks.iter_after(after).inspect(|_| cost::rows(1))
    }
    /// How many tasks there are, ended ones included.
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }
    /// The attempts in one slot, newest first.
    pub fn attempts(&self, slot: &Slot) -> impl Iterator<Item = &Task> {
        std::iter::successors(slot.newest.map(|key| self.tasks.at(key)), |task| {
            task.older.map(|key| self.tasks.at(key))
        })
        .inspect(|_| cost::rows(1))
    }
    /// The tasks that serve a service and can be reached: they run, their probes pass, nobody told them to stop, and
    /// their node is heard. By slot, an older version's first.
    pub fn endpoints(&self, workload: &Workload) -> Vec<&Task> {
        let serves = |task: &&Task| task.serves() && task.desired == Desired::Running;
        let is_heard = |task: &&Task| self.node_of(task).is_some_and(Node::is_ready);
        let of_slot = |slot: &Slot| {
            let mut serving: Vec<&Task> = self.attempts(slot).filter(serves).filter(is_heard).collect();
            serving.reverse();
            serving
        };
        workload.slots.iter().flat_map(of_slot).collect()
    }
    /// The node that a task was given to. None where it waits for one.
    pub fn node_of(&self, task: &Task) -> Option<&Node> {
        self.node(task.node?)
    }
    /// The spec that a task was made from.
    ///
    /// # Panics
    /// If the task is not of this cluster: a version lives as long as a task refers to it.
    pub fn spec_of(&self, task: &Task) -> &Arc<Spec> {
        let workload = self.workload(task.workload).expect("a task's workload lives as long as it");
        workload.spec(task.version).expect("a version lives as long as a task refers to it")
    }
    /// What was done and what happened, for people.
    pub fn history(&self) -> &History {
        &self.history
    }
    /// What the last applied entry changed, in no order and with repetitions.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
    /// Tasks that wait for a node, with their workloads.
    pub fn pending(&self) -> impl Iterator<Item = (Uid, TaskId)> + '_ {
        self.pending.iter().copied()
    }
    /// Tasks of one workload that wait for a node.
    pub fn pending_of(&self, workload: Uid) -> impl Iterator<Item = TaskId> + '_ {
        let from = (workload, TaskId::MIN);
        self.pending.range(from..).take_while(move |(uid, _)| *uid == workload).map(|(_, task)| *task)
    }
}

// Changes: each keeps every index current.
impl Cluster {
    /// Adds a node. Its name and both its IDs are free.
    pub(crate) fn insert_node(&mut self, node: Node) {
        self.node_names.insert(node.info.name.clone(), node.id);
        self.node_uids.insert(node.info.uid, node.id);
        self.silent.extend(node.silent_since().map(|since| (since, node.id)));
        self.nodes.push(node);
    }

    /// Notes whether a node is heard.
    pub(crate) fn set_reach(&mut self, id: NodeId, reach: Reach) {
        let node = &mut self.nodes[id];
        if let Some(since) = node.silent_since() {
            self.silent.remove(&(since, id));
        }
        node.reach = reach;
        self.silent.extend(node.silent_since().map(|since| (since, id)));
    }

    /// A node is gone for good: its name is free, and its tasks have ended. Nothing of it is kept.
    pub(crate) fn forget_node(&mut self, id: NodeId) {
        let node = self.nodes.remove(id);
        self.node_names.remove(&node.info.name);
        self.node_uids.remove(&node.info.uid);
        if let Some(since) = node.silent_since() {
            self.silent.remove(&(since, id));
        }
    }

    pub(crate) fn insert_workload(&mut self, workload: Workload) {
        self.slots += u64::from(workload.replicas);
        self.spec_bytes += workload.spec_bytes();
        if !workload.deleting {
            self.names.insert((workload.kind, workload.name.clone()), workload.uid);
            *self.workload_counts.entry(workload.kind).or_default() += 1;
        }
        let uid = workload.uid;
        let before = self.workloads.insert(uid, workload);
        assert!(before.is_none(), "a UID is given once");
        self.changed_workload(uid);
    }

    pub(crate) fn set_replicas(&mut self, uid: Uid, replicas: u32) {
        let workload = self.workloads.get_mut(&uid).expect("the caller found it");
        self.slots = self.slots - u64::from(workload.replicas) + u64::from(replicas);
        workload.replicas = replicas;
        self.changed_workload(uid);
    }

    /// Frees the name; what remains of the workload is known by its UID only.
    pub(crate) fn mark_deleting(&mut self, uid: Uid) {
        self.changed_workload(uid);
        let workload = self.workloads.get_mut(&uid).expect("the caller found it");
        workload.deleting = true;
        let key = (workload.kind, workload.name.clone());
        self.names.remove(&key);
        *self.workload_counts.entry(key.0).or_default() -= 1;
    }

    /// Removes a workload of which no task is left.
    pub(crate) fn drop_workload(&mut self, uid: Uid) {
        self.changed_workload(uid);
        let workload = self.workloads.remove(&uid).expect("the caller found it");
        self.slots -= u64::from(workload.replicas);
        self.spec_bytes -= workload.spec_bytes();
        if !workload.deleting {
            *self.workload_counts.entry(workload.kind).or_default() -= 1;
            self.names.remove(&(workload.kind, workload.name));
        }
    }

    /// Adds a task as the newest of its slot, which must exist. Shared by `apply` and restore.
    pub(crate) fn insert_task(&mut self, mut task: Task) {
        let (id, uid) = (task.id, task.workload);
        let workload = self.workloads.get_mut(&uid).expect("a task is made for a workload that exists");
        let number = task.version;
        let version = workload.versions.iter_mut().find(|v| v.number == number);
        version.expect("a task is made from a version that exists").tasks += 1;
        let slot = &mut workload.slots[task.slot as usize];
        task.older = slot.newest;
        if task.state == TaskState::Pending {
            self.pending.insert((uid, id));
        }
        // The node of an ended task may have been forgotten.
        if let Some(node) = task.node.and_then(|node| self.nodes.get_mut(node)) {
            let request = workload.spec(number).expect("just found").container.resources;
            hold(node, &task, request);
        }
        *self.task_counts.entry(count_key(&task)).or_default() += 1;
        let key = self.tasks.push(task);
        let workload = self.workloads.get_mut(&uid).expect("just found");
        let task = self.tasks.at(key);
        workload.slots[task.slot as usize].newest = Some(key);
        if task.node.is_some() && !task.state.is_terminal() {
            self.hold_volumes(key);
        }
        self.changed_task(key);
    }

    /// Gives a pending task its node, once and for ever.
    pub(crate) fn place_task(&mut self, key: TaskKey, target: &Target, at: Time) {
        let task = self.tasks.at_mut(key);
        assert!(task.node.is_none(), "a task is placed once (I5)");
        let was = count_key(task);
        let advanced = task.advance(TaskState::Assigned, at);
        assert!(advanced, "only a pending task is placed");
        task.node = Some(target.node);
        task.host_ports = target.host_ports.clone();
        task.generation += 1;
        self.pending.remove(&(task.workload, task.id));
        let task = self.tasks.at(key);
        let request = self.spec_of(task).container.resources;
        hold(&mut self.nodes[target.node], task, request);
        self.hold_volumes(key);
        self.recount(was, key);
        self.changed_task(key);
    }

    /// A task was counted otherwise before.
    fn recount(&mut self, was: (TaskState, Option<Reason>), key: TaskKey) {
        self.uncount(was);
        *self.task_counts.entry(count_key(self.tasks.at(key))).or_default() += 1;
    }

    fn uncount(&mut self, was: (TaskState, Option<Reason>)) {
        let count = self.task_counts.get_mut(&was).expect("every task is counted");
        *count -= 1;
        if *count == 0 {
            self.task_counts.remove(&was);
        }
    }

    /// Moves a task's observed state forward, and gives back what it held when it has ended.
    /// Returns false, and changes nothing, where that is not forward.
    pub(crate) fn advance_task(&mut self, key: TaskKey, state: TaskState, end: Option<End>, at: Time) -> bool {
        let task = self.tasks.at_mut(key);
        let counted = count_key(task);
        if !task.advance(state, at) {
            return false;
        }
        if counted.0 == TaskState::Pending {
            self.pending.remove(&(task.workload, task.id));
        }
        if state == TaskState::Running {
            self.set_probed(key, Probed::default(), at);
        }
        if state.is_terminal() {
            let task = self.tasks.at_mut(key);
            task.end = Some(Box::new(end.unwrap_or_else(|| End::new(Reason::Exited, ""))));
            let task = self.tasks.at(key);
            if let Some(node) = task.node {
                let request = self.spec_of(task).container.resources;
                release(&mut self.nodes[node], task, request);
                self.release_volumes(key);
            }
        }
        self.recount(counted, key);
        self.changed_task(key);
        true
    }

    /// Notes what a running task's probes have found.
    pub(crate) fn set_probed(&mut self, key: TaskKey, probed: Probed, at: Time) {
        let serves = self.spec_of(self.tasks.at(key)).container.is_served_with(probed);
        let task = self.tasks.at_mut(key);
        task.probed = probed;
        task.serving_since = if serves { task.serving_since.or(Some(at)) } else { None };
        self.changed_task(key);
    }

    /// Forgets an ended task.
    pub(crate) fn remove_task(&mut self, key: TaskKey) {
        let task = self.tasks.at(key);
        assert!(task.state.is_terminal(), "only an ended task is forgotten");
        self.changed_task(key);
        let task = self.tasks.at(key);
        let (id, uid, slot, number, node, older, ended_at) =
            (task.id, task.workload, task.slot, task.version, task.node, task.older, task.ended_at);
        let workload = self.workloads.get_mut(&uid).expect("a task's workload lives as long as it");
        let slot = &mut workload.slots[slot as usize];
        if slot.newest == Some(key) {
            // What nobody remembers holds nobody up.
            *slot = Slot::of(older);
            self.finished.remove(&(ended_at.unwrap_or_default(), uid));
        } else {
            let mut at = slot.newest.expect("a task is in its slot's chain");
            while self.tasks.at(at).older != Some(key) {
                at = self.tasks.at(at).older.expect("a task is in its slot's chain");
            }
            self.tasks.at_mut(at).older = older;
        }
        let version = workload.versions.iter_mut().find(|v| v.number == number);
        version.expect("a version lives as long as a task refers to it").tasks -= 1;
        self.spec_bytes -= drop_unused_versions(workload);
        if let Some(node) = node.and_then(|node| self.nodes.get_mut(node)) {
            node.tasks.remove(&id);
        }
        self.uncount(count_key(self.tasks.at(key)));
        self.tasks.remove(key);
    }

    pub(crate) fn changed_workload(&mut self, uid: Uid) {
        // One that is being deleted cannot be read by its name, which may be another's.
        if let Some(workload) = self.workloads.get(&uid).filter(|workload| !workload.deleting) {
            self.changes.push(Change::Workload(workload.kind, workload.name.clone()));
        }
    }
    pub(crate) fn changed_task(&mut self, key: TaskKey) {
        let task = self.tasks.at(key);
        let (id, uid, node) = (task.id, task.workload, task.node);
        self.changed_workload(uid);
        self.changes.push(Change::Task(id));
        self.changes.extend(node.map(Change::Node));
    }
    /// A node, and what is on it: whether it is heard is shown with each of its tasks, and with what they are of.
    pub(crate) fn changed_node(&mut self, id: NodeId) {
        let tasks = Vec::from_iter(self.nodes[id].tasks());
        cost::rows(tasks.len());
        let workloads: BTreeSet<Uid> = tasks.iter().filter_map(|task| Some(self.task(*task)?.workload)).collect();
        workloads.into_iter().for_each(|uid| self.changed_workload(uid));
        self.changes.push(Change::Node(id));
        self.changes.extend(tasks.into_iter().map(Change::Task));
    }

    /// Keeps the index of finished task definitions current.
    pub(crate) fn refresh_finished(&mut self, uid: Uid) {
        let Some(at) = self.workloads.get(&uid).and_then(|workload| self.finished_at(workload)) else { return };
        self.finished.insert((at, uid));
    }

    /// When a task definition finished: its newest attempt was its last one, and no other is still
    /// under way on a node that is not heard. Then it can be dropped.
    pub(crate) fn finished_at(&self, workload: &Workload) -> Option<Time> {
        if !workload.kind.rules().runs_to_end {
            return None;
        }
        let attempts = || workload.slots.iter().flat_map(|slot| self.attempts(slot));
        let newest = attempts().next().filter(|task| workload.is_final(task))?;
        newest.ended_at.filter(|_| attempts().all(|task| task.state.is_terminal()))
    }
}

/// Drops versions to which nothing refers any more. The current one, the stable one and the one that was taken back last
/// stay, and as many of the newest ones as may be kept, by number and by bytes. Returns how many bytes that makes free.
pub(crate) fn drop_unused_versions(workload: &mut Workload) -> u64 {
    let before = workload.spec_bytes();
    let (current, stable) = (workload.version, workload.stable);
    let failed = workload.rollout.and_then(|rollout| rollout.failed);
    let mut room = (Workload::VERSIONS_MAX, limits::VERSIONS_BYTES_MAX);
    let mut is_kept = |version: &Version| {
        let bytes = version.spec.bytes();
        let fits = room.0 > 0 && bytes <= room.1;
        // Those behind one that does not fit are older still.
        room = if fits { (room.0 - 1, room.1 - bytes) } else { (0, 0) };
        let number = version.number;
        fits || version.tasks > 0 || number == current || [stable, failed].contains(&Some(number))
    };
    let kept: BTreeSet<u32> = workload.versions.iter().rev().filter(|v| is_kept(v)).map(|v| v.number).collect();
    workload.versions.retain(|version| kept.contains(&version.number));
    before - workload.spec_bytes()
}

/// As what a task is counted.
pub(crate) fn count_key(task: &Task) -> (TaskState, Option<Reason>) {
    (task.state, task.end.as_ref().map(|end| end.reason))
}

fn hold(node: &mut Node, task: &Task, request: Resources) {
    node.tasks.insert(task.id);
    if task.state.is_terminal() {
        return;
    }
    node.used = node.used.plus(request);
    for &port in &task.host_ports {
        let before = node.held_ports.insert(port, task.id);
        assert!(before.is_none(), "port {port} of {} is held by one task at a time (I17)", node.id);
    }
}

fn release(node: &mut Node, task: &Task, request: Resources) {
    node.used = node.used.release(request);
    for port in &task.host_ports {
        node.held_ports.remove(port);
    }
}

//! The invariants of the replicated state, as code: everything that can be recomputed is.
//!
//! Names are those of `sim/INVARIANTS.md`. The simulator, the property tests and the fuzzer call
//! this after every entry.

use super::{Cluster, cluster::count_key};
use crate::model::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// An invariant that does not hold: always our own bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's name, for example `I2`.
    pub invariant: &'static str,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.found)
    }
}

impl Cluster {
    /// Recomputes every index and sum from the tasks alone, and compares. Empty when all is well.
    pub fn check(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        self.check_nodes(&mut violations);
        self.check_workloads(&mut violations);
        self.check_tasks(&mut violations);
        self.check_volumes_held(&mut violations);
        violations
    }

    fn check_nodes(&self, violations: &mut Vec<Violation>) {
        let mut used: BTreeMap<NodeId, Resources> = BTreeMap::new();
        let mut ports: BTreeMap<(NodeId, u16), TaskId> = BTreeMap::new();
        let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
        for task in self.tasks() {
            let Some(node) = task.node else { continue };
            *counts.entry(node).or_default() += 1;
            if !task.holds_resources() {
                continue;
            }
            if self.node(node).is_none() {
                let found = format!("{} is on {node}, which is no node of the cluster", task.id);
                violations.push(Violation { invariant: "I2", found });
            }
            let sum = used.entry(node).or_default();
            *sum = sum.plus(self.spec_of(task).container.resources);
            for &port in &task.host_ports {
                if let Some(other) = ports.insert((node, port), task.id) {
                    let found = format!("port {port} of {node} is held by {other} and {}", task.id);
                    violations.push(Violation { invariant: "I17", found });
                }
            }
        }
        let silent = self.nodes().filter_map(|node| Some((node.silent_since()?, node.id)));
        if silent.collect::<BTreeSet<_>>() != self.silent {
            let found = "the index of silent nodes is not what a recomputation gives".to_string();
            violations.push(Violation { invariant: "I2", found });
        }
        for node in self.nodes.iter() {
            let sum = used.get(&node.id).copied().unwrap_or_default();
            if sum != node.used() {
                let found = format!("{} has {} in use by the cache and {sum} by its tasks", node.id, node.used());
                violations.push(Violation { invariant: "I2", found });
            }
            let held = ports.iter().filter(|((id, _), _)| *id == node.id).map(|((_, port), task)| (*port, *task));
            if !held.eq(node.held_ports.iter().map(|(port, task)| (*port, *task))) {
                let found = format!("the ports held on {} are not those of its tasks", node.id);
                violations.push(Violation { invariant: "I2", found });
            }
            if counts.get(&node.id).copied().unwrap_or(0) != node.tasks.len() {
                let found = format!("{} lists {} tasks, which is not what it has", node.id, node.tasks.len());
                violations.push(Violation { invariant: "I2", found });
            }
            if !sum.fits_in(node.info.allocatable.max_of(node.granted)) {
                let found = format!("{} holds {sum} of {}", node.id, node.info.allocatable);
                violations.push(Violation { invariant: "I1", found });
            }
        }
    }

    fn check_workloads(&self, violations: &mut Vec<Violation>) {
        for workload in self.workloads() {
            let uid = workload.uid;
            for version in &workload.versions {
                let refer = |task: &&Task| task.version == version.number;
                let count: usize = workload.slots.iter().map(|s| self.attempts(s).filter(refer).count()).sum();
                if count != version.tasks as usize {
                    let found =
                        format!("version {} of {uid} counts {} tasks, has {count}", version.number, version.tasks);
                    violations.push(Violation { invariant: "I2", found });
                }
            }
            let known = |number: u32| workload.version(number).is_some();
            if !known(workload.version) || !workload.stable.is_none_or(known) {
                let (version, stable) = (workload.version, workload.stable);
                let found = format!("{uid} is at version {version}, stable {stable:?}, and one of them is forgotten");
                violations.push(Violation { invariant: "I28", found });
            }
            if workload.rollout.is_some() != workload.kind.rules().rolls_out {
                violations
                    .push(Violation { invariant: "I28", found: format!("{uid} has a rollout and is no service") });
            }
            for (number, slot) in (0..).zip(&workload.slots) {
                let misplaced = self.attempts(slot).find(|task| task.slot != number || task.workload != uid);
                if let Some(task) = misplaced {
                    let found = format!("{} is in the chain of slot {number} of {uid}", task.id);
                    violations.push(Violation { invariant: "I2", found });
                }
            }
        }
        let finished = self.workloads().filter_map(|w| Some((self.finished_at(w)?, w.uid)));
        if finished.collect::<BTreeSet<_>>() != self.finished {
            let found = "the index of finished task definitions is not what a recomputation gives".to_string();
            violations.push(Violation { invariant: "I2", found });
        }
        let (mut tasks, mut kinds) = (BTreeMap::new(), BTreeMap::new());
        self.tasks().for_each(|task| *tasks.entry(count_key(task)).or_insert(0) += 1);
        self.workloads().filter(|w| !w.deleting).for_each(|w| *kinds.entry(w.kind).or_insert(0) += 1);
        if tasks != self.task_counts || kinds.iter().any(|(kind, count)| self.workload_count(*kind) != *count) {
            let found = "the counts of tasks and workloads are not what a recomputation gives".to_string();
            violations.push(Violation { invariant: "I2", found });
        }
        let bytes: u64 = self.workloads().map(Workload::spec_bytes).sum();
        if bytes != self.spec_bytes {
            let found = format!("{} bytes of specs by the cache, {bytes} by the workloads", self.spec_bytes);
            violations.push(Violation { invariant: "I2", found });
        }
        let slots: u64 = self.workloads().map(|w| u64::from(w.replicas)).sum();
        if slots != self.slots {
            let found = format!("{} slots by the cache, {slots} by the workloads", self.slots);
            violations.push(Violation { invariant: "I2", found });
        }
    }

    fn check_volumes_held(&self, violations: &mut Vec<Violation>) {
        let specs = self.tasks().filter(|task| task.holds_resources()).map(|task| (task, self.spec_of(task)));
        let specs = specs.filter(|(_, spec)| !spec.container.setup.volumes.is_empty());
        let uses: Vec<_> = specs.map(|(task, spec)| (task, spec.container.setup.volume_uses())).collect();
        let mut users: BTreeMap<&str, BTreeMap<TaskId, Access>> = BTreeMap::new();
        for (task, uses) in &uses {
            for (name, access) in uses.iter() {
                let node = self.node_of(task).map(|node| node.info.uid);
                if self.volume(name).is_none_or(|volume| Some(volume.node) != node) {
                    let found = format!("{} is on {:?}, where volume {name} is not", task.id, task.node);
                    violations.push(Violation { invariant: "I49", found });
                }
                users.entry(name).or_default().insert(task.id, access);
            }
        }
        for (name, users) in &users {
            let exclusive = users.iter().find(|(_, access)| **access == Access::Exclusive);
            if let Some((task, _)) = exclusive.filter(|_| users.len() > 1) {
                let found = format!("volume {name} is {task}'s alone, and {} tasks have it", users.len());
                violations.push(Violation { invariant: "I49", found });
            }
        }
        for volume in self.volumes() {
            if users.remove(&*volume.name).unwrap_or_default() != volume.users {
                let found = format!("the users of volume {} are not what a recomputation gives", volume.name);
                violations.push(Violation { invariant: "I2", found });
            }
        }
    }

    fn check_tasks(&self, violations: &mut Vec<Violation>) {
        let mut chained = 0;
        for workload in self.workloads() {
            chained += workload.slots.iter().map(|slot| self.attempts(slot).count()).sum::<usize>();
        }
        if chained != self.task_count() {
            let found = format!("{} tasks, {chained} of them in slots", self.task_count());
            violations.push(Violation { invariant: "I2", found });
        }
        for task in self.tasks() {
            let waits = task.state == TaskState::Pending;
            if waits != self.pending.contains(&(task.workload, task.id)) {
                let found = format!("{} is {} and the index of pending tasks disagrees", task.id, task.state);
                violations.push(Violation { invariant: "I2", found });
            }
            if task.state.is_terminal() != task.end.is_some() || (waits && task.node.is_some()) {
                let found = format!("{} is {} with node {:?} and end {:?}", task.id, task.state, task.node, task.end);
                violations.push(Violation { invariant: "I6", found });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Each index is spoiled once, and the check has to see it.

    use super::*;

    const UID: Uid = Uid { epoch: 1, index: 2 };
    const TASK: TaskId = TaskId { epoch: 1, index: 2, ordinal: 0 };

    /// One node, and one task definition whose attempt stands on it.
    fn cluster() -> Cluster {
        let mut cluster = Cluster::default();
        let resources = Resources { cpu_millis: 100, memory_bytes: 64 << 20 };
        let info = NodeInfo {
            uid: NodeUid(1),
            name: "n0".into(),
            labels: BTreeMap::new(),
            arch: "amd64".into(),
            os: "linux".into(),
            allocatable: resources,
            port_range: (20_000, 20_099),
            address: None,
            pinned_ports: None,
            allowed: [].into(),
            versions: Default::default(),
        };
        let spec = Spec {
            container: Container {
                resources,
                pids_max: 10,
                ports: vec![Port::tcp("p", 80, None)],
                stop: Stop::within(Millis(0)),
                ..crate::testing::container("job:1")
            },
            placement: Placement::default(),
            restart: Restart::with_policy(RestartPolicy::Never),
            disconnect: Disconnect::default(),
            after: vec![],
        };
        let (kind, name, labels) = (Kind::Task, "job".to_string(), BTreeMap::new());
        let definition = Definition { kind, name, labels, replicas: 1, update: Update::ONE_BY_ONE, spec };
        let target = Target { node: NodeId(0), host_ports: [20_000].into() };
        let commands = [
            Command::Register(Registration { info, inventory: vec![] }),
            Command::Put(Put { definition, condition: Condition::None, keeps_replicas: false, idempotency_key: None }),
            Command::Plan(Plan { places: vec![Place { task: TASK, target }], ..Plan::default() }),
        ];
        for (index, command) in (1..).zip(commands) {
            cluster.apply(&Entry { index, term: 1, at: Time(index), wall_ms: index, actor: Actor::Local, command });
        }
        assert_eq!(cluster.check(), []);
        cluster
    }

    fn spoiled(spoil: impl FnOnce(&mut Cluster)) -> Vec<&'static str> {
        let mut cluster = cluster();
        spoil(&mut cluster);
        cluster.check().iter().map(|violation| violation.invariant).collect()
    }

    #[test]
    fn every_spoiled_index_is_seen() {
        assert_eq!(spoiled(|c| c.nodes[NodeId(0)].used = Resources::ZERO), ["I2"], "used");
        assert_eq!(spoiled(|c| c.nodes[NodeId(0)].held_ports.clear()), ["I2"], "held ports");
        assert_eq!(spoiled(|c| c.nodes[NodeId(0)].tasks.clear()), ["I2"], "the node's tasks");
        assert_eq!(spoiled(|c| _ = c.pending.insert((UID, TASK))), ["I2"], "pending");
        assert_eq!(spoiled(|c| _ = c.finished.insert((Time(1), UID))), ["I2"], "finished");
        assert_eq!(spoiled(|c| c.slots += 1), ["I2"], "slots");
        assert_eq!(spoiled(|c| _ = c.silent.insert((Time(1), NodeId(0)))), ["I2"], "silent nodes");
        assert_eq!(spoiled(|c| c.spec_bytes += 1), ["I2"], "bytes of specs");
        assert_eq!(spoiled(|c| c.task_counts.clear()), ["I2"], "tasks by state");
        assert_eq!(spoiled(|c| c.workload_counts.clear()), ["I2"], "workloads by kind");
        let used = |c: &mut Cluster| {
            let volume = Volume::bare("data".into(), UID, NodeUid(1), "n0".into(), Time(1));
            c.volumes.insert("data".into(), Volume { users: [(TASK, Access::Shared)].into(), ..volume });
        };
        assert_eq!(spoiled(used), ["I2"], "users of volumes");
    }

    #[test]
    fn more_than_a_node_has_and_an_end_that_is_none_are_seen() {
        assert_eq!(spoiled(|c| c.nodes[NodeId(0)].info.allocatable = Resources::ZERO), ["I1"]);
        let end = |c: &mut Cluster| {
            let key = c.tasks.key(TASK).expect("it exists");
            // It is counted as what it says it is.
            c.task_counts = BTreeMap::from([((TaskState::Assigned, Some(Reason::Exited)), 1)]);
            c.tasks.at_mut(key).end = Some(Box::new(End::exited(Reason::Exited, 0)));
        };
        assert_eq!(spoiled(end), ["I6"]);
    }
}

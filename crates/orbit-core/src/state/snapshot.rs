//! The replicated state without its indexes: what is written to a snapshot.

use super::{Cluster, KeyRecord, cluster::SCHEMA};
use crate::model::*;

/// Everything that cannot be derived. Two clusters are equal when their snapshots are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// As in [`Cluster`].
    pub cluster: Option<ClusterId>,
    /// As in [`Cluster`].
    pub epoch: u32,
    /// As in [`Cluster`].
    pub unknown: UnknownTasks,
    /// As in [`Cluster`].
    pub schema: u32,
    /// Index of the last entry that is contained.
    pub index: u64,
    /// As in [`Cluster`].
    pub term: u64,
    /// As in [`Cluster`].
    pub at: Time,
    /// As in [`Cluster`].
    pub wall_ms: u64,
    /// As in [`Cluster`].
    pub seed: u64,
    /// By ID. Their indexes are empty.
    pub nodes: Vec<Node>,
    /// The ID of the next new node: above all that were ever given, because none is given again.
    pub next_node: NodeId,
    /// By UID. Their indexes are empty.
    pub workloads: Vec<Workload>,
    /// By ID.
    pub tasks: Vec<Task>,
    /// By name. Their indexes are empty.
    pub volumes: Vec<Volume>,
    /// Oldest first.
    pub keys: Vec<KeyRecord>,
    /// Oldest first.
    pub history: Vec<HistoryEvent>,
}

impl Snapshot {
    /// The same as the beginning of an epoch, which is above its own: what a manager starts with that is restored from a
    /// backup. Whoever speaks for the world before is refused by its workers, and what they have that is not known here is
    /// held.
    pub fn for_restore(self, epoch: u32) -> Snapshot {
        assert!(epoch > self.epoch, "an epoch is never begun twice");
        Snapshot { epoch, unknown: UnknownTasks::Held, ..self }
    }
}

impl Cluster {
    /// The replicated state without its indexes.
    pub fn snapshot(&self) -> Snapshot {
        let node = |n: &Node| {
            let bare = Node::bare(
                n.id,
                n.info.clone(),
                n.incarnation,
                n.registered_at,
                n.reach,
                n.availability,
                n.quarantined_ports.clone(),
                n.next_port,
            );
            let Node { failed_starts, disk_full_since, unknown, .. } = n.clone();
            Node { failed_starts, disk_full_since, unknown, ..bare }
        };
        let workload = |w: &Workload| Workload {
            versions: w.versions.iter().map(|v| Version { tasks: 0, ..v.clone() }).collect(),
            slots: w.slots.iter().map(|s| Slot::bare(s.failures, s.version, s.not_before, s.own)).collect(),
            ..w.clone()
        };
        let volume = |v: &Volume| Volume::bare(v.name.clone(), v.uid, v.node, v.node_name.clone(), v.bound_at);
        Snapshot {
            cluster: self.id,
            epoch: self.epoch,
            unknown: self.unknown,
            schema: self.schema,
            index: self.index,
            term: self.term,
            at: self.at,
            wall_ms: self.wall_ms,
            seed: self.seed,
            nodes: self.nodes.iter().map(node).collect(),
            next_node: self.nodes.next_id(),
            workloads: self.workloads.values().map(workload).collect(),
            tasks: self.tasks.iter().map(Task::bare).collect(),
            volumes: self.volumes.values().map(volume).collect(),
            keys: self.keys.records().collect(),
            history: self.history.iter().cloned().collect(),
        }
    }

    /// The state of a snapshot, with its indexes built.
    ///
    /// # Errors
    /// What is wrong with a snapshot that no cluster can have written.
    pub fn restore(snapshot: Snapshot) -> Result<Cluster, String> {
        if snapshot.schema > SCHEMA {
            return Err(format!(
                "the snapshot has schema {}, this program knows {SCHEMA}: run a newer one",
                snapshot.schema
            ));
        }
        let mut cluster = Cluster {
            id: snapshot.cluster,
            epoch: snapshot.epoch,
            unknown: snapshot.unknown,
            schema: snapshot.schema,
            index: snapshot.index,
            term: snapshot.term,
            at: snapshot.at,
            wall_ms: snapshot.wall_ms,
            seed: snapshot.seed,
            ..Cluster::default()
        };
        for node in snapshot.nodes {
            if node.id < cluster.nodes.next_id() || node.id >= snapshot.next_node {
                return Err(format!("node {} is out of order", node.id));
            }
            let known = cluster.node_names.contains_key(&node.info.name);
            if known || cluster.node_uids.contains_key(&node.info.uid) {
                return Err(format!("node {} has the name or the ID of another", node.id));
            }
            cluster.insert_node(node);
        }
        cluster.nodes.skip_to(snapshot.next_node);
        let mut last = None;
        for mut workload in snapshot.workloads {
            let uid = workload.uid;
            // Older snapshots do not say: only failures of the version that a slot shall be of were counted.
            let unsaid = workload.slots.iter_mut().filter(|slot| slot.version == 0 && slot.failures > 0);
            unsaid.for_each(|slot| slot.version = workload.version);
            if last.replace(uid).is_some_and(|last| last >= uid) {
                return Err(format!("workload {uid} is out of order"));
            }
            let numbers = workload.versions.iter().map(|v| v.number);
            if workload.versions.is_empty() || !numbers.is_sorted_by(|a, b| a < b) {
                return Err(format!("the versions of workload {uid} are out of order"));
            }
            let known = |number: u32| workload.version(number).is_some();
            if !known(workload.version) || !workload.stable.is_none_or(known) {
                return Err(format!("workload {uid} is of a version that it does not have"));
            }
            if workload.kind.rules().rolls_out != workload.rollout.is_some() {
                return Err(format!("workload {uid} is a service without a rollout, or the reverse"));
            }
            let name = (workload.kind, workload.name.clone());
            if !workload.deleting && cluster.names.contains_key(&name) {
                return Err(format!("workload {uid} has the name of another"));
            }
            cluster.insert_workload(workload);
        }
        for volume in snapshot.volumes {
            if cluster.volumes.last_key_value().is_some_and(|(last, _)| *last >= volume.name) {
                return Err(format!("volume {} is out of order", volume.name));
            }
            cluster.volumes.insert(volume.name.clone(), volume);
        }
        for task in snapshot.tasks {
            cluster.check_restored(&task)?;
            cluster.insert_task(task);
        }
        let uids: Vec<Uid> = cluster.workloads.keys().copied().collect();
        uids.into_iter().for_each(|uid| cluster.refresh_finished(uid));
        for node in cluster.nodes.iter_mut() {
            node.granted = node.used;
        }
        for record in snapshot.keys {
            if cluster.keys.get(&record.key).is_some() {
                return Err(format!("the idempotency key `{}` stands twice", record.key));
            }
            cluster.keys.insert(&record.key, record.fingerprint, record.answer);
        }
        for event in snapshot.history {
            if event.index > cluster.index
                || cluster.history.iter().next_back().is_some_and(|last| last.index > event.index)
            {
                return Err(format!("what happened at {} is out of order", event.index));
            }
            cluster.history.push(event);
        }
        cluster.changes.clear();
        Ok(cluster)
    }

    /// What `insert_task` would assert, as an error: a snapshot's bytes are input.
    fn check_restored(&self, task: &Task) -> Result<(), String> {
        let id = task.id;
        let fail = |what: &str| Err(format!("task {id} {what}"));
        let Some(workload) = self.workload(task.workload) else {
            return fail("has no workload");
        };
        if workload.spec(task.version).is_none() || task.slot as usize >= workload.slots.len() {
            return fail("has no version or no slot");
        }
        if self.tasks.iter_after(id).next().is_some() || self.tasks.key(id).is_some() || id == TaskId::MIN {
            return fail("is out of order");
        }
        if task.state.is_terminal() != task.end.is_some() {
            return fail("has ended without an end, or the reverse");
        }
        match task.node {
            None if matches!(task.state, TaskState::Pending) || task.state.is_terminal() => Ok(()),
            Some(node) if task.state != TaskState::Pending => match self.node(node) {
                None if !task.state.is_terminal() || node >= self.nodes.next_id() => fail("has no node"),
                None => Ok(()),
                Some(node) if !task.state.is_terminal() => {
                    let ports = &task.host_ports;
                    let twice = ports.iter().enumerate().any(|(i, p)| ports[..i].contains(p));
                    if twice || ports.iter().any(|p| node.held_ports.contains_key(p)) {
                        return fail("holds a port that is held already");
                    }
                    let uses = self.spec_of(task).container.setup.volume_uses();
                    if uses.iter().any(|(volume, _)| self.volume(volume).is_none()) {
                        return fail("uses a volume that is nowhere");
                    }
                    match self.check_volumes(&uses, node, None) {
                        Ok(()) => Ok(()),
                        Err(refusal) => fail(&format!("is where it cannot be: {refusal}")),
                    }
                }
                Some(_) => Ok(()),
            },
            _ => fail("has a node and waits for one, or the reverse"),
        }
    }
}

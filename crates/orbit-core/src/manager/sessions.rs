//! Sessions: which worker is connected how, and what it has been told.
//!
//! A session begins with `Register`, which goes through the log; when that is committed the worker
//! is welcomed with everything it shall run, and from then on told differences. A node has at most
//! one session (invariant I20): a new process of the same worker takes over only when the old one
//! has closed or does not answer a probe.

use super::Action;
use crate::{
    model::*,
    planted::{Bug, planted},
    state::Cluster,
};
use std::collections::{BTreeMap, BTreeSet};

/// The transport's handle of one connection. Chosen by the shell, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A session of a registered worker.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub node: NodeId,
    pub incarnation: u64,
    uid: NodeUid,
    nonce: u64,
    /// Number of the last assignment that was sent, and when.
    sent: (u64, Time),
    /// Tasks of which the worker has to be told.
    untold: BTreeSet<TaskId>,
    /// Reports that are on their way through the log.
    pub proposed: BTreeSet<Said>,
}

/// A worker that has said hello and is not welcomed yet.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub hello: Hello,
    /// Its registration has been proposed.
    pub proposed: bool,
    /// Waits until this time for the node's present session to answer a probe.
    pub probe_until: Option<Time>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    live: BTreeMap<SessionId, Session>,
    by_node: BTreeMap<NodeId, SessionId>,
    pub guests: BTreeMap<SessionId, Guest>,
}

impl Sessions {
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.live.get_mut(&id)
    }
    pub fn of_node(&self, node: NodeId) -> Option<SessionId> {
        self.by_node.get(&node).copied()
    }
    /// The live session of a worker, with the nonce of its process.
    pub fn of_uid(&self, uid: NodeUid) -> Option<(SessionId, u64)> {
        self.live.iter().find(|(_, s)| s.uid == uid).map(|(id, s)| (*id, s.nonce))
    }
    pub fn live(&self) -> impl Iterator<Item = (SessionId, NodeId, u64)> + '_ {
        self.live.iter().map(|(id, session)| (*id, session.node, session.incarnation))
    }
    pub fn ids(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.live.keys().chain(self.guests.keys()).copied()
    }
    pub fn close(&mut self, id: SessionId) {
        self.guests.remove(&id);
        if let Some(session) = self.live.remove(&id)
            && self.by_node.get(&session.node) == Some(&id)
        {
            self.by_node.remove(&session.node);
        }
    }

    /// The first time at which a probe that was not answered counts as silence.
    pub fn deadline(&self) -> Option<Time> {
        self.guests.values().filter_map(|guest| guest.probe_until).min()
    }

    /// A registration is committed: the session is live, and the worker is told everything.
    pub fn welcome(
        &mut self,
        cluster: &Cluster,
        id: SessionId,
        guest: &Guest,
        node: NodeId,
        now: Time,
        timing: &Timing,
    ) -> Action {
        let incarnation = cluster.node(node).map_or(0, |n| n.incarnation);
        let session = Session {
            node,
            incarnation,
            uid: guest.hello.info.uid,
            nonce: guest.hello.nonce,
            sent: (1, now),
            untold: BTreeSet::new(),
            proposed: BTreeSet::new(),
        };
        self.live.insert(id, session);
        self.by_node.insert(node, id);
        let welcome = Welcome {
            cluster: cluster.id.unwrap_or(ClusterId(0)),
            epoch: cluster.epoch,
            term: cluster.term,
            node,
            incarnation,
            heartbeat: timing.heartbeat,
            lease: timing.lease,
            assigned: everything(cluster, node, 1),
        };
        Action::Send { session: id, message: ToWorker::Welcome(welcome) }
    }

    /// These tasks changed in a way that their nodes have to know.
    pub fn untold(&mut self, tasks: &[(NodeId, TaskId)]) {
        for (node, task) in tasks {
            if let Some(session) = self.by_node.get(node).and_then(|id| self.live.get_mut(id)) {
                session.untold.insert(*task);
            }
        }
    }

    /// Tells every worker what it has to know.
    pub fn tell(&mut self, cluster: &Cluster, now: Time, actions: &mut Vec<Action>) {
        for (id, session) in &mut self.live {
            if session.untold.is_empty() {
                continue;
            }
            let mut assigned = Assigned { seq: session.sent.0 + 1, full: false, tasks: vec![], removed: vec![] };
            for task in std::mem::take(&mut session.untold) {
                match cluster.task(task) {
                    Some(task) if task.node == Some(session.node) => assigned.tasks.push(assignment(cluster, task)),
                    // Forgotten, or never this node's: nobody else is told what to run (I5).
                    _ => assigned.removed.push(task),
                }
            }
            session.sent = (assigned.seq, now);
            actions.push(Action::Send { session: *id, message: ToWorker::Assigned(assigned) });
        }
    }

    /// A heartbeat says how far the worker is. If an assignment seems lost, it is told everything.
    pub fn resync(
        &mut self,
        cluster: &Cluster,
        id: SessionId,
        assigned_seq: u64,
        now: Time,
        timing: &Timing,
    ) -> Option<Action> {
        let session = self.live.get_mut(&id)?;
        let patience = Millis(timing.heartbeat.0 * 2);
        let behind = u64::from(planted(Bug::ResyncOneBehind));
        if assigned_seq + behind >= session.sent.0 || now.since(session.sent.1) < patience {
            return None;
        }
        session.untold.clear();
        session.sent = (session.sent.0 + 1, now);
        let message = ToWorker::Assigned(everything(cluster, session.node, session.sent.0));
        Some(Action::Send { session: id, message })
    }
}

/// All that a node shall run or keep.
fn everything(cluster: &Cluster, node: NodeId, seq: u64) -> Assigned {
    let tasks = cluster.node(node).into_iter().flat_map(Node::tasks);
    let tasks = tasks.filter_map(|id| Some(assignment(cluster, cluster.task(id)?))).collect();
    Assigned { seq, full: true, tasks, removed: vec![] }
}

fn assignment(cluster: &Cluster, task: &Task) -> Assignment {
    let workload = cluster.workload(task.workload).expect("a task's workload lives as long as it");
    Assignment {
        task: task.id,
        generation: task.generation,
        desired: task.desired,
        ended: task.state.is_terminal(),
        kind: workload.kind,
        name: workload.name.clone(),
        slot: task.slot,
        spec: cluster.spec_of(task).clone(),
        host_ports: task.host_ports.clone(),
        image: workload.version(task.version).map(Version::image).unwrap_or_default(),
    }
}

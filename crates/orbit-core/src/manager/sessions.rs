//! Sessions: which worker is connected on which connection.
//!
//! A session begins with `Register`, which goes through the log. Until it is committed the session is pending.
//! Then the worker is welcomed with all its orders, and told differences after that (see [`super::dispatcher`]).
//! A node has at most one live session (invariant I20). A new process of the same worker takes over only if the old
//! session has closed or does not answer a probe.
//!
//! Cost: each question is about one session, one node or one worker, and an index answers it.

use crate::model::{Hello, NodeId, NodeUid, Statement, TaskId, Time};
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
    /// The number of the last heartbeat that was heard: what an earlier one says of the node is out of date.
    heartbeat: u64,
    /// The number of the last report that was heard of each task whose findings may turn.
    pub reported: BTreeMap<TaskId, u64>,
    /// What is on its way through the log: the last word of each task, with the number of the report that said it.
    pub proposed: BTreeMap<TaskId, (Statement, u64)>,
}

/// A worker that has said hello and is not welcomed yet.
#[derive(Clone, Debug)]
pub(super) struct PendingSession {
    pub hello: Hello,
    /// Waits until this time for the node's present session to answer a probe.
    pub probe_until: Option<Time>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    live: BTreeMap<SessionId, Session>,
    by_node: BTreeMap<NodeId, SessionId>,
    by_uid: BTreeMap<NodeUid, SessionId>,
    pending: BTreeMap<SessionId, PendingSession>,
    pending_by_uid: BTreeSet<(NodeUid, SessionId)>,
    /// When each probe that is under way counts as not answered.
    probes: BTreeSet<(Time, SessionId)>,
}

impl Sessions {
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.live.get_mut(&id)
    }
    /// A heartbeat is heard: whether it came behind none that followed it.
    pub fn hears(&mut self, id: SessionId, seq: u64) -> bool {
        let Some(session) = self.live.get_mut(&id) else { return false };
        let is_newest = seq > session.heartbeat;
        session.heartbeat = session.heartbeat.max(seq);
        is_newest
    }
    pub fn of_node(&self, node: NodeId) -> Option<SessionId> {
        self.by_node.get(&node).copied()
    }
    /// The live session of a node, with the registration that it belongs to.
    pub fn incarnation_of(&self, node: NodeId) -> Option<u64> {
        Some(self.live.get(&self.of_node(node)?)?.incarnation)
    }
    /// The live session of a worker, with the nonce of its process.
    pub fn of_uid(&self, uid: NodeUid) -> Option<(SessionId, u64)> {
        let id = *self.by_uid.get(&uid)?;
        Some((id, self.live[&id].nonce))
    }
    /// The worker of a live session.
    pub fn uid_of(&self, id: SessionId) -> Option<NodeUid> {
        self.live.get(&id).map(|session| session.uid)
    }
    pub fn live(&self) -> impl Iterator<Item = (SessionId, NodeId, u64)> + '_ {
        self.live.iter().map(|(id, session)| (*id, session.node, session.incarnation))
    }
    pub fn ids(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.live.keys().chain(self.pending.keys()).copied()
    }
    pub fn close(&mut self, id: SessionId) {
        self.take_pending(id);
        if let Some(session) = self.live.remove(&id) {
            if self.by_node.get(&session.node) == Some(&id) {
                self.by_node.remove(&session.node);
            }
            if self.by_uid.get(&session.uid) == Some(&id) {
                self.by_uid.remove(&session.uid);
            }
        }
    }

    /// A registration is committed: the session is live.
    pub fn open(&mut self, id: SessionId, hello: &Hello, node: NodeId, incarnation: u64) {
        let (uid, nonce) = (hello.info.uid, hello.nonce);
        self.live.insert(
            id,
            Session {
                node,
                incarnation,
                uid,
                nonce,
                heartbeat: 0,
                reported: BTreeMap::new(),
                proposed: BTreeMap::new(),
            },
        );
        self.by_node.insert(node, id);
        self.by_uid.insert(uid, id);
    }
}

// Those that are not welcomed yet.
impl Sessions {
    pub fn pending(&self, id: SessionId) -> Option<&PendingSession> {
        self.pending.get(&id)
    }
    /// Everything that has said hello as this worker and is not welcomed yet.
    pub fn pending_of(&self, uid: NodeUid) -> impl Iterator<Item = (SessionId, &PendingSession)> {
        let from = (uid, SessionId(0));
        let of_uid = self.pending_by_uid.range(from..).take_while(move |(of, _)| *of == uid);
        of_uid.map(|(_, id)| (*id, &self.pending[id]))
    }
    pub fn insert_pending(&mut self, id: SessionId, pending: PendingSession) {
        self.pending_by_uid.insert((pending.hello.info.uid, id));
        self.probes.extend(pending.probe_until.map(|until| (until, id)));
        self.pending.insert(id, pending);
    }
    pub fn take_pending(&mut self, id: SessionId) -> Option<PendingSession> {
        let pending = self.pending.remove(&id)?;
        self.pending_by_uid.remove(&(pending.hello.info.uid, id));
        if let Some(until) = pending.probe_until {
            self.probes.remove(&(until, id));
        }
        Some(pending)
    }
    /// Its probe is over: it does not wait any more.
    pub fn end_probe(&mut self, id: SessionId) {
        if let Some(pending) = self.pending.get_mut(&id)
            && let Some(until) = pending.probe_until.take()
        {
            self.probes.remove(&(until, id));
        }
    }
    /// The first time at which a probe that was not answered counts as silence.
    pub fn deadline(&self) -> Option<Time> {
        self.probes.first().map(|(until, _)| *until)
    }
    /// Those whose probe was not answered by now, in order of their connections.
    pub fn unanswered(&self, at: Time) -> Vec<SessionId> {
        let due = self.probes.iter().take_while(|(until, _)| *until <= at);
        let mut due = Vec::from_iter(due.map(|(_, id)| *id));
        due.sort_unstable();
        due
    }
}

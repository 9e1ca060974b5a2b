//! Two managers that share a log, users that ask for anything, workers that say anything, and a
//! consensus that delays, loses and hands over.

mod truth;

use crate::{bytes, draws::Draws};
use orbit_core::{
    manager::*,
    model::*,
    reconciler,
    state::{Cluster, Snapshot},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use truth::Truth;

const NAMES: [&str; 3] = ["api", "job", "web"];
/// Beyond this an input only takes time.
const DEEDS_MAX: usize = 400;

/// A stream of events into the manager, checked after each.
pub fn manager(data: &[u8]) {
    let mut draws = Draws::new(data);
    let mut world = World::new();
    for _ in 0..DEEDS_MAX {
        if draws.is_over() {
            break;
        }
        world.deed(&mut draws);
    }
    world.comes_to_rest();
}

/// A process with a manager in it.
struct Replica {
    manager: Manager,
    /// How much of the log it was given.
    given: usize,
    /// What it proposed in terms that are over.
    stale: Vec<ProposalId>,
}

struct Proposal {
    id: ProposalId,
    at: Time,
    command: Command,
}

/// A connection that a worker has made.
struct Connection {
    id: SessionId,
    /// Since its welcome: the node that it is, and the number of the last assignment.
    node: Option<NodeId>,
    seq: u64,
    /// The manager has ended it; what the worker had sent before may still come.
    closed: bool,
}

struct World {
    now: u64,
    wall_ms: u64,
    term: u64,
    leader: Replica,
    follower: Replica,
    log: Vec<Entry>,
    /// Proposals of the present term, in order.
    proposed: VecDeque<Proposal>,
    /// Proposals of this term that were called lost, and may be committed all the same.
    limbo: Vec<Proposal>,
    last_proposal: ProposalId,
    connections: Vec<Connection>,
    sessions: u64,
    requests: u64,
    /// Requests that were not answered yet.
    waiting: BTreeMap<RequestId, Request>,
    /// The images that somebody was asked for.
    asked: Vec<(Uid, u32)>,
    truth: Truth,
}

impl Replica {
    fn new() -> Replica {
        Replica { manager: Manager::restore(Cluster::default(), Timing::default()), given: 0, stale: Vec::new() }
    }
}

impl World {
    fn new() -> World {
        let mut world = World {
            now: 0,
            wall_ms: 1_700_000_000_000,
            term: 0,
            leader: Replica::new(),
            follower: Replica::new(),
            log: Vec::new(),
            proposed: VecDeque::new(),
            limbo: Vec::new(),
            last_proposal: ProposalId(0),
            connections: Vec::new(),
            sessions: 0,
            requests: 0,
            waiting: BTreeMap::new(),
            asked: Vec::new(),
            truth: Truth::default(),
        };
        world.elect();
        world.commit(usize::MAX);
        world
    }

    fn cluster(&self) -> &Cluster {
        self.leader.manager.cluster()
    }

    fn step(&mut self, event: Event) -> bool {
        let actions = self.leader.manager.step(Time(self.now), event);
        let acted = !actions.is_empty();
        actions.into_iter().for_each(|action| self.act(action));
        acted
    }

    /// Takes an action as the shell would, and checks that it is one that a shell can carry out.
    fn act(&mut self, action: Action) {
        match action {
            Action::Propose { proposal: id, at, command, .. } => {
                assert!(id > self.last_proposal, "proposals are numbered in order");
                self.last_proposal = id;
                let before = self.proposed.back().map_or(Time(0), |proposal| proposal.at);
                assert!(at >= before, "the time of proposals does not go back");
                self.proposed.push_back(Proposal { id, at, command });
            }
            Action::Send { session, message } => {
                bytes::from_our_manager(&message);
                let connection = self.connections.iter_mut().find(|c| c.id == session);
                let connection = connection.expect("only who has connected is written to");
                match message {
                    ToWorker::Refused { .. } => {}
                    ToWorker::Prefetch { workload, version, .. } if !connection.closed => {
                        self.asked.push((workload, version));
                    }
                    _ if connection.closed => panic!("{session:?} was ended, then {message:?}"),
                    ToWorker::Welcome(welcome) => {
                        assert!(connection.node.is_none(), "a session is welcomed once");
                        connection.node = Some(welcome.node);
                        connection.seq = welcome.assigned.seq;
                    }
                    ToWorker::Assigned(assigned) => {
                        assert_eq!(assigned.seq, connection.seq + 1, "assignments are counted");
                        connection.seq = assigned.seq;
                    }
                    _ => {}
                }
            }
            Action::Close(session) => {
                assert!((1..=self.sessions).contains(&session.0), "what is ended was there");
                self.connections.iter_mut().filter(|c| c.id == session).for_each(|c| c.closed = true);
            }
            Action::Reply { id, result } => {
                let request = self.waiting.remove(&id).expect("a request is answered once");
                self.truth.answered(request, result);
            }
        }
    }

    /// The next entry of the log, for the leader; the follower takes it later.
    fn append(&mut self, at: Time, command: Command, proposal: Option<ProposalId>) {
        let last = self.log.last().map_or(Time(0), |entry| entry.at);
        let index = self.log.len() as u64 + 1;
        let entry =
            Entry { index, term: self.term, at: at.max(last), wall_ms: self.wall_ms, actor: Actor::Local, command };
        bytes::entry(&entry);
        self.log.push(entry.clone());
        self.leader.given += 1;
        self.step(Event::Committed { entry: entry.clone(), proposal });
        self.truth.after(&entry, self.leader.manager.cluster());
    }

    fn commit(&mut self, most: usize) {
        let mut count = 0;
        while count < most
            && let Some(Proposal { id, at, command }) = self.proposed.pop_front()
        {
            count += 1;
            assert!(count < 1000, "I23: the manager does not come to rest");
            self.append(at, command, Some(id));
        }
    }

    fn elect(&mut self) {
        self.term += 1;
        self.last_proposal = self.leader.stale.last().copied().unwrap_or(ProposalId(0));
        let (term, wall_ms) = (self.term, self.wall_ms);
        self.step(Event::Elected { term, seed: term, cluster: ClusterId(1), wall_ms });
    }

    /// The leader loses its lead. Some of what it proposed last is committed all the same.
    fn depose(&mut self, survive: usize) {
        self.step(Event::Deposed);
        assert!(self.waiting.is_empty(), "whoever asked a leader that lost the lead is told");
        self.connections.clear();
        self.limbo.clear();
        for _ in 0..survive {
            let Some(Proposal { id, at, command }) = self.proposed.pop_front() else { break };
            self.append(at, command, Some(id));
            self.leader.stale.push(id);
        }
        self.leader.stale.extend(self.proposed.drain(..).map(|proposal| proposal.id));
    }

    fn catch_up(&mut self, most: usize) {
        let to = self.log.len().min(self.follower.given.saturating_add(most));
        for entry in &self.log[self.follower.given..to] {
            let event = Event::Committed { entry: entry.clone(), proposal: None };
            let actions = self.follower.manager.step(Time(self.now), event);
            assert_eq!(actions, [], "I34: a follower does nothing");
        }
        self.follower.given = to;
        if to == self.log.len() {
            let (follower, leader) = (self.follower.manager.snapshot(), self.leader.manager.snapshot());
            assert_eq!(follower, leader, "I14: replicas are equal at an equal index");
        }
    }

    /// What the leader's snapshot is after it was written and read.
    fn stored_snapshot(&self) -> Snapshot {
        let snapshot = self.leader.manager.snapshot();
        let stored = bytes::snapshot(&snapshot);
        let restored = Cluster::restore(stored.clone()).expect("I33: a snapshot loads");
        assert_eq!(restored.check(), [], "restored");
        assert_eq!(restored.snapshot(), snapshot, "I14: a restored snapshot is the live state");
        stored
    }

    fn request(&mut self, request: Request) {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.waiting.insert(id, request.clone());
        self.step(Event::Request { id, actor: Actor::Local, request });
    }

    fn hear(&mut self, session: SessionId, message: ToManager) {
        if let Some(message) = bytes::to_manager(&message) {
            self.step(Event::Message { session, message });
        }
    }

    fn connect(&mut self) -> SessionId {
        self.sessions += 1;
        let id = SessionId(self.sessions);
        self.connections.push(Connection { id, node: None, seq: 0, closed: false });
        id
    }

    /// Lets the manager wake when it wants to, until every node has been silent for so long that it is
    /// given up, if the brake does not hold. A leader that has just slept gives them all another
    /// chance and does not look at their workloads again before that is over. What its user lets wait for longer than that is not
    /// waited for.
    fn falls_silent(&mut self) {
        let soon = self.leader.manager.cluster_time(Time(self.now)) + Millis::secs(120);
        for _ in 0..40 {
            self.commit(usize::MAX);
            let now = self.leader.manager.cluster_time(Time(self.now));
            let replace_after = self.leader.manager.timing().replace_after;
            let outages = self.leader.manager.outages();
            let waits = |task: &Task| {
                let outage = task.node.and_then(|node| outages.get(&node));
                let due = outage.and_then(|it| it.replace_at(self.cluster().spec_of(task), replace_after));
                due.is_some_and(|due| due > now && due <= soon) && task.is_live()
            };
            let heard = self.cluster().nodes().any(|node| node.reach == Reach::Reachable);
            if !heard && !self.cluster().tasks().any(waits) {
                return;
            }
            let due = self.leader.manager.deadline().expect("a leader that waits for a time names it");
            self.now = self.now.max(due.0);
            self.wake();
        }
        panic!("silent nodes are given up in bounded time");
    }

    /// An answer to somebody's question for an image, or to one that nobody asked.
    fn prefetched(&self, draws: &mut Draws) -> ToManager {
        let nobody = (Uid { epoch: 1, index: draws.number() }, draws.below(4) as u32);
        let asked = self.asked.get(draws.below(self.asked.len().max(1)));
        let (workload, version) = asked.copied().unwrap_or(nobody);
        let failure = draws.bool().then(|| End::new(Reason::PullFailed, "no"));
        ToManager::Prefetched { workload, version, failure }
    }

    /// All is committed and nothing more happens: then nothing is left to do.
    fn comes_to_rest(&mut self) {
        self.commit(usize::MAX);
        assert!(self.waiting.is_empty(), "every request is answered: {:?}", self.waiting);
        self.falls_silent();
        let at = self.leader.manager.cluster_time(Time(self.now));
        for workload in self.cluster().workloads() {
            let Some(changes) = self.leader.manager.changes(workload, at) else { continue };
            let (wake_at, no_place) = (changes.wake_at, changes.no_place.clone());
            let rest = reconciler::Changes { wake_at, no_place, ..Default::default() };
            assert_eq!(changes, rest, "I24: {}", workload.name);
        }
        self.stored_snapshot();
        self.catch_up(usize::MAX);
    }
}

// What can happen.
impl World {
    fn deed(&mut self, draws: &mut Draws) {
        match draws.below(24) {
            0..=2 => self.put(draws),
            3 => {
                let (name, condition) = (draws.of(&NAMES).into(), self.condition(draws));
                let replicas = draws.of(&[0, 1, 2, 3, 5, 8, 20, u32::MAX]);
                self.request(Request::Scale { name, replicas, condition });
            }
            4 => {
                let (kind, name) = (draws.of(&[Kind::Service, Kind::Task]), draws.of(&NAMES).into());
                let condition = self.condition(draws);
                self.request(Request::Delete { kind, name, condition });
            }
            5 => {
                let task = self.any_task(draws);
                self.request(Request::StopTask(task));
            }
            6 => {
                let task = self.any_task(draws);
                self.request(Request::Open(StreamRequest {
                    token: StreamToken([1; 16]),
                    task,
                    what: StreamOf::Logs(LogRange::default()),
                }));
            }
            7 if draws.one_in(2) => {
                let deadline = draws.one_in(2).then(|| Millis(draws.number()));
                let orders =
                    [AvailabilityOrder::Uncordon, AvailabilityOrder::Cordon, AvailabilityOrder::Drain { deadline }];
                self.request(Request::SetAvailability {
                    name: format!("n{}", draws.below(4)),
                    order: draws.of(&orders),
                });
            }
            7 if draws.one_in(2) => {
                let to = draws.one_in(2).then(|| draws.of(&[0, 1, 2, 3, u32::MAX]));
                let orders =
                    [RolloutOrder::Pause, RolloutOrder::Resume, RolloutOrder::Promote, RolloutOrder::Undo { to }];
                let (name, condition) = (draws.of(&NAMES).into(), self.condition(draws));
                self.request(Request::Rollout { name, order: draws.of(&orders), condition });
            }
            7 => self.request(Request::Forget { name: format!("n{}", draws.below(4)) }),
            8 | 9 => {
                let session = if draws.one_in(4) { self.any_session(draws) } else { Some(self.connect()) };
                self.register(session, draws);
            }
            10..=13 => self.report(draws),
            14 => {
                let Some(session) = self.any_session(draws) else { return };
                let message = match draws.below(4) {
                    0 => ToManager::ProbeAck,
                    1 => self.prefetched(draws),
                    _ => {
                        let (seq, assigned_seq) = (draws.number(), draws.number());
                        ToManager::Heartbeat { seq, assigned_seq, disk_full: seq % 8 == 7 }
                    }
                };
                self.hear(session, message);
            }
            15 => {
                let Some(session) = self.any_session(draws) else { return };
                self.connections.retain(|c| c.id != session);
                self.step(Event::SessionClosed(session));
            }
            16 => {
                // Not for ever: the clock of a process begins at its start.
                self.now += draws.number().min(1 << 40);
                self.wake();
            }
            17 => {
                let due = self.leader.manager.deadline().unwrap_or(Time(self.now));
                self.now = self.now.max(due.0.min(1 << 60));
                self.wake();
            }
            18 | 19 => self.commit(draws.below(8)),
            20 => self.lose(draws),
            21 => {
                if draws.bool() || self.limbo.is_empty() {
                    self.catch_up(draws.below(32));
                } else {
                    let Proposal { at, command, .. } = self.limbo.remove(draws.below(self.limbo.len()));
                    self.append(at, command, None);
                }
            }
            22 => {
                let snapshot = self.stored_snapshot();
                if self.follower.given < self.log.len() && draws.bool() {
                    let actions = self.follower.manager.step(Time(self.now), Event::Install(Box::new(snapshot)));
                    assert_eq!(actions, [], "I34: a follower does nothing");
                    self.follower.given = self.log.len();
                }
            }
            _ => self.hand_over(draws),
        }
    }

    fn wake(&mut self) {
        let acted = self.step(Event::Wake);
        let due = self.leader.manager.deadline();
        assert!(acted || due.is_none_or(|due| due > Time(self.now)), "it wants to be woken again at once, for nothing");
    }

    /// The lead goes to the follower, or to the same process, or to it after a crash.
    fn hand_over(&mut self, draws: &mut Draws) {
        self.depose(draws.below(8));
        match draws.below(3) {
            0 => {
                self.catch_up(usize::MAX);
                std::mem::swap(&mut self.leader, &mut self.follower);
            }
            1 => {}
            _ => {
                let cluster = Cluster::restore(self.stored_snapshot()).expect("just looked");
                let manager = Manager::restore(cluster, *self.leader.manager.timing());
                self.leader = Replica { manager, given: self.log.len(), stale: Vec::new() };
            }
        }
        // What a machine's clock says after a restart is anybody's guess.
        if draws.one_in(4) {
            self.wall_ms = draws.number() & ((1 << 48) - 1);
        }
        self.term += draws.number() >> 32;
        self.elect();
        if draws.bool() {
            self.commit(usize::MAX);
        }
    }

    /// A proposal is called lost: of this term, or of one that is over.
    fn lose(&mut self, draws: &mut Draws) {
        if draws.one_in(4) && !self.leader.stale.is_empty() {
            let stale = draws.of(&self.leader.stale);
            self.step(Event::ProposalLost(stale));
            return;
        }
        let Some(proposal) = self.proposed.pop_front() else { return };
        let id = proposal.id;
        let begins_the_term = matches!(proposal.command, Command::Init { .. } | Command::Barrier { .. });
        if !begins_the_term {
            self.limbo.push(proposal);
        }
        self.step(Event::ProposalLost(id));
        if begins_the_term {
            // Its shell steps down; somebody is elected.
            self.leader.stale.push(id);
            self.depose(0);
            self.elect();
        }
    }

    fn put(&mut self, draws: &mut Draws) {
        let kind = draws.of(&[Kind::Service, Kind::Task]);
        let policy = match kind {
            Kind::Service => RestartPolicy::Always,
            Kind::Task => draws.of(&[RestartPolicy::Never, RestartPolicy::OnFailure]),
        };
        let definition = Definition {
            kind,
            name: draws.of(&NAMES).into(),
            labels: draws.labels(),
            replicas: if kind == Kind::Task { 1 } else { draws.of(&[0, 1, 2, 3, 5, 8, 20, u32::MAX]) },
            update: draws.update(kind),
            spec: draws.spec(policy),
        };
        let condition = self.condition(draws);
        let idempotency_key = draws.one_in(4).then(|| draws.of(&["k1", "k2", ""]).to_string());
        // A client that heard nothing asks the same again.
        let put = Put { definition, condition, keeps_replicas: false, idempotency_key };
        if draws.one_in(8) {
            self.request(Request::Put(put.clone()));
        }
        self.request(Request::Put(put));
    }

    fn register(&mut self, session: Option<SessionId>, draws: &mut Draws) {
        let open = |session: &SessionId| self.connections.iter().any(|c| c.id == *session && !c.closed);
        let Some(session) = session.filter(open) else { return };
        let node = draws.below(4) as u8;
        let mut reports: BTreeMap<TaskId, TaskReport> = BTreeMap::new();
        for _ in 0..draws.below(4) {
            let (task, state) = (self.any_task(draws), draws.state());
            reports.insert(task, draws.report(task, state));
        }
        let hello = Hello {
            cluster: if draws.one_in(8) { Some(ClusterId(draws.number())) } else { self.cluster().id },
            seen: if draws.one_in(8) { (1, draws.number()) } else { (0, 0) },
            nonce: draws.below(2) as u64,
            info: draws.info(node),
            inventory: reports.into_values().collect(),
            takes_parts: true,
            prefetches: true,
        };
        self.hear(session, ToManager::Register(hello));
    }

    /// What a worker says of its own tasks, or of anybody's.
    fn report(&mut self, draws: &mut Draws) {
        let connection = draws.below(self.connections.len().max(1));
        let Some(&Connection { id, node, .. }) = self.connections.get(connection) else { return };
        let node = node.and_then(|node| self.cluster().node(node));
        let own: Vec<TaskId> = node.into_iter().flat_map(Node::tasks).collect();
        let mut reports: BTreeMap<TaskId, TaskReport> = BTreeMap::new();
        for _ in 0..1 + draws.below(3) {
            let honest = !own.is_empty() && !draws.one_in(8);
            let task = if honest { draws.of(&own) } else { self.any_task(draws) };
            let state = draws.state();
            reports.insert(task, draws.report(task, state));
        }
        self.hear(id, ToManager::Report { seq: reports.len() as u64 / 2, reports: reports.into_values().collect() });
    }

    fn any_session(&self, draws: &mut Draws) -> Option<SessionId> {
        let which = draws.below(self.connections.len().max(1));
        self.connections.get(which).map(|connection| connection.id)
    }

    fn any_task(&self, draws: &mut Draws) -> TaskId {
        let which = draws.byte();
        let count = self.cluster().task_count();
        let nonsense = TaskId { epoch: 1, index: u64::from(which), ordinal: 7 };
        self.cluster().tasks().nth(usize::from(which) % (count + 1)).map_or(nonsense, |task| task.id)
    }

    fn condition(&self, draws: &mut Draws) -> Condition {
        let revisions: BTreeSet<u64> = self.cluster().workloads().map(|workload| workload.revision).collect();
        match draws.below(8) {
            0 => Condition::Absent,
            1 => Condition::Revision(draws.number()),
            2 if !revisions.is_empty() => Condition::Revision(draws.of(&Vec::from_iter(revisions))),
            _ => Condition::None,
        }
    }
}

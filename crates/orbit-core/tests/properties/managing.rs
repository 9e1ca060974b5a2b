//! The manager and the replicated state.

use crate::{Deed, cases};
use orbit_core::{
    manager::*,
    model::{Strategy, *},
    reconciler,
    state::{Cluster, Snapshot},
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const STEPS: [RolloutStep; 4] =
    [RolloutStep::Extend, RolloutStep::AwaitPromotion, RolloutStep::Fail, RolloutStep::Finish];
const NAMES: [&str; 3] = ["api", "job", "web"];

/// What the model remembers of a task: only what was seen, never an index.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    state: TaskState,
    desired: Desired,
    node: Option<NodeId>,
}

fn seen(cluster: &Cluster) -> BTreeMap<TaskId, Seen> {
    let seen = |task: &Task| Seen { state: task.state, desired: task.desired, node: task.node };
    cluster.tasks().map(|task| (task.id, seen(task))).collect()
}

#[derive(Default)]
struct Model {
    tasks: BTreeMap<TaskId, Seen>,
    ever: BTreeSet<TaskId>,
    /// What ran on a node when it registered last may exceed what it says it has now.
    granted: BTreeMap<NodeId, Resources>,
}

impl Model {
    /// Everything that must hold after an entry, from the tasks alone.
    fn after(&mut self, entry: &Entry, cluster: &Cluster) {
        assert_eq!(cluster.check(), [], "after {entry:?}");
        let now = seen(cluster);
        if let Command::Reports(nodes) = &entry.command {
            assert_eq!(self.expect(cluster, nodes), now, "after {entry:?}");
        }
        for (id, task) in &now {
            let Some(before) = self.tasks.get(id) else {
                assert!(self.ever.insert(*id), "I5: {id} is given twice");
                continue;
            };
            let forward = before.state == task.state || before.state.may_become(task.state);
            assert!(forward && before.desired <= task.desired, "I6: {id} went from {before:?} to {task:?}");
            assert!(before.node.is_none() || before.node == task.node, "I5: {id} moved from {before:?} to {task:?}");
        }
        for (id, before) in &self.tasks {
            // What was never placed ends with the order to stop, and may be forgotten in the same entry.
            let over = before.state.is_terminal() || before.node.is_none();
            assert!(now.contains_key(id) || over, "{id} was forgotten while it was {before:?}");
        }
        self.tasks = now;
        self.usage(entry, cluster);
    }

    /// What reports make of the tasks: forward only, from the node's present registration only.
    fn expect(&self, cluster: &Cluster, nodes: &[NodeReports]) -> BTreeMap<TaskId, Seen> {
        let mut tasks = self.tasks.clone();
        let counts = |it: &&NodeReports| cluster.node(it.node).is_some_and(|node| node.incarnation == it.incarnation);
        let reports = nodes.iter().filter(counts).flat_map(|it| it.reports.iter().map(|report| (it.node, report)));
        for (from, report) in reports {
            let sayable = report.state >= TaskState::Preparing && report.state != TaskState::Lost;
            if let Some(task) = tasks.get_mut(&report.task)
                && task.node == Some(from)
                && sayable
                && !task.state.is_terminal()
            {
                task.state = task.state.max(report.state);
            }
        }
        tasks
    }

    fn usage(&mut self, entry: &Entry, cluster: &Cluster) {
        let mut used: BTreeMap<NodeId, (u64, u64)> = BTreeMap::new();
        let mut ports = BTreeSet::new();
        for task in cluster.tasks().filter(|task| !task.state.is_terminal()) {
            let Some(node) = task.node else { continue };
            let request = cluster.spec_of(task).container.resources;
            let sum = used.entry(node).or_default();
            *sum = (sum.0 + request.cpu_millis, sum.1 + request.memory_bytes);
            for port in &task.host_ports {
                assert!(ports.insert((node, *port)), "I17: port {port} of {node} is held twice");
            }
        }
        for node in cluster.nodes() {
            let (cpu_millis, memory_bytes) = used.get(&node.id).copied().unwrap_or_default();
            let sum = Resources { cpu_millis, memory_bytes };
            assert_eq!(sum, node.used(), "I2: {} after {entry:?}", node.id);
            if node.incarnation == entry.index {
                self.granted.insert(node.id, sum);
            }
            let most = self.granted.get(&node.id).copied().unwrap_or_default().max_of(node.info.allocatable);
            assert!(sum.fits_in(most), "I1: {} holds {sum} of {most}", node.id);
        }
    }
}

struct World {
    now: u64,
    term: u64,
    manager: Manager,
    log: Vec<Entry>,
    proposed: VecDeque<(ProposalId, Time, Command)>,
    model: Model,
    sessions: BTreeMap<u8, SessionId>,
    next: u64,
    /// Everything that the manager said, to compare runs (I15).
    said: Vec<Action>,
    replies: BTreeSet<RequestId>,
    /// The images that somebody was asked for.
    asked: Vec<(Uid, u32)>,
}

fn probe() -> Box<Probe> {
    Probe::asking(ProbeAsk::Command(vec!["well".into()])).into()
}

impl World {
    fn new() -> World {
        let manager = Manager::restore(Cluster::default(), Timing::default());
        let mut world = World {
            now: 1,
            term: 0,
            manager,
            log: Vec::new(),
            proposed: VecDeque::new(),
            model: Model::default(),
            sessions: BTreeMap::new(),
            next: 0,
            said: Vec::new(),
            replies: BTreeSet::new(),
            asked: Vec::new(),
        };
        world.elect();
        world.commit(usize::MAX);
        world
    }

    fn step(&mut self, event: Event) {
        // The leader's memory is part of the machine, so its twin is a clone and not a restored state.
        let mut twin = self.manager.clone();
        let actions = self.manager.step(Time(self.now), event.clone());
        assert_eq!(actions, twin.step(Time(self.now), event), "I15");
        for action in &actions {
            match action {
                Action::Propose { proposal, at, command, .. } => {
                    self.proposed.push_back((*proposal, *at, command.clone()));
                }
                Action::Close(session) => self.sessions.retain(|_, known| known != session),
                Action::Reply { id, .. } => assert!(self.replies.insert(*id), "{id:?} is answered once"),
                Action::Send { message: ToWorker::Prefetch { workload, version, .. }, .. } => {
                    self.asked.push((*workload, *version));
                }
                Action::Send { .. } => {}
            }
        }
        self.said.extend(actions);
    }

    fn append(&mut self, at: Time, command: Command, proposal: Option<ProposalId>) {
        let last = self.log.last().map_or(Time(0), |entry| entry.at);
        let index = self.log.len() as u64 + 1;
        let entry = Entry { index, term: self.term, at: at.max(last), wall_ms: self.now, actor: Actor::Local, command };
        if proposal.is_some() && matches!(entry.command, Command::Plan(_)) {
            self.twice_equals_once(&entry);
        }
        self.log.push(entry.clone());
        self.step(Event::Committed { entry: entry.clone(), proposal });
        self.model.after(&entry, self.manager.cluster());
    }

    /// I24: a plan that is applied a second time finds nothing left to do.
    fn twice_equals_once(&self, entry: &Entry) {
        let mut cluster = self.manager.cluster().clone();
        cluster.apply(entry);
        let once = cluster.snapshot();
        cluster.apply(&Entry { index: entry.index + 1, ..entry.clone() });
        assert_eq!(Snapshot { index: once.index, ..cluster.snapshot() }, once, "I24: {entry:?} twice");
    }

    fn commit(&mut self, most: usize) {
        let mut count = 0;
        while count < most
            && let Some((proposal, at, command)) = self.proposed.pop_front()
        {
            count += 1;
            assert!(count < 500, "the manager does not come to rest (I23)");
            self.append(at, command, Some(proposal));
        }
    }

    fn elect(&mut self) {
        self.term += 1;
        let (term, wall_ms) = (self.term, self.now);
        self.step(Event::Elected { term, seed: self.term, cluster: ClusterId(1), wall_ms });
    }

    fn request(&mut self, request: Request) {
        self.next += 1;
        self.step(Event::Request { id: RequestId(self.next), actor: Actor::Local, request });
    }

    fn any_task(&self, draw: u8) -> TaskId {
        let ids: Vec<TaskId> = self.manager.cluster().tasks().map(|task| task.id).collect();
        let nonsense = TaskId { epoch: 1, index: u64::from(draw), ordinal: 7 };
        ids.get(usize::from(draw) % (ids.len() + 1)).copied().unwrap_or(nonsense)
    }

    fn definition(a: u8, b: u8, c: u8) -> Definition {
        let kind = if a % 3 == 1 { Kind::Task } else { Kind::Service };
        let port = |host| vec![Port::tcp("p", 80, host)];
        let policy = match kind {
            Kind::Service => RestartPolicy::Always,
            Kind::Task if b.is_multiple_of(2) => RestartPolicy::Never,
            Kind::Task => RestartPolicy::OnFailure,
        };
        Definition {
            kind,
            name: NAMES[usize::from(a) % 3].into(),
            labels: BTreeMap::new(),
            replicas: if kind == Kind::Task { 1 } else { u32::from(b % 5) },
            update: match kind {
                Kind::Task => Update::ONE_BY_ONE,
                Kind::Service => Update {
                    max_surge: u32::from(b / 5 % 3),
                    max_unavailable: u32::from((b / 5).is_multiple_of(3)) + u32::from(c / 16 % 2),
                    min_healthy: Millis(if c >= 128 { 2000 } else { 0 }),
                    canary: u32::from(a / 64 % 2),
                    deadline: (a >= 128).then_some(Millis(6000)),
                    max_failures: u32::from(a / 32 % 2) * 2,
                    on_failure: OnFailure::ALL[usize::from(c / 32 % 2)],
                },
            },
            spec: Spec {
                container: Container {
                    resources: Resources { cpu_millis: 100 + 300 * u64::from(c % 4), memory_bytes: 64 << 20 },
                    pids_max: 10,
                    ports: [vec![], port(None), port(Some(8080))][usize::from(c / 4) % 3].clone(),
                    stop: Stop::within(Millis::secs(1)),
                    probes: match (kind, b % 3) {
                        (Kind::Service, 1) => Probes { health: Some(probe()), ready: Some(probe()) },
                        (Kind::Service, 2) => Probes { health: None, ready: Some(probe()) },
                        _ => Probes::default(),
                    },
                    ..orbit_core::testing::container(format!("image:{}", c % 3))
                },
                placement: Placement {
                    strategy: if c.is_multiple_of(2) { Strategy::Binpack } else { Strategy::Spread },
                    constraints: vec![],
                },
                restart: Restart::with_policy(policy),
                disconnect: Disconnect {
                    replace_after: [None, Some(Millis::secs(30))][usize::from(a / 8 % 2)],
                    keep: [Keep::Replacement, Keep::Original][usize::from(b / 64 % 2)],
                    fence: match (a / 8 % 2, a / 16 % 3) {
                        (1, 1) => Fence::Timed,
                        (_, 2) => Fence::Confirmed,
                        _ => Fence::None,
                    },
                },
                after: vec![],
            },
        }
    }

    fn info(node: u8, size: u8) -> NodeInfo {
        NodeInfo {
            uid: NodeUid(u64::from(node % 4) + 1),
            name: format!("n{}", node % 4),
            labels: BTreeMap::new(),
            arch: "amd64".into(),
            os: "linux".into(),
            allocatable: Resources { cpu_millis: 500 + 500 * u64::from(size % 3), memory_bytes: 1 << 30 },
            port_range: (20_000, 20_002),
            address: None,
            pinned_ports: None,
            allowed: [].into(),
            versions: Default::default(),
        }
    }

    fn report(&self, a: u8, b: u8) -> TaskReport {
        let state = TaskState::ALL[usize::from(b) % 11];
        let reason = Reason::ALL[usize::from(a ^ b) % 12];
        let end = (state.is_terminal() || b.is_multiple_of(7)).then(|| End::new(reason, "because"));
        let found = |draw: u8| [None, Some(true), Some(false)][usize::from(draw % 3)];
        let probed = Probed { health: found(b), ready: found(b / 3), image: found(b / 9) };
        let digest = a.is_multiple_of(4).then(|| format!("sha256:{}", ["0", "1"][usize::from(b % 2)].repeat(64)));
        let image_id = (a % 4 == 1).then(|| format!("sha256:{}", ["2", "3"][usize::from(b % 2)].repeat(64)));
        TaskReport { probed, digest, image_id, ..TaskReport::new(self.any_task(a), state, end) }
    }

    fn condition(draw: u8) -> Condition {
        match draw % 8 {
            0 => Condition::Absent,
            1 => Condition::Revision(u64::from(draw)),
            _ => Condition::None,
        }
    }

    /// A plan that no planner would make.
    fn nonsense(&self, a: u8, b: u8, c: u8) -> Plan {
        let uid = self.manager.cluster().workloads().nth(usize::from(a) % 3).map(|workload| workload.uid);
        let uid = uid.unwrap_or(Uid { epoch: 9, index: 9 });
        let target = |draw: u8| Target { node: NodeId(u32::from(draw % 6)), host_ports: [].into() };
        let create = |slot: u8| Create {
            workload: uid,
            version: u32::from(b % 3) + 1,
            slot: u32::from(slot % 6),
            after: slot.is_multiple_of(2).then(|| self.any_task(slot)),
            target: (!slot.is_multiple_of(3)).then(|| target(slot)),
        };
        Plan {
            parent: 0,
            creates: vec![create(b), create(c), create(c)],
            places: vec![Place { task: self.any_task(b), target: target(c) }],
            stops: vec![self.any_task(c); usize::from(a % 3)],
            removes: vec![self.any_task(a), self.any_task(b)],
            trims: vec![(uid, u32::from(c % 4))],
            drops: if c.is_multiple_of(5) { vec![uid, uid] } else { vec![] },
            decisions: vec![],
            rollouts: vec![(uid, u32::from(b % 3) + 1, STEPS[usize::from(c % 4)])],
        }
    }

    fn deed(&mut self, (what, a, b, c): Deed) {
        match what % 21 {
            0..=2 => {
                let idempotency_key = (c % 6 == 0).then(|| format!("key{}", a % 4));
                let put = Put {
                    definition: Self::definition(a, b, c),
                    condition: Self::condition(b),
                    keeps_replicas: false,
                    idempotency_key,
                };
                self.request(Request::Put(put));
            }
            3 => {
                let name = NAMES[usize::from(a) % 3].into();
                self.request(Request::Scale { name, replicas: u32::from(b % 6), condition: Self::condition(c) });
            }
            4 => {
                let kind = if a % 3 == 1 { Kind::Task } else { Kind::Service };
                let name = NAMES[usize::from(a) % 3].into();
                self.request(Request::Delete { kind, name, condition: Condition::None });
            }
            5 => self.request(Request::StopTask(self.any_task(a))),
            20 => {
                let to = (b % 3 == 0).then_some(u32::from(b / 3 % 5));
                let order = match c % 4 {
                    0 => RolloutOrder::Pause,
                    1 => RolloutOrder::Resume,
                    2 => RolloutOrder::Promote,
                    _ => RolloutOrder::Undo { to },
                };
                let name = NAMES[usize::from(a) % 3].into();
                self.request(Request::Rollout { name, order, condition: Self::condition(b) });
            }
            6 => self.request(Request::Forget { name: format!("n{}", a % 4) }),
            7 | 8 => {
                self.next += 1;
                let session = SessionId(self.next);
                self.sessions.insert(a % 4, session);
                let inventory = (0..b % 3).map(|i| self.report(b.wrapping_add(i), c.wrapping_add(i))).collect();
                let (nonce, info) = (u64::from(c % 2), Self::info(a, b));
                let hello = Hello {
                    cluster: None,
                    seen: (0, 0),
                    nonce,
                    info,
                    inventory,
                    takes_parts: a % 2 == 0,
                    prefetches: b % 2 == 0,
                };
                self.step(Event::Message { session, message: ToManager::Register(hello) });
            }
            9..=11 => {
                let Some(session) = self.sessions.get(&(c % 4)).copied() else { return };
                let reports = vec![self.report(a, b), self.report(b, a)];
                self.step(Event::Message { session, message: ToManager::Report { seq: u64::from(c % 3), reports } });
            }
            12 => {
                let Some(session) = self.sessions.get(&(c % 4)).copied() else { return };
                let message = match a % 4 {
                    0 => ToManager::ProbeAck,
                    1 if !self.asked.is_empty() => {
                        let (workload, version) = self.asked[usize::from(b) % self.asked.len()];
                        let failure = (c % 2 == 0).then(|| End::new(Reason::PullFailed, "no"));
                        ToManager::Prefetched { workload, version, failure }
                    }
                    _ => ToManager::Heartbeat { seq: 1, assigned_seq: u64::from(b % 8), disk_full: b % 16 == 15 },
                };
                self.step(Event::Message { session, message });
            }
            13 => {
                self.now += u64::from(a) * 100;
                self.step(Event::Wake);
            }
            14 | 15 => self.commit(usize::from(a % 5)),
            16 => match self.proposed.front().map(|(_, _, command)| command) {
                // Without these the term ends, which is a deed of its own.
                None | Some(Command::Init { .. } | Command::Barrier { .. }) => {}
                Some(_) => {
                    let (proposal, _, _) = self.proposed.pop_front().expect("just looked");
                    self.step(Event::ProposalLost(proposal));
                }
            },
            17 => {
                // Somebody else's entry: an old one again, a stale report, nonsense.
                let (node, incarnation) = (NodeId(u32::from(a % 5)), u64::from(b));
                let command = match c % 3 {
                    0 => self.log[usize::from(a) % self.log.len()].command.clone(),
                    1 => Command::Reports(vec![NodeReports { node, incarnation, reports: vec![self.report(a, b)] }]),
                    _ => Command::Plan(self.nonsense(a, b, c)),
                };
                self.append(Time(self.now), command, None);
            }
            18 if a % 3 == 0 => {
                self.step(Event::Deposed);
                self.proposed.clear();
                self.elect();
                self.commit(usize::MAX);
            }
            _ => {
                if let Some(session) = self.sessions.remove(&(a % 4)) {
                    self.step(Event::SessionClosed(session));
                }
            }
        }
    }

    /// I14: the log, from its beginning and from a snapshot at any index, gives the live state.
    fn replays(&self, cut: usize) {
        let live = self.manager.snapshot();
        let mut cluster = Cluster::default();
        for entry in &self.log {
            if entry.index as usize == cut {
                let restored = Cluster::restore(cluster.snapshot()).expect("a snapshot loads (I33)");
                assert_eq!(restored.check(), []);
                assert_eq!(restored.snapshot(), cluster.snapshot(), "I14: a restored snapshot");
                cluster = restored;
            }
            cluster.apply(entry);
        }
        assert_eq!(cluster.snapshot(), live, "I14: replayed with a snapshot at {cut}");
    }

    /// I24: once the manager has come to rest, reconciling finds nothing to do.
    fn rests(&mut self) {
        self.commit(usize::MAX);
        let at = self.manager.cluster_time(Time(self.now));
        for workload in self.manager.cluster().workloads() {
            let Some(changes) = self.manager.changes(workload, at) else { continue };
            let (wake_at, no_place) = (changes.wake_at, changes.no_place.clone());
            let rest = reconciler::Changes { wake_at, no_place, ..Default::default() };
            assert_eq!(changes, rest, "I24: {}", workload.name);
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn whatever_happens_to_a_manager_the_invariants_hold(
        deeds in prop::collection::vec(any::<Deed>(), 0..100),
        cut in 1..40usize,
    ) {
        let mut world = World::new();
        // Something to work with.
        for deed in [(7, 0, 0, 0), (7, 1, 2, 0), (14, 4, 0, 0), (0, 0, 3, 0), (14, 4, 0, 0)] {
            world.deed(deed);
        }
        deeds.iter().for_each(|deed| world.deed(*deed));
        world.rests();
        world.replays(cut);
    }
}

proptest! {
    #![proptest_config(cases(50))]

    #[test]
    fn the_same_events_give_the_same_actions(deeds in prop::collection::vec(any::<Deed>(), 0..60)) {
        let live = || {
            let mut world = World::new();
            deeds.iter().for_each(|deed| world.deed(*deed));
            (world.said, world.manager.snapshot())
        };
        prop_assert_eq!(live(), live(), "I15");
    }
}

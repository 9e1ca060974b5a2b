//! A worker, a manager that is honest but late, ex-leaders that are neither, and an engine that
//! answers whatever it likes.

mod orders;

use crate::{bytes, draws::Draws};
use orbit_core::{model::*, testing, worker::*};
use orders::Orders;
use std::collections::{BTreeMap, BTreeSet};

const TASKS: u64 = 5;
const STARTS_MAX: usize = 2;
const CLUSTER: ClusterId = ClusterId(1);
const NODE: NodeUid = NodeUid(1);
/// Beyond this an input only takes time.
const DEEDS_MAX: usize = 600;

/// A stream of events into the worker, checked after each.
pub fn worker(data: &[u8]) {
    let mut draws = Draws::new(data);
    let mut world = World::new(&mut draws);
    for _ in 0..DEEDS_MAX {
        if draws.is_over() {
            break;
        }
        world.deed(&mut draws);
    }
}

struct World {
    now: u64,
    worker: Worker,
    life: u64,
    boot: u64,
    /// What is durable of the ledger.
    ledger: Ledger,
    ops: BTreeMap<OpId, Op>,
    last_op: OpId,
    /// The connection that stands or is dialled, and those before it.
    link: Option<LinkId>,
    last_link: LinkId,
    seq: u64,
    orders: Orders,
    /// Tasks whose container's name is held by a stranger's container.
    squatted: BTreeSet<TaskId>,
    /// Tasks for which a create was ever asked, over all lives.
    created: BTreeSet<TaskId>,
    /// The end that was reported of each task.
    ends: BTreeMap<TaskId, TaskReport>,
}

fn config() -> Config {
    let allocatable = Resources { cpu_millis: 4000, memory_bytes: 1 << 30 };
    let info = NodeInfo { allocatable, ..testing::node(NODE, "n0") };
    let (pull_deadline, resync_every) = (Millis::secs(20), Millis::secs(30));
    Config {
        info,
        pull_deadline,
        starts_max: STARTS_MAX,
        resync_every,
        disk_reserve_bytes: 1 << 20,
        image_collection: ImageCollection { below_bytes: 2 << 20, unneeded_for: Millis::secs(2) },
    }
}

fn task(number: u64) -> TaskId {
    TaskId { epoch: 1, index: number + 1, ordinal: 0 }
}

fn name_of(id: TaskId) -> String {
    format!("orbit-{CLUSTER}-{id}")
}

/// The container's name in an operation on one container.
fn named(op: &Op) -> Option<&str> {
    match op {
        Op::Inspect { name, .. } | Op::Start(name) | Op::Stop { name, .. } | Op::Remove(name) => Some(name),
        Op::Create(spec) => Some(&spec.name),
        // Beside whatever else is done to the container.
        Op::List(_) | Op::EnsureImage { .. } | Op::RemoveImage { .. } | Op::Probe { .. } => None,
    }
}

impl World {
    fn new(draws: &mut Draws) -> World {
        let squatters = draws.byte();
        let squatters = if squatters < 128 { 0 } else { squatters };
        let ledger = Ledger::new(NODE);
        let mut world = World {
            now: 0,
            worker: Worker::restore(config(), ledger.clone(), BootId(0), 1),
            boot: 0,
            life: 1,
            ledger,
            ops: BTreeMap::new(),
            last_op: OpId(0),
            link: None,
            last_link: LinkId(0),
            seq: 0,
            orders: Orders::default(),
            squatted: (0..TASKS).filter(|number| squatters >> number & 1 == 1).map(task).collect(),
            created: BTreeSet::new(),
            ends: BTreeMap::new(),
        };
        world.step(Event::Wake);
        world
    }

    fn step(&mut self, event: Event) -> bool {
        let actions = self.worker.step(Time(self.now), event);
        let acted = !actions.is_empty();
        self.orders.taken_up(&self.worker);
        actions.into_iter().for_each(|action| self.act(action));
        assert_eq!(*self.worker.ledger(), self.ledger, "the ledger is what was persisted");
        acted
    }

    /// Takes an action as the shell would, and checks that it may be asked.
    fn act(&mut self, action: Action) {
        match action {
            Action::Persist(writes) => {
                assert!(!writes.is_empty(), "nothing is written for nothing");
                for write in &writes {
                    self.ledger.apply(write);
                    if let LedgerWrite::Forgotten(id) = write {
                        // Should its container turn up once more, it is a stranger to be removed.
                        self.ends.remove(id);
                    }
                }
            }
            Action::Runtime { op, request } => self.begin(op, request),
            Action::Cancel(op) => {
                let given_up = self.ops.remove(&op).expect("what is given up is under way");
                assert!(matches!(given_up, Op::EnsureImage { .. }), "{given_up:?}");
            }
            Action::Connect(link) => {
                assert!(self.link.is_none() && link > self.last_link, "one connection at a time, each with its number");
                (self.link, self.last_link) = (Some(link), link);
            }
            Action::Disconnect(link) => {
                assert_eq!(self.link.take(), Some(link), "what is ended is what stands");
            }
            Action::Send { link, message } => {
                assert_eq!(self.link, Some(link), "only a connection that stands is written to");
                bytes::from_our_worker(&message);
                match message {
                    ToManager::Register(hello) => self.reported(&hello.inventory),
                    ToManager::Report { reports, .. } => self.reported(&reports),
                    _ => {}
                }
            }
            Action::Open { request, container } => assert_eq!(container, name_of(request.task), "I31"),
            Action::Warn(_) => {}
        }
    }

    fn begin(&mut self, op: OpId, request: Op) {
        assert!(op > self.last_op, "an operation's number is used once");
        self.last_op = op;
        let owner = Owner { cluster: CLUSTER, node: NODE };
        if let Op::List(of) | Op::Inspect { owner: of, .. } = &request {
            assert_eq!(*of, owner, "I31: only our own are looked at");
        }
        if let Op::EnsureImage { image, .. } = &request {
            let of_it =
                |op: &Op| matches!(op, Op::RemoveImage { image: other, .. } if repository(other) == repository(image));
            assert!(!self.ops.values().any(of_it), "an image is not found that is being removed");
        }
        if let Op::RemoveImage { image, id } = &request {
            assert_eq!(self.ledger.images.get(image), Some(id), "I46: what was not pulled stays");
            let mut orders = self.worker.orders().filter_map(|(task, ..)| self.worker.order(task));
            assert!(!orders.any(|order| order.image_reference() == *image), "I46: {image} is needed");
        }
        if let Some(name) = named(&request) {
            let id = (0..TASKS).map(task).find(|id| name_of(*id) == name).expect("I31: a container of ours");
            assert!(!self.ops.values().any(|other| named(other) == Some(name)), "one operation at a time for {id}");
            self.may_begin(id, &request);
        }
        self.ops.insert(op, request);
        let starts = self.ops.values().filter(|op| matches!(op, Op::Create(_) | Op::Start(_))).count();
        assert!(starts <= STARTS_MAX, "{starts} starts at a time");
    }

    fn may_begin(&mut self, id: TaskId, request: &Op) {
        let remembered = self.ledger.tasks.get(&id).cloned().unwrap_or_default();
        match request {
            Op::Create(spec) => {
                let labels = [(LABEL_CLUSTER, CLUSTER.to_string()), (LABEL_NODE, NODE.to_string())];
                for (key, value) in labels {
                    assert!(spec.labels.contains(&(key.to_string(), value)), "I31: {id} is created without {key}");
                }
                assert!(remembered.attempted, "{id} is remembered before it is created");
                assert!(self.created.insert(id), "I5: {id} is created twice");
            }
            Op::Inspect { .. } => return,
            _ => assert!(!self.squatted.contains(&id), "I31: {request:?} on a stranger's container"),
        }
        if matches!(request, Op::Create(_) | Op::Start(_)) {
            assert!(remembered.end.is_none(), "I6: {id} has ended, then {request:?}");
            assert!(!self.orders.told_to_stop(id), "I6: {id} was told to stop, then {request:?}");
        }
    }

    fn reported(&mut self, reports: &[TaskReport]) {
        for report in reports {
            match self.ends.get(&report.task) {
                Some(end) => assert_eq!(end, report, "I6: {} ends once, in one way", report.task),
                None if report.state.is_terminal() => _ = self.ends.insert(report.task, report.clone()),
                None => {}
            }
        }
    }
}

// What can happen.
impl World {
    fn deed(&mut self, draws: &mut Draws) {
        match draws.below(21) {
            0 => {
                let link = self.some_link(draws);
                self.step(Event::LinkUp(link));
            }
            1 => {
                let link = self.some_link(draws);
                if self.link == Some(link) {
                    self.link = None;
                }
                self.step(Event::LinkDown(link));
            }
            2 | 3 => self.welcome(draws),
            4 | 5 => self.assign(draws),
            6 => self.confirm(draws),
            7 => {
                let message = match draws.below(4) {
                    0 => ToWorker::Refused { message: "no".into() },
                    1 if draws.bool() => ToWorker::Prefetch {
                        workload: Uid { epoch: 1, index: draws.number() },
                        version: draws.below(4) as u32,
                        image: if draws.bool() { "web:1".into() } else { draws.text() },
                        pull: Pull::Missing,
                        keep: draws.span(),
                    },
                    1 => ToWorker::Probe,
                    2 => ToWorker::HeartbeatAck { seq: draws.number() },
                    _ => {
                        let task = task(draws.below(TASKS as usize) as u64);
                        ToWorker::Open(StreamRequest {
                            token: StreamToken([1; 16]),
                            task,
                            what: StreamOf::Logs(LogRange::default()),
                        })
                    }
                };
                self.hear(message, draws);
            }
            8..=14 => self.done(draws),
            15 => {
                let task = task(draws.below(TASKS as usize) as u64);
                self.step(if draws.one_in(4) { Event::HintsLost } else { Event::Hint(task) });
            }
            16 => {
                self.now += draws.number().min(1 << 40);
                self.wake();
            }
            17 | 18 => {
                let due = self.worker.deadline().unwrap_or(Time(self.now));
                self.now = self.now.max(due.0.min(1 << 60));
                self.wake();
            }
            19 => _ = self.step(Event::Disk(FreeSpace::of(draws.number() % (4 << 20)))),
            _ => self.crash(draws),
        }
    }

    fn wake(&mut self) {
        let acted = self.step(Event::Wake);
        let due = self.worker.deadline();
        assert!(acted || due.is_none_or(|due| due > Time(self.now)), "it wants to be woken again at once, for nothing");
    }

    /// The present connection, or one that was.
    fn some_link(&self, draws: &mut Draws) -> LinkId {
        match self.link {
            Some(link) if !draws.one_in(8) => link,
            _ => LinkId(draws.number() % self.last_link.0.max(1)),
        }
    }

    fn hear(&mut self, message: ToWorker, draws: &mut Draws) {
        bytes::from_our_manager(&message);
        let link = self.some_link(draws);
        self.step(Event::Message { link, message });
    }

    /// From the leader, with all that was ever ordered; or from somebody who leads no longer, with
    /// what was ordered long ago.
    fn welcome(&mut self, draws: &mut Draws) {
        let stands = self.link;
        if let Some(link) = stands {
            self.step(Event::LinkUp(link));
        }
        let kind = draws.below(16);
        let (seen_epoch, seen_term) = self.ledger.seen;
        let (stale, stranger) = (kind == 15 && seen_term > 0, kind == 14 && self.ledger.cluster.is_some());
        if !stale && !stranger {
            self.orders.change(draws);
        }
        let (epoch, term) = if stale { (seen_epoch, seen_term - 1) } else { self.orders.leader(draws) };
        let tasks = if stale { self.orders.first_of_all() } else { self.orders.present() };
        let welcome = Welcome {
            cluster: if stranger { ClusterId(2) } else { CLUSTER },
            epoch,
            term,
            node: NodeId(0),
            incarnation: 1,
            heartbeat: Millis(1 + draws.number() / 2),
            lease: Millis(1 + draws.number() / 2),
            assigned: Assigned { seq: 1, full: true, tasks, follow: vec![], removed: vec![] },
        };
        let link = stands.unwrap_or(LinkId(0));
        let message = ToWorker::Welcome(welcome);
        bytes::from_our_manager(&message);
        let before = self.worker.is_welcome();
        self.step(Event::Message { link, message });
        if self.worker.is_welcome() && !before {
            assert!(!stale && !stranger, "I9: a worker follows the highest leader of its own cluster");
            self.seq = 1;
        }
    }

    /// What changed, with the next number; or again, or with a gap.
    fn assign(&mut self, draws: &mut Draws) {
        if !self.worker.is_welcome() {
            return;
        }
        let counts = !draws.one_in(8);
        let full = draws.one_in(8);
        let (tasks, removed) = match counts {
            // Nothing in it counts, so it may say anything.
            false => (self.orders.first_of_all(), vec![task(0)]),
            true if full => {
                self.orders.change(draws);
                (self.orders.present(), vec![])
            }
            true => self.orders.difference(&self.worker, draws),
        };
        let seq = match counts {
            true => self.seq + 1,
            false if full => self.seq,
            false => self.seq + draws.of(&[0, 2, 9]),
        };
        let link = self.link.expect("a welcome came on a connection");
        let message = ToWorker::Assigned(Assigned { seq, full, tasks, follow: vec![], removed });
        bytes::from_our_manager(&message);
        self.seq = if counts { seq } else { self.seq };
        self.step(Event::Message { link, message });
    }

    /// What was reported is committed; or something that never was.
    fn confirm(&mut self, draws: &mut Draws) {
        let id = task(draws.below(TASKS as usize) as u64);
        let state = match self.ends.get(&id) {
            Some(end) => end.state,
            None => draws.of(&TaskState::ALL[..6]),
        };
        self.hear(ToWorker::Committed { seq: 0, states: vec![(id, state, draws.probed())] }, draws);
    }

    /// An operation ends, in any way that its kind can.
    fn done(&mut self, draws: &mut Draws) {
        let which = draws.below(self.ops.len().max(1));
        let Some(op) = self.ops.keys().nth(which).copied() else { return };
        let request = self.ops.remove(&op).expect("just found");
        let squatted = named(&request).is_some_and(|name| self.squatted.iter().any(|id| name_of(*id) == name));
        let result = match (&request, draws.below(4)) {
            (_, 0) => Err(self.trouble(draws)),
            (Op::Create(_), _) if squatted => {
                Err(OpError { kind: OpErrorKind::NameTaken, message: "a stranger's".into() })
            }
            (Op::Inspect { .. }, _) if squatted => Ok(OpOutput::Container(None)),
            (Op::List(_), _) => {
                let shown = draws.byte();
                let there = (0..TASKS).filter(|number| shown >> number & 1 == 1).map(task);
                let there: Vec<TaskId> = there.filter(|id| !self.squatted.contains(id)).collect();
                Ok(OpOutput::Containers(there.into_iter().map(|id| container(id, draws)).collect()))
            }
            (Op::Inspect { name, .. }, _) => {
                let id = (0..TASKS).map(task).find(|id| name_of(*id) == *name).expect("looked at when it was begun");
                Ok(OpOutput::Container((!draws.one_in(4)).then(|| container(id, draws))))
            }
            (Op::EnsureImage { .. }, _) => {
                let digest = draws.bool().then(|| "sha256:1".to_string());
                Ok(OpOutput::Image(ImageFound {
                    digest,
                    id: draws.of(&["a", "b"]).into(),
                    was_pulled: draws.bool(),
                    was_new: draws.bool(),
                }))
            }
            (Op::Create(spec), _) => Ok(OpOutput::Created(spec.name.clone())),
            _ => Ok(OpOutput::Done),
        };
        self.step(Event::Done { op, result });
    }

    fn trouble(&self, draws: &mut Draws) -> OpError {
        let kind = draws.of(&[
            OpErrorKind::Engine,
            OpErrorKind::NotFound,
            OpErrorKind::NameTaken,
            OpErrorKind::ImageMissing,
            OpErrorKind::PortTaken(None),
            OpErrorKind::PortTaken(Some(8080)),
            OpErrorKind::Timeout,
            OpErrorKind::Refused,
            OpErrorKind::Unclear,
        ]);
        OpError { kind, message: draws.text() }
    }

    /// The process is gone and comes back with what is durable.
    fn crash(&mut self, draws: &mut Draws) {
        if draws.bool() {
            return;
        }
        self.life += 1;
        // The clock of another boot begins anew.
        if draws.bool() {
            self.boot += 1;
            self.now = draws.number().min(1 << 40);
        }
        self.worker = Worker::restore(config(), self.ledger.clone(), BootId(self.boot), self.life);
        (self.link, self.last_link, self.last_op) = (None, LinkId(0), OpId(0));
        self.ops.clear();
        self.step(Event::Wake);
    }
}

fn container(task: TaskId, draws: &mut Draws) -> EngineContainer {
    let state = match draws.below(4) {
        0 => ContainerState::Created,
        1 => ContainerState::Running,
        n => ContainerState::Exited { code: i32::from(draws.byte()), out_of_memory: n == 3 },
    };
    EngineContainer { id: name_of(task), name: name_of(task), task, spec: 0, state, image_health: None }
}

//! The worker: whatever it hears and whatever its engine does.

use crate::{Deed, cases};
use orbit_core::{model::*, worker::*};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

struct World {
    now: u64,
    worker: Worker,
    ledger: Ledger,
    ops: BTreeMap<OpId, Op>,
    link: LinkId,
    life: u64,
    seq: u64,
    /// Tasks for which a create was ever asked, over all lives.
    created: BTreeSet<TaskId>,
    /// Tasks of which nothing is left: the manager never orders them again, and the engine never
    /// shows them again.
    forgotten: BTreeSet<TaskId>,
    /// The end that was reported of each task.
    ends: BTreeMap<TaskId, TaskState>,
    said: Vec<Action>,
}

fn config() -> Config {
    let info = NodeInfo {
        uid: NodeUid(1),
        name: "n0".into(),
        labels: BTreeMap::new(),
        arch: "amd64".into(),
        os: "linux".into(),
        allocatable: Resources { cpu_millis: 4000, memory_bytes: 1 << 30 },
        port_range: (20_000, 20_099),
        address: None,
        pinned_ports: None,
        allowed: [].into(),
        versions: Default::default(),
    };
    let (pull_deadline, resync_every) = (Millis::secs(20), Millis::secs(30));
    Config {
        info,
        pull_deadline,
        starts_max: 2,
        resync_every,
        disk_reserve_bytes: 1 << 20,
        image_collection: ImageCollection { below_bytes: 2 << 20, unneeded_for: Millis::secs(2) },
    }
}

fn task(draw: u8) -> TaskId {
    TaskId { epoch: 1, index: u64::from(draw % 4) + 1, ordinal: 0 }
}

fn container(id: TaskId, draw: u8) -> EngineContainer {
    let state = match draw % 4 {
        0 => ContainerState::Created,
        1 => ContainerState::Running,
        n => ContainerState::Exited { code: i32::from(draw % 3), out_of_memory: n == 3 },
    };
    let name = format!("orbit-{}-{id}", ClusterId(1));
    EngineContainer { id: name.clone(), name, task: id, spec: 0, state, image_health: None }
}

fn named(op: &Op) -> Option<&str> {
    match op {
        Op::Inspect { name, .. } | Op::Start(name) | Op::Stop { name, .. } | Op::Remove(name) => Some(name),
        Op::Create(spec) => Some(&spec.name),
        // Beside whatever else is done to the container.
        Op::List(_) | Op::EnsureImage { .. } | Op::RemoveImage { .. } | Op::Probe { .. } => None,
    }
}

fn probe(start_period: u64) -> Box<Probe> {
    let ask = ProbeAsk::Command(vec!["well".into()]);
    Probe { retries: 2, start_period: Millis(start_period), ..Probe::asking(ask) }.into()
}

fn task_of(name: &str) -> TaskId {
    name.rsplit('-').next().and_then(|id| id.parse().ok()).expect("a container is named after its task")
}

impl World {
    fn new() -> World {
        let ledger = Ledger::new(NodeUid(1));
        World {
            now: 0,
            worker: Worker::restore(config(), ledger.clone(), BootId(1), 1),
            ledger,
            ops: BTreeMap::new(),
            link: LinkId(0),
            life: 1,
            seq: 0,
            created: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            ends: BTreeMap::new(),
            said: Vec::new(),
        }
    }

    fn step(&mut self, event: Event) {
        let mut twin = self.worker.clone();
        let actions = self.worker.step(Time(self.now), event.clone());
        assert_eq!(actions, twin.step(Time(self.now), event), "I15");
        for action in &actions {
            match action {
                Action::Persist(writes) => {
                    for write in writes {
                        self.ledger.apply(write);
                        if let LedgerWrite::Forgotten(id) = write {
                            self.forgotten.insert(*id);
                        }
                    }
                }
                Action::Runtime { op, request } => self.begin(*op, request),
                Action::Cancel(op) => {
                    let given_up = self.ops.remove(op).expect("what is given up is under way");
                    assert!(matches!(given_up, Op::EnsureImage { .. }), "{given_up:?}");
                }
                Action::Connect(link) => {
                    self.link = *link;
                    self.seq = 0;
                }
                Action::Send { message: ToManager::Report { reports, .. }, .. } => self.reported(reports),
                _ => {}
            }
        }
        assert_eq!(*self.worker.ledger(), self.ledger, "the ledger is what was persisted");
        self.said.extend(actions);
    }

    fn begin(&mut self, op: OpId, request: &Op) {
        if let Op::EnsureImage { image, .. } = request {
            let of_it =
                |op: &Op| matches!(op, Op::RemoveImage { image: other, .. } if repository(other) == repository(image));
            assert!(!self.ops.values().any(of_it), "an image is not found that is being removed");
        }
        if let Op::RemoveImage { image, id } = request {
            assert_eq!(self.ledger.images.get(image), Some(id), "I46: what was not pulled stays");
            let mut orders = self.worker.orders().filter_map(|(task, ..)| self.worker.order(task));
            assert!(!orders.any(|order| order.image_reference() == *image), "I46: {image} is needed");
        }
        if let Some(name) = named(request) {
            let id = task_of(name);
            let busy = self.ops.values().filter_map(named).any(|other| other == name);
            assert!(!busy, "one operation at a time for {id}");
            let remembered = self.ledger.tasks.get(&id).cloned().unwrap_or_default();
            match request {
                Op::Create(_) => {
                    assert!(remembered.attempted, "{id} is remembered before it is created");
                    assert!(remembered.end.is_none(), "I6: {id} has ended and is created");
                    assert!(self.created.insert(id), "I5: {id} is created twice");
                }
                Op::Start(_) => assert!(remembered.end.is_none(), "I6: {id} has ended and is started"),
                _ => {}
            }
        }
        assert!(self.ops.insert(op, request.clone()).is_none(), "an operation's number is used once");
    }

    fn reported(&mut self, reports: &[TaskReport]) {
        for report in reports {
            assert_eq!(report.end.is_some(), report.state.is_terminal(), "{report:?}");
            if report.state.is_terminal() {
                let before = *self.ends.entry(report.task).or_insert(report.state);
                assert_eq!(before, report.state, "I6: {} ends once, in one way", report.task);
            } else {
                assert!(!self.ends.contains_key(&report.task), "I6: {report:?} after its end");
            }
        }
    }

    /// Nothing if the task is forgotten.
    fn order(&self, a: u8, b: u8) -> Option<Assignment> {
        let spec = Spec {
            container: Container {
                pids_max: 10,
                stop: Stop::within(Millis::secs(1)),
                probes: Probes { health: Some(probe(500)), ready: (a % 2 == 1).then(|| probe(0)) },
                ..orbit_core::testing::container(format!("image:{}", a % 2))
            },
            placement: Placement::default(),
            restart: Restart::with_policy(RestartPolicy::Always),
            disconnect: Disconnect {
                replace_after: (a % 4 == 3).then_some(Millis::secs(9)),
                keep: Keep::Replacement,
                fence: if a % 4 == 3 { Fence::Timed } else { Fence::None },
            },
            after: vec![],
        };
        let stop = b.is_multiple_of(4);
        let order = Assignment {
            task: task(a),
            generation: if stop { 2 } else { 1 },
            desired: if stop { Desired::Stopped } else { Desired::Running },
            ended: false,
            kind: Kind::Service,
            name: "web".into(),
            slot: 0,
            spec: spec.into(),
            host_ports: [].into(),
            volumes: [].into(),
            image: match a % 5 {
                0 => ImageBytes::Unresolved,
                1 => ImageBytes::Digest("sha256:1".into()),
                _ => ImageBytes::AsWritten,
            },
        };
        (!self.forgotten.contains(&order.task)).then_some(order)
    }

    fn hear(&mut self, message: ToWorker) {
        self.step(Event::Message { link: self.link, message });
    }

    /// An operation ends, well or not, as its kind allows.
    fn done(&mut self, a: u8, b: u8, c: u8) {
        let Some(op) = self.ops.keys().nth(usize::from(a) % self.ops.len().max(1)).copied() else { return };
        let request = self.ops.remove(&op).expect("just found");
        let kinds: &[OpErrorKind] = match request {
            Op::Inspect { .. } | Op::List(_) => &[OpErrorKind::Engine, OpErrorKind::Refused],
            Op::EnsureImage { .. } => &[OpErrorKind::Timeout, OpErrorKind::Refused],
            Op::RemoveImage { .. } => &[OpErrorKind::Refused, OpErrorKind::Engine],
            Op::Create(_) => &[OpErrorKind::NameTaken, OpErrorKind::Unclear, OpErrorKind::Engine],
            Op::Start(_) => &[OpErrorKind::PortTaken(None), OpErrorKind::NotFound, OpErrorKind::Unclear],
            Op::Stop { .. } | Op::Remove(_) => &[OpErrorKind::NotFound, OpErrorKind::Engine],
            Op::Probe { .. } => &[OpErrorKind::Unwell, OpErrorKind::Engine],
        };
        let result = match (b % 4, &request) {
            (0, _) => Err(OpError { kind: kinds[usize::from(c) % kinds.len()], message: "no".into() }),
            (_, Op::List(_)) => {
                let there = (0..4).filter(|i| c >> i & 1 == 1).map(task).filter(|id| !self.forgotten.contains(id));
                Ok(OpOutput::Containers(there.map(|id| container(id, b)).collect()))
            }
            (_, Op::Inspect { name, .. }) => {
                Ok(OpOutput::Container((!c.is_multiple_of(3)).then(|| container(task_of(name), b / 4))))
            }
            (_, Op::EnsureImage { .. }) => Ok(OpOutput::Image(ImageFound {
                digest: [None, Some("sha256:1".into()), Some("sha256:2".into())][usize::from(c % 3)].clone(),
                id: format!("image-{}", c % 3),
                was_pulled: (c / 3).is_multiple_of(2),
                was_new: (c / 6).is_multiple_of(2),
            })),
            (_, Op::Create(spec)) => Ok(OpOutput::Created(spec.name.clone())),
            _ => Ok(OpOutput::Done),
        };
        self.step(Event::Done { op, result });
    }

    fn deed(&mut self, (what, a, b, c): Deed) {
        match what % 16 {
            0 => self.step(Event::LinkUp(self.link)),
            1 | 2 => {
                self.seq = 1;
                let tasks = (0..a % 4).filter_map(|i| self.order(i, b.wrapping_add(i))).collect();
                let assigned = Assigned { seq: 1, full: true, tasks, follow: vec![], removed: vec![] };
                self.step(Event::LinkUp(self.link));
                self.hear(ToWorker::Welcome(Welcome {
                    cluster: ClusterId(if c == 255 { 2 } else { 1 }),
                    epoch: 1,
                    term: u64::from(c / 32),
                    node: NodeId(0),
                    incarnation: 1,
                    heartbeat: Millis::secs(1),
                    lease: Millis::secs(5),
                    assigned,
                }));
            }
            3 | 4 => {
                self.seq += u64::from(c % 8 != 0);
                let removed = if c % 5 == 0 { vec![task(b)] } else { vec![] };
                let assigned = Assigned {
                    seq: self.seq,
                    full: false,
                    tasks: self.order(a, b).into_iter().collect(),
                    follow: vec![],
                    removed,
                };
                self.hear(ToWorker::Assigned(assigned));
            }
            5 => {
                let states = vec![(task(a), TaskState::ALL[usize::from(b) % 11], Probed::default())];
                self.hear(ToWorker::Committed { seq: 0, states });
            }
            6..=10 => self.done(a, b, c),
            11 => self.step(if b % 4 == 0 { Event::HintsLost } else { Event::Hint(task(a)) }),
            12 => {
                self.now += u64::from(a) * 20;
                self.step(Event::Wake);
            }
            13 => match a % 4 {
                0 => self.hear(ToWorker::Refused { message: "no".into() }),
                1 => self.hear(ToWorker::Probe),
                2 => self.hear(ToWorker::HeartbeatAck { seq: 1 }),
                _ => self.step(Event::LinkDown(self.link)),
            },
            14 if a % 2 == 0 => {
                self.life += 1;
                self.worker = Worker::restore(config(), self.ledger.clone(), BootId(1), self.life);
                self.ops.clear();
                self.step(Event::Wake);
            }
            14 => self.step(Event::Disk(FreeSpace::of(u64::from(b % 4) << 20))),
            _ => {
                let due = self.worker.deadline().map_or(self.now, |due| due.0);
                self.now = self.now.max(due);
                self.step(Event::Wake);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn whatever_happens_to_a_worker_it_creates_once_and_ends_once(deeds in prop::collection::vec(any::<Deed>(), 0..200)) {
        let mut world = World::new();
        world.step(Event::Wake);
        world.deed((1, 3, 1, 0));
        for deed in deeds {
            world.deed(deed);
        }
    }

    #[test]
    fn the_same_events_give_the_same_actions(deeds in prop::collection::vec(any::<Deed>(), 0..60)) {
        let live = || {
            let mut world = World::new();
            world.step(Event::Wake);
            deeds.iter().for_each(|deed| world.deed(*deed));
            world.said
        };
        prop_assert_eq!(live(), live(), "I15");
    }
}

//! What an event costs must not grow with the fleet: the rows of the state that the manager looks at,
//! with 100 nodes and with 2,000.

use orbit_core::{
    cost,
    manager::{Action, Event, Manager, Request, RequestId, SessionId},
    model::*,
    state::Cluster,
    testing,
};
use std::collections::{BTreeMap, VecDeque};

const SMALL: u64 = 100;
const LARGE: u64 = 2_000;
/// Tasks on each node.
const TASKS: u64 = 5;
/// Replicas of each service.
const REPLICAS: u64 = 50;

/// A manager whose proposals are committed when the test says so.
struct Fleet {
    manager: Manager,
    now: Time,
    proposed: VecDeque<(orbit_core::manager::ProposalId, Time, Command)>,
    acknowledged: u64,
}

impl Fleet {
    /// So many nodes, all of their tasks running.
    fn of(nodes: u64) -> Fleet {
        let manager = Manager::restore(Cluster::default(), Timing::default());
        let mut fleet = Fleet { manager, now: Time(1), proposed: VecDeque::new(), acknowledged: 0 };
        fleet.happens(Event::Elected { term: 1, seed: 7, cluster: ClusterId(1), wall_ms: 1 });
        (1..=nodes).for_each(|n| fleet.step(Event::Message { session: SessionId(n), message: hello(n) }));
        fleet.commit();
        for n in 0..nodes * TASKS / REPLICAS {
            let put = Put {
                definition: service(n),
                condition: Condition::None,
                keeps_replicas: false,
                idempotency_key: None,
            };
            fleet.happens(Event::Request { id: RequestId(n), actor: Actor::Local, request: Request::Put(put) });
        }
        let running = |task: &Task| (task.node.expect("placed"), TaskReport::new(task.id, TaskState::Running, None));
        let tasks = Vec::from_iter(fleet.manager.cluster().tasks().map(running));
        assert_eq!(tasks.len() as u64, nodes * TASKS);
        for (node, report) in tasks {
            fleet.step(Event::Message {
                session: SessionId(u64::from(node.0) + 1),
                message: ToManager::Report { seq: 0, reports: vec![report] },
            });
        }
        fleet.commit();
        fleet.happens(Event::Wake);
        fleet
    }

    fn step(&mut self, event: Event) {
        for action in self.manager.step(self.now, event) {
            match action {
                Action::Propose { proposal, at, command, .. } => self.proposed.push_back((proposal, at, command)),
                Action::Send { message: ToWorker::HeartbeatAck { .. }, .. } => self.acknowledged += 1,
                _ => {}
            }
        }
    }

    fn commit(&mut self) {
        while let Some((proposal, at, command)) = self.proposed.pop_front() {
            let cluster = self.manager.cluster();
            let entry = Entry {
                index: cluster.index + 1,
                term: 1,
                at: at.max(cluster.at),
                wall_ms: 1,
                actor: Actor::Local,
                command,
            };
            self.step(Event::Committed { entry, proposal: Some(proposal) });
        }
    }

    fn happens(&mut self, event: Event) {
        self.step(event);
        self.commit();
    }

    /// The rows that an event costs, with all that follows from it.
    fn cost_of(&mut self, event: Event) -> u64 {
        cost::take();
        self.happens(event);
        cost::take()
    }

    fn heartbeat(&mut self, node: u64) {
        self.step(heartbeat(node));
    }

    fn silent(&self) -> usize {
        self.manager.cluster().silent().len()
    }

    /// Time passes, in which these nodes go on with their heartbeats.
    fn pass(&mut self, ms: u64, heard: impl Iterator<Item = u64> + Clone) {
        for _ in 0..ms / 500 {
            self.now = Time(self.now.0 + 500);
            heard.clone().for_each(|node| self.heartbeat(node));
            self.happens(Event::Wake);
        }
    }
}

fn heartbeat(node: u64) -> Event {
    let message = ToManager::Heartbeat { seq: 1, assigned_seq: u64::MAX, disk_full: false };
    Event::Message { session: SessionId(node), message }
}

fn hello(n: u64) -> ToManager {
    let info = NodeInfo {
        uid: NodeUid(n),
        name: format!("node-{n}"),
        labels: BTreeMap::new(),
        arch: "amd64".into(),
        os: "linux".into(),
        allocatable: Resources { cpu_millis: 100 * TASKS, memory_bytes: 64 << 30 },
        port_range: (20_000, 29_999),
        address: None,
        pinned_ports: None,
        allowed: [].into(),
        versions: Default::default(),
    };
    ToManager::Register(Hello {
        cluster: None,
        seen: (0, 0),
        nonce: n,
        info,
        inventory: vec![],
        takes_parts: true,
        prefetches: true,
    })
}

fn service(n: u64) -> Definition {
    Definition { replicas: REPLICAS as u32, ..testing::service(format!("service-{n}"), testing::spec("web:1")) }
}

/// Both fleets, and a bound: as much, and a little for the depth of trees.
fn costs_the_same(what: &str, mut measure: impl FnMut(&mut Fleet) -> u64) {
    let [small, large] = [SMALL, LARGE].map(|nodes| measure(&mut Fleet::of(nodes)));
    assert!(large <= small + small / 2 + 16, "{what}: {small} rows with {SMALL} nodes, {large} with {LARGE}");
}

#[test]
fn a_heartbeat_costs_the_same_in_any_fleet() {
    costs_the_same("a heartbeat", |fleet| fleet.cost_of(heartbeat(7)));
}

#[test]
fn a_registration_and_a_return_with_a_new_session_cost_the_same_in_any_fleet() {
    costs_the_same("a new node", |fleet| {
        fleet.cost_of(Event::Message { session: SessionId(1_000_000), message: hello(1_000_000) })
    });
    costs_the_same("a node that connects again", |fleet| {
        fleet.cost_of(Event::Message { session: SessionId(1_000_000), message: hello(7) })
    });
}

#[test]
fn a_report_costs_the_same_in_any_fleet() {
    costs_the_same("a report", |fleet| {
        let cluster = fleet.manager.cluster();
        let task = cluster.node(NodeId(7)).expect("a node").tasks().next().expect("it has tasks");
        let end = End::new(Reason::Killed, "");
        let reports = vec![TaskReport::new(task, TaskState::Failed, Some(end))];
        fleet.cost_of(Event::Message { session: SessionId(8), message: ToManager::Report { seq: 0, reports } })
    });
}

#[test]
fn a_node_that_falls_silent_and_returns_costs_the_same_in_any_fleet() {
    costs_the_same("a silence", |fleet| {
        let others = fleet.manager.cluster().node_count() as u64;
        fleet.pass(4_500, 2..=others);
        cost::take();
        // The look at the leases that came up meanwhile is the heartbeats' own.
        let before = fleet.silent();
        fleet.now = Time(fleet.now.0 + 1_000);
        (2..=others).for_each(|node| fleet.heartbeat(node));
        cost::take();
        fleet.commit();
        fleet.happens(Event::Wake);
        assert_eq!((before, fleet.silent()), (0, 1));
        // Every watched lease comes up once in a while; all others were heard.
        cost::take().saturating_sub(others)
    });
    costs_the_same("a return", |fleet| {
        let others = fleet.manager.cluster().node_count() as u64;
        fleet.pass(6_000, 2..=others);
        assert_eq!(fleet.silent(), 1);
        fleet.cost_of(heartbeat(1))
    });
}

/// Invariant I42: after a silence of the whole fleet all of it is back, in a few entries, and nothing
/// was replaced.
#[test]
fn a_fleet_that_returns_as_a_whole_costs_each_node_the_same_and_loses_nothing() {
    let [small, large] = [SMALL, LARGE].map(|nodes| {
        let mut fleet = Fleet::of(nodes);
        let tasks = fleet.manager.cluster().task_count();
        fleet.pass(60_000, std::iter::empty());
        assert_eq!(fleet.silent() as u64, nodes, "all are silent");
        let index = fleet.manager.cluster().index;
        cost::take();
        (1..=nodes).for_each(|node| fleet.heartbeat(node));
        fleet.commit();
        let rows = cost::take() / nodes;
        let entries = fleet.manager.cluster().index - index;
        assert_eq!((fleet.silent(), fleet.manager.cluster().task_count()), (0, tasks), "all are back, none replaced");
        assert!(entries <= 4, "{entries} entries");
        rows
    });
    assert!(large <= small + small / 2, "rows of each node: {small} of {SMALL} nodes, {large} of {LARGE}");
}

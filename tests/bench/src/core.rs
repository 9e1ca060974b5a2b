//! The core alone, on one thread: planning and applying through the public `step`, with every
//! validation and index on.

use crate::report::{line, resident_bytes, scaled};
use orbit_core::{
    manager::{Action, Event, Manager, Request, RequestId, SessionId},
    model::*,
    scheduler::filter::{PlacementClass, Reserved, check},
    state::Cluster,
};
use std::{collections::BTreeMap, collections::VecDeque, time::Instant};

const NODES: usize = 1000;
const SERVICES: u32 = 20;
const REPLICAS: usize = 5000;

/// A manager whose log is a number: what it proposes is committed at once, in order.
struct Alone {
    manager: Manager,
    now: Time,
}

impl Alone {
    fn new() -> Alone {
        let manager = Manager::restore(Cluster::default(), Timing::default());
        let mut alone = Alone { manager, now: Time(1) };
        alone.step(Event::Elected { term: 1, seed: 7, cluster: ClusterId(1), wall_ms: 1 });
        alone
    }

    fn step(&mut self, event: Event) {
        let mut actions: VecDeque<Action> = self.manager.step(self.now, event).into();
        while let Some(action) = actions.pop_front() {
            let Action::Propose { proposal, at, command, .. } = action else { continue };
            let cluster = self.manager.cluster();
            let entry = Entry {
                index: cluster.index + 1,
                term: 1,
                at: at.max(cluster.at),
                wall_ms: 1,
                actor: Actor::Local,
                command,
            };
            actions.extend(self.manager.step(self.now, Event::Committed { entry, proposal: Some(proposal) }));
        }
    }
}

fn hello(n: u64) -> ToManager {
    ToManager::Register(Hello {
        cluster: None,
        seen: (0, 0),
        nonce: n,
        info: NodeInfo {
            uid: NodeUid(n),
            name: format!("node-{n}"),
            labels: BTreeMap::new(),
            arch: "amd64".into(),
            os: "linux".into(),
            // Mixed machines.
            allocatable: Resources { cpu_millis: 8_000 * (1 + n % 4), memory_bytes: (16 << 30) * (1 + n % 3) },
            port_range: (20_000, 29_999),
            address: None,
            pinned_ports: None,
            allowed: [].into(),
            versions: Default::default(),
        },
        inventory: vec![],
        takes_parts: true,
        prefetches: true,
    })
}

fn service(n: u32, replicas: usize) -> Definition {
    Definition {
        kind: Kind::Service,
        name: format!("service-{n}"),
        labels: BTreeMap::new(),
        replicas: scaled(replicas) as u32,
        update: Update::ONE_BY_ONE,
        spec: Spec {
            container: Container {
                resources: Resources { cpu_millis: 50 + u64::from(n), memory_bytes: (64 << 20) + u64::from(n) },
                pids_max: 100,
                stop: Stop::within(Millis::secs(10)),
                ..orbit_core::testing::container("web:1")
            },
            placement: Placement::default(),
            restart: Restart::with_policy(RestartPolicy::Always),
            disconnect: Disconnect::default(),
            after: vec![],
        },
    }
}

/// The next heartbeat of a node.
fn heartbeat(n: u64) -> Event {
    let message = ToManager::Heartbeat { seq: 1, assigned_seq: u64::MAX, disk_full: false };
    Event::Message { session: SessionId(n), message }
}

/// A fleet as large as they come: it registers, takes its tasks, and goes on with its heartbeats.
pub fn fleet() {
    const NODES: usize = 100_000;
    const SERVICES: u32 = 20;
    const REPLICAS: usize = 50_000;
    let nodes = scaled(NODES) as u64;
    let mut alone = Alone::new();
    let begun = Instant::now();
    for n in 1..=nodes {
        alone.step(Event::Message { session: SessionId(n), message: hello(n) });
    }
    let small = Instant::now();
    let mut few = Alone::new();
    for n in 1..=1_000 {
        few.step(Event::Message { session: SessionId(n), message: hello(n) });
    }
    let each = small.elapsed().as_secs_f64() / 1_000.0;
    let seconds = small.duration_since(begun).as_secs_f64();
    line(
        "100,000 nodes register",
        format!("{seconds:.2} s"),
        "2 s",
        &format!("{:.2} x what each of 1,000 takes", seconds / nodes as f64 / each),
    );
    let begun = Instant::now();
    for n in 0..SERVICES {
        let definition = service(n, REPLICAS);
        let put = Put { definition, condition: Condition::None, keeps_replicas: false, idempotency_key: None };
        alone.step(Event::Request { id: RequestId(u64::from(n)), actor: Actor::Local, request: Request::Put(put) });
    }
    let seconds = begun.elapsed().as_secs_f64();
    let placed = alone.manager.cluster().tasks().filter(|task| task.node.is_some()).count();
    assert_eq!(placed, SERVICES as usize * scaled(REPLICAS), "every task found a node");
    line("1,000,000 tasks on 100,000 nodes", format!("{seconds:.2} s"), "4 s", "planned, applied and told");
    let rate = heartbeats(&mut alone, nodes);
    let of_few = heartbeats(&mut few, 1_000);
    line(
        "heartbeats of 100,000 nodes with tasks",
        format!("{rate:.0}/s"),
        "100,000/s",
        &format!("{:.2} x those of 1,000 nodes without", rate / of_few),
    );
}

/// Heartbeats of all nodes, again and again, as time passes.
fn heartbeats(alone: &mut Alone, nodes: u64) -> f64 {
    let rounds = (scaled(200_000) as u64).div_ceil(nodes);
    let begun = Instant::now();
    for _ in 0..rounds {
        for n in 1..=nodes {
            alone.now = Time(alone.now.0 + u64::from(n % (nodes / 1_000) == 0));
            alone.step(heartbeat(n));
        }
    }
    assert!(alone.manager.cluster().silent().is_empty(), "all were heard");
    (rounds * nodes) as f64 / begun.elapsed().as_secs_f64()
}

/// Spread over 6,100 nodes, with a constraint and a port.
pub fn spread() {
    const NODES: usize = 6_100;
    const SERVICES: u32 = 20;
    const REPLICAS: usize = 5_000;
    let mut alone = Alone::new();
    for n in 1..=scaled(NODES) as u64 {
        alone.step(Event::Message { session: SessionId(n), message: hello(n) });
    }
    let constraint = Constraint { attribute: Attribute::Arch, equal: true, value: "amd64".into() };
    let placement = Placement { strategy: Strategy::Spread, constraints: vec![constraint] };
    let ports = vec![Port::tcp("http", 80, None)];
    let begun = Instant::now();
    for n in 0..SERVICES {
        let Definition { spec, .. } = service(n, REPLICAS);
        let spec = Spec {
            container: Container { ports: ports.clone(), ..spec.container },
            placement: placement.clone(),
            ..spec
        };
        let definition = Definition { spec, ..service(n, REPLICAS) };
        let put = Put { definition, condition: Condition::None, keeps_replicas: false, idempotency_key: None };
        alone.step(Event::Request { id: RequestId(u64::from(n)), actor: Actor::Local, request: Request::Put(put) });
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cluster = alone.manager.cluster();
    let placed = cluster.tasks().filter(|task| task.node.is_some()).count();
    assert_eq!(placed, SERVICES as usize * scaled(REPLICAS), "every task found a node");
    let (rate, naive) = (placed as f64 / seconds, naive_rate(cluster));
    line(
        "spread, constraint and port, 6,100 nodes",
        format!("{rate:.0}/s"),
        "300,000/s",
        &format!("{:.0} x a scan of all nodes for each task ({naive:.0}/s)", rate / naive),
    );
}

/// Plan and apply 100,000 tasks on 1,000 nodes.
pub fn run() {
    let mut alone = Alone::new();
    for n in 1..=scaled(NODES) as u64 {
        alone.step(Event::Message { session: SessionId(n), message: hello(n) });
    }
    let before = resident_bytes(std::process::id());
    let begun = Instant::now();
    for n in 0..SERVICES {
        let put = Put {
            definition: service(n, REPLICAS),
            condition: Condition::None,
            keeps_replicas: false,
            idempotency_key: None,
        };
        alone.step(Event::Request { id: RequestId(u64::from(n)), actor: Actor::Local, request: Request::Put(put) });
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cluster = alone.manager.cluster();
    let placed = cluster.tasks().filter(|task| task.node.is_some()).count();
    assert_eq!(placed, SERVICES as usize * scaled(REPLICAS), "every task found a node");
    let bytes = resident_bytes(std::process::id()).saturating_sub(before) as f64 / placed as f64;
    let rate = placed as f64 / seconds;

    let naive = naive_rate(cluster);
    line(
        "plan + apply, 100,000 tasks, 1,000 nodes",
        format!("{rate:.0}/s"),
        "200,000/s",
        &format!("{:.0} x a scan of all nodes for each task ({naive:.0}/s)", rate / naive),
    );
    let row = size_of::<Task>();
    line(
        "memory per task",
        format!("{bytes:.0} B"),
        "1,024 B",
        &format!("{row} B of them its row; resident set, before and after"),
    );
}

/// What planning alone costs when every task looks at every node: the usual way.
fn naive_rate(cluster: &Cluster) -> f64 {
    let class = PlacementClass::of(&service(0, 1).spec);
    let reserved = Reserved::default();
    let tasks = 2000;
    let begun = Instant::now();
    let mut chosen = 0u64;
    for _ in 0..tasks {
        let fits = cluster.nodes().filter(|node| check(node, &class, &reserved, cluster.at).is_ok());
        let best = fits.min_by_key(|node| (node.free().cpu_millis, node.free().memory_bytes, node.id));
        chosen += best.map_or(0, |node| u64::from(node.id.0) + 1);
    }
    std::hint::black_box(chosen);
    f64::from(tasks) / begun.elapsed().as_secs_f64()
}

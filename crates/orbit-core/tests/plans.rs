//! Whole plans, as they enter the log.

use orbit_core::{
    manager::{Action, Event, Manager, Request, RequestId, SessionId},
    model::*,
    state::Cluster,
};
use std::collections::BTreeMap;

/// Steps a manager whose log commits at once, and gives back the plans that it proposed.
fn plans(manager: &mut Manager, event: Event) -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut actions = manager.step(Time(0), event);
    while !actions.is_empty() {
        let mut next = Vec::new();
        for action in actions {
            let Action::Propose { proposal, at, command, .. } = action else { continue };
            if let Command::Plan(plan) = &command {
                plans.push(plan.clone());
            }
            let index = manager.cluster().index + 1;
            let entry = Entry { index, term: 1, at, wall_ms: 1, actor: Actor::Local, command };
            next.extend(manager.step(Time(0), Event::Committed { entry, proposal: Some(proposal) }));
        }
        actions = next;
    }
    plans
}

fn hello(n: u64, cpu_millis: u64, disk: &str) -> ToManager {
    ToManager::Register(Hello {
        cluster: None,
        seen: (0, 0),
        nonce: n,
        info: NodeInfo {
            uid: NodeUid(n),
            name: format!("node-{n}"),
            labels: BTreeMap::from([("disk".to_string(), disk.to_string())]),
            arch: "amd64".into(),
            os: "linux".into(),
            allocatable: Resources { cpu_millis, memory_bytes: 1 << 30 },
            port_range: (20_000, 20_009),
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

#[test]
fn a_plan_holds_the_placements_the_ports_and_why_the_rest_found_no_node() {
    let mut manager = Manager::restore(Cluster::default(), Timing::default());
    plans(&mut manager, Event::Elected { term: 1, seed: 1, cluster: ClusterId(1), wall_ms: 1 });
    for (n, cpu, disk) in [(1, 1000, "ssd"), (2, 2000, "ssd"), (3, 4000, "hdd")] {
        plans(&mut manager, Event::Message { session: SessionId(n), message: hello(n, cpu, disk) });
    }
    let definition = Definition {
        kind: Kind::Service,
        name: "web".into(),
        labels: BTreeMap::new(),
        replicas: 4,
        update: Update::ONE_BY_ONE,
        spec: Spec {
            container: Container {
                resources: Resources { cpu_millis: 900, memory_bytes: 64 << 20 },
                pids_max: 100,
                ports: vec![Port::tcp("http", 80, None)],
                stop: Stop::within(Millis::secs(10)),
                ..orbit_core::testing::container("web:1")
            },
            placement: Placement {
                strategy: Strategy::Binpack,
                constraints: vec![Constraint::parse("node.labels.disk == ssd").unwrap()],
            },
            restart: Restart::with_policy(RestartPolicy::Always),
            disconnect: Disconnect::default(),
            after: vec![],
        },
    };
    let put = Put { definition, condition: Condition::None, keeps_replicas: false, idempotency_key: None };
    let made =
        plans(&mut manager, Event::Request { id: RequestId(1), actor: Actor::Local, request: Request::Put(put) });
    insta::assert_debug_snapshot!(made);
}

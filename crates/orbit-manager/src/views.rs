//! From the replicated state to the API's objects.

mod events;
mod nodes;
mod services;
mod silence;
mod tasks;
mod volumes;

pub use events::event;
pub use nodes::{availability, live_tasks, node};
use orbit_core::{manager::View, model::*, state::Cluster};
pub use services::{counts, endpoints, rollout_state, service, versions};
use std::time::{Duration, SystemTime};
pub use tasks::{task, task_definition};
pub use volumes::volume;

/// RFC 3339.
fn moment(state: View, at: Time) -> String {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(state.wall_ms(at));
    humantime::format_rfc3339_millis(wall).to_string()
}

/// What its user submitted, as it stands.
pub fn definition(workload: &Workload) -> Definition {
    Definition {
        kind: workload.kind,
        name: workload.name.to_string(),
        labels: workload.labels.clone(),
        replicas: workload.replicas,
        update: workload.update,
        spec: (*workload.current().spec).clone(),
    }
}

/// For people: whole seconds, rounded up.
fn seconds(span: Millis) -> String {
    format!("{} s", span.0.div_ceil(1000))
}

/// Why tasks of a workload find no node; where that is a port, also who has it.
fn why_pending(cluster: &Cluster, workload: &Workload, at: Time) -> String {
    let Some(decision) = &workload.decision else { return "not looked at yet".to_string() };
    let is_for_ports = decision.refusals.iter().any(|refusals| refusals.filter == "ports");
    match who_holds(cluster, workload, at).filter(|_| is_for_ports) {
        Some(who) => format!("{} ({who})", decision.why()),
        None => decision.why(),
    }
}

/// Who has a port that a workload pins, on the first node where somebody has.
fn who_holds(cluster: &Cluster, workload: &Workload, at: Time) -> Option<String> {
    /// A list may ask this for each of its tasks.
    const NODES_MAX: usize = 100;
    let pinned = Vec::from_iter(workload.current().spec.container.ports.iter().filter_map(|port| port.host));
    let holder = |node: &Node, port: u16| {
        if let Some(task) = node.port_holder(port).and_then(|id| cluster.task(id)) {
            let other = cluster.workload(task.workload)?;
            return Some(format!("{} {} ({})", other.kind, other.name, task.id));
        }
        let until = node.quarantined_ports.get(&port).filter(|until| **until > at)?;
        Some(format!("a process outside Orbit, tried again in {}", seconds(until.since(at))))
    };
    let nodes = cluster.nodes().filter(|node| node.is_ready()).take(NODES_MAX);
    let mut held = nodes.flat_map(|node| pinned.iter().map(move |port| (node, *port)));
    held.find_map(|(node, port)| Some(format!("on {} port {port} is held by {}", node.info.name, holder(node, port)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::testing;

    fn apply(cluster: &mut Cluster, command: Command) {
        let (index, at) = (cluster.index + 1, Time(cluster.index * 1000));
        let entry = Entry { index, term: 1, at, wall_ms: 0, actor: Actor::Local, command };
        cluster.apply(&entry).answer.expect("it is accepted");
    }

    /// A service has the port that another pins; then its container finds that somebody else has it.
    #[test]
    fn who_has_a_port_that_is_waited_for_is_said() {
        let mut cluster = Cluster::default();
        apply(&mut cluster, Command::Init { cluster: ClusterId(1) });
        let info = testing::node(NodeUid(1), "n0");
        apply(&mut cluster, Command::Register(Registration { info, inventory: Vec::new() }));
        let port = Port::tcp("http", 80, Some(8080));
        let spec = Spec {
            container: Container { ports: vec![port], ..testing::spec("web:1").container },
            ..testing::spec("web:1")
        };
        for name in ["edge", "other"] {
            let definition = testing::service(name, spec.clone());
            let put = Put { definition, condition: Condition::None, keeps_replicas: false, idempotency_key: None };
            apply(&mut cluster, Command::Put(put));
        }
        let uid = |cluster: &Cluster, name| cluster.workload_named(Kind::Service, name).expect("it was put").uid;
        let (edge, other) = (uid(&cluster, "edge"), uid(&cluster, "other"));
        let target = Target { node: NodeId(0), host_ports: [8080].into() };
        let create = |workload, target| Create { workload, version: 1, slot: 0, after: None, target };
        let refusals = vec![Refusals { filter: "ports".into(), nodes: 1, example: "host port 8080 is taken".into() }];
        let parent = cluster.index;
        let decision = Decision { parent, placed: 0, unplaced: 1, refusals, best: Vec::new() };
        let plan = Plan {
            parent: cluster.index,
            creates: vec![create(edge, Some(target)), create(other, None)],
            decisions: vec![(other, decision)],
            ..Plan::default()
        };
        apply(&mut cluster, Command::Plan(plan));
        let why = |cluster: &Cluster| why_pending(cluster, cluster.workload(other).expect("it is there"), cluster.at);
        let task = TaskId { epoch: 1, index: cluster.index, ordinal: 0 };
        let said = why(&cluster);
        assert!(said.ends_with(&format!("(on n0 port 8080 is held by service edge ({task}))")), "{said}");

        let end = End { port: Some(8080), ..End::new(Reason::PortTaken, "it is taken") };
        let reports = vec![TaskReport::new(task, TaskState::Failed, Some(end))];
        apply(&mut cluster, Command::Reports(vec![NodeReports { node: NodeId(0), incarnation: 2, reports }]));
        let said = why(&cluster);
        assert!(said.ends_with("(on n0 port 8080 is held by a process outside Orbit, tried again in 60 s)"), "{said}");
    }
}

//! A node, what keeps it from being drained, and what follows from its silence.

use super::{moment, silence::what_follows, why_pending};
use orbit_api::view;
use orbit_core::{manager::View, model::*, reconciler::Outage, state::Cluster};

/// A node, and what follows from its silence.
pub fn node(state: View, node: &Node, now: Time) -> view::Node {
    let cluster = state.cluster();
    let amount = |r: Resources| view::Amount { cpu_millis: r.cpu_millis, memory_bytes: r.memory_bytes };
    let ready = node.reach == Reach::Reachable;
    let at = state.cluster_time(now);
    let message = match state.outage(node.id) {
        _ if ready => String::new(),
        Some(Outage::Braked) => {
            "too many nodes fell silent together: nothing is replaced until some return".to_string()
        }
        Some(outage) => what_follows(state, node, outage, at),
        None => "tasks are replaced".to_string(),
    };
    // That may be why it is not heard.
    let was_full = if node.disk_full_since.is_some() { "; its disk was full" } else { "" };
    let message = if ready { message } else { format!("{message}{was_full}") };
    let duty = availability(cluster, node);
    let unknown = node.unknown.len();
    let message = match (node.disk_full_since, node.avoided_until(at)) {
        _ if !message.is_empty() => message,
        _ if duty == "draining" => blocks(cluster, node, at),
        _ if unknown > 0 && cluster.unknown == UnknownTasks::Held => format!(
            "has {unknown} task{} from before the restore that are in no backup: `orbit snapshot settle` says what \
             becomes of them",
            if unknown == 1 { "" } else { "s" }
        ),
        (Some(since), _) => {
            format!("its disk has been full since {}: it takes no tasks until there is room", moment(state, since))
        }
        (None, Some(until)) => format!(
            "{} tasks in a row could not be started on it: until {} they go elsewhere where they can",
            node.failed_starts.count,
            moment(state, until)
        ),
        (None, None) => message,
    };
    view::Node {
        name: node.info.name.clone(),
        uid: node.info.uid.to_string(),
        state: if ready { "ready" } else { "unreachable" }.to_string(),
        duty: duty.to_string(),
        drain_deadline: node.availability.deadline().map(|at| moment(state, at)),
        message,
        labels: node.info.labels.clone(),
        arch: node.info.arch.clone(),
        os: node.info.os.clone(),
        worker_version: node.info.versions.worker.clone(),
        engine_version: node.info.versions.engine.clone(),
        allowed: node.info.allowed.iter().map(ToString::to_string).collect(),
        allocatable: amount(node.info.allocatable),
        used: amount(node.used()),
        tasks: live_tasks(cluster, node),
        address: node.info.address.map(|address| address.to_string()),
        registered_at: moment(state, node.registered_at),
    }
}

/// How many of a node's tasks have not been seen to end.
pub fn live_tasks(cluster: &Cluster, node: &Node) -> u32 {
    node.tasks().filter(|id| cluster.task(*id).is_some_and(|task| !task.state.is_terminal())).count() as u32
}

/// What its operator wants of a node, as the API names it.
pub fn availability(cluster: &Cluster, node: &Node) -> &'static str {
    match node.availability {
        Availability::Active => "active",
        Availability::Cordoned => "cordoned",
        Availability::Draining { .. } if cluster.is_drained(node.id) => "drained",
        Availability::Draining { .. } => "draining",
    }
}

/// What keeps a node from being drained.
fn blocks(cluster: &Cluster, node: &Node, at: Time) -> String {
    const NAMED_MAX: usize = 3;
    let left = node.tasks().filter_map(|id| cluster.task(id)).filter(|task| !task.state.is_terminal());
    let left: Vec<&Task> = left.collect();
    let why = |task: &&Task| {
        let Some(workload) = cluster.workload(task.workload) else { return String::new() };
        let reason = match workload.kind {
            _ if task.desired == Desired::Stopped => "is stopping".to_string(),
            Kind::Task => "runs to its end".to_string(),
            Kind::Service if workload.decision.as_ref().is_some_and(|decision| decision.unplaced > 0) => {
                format!("waits for a node: {}", why_pending(cluster, workload, at))
            }
            Kind::Service => "is being replaced".to_string(),
        };
        format!("{} ({}) {reason}", workload.name, task.id)
    };
    let named: Vec<String> = left.iter().take(NAMED_MAX).map(why).collect();
    let more = left.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{} to go: {}{more}", left.len(), named.join("; "))
}

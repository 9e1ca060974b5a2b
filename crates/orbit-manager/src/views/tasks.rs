//! Task definitions and their attempts.

use super::{definition, moment, silence::fate, why_pending};
use orbit_api::{
    Manifest,
    manifest::{ManifestProtocol, ManifestResources},
    view,
};
use orbit_core::{manager::View, model::*};

/// A task definition with its newest attempt.
pub fn task_definition(state: View, workload: &Workload, now: Time) -> view::TaskDefinition {
    let cluster = state.cluster();
    let newest = workload.slots.first().and_then(|slot| cluster.attempts(slot).next());
    view::TaskDefinition {
        name: workload.name.to_string(),
        uid: workload.uid.to_string(),
        revision: workload.revision,
        created_at: moment(state, workload.created_at),
        desired: Manifest::of(&definition(workload)),
        attempt: newest.map(|newest| task(state, newest, now)),
    }
}

/// One attempt.
///
/// # Panics
/// If the task is not of this cluster.
pub fn task(state: View, task: &Task, now: Time) -> view::Task {
    let cluster = state.cluster();
    let workload = cluster.workload(task.workload).expect("a task's workload lives as long as it");
    let spec = cluster.spec_of(task);
    let node = task.node.and_then(|id| cluster.node(id));
    let silent = fate(state, workload, task, now);
    let waits = match task.state {
        TaskState::Pending => Some(why_pending(cluster, workload, state.cluster_time(now))),
        _ if silent.is_some() => silent,
        TaskState::Running if task.is_unhealthy() => Some("not healthy".to_string()),
        TaskState::Running if !task.serves() => Some("not ready".to_string()),
        TaskState::Running if task.probed.image == Some(false) => {
            Some("its image's own health check says unhealthy; it is not replaced for that".to_string())
        }
        _ => None,
    };
    let is_asked = task.state == TaskState::Running && !spec.container.probes.is_empty();
    view::Task {
        id: task.id.to_string(),
        kind: workload.kind.to_string(),
        name: workload.name.to_string(),
        slot: task.slot,
        version: task.version,
        image: spec.container.image.clone(),
        node: node.map(|node| node.info.name.clone()),
        desired: if task.desired == Desired::Running { "running" } else { "stopped" }.to_string(),
        actual: task.state.to_string(),
        unreachable: !task.state.is_terminal() && node.is_some_and(|node| node.reach != Reach::Reachable),
        reason: task.end.as_ref().map(|end| end.reason.as_str().to_string()),
        exit_code: task.end.as_ref().and_then(|end| end.exit_code),
        message: waits.or(task.end.as_ref().map(|end| ending(task, end))).unwrap_or_default(),
        resources: Some(ManifestResources::of(&spec.container)),
        ports: ports(task, spec),
        created_at: moment(state, task.created_at),
        running_at: task.running_at.map(|at| moment(state, at)),
        ready: is_asked.then(|| task.serves()),
        ended_at: task.ended_at.map(|at| moment(state, at)),
    }
}

/// The published ports of a task.
pub(super) fn ports(task: &Task, spec: &Spec) -> Vec<view::TaskPort> {
    let port = |(i, port): (usize, &Port)| view::TaskPort {
        name: port.name.clone(),
        container: port.container,
        host: task.host_ports.get(i).copied(),
        protocol: ManifestProtocol::of(port.protocol),
        host_ip: port.host_ip.map(|address| address.to_string()),
    };
    spec.container.ports.iter().enumerate().map(port).collect()
}

/// More of how it ended than its reason says.
fn ending(task: &Task, end: &End) -> String {
    // It was told to stop for that.
    let was_unhealthy = task.probed.health == Some(false) && end.reason == Reason::Stopped;
    if was_unhealthy && end.message.is_empty() { "was not healthy".to_string() } else { end.message.clone() }
}

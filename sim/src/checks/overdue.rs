//! What should have been done by now.

use super::{Check, engines::is_within, rollouts::shall_be};
use orbit_core::{manager::Manager, model::*, reconciler::Outage, state::Cluster};

/// So long after its time a plan may still be under way, in milliseconds.
const SLACK: Millis = Millis::secs(8);

/// I22: what is lost with its node is replaced once the node was silent for long enough, also while
/// everything else goes wrong.
pub(crate) fn overdue(manager: &Manager, at: Time) -> Check {
    let cluster = manager.cluster();
    let replace_after = manager.timing().replace_after;
    for (node, outage) in &manager.outages() {
        for task in cluster.node(*node).into_iter().flat_map(Node::tasks).filter_map(|id| cluster.task(id)) {
            let due = replaced_at(*outage, cluster.spec_of(task), replace_after);
            let Some(workload) = cluster.workload(task.workload).filter(|_| task.is_live()) else { continue };
            if due.is_none_or(|due| at <= due + SLACK) || is_changed_lately(cluster, workload, at) {
                continue;
            }
            let wanted = task.slot < workload.wanted() && task.version == shall_be(cluster, workload, task.slot);
            let Some(slot) = workload.slots.get(task.slot as usize).filter(|_| wanted) else { continue };
            let mut open = cluster.attempts(slot).filter(|other| !other.state.is_terminal());
            let alone = open.all(|other| other.id == task.id);
            let again = cluster.spec_of(task).restart.policy != RestartPolicy::Never
                && slot.not_before(task.version) + SLACK < at;
            // Whoever followed may have ended only now.
            let lately = cluster.attempts(slot).any(|other| other.ended_at.is_some_and(|ended| at <= ended + SLACK));
            // A single run is over when its newest attempt came to a good end or was told to stop.
            let good = |task: &Task| task.state == TaskState::Complete || task.desired == Desired::Stopped;
            let over = workload.kind == Kind::Task && cluster.attempts(slot).next().is_some_and(good);
            if alone && again && !over && !lately {
                let found = format!("{} is not replaced at {at}, its node's outage is {outage:?}", task.id);
                return Err(("I22", found));
            }
        }
    }
    // I28: a rollout comes to an end before its deadline.
    for workload in cluster.workloads().filter(|workload| !workload.deleting) {
        let running = workload.rollout.filter(|it| it.state == RolloutState::Running && workload.replicas > 0);
        let due = running.and_then(|rollout| Some(rollout.progress_at + workload.update.deadline?));
        // What a plan found may have changed by the time that a slow disk has it, more than once.
        if let Some(due) = due.filter(|due| *due + SLACK + SLACK < at) {
            return Err(("I28", format!("the rollout of {} was due at {due}, it is {at}", workload.name)));
        }
    }
    Ok(())
}

/// Whether somebody has asked for something else lately: what a plan found before does not count, and they may change
/// their mind again and again.
fn is_changed_lately(cluster: &Cluster, workload: &Workload, at: Time) -> bool {
    let mut lately = cluster.history().iter().rev().take_while(|event| at <= event.at + SLACK);
    let of_it = |subject: &Subject| matches!(subject, Subject::Workload(_, uid, _) if *uid == workload.uid);
    lately.any(|event| event.actor == Actor::Local && of_it(&event.subject))
}

/// Tasks that will be replaced, but not yet: their node is silent, and gone for good by the time that this is asked.
pub(crate) fn not_due_yet(manager: &Manager, at: Time) -> Vec<String> {
    let (cluster, replace_after) = (manager.cluster(), manager.timing().replace_after);
    let mut found = Vec::new();
    for (node, outage) in &manager.outages() {
        let tasks = cluster.node(*node).into_iter().flat_map(Node::tasks).filter_map(|id| cluster.task(id));
        for task in tasks.filter(|task| !task.state.is_terminal()) {
            let due = replaced_at(*outage, cluster.spec_of(task), replace_after);
            if due.is_some_and(|due| due + SLACK > at) {
                found.push(format!("{} is not replaced yet", task.id));
            }
        }
    }
    found
}

/// When a task is due to be replaced because its node is silent, reckoned from what its spec says.
fn replaced_at(outage: Outage, spec: &Spec, replace_after: Millis) -> Option<Time> {
    let Disconnect { replace_after: own, fence, .. } = spec.disconnect;
    let after = own.unwrap_or(replace_after);
    match outage {
        _ if fence == Fence::Confirmed => None,
        Outage::Braked => None,
        Outage::Silent { since } => Some(since + after),
        Outage::Drained { since, at } => Some(if fence == Fence::Timed { at.max(since + after) } else { at }),
    }
}

/// Whether a task of this spec could be placed on the node, reckoned from the tasks alone.
pub(super) fn has_room(cluster: &Cluster, node: &Node, spec: &Spec, at: Time) -> bool {
    has_room_without(None, cluster, node, spec, at)
}

/// Where a task of this spec would have a place if this one were gone, which it follows.
pub(super) fn places_after<'a>(
    gone: &Task,
    cluster: &'a Cluster,
    spec: &Spec,
    at: Time,
) -> impl Iterator<Item = &'a Node> {
    cluster.nodes().filter(move |node| has_room_without(Some(gone.id), cluster, node, spec, at))
}

/// Whether the data that a task of this spec uses is there, or nowhere, and nobody keeps it from that.
fn has_volumes(gone: Option<TaskId>, cluster: &Cluster, node: &Node, spec: &Spec) -> bool {
    let others = || cluster.tasks().filter(|task| task.holds_resources() && Some(task.id) != gone);
    spec.container.setup.volumes.iter().all(|mount| {
        let its = |other: &VolumeMount| other.volume == mount.volume;
        let clashes = |other: &VolumeMount| (mount.access, other.access) != (Access::Shared, Access::Shared);
        let keeps_away = |task: &Task| {
            cluster.spec_of(task).container.setup.volumes.iter().any(|other| its(other) && clashes(other))
        };
        cluster.volume(&mount.volume).is_none_or(|volume| volume.node == node.info.uid) && !others().any(keeps_away)
    })
}

fn has_room_without(gone: Option<TaskId>, cluster: &Cluster, node: &Node, spec: &Spec, at: Time) -> bool {
    let tasks = || node.tasks().filter(|id| Some(*id) != gone).filter_map(|id| cluster.task(id));
    let holders = || tasks().filter(|task| task.holds_resources());
    let used = holders().fold(Resources::ZERO, |sum, task| sum.plus(cluster.spec_of(task).container.resources));
    let rests = |port: u16| node.quarantined_ports.get(&port).is_some_and(|until| *until > at);
    let is_free = |port: u16| !rests(port) && !holders().any(|task| task.host_ports.contains(&port));
    let pinned: Vec<u16> = spec.container.ports.iter().filter_map(|port| port.host).collect();
    let (first, last) = node.info.port_range;
    let chosen = (first..=last).filter(|port| !pinned.contains(port) && is_free(*port)).count();
    node.is_ready()
        && node.availability == Availability::Active
        && node.disk_full_since.is_none()
        && spec.placement.constraints.iter().all(|constraint| node.meets(constraint))
        && is_within(&node.info.allowed, &spec.container.setup)
        && has_volumes(gone, cluster, node, spec)
        && used.plus(spec.container.resources).fits_in(node.info.allocatable)
        && pinned.iter().all(|port| is_free(*port) && node.info.may_pin(*port))
        && chosen >= spec.container.ports.len() - pinned.len()
}

//! I48: a task is placed only when what it waits for has come so far, reckoned from the tasks alone.

use super::Check;
use orbit_core::{model::*, state::Cluster};

/// S: of a plan, before it is carried out: the tasks whose turn has not come.
pub(crate) fn early(cluster: &Cluster, entry: &Entry) -> Vec<TaskId> {
    let Command::Plan(plan) = &entry.command else { return Vec::new() };
    let waits = |workload: Uid, slot, version| {
        cluster.workload(workload).is_some_and(|workload| !may_come(cluster, workload, slot, version))
    };
    let made = |ordinal: usize| TaskId { epoch: cluster.epoch, index: entry.index, ordinal: ordinal as u32 };
    let created = plan.creates.iter().enumerate().filter(|(_, it)| waits(it.workload, it.slot, it.version));
    let placed = plan.places.iter().filter_map(|place| cluster.task(place.task));
    let placed = placed.filter(|task| task.node.is_none() && waits(task.workload, task.slot, task.version));
    let placed = placed.map(|task| task.id);
    created.map(|(ordinal, _)| made(ordinal)).chain(placed).collect()
}

/// And afterwards: none of them was placed (I48).
pub(crate) fn none_placed(cluster: &Cluster, early: &[TaskId]) -> Check {
    match early.iter().filter_map(|id| cluster.task(*id)).find(|task| task.node.is_some()) {
        Some(task) => Err(("I48", format!("{} is placed before what it waits for", task.id))),
        None => Ok(()),
    }
}

/// Whether everything has come so far that a task of this version waits for in this slot.
pub(super) fn may_come(cluster: &Cluster, workload: &Workload, slot: u32, version: u32) -> bool {
    let Some(spec) = workload.spec(version).filter(|spec| !spec.after.is_empty()) else { return true };
    let own = cluster.tasks().filter(|task| task.workload == workload.uid && task.slot == slot);
    let has_run = workload.kind == Kind::Task && own.into_iter().any(|task| task.running_at.is_some());
    let was_stable = workload.version(version).is_some_and(|version| version.was_stable);
    was_stable || has_run || spec.after.iter().all(|after| has_come(cluster, after))
}

fn has_come(cluster: &Cluster, After { kind, name, until }: &After) -> bool {
    let is_it = |workload: &&Workload| workload.kind == *kind && *workload.name == **name && !workload.deleting;
    let Some(workload) = cluster.workloads().find(is_it) else { return false };
    let mut tasks = cluster.tasks().filter(|task| task.workload == workload.uid);
    match until {
        Until::Started => tasks.any(|task| task.running_at.is_some()),
        Until::Healthy => tasks.any(Task::serves),
        Until::Complete => tasks.any(|task| task.state == TaskState::Complete),
    }
}

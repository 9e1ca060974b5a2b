//! What follows from the silence of a node, in words.

use super::seconds;
use orbit_core::{
    manager::View,
    model::*,
    reconciler::{self, Outage},
};

/// What becomes of those of its tasks whose nodes are silent: of the first of them, which goes for most.
pub(super) fn silent(state: View, workload: &Workload, now: Time) -> Option<String> {
    let tasks = workload.slots.iter().flat_map(|slot| state.cluster().attempts(slot));
    let mut fates = tasks.filter_map(|task| Some((task.id, fate(state, workload, task, now)?)));
    let (first, fate) = fates.next()?;
    let others = match fates.count() {
        0 => String::new(),
        n => format!("; {n} more on silent nodes"),
    };
    Some(format!("{first} {fate}{others}"))
}

/// What becomes of a task whose node is silent, and when. Nothing of others, and of one that was replaced.
pub(super) fn fate(state: View, workload: &Workload, task: &Task, now: Time) -> Option<String> {
    let cluster = state.cluster();
    let node = cluster.node_of(task).filter(|node| node.reach != Reach::Reachable && !task.state.is_terminal())?;
    let (name, at) = (&node.info.name, state.cluster_time(now));
    let newest = workload.slots.get(task.slot as usize).and_then(|slot| cluster.attempts(slot).next());
    let is_replaced = newest.is_some_and(|newest| newest.id != task.id);
    let due = |outage: &Outage| outage.replace_at(cluster.spec_of(task), state.timing().replace_after);
    Some(match state.outage(node.id).map(|outage| (outage, due(&outage))) {
        _ if is_replaced => return None,
        _ if !reconciler::may_rerun(workload) => format!("runs on {name}, which is silent, and is not run again"),
        Some((Outage::Braked, _)) => format!("stays on {name}: too many nodes fell silent together"),
        Some((_, None)) => format!("waits until {name} returns or is forgotten (its fence is confirmed)"),
        Some((_, Some(due))) if due > at => format!("is replaced in {} unless {name} returns", seconds(due.since(at))),
        _ => format!("is replaced: {name} is silent"),
    })
}

/// What becomes of the tasks of a silent node, and when.
pub(super) fn what_follows(state: View, node: &Node, outage: Outage, at: Time) -> String {
    let cluster = state.cluster();
    let left = node.tasks().filter_map(|id| cluster.task(id)).filter(|task| !task.state.is_terminal());
    let due = |task: &Task| outage.replace_at(cluster.spec_of(task), state.timing().replace_after);
    let due: Vec<Option<Time>> = left.map(due).collect();
    let confirmed = due.iter().filter(|due| due.is_none()).count();
    let next = due.iter().flatten().filter(|due| **due > at).min();
    let rest = match (next, due.len() - confirmed) {
        (_, 0) if confirmed > 0 => String::new(),
        (Some(due), _) => format!("tasks are replaced in {} unless it returns", seconds(due.since(at))),
        (None, _) => "tasks are replaced".to_string(),
    };
    let confirmed = match confirmed {
        0 => String::new(),
        1 => "1 task waits until it returns or is forgotten (its fence is confirmed)".to_string(),
        n => format!("{n} tasks wait until it returns or is forgotten (their fence is confirmed)"),
    };
    [rest, confirmed].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
}

//! What must hold, by name. S-checks read the manager's state, W-checks the engines' truth alone.
//!
//! Each returns the first violation it finds: the invariant's name, as in `sim/INVARIANTS.md`, and
//! what was found. A name is the key by which a failing run is made smaller.

mod engines;
mod fences;
mod order;
mod orders;
mod overdue;
mod pending;
mod plans;
mod rollouts;
mod stale;
mod tasks;
#[cfg(test)]
mod tests;
mod volumes;

pub use engines::EngineWatch;
pub(crate) use engines::ends;
pub(crate) use engines::{alone, asked, builds_are_told, is_allowed, is_ours, is_unneeded, same_bytes};
pub use fences::FenceWatch;
pub(crate) use fences::forgotten;
pub(crate) use order::{early, none_placed};
use orders::task_of;
pub(crate) use orders::{OrderWatch, left_first};
pub(crate) use overdue::{not_due_yet, overdue};
pub use pending::{WorkerView, is_restless, pending};
pub(crate) use plans::{PlanWatch, committed};
pub(crate) use stale::Stale;
pub use tasks::TaskWatch;
pub(crate) use tasks::kept;
pub use volumes::VolumeWatch;
pub(crate) use volumes::nobody_else_writes;

use crate::client::{Object, Wish};
use orbit_core::{
    manager::{FINISHED_MAX, Manager},
    model::*,
    reconciler::HISTORY_MAX,
    state::Cluster,
};
use std::collections::{BTreeMap, BTreeSet};

/// What was found, with the invariant's name.
pub type Check = Result<(), (&'static str, String)>;

/// S: sums, indexes and limits, recomputed (I1, I2, I17).
///
/// # Errors
/// The first violation.
pub fn state(cluster: &Cluster) -> Check {
    match cluster.check().into_iter().next() {
        Some(violation) => Err((violation.invariant, violation.found)),
        None => Ok(()),
    }
}

/// S: one live session per node, and it is the one of its last registration (I20).
///
/// # Errors
/// The first node of which this is not so.
pub fn sessions(manager: &Manager) -> Check {
    let mut nodes = BTreeSet::new();
    for (session, node, incarnation) in manager.connected() {
        let current = manager.cluster().node(node).map(|node| node.incarnation);
        if !nodes.insert(node) {
            return Err(("I20", format!("{node:?} has two sessions, the other one is {session:?}")));
        }
        if current != Some(incarnation) {
            return Err(("I20", format!("{session:?} is of registration {incarnation}, {node:?} is at {current:?}")));
        }
    }
    Ok(())
}

/// S: what is remembered is bounded, and a snapshot loads and gives the same state (I33, I14).
///
/// # Errors
/// What is not bounded, or is lost.
pub fn snapshot(cluster: &Cluster) -> Check {
    let snapshot = cluster.snapshot();
    let finished = snapshot.workloads.iter().filter(|w| w.kind == Kind::Task).count();
    let ended: BTreeMap<(Uid, u32), usize> =
        snapshot.tasks.iter().filter(|task| task.state.is_terminal()).fold(BTreeMap::new(), |mut counts, task| {
            *counts.entry((task.workload, task.slot)).or_default() += 1;
            counts
        });
    // Some may have ended since the last plan, all at once where an engine hung.
    if let Some(((uid, slot), count)) = ended.into_iter().find(|(_, count)| *count > HISTORY_MAX + 16) {
        return Err(("I33", format!("slot {slot} of {uid} remembers {count} ended tasks")));
    }
    if finished > 2 * FINISHED_MAX {
        return Err(("I33", format!("{finished} task definitions are remembered")));
    }
    match Cluster::restore(snapshot.clone()) {
        Ok(restored) if restored.snapshot() == snapshot => Ok(()),
        Ok(_) => Err(("I14", "a snapshot gives another state than the one it was made of".to_string())),
        Err(error) => Err(("I33", format!("a snapshot does not load: {error:?}"))),
    }
}

/// I10: every object is one of those that its user may expect.
///
/// # Errors
/// The first object that is not.
pub fn acknowledged(cluster: &Cluster, known: &BTreeMap<Object, Vec<Wish>>) -> Check {
    for ((kind, name), wishes) in known {
        let found = cluster.workload_named(*kind, name);
        // What was taken back because it failed is still what its user wanted.
        let wanted = |w: &Workload| w.rollout.and_then(|rollout| rollout.failed).unwrap_or(w.version);
        let found = found.and_then(|w| Some((w.replicas, w.spec(wanted(w))?.container.image.as_str())));
        if !wishes.iter().any(|wish| wish.as_ref().map(|(replicas, image)| (*replicas, image.as_str())) == found) {
            return Err(("I10", format!("{kind} {name} is {found:?}, its user knows {wishes:?}")));
        }
    }
    Ok(())
}

/// Whether a task was given to a node that is not heard.
fn is_silent(cluster: &Cluster, task: &Task) -> bool {
    cluster.node_of(task).is_some_and(|node| !node.is_ready())
}

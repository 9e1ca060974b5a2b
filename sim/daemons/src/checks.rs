//! What must hold, by name. S-checks read the manager's state, W-checks the engines' truth alone.

use crate::client::Wish;
use orbit_core::model::*;
use orbit_runtime::fake::FakeEngine;
use std::collections::BTreeMap;

/// What was found, with the invariant's name.
pub(crate) type Check = Result<(), (&'static str, String)>;

/// Remembers each task's last state, to see that it only advances (I6) and never moves (I5).
#[derive(Debug, Default)]
pub(crate) struct TaskWatch {
    seen: BTreeMap<TaskId, (TaskState, Desired, Option<NodeId>)>,
    index: u64,
}

impl TaskWatch {
    /// S: after every applied entry.
    pub fn look(&mut self, cluster: &Cluster) -> Check {
        if cluster.index < self.index {
            return Ok(()); // a manager that is still replaying
        }
        self.index = cluster.index;
        for task in cluster.tasks() {
            let now = (task.state, task.desired, task.node);
            if let Some((state, desired, node)) = self.seen.insert(task.id, now) {
                let forward = state == task.state || state.may_become(task.state);
                if !forward || desired > task.desired {
                    return Err(("I6", format!("{} went from {state} to {}", task.id, task.state)));
                }
                if node.is_some() && node != task.node {
                    return Err(("I5", format!("{} moved from {node:?} to {:?}", task.id, task.node)));
                }
            }
        }
        Ok(())
    }
}

/// S: sums, indexes and limits, recomputed.
pub(crate) fn state(cluster: &Cluster) -> Check {
    match cluster.check().into_iter().next() {
        Some(violation) => Err((violation.invariant, violation.found)),
        None => Ok(()),
    }
}

/// W: a task has at most one container in its life, was started at most once, and on one node (I5).
pub(crate) fn one_container_each<'a>(engines: impl Iterator<Item = &'a FakeEngine>) -> Check {
    let mut homes: BTreeMap<TaskId, usize> = BTreeMap::new();
    for (home, engine) in engines.enumerate() {
        for (task, lives) in engine.lives() {
            if lives.created > 1 || lives.started > 1 {
                return Err(("I5", format!("{task} was created and started {lives:?} times")));
            }
            if let Some(other) = homes.insert(task, home) {
                return Err(("I5", format!("{task} was created on worker {other} and on worker {home}")));
            }
        }
    }
    Ok(())
}

/// I10: every object is one of those that its user may expect.
pub(crate) fn acknowledged(cluster: &Cluster, known: &BTreeMap<(Kind, String), Vec<Wish>>) -> Check {
    for ((kind, name), wishes) in known {
        let found = cluster.workload_named(*kind, name);
        let found: Wish = found.map(|w| (w.replicas, w.current().spec.image.clone()));
        if !wishes.contains(&found) {
            return Err(("I10", format!("{kind} {name} is {found:?}, its user knows {wishes:?}")));
        }
    }
    Ok(())
}

/// Why the world has not converged; nothing once it has.
pub(crate) fn pending(cluster: &Cluster, engines: &[FakeEngine], good_images: &[String]) -> Vec<String> {
    let mut pending = Vec::new();
    if cluster.nodes().count() < engines.len() {
        pending.push("a worker has not registered".to_string());
    }
    for node in cluster.nodes().filter(|node| !node.is_ready()) {
        pending.push(format!("{} is unreachable", node.info.name));
    }
    let mut running: BTreeMap<TaskId, usize> = BTreeMap::new();
    for (index, engine) in engines.iter().enumerate() {
        for container in engine.containers() {
            let Some(identity) = container.identity else { continue };
            // What always fails is on its way in or out at any moment.
            if !good_images.contains(&container.spec.image) {
                continue;
            }
            match cluster.task(identity.task) {
                None => pending.push(format!("{} is not known and has a container", identity.task)),
                Some(task) if container.is_running() && task.state != TaskState::Running => {
                    pending.push(format!("{} runs and is {}", task.id, task.state));
                }
                Some(_) => {}
            }
            if container.is_running() {
                running.insert(identity.task, index);
            }
        }
    }
    let image = |task: &Task| cluster.spec_of(task).image.clone();
    for task in cluster.tasks().filter(|task| good_images.contains(&image(task))) {
        let runs = running.contains_key(&task.id);
        if task.state == TaskState::Running && !runs {
            pending.push(format!("{} is said to run and does not", task.id));
        }
        if !task.is_live() && !task.state.is_terminal() {
            pending.push(format!("{} is told to stop and is {}", task.id, task.state));
        }
    }
    for workload in cluster.workloads() {
        if workload.deleting {
            pending.push(format!("{} is being deleted", workload.name));
            continue;
        }
        let good = good_images.contains(&workload.current().spec.image);
        let serves = |slot: &Slot| {
            let mut live = cluster.attempts(slot).filter(|task| task.is_live());
            let first = live.next();
            let current = |task: &Task| task.version == workload.current().number && running.contains_key(&task.id);
            first.is_some_and(current) && live.next().is_none()
        };
        // A cluster that is full says so, and is not held to more.
        let unplaced = cluster.pending_of(workload.uid).count();
        let explained = workload.decision.as_ref().is_some_and(|d| d.unplaced > 0 && !d.refusals.is_empty());
        if unplaced > 0 && !explained {
            pending.push(format!("{} waits for a node and nobody says why (I30)", workload.name));
        }
        let serving = workload.slots.iter().filter(|slot| serves(slot)).count();
        if workload.kind == Kind::Service && good && unplaced == 0 && serving != workload.replicas as usize {
            pending.push(format!("{} serves with {serving} of {}", workload.name, workload.replicas));
        }
        if workload.slots.len() > workload.replicas as usize {
            pending.push(format!("{} has surplus slots", workload.name));
        }
    }
    pending
}

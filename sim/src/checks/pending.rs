//! Why a world has not converged.

use super::{
    is_silent,
    overdue::has_room,
    rollouts::{shall_be, specs, stands_alone},
};
use crate::client::IMAGES_GOOD;
use orbit_core::{model::*, worker::Ledger};
use orbit_runtime::fake::FakeEngine;
use std::collections::BTreeMap;

/// What can be seen of a worker from outside.
#[derive(Clone, Copy, Debug)]
pub struct WorkerView<'a> {
    /// The manager has welcomed its process on the present connection.
    pub is_welcome: bool,
    /// Its machine is gone for good: nothing of it is waited for.
    pub is_lost: bool,
    /// Its engine.
    pub engine: &'a FakeEngine,
    /// Its memory, where it can be seen from outside.
    pub ledger: Option<&'a Ledger>,
}

/// Later than any port rests.
const RESTS_ARE_OVER: Time = Time(u64::MAX);

/// Why the world has not converged; nothing once it has. `at` is the cluster's time.
pub fn pending(cluster: &Cluster, at: Time, workers: &[WorkerView]) -> Vec<String> {
    let mut pending = Vec::new();
    let living = workers.iter().filter(|worker| !worker.is_lost).count();
    if cluster.nodes().count() < living {
        pending.push("a worker has not registered".to_string());
    }
    let silent = cluster.nodes().filter(|node| !node.is_ready()).count();
    let lost = workers.len() - living;
    let is_good = |image: &str| IMAGES_GOOD.contains(&image);
    if silent > lost {
        pending.push(format!("{silent} nodes are unreachable, {lost} are lost for good"));
    }
    // What is on a machine that is gone for good is not seen to end. (Nobody else is silent by now.)
    let is_gone = |task: &Task| is_silent(cluster, task);
    let mut running: BTreeMap<TaskId, usize> = BTreeMap::new();
    for (index, worker) in workers.iter().enumerate() {
        if worker.is_lost {
            continue;
        }
        if !worker.is_welcome {
            pending.push(format!("worker {index} is not connected"));
        }
        // What is remembered is bounded (I33).
        let forgotten =
            worker.ledger.into_iter().flat_map(|ledger| ledger.tasks.keys()).filter(|id| cluster.task(**id).is_none());
        pending.extend(forgotten.map(|id| format!("worker {index} remembers {id}, which nobody knows")));
        for container in worker.engine.containers() {
            let Some(identity) = container.identity else { continue };
            // What always fails is on its way in or out at any moment.
            let written = cluster.task(identity.task).map(|task| &*cluster.spec_of(task).image);
            if !is_good(written.unwrap_or(&container.spec.image)) {
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
            let task = cluster.task(identity.task).filter(|task| task.is_live());
            if let Some(task) = task.filter(|task| cluster.spec_of(task).probes.health.is_some())
                && container.is_running()
                && !container.is_well()
            {
                pending.push(format!("{} is of no good health", task.id));
            }
        }
    }
    let image = |task: &Task| cluster.spec_of(task).image.clone();
    for task in cluster.tasks().filter(|task| is_good(&image(task)) && !is_gone(task)) {
        let runs = running.contains_key(&task.id);
        if task.state == TaskState::Running && !runs {
            pending.push(format!("{} is said to run and does not", task.id));
        }
        if task.is_live() && task.state == TaskState::Running && !task.serves() {
            pending.push(format!("{} runs and is not ready", task.id));
        }
        // One that waits for a node is its workload's business, below.
        if task.is_live() && task.node.is_some() && task.state != TaskState::Running {
            pending.push(format!("{} is {}", task.id, task.state));
        }
    }
    for node in cluster.nodes().filter(|node| node.is_ready()) {
        let left = || node.tasks().filter_map(|id| cluster.task(id)).filter(|task| task.is_live());
        if node.duty.deadline().is_some_and(|deadline| deadline + Millis::secs(5) > at) && left().next().is_some() {
            pending.push(format!("the deadline of {}'s drain has not passed", node.info.name));
        }
        // I29: whatever can go goes, and what cannot goes at the deadline.
        let may_go = |task: &&Task| {
            let Some(workload) = cluster.workload(task.workload) else { return false };
            let Some(spec) = workload.spec(shall_be(cluster, workload, task.slot)) else { return false };
            // What takes its place may be of another version, which may have no room anywhere.
            let elsewhere = || cluster.nodes().any(|other| has_room(cluster, other, spec, at));
            // Where others fail for ever, no more may be without.
            let waits =
                || stands_alone(cluster, workload, task.slot) && cluster.pending_of(workload.uid).next().is_some();
            let others = || {
                specs(cluster, workload).all(|spec| is_good(&spec.image)) && !waits() && !is_used_up(cluster, workload)
            };
            let is_followed = workload.kind == Kind::Service && is_good(&spec.image) && others();
            is_good(&image(task)) && (node.duty.deadline().is_some() || (is_followed && elsewhere()))
        };
        if let Some(task) = left().find(may_go).filter(|_| node.duty.is_draining()) {
            pending.push(format!("{} stays on {}, which is being drained (I29)", task.id, node.info.name));
        }
    }
    let stopping = |task: &&Task| task.desired == Desired::Stopped && !task.state.is_terminal();
    for task in cluster.tasks().filter(stopping).filter(|task| !is_gone(task)) {
        pending.push(format!("{} is told to stop and is {}", task.id, task.state));
    }
    let holds_on = |task: &Task| is_gone(task) && !task.state.is_terminal();
    for workload in cluster.workloads() {
        // It waits until an operator forgets the node.
        let waits_for_lost = workload.slots.iter().flat_map(|slot| cluster.attempts(slot)).any(holds_on);
        if workload.deleting && waits_for_lost {
            continue;
        }
        if workload.deleting {
            pending.push(format!("{} is being deleted", workload.name));
            continue;
        }
        let good = specs(cluster, workload).all(|spec| is_good(&spec.image));
        let serves = |(number, slot): (u32, &Slot)| {
            // One that is to be kept is not told to stop, and what is gone for good does not return.
            let waits = |task: &Task| is_gone(task) && cluster.spec_of(task).disconnect.keep == Keep::Original;
            let mut live = cluster.attempts(slot).filter(|task| task.is_live() && !waits(task));
            let first = live.next();
            let version = shall_be(cluster, workload, number);
            let current = |task: &Task| task.version == version && running.contains_key(&task.id) && task.serves();
            first.is_some_and(current) && live.next().is_none()
        };
        // A cluster that is full says so, and is not held to more.
        let unplaced = cluster.pending_of(workload.uid).count();
        let explained = workload.decision.as_ref().is_some_and(|d| d.unplaced > 0 && !d.refusals.is_empty());
        // It will be tried again when the port is free. The reason that was written down may be an older one.
        let waiting = || cluster.pending_of(workload.uid).filter_map(|id| cluster.task(id)).map(|t| cluster.spec_of(t));
        let fits = |node: &Node, at: Time| waiting().any(|spec| has_room(cluster, node, spec, at));
        let frees_port = |node: &Node| fits(node, RESTS_ARE_OVER) && !fits(node, at);
        if unplaced > 0 && cluster.nodes().any(frees_port) {
            pending.push(format!("{} waits for a port that rests", workload.name));
        }
        if unplaced > 0 && !explained {
            pending.push(format!("{} waits for a node and nobody says why (I30)", workload.name));
        }
        if let Some(node) = cluster.nodes().find(|node| fits(node, at)) {
            pending.push(format!("{} waits for a node and {} has room", workload.name, node.info.name));
        }
        // The reason has to be that of today: every node is reachable now.
        let absent = |d: &Decision| d.unplaced > 0 && d.refusals.iter().any(|refusals| refusals.filter == "ready");
        if unplaced > 0 && cluster.nodes().all(Node::is_ready) && workload.decision.as_ref().is_some_and(absent) {
            pending.push(format!("{} is said to wait for a node that is back (I30)", workload.name));
        }
        // Nobody can say that it has ended but an operator, who forgets its node.
        let unconfirmed = |slot: &&Slot| {
            let first = cluster.attempts(slot).find(|task| !task.state.is_terminal() && is_gone(task));
            first.is_some_and(|task| cluster.spec_of(task).disconnect.fence == Fence::Confirmed)
        };
        let unconfirmed = workload.slots.iter().filter(unconfirmed).count();
        let serving = (0..).zip(&workload.slots).filter(|slot| serves(*slot)).count();
        // I28: it comes to an end, by its deadline or when all serve.
        let runs = workload.rollout.is_some_and(|rollout| rollout.state == RolloutState::Running);
        let whole = good && unplaced == 0 && unconfirmed == 0 && serving == workload.replicas as usize;
        if runs && workload.replicas > 0 && (workload.update.deadline.is_some() || whole) {
            pending.push(format!("the rollout of {} is under way", workload.name));
        }
        let there = serving + unconfirmed >= workload.replicas as usize;
        if workload.kind == Kind::Service && good && unplaced == 0 && !there {
            pending.push(format!("{} serves with {serving} of {}", workload.name, workload.replicas));
        }
        if workload.slots.len() > workload.replicas as usize && !waits_for_lost {
            pending.push(format!("{} has surplus slots", workload.name));
        }
    }
    pending
}

/// Whether slots that wait for a node take all that a service may have beside and be without: those behind them, which may
/// be held at another version that has room, wait with them.
fn is_used_up(cluster: &Cluster, workload: &Workload) -> bool {
    let live = |slot: &Slot| cluster.attempts(slot).filter(|task| task.is_live()).count();
    let waits = |slot: &Slot| cluster.attempts(slot).any(|task| task.is_live() && task.state == TaskState::Pending);
    let waiting: Vec<usize> = workload.slots.iter().filter(|slot| waits(slot)).map(live).collect();
    let beside = waiting.iter().filter(|live| **live > 1).count();
    let without = waiting.len() - beside;
    beside >= workload.update.max_surge as usize && without >= workload.update.max_unavailable as usize
}

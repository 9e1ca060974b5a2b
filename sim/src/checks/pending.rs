//! Why a world has not converged.

use super::{
    is_silent,
    order::may_come,
    overdue::{has_room, places_after},
    rollouts::{shall_be, specs, stands_alone},
};
use crate::client::IMAGES_GOOD;
use orbit_core::{model::*, state::Cluster, worker::Ledger};
use orbit_runtime::fake::FakeEngine;
use std::{collections::BTreeSet, sync::Arc};

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

/// An engine that answers starts a container in this time, or says why not.
const STARTS_WITHIN: Millis = Millis::secs(90);

/// Later than any port rests.
const RESTS_ARE_OVER: Time = Time(u64::MAX);

/// Why the world has not converged; nothing once it has. `at` is the cluster's time.
pub fn pending(cluster: &Cluster, at: Time, workers: &[WorkerView]) -> Vec<String> {
    let mut pending = Vec::new();
    let living = || workers.iter().enumerate().filter(|(_, worker)| !worker.is_lost);
    if cluster.nodes().count() < living().count() {
        pending.push("a worker has not registered".to_string());
    }
    let silent = cluster.nodes().filter(|node| !node.is_ready()).count();
    let lost = workers.len() - living().count();
    if silent > lost {
        pending.push(format!("{silent} nodes are unreachable, {lost} are lost for good"));
    }
    let full = cluster.nodes().filter(|node| node.is_ready() && node.disk_full_since.is_some());
    pending.extend(full.map(|node| format!("the disk of {} has room, and is said to be full", node.info.name)));
    let containers = living().flat_map(|(_, worker)| worker.engine.containers());
    let running = containers.filter(|it| it.is_running()).filter_map(|it| Some(it.identity?.task)).collect();
    let world = World { cluster, at, running, gone: gone(cluster, workers) };
    living().for_each(|(index, worker)| world.worker(index, worker, &mut pending));
    cluster.tasks().for_each(|task| world.task(task, &mut pending));
    cluster.nodes().filter(|node| node.is_ready()).for_each(|node| world.drain(node, &mut pending));
    cluster.workloads().for_each(|workload| world.workload(workload, &mut pending));
    pending
}

/// What always fails is on its way in or out at any moment.
fn comes_to_rest(image: &str) -> bool {
    IMAGES_GOOD.contains(&image)
}

/// Whether something that a slot shall run, of the current version or of an older one, always fails: it is tried again
/// for ever, and so its cluster never rests.
pub fn is_restless(cluster: &Cluster, workers: &[WorkerView]) -> bool {
    let gone = gone(cluster, workers);
    cluster.workloads().any(|workload| specs(cluster, workload).any(|spec| !rests(spec, &gone)))
}

/// The volumes whose data somebody has removed: what uses one fails for ever, until it is given up.
fn gone(cluster: &Cluster, workers: &[WorkerView]) -> BTreeSet<String> {
    let is_gone = |volume: &&Volume| {
        let name = cluster.id.map(|id| volume.engine_name(id)).unwrap_or_default();
        let was_made = |worker: &&WorkerView| worker.ledger.is_some_and(|ledger| ledger.volumes.contains(&name));
        workers.iter().filter(was_made).any(|worker| !worker.engine.volumes().contains_key(&name))
    };
    cluster.volumes().filter(is_gone).map(|volume| volume.name.to_string()).collect()
}

fn rests(spec: &Spec, gone: &BTreeSet<String>) -> bool {
    let needs = |mount: &VolumeMount| gone.contains(&mount.volume);
    comes_to_rest(&spec.container.image) && !spec.container.setup.volumes.iter().any(needs)
}

/// What is believed, and what is.
struct World<'a> {
    cluster: &'a Cluster,
    at: Time,
    /// Those that have a container that runs.
    running: BTreeSet<TaskId>,
    /// The volumes whose data is gone.
    gone: BTreeSet<String>,
}

impl World<'_> {
    fn is_good(&self, task: &Task) -> bool {
        self.rests(self.cluster.spec_of(task))
    }
    fn rests(&self, spec: &Spec) -> bool {
        rests(spec, &self.gone)
    }
    /// What is on a machine that is gone for good is not seen to end. (Nobody else is silent by now.)
    fn is_gone(&self, task: &Task) -> bool {
        is_silent(self.cluster, task)
    }

    fn worker(&self, index: usize, worker: &WorkerView, pending: &mut Vec<String>) {
        let cluster = self.cluster;
        if !worker.is_welcome {
            pending.push(format!("worker {index} is not connected"));
        }
        // What is remembered is bounded (I33).
        let remembered = worker.ledger.into_iter().flat_map(|ledger| ledger.tasks.keys());
        let forgotten = remembered.filter(|id| cluster.task(**id).is_none());
        pending.extend(forgotten.map(|id| format!("worker {index} remembers {id}, which nobody knows")));
        for container in worker.engine.containers() {
            let Some(identity) = container.identity else { continue };
            let Some(task) = cluster.task(identity.task) else {
                if comes_to_rest(&container.spec.image) {
                    pending.push(format!("{} is not known and has a container", identity.task));
                }
                continue;
            };
            if !self.is_good(task) || !container.is_running() {
                continue;
            }
            if task.state != TaskState::Running {
                pending.push(format!("{} runs and is {}", task.id, task.state));
            } else if task.probed.image != container.image_health() {
                let (said, is) = (task.probed.image, container.image_health());
                pending.push(format!("the health check of {}'s image says {is:?}, and {said:?} is known", task.id));
            }
            if task.is_live() && cluster.spec_of(task).container.probes.health.is_some() && !container.is_well() {
                pending.push(format!("{} is of no good health", task.id));
            }
        }
    }

    fn task(&self, task: &Task, pending: &mut Vec<String>) {
        if self.is_gone(task) {
            return;
        }
        if task.desired == Desired::Stopped && !task.state.is_terminal() {
            pending.push(format!("{} is told to stop and is {}", task.id, task.state));
        }
        // What cannot be started says so, and does not go on being started.
        if task.is_live() && task.state == TaskState::Starting && task.created_at + STARTS_WITHIN < self.at {
            pending.push(format!("{} is still being started", task.id));
        }
        if !self.is_good(task) {
            return;
        }
        let is_running = task.state == TaskState::Running;
        if is_running && !self.running.contains(&task.id) {
            pending.push(format!("{} is said to run and does not", task.id));
        }
        if task.is_live() && is_running && !task.serves() {
            pending.push(format!("{} runs and is not ready", task.id));
        }
        // One that waits for a node is its workload's business.
        if task.is_live() && task.node.is_some() && !is_running {
            pending.push(format!("{} is {}", task.id, task.state));
        }
    }

    fn drain(&self, node: &Node, pending: &mut Vec<String>) {
        if !node.availability.is_draining() {
            return;
        }
        let left = || node.tasks().filter_map(|id| self.cluster.task(id)).filter(|task| task.is_live());
        let deadline = node.availability.deadline();
        if deadline.is_some_and(|deadline| deadline + Millis::secs(5) > self.at) && left().next().is_some() {
            pending.push(format!("the deadline of {}'s drain has not passed", node.info.name));
        }
        // I29: whatever can go goes, and what cannot goes at the deadline.
        let goes = |task: &&Task| self.is_good(task) && (deadline.is_some() || self.may_go(task));
        if let Some(task) = left().find(goes) {
            pending.push(format!("{} stays on {}, which is being drained (I29)", task.id, node.info.name));
        }
    }

    /// Whether a task on a node that is drained can be followed by one elsewhere.
    fn may_go(&self, task: &Task) -> bool {
        let cluster = self.cluster;
        let Some(workload) = cluster.workload(task.workload).filter(|it| it.kind == Kind::Service) else {
            return false;
        };
        // What takes its place may be of another version, which may have no room anywhere.
        let Some(spec) = workload.spec(shall_be(cluster, workload, task.slot)) else { return false };
        // Where others fail for ever, no more may be without.
        let waits = stands_alone(cluster, workload, task.slot) && cluster.pending_of(workload.uid).next().is_some();
        let others = specs(cluster, workload).all(|spec| self.rests(spec)) && !waits && !is_used_up(cluster, workload);
        self.rests(spec)
            && others
            && may_come(cluster, workload, task.slot, shall_be(cluster, workload, task.slot))
            && cluster.nodes().any(|other| has_room(cluster, other, spec, self.at))
    }

    fn workload(&self, workload: &Workload, pending: &mut Vec<String>) {
        let cluster = self.cluster;
        // It waits until an operator forgets the node.
        let holds_on = |task: &Task| self.is_gone(task) && !task.state.is_terminal();
        let waits_for_lost = workload.slots.iter().flat_map(|slot| cluster.attempts(slot)).any(holds_on);
        if workload.deleting {
            if !waits_for_lost {
                pending.push(format!("{} is being deleted", workload.name));
            }
            return;
        }
        self.unplaced(workload, pending);
        // Nobody can say that it has ended but an operator, who forgets its node.
        let unconfirmed = |slot: &&Slot| {
            let first = cluster.attempts(slot).find(|task| holds_on(task));
            first.is_some_and(|task| cluster.spec_of(task).disconnect.fence == Fence::Confirmed)
        };
        let unconfirmed = workload.slots.iter().filter(unconfirmed).count();
        let slots = (0..).zip(&workload.slots);
        let serving = slots.filter(|(number, slot)| self.serves(workload, *number, slot)).count();
        // What serves is not stopped for a version that has no place.
        let has_no_place = |(number, slot): &(u32, &Slot), at: Time| {
            let serving = cluster.attempts(slot).find(|task| task.is_live() && task.serves());
            let version = shall_be(cluster, workload, *number);
            let waits = !may_come(cluster, workload, *number, version);
            let nowhere =
                |(old, spec): (&Task, &Arc<Spec>)| waits || places_after(old, cluster, spec, at).next().is_none();
            !self.serves(workload, *number, slot) && serving.zip(workload.spec(version)).is_some_and(nowhere)
        };
        let slots = (0..workload.wanted()).zip(&workload.slots);
        let kept: Vec<_> = slots.filter(|slot| has_no_place(slot, self.at)).collect();
        if kept.iter().any(|slot| !has_no_place(slot, RESTS_ARE_OVER)) {
            pending.push(format!("{} is kept until a port has rested", workload.name));
        }
        let kept = kept.len();
        let (wanted, unplaced) = (workload.replicas as usize, cluster.pending_of(workload.uid).count());
        let good = specs(cluster, workload).all(|spec| self.rests(spec));
        // I28: it comes to an end, by its deadline or when all serve.
        let runs = workload.rollout.is_some_and(|rollout| rollout.state == RolloutState::Running);
        let whole = good && unplaced == 0 && unconfirmed == 0 && serving == wanted;
        if runs && wanted > 0 && (workload.update.deadline.is_some() || whole) {
            pending.push(format!("the rollout of {} is under way", workload.name));
        }
        // A cluster that is full says so, and is not held to more.
        if workload.kind == Kind::Service && good && unplaced == 0 && serving + unconfirmed + kept < wanted {
            pending.push(format!("{} serves with {serving} of {wanted}", workload.name));
        }
        if workload.slots.len() > wanted && !waits_for_lost {
            pending.push(format!("{} has surplus slots", workload.name));
        }
    }

    /// Whether one task of a slot serves, of the version that it shall be of, and no other is there.
    fn serves(&self, workload: &Workload, number: u32, slot: &Slot) -> bool {
        let cluster = self.cluster;
        // One that is to be kept is not told to stop, and what is gone for good does not return.
        let waits = |task: &Task| self.is_gone(task) && cluster.spec_of(task).disconnect.keep == Keep::Original;
        let mut live = cluster.attempts(slot).filter(|task| task.is_live() && !waits(task));
        let first = live.next();
        let version = shall_be(cluster, workload, number);
        let current = |task: &Task| task.version == version && self.running.contains(&task.id) && task.serves();
        first.is_some_and(current) && live.next().is_none()
    }

    /// What finds no node has a reason of today.
    fn unplaced(&self, workload: &Workload, pending: &mut Vec<String>) {
        let cluster = self.cluster;
        let unplaced = || cluster.pending_of(workload.uid).filter_map(|id| cluster.task(id));
        if unplaced().next().is_none() {
            return;
        }
        // Some wait for others, and not for a node.
        let may_come = |task: &&Task| may_come(cluster, workload, task.slot, task.version);
        let waiting = || unplaced().filter(may_come).map(|task| cluster.spec_of(task));
        let says_order = |d: &Decision| d.refusals.iter().any(|refusals| refusals.filter == "after");
        if waiting().next().is_none() && !workload.decision.as_ref().is_some_and(says_order) {
            pending.push(format!("{} waits for others and nobody says so (I30)", workload.name));
        }
        // It will be tried again when the port is free. The reason that was written down may be an older one.
        let fits = |node: &Node, at: Time| waiting().any(|spec| has_room(cluster, node, spec, at));
        if cluster.nodes().any(|node| fits(node, RESTS_ARE_OVER) && !fits(node, self.at)) {
            pending.push(format!("{} waits for a port that rests", workload.name));
        }
        let explained = |d: &Decision| d.unplaced > 0 && !d.refusals.is_empty();
        if !workload.decision.as_ref().is_some_and(explained) {
            pending.push(format!("{} waits for a node and nobody says why (I30)", workload.name));
        }
        if let Some(node) = cluster.nodes().find(|node| fits(node, self.at)) {
            pending.push(format!("{} waits for a node and {} has room", workload.name, node.info.name));
        }
        // Every node is reachable now.
        let absent = |d: &Decision| d.unplaced > 0 && d.refusals.iter().any(|refusals| refusals.filter == "ready");
        if cluster.nodes().all(Node::is_ready) && workload.decision.as_ref().is_some_and(absent) {
            pending.push(format!("{} is said to wait for a node that is back (I30)", workload.name));
        }
    }
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

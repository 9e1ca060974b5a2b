//! What the manager decides, held against what it could know.

use super::{
    Check,
    engines::is_within,
    is_silent,
    order::may_come,
    overdue::{has_room, places_after},
    rollouts::{may_stand_alone, of_the_right_version, shall_be, stands_alone},
};
use orbit_core::{
    manager::{Action, Manager},
    model::*,
    state::Cluster,
};
use std::collections::BTreeMap;

/// Remembers when the manager last answered each node's heartbeat, and since when it has been
/// awake, to see that nothing is given up too early (I32).
#[derive(Debug, Default)]
pub(crate) struct PlanWatch {
    acknowledged_at: BTreeMap<NodeId, u64>,
    /// When the brake held for each node last.
    braked_at: BTreeMap<NodeId, u64>,
    /// Since when the manager's process has run without a longer break, in virtual milliseconds.
    pub awake_since: u64,
}

/// What a step let slip at most: clocks are whole milliseconds, and an action follows its event.
const SLACK_MS: u64 = 2;

impl PlanWatch {
    /// A heartbeat of a node was answered.
    pub fn acknowledged(&mut self, node: NodeId, now: u64) {
        self.acknowledged_at.insert(node, now);
    }

    /// Before an entry is applied that changes which nodes are there.
    pub fn before_nodes_change(&mut self, now: u64, cluster: &Cluster, lease: Millis) {
        // Whoever has been back since begins anew.
        self.braked_at.retain(|node, _| cluster.node(*node).is_some_and(|node| node.silent_since().is_some()));
        let silent = cluster.nodes().filter_map(|node| Some((node.id, node.silent_since()?)));
        let braked = silent.filter(|(_, since)| brake_holds(cluster, *since, lease));
        self.braked_at.extend(braked.map(|(node, _)| (node, now)));
    }

    /// S: before an action of the manager is carried out.
    /// `at` is the cluster's time.
    /// `holds`: whether the engine of a node has an image.
    pub fn look(
        &self,
        now: u64,
        at: Time,
        manager: &Manager,
        action: &Action,
        holds: &dyn Fn(&Node, &str) -> bool,
    ) -> Check {
        if !manager.is_ready() {
            return only_begins(action);
        }
        match action {
            Action::Propose { command: Command::Reach(changes), .. } => {
                changes.iter().try_for_each(|change| self.lost(now, manager, change))
            }
            Action::Propose { command: Command::Plan(plan), .. } => {
                plan.creates.iter().try_for_each(|create| self.replaced(now, manager, create))?;
                plan.stops.iter().try_for_each(|stop| kept(manager.cluster(), plan, *stop))?;
                plan.stops.iter().try_for_each(|stop| kept_as_said(manager.cluster(), plan, *stop))?;
                plan.stops.iter().try_for_each(|stop| served(manager.cluster(), plan, *stop, at))?;
                plan.stops.iter().try_for_each(|stop| followed(manager.cluster(), plan, *stop, at, holds))?;
                crowded(manager.cluster(), plan)?;
                elsewhere(manager.cluster(), plan, at)?;
                of_the_right_version(manager.cluster(), plan.creates.iter())?;
                seen_gone(manager.cluster(), plan.creates.iter(), at)?;
                unhealthy_in_budget(manager.cluster(), plan)
            }
            _ => Ok(()),
        }
    }

    /// I32: a node is called silent only a lease after it was heard by a manager that was awake.
    fn lost(&self, now: u64, manager: &Manager, change: &ReachabilityChange) -> Check {
        let lease = manager.timing().lease.0;
        let heard = self.acknowledged_at.get(&change.node).copied().unwrap_or_default().max(self.awake_since);
        if change.reach != Reach::Reachable && now + SLACK_MS < heard + lease {
            return Err(("I32", format!("{:?} was heard at {heard} and called silent at {now}", change.node)));
        }
        Ok(())
    }

    /// I32: a task that is not known to have ended is replaced only with a node that has been silent
    /// long enough, and not together with more than a third of all.
    fn replaced(&self, now: u64, manager: &Manager, create: &Create) -> Check {
        let cluster = manager.cluster();
        let slot = cluster.workload(create.workload).and_then(|workload| workload.slots.get(create.slot as usize));
        let Some(slot) = slot else { return Ok(()) };
        let newest = cluster.attempts(slot).next();
        for task in cluster.attempts(slot).filter(|task| task.is_live() && task.version == create.version) {
            // One that was replaced in this silence stays so, with whatever success.
            let since = cluster.node_of(task).and_then(Node::silent_since);
            let again = newest.filter(|newest| newest.id != task.id);
            let replaced = again.is_some_and(|newest| since.is_some_and(|since| newest.created_at >= since));
            if !replaced {
                self.given_up(now, manager, task)?;
            }
        }
        Ok(())
    }

    fn given_up(&self, now: u64, manager: &Manager, task: &Task) -> Check {
        let (cluster, timing) = (manager.cluster(), manager.timing());
        let node = cluster.node_of(task);
        if node.is_some_and(|node| node.availability.is_draining()) || task.is_unhealthy() {
            return Ok(());
        }
        let Some((node, since)) = node.and_then(|node| Some((node, node.silent_since()?))) else {
            return Err(("I32", format!("{} is replaced and its node is reachable", task.id)));
        };
        let replace_after = cluster.spec_of(task).disconnect.replace_after.unwrap_or(timing.replace_after);
        if now + SLACK_MS < self.awake_since + replace_after.0 {
            let awake = self.awake_since;
            return Err(("I32", format!("{} is replaced at {now}, the manager is awake since {awake}", task.id)));
        }
        if brake_holds(cluster, since, timing.lease) {
            return Err(("I32", format!("{} of {} is replaced under the brake", task.id, node.info.name)));
        }
        let braked_at = self.braked_at.get(&node.id).copied();
        if braked_at.is_some_and(|at| now + SLACK_MS < at + replace_after.0) {
            let found = format!("{} of {} is replaced at {now}, braked at {braked_at:?}", task.id, node.info.name);
            return Err(("I32", found));
        }
        Ok(())
    }
}

/// Whether a node that fell silent then is one of more than a third of at least three that did so
/// within one lease.
fn brake_holds(cluster: &Cluster, since: Time, lease: Millis) -> bool {
    let total = cluster.nodes().count();
    let silent: Vec<Time> = cluster.nodes().filter_map(Node::silent_since).collect();
    let within = |from: &Time| silent.iter().filter(|it| (*from..=*from + lease).contains(it)).count();
    let windows = silent.iter().filter(|from| (**from..=**from + lease).contains(&since));
    total >= 3 && windows.map(within).any(|together| together * 3 > total)
}

/// I3: the live tasks of a service are no more than it wants and its update may add: a task beside
/// another is only made within that. No slot has more than two. Tasks on unreachable nodes are counted
/// apart.
pub(super) fn crowded(cluster: &Cluster, plan: &Plan) -> Check {
    for create in &plan.creates {
        let Some(workload) = cluster.workload(create.workload) else { continue };
        if create.slot >= workload.wanted() {
            return Err(("I3", format!("{} wants {} and gets slot {}", workload.name, workload.wanted(), create.slot)));
        }
        let stays = |task: &&Task| task.is_live() && !plan.stops.contains(&task.id);
        let reachable = |task: &&Task| cluster.node_of(task).is_none_or(Node::is_ready);
        let live = |(number, slot): (u32, &Slot)| {
            let made = plan.creates.iter().filter(|it| it.workload == workload.uid && it.slot == number);
            cluster.attempts(slot).filter(stays).filter(reachable).count() + made.count()
        };
        let Some(slot) = workload.slots.get(create.slot as usize) else { continue };
        let here = live((create.slot, slot));
        if here < 2 {
            continue;
        }
        let wanted = (0..workload.wanted()).zip(&workload.slots);
        let surge: usize = wanted.map(|slot| live(slot).saturating_sub(1)).sum();
        let pinned = stands_alone(cluster, workload, create.slot);
        if here > 2 || surge > workload.update.max_surge as usize || pinned {
            let (name, number) = (&workload.name, create.slot);
            return Err((
                "I3",
                format!("{name} gets one more in slot {number}, {here} there, {surge} more than wanted"),
            ));
        }
    }
    Ok(())
}

/// I32: what replaces a task of a silent node is not stopped for that one's sake.
fn kept(cluster: &Cluster, plan: &Plan, stop: TaskId) -> Check {
    let Some(task) = cluster.task(stop) else { return Ok(()) };
    let Some(workload) = cluster.workload(task.workload) else { return Ok(()) };
    let Some(slot) = workload.slots.get(task.slot as usize).filter(|_| task.slot < workload.wanted()) else {
        return Ok(());
    };
    let mut stays = cluster.attempts(slot).filter(|it| it.is_live() && !plan.stops.contains(&it.id)).peekable();
    // Where only one may run, the newer one goes, should it not.
    if is_draining(cluster, task) || task.is_unhealthy() || may_stand_alone(cluster, workload, task.slot) {
        return Ok(());
    }
    let current = |other: &Task| other.version == shall_be(cluster, workload, task.slot);
    let only =
        stays.peek().is_some() && stays.all(|other| other.id < stop && current(other) && is_silent(cluster, other));
    if current(task) && only && !is_silent(cluster, task) {
        return Err(("I32", format!("{stop} is stopped for the sake of one whose node is silent")));
    }
    Ok(())
}

/// I41: of two that serve in a slot after a silence, the one stays that its spec says.
pub(super) fn kept_as_said(cluster: &Cluster, plan: &Plan, stop: TaskId) -> Check {
    let Some(task) = cluster.task(stop) else { return Ok(()) };
    let Some(workload) = cluster.workload(task.workload).filter(|workload| task.slot < workload.wanted()) else {
        return Ok(());
    };
    let Some(slot) = workload.slots.get(task.slot as usize) else { return Ok(()) };
    let version = shall_be(cluster, workload, task.slot);
    let is_good = |task: &Task| {
        task.version == version && task.serves() && !is_silent(cluster, task) && !is_draining(cluster, task)
    };
    let mut stays = cluster.attempts(slot).filter(|it| it.is_live() && is_good(it) && !plan.stops.contains(&it.id));
    let keep = cluster.spec_of(task).disconnect.keep;
    let preferred = |other: &Task| match keep {
        Keep::Original => other.id < stop,
        Keep::Replacement => other.id > stop,
    };
    match stays.next().filter(|other| task.is_live() && is_good(task) && !preferred(other)) {
        Some(other) => {
            Err(("I41", format!("{stop} is stopped for the sake of {}, and {keep:?} is to be kept", other.id)))
        }
        None => Ok(()),
    }
}

/// Whether its node stops it by itself: that it has done so before it is given up, I7 and I8 look at.
fn has_stopped_alone(cluster: &Cluster, task: &Task) -> bool {
    is_silent(cluster, task) && cluster.spec_of(task).disconnect.fence == Fence::Timed
}

/// Whether an operator wants the tasks of its node to go.
fn is_draining(cluster: &Cluster, task: &Task) -> bool {
    cluster.node_of(task).is_some_and(|node| node.availability.is_draining())
}

/// I4: what serves is only stopped where another serves in its slot and is heard, or its service may do without as many
/// as do not serve then. A drain whose deadline has passed asks nobody.
pub(super) fn served(cluster: &Cluster, plan: &Plan, stop: TaskId, at: Time) -> Check {
    let Some(task) = cluster.task(stop).filter(|task| task.serves()) else { return Ok(()) };
    let Some(workload) = cluster.workload(task.workload) else { return Ok(()) };
    if workload.kind != Kind::Service || task.slot >= workload.wanted() {
        return Ok(());
    }
    let forced = |task: &Task| {
        let deadline = cluster.node_of(task).and_then(|node| node.availability.deadline());
        deadline.is_some_and(|deadline| deadline <= at)
    };
    if has_stopped_alone(cluster, task) {
        return Ok(());
    }
    let live = |slot: &Slot| cluster.attempts(slot).filter(|task| task.is_live()).collect::<Vec<_>>();
    let stays = |task: &&&Task| !plan.stops.contains(&task.id);
    // Of what is on a silent node, nobody knows whether it does still, and nobody may reach it.
    let unheard = |it: &Task| is_silent(cluster, it) && !is_silent(cluster, task);
    let serves = |slot: &Slot| live(slot).iter().filter(stays).any(|it| it.serves() && !unheard(it));
    if forced(task) || serves(&workload.slots[task.slot as usize]) {
        return Ok(());
    }
    // Whatever waits for a node, or left one whose drain was over, was not given up for others.
    let unconfirmed = |task: &Task| {
        is_silent(cluster, task)
            && !task.state.is_terminal()
            && cluster.spec_of(task).disconnect.fence == Fence::Confirmed
    };
    let waits = |slot: &Slot| {
        live(slot).iter().any(|task| task.state == TaskState::Pending) || cluster.attempts(slot).any(unconfirmed)
    };
    let expelled = |slot: &Slot| live(slot).iter().any(|task| plan.stops.contains(&task.id) && forced(task));
    let wanted = workload.slots.iter().take(workload.wanted() as usize);
    let without = wanted.filter(|slot| !serves(slot) && !waits(slot) && !expelled(slot)).count();
    let most = unavailable_max(cluster, workload, task.slot);
    if without > most as usize {
        let found = format!("{stop} served, and then {without} of {} do not: at most {most} may", workload.name);
        return Err(("I4", found));
    }
    Ok(())
}

/// I44: what could not be started on a node is not tried there again at once where another node takes it. Asked of plans
/// that place one task, while nothing is stopping: otherwise the other node's room may be meant for somebody else.
fn elsewhere(cluster: &Cluster, plan: &Plan, at: Time) -> Check {
    let created =
        plan.creates.iter().filter_map(|it| Some((it.workload, it.slot, it.version, it.target.as_ref()?.node)));
    let placed = plan.places.iter().filter_map(|it| {
        let task = cluster.task(it.task)?;
        Some((task.workload, task.slot, task.version, it.target.node))
    });
    let mut all = created.chain(placed);
    let (Some((uid, slot, version, node)), None) = (all.next(), all.next()) else { return Ok(()) };
    let is_stopping = |task: &Task| task.desired == Desired::Stopped && !task.state.is_terminal();
    let Some(workload) = cluster.workload(uid).filter(|_| !cluster.tasks().any(is_stopping)) else { return Ok(()) };
    let (Some(slot), Some(spec)) = (workload.slots.get(slot as usize), workload.spec(version)) else { return Ok(()) };
    const NOT_STARTED: [Reason; 4] =
        [Reason::PullFailed, Reason::PullTimeout, Reason::CreateFailed, Reason::StartFailed];
    let has_failed = |on: NodeId| {
        cluster.attempts(slot).any(|task| {
            // One that was told to stop meanwhile says nothing.
            let has_failed = task.state == TaskState::Failed && task.running_at.is_none();
            let reason = task.end.as_ref().map(|end| end.reason).filter(|_| has_failed);
            task.node == Some(on) && task.version == version && reason.is_some_and(|it| NOT_STARTED.contains(&it))
        })
    };
    let better = |other: &&Node| {
        other.id != node
            && !has_failed(other.id)
            && has_room(cluster, other, spec, at)
            && other.avoided_until(at).is_none()
    };
    match cluster.nodes().find(better).filter(|_| has_failed(node)) {
        Some(other) => {
            let (name, other) = (&workload.name, &other.info.name);
            Err(("I44", format!("{name} could not be started on {node} and is tried there again, not on {other}")))
        }
        None => Ok(()),
    }
}

/// I43: what serves is stopped before its successor runs only where the successor has a place, and its image is there.
fn followed(cluster: &Cluster, plan: &Plan, stop: TaskId, at: Time, holds: &dyn Fn(&Node, &str) -> bool) -> Check {
    let Some(task) = cluster.task(stop).filter(|task| task.serves() && !is_silent(cluster, task)) else {
        return Ok(());
    };
    let Some(workload) = cluster.workload(task.workload) else { return Ok(()) };
    let deadline = cluster.node_of(task).and_then(|node| node.availability.deadline());
    if workload.kind != Kind::Service || task.slot >= workload.wanted() || deadline.is_some_and(|it| it <= at) {
        return Ok(());
    }
    let slot = &workload.slots[task.slot as usize];
    let mut others = cluster.attempts(slot).filter(|it| it.is_live() && !plan.stops.contains(&it.id));
    if others.next().is_some() {
        return Ok(());
    }
    let fail =
        |what: &str| Err(("I43", format!("{stop} of {} serves, and what follows it has no {what}", workload.name)));
    let Some(version) = workload.version(shall_be(cluster, workload, task.slot)) else { return fail("version") };
    if !may_come(cluster, workload, task.slot, version.number) {
        return fail("turn: it waits for others");
    }
    // Of two that leave the slot, one leaves its place to what follows.
    let leaving = cluster.attempts(slot).filter(|it| plan.stops.contains(&it.id));
    let mut places = leaving.flat_map(|it| places_after(it, cluster, &version.spec, at)).peekable();
    if places.peek().is_none() {
        return fail("place");
    }
    let image = image_reference(&version.spec, &version.image());
    if !places.any(|node| holds(node, &image)) {
        return fail("image");
    }
    Ok(())
}

/// So many slots at a time may be without one that serves; at least one where a port is pinned.
fn unavailable_max(cluster: &Cluster, workload: &Workload, slot: u32) -> u32 {
    workload.update.max_unavailable.max(u32::from(may_stand_alone(cluster, workload, slot)))
}

/// I7: where a task or the one before it is fenced, it is made only when that was seen to have ended, or, where the fence
/// is timed, when its node has been silent for so long that it has stopped it. Asked when a plan is made, and when it
/// has been carried out.
fn seen_gone<'a>(cluster: &Cluster, creates: impl Iterator<Item = &'a Create>, at: Time) -> Check {
    for create in creates {
        let Some(workload) = cluster.workload(create.workload) else { continue };
        let (Some(spec), Some(slot)) = (workload.spec(create.version), workload.slots.get(create.slot as usize)) else {
            continue;
        };
        let before = |it: &&Task| Some(it.id) <= create.after;
        let others = cluster.attempts(slot).filter(|it| !it.state.is_terminal() && it.node.is_some());
        for other in others.filter(before) {
            let own = cluster.spec_of(other).disconnect;
            let silent_since = cluster.node_of(other).and_then(Node::silent_since);
            let is_gone = match (own.fence, silent_since) {
                (Fence::None, _) if spec.disconnect.fence == Fence::None => true,
                (Fence::Confirmed, _) | (_, None) => false,
                (Fence::Timed, Some(since)) => own.replace_after.is_some_and(|after| since + after <= at),
                (Fence::None, Some(_)) => true,
            };
            if !is_gone {
                let found =
                    format!("a task is made in slot {} of {} and {} is not gone", create.slot, workload.name, other.id);
                return Err(("I7", found));
            }
        }
    }
    Ok(())
}

/// I38: tasks of no good health are replaced in their turn, as in an update: a probe that fails everywhere does not
/// end everything at once.
pub(super) fn unhealthy_in_budget(cluster: &Cluster, plan: &Plan) -> Check {
    for workload in cluster.workloads().filter(|workload| workload.kind == Kind::Service) {
        let current =
            |task: &Task| task.workload == workload.uid && task.version == shall_be(cluster, workload, task.slot);
        let alone = |task: &&Task| {
            let slot = workload.slots.get(task.slot as usize).filter(|_| task.slot < workload.wanted());
            slot.is_some_and(|slot| !cluster.attempts(slot).any(|other| other.id != task.id && other.is_live()))
        };
        let stops = plan.stops.iter().filter_map(|id| cluster.task(*id));
        let unhealthy = stops.filter(|task| current(task) && task.is_unhealthy() && !is_draining(cluster, task));
        let unhealthy = unhealthy.filter(|task| !has_stopped_alone(cluster, task));
        // One at a time goes also where nothing may be without: it serves nobody, and may take the room.
        let most = workload.update.max_unavailable.max(1);
        let stopped = unhealthy.filter(alone).count();
        if stopped > most as usize {
            let found =
                format!("{stopped} tasks of {} are stopped together for their health: {most} may", workload.name);
            return Err(("I38", found));
        }
    }
    Ok(())
}

/// I34: before the barrier is committed, a leader only begins its term.
fn only_begins(action: &Action) -> Check {
    match action {
        Action::Propose { command: Command::Init { .. } | Command::Barrier { .. }, .. }
        | Action::Send { message: ToWorker::Refused { .. }, .. }
        | Action::Close(_)
        | Action::Reply { result: Err(_), .. } => Ok(()),
        other => Err(("I34", format!("before it was ready: {other:?}"))),
    }
}

/// S: after a committed plan: what it placed meets its constraints (I18) is allowed there (I47), and where nothing had changed
/// since it was made, it was carried out whole (I24).
pub(crate) fn committed(cluster: &Cluster, entry: &Entry) -> Check {
    let Command::Plan(plan) = &entry.command else { return Ok(()) };
    let made = |ordinal: usize| TaskId { epoch: cluster.epoch, index: entry.index, ordinal: ordinal as u32 };
    let refused = (0..plan.creates.len()).any(|ordinal| cluster.task(made(ordinal)).is_none())
        || plan.places.iter().any(|it| cluster.task(it.task).is_none_or(|task| task.node != Some(it.target.node)));
    if refused && plan.parent + 1 == entry.index {
        return Err(("I24", format!("nothing had changed, and a part of it was refused: {plan:?}")));
    }
    let was_made = |ordinal: usize| cluster.task(made(ordinal)).is_some();
    let carried_out = plan.creates.iter().enumerate().filter(|(ordinal, _)| was_made(*ordinal));
    let carried_out: Vec<&Create> = carried_out.map(|(_, create)| create).collect();
    // What the plan said of a rollout came after that.
    let stands = |create: &&&Create| !plan.rollouts.iter().any(|(uid, ..)| *uid == create.workload);
    of_the_right_version(cluster, carried_out.iter().filter(stands).copied())?;
    seen_gone(cluster, carried_out.into_iter(), cluster.at)?;
    let created = cluster.tasks().filter(|task| task.id.index == entry.index && task.id.epoch == cluster.epoch);
    let placed = plan.places.iter().filter_map(|place| cluster.task(place.task));
    for task in created.chain(placed) {
        let Some(node) = cluster.node_of(task) else { continue };
        if node.availability != Availability::Active {
            return Err(("I29", format!("{} is placed on {}, which takes no tasks", task.id, node.info.name)));
        }
        if node.disk_full_since.is_some() {
            return Err(("I29", format!("{} is placed on {}, whose disk is full", task.id, node.info.name)));
        }
        let spec = cluster.spec_of(task);
        if let Some(constraint) = spec.placement.constraints.iter().find(|constraint| !node.meets(constraint)) {
            return Err(("I18", format!("{} is on {}, which is not {constraint}", task.id, node.info.name)));
        }
        if !is_within(&node.info.allowed, &spec.container.setup) {
            return Err(("I47", format!("{} asks for more than the operator of {} allows", task.id, node.info.name)));
        }
    }
    Ok(())
}

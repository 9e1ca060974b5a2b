//! One slot, of whatever kind: what its tasks are to it, and what is done with them.

use super::{
    Changes, Context, HISTORY_MAX,
    outage::{is_absent, is_given_up, replace_at},
    stable_at, target,
};
use crate::{model::*, state::Cluster};

/// How a slot gets a task of its target version while another task is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replacement {
    /// A new task is made beside the old one, which stays until the new one is stable.
    Beside,
    /// The old task is stopped first, and then the new one is made.
    Instead,
    /// The slot waits.
    Later,
}

/// The slot view: the tasks of one wanted slot, sorted by what is to be done with them. Tasks that were given up with
/// their node are not in it.
#[derive(Default)]
pub(super) struct SlotView<'a> {
    /// The target version of the slot: the current one, unless the rollout is held or has not reached the slot.
    pub(super) version: u32,
    /// When an unreachable node returns with a task that was replaced, the original task stays.
    pub(super) keeps_original: bool,
    /// No two tasks of the slot may run at the same time, so the old one always has to end first.
    pub(super) alone: bool,
    /// A running task of the target version, which stays. A task that serves is preferred.
    pub(super) keeper: Option<&'a Task>,
    /// When the keeper will be stable. `None` while its probes fail.
    pub(super) settles_at: Option<Time>,
    /// The keeper is stable: it has served for `min_healthy`.
    pub(super) settled: bool,
    /// The newest attempt is of the target version and is not the fallback: the slot has used its update budget
    /// already.
    pub(super) tried: bool,
    /// A task of the target version on its way to running: the most advanced, then the newest.
    pub(super) candidate: Option<&'a Task>,
    /// A running task that has to make way (it is of another version, unhealthy, or on a draining node). It stays until
    /// its replacement serves.
    pub(super) fallback: Option<&'a Task>,
    /// The fallback is unhealthy, and its replacement is not made before this time.
    pub(super) rests_until: Option<Time>,
    /// A task was told to stop and was not seen to end, and was not given up with its node.
    pub(super) leaving: bool,
    /// A task with a confirmed fence is on an unreachable node. Only that node or an operator can say that it has
    /// ended.
    pub(super) unconfirmed: bool,
    /// Every task of the slot that serves is on an unreachable node: users may not reach it. Not so where the slot waits for
    /// that node, which may take for ever: then nothing else is to wait for the slot.
    pub(super) out_of_reach: bool,
    /// The slot is empty, and its next task is not made yet, because tasks have failed there.
    pub(super) backs_off: bool,
    /// A new task ran beside the one that serves and has ended, and the next one waits for the backoff.
    pub(super) is_retried_later: bool,
    /// When the next task of the slot is given up with its node, or has to leave a draining node.
    pub(super) replace_at: Option<Time>,
}

impl<'a> SlotView<'a> {
    /// Takes in a task that has to make way. If it serves, it becomes the fallback and stays until its replacement
    /// serves; otherwise it is stopped in this plan. Of several that serve, one on a reachable node stays.
    pub(super) fn replace(&mut self, task: &'a Task, context: &Context) {
        let stays = |fallback: &Task| fallback.serves() && (!is_absent(fallback, context) || is_absent(task, context));
        match task.serves() {
            true => self.fallback = self.fallback.filter(|fallback| stays(fallback)).or(Some(task)),
            false => self.leaving |= task.state == TaskState::Running || (self.alone && task.node.is_some()),
        }
    }
    pub(super) fn serves(&self) -> bool {
        self.settled || self.fallback.is_some_and(Task::serves)
    }
    /// Whether the fallback is unhealthy.
    pub(super) fn is_unhealthy(&self) -> bool {
        self.fallback.is_some_and(Task::is_unhealthy)
    }
    /// Whether an unhealthy task is stopped because its replacement cannot be placed: it may hold the capacity.
    pub(super) fn makes_room(&self) -> bool {
        self.is_unhealthy() && self.candidate.is_some_and(|task| task.state == TaskState::Pending)
    }
    /// Whether there is a new task beside the old one, and the new one is not stable yet.
    pub(super) fn is_surging(&self) -> bool {
        self.fallback.is_some() && !self.settled && (self.keeper.is_some() || self.candidate.is_some())
    }
    /// Whether there was a new task beside the old one, which has ended.
    pub(super) fn is_retrying(&self) -> bool {
        self.fallback.is_some() && self.keeper.is_none() && self.candidate.is_none() && self.tried
    }
    pub(super) fn waits_for_node(&self) -> bool {
        let pending = self.candidate.is_some_and(|task| task.state == TaskState::Pending);
        !self.serves() && (pending || self.unconfirmed)
    }
}

/// What the drain of a node means for a task on it that should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    /// Nothing.
    Stays,
    /// The task goes once another task has replaced it.
    UntilReplaced,
    /// The task goes now, because the deadline of the drain has passed.
    Leaves,
}

fn stay(cluster: &Cluster, workload: &Workload, task: &Task, context: &Context) -> Stay {
    let availability = cluster.node_of(task).map_or(Availability::Active, |node| node.availability);
    let Availability::Draining { deadline, .. } = availability else { return Stay::Stays };
    let grace_over = deadline.is_some_and(|deadline| deadline <= context.at);
    match workload.kind.rules().runs_to_end {
        _ if grace_over => Stay::Leaves,
        false => Stay::UntilReplaced,
        // A replacement would be a second run.
        true => Stay::Stays,
    }
}

pub(super) fn classify<'a>(
    cluster: &'a Cluster,
    workload: &Workload,
    (number, slot): (u32, &Slot),
    context: &Context,
) -> SlotView<'a> {
    let current = target(cluster, workload, number);
    let spec = workload.spec(current).expect("a target is a version that is remembered");
    let keeps_original = spec.disconnect.keep == Keep::Original;
    let mut view = SlotView { version: current, keeps_original, alone: spec.runs_alone(), ..SlotView::default() };
    for task in cluster.attempts(slot).filter(|task| !task.state.is_terminal()) {
        if is_given_up(cluster, workload, slot, task, context) {
            continue; // not counted, and not stopped until its replacement serves
        }
        let confirmed = cluster.spec_of(task).disconnect.fence == Fence::Confirmed;
        view.unconfirmed |= confirmed && is_absent(task, context);
        view.alone |= cluster.spec_of(task).disconnect.fence != Fence::None;
        if let Some(at) = replace_at(cluster, task, context).filter(|at| *at > context.at) {
            view.replace_at = Some(view.replace_at.map_or(at, |sooner| sooner.min(at)));
        }
        let stay = stay(cluster, workload, task, context);
        if stay != Stay::Leaves
            && let Some(deadline) = task.node.and_then(|node| cluster.node(node)?.availability.deadline())
        {
            view.replace_at = Some(view.replace_at.map_or(deadline, |sooner| sooner.min(deadline)));
        }
        if task.desired == Desired::Stopped {
            view.leaving = true;
        } else if stay == Stay::Leaves {
            view.leaving = true; // it is told to stop in this plan
        } else if stay == Stay::UntilReplaced {
            // If it does not serve, another place is sought at once.
            view.replace(task, context);
        } else if task.version == current && task.is_unhealthy() {
            // It is replaced within the update budget, so that a probe that fails everywhere does not end every task
            // at once.
            view.fallback = view.fallback.or(Some(task));
        } else if task.version == current && task.state == TaskState::Running {
            // The newer one comes first.
            let returned = || keeps_original && !is_absent(task, context);
            let better = view.keeper.is_none_or(|keeper| task.serves() && (!keeper.serves() || returned()));
            if let Some(newer) = view.keeper.filter(|newer| better && !is_absent(newer, context)) {
                // The newer task may serve soon, and the one on the unreachable node may be gone.
                view.candidate = view.candidate.or(Some(newer).filter(|_| is_absent(task, context)));
            }
            view.keeper = if better { Some(task) } else { view.keeper };
        } else if task.version == current {
            // Nobody knows the progress of a task on an unreachable node.
            let progress = |task: &Task| (!is_absent(task, context), task.state);
            let ahead = view.candidate.is_none_or(|candidate| progress(task) > progress(candidate));
            view.candidate = if ahead { Some(task) } else { view.candidate };
        } else {
            // A task that does not serve does not delay the version that replaces it.
            view.replace(task, context);
        }
    }
    let not_before = slot.not_before(current);
    view.rests_until = Some(not_before).filter(|at| view.is_unhealthy() && *at > context.at);
    let settles_at = view.keeper.and_then(|keeper| stable_at(workload, keeper));
    view.settled = settles_at.is_some_and(|at| at <= context.at);
    view.settles_at = settles_at.filter(|at| *at > context.at);
    let mut serving =
        view.keeper.filter(|_| view.settled).into_iter().chain(view.fallback.filter(|task| task.serves()));
    view.out_of_reach = view.serves() && !view.unconfirmed && serving.all(|task| is_absent(task, context));
    let is_empty = view.keeper.or(view.candidate).or(view.fallback).is_none() && !view.leaving;
    view.backs_off = is_empty && not_before > context.at;
    let newest = cluster.attempts(slot).next();
    view.tried = newest.is_some_and(|newest| {
        newest.version == current && view.fallback.is_none_or(|fallback| fallback.id != newest.id)
    });
    view.is_retried_later = view.is_retrying() && not_before > context.at;
    view
}

/// Decides what to do in one wanted slot: which tasks are stopped, and whether a new one is made.
pub(super) fn reconcile(
    cluster: &Cluster,
    workload: &Workload,
    (number, slot): (u32, &Slot),
    view: &SlotView,
    replacement: Replacement,
    context: &Context,
    changes: &mut Changes,
) {
    // A task on an unreachable node never replaces another: nobody knows whether it still serves.
    let heard = |task: &Task| !is_absent(task, context);
    let is_followed = view.keeper.is_some_and(|keeper| heard(keeper) || !view.fallback.is_some_and(heard));
    let goes = replacement == Replacement::Instead || (view.settled && is_followed) || view.makes_room();
    let fallback = view.fallback.filter(|_| !goes);
    let newer = view.keeper.or(view.candidate);
    let is_of_version = |task: &Task| task.version == view.version;
    // The keeper's node is unreachable again: what was made during an earlier silence is not stopped for its sake.
    let beside = view.candidate.filter(|_| {
        let silent = |keeper: &Task| is_absent(keeper, context);
        view.keeper.is_some_and(silent) && !view.alone
    });
    let keeps = |task: &Task| [newer, fallback, beside].into_iter().flatten().any(|kept| task.id == kept.id);
    for task in cluster.attempts(slot).filter(|task| task.is_live()) {
        let given_up = is_given_up(cluster, workload, slot, task, context);
        // A task that was given up is told to stop only once its replacement serves, because its node may return
        // before that. If the spec keeps the original, it is not told at all.
        let replaced = view.keeper.is_some_and(Task::serves);
        let awaited = view.keeps_original
            && is_of_version(task)
            && is_absent(task, context)
            && replaced
            && stay(cluster, workload, task, context) == Stay::Stays;
        // A task with a timed fence has stopped by itself, and must not be started when its node returns.
        let fenced = cluster.spec_of(task).disconnect.fence == Fence::Timed;
        let waits = awaited || (given_up && !replaced);
        if !keeps(task) && (fenced || !waits) {
            changes.stops.push(task.id);
        }
    }
    forget_old_attempts(cluster, slot, changes);
    if view.keeper.is_none() && view.candidate.is_none() {
        // If the old task goes first, it has to be seen to end: its port may be pinned, or its user
        // wants no two of them.
        let stop_first = view.alone || workload.update.max_surge == 0;
        let waits_for_end = stop_first && (view.leaving || view.fallback.is_some());
        let waits_for_turn = view.fallback.is_some() && replacement == Replacement::Later;
        if !waits_for_end && !waits_for_turn {
            fill_slot(cluster, workload, (number, slot), view.version, context, changes);
        }
    }
    for at in [view.settles_at, view.rests_until, view.replace_at].into_iter().flatten() {
        changes.wake(at);
    }
}

/// Makes a new attempt, unless the slot gets none, or has to wait.
fn fill_slot(
    cluster: &Cluster,
    workload: &Workload,
    (number, slot): (u32, &Slot),
    version: u32,
    context: &Context,
    changes: &mut Changes,
) {
    let newest = cluster.attempts(slot).next();
    // A run that is told to stop in this plan gets no further attempt.
    let told_now = |task: &Task| workload.kind.rules().runs_to_end && changes.stops.contains(&task.id);
    if newest.is_some_and(|task| workload.is_over(task) || told_now(task)) {
        return;
    }
    if context.at < slot.not_before(version) {
        changes.wake(slot.not_before(version));
        return;
    }
    create(changes, context, number, version, newest.map(|task| task.id));
}

/// Keeps the last few ended attempts, and always the newest one.
fn forget_old_attempts(cluster: &Cluster, slot: &Slot, changes: &mut Changes) {
    let ended = cluster.attempts(slot).filter(|task| task.state.is_terminal());
    changes.removes.extend(ended.skip(HISTORY_MAX).map(|task| task.id));
}
pub(super) fn create(changes: &mut Changes, context: &Context, slot: u32, version: u32, after: Option<TaskId>) {
    match changes.creates.len() < context.creates_max {
        true => changes.creates.push((slot, version, after)),
        false => changes.more = true,
    }
}

/// Empties a slot beyond the wanted number: stops live tasks, forgets ended ones.
pub(super) fn empty(cluster: &Cluster, slot: &Slot, changes: &mut Changes) {
    for task in cluster.attempts(slot) {
        if task.state.is_terminal() {
            changes.removes.push(task.id);
        } else if task.is_live() {
            changes.stops.push(task.id);
        }
    }
}

/// Cuts off the surplus slots in which, and behind which, every task has ended.
pub(super) fn trim(cluster: &Cluster, workload: &Workload, changes: &mut Changes) {
    let wanted = workload.wanted() as usize;
    let ended = |slot: &Slot| cluster.attempts(slot).all(|task| task.state.is_terminal());
    let surplus = workload.slots.iter().skip(wanted).rev().take_while(|slot| ended(slot)).count();
    if workload.deleting && surplus == workload.slots.len() {
        // The drop takes the slots and their history with it.
        changes.drop = true;
        changes.removes.clear();
    } else if surplus > 0 {
        changes.trim = Some((workload.slots.len() - surplus) as u32);
    }
}

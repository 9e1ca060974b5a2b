//! The reconciler: compares what a workload wants with what is, slot by slot, and says what to do.
//!
//! It takes the state and never the change that woke it, so a lost or doubled wake-up cannot mislead
//! it: reconciling a reconciled workload gives nothing (invariant I24).

mod outage;
mod rollout;
mod turns;

use crate::{
    model::*,
    planted::{Bug, planted},
    state::Cluster,
};
pub use outage::{Outage, Outages};
pub use rollout::{canaries, deadline, latest_settled_at, may_step, next_step, own, settled, target};
use turns::{Turn, Turns};

/// So many ended attempts are remembered in a slot, for their logs and their reasons.
pub const HISTORY_MAX: usize = 3;

/// What is not in the state and still decides: the time, and which silent nodes are given up.
pub struct Context<'a> {
    /// The cluster's clock.
    pub at: Time,
    /// What becomes of the tasks of each unreachable node.
    pub outages: &'a dyn Outages,
    /// After how long a silence a task is replaced whose spec does not say.
    pub replace_after: Millis,
    /// At most so many new tasks.
    pub creates_max: usize,
}

/// What to do for one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Slots that get a new task, with its version and the newest attempt that was seen in each. Ascending.
    pub creates: Vec<(u32, u32, Option<TaskId>)>,
    /// Tasks that are told to stop.
    pub stops: Vec<TaskId>,
    /// Ended tasks that are no longer remembered.
    pub removes: Vec<TaskId>,
    /// Slots from this one on are surplus and will be empty.
    pub trim: Option<u32>,
    /// Nothing is left of a deleted workload.
    pub drop: bool,
    /// Its rollout has come further.
    pub rollout: Option<RolloutStep>,
    /// Look again at this time, even if nothing happens.
    pub wake_at: Option<Time>,
    /// There is more to do than one plan holds.
    pub more: bool,
}

impl Changes {
    fn wake(&mut self, at: Time) {
        self.wake_at = Some(self.wake_at.map_or(at, |sooner| sooner.min(at)));
    }
}

/// Compares what the workload wants with what is.
pub fn reconcile(cluster: &Cluster, workload: &Workload, context: &Context) -> Changes {
    let mut changes = Changes::default();
    let wanted = workload.wanted();
    let (kept, surplus) = workload.slots.split_at(workload.slots.len().min(wanted as usize));
    let standings: Vec<Standing> = (0..).zip(kept).map(|slot| stand(cluster, workload, slot, context)).collect();
    let mut turns = Turns::new(workload, standings.iter());
    for ((number, slot), standing) in (0..).zip(kept).zip(&standings) {
        let turn = turns.take(standing);
        reconcile_slot(cluster, workload, (number, slot), standing, turn, context, &mut changes);
    }
    surplus.iter().for_each(|slot| empty_slot(cluster, slot, &mut changes));
    for number in workload.slots.len() as u32..wanted {
        create(&mut changes, context, number, target(cluster, workload, number), None);
    }
    finish_shrinking(cluster, workload, &mut changes);
    changes.rollout = next_step(cluster, workload, context.at);
    if changes.rollout.is_none() {
        deadline(workload).into_iter().for_each(|at| changes.wake(at));
    }
    changes
}

fn create(changes: &mut Changes, context: &Context, slot: u32, version: u32, after: Option<TaskId>) {
    match changes.creates.len() < context.creates_max {
        true => changes.creates.push((slot, version, after)),
        false => changes.more = true,
    }
}

/// A slot beyond the wanted number: stop what lives, forget what has ended.
fn empty_slot(cluster: &Cluster, slot: &Slot, changes: &mut Changes) {
    for task in cluster.attempts(slot) {
        if task.state.is_terminal() {
            changes.removes.push(task.id);
        } else if task.is_live() {
            changes.stops.push(task.id);
        }
    }
}

/// Surplus slots are cut off once nothing in them and behind them has yet to end.
fn finish_shrinking(cluster: &Cluster, workload: &Workload, changes: &mut Changes) {
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

/// What stands in one wanted slot, by what is to be done with it.
#[derive(Default)]
struct Standing<'a> {
    /// The version that the slot shall be of: the current one, unless its rollout is held or has not come here.
    version: u32,
    /// Where a silent node returns with a task that was replaced, that one stays.
    keeps_original: bool,
    /// No two tasks of the slot may run at the same time: the old one always has to go first.
    alone: bool,
    /// Of that version, seen running; one that serves before others.
    keeper: Option<&'a Task>,
    /// When the keeper will have served for long enough to count. Nothing while its probes fail.
    settles_at: Option<Time>,
    /// The keeper has served for long enough.
    settled: bool,
    /// The newest attempt is of that version and does not serve: its turn has come.
    tried: bool,
    /// Of that version, on its way to running: the most advanced, then the newest.
    candidate: Option<&'a Task>,
    /// Of another version or of no good health, still running: stays until the right one serves.
    fallback: Option<&'a Task>,
    /// The fallback is of no good health, and what replaces it is not made before this time.
    rests_until: Option<Time>,
    /// Told to stop, not seen to have ended, on a node that is there.
    leaving: bool,
    /// Only the node of its task, which is silent, or an operator can say that that has ended.
    unconfirmed: bool,
    /// There is nothing in it, and what comes next is not made yet: its tasks have failed.
    backs_off: bool,
    /// There was a new task beside the one that serves, which has ended, and the next one is not made yet.
    is_retried_later: bool,
    /// When the next of the slot's tasks is given up with its node, or has to leave it.
    replace_at: Option<Time>,
}

impl<'a> Standing<'a> {
    /// A task that shall make place: it stays until the right one serves where it serves itself, and goes in
    /// this plan where it does not. Of several, one that is heard stays.
    fn replace(&mut self, task: &'a Task, context: &Context) {
        let stays = |fallback: &Task| fallback.serves() && (!is_absent(fallback, context) || is_absent(task, context));
        match task.serves() {
            true => self.fallback = self.fallback.filter(|fallback| stays(fallback)).or(Some(task)),
            false => self.leaving |= task.state == TaskState::Running || (self.alone && task.node.is_some()),
        }
    }
    fn serves(&self) -> bool {
        self.settled || self.fallback.is_some_and(Task::serves)
    }
    /// What stays until it is replaced is of no good health.
    fn is_sick(&self) -> bool {
        self.fallback.is_some_and(Task::is_unhealthy)
    }
    /// What is of no good health goes where its replacement finds no node: it may be what takes the room.
    fn makes_room(&self) -> bool {
        self.is_sick() && self.candidate.is_some_and(|task| task.state == TaskState::Pending)
    }
    /// There is a new task beside the old one, which serves still.
    fn is_surging(&self) -> bool {
        self.fallback.is_some() && !self.settled && (self.keeper.is_some() || self.candidate.is_some())
    }
    /// There was one, which has ended.
    fn is_retrying(&self) -> bool {
        self.fallback.is_some() && self.keeper.is_none() && self.candidate.is_none() && self.tried
    }
    fn waits_for_node(&self) -> bool {
        let pending = self.candidate.is_some_and(|task| task.state == TaskState::Pending);
        !self.serves() && (pending || self.unconfirmed)
    }
}

/// What a node's drain means for a task on it that shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    /// Nothing.
    Stays,
    /// It goes once another has taken its place.
    UntilReplaced,
    /// It goes now: the drain's deadline has passed.
    Leaves,
}

fn stay(cluster: &Cluster, workload: &Workload, task: &Task, context: &Context) -> Stay {
    let duty = cluster.node_of(task).map_or(Duty::Active, |node| node.duty);
    let Duty::Draining { deadline, .. } = duty else { return Stay::Stays };
    let grace_over = deadline.is_some_and(|deadline| deadline <= context.at) && !planted(Bug::DrainDeadlineUnseen);
    match workload.kind {
        _ if grace_over => Stay::Leaves,
        Kind::Service => Stay::UntilReplaced,
        // It runs once: another in its place would be a second run.
        Kind::Task => Stay::Stays,
    }
}

fn stand<'a>(
    cluster: &'a Cluster,
    workload: &Workload,
    (number, slot): (u32, &Slot),
    context: &Context,
) -> Standing<'a> {
    let current = target(cluster, workload, number);
    let spec = workload.spec(current).expect("a target is a version that is remembered");
    let keeps_original = spec.disconnect.keep == Keep::Original && !planted(Bug::OriginalNotKept);
    let mut standing = Standing { version: current, keeps_original, alone: runs_alone(spec), ..Standing::default() };
    for task in cluster.attempts(slot).filter(|task| !task.state.is_terminal()) {
        if is_given_up(cluster, workload, slot, task, context) {
            continue; // neither counted nor, until its replacement serves, stopped
        }
        let confirmed = cluster.spec_of(task).disconnect.fence == Fence::Confirmed;
        standing.unconfirmed |= confirmed && is_absent(task, context);
        standing.alone |= cluster.spec_of(task).disconnect.fence != Fence::None && !planted(Bug::FencedBesideOthers);
        if let Some(at) = replace_at(cluster, task, context).filter(|at| *at > context.at) {
            standing.replace_at = Some(standing.replace_at.map_or(at, |sooner| sooner.min(at)));
        }
        let stay = stay(cluster, workload, task, context);
        if stay != Stay::Leaves
            && let Some(deadline) = task.node.and_then(|node| cluster.node(node)?.duty.deadline())
        {
            standing.replace_at = Some(standing.replace_at.map_or(deadline, |sooner| sooner.min(deadline)));
        }
        if task.desired == Desired::Stopped {
            standing.leaving = true;
        } else if stay == Stay::Leaves {
            standing.leaving = true; // it is told to stop in this plan
        } else if stay == Stay::UntilReplaced {
            // Where it does not serve, its place is sought anew at once.
            standing.replace(task, context);
        } else if task.version == current && task.is_unhealthy() && !planted(Bug::UnhealthyKept) {
            // It goes in its turn, so that a probe that fails everywhere does not end everything at once.
            standing.fallback = standing.fallback.or(Some(task));
        } else if task.version == current && task.state == TaskState::Running {
            // The newer one comes first.
            let returned = || keeps_original && !is_absent(task, context);
            let better = standing.keeper.is_none_or(|keeper| task.serves() && (!keeper.serves() || returned()));
            if let Some(newer) = standing.keeper.filter(|newer| better && !is_absent(newer, context)) {
                // It may serve soon, and the one that does may be gone.
                standing.candidate = standing.candidate.or(Some(newer).filter(|_| is_absent(task, context)));
            }
            standing.keeper = if better { Some(task) } else { standing.keeper };
        } else if task.version == current {
            // How far one has come whose node is silent, nobody knows.
            let progress = |task: &Task| (!is_absent(task, context), task.state);
            let ahead = standing.candidate.is_none_or(|candidate| progress(task) > progress(candidate));
            standing.candidate = if ahead { Some(task) } else { standing.candidate };
        } else {
            // A version that never came to serve does not hold up the one that mends it.
            standing.replace(task, context);
        }
    }
    let not_before = slot.not_before(current);
    standing.rests_until = Some(not_before).filter(|at| standing.is_sick() && *at > context.at);
    let min_healthy = if planted(Bug::HealthyAtOnce) { Millis(0) } else { workload.update.min_healthy };
    let running_at = |keeper: &Task| keeper.running_at.filter(|_| planted(Bug::RunsIsServes));
    let since = standing.keeper.and_then(|keeper| keeper.serving_since.or(running_at(keeper)));
    let settles_at = since.map(|since| since + min_healthy);
    standing.settled = settles_at.is_some_and(|at| at <= context.at);
    standing.settles_at = settles_at.filter(|at| *at > context.at);
    let is_empty = standing.keeper.or(standing.candidate).or(standing.fallback).is_none() && !standing.leaving;
    standing.backs_off = is_empty && not_before > context.at;
    let newest = cluster.attempts(slot).next();
    standing.tried = newest.is_some_and(|newest| {
        newest.version == current && standing.fallback.is_none_or(|fallback| fallback.id != newest.id)
    });
    standing.is_retried_later = standing.is_retrying() && not_before > context.at;
    standing
}

/// Whether a task of this workload may run again elsewhere while it is not known to have ended.
/// One that its user wants to run once may not: it may well be running still.
pub fn may_rerun(workload: &Workload) -> bool {
    workload.current().spec.restart.policy != RestartPolicy::Never || planted(Bug::NeverIsRerun)
}

/// One wanted slot.
fn reconcile_slot(
    cluster: &Cluster,
    workload: &Workload,
    (number, slot): (u32, &Slot),
    standing: &Standing,
    turn: Turn,
    context: &Context,
    changes: &mut Changes,
) {
    // What nobody hears of takes nobody's place: whether it serves still is not known.
    let heard = |task: &Task| !is_absent(task, context) || planted(Bug::UnheardTakesItsPlace);
    let is_followed = standing.keeper.is_some_and(|keeper| heard(keeper) || !standing.fallback.is_some_and(heard));
    let goes = turn == Turn::Instead || (standing.settled && is_followed) || standing.makes_room();
    let fallback = standing.fallback.filter(|_| !goes);
    let newer = standing.keeper.or(standing.candidate);
    let is_of_version = |task: &Task| task.version == standing.version;
    // What was made when its node was silent before is not stopped for the sake of one that is silent again.
    let beside = standing.candidate.filter(|_| {
        let silent = |keeper: &Task| is_absent(keeper, context);
        standing.keeper.is_some_and(silent) && !standing.alone && !planted(Bug::GiveUpTakenBack)
    });
    let keeps = |task: &Task| [newer, fallback, beside].into_iter().flatten().any(|kept| task.id == kept.id);
    for task in cluster.attempts(slot).filter(|task| task.is_live()) {
        let given_up = is_given_up(cluster, workload, slot, task, context);
        // What was given up is told to stop only once its replacement serves: its node may return
        // before that. Where it is the one to keep, it is not told at all.
        let replaced = standing.keeper.is_some_and(Task::serves);
        let awaited = standing.keeps_original
            && is_of_version(task)
            && is_absent(task, context)
            && replaced
            && stay(cluster, workload, task, context) == Stay::Stays;
        // And where it has stopped by itself, it must not be started when its node returns.
        let fenced = cluster.spec_of(task).disconnect.fence == Fence::Timed && !planted(Bug::FencedNotTold);
        let waits = awaited || (given_up && !replaced);
        if !keeps(task) && (fenced || !waits) {
            changes.stops.push(task.id);
        }
    }
    if !planted(Bug::HistoryOnlyOfSettled) || standing.keeper.is_some() {
        forget_old_attempts(cluster, slot, changes);
    }
    if standing.keeper.is_none() && standing.candidate.is_none() {
        // Where the old one goes first, it has to be seen gone: its port may be pinned, or its user
        // does not want two of them.
        let stop_first = standing.alone || workload.update.max_surge == 0;
        let waits_for_end = stop_first && (standing.leaving || standing.fallback.is_some());
        let waits_for_turn = standing.fallback.is_some() && turn == Turn::Later;
        if !waits_for_end && !waits_for_turn {
            fill_slot(cluster, workload, (number, slot), standing.version, context, changes);
        }
    }
    if let Some(at) = standing.settles_at.filter(|_| !planted(Bug::SettlesUnseen)) {
        changes.wake(at);
    }
    if let Some(at) = standing.rests_until {
        changes.wake(at);
    }
    let unseen = planted(Bug::GiveUpUnseen) && standing.keeper.is_some();
    if let Some(at) = standing.replace_at.filter(|_| !unseen) {
        changes.wake(at);
    }
}

/// Whether a task is not counted on any more, though it is not known to have ended: its node has been
/// silent for too long, or was, and it was replaced, with whatever success. That is not taken back when
/// a leader gives the node more time, because it is new or was asleep: it would begin again later.
fn is_given_up(cluster: &Cluster, workload: &Workload, slot: &Slot, task: &Task, context: &Context) -> bool {
    let silent_for_too_long = || replace_at(cluster, task, context).is_some_and(|at| at <= context.at);
    // In this silence: what was made in an earlier one ended when the node returned, or before that.
    let silent_since = cluster.node_of(task).and_then(Node::silent_since);
    let in_this_silence = |newer: &Task| {
        planted(Bug::EarlierSilenceCounts) || silent_since.is_some_and(|since| newer.created_at >= since)
    };
    let replaced = || {
        let mut newer = cluster.attempts(slot).take_while(|newer| newer.id != task.id);
        // One that was told to stop takes nobody's place.
        let replaces = |newer: &Task| newer.version == task.version && newer.desired == Desired::Running;
        newer.any(|newer| replaces(newer) && in_this_silence(newer)) && !planted(Bug::GiveUpTakenBack)
    };
    may_rerun(workload) && is_absent(task, context) && (silent_for_too_long() || replaced())
}

/// Whether a task's node is silent.
fn is_absent(task: &Task, context: &Context) -> bool {
    task.node.is_some_and(|node| context.outages.of(node).is_some())
}

/// When a task is replaced because its node is silent, unless that returns.
fn replace_at(cluster: &Cluster, task: &Task, context: &Context) -> Option<Time> {
    let outage = context.outages.of(task.node?)?;
    outage.replace_at(cluster.spec_of(task), context.replace_after)
}

/// Whether two tasks of this spec never run in one slot at the same time.
fn runs_alone(spec: &Spec) -> bool {
    if planted(Bug::FencedBesideOthers) { spec.pins_host_port() } else { spec.runs_alone() }
}

/// A new attempt, unless there is to be none, or not yet.
fn fill_slot(
    cluster: &Cluster,
    workload: &Workload,
    (number, slot): (u32, &Slot),
    version: u32,
    context: &Context,
    changes: &mut Changes,
) {
    let newest = cluster.attempts(slot).next();
    // One that runs once and is told to stop now is not followed.
    let told_now = |task: &Task| workload.kind == Kind::Task && changes.stops.contains(&task.id);
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

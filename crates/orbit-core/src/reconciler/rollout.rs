//! Rollouts: the target version of each slot, and the next step of a rollout (invariant I28).
//!
//! These are functions of the state and the time. The planner proposes the step that [`next_step`] gives, and `apply`
//! asks [`may_step`] again before it takes the step.

use crate::{model::*, state::Cluster};

/// The target version of a slot. It is the current version while the rollout goes on. While the rollout is held, a
/// slot keeps its held version (see [`own`]), so that a task that ends is replaced by one of the same version. While
/// the rollout waits for canaries in other slots, a slot keeps the version of its newest task. A new slot then gets
/// the stable version.
pub fn target(cluster: &Cluster, workload: &Workload, number: u32) -> u32 {
    let current = workload.version;
    let Some(rollout) = &workload.rollout else { return current };
    let is_canary = rollout.promoted || number < workload.update.canary;
    let held = rollout.is_held();
    // While canaries wait for promotion, a canary that is lost is replaced, because people look at it.
    if is_canary && (!held || (rollout.state == RolloutState::Canary && !rollout.promoted)) {
        return current;
    }
    let slot = workload.slots.get(number as usize);
    let own = slot.map(|slot| slot.own).filter(|own| held && workload.version(*own).is_some());
    let newest = slot.and_then(|slot| cluster.attempts(slot).next()).map(|task| task.version);
    own.or(newest).or(workload.stable).unwrap_or(current)
}

/// The held version of a slot, which it keeps from the moment at which its rollout becomes held. It is the current
/// version if the slot has settled, or if its first task of that version is on its way and the rollout has not
/// failed. A new version that failed in the slot before it was stable never becomes the held version while an older
/// task is there.
pub fn own(cluster: &Cluster, workload: &Workload, slot: &Slot, at: Time) -> u32 {
    let (current, attempts) = (workload.version, || cluster.attempts(slot));
    let newest = attempts().next().map(|task| task.version);
    let older = attempts().find(|task| task.is_live() && task.version != current).map(|task| task.version);
    let of_current = || attempts().filter(|task| task.version == current && task.desired == Desired::Running);
    let is_tried = of_current().any(Task::is_live);
    let has_failed = workload.rollout.is_some_and(|rollout| rollout.state == RolloutState::Failed);
    let has_failed_here = of_current().any(|task| task.state.is_terminal());
    if settles_at(cluster, workload, slot).is_some_and(|settled| settled <= at) {
        return current;
    }
    match older {
        Some(older) if has_failed || has_failed_here || !is_tried => older,
        _ if is_tried && !has_failed => current,
        _ => workload.stable.or(newest).unwrap_or(current),
    }
}

/// When the slot settles, or did: when its task of the current version is stable, having served for `min_healthy`.
/// `None` if no such task serves on a reachable node.
fn settles_at(cluster: &Cluster, workload: &Workload, slot: &Slot) -> Option<Time> {
    let counts = |task: &&Task| {
        let heard = cluster.node_of(task).is_some_and(Node::is_ready);
        task.version == workload.version && task.desired == Desired::Running && task.serves() && heard
    };
    cluster.attempts(slot).filter(counts).filter_map(|task| stable_at(workload, task)).min()
}

/// When a task that serves is stable, or became so: when it has served for `min_healthy`.
pub fn stable_at(workload: &Workload, task: &Task) -> Option<Time> {
    Some(task.serving_since? + workload.update.min_healthy)
}

/// How many of the first `slots` wanted slots have settled at the current version.
pub fn settled(cluster: &Cluster, workload: &Workload, slots: u32, at: Time) -> u32 {
    let first = workload.slots.iter().take(slots.min(workload.wanted()) as usize);
    first.filter(|slot| settles_at(cluster, workload, slot).is_some_and(|settled| settled <= at)).count() as u32
}

/// How many canary slots have settled, and how many canary slots there are.
pub fn canaries(cluster: &Cluster, workload: &Workload, at: Time) -> (u32, u32) {
    (settled(cluster, workload, workload.canaries(), at), workload.canaries())
}

/// When the last of the settled slots has settled.
pub fn latest_settled_at(cluster: &Cluster, workload: &Workload, at: Time) -> Option<Time> {
    let wanted = workload.slots.iter().take(workload.wanted() as usize);
    wanted.filter_map(|slot| settles_at(cluster, workload, slot)).filter(|settled| *settled <= at).max()
}

/// When a rollout fails, unless more slots have settled by then than ever before.
pub fn deadline(workload: &Workload) -> Option<Time> {
    // A service with no replicas cannot make progress, however long it takes.
    let rollout = workload.rollout.filter(|rollout| rollout.state == RolloutState::Running && workload.wanted() > 0)?;
    Some(rollout.progress_at + workload.update.deadline?)
}

/// The step that a workload's rollout takes now, if there is one.
pub fn next_step(cluster: &Cluster, workload: &Workload, at: Time) -> Option<RolloutStep> {
    use RolloutStep::{AwaitPromotion, Extend, Fail, Finish};
    [Finish, AwaitPromotion, Extend, Fail].into_iter().find(|step| may_step(cluster, workload, *step, at))
}

/// Whether a workload's rollout may take this step now. If several steps are possible, [`next_step`] takes the first;
/// `apply` does not refuse it because another step has become possible meanwhile.
pub fn may_step(cluster: &Cluster, workload: &Workload, step: RolloutStep, at: Time) -> bool {
    let Some(rollout) = workload.rollout.filter(|_| workload.wanted() > 0) else { return false };
    let wanted = workload.wanted();
    let whole = || settled(cluster, workload, wanted, at) == wanted;
    let is_due = || deadline(workload).is_some_and(|deadline| deadline <= at);
    match step {
        RolloutStep::Finish => rollout.state != RolloutState::Done && rollout.promoted && whole(),
        RolloutStep::AwaitPromotion => {
            let runs = rollout.state == RolloutState::Running && !rollout.promoted;
            let (settled, canaries) = canaries(cluster, workload, at);
            runs && settled == canaries
        }
        RolloutStep::Extend => deadline(workload).is_some() && has_progressed(cluster, workload, &rollout, at),
        RolloutStep::Fail => {
            let late = is_due() && !has_progressed(cluster, workload, &rollout, at);
            (late || fails_fast(cluster, workload, &rollout, at)) && !whole()
        }
    }
}

/// Whether the failures of a version say that it will not come to serve: `max_failures` of its attempts have failed, and
/// no slot became stable. A version that nothing stable came before is tried on, because it may wait for something.
pub fn fails_fast(cluster: &Cluster, workload: &Workload, rollout: &Rollout, at: Time) -> bool {
    let most = workload.update.max_failures;
    let returns = workload.stable.is_some_and(|stable| stable != workload.version);
    let began = rollout.state == RolloutState::Running && rollout.settled == 0;
    let failed = most > 0 && rollout.failures >= most;
    failed && returns && began && settled(cluster, workload, workload.wanted(), at) == 0
}

/// Whether more slots have settled than ever before, and the last of them after the deadline began to count.
fn has_progressed(cluster: &Cluster, workload: &Workload, rollout: &Rollout, at: Time) -> bool {
    let more = settled(cluster, workload, workload.wanted(), at) > rollout.settled;
    more && latest_settled_at(cluster, workload, at).is_some_and(|latest| latest > rollout.progress_at)
}

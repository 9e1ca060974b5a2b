//! What is noticed of a plan, before it is carried out.

use super::*;

/// In the state that it meets, at the time of its entry.
pub fn notice_plan(tally: &mut Tally, cluster: &Cluster, plan: &orbit_core::model::Plan, at: Time) {
    let lost = |create: &&Create| {
        let task = create.after.and_then(|id| cluster.task(id)).filter(|task| task.is_live());
        let node = task.and_then(|task| cluster.node(task.node?));
        node.is_some_and(|node| node.reach != Reach::Reachable)
    };
    if plan.creates.iter().any(|create| lost(&create)) {
        tally.reach(Situation::ReplacedWithLostNode);
    }
    let fenced = |create: &&Create| {
        let before = create.after.and_then(|id| cluster.task(id));
        lost(create) && before.is_some_and(|it| cluster.spec_of(it).disconnect.fence == Fence::Timed)
    };
    if plan.creates.iter().any(|create| fenced(&create)) {
        tally.reach(Situation::ReplacedAfterFence);
    }
    let waits = |task: &Task| {
        let silent = cluster.node_of(task).and_then(Node::silent_since);
        let long = silent.is_some_and(|since| since + Millis::secs(10) < at);
        long && task.is_live() && cluster.spec_of(task).disconnect.fence == Fence::Confirmed
    };
    if cluster.tasks().any(waits) {
        tally.reach(Situation::ConfirmedWaits);
    }
    let for_original = |id: &TaskId| {
        let task = cluster.task(*id).filter(|task| task.serves())?;
        let slot = cluster.workload(task.workload)?.slots.get(task.slot as usize)?;
        let older = |it: &Task| it.id < task.id && it.version == task.version && it.is_live() && it.serves();
        let keeps = cluster.spec_of(task).disconnect.keep == Keep::Original;
        Some(keeps && cluster.attempts(slot).any(|it| older(it) && !plan.stops.contains(&it.id)))
    };
    if plan.stops.iter().any(|id| for_original(id) == Some(true)) {
        tally.reach(Situation::OriginalKept);
    }
    let refills =
        |create: &&Create| cluster.workload(create.workload).is_some_and(|workload| workload.version != create.version);
    if plan.creates.iter().any(|create| refills(&create)) {
        tally.reach(Situation::HeldRefilled);
    }
    if plan.rollouts.iter().any(|(_, _, step)| *step == RolloutStep::Extend) {
        tally.reach(Situation::DeadlineMoved);
    }
    if plan.decisions.iter().any(|(_, decision)| decision.unplaced > 0) {
        tally.reach(Situation::Unplaced);
        let refused = || plan.decisions.iter().flat_map(|(_, decision)| &decision.refusals);
        for (filter, situation) in [
            ("allow", Situation::WaitsForWord),
            ("after", Situation::WaitsForOthers),
            ("volume", Situation::WaitsForVolume),
        ] {
            if refused().any(|refusals| refusals.filter == filter) {
                tally.reach(situation);
            }
        }
        if cluster.nodes().any(|node| node.availability.is_draining() && cluster.tasks_left(node.id) > 0) {
            tally.reach(Situation::DrainBlocked);
        }
    }
    let has_waited = |place: &Place| {
        let task = cluster.task(place.task);
        task.is_some_and(|task| !cluster.spec_of(task).after.is_empty())
    };
    if plan.places.iter().any(has_waited) {
        tally.reach(Situation::CameInTurn);
    }
    let serving = |create: &&Create| {
        let workload = cluster.workload(create.workload);
        let slot = workload.and_then(|it| it.slots.get(create.slot as usize));
        let mut tasks = slot.into_iter().flat_map(|slot| cluster.attempts(slot));
        tasks.any(|task| task.is_live() && task.version < create.version)
    };
    let mut beside: Vec<Uid> = plan.creates.iter().filter(serving).map(|create| create.workload).collect();
    beside.dedup();
    if beside.len() < plan.creates.iter().filter(serving).count() {
        tally.reach(Situation::SurgedTogether);
    }
    let failed = |create: &&Create| {
        let before = create.after.and_then(|id| cluster.task(id));
        before.is_some_and(|task| task.version == create.version && task.state.is_terminal())
    };
    if plan.creates.iter().filter(serving).any(|create| failed(&create)) {
        tally.reach(Situation::FailedBeforeItCounted);
    }
    let stopped_first = |id: &TaskId| {
        let task = cluster.task(*id).filter(|task| task.state == TaskState::Running)?;
        let workload = cluster.workload(task.workload)?;
        let slot = workload.slots.get(task.slot as usize).filter(|_| task.slot < workload.wanted())?;
        let others = || cluster.attempts(slot).filter(|other| other.is_live() && other.id != *id);
        Some(task.version != workload.version && others().next().is_none())
    };
    if plan.stops.iter().any(|id| stopped_first(id) == Some(true)) {
        tally.reach(Situation::StoppedFirst);
    }
    let past = |deadline: Time| deadline <= at;
    let expelled = |id: &TaskId| {
        let node = cluster.task(*id).and_then(|task| cluster.node(task.node?));
        node.and_then(|node| node.availability.deadline()).is_some_and(past)
    };
    if plan.stops.iter().any(expelled) {
        tally.reach(Situation::DrainDeadline);
    }
}

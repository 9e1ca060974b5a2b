//! A service: desired beside actual, its rollout, its versions, its endpoints.

use super::{definition, moment, seconds, silence::silent, tasks::ports, why_pending};
use orbit_api::{Manifest, view};
use orbit_core::{manager::View, model::*, reconciler, state::Cluster};

/// A service, desired beside actual, and what comes when.
pub fn service(state: View, workload: &Workload, now: Time) -> view::Service {
    view::Service {
        name: workload.name.to_string(),
        uid: workload.uid.to_string(),
        revision: workload.revision,
        version: workload.current().number,
        created_at: moment(state, workload.created_at),
        desired: Manifest::of(&definition(workload)),
        actual: status(state, workload, now),
        rollout: workload.rollout.map(|rollout| view::Rollout {
            state: rollout_state(&rollout).to_string(),
            since: moment(state, rollout.since),
            deadline: reconciler::deadline(workload).map(|at| moment(state, at)),
            stable: workload.stable,
            failed: rollout.failed,
            message: rollout_message(state.cluster(), workload, &rollout, state.cluster_time(now)),
        }),
    }
}

/// As the API names it.
pub fn rollout_state(rollout: &Rollout) -> &'static str {
    match (rollout.state, rollout.failed) {
        (RolloutState::Running, None) => "running",
        (RolloutState::Running, Some(_)) => "rolling_back",
        (RolloutState::Paused, _) => "paused",
        (RolloutState::Canary, _) => "canary",
        (RolloutState::Failed, _) => "failed",
        (RolloutState::Done, None) => "done",
        (RolloutState::Done, Some(_)) => "rolled_back",
    }
}

/// What a person should know of a rollout; nothing of one that runs or is done as it was wanted.
fn rollout_message(cluster: &Cluster, workload: &Workload, rollout: &Rollout, at: Time) -> String {
    let version = workload.version;
    let (serving, canaries) = reconciler::canaries(cluster, workload, at);
    let told = |what| told(cluster, workload, what);
    match (rollout.state, rollout.failed) {
        (RolloutState::Paused, _) => format!("the rollout of version {version} is paused"),
        (RolloutState::Canary, _) if serving < canaries => {
            format!("the canaries of version {version} do not serve: {serving} of {canaries} do")
        }
        (RolloutState::Canary, _) => format!("the canaries of version {version} serve: promote or undo it"),
        (RolloutState::Failed, _) => {
            let why = told(What::RolloutFailed).unwrap_or_else(|| format!("version {version}"));
            format!("the rollout has failed: {why}")
        }
        (_, Some(failed)) => {
            let why =
                told(What::RolledBack).unwrap_or_else(|| format!("to version {version}: version {failed} failed"));
            format!("rolled back {why}")
        }
        (_, None) => String::new(),
    }
}

/// What the newest event of a kind said of a workload.
fn told(cluster: &Cluster, workload: &Workload, what: What) -> Option<String> {
    let subject = |it: &&HistoryEvent| matches!(it.subject, Subject::Workload(_, uid, _) if uid == workload.uid);
    let mut newest_first = cluster.history().iter().rev().filter(subject);
    newest_first.find(|it| it.what == what).map(|it| it.message.clone())
}

/// The versions of a service that are remembered, oldest first.
pub fn versions(state: View, workload: &Workload) -> Vec<view::Version> {
    let show = |version: &Version| view::Version {
        version: version.number,
        created_at: moment(state, version.created_at),
        current: version.number == workload.version,
        stable: version.was_stable,
        restart: version.is_restart,
        digest: version.digest.as_deref().map(str::to_string),
        desired: Manifest::of(&Definition { spec: (*version.spec).clone(), ..definition(workload) }),
    };
    workload.versions.iter().map(show).collect()
}

fn status(state: View, workload: &Workload, now: Time) -> view::ServiceStatus {
    let cluster = state.cluster();
    let Counted { mut status, current, last_end } = counted(state, workload, now);
    let last_end = last_end.and_then(|(_, id)| cluster.task(id)?.end.clone());
    let at = state.cluster_time(now);
    status.message = message(cluster, workload, (&status, current), last_end.as_deref(), at);
    if let Some(silent) = silent(state, workload, now) {
        let also = if status.message.is_empty() { String::new() } else { format!("; {}", status.message) };
        status.message = format!("{silent}{also}");
    }
    status
}

/// The numbers of a service's status, without its message: each means the same to a metric as to the API.
pub fn counts(state: View, workload: &Workload, now: Time) -> view::ServiceStatus {
    counted(state, workload, now).status
}

/// One look at all tasks of a service.
struct Counted {
    /// Without a message.
    status: view::ServiceStatus,
    /// Tasks of the current version that run.
    current: u32,
    /// The attempt that ended last, and when.
    last_end: Option<(Time, TaskId)>,
}

fn counted(state: View, workload: &Workload, now: Time) -> Counted {
    let cluster = state.cluster();
    let mut status = view::ServiceStatus::default();
    let (mut last_end, mut current) = (None, 0);
    let at = state.cluster_time(now);
    for (number, slot) in (0..).zip(&workload.slots) {
        status.failures = status.failures.max(slot.failures(reconciler::target(cluster, workload, number)));
        for task in cluster.attempts(slot) {
            match task.state {
                _ if task.state.is_terminal() => last_end = last_end.max(task.ended_at.map(|at| (at, task.id))),
                _ if task.desired == Desired::Stopped => status.stopping += 1,
                TaskState::Pending => status.pending += 1,
                TaskState::Running if is_unreachable(cluster, task) => status.unreachable += 1,
                TaskState::Running => {
                    let is_current = task.version == workload.current().number;
                    let stable = reconciler::stable_at(workload, task).is_some_and(|stable_at| stable_at <= at);
                    status.running += 1;
                    current += u32::from(is_current);
                    status.ready += u32::from(task.serves());
                    status.updated += u32::from(task.serves() && is_current);
                    status.available += u32::from(stable);
                }
                _ => status.starting += 1,
            }
        }
    }
    Counted { status, current, last_end }
}

fn is_unreachable(cluster: &Cluster, task: &Task) -> bool {
    cluster.node_of(task).is_some_and(|node| node.reach != Reach::Reachable)
}

/// What stands between desired and actual, in one sentence. `current` tasks of the current version run.
fn message(
    cluster: &Cluster,
    workload: &Workload,
    (status, current): (&view::ServiceStatus, u32),
    last_end: Option<&End>,
    at: Time,
) -> String {
    let state = workload.rollout.filter(Rollout::is_held).map(|rollout| rollout.state);
    let (serving, canaries) = reconciler::canaries(cluster, workload, at);
    let rollout = workload.rollout.map(|rollout| rollout_message(cluster, workload, &rollout, at)).unwrap_or_default();
    let tasks = || workload.slots.iter().flat_map(|slot| cluster.attempts(slot));
    let unhealthy = tasks().filter(|task| task.is_live() && task.is_unhealthy()).count();
    // A surplus is nothing to report: the next plan stops it.
    let as_many = workload.wanted().max(status.updated);
    if status.is_settled(as_many) && status.stopping == 0 {
        return rollout;
    }
    if status.pending > 0 {
        let waiting = format!("{} waiting for a node: {}", status.pending, why_pending(cluster, workload, at));
        // That it will not go on by itself is what has to be known first.
        return if state == Some(RolloutState::Failed) { format!("{rollout}; {waiting}") } else { waiting };
    }
    let failed =
        last_end.filter(|end| status.failures > 0 && current < workload.wanted() && end.reason != Reason::Stopped);
    match failed {
        // It waits for somebody, whatever has failed before.
        _ if state == Some(RolloutState::Paused) => rollout,
        _ if state == Some(RolloutState::Canary) && serving == canaries => rollout,
        // It says how the last attempt ended itself.
        Some(_) if state == Some(RolloutState::Failed) => format!("{rollout}{}", next_try(cluster, workload, at)),
        Some(end) if state.is_some() => {
            format!("{rollout}; last attempt ended: {end}{}", next_try(cluster, workload, at))
        }
        Some(end) => format!("last attempt ended: {end}{}", next_try(cluster, workload, at)),
        None if !rollout.is_empty() => rollout,
        None if workload.decision.as_ref().is_some_and(|decision| decision.unplaced > 0) => {
            let why = why_pending(cluster, workload, at);
            format!("what serves is not stopped, because what follows it has no place: {why}")
        }
        None if unhealthy > 0 => {
            let why = told(cluster, workload, What::Unhealthy).map(|why| format!(": {why}"));
            format!("{unhealthy} not healthy{}", why.unwrap_or_default())
        }
        None if status.unready() > 0 => {
            let why = told(cluster, workload, What::Unready).filter(|why| !why.is_empty());
            format!("{} not ready{}", status.unready(), why.map(|why| format!(": {why}")).unwrap_or_default())
        }
        None if current < workload.wanted() && status.ready > status.updated => {
            let older = status.ready - status.updated;
            format!("{} of the new version to start, {older} of the old one still serve", workload.wanted() - current)
        }
        None if current < workload.wanted() => format!("{} to start", workload.wanted() - current),
        None if status.running > current => {
            format!("{} of an older version still serve", status.running - current)
        }
        None => {
            let silent = |task: &&Task| is_unreachable(cluster, task);
            match tasks().filter(silent).filter(|task| !task.state.is_terminal()).count() {
                0 => "stopping what is no longer wanted".to_string(),
                left => format!("{left} left on silent nodes, to be stopped when those return"),
            }
        }
    }
}

/// When the next of its slots that has nothing left is filled again, if that is to come.
fn next_try(cluster: &Cluster, workload: &Workload, at: Time) -> String {
    let slots = (0..workload.wanted()).zip(&workload.slots);
    let empty = slots.filter(|(_, slot)| cluster.attempts(slot).all(|task| task.state.is_terminal()));
    let not_before = |(number, slot): (u32, &Slot)| slot.not_before(reconciler::target(cluster, workload, number));
    let next = empty.map(not_before).filter(|not_before| *not_before > at).min();
    next.map(|next| format!("; tried again in {}", seconds(next.since(at)))).unwrap_or_default()
}

/// Where a service is reached now.
pub fn endpoints(cluster: &Cluster, workload: &Workload) -> view::Endpoints {
    let endpoint = |task: &Task| {
        let node = task.node.and_then(|id| cluster.node(id)).expect("an endpoint has a node");
        view::Endpoint {
            task: task.id.to_string(),
            slot: task.slot,
            version: task.version,
            node: node.info.name.clone(),
            address: node.info.address.map(|address| address.to_string()),
            ports: ports(task, cluster.spec_of(task)),
        }
    };
    let items = cluster.endpoints(workload).into_iter().map(endpoint).collect();
    view::Endpoints { name: workload.name.to_string(), revision: cluster.index, items }
}

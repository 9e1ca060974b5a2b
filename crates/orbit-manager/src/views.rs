//! From the replicated state to the API's objects.

use orbit_api::{Manifest, view};
use orbit_core::{
    manager::View,
    model::*,
    reconciler::{self, Outage},
    state::Cluster,
};
use std::time::{Duration, SystemTime};

/// RFC 3339.
fn moment(state: View, at: Time) -> String {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(state.wall_ms(at));
    humantime::format_rfc3339_millis(wall).to_string()
}

fn definition(workload: &Workload) -> Definition {
    Definition {
        kind: workload.kind,
        name: workload.name.to_string(),
        labels: workload.labels.clone(),
        replicas: workload.replicas,
        update: workload.update,
        spec: (*workload.current().spec).clone(),
    }
}

/// For people: whole seconds, rounded up.
fn seconds(span: Millis) -> String {
    format!("{} s", span.0.div_ceil(1000))
}

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
fn rollout_state(rollout: &Rollout) -> &'static str {
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
    let told = |what: What| {
        let subject = |it: &&Happening| matches!(it.subject, Subject::Workload(_, uid, _) if uid == workload.uid);
        let mut newest_first = cluster.history().iter().rev().filter(subject);
        newest_first.find(|it| it.what == what).map(|it| it.message.clone())
    };
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
    let mut status = view::ServiceStatus::default();
    let mut last_end = None;
    for (number, slot) in (0..).zip(&workload.slots) {
        status.failures = status.failures.max(slot.failures(reconciler::target(cluster, workload, number)));
        for task in cluster.attempts(slot) {
            match task.state {
                _ if task.state.is_terminal() => last_end = last_end.max(task.ended_at.map(|at| (at, task.id))),
                _ if task.desired == Desired::Stopped => status.stopping += 1,
                TaskState::Pending => status.pending += 1,
                TaskState::Running => {
                    status.running += 1;
                    status.unready += u32::from(!task.serves());
                    status.current += u32::from(task.version == workload.current().number);
                }
                _ => status.starting += 1,
            }
        }
    }
    let last_end = last_end.and_then(|(_, id)| cluster.task(id)?.end.clone());
    status.message = message(cluster, workload, &status, last_end.as_deref(), state.cluster_time(now));
    if let Some(silent) = silent(state, workload, now) {
        let also = if status.message.is_empty() { String::new() } else { format!("; {}", status.message) };
        status.message = format!("{silent}{also}");
    }
    status
}

/// What becomes of those of its tasks whose nodes are silent: of the first of them, which goes for most.
fn silent(state: View, workload: &Workload, now: Time) -> Option<String> {
    let tasks = workload.slots.iter().flat_map(|slot| state.cluster().attempts(slot));
    let mut fates = tasks.filter_map(|task| Some((task.id, fate(state, workload, task, now)?)));
    let (first, fate) = fates.next()?;
    let others = match fates.count() {
        0 => String::new(),
        n => format!("; {n} more on silent nodes"),
    };
    Some(format!("{first} {fate}{others}"))
}

/// What becomes of a task whose node is silent, and when. Nothing of others, and of one that was replaced.
fn fate(state: View, workload: &Workload, task: &Task, now: Time) -> Option<String> {
    let cluster = state.cluster();
    let node = cluster.node_of(task).filter(|node| node.reach != Reach::Reachable && !task.state.is_terminal())?;
    let (name, at) = (&node.info.name, state.cluster_time(now));
    let newest = workload.slots.get(task.slot as usize).and_then(|slot| cluster.attempts(slot).next());
    let is_replaced = newest.is_some_and(|newest| newest.id != task.id);
    let due = |outage: &Outage| outage.replace_at(cluster.spec_of(task), state.timing().replace_after);
    Some(match state.outage(node.id).map(|outage| (outage, due(&outage))) {
        _ if is_replaced => return None,
        _ if !reconciler::may_rerun(workload) => format!("runs on {name}, which is silent, and is not run again"),
        Some((Outage::Braked, _)) => format!("stays on {name}: too many nodes fell silent together"),
        Some((_, None)) => format!("waits until {name} returns or is forgotten (its fence is confirmed)"),
        Some((_, Some(due))) if due > at => format!("is replaced in {} unless {name} returns", seconds(due.since(at))),
        _ => format!("is replaced: {name} is silent"),
    })
}

/// What stands between desired and actual, in one sentence.
fn message(
    cluster: &Cluster,
    workload: &Workload,
    status: &view::ServiceStatus,
    last_end: Option<&End>,
    at: Time,
) -> String {
    let state = workload.rollout.filter(Rollout::is_held).map(|rollout| rollout.state);
    let (serving, canaries) = reconciler::canaries(cluster, workload, at);
    let rollout = workload.rollout.map(|rollout| rollout_message(cluster, workload, &rollout, at)).unwrap_or_default();
    let tasks = || workload.slots.iter().flat_map(|slot| cluster.attempts(slot));
    let unhealthy = tasks().filter(|task| task.is_live() && task.is_unhealthy()).count();
    let all_run = status.current >= workload.wanted() && status.running == status.current;
    if all_run && status.stopping == 0 && status.unready == 0 {
        return rollout;
    }
    if status.pending > 0 {
        let waiting = format!("{} waiting for a node: {}", status.pending, why_pending(workload));
        // That it will not go on by itself is what has to be known first.
        return if state == Some(RolloutState::Failed) { format!("{rollout}; {waiting}") } else { waiting };
    }
    let failed = last_end
        .filter(|end| status.failures > 0 && status.current < workload.wanted() && end.reason != Reason::Stopped);
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
        None if status.current < workload.wanted() => format!("{} to start", workload.wanted() - status.current),
        None if unhealthy > 0 => format!("{unhealthy} not healthy"),
        None if status.unready > 0 => format!("{} not ready", status.unready),
        None if status.running > status.current => {
            format!("{} of an older version still serve", status.running - status.current)
        }
        None => {
            let silent = |task: &&Task| cluster.node_of(task).is_some_and(|node| node.reach != Reach::Reachable);
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

/// The published ports of a task.
fn ports(task: &Task, spec: &Spec) -> Vec<view::TaskPort> {
    let port = |(i, port): (usize, &Port)| view::TaskPort {
        name: port.name.clone(),
        container: port.container,
        host: task.host_ports.get(i).copied(),
    };
    spec.ports.iter().enumerate().map(port).collect()
}

fn why_pending(workload: &Workload) -> String {
    workload.decision.as_ref().map_or_else(|| "not looked at yet".to_string(), Decision::why)
}

/// A task definition with its newest attempt.
pub fn task_definition(state: View, workload: &Workload, now: Time) -> view::TaskDefinition {
    let cluster = state.cluster();
    let newest = workload.slots.first().and_then(|slot| cluster.attempts(slot).next());
    view::TaskDefinition {
        name: workload.name.to_string(),
        uid: workload.uid.to_string(),
        revision: workload.revision,
        created_at: moment(state, workload.created_at),
        desired: Manifest::of(&definition(workload)),
        attempt: newest.map(|newest| task(state, newest, now)),
    }
}

/// One attempt.
///
/// # Panics
/// If the task is not of this cluster.
pub fn task(state: View, task: &Task, now: Time) -> view::Task {
    let cluster = state.cluster();
    let workload = cluster.workload(task.workload).expect("a task's workload lives as long as it");
    let spec = cluster.spec_of(task);
    let node = task.node.and_then(|id| cluster.node(id));
    let silent = fate(state, workload, task, now);
    let waits = match task.state {
        TaskState::Pending => Some(why_pending(workload)),
        _ if silent.is_some() => silent,
        TaskState::Running if task.is_unhealthy() => Some("not healthy".to_string()),
        TaskState::Running if !task.serves() => Some("not ready".to_string()),
        _ => None,
    };
    let is_asked = task.state == TaskState::Running && !spec.probes.is_empty();
    view::Task {
        id: task.id.to_string(),
        kind: workload.kind.to_string(),
        name: workload.name.to_string(),
        slot: task.slot,
        version: task.version,
        image: spec.image.clone(),
        node: node.map(|node| node.info.name.clone()),
        desired: if task.desired == Desired::Running { "running" } else { "stopped" }.to_string(),
        actual: task.state.to_string(),
        unreachable: !task.state.is_terminal() && node.is_some_and(|node| node.reach != Reach::Reachable),
        reason: task.end.as_ref().map(|end| end.reason.as_str().to_string()),
        exit_code: task.end.as_ref().and_then(|end| end.exit_code),
        message: waits.or(task.end.as_ref().map(|end| ending(task, end))).unwrap_or_default(),
        ports: ports(task, spec),
        created_at: moment(state, task.created_at),
        running_at: task.running_at.map(|at| moment(state, at)),
        ready: is_asked.then(|| task.serves()),
        ended_at: task.ended_at.map(|at| moment(state, at)),
    }
}

/// More of how it ended than its reason says.
fn ending(task: &Task, end: &End) -> String {
    // It was told to stop for that.
    let was_unhealthy = task.probed.health == Some(false) && end.reason == Reason::Stopped;
    if was_unhealthy && end.message.is_empty() { "was not healthy".to_string() } else { end.message.clone() }
}

/// Something that was done or happened.
pub fn event(state: View, happening: &Happening) -> view::Event {
    let node = happening.node.and_then(|id| state.cluster().node(id)).map(|node| node.info.name.clone());
    let (kind, name) = match &happening.subject {
        Subject::Workload(kind, _, name) => (kind.to_string(), name.to_string()),
        Subject::Node => ("node".to_string(), node.clone().unwrap_or_default()),
    };
    view::Event {
        revision: happening.index,
        at: moment(state, happening.at),
        actor: happening.actor.to_string(),
        reason: happening.what.to_string(),
        warning: happening.what.is_warning(),
        kind,
        name,
        task: happening.task.map(|task| task.to_string()),
        node,
        message: happening.message.clone(),
    }
}

/// What keeps a node from being drained.
fn blocks(cluster: &Cluster, node: &Node) -> String {
    const NAMED_MAX: usize = 3;
    let left = node.tasks().filter_map(|id| cluster.task(id)).filter(|task| !task.state.is_terminal());
    let left: Vec<&Task> = left.collect();
    let why = |task: &&Task| {
        let Some(workload) = cluster.workload(task.workload) else { return String::new() };
        let reason = match workload.kind {
            _ if task.desired == Desired::Stopped => "is stopping".to_string(),
            Kind::Task => "runs to its end".to_string(),
            Kind::Service if cluster.pending_of(task.workload).next().is_some() => {
                format!("waits for a node: {}", why_pending(workload))
            }
            Kind::Service => "is being replaced".to_string(),
        };
        format!("{} ({}) {reason}", workload.name, task.id)
    };
    let named: Vec<String> = left.iter().take(NAMED_MAX).map(why).collect();
    let more = left.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{} to go: {}{more}", left.len(), named.join("; "))
}

/// What becomes of the tasks of a silent node, and when.
fn what_follows(state: View, node: &Node, outage: Outage, at: Time) -> String {
    let cluster = state.cluster();
    let left = node.tasks().filter_map(|id| cluster.task(id)).filter(|task| !task.state.is_terminal());
    let due = |task: &Task| outage.replace_at(cluster.spec_of(task), state.timing().replace_after);
    let due: Vec<Option<Time>> = left.map(due).collect();
    let confirmed = due.iter().filter(|due| due.is_none()).count();
    let next = due.iter().flatten().filter(|due| **due > at).min();
    let rest = match (next, due.len() - confirmed) {
        (_, 0) if confirmed > 0 => String::new(),
        (Some(due), _) => format!("tasks are replaced in {} unless it returns", seconds(due.since(at))),
        (None, _) => "tasks are replaced".to_string(),
    };
    let confirmed = match confirmed {
        0 => String::new(),
        1 => "1 task waits until it returns or is forgotten (its fence is confirmed)".to_string(),
        n => format!("{n} tasks wait until it returns or is forgotten (their fence is confirmed)"),
    };
    [rest, confirmed].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
}

/// A node, and what follows from its silence.
pub fn node(state: View, node: &Node, now: Time) -> view::Node {
    let cluster = state.cluster();
    let amount = |r: Resources| view::Amount { cpu_millis: r.cpu_millis, memory_bytes: r.memory_bytes };
    let ready = node.reach == Reach::Reachable;
    let at = state.cluster_time(now);
    let message = match state.outage(node.id) {
        _ if ready => String::new(),
        Some(Outage::Braked) => {
            "too many nodes fell silent together: nothing is replaced until some return".to_string()
        }
        Some(outage) => what_follows(state, node, outage, at),
        None => "tasks are replaced".to_string(),
    };
    let tasks = node.tasks().filter(|id| cluster.task(*id).is_some_and(|task| !task.state.is_terminal()));
    let duty = match node.duty {
        Duty::Active => "active",
        Duty::Cordoned => "cordoned",
        Duty::Draining { .. } if cluster.is_drained(node.id) => "drained",
        Duty::Draining { .. } => "draining",
    };
    let message = if duty == "draining" && message.is_empty() { blocks(cluster, node) } else { message };
    view::Node {
        name: node.info.name.clone(),
        uid: node.info.uid.to_string(),
        state: if ready { "ready" } else { "unreachable" }.to_string(),
        duty: duty.to_string(),
        drain_deadline: node.duty.deadline().map(|at| moment(state, at)),
        message,
        labels: node.info.labels.clone(),
        arch: node.info.arch.clone(),
        os: node.info.os.clone(),
        allocatable: amount(node.info.allocatable),
        used: amount(node.used()),
        tasks: tasks.count() as u32,
        address: node.info.address.map(|address| address.to_string()),
        registered_at: moment(state, node.registered_at),
    }
}

//! W: what the engines say, and nobody else.

use super::Check;
use orbit_core::{
    model::{
        Assignment, Desired, Fence, Grant, HistoryEvent, HostMount, Reason, Setup, Task, TaskId, TaskReport, TaskState,
        Uid, What,
    },
    state::Cluster,
    worker::{Op, Worker},
};
use orbit_runtime::fake::FakeEngine;
use std::collections::{BTreeMap, BTreeSet};

/// W: what a worker starts, stops or removes is not somebody else's container (I31).
pub(crate) fn is_ours(engine: &FakeEngine, request: &Op) -> Check {
    let (Op::Start(name) | Op::Stop { name, .. } | Op::Remove(name)) = request else { return Ok(()) };
    match engine.container(name) {
        Some(container) if container.identity.is_none() => Err(("I31", format!("{request:?} is not ours"))),
        _ => Ok(()),
    }
}

/// W: what a worker creates or starts asks for nothing that the operator of its machine does not allow (I47).
pub(crate) fn is_allowed(engine: &FakeEngine, allowed: &[Grant], request: &Op) -> Check {
    let setup = match request {
        Op::Create(spec) => &spec.setup,
        Op::Start(name) => match engine.container(name) {
            Some(container) => &container.spec.setup,
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    match is_within(allowed, setup) {
        true => Ok(()),
        false => Err(("I47", format!("{request:?} asks for more than {allowed:?}"))),
    }
}

/// Whether what users of this world ask for, a capability and a folder, is among what is allowed.
pub(super) fn is_within(allowed: &[Grant], setup: &Setup) -> bool {
    let is_named = |name: &String| allowed.contains(&Grant::Capability(name.clone()));
    let is_below = |mount: &HostMount| {
        let covers =
            |grant: &Grant| matches!(grant, Grant::HostPath(root) if mount.host.starts_with(&format!("{root}/")));
        allowed.iter().any(covers)
    };
    setup.security.capabilities_added.iter().all(is_named) && setup.host.mounts.iter().all(is_below)
}

/// W: an image that a worker removes was not there before it was pulled, and no task that it was told to run refers to it (I46). (One that has
/// ended has a container, and then the engine refuses.)
pub(crate) fn is_unneeded(engine: &FakeEngine, worker: &Worker, request: &Op) -> Check {
    let Op::RemoveImage { image, id } = request else { return Ok(()) };
    if engine.is_foreign_image(id) {
        return Err(("I46", format!("{image} ({id}) was not pulled, and is removed")));
    }
    let orders = worker.orders().filter_map(|(task, ..)| worker.order(task));
    let orders = orders.filter(|order| order.desired == Desired::Running && !order.ended);
    let means = |order: &&Assignment| engine.image_id(&order.image_reference()).as_deref() == Some(id);
    match orders.into_iter().find(means) {
        Some(order) => Err(("I46", format!("{image} ({id}) is removed, and {} needs it", order.task))),
        None => Ok(()),
    }
}

/// Remembers on which engine each task was created.
#[derive(Debug, Default)]
pub struct EngineWatch {
    homes: BTreeMap<TaskId, usize>,
}

impl EngineWatch {
    /// W: after everything that happens to an engine: a task has at most one container in its life,
    /// was started at most once, and on one node (I5).
    ///
    /// # Errors
    /// The first task of which this is not so.
    pub fn look(&mut self, home: usize, engine: &FakeEngine) -> Check {
        for (task, lives) in engine.lives() {
            if lives.created > 1 || lives.started > 1 {
                return Err(("I5", format!("{task} was created and started {lives:?} times")));
            }
            let other = *self.homes.entry(task).or_insert(home);
            if other != home {
                return Err(("I5", format!("{task} was created on worker {other} and on worker {home}")));
            }
        }
        Ok(())
    }
}

/// W: before a worker writes down how tasks have ended: what it takes to be gone does not run, and
/// what could not be created is not there (I6).
pub(crate) fn ends<'a>(engine: &FakeEngine, reports: impl Iterator<Item = &'a TaskReport>) -> Check {
    for report in reports {
        let task = report.task;
        let mut its = engine.containers().filter(|it| it.identity.is_some_and(|identity| identity.task == task));
        let contradicted = match report.end.as_ref().map(|end| end.reason) {
            Some(Reason::Vanished) => its.any(|container| container.is_running()),
            Some(Reason::CreateFailed) => its.next().is_some(),
            _ => false,
        };
        if contradicted {
            return Err(("I6", format!("{task} is said to have ended, and its container is there: {:?}", report.end)));
        }
    }
    Ok(())
}

/// I39, W: whoever is sent to an endpoint finds a process that has said yes to every probe that it has.
pub(crate) fn asked<'a>(cluster: &Cluster, engines: impl Iterator<Item = &'a FakeEngine> + Clone) -> Check {
    for workload in cluster.workloads() {
        if workload.versions.iter().all(|version| version.spec.container.probes.is_empty()) {
            continue;
        }
        for task in cluster.endpoints(workload) {
            let probes = cluster.spec_of(task).container.probes.iter().count() as u64;
            let containers = engines.clone().flat_map(FakeEngine::containers);
            let mut its = containers.filter(|c| c.identity.is_some_and(|identity| identity.task == task.id));
            if let Some(container) = its.find(|container| container.yes < probes) {
                let found =
                    format!("{} is an endpoint of {}, and said yes {} times", task.id, workload.name, container.yes);
                return Err(("I39", found));
            }
        }
    }
    Ok(())
}

/// I7, W: when a container is started: of a slot whose tasks are fenced, no other one runs. `engines` says of each
/// whether its worker and it have done what they were told without delay since the manager heard of them last: a timed
/// fence relies on that, a confirmed one does not. What a person started is his:
/// it is excused, and so is what was replaced while its node was in such a state.
pub(crate) fn alone<'a>(
    cluster: &Cluster,
    started: TaskId,
    engines: impl Iterator<Item = (&'a FakeEngine, bool)>,
    excused: &BTreeSet<TaskId>,
) -> Check {
    let Some(task) = cluster.task(started) else { return Ok(()) };
    let fence = |task: &Task| cluster.spec_of(task).disconnect.fence;
    // Somebody said that its node is gone. It may be there, and its engine carry out late what it was told before.
    let is_given_up = |task: &Task| fence(task) == Fence::Confirmed && task.state == TaskState::Lost;
    for (engine, steady) in engines {
        let running = engine.containers().filter(|container| container.is_running() && !container.paused);
        let others = running.filter_map(|container| cluster.task(container.identity?.task));
        for other in others.filter(|it| it.id != started && (it.workload, it.slot) == (task.workload, task.slot)) {
            let may_both = match fence(other) {
                Fence::Confirmed => is_given_up(other),
                Fence::Timed => !steady,
                // It is of a version without one, on a node that was given up by then.
                Fence::None => true,
            };
            // So is this one, and its node has returned.
            let may_both = may_both || is_given_up(task) || (fence(task) == Fence::None && task.id < other.id);
            if !may_both && !excused.contains(&other.id) && !excused.contains(&started) {
                let fence = fence(other);
                return Err(("I7", format!("{started} is started while {} runs, whose fence is {fence:?}", other.id)));
            }
        }
    }
    Ok(())
}

/// I40, W: at rest: where tasks of a version run different builds of an image that no registry knows, somebody was told.
pub(crate) fn builds_are_told<'a>(cluster: &Cluster, workers: impl Iterator<Item = &'a Worker>) -> Check {
    let mut builds: BTreeMap<(Uid, u32), BTreeMap<&str, TaskId>> = BTreeMap::new();
    for (id, image) in workers.flat_map(Worker::local_images) {
        let Some(task) = cluster.task(id).filter(|task| task.state == TaskState::Running) else { continue };
        builds.entry((task.workload, task.version)).or_default().insert(image, id);
    }
    for ((uid, version), builds) in builds.into_iter().filter(|(_, builds)| builds.len() > 1) {
        let of_it = |event: &&HistoryEvent| event.what == What::ImageDiffers;
        let told = cluster.history().iter().filter(of_it).filter_map(|event| event.task);
        let told: BTreeSet<TaskId> = told.collect();
        if !builds.values().any(|id| told.contains(id)) {
            return Err(("I40", format!("version {version} of {uid} runs {builds:?}, and nobody was told")));
        }
    }
    Ok(())
}

/// I40, W: when a container is started: all tasks of its version run the same bytes, wherever a registry knows them.
pub(crate) fn same_bytes<'a>(
    cluster: &Cluster,
    started: TaskId,
    engines: impl Iterator<Item = &'a FakeEngine>,
) -> Check {
    let Some(task) = cluster.task(started) else { return Ok(()) };
    let containers = engines.flat_map(FakeEngine::containers).filter_map(|it| Some((it.identity?.task, it)));
    let of_version = |other: &Task| (other.workload, other.version) == (task.workload, task.version);
    let alike = containers.filter(|(id, _)| cluster.task(*id).is_some_and(of_version));
    let known: Vec<(TaskId, String)> = alike.filter_map(|(id, it)| Some((id, it.digest.clone()?))).collect();
    let Some((_, own)) = known.iter().find(|(id, _)| *id == started) else { return Ok(()) };
    match known.iter().find(|(_, digest)| digest != own) {
        Some((other, digest)) => Err(("I40", format!("{started} runs {own}, {other} of the same version {digest}"))),
        None => Ok(()),
    }
}

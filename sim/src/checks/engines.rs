//! W: what the engines say, and nobody else.

use super::Check;
use orbit_core::{
    model::{Cluster, Reason, TaskId, TaskReport},
    worker::Op,
};
use orbit_runtime::fake::FakeEngine;
use std::collections::BTreeMap;

/// W: what a worker starts, stops or removes is not somebody else's container (I31).
pub(crate) fn is_ours(engine: &FakeEngine, request: &Op) -> Check {
    let (Op::Start(name) | Op::Stop { name, .. } | Op::Remove(name)) = request else { return Ok(()) };
    match engine.container(name) {
        Some(container) if container.identity.is_none() => Err(("I31", format!("{request:?} is not ours"))),
        _ => Ok(()),
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
        if workload.versions.iter().all(|version| version.spec.probes.is_empty()) {
            continue;
        }
        for task in cluster.endpoints(workload) {
            let probes = cluster.spec_of(task).probes.iter().count() as u64;
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

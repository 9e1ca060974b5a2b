//! W: the data of volumes: what was written is there, in order, and nobody writes to what is another's.

use super::Check;
use orbit_core::{model::*, state::Cluster};
use orbit_runtime::fake::{FakeContainer, FakeEngine};
use std::collections::BTreeMap;

/// Remembers what was written to each volume, by the engine's name, and where that is.
#[derive(Debug, Default)]
pub struct VolumeWatch {
    written: BTreeMap<String, (usize, Vec<TaskId>)>,
}

impl VolumeWatch {
    /// W: after everything that happens to an engine: a volume to which something was written is on one machine (I49),
    /// and has all of it, in order; or it is gone as a whole, and stays away (I50).
    ///
    /// # Errors
    /// The first volume of which this is not so.
    pub fn look(&mut self, home: usize, engine: &FakeEngine) -> Check {
        for (name, rows) in engine.volumes() {
            let (its, written) = self.written.entry(name.clone()).or_insert_with(|| (home, Vec::new()));
            if *its != home && !(written.is_empty() && rows.is_empty()) {
                return Err(("I49", format!("{name} was written to on worker {its} and is on worker {home}")));
            }
            if !rows.starts_with(written) {
                return Err(("I50", format!("{written:?} was written to {name}, which has {rows:?}")));
            }
            (*its, *written) = (home, rows.clone());
        }
        Ok(())
    }
}

/// I49, W: when a container is started: no other one runs that may use its volumes only without it. What a person
/// started is his.
pub(crate) fn nobody_else_writes<'a>(
    cluster: &Cluster,
    started: TaskId,
    engines: impl Iterator<Item = &'a FakeEngine>,
    is_excused: impl Fn(TaskId) -> bool,
) -> Check {
    let access = |task: TaskId, volume: &str| {
        let task = cluster.task(task)?;
        let mounts = cluster.spec_of(task).container.setup.volumes.iter();
        mounts.filter(|mount| volume.contains(&format!("-{}-", mount.volume))).map(|mount| mount.access).min()
    };
    let containers: Vec<&FakeContainer> = engines.flat_map(FakeEngine::containers).collect();
    let task_of = |container: &FakeContainer| container.identity.map(|identity| identity.task);
    let Some(own) = containers.iter().find(|it| task_of(it) == Some(started)) else { return Ok(()) };
    let running = containers.iter().filter(|it| it.is_running() && !it.paused);
    for (other, container) in running.filter_map(|it| Some((task_of(it)?, it))).filter(|(task, _)| *task != started) {
        for volume in &own.spec.volumes {
            let both = container.spec.volumes.iter().any(|it| it.name == volume.name);
            let accesses = [access(started, &volume.name), access(other, &volume.name)];
            // What a forgotten task wanted of it is not known any more.
            let is_exclusive = accesses.contains(&Some(Access::Exclusive));
            if both && is_exclusive && !is_excused(started) && !is_excused(other) {
                return Err(("I49", format!("{started} is started on {} while {other} runs", volume.name)));
            }
        }
    }
    Ok(())
}

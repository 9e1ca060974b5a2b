//! W: what the engines say, and nobody else.

use super::Check;
use orbit_core::model::TaskId;
use orbit_runtime::fake::FakeEngine;
use std::collections::BTreeMap;

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

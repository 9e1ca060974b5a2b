//! What each worker was told, and what it makes of it.

use super::Check;
use orbit_core::{
    model::*,
    worker::{Action, Op, Worker},
};
use std::collections::BTreeMap;

/// Remembers what each worker was told, to see that no older word is followed (I9), and that a task
/// that was told to stop is not started (I6).
#[derive(Debug, Default)]
pub(crate) struct OrderWatch {
    /// By worker: the highest (epoch, term) that it followed.
    seen: BTreeMap<usize, (u32, u64)>,
    /// By worker and task: in which life, and the highest generation taken up.
    generations: BTreeMap<(usize, TaskId), (u32, u32)>,
}

impl OrderWatch {
    /// After every step of a worker, with what it begins.
    ///
    /// `seen` is what its disk holds: what a crash took with it was never followed.
    pub fn look(&mut self, index: usize, life: u32, seen: (u32, u64), worker: &Worker, actions: &[Action]) -> Check {
        let before = self.seen.insert(index, seen).unwrap_or_default();
        if seen < before {
            return Err(("I9", format!("worker {index} followed {before:?}, then {seen:?}")));
        }
        for (task, generation, _) in worker.orders() {
            let before = self.generations.insert((index, task), (life, generation)).unwrap_or_default();
            if before.0 == life && generation < before.1 {
                let found = format!("worker {index} took up order {} about {task}, then {generation}", before.1);
                return Err(("I9", found));
            }
        }
        for action in actions {
            let Action::Runtime { request, .. } = action else { continue };
            let name = match request {
                Op::Create(spec) => &spec.name,
                Op::Start(name) => name,
                _ => continue,
            };
            let task: Option<TaskId> = name.rsplit('-').next().and_then(|id| id.parse().ok());
            match worker.orders().find(|(id, ..)| Some(*id) == task).map(|(_, _, desired)| desired) {
                Some(Desired::Running) => {}
                other => return Err(("I6", format!("{name} is begun on worker {index}, its order is {other:?}"))),
            }
        }
        Ok(())
    }
}

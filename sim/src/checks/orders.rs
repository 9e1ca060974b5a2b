//! What each worker was told, and what it makes of it.

use super::Check;
use orbit_core::{
    model::*,
    state::Cluster,
    worker::{Action, Ledger, Op, Worker},
};
use std::collections::BTreeMap;

/// I37: whoever reads the endpoints of a service finds no task there that is being stopped. One whose end its
/// worker knows already was started again by somebody.
pub(crate) fn left_first(cluster: &Cluster, ledger: &Ledger, request: &Op) -> Check {
    let Op::Stop { name, .. } = request else { return Ok(()) };
    let Some(task) = task_of(name).and_then(|task| cluster.task(task)) else { return Ok(()) };
    let Some(workload) = cluster.workload(task.workload) else { return Ok(()) };
    let has_ended = ledger.tasks.get(&task.id).is_some_and(|remembered| remembered.end.is_some());
    // A node that hears of nobody stops it by itself; it may be heard all the same, where only the answers are lost.
    if task.desired == Desired::Running && cluster.spec_of(task).disconnect.fence == Fence::Timed {
        return Ok(());
    }
    let listed = cluster.endpoints(workload).iter().any(|endpoint| endpoint.id == task.id);
    match listed && !has_ended {
        true => Err(("I37", format!("{} is stopped and is an endpoint of {}", task.id, workload.name))),
        false => Ok(()),
    }
}

/// The task of a container of ours.
pub(super) fn task_of(name: &str) -> Option<TaskId> {
    name.rsplit('-').next().and_then(|id| id.parse().ok())
}

/// Remembers what each worker was told, to see that no older word is followed (I9), and that a task
/// that was told to stop is not started (I6) and has its delay before the signal (I37).
#[derive(Debug, Default)]
pub(crate) struct OrderWatch {
    /// By worker: the highest (epoch, term) that it followed.
    seen: BTreeMap<usize, (u32, u64)>,
    /// By worker and task: in which life, and the highest generation taken up.
    generations: BTreeMap<(usize, TaskId), (u32, u32)>,
    /// By worker and task: in which life, and when on its own clock it was first told to stop.
    told_to_stop: BTreeMap<(usize, TaskId), (u32, Time)>,
}

impl OrderWatch {
    /// After every step of a worker, with what it begins.
    ///
    /// `seen` is what its disk holds: what a crash took with it was never followed.
    pub fn look(
        &mut self,
        index: usize,
        life: u32,
        now: Time,
        seen: (u32, u64),
        worker: &Worker,
        actions: &[Action],
    ) -> Check {
        let before = self.seen.insert(index, seen).unwrap_or_default();
        if seen < before {
            return Err(("I9", format!("worker {index} followed {before:?}, then {seen:?}")));
        }
        for (task, generation, desired) in worker.orders() {
            let told = self.told_to_stop.get(&(index, task)).is_some_and(|(told_in, _)| *told_in == life);
            if desired == Desired::Stopped && !told {
                self.told_to_stop.insert((index, task), (life, now));
            }
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
                Op::Stop { name, .. } => {
                    // A node that hears of nobody has no time for that.
                    let order = task_of(name).and_then(|task| worker.order(task));
                    if order.is_none_or(|order| order.spec.disconnect.fence != Fence::Timed) {
                        self.delayed((index, life), now, worker, task_of(name))?;
                    }
                    continue;
                }
                _ => continue,
            };
            let task = task_of(name);
            match worker.orders().find(|(id, ..)| Some(*id) == task).map(|(_, _, desired)| desired) {
                Some(Desired::Running) => {}
                other => return Err(("I6", format!("{name} is begun on worker {index}, its order is {other:?}"))),
            }
        }
        Ok(())
    }

    /// I37: whoever watches the endpoints has the delay to hear that a task has left them. One that nobody
    /// wants, or that somebody started again after its end was known, has none.
    fn delayed(&self, (index, life): (usize, u32), now: Time, worker: &Worker, task: Option<TaskId>) -> Check {
        let has_ended = |task: &TaskId| worker.ledger().tasks.get(task).is_some_and(|known| known.end.is_some());
        let order = task.filter(|task| !has_ended(task)).and_then(|task| worker.order(task));
        let Some(order) = order.filter(|order| !order.ended) else { return Ok(()) };
        let told = self.told_to_stop.get(&(index, order.task)).filter(|(told_in, _)| *told_in == life);
        let delay = order.spec.container.stop.delay;
        match told {
            Some((_, told_at)) if now < *told_at + delay => {
                let found =
                    format!("{} was told to stop at {told_at} and is stopped at {now}, {delay} are due", order.task);
                Err(("I37", found))
            }
            _ => Ok(()),
        }
    }
}

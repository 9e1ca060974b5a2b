//! W: timed fences. A node that hears of nobody stops by itself what it may be replaced for, in time (I8).

use super::{Check, task_of};
use orbit_core::{manager::SessionId, model::*, state::Cluster, worker::Op};
use orbit_runtime::fake::FakeEngine;
use std::collections::{BTreeMap, BTreeSet};

/// Remembers when each worker was heard last, as far as it can know, and what it was told of fences: that
/// neither its link nor its ledger is asked.
#[derive(Debug, Default)]
pub struct FenceWatch {
    workers: BTreeMap<usize, Heard>,
    /// Tasks with a timed fence, as their orders say it.
    fenced: BTreeMap<TaskId, Span>,
    /// Those that were stopped by their node, and by nobody's order.
    stopped: BTreeSet<TaskId>,
    /// Tasks whose container a person started or froze, or of whose start the worker may not have heard: nothing is promised
    /// of them.
    excused: BTreeSet<TaskId>,
}

/// What the processes of a worker, between two boots of its machine, can know of its manager, in virtual milliseconds.
#[derive(Debug, Default)]
struct Heard {
    /// When the last message was sent of which it learned that it was heard; when the first began, where there was none.
    of_at: u64,
    /// When the present process began.
    began_at: u64,
    /// When each hello and each heartbeat was sent of which it has not learned that yet.
    hellos: BTreeMap<SessionId, u64>,
    heartbeats: BTreeMap<(SessionId, u64), u64>,
    /// What it has begun to stop.
    stopping: BTreeSet<TaskId>,
}

/// A process that begins has looked at its engine, and stops what is to be stopped, within this.
const FIRST_LOOK_MAX: Millis = Millis::secs(3);

#[derive(Clone, Copy, Debug)]
struct Span {
    /// After so long it is stopped, and not started.
    fenced_after: Millis,
    /// After so long it may be replaced.
    replace_after: Millis,
}

impl Span {
    /// When it is stopped at the soonest, by a clock that is a little faster.
    fn fenced_from(self, heard_of_at: u64) -> u64 {
        heard_of_at + self.fenced_after.0 - self.fenced_after.0 / Disconnect::DRIFT_PART
    }

    /// When it is stopped at the latest, by a clock that is a little slower.
    fn fenced_at(self, heard_of_at: u64) -> u64 {
        heard_of_at + self.fenced_after.0 + self.fenced_after.0 / Disconnect::DRIFT_PART
    }

    /// For people.
    fn of(self, worker: usize, heard_of_at: u64) -> String {
        let Span { fenced_after, replace_after } = self;
        format!(
            "and worker {worker} was heard of at {heard_of_at}: it is to stop it after {fenced_after}, and may be replaced after \
             {replace_after}"
        )
    }
}

impl FenceWatch {
    /// A process of the worker begins.
    pub fn begins(&mut self, worker: usize, now: u64) {
        let of_at = self.workers.get(&worker).map_or(now, |before| before.of_at);
        self.workers.insert(worker, Heard { of_at, began_at: now, ..Heard::default() });
    }

    /// Its machine was started anew, and nothing runs on it.
    pub fn rebooted(&mut self, worker: usize) {
        self.workers.remove(&worker);
    }

    /// Whether the fence of everything that runs there passes after `then`.
    pub fn pass_after(&self, worker: usize, engine: &FakeEngine, then: u64) -> bool {
        let Some(heard) = self.workers.get(&worker) else { return true };
        let running = engine.containers().filter(|container| container.is_running());
        let mut spans = running.filter_map(|container| self.fenced.get(&container.identity?.task));
        // What is written down may lag behind by a quarter.
        spans.all(|span| heard.of_at + span.fenced_after.0 / 2 > then)
    }

    /// The worker sends something.
    pub fn sent(&mut self, worker: usize, session: SessionId, message: &ToManager, now: u64) {
        let heard = self.workers.entry(worker).or_default();
        match message {
            ToManager::Register(_) => _ = heard.hellos.insert(session, now),
            ToManager::Heartbeat { seq, .. } => _ = heard.heartbeats.insert((session, *seq), now),
            ToManager::Report { .. } | ToManager::ProbeAck | ToManager::Prefetched { .. } => {}
        }
    }

    /// The worker hears something: that it was heard, and what is wanted of it.
    pub fn hears(&mut self, worker: usize, session: SessionId, message: &ToWorker) {
        let heard = self.workers.entry(worker).or_default();
        let (sent_at, assigned) = match message {
            ToWorker::HeartbeatAck { seq } => (heard.heartbeats.remove(&(session, *seq)), None),
            ToWorker::Welcome(welcome) => (heard.hellos.remove(&session), Some(&welcome.assigned)),
            ToWorker::Assigned(assigned) => (None, Some(assigned)),
            _ => (None, None),
        };
        heard.of_at = heard.of_at.max(sent_at.unwrap_or_default());
        for order in assigned.into_iter().flat_map(|assigned| &assigned.tasks) {
            let Disconnect { replace_after, .. } = order.spec.disconnect;
            if let (Some(fenced_after), Some(replace_after)) = (order.spec.fenced_after(), replace_after) {
                self.fenced.insert(order.task, Span { fenced_after, replace_after });
            }
        }
    }

    /// Nothing is promised of a task, or not any more.
    pub fn excuse(&mut self, task: Option<TaskId>) {
        self.excused.extend(task);
    }

    /// I8: before a worker asks its engine for something: what is fenced is not started. `is_told`: whether a task was told to
    /// stop.
    ///
    /// # Errors
    /// The task that is.
    pub fn asks(&mut self, worker: usize, request: &Op, is_told: impl Fn(TaskId) -> bool, now: u64) -> Check {
        let heard = self.workers.entry(worker).or_default();
        match request {
            Op::Stop { name, .. } => {
                heard.stopping.extend(task_of(name));
                // Nobody wants it any more where it is too soon for that.
                let passed = |span: &Span| now >= span.fenced_from(heard.of_at);
                let by_itself = |task: &TaskId| self.fenced.get(task).is_some_and(passed) && !is_told(*task);
                self.stopped.extend(task_of(name).filter(by_itself));
            }
            Op::Start(name) => {
                let task = task_of(name).and_then(|task| Some((task, self.fenced.get(&task)?)));
                if let Some((task, span)) = task.filter(|(_, span)| now > span.fenced_at(heard.of_at)) {
                    return Err(("I8", format!("{task} is started, {}", span.of(worker, heard.of_at))));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// I8: before a worker writes down how a task has ended: that it was fenced is why, whatever process looks at it.
    ///
    /// # Errors
    /// The task of which something else is said.
    pub fn ended(&mut self, report: &TaskReport) -> Check {
        let reason = report.end.as_ref().map(|end| end.reason);
        // Once: what is said of a task that is remembered no more changes nothing.
        match self.stopped.remove(&report.task) && !matches!(reason, Some(Reason::Fenced | Reason::Vanished)) {
            true => Err(("I8", format!("{} was fenced, and is said to have ended: {reason:?}", report.task))),
            false => Ok(()),
        }
    }

    /// I8: whenever something happens to a worker that runs: what is fenced is being stopped, and what may have been replaced
    /// has ended. `steady_at`: since when it and its engine have done what they are told without delay.
    ///
    /// # Errors
    /// The first task that is too long there.
    pub fn look(&self, worker: usize, engine: &FakeEngine, steady_at: u64, now: u64) -> Check {
        let Some(heard) = self.workers.get(&worker) else { return Ok(()) };
        let since = heard.of_at.max(steady_at);
        if now <= since + Timing::default().lease.0 {
            return Ok(()); // no fence is shorter
        }
        let running = engine.containers().filter(|container| container.is_running() && !container.paused);
        for task in running.filter_map(|container| Some(container.identity?.task)) {
            let span = self.fenced.get(&task).filter(|_| !self.excused.contains(&task));
            let is_late = |span: &&Span| {
                let begun = heard.stopping.contains(&task);
                let begins_by = span.fenced_at(since).max(heard.began_at + FIRST_LOOK_MAX.0);
                let stopping_max = span.replace_after.0 - span.fenced_after.0;
                let ends_by = (since + span.replace_after.0).max(heard.began_at + FIRST_LOOK_MAX.0 + stopping_max);
                now > ends_by || (!begun && now > begins_by)
            };
            if let Some(span) = span.filter(is_late) {
                return Err(("I8", format!("{task} runs, {}", span.of(worker, heard.of_at))));
            }
        }
        Ok(())
    }
}

/// I7, W: after a node was forgotten: what its fence was to stop has ended by then. `engine` is the one of its worker, where
/// that and it do what they are told; what a person started is `excused`.
pub(crate) fn forgotten(cluster: &Cluster, entry: &Entry, engine: &FakeEngine, excused: &BTreeSet<TaskId>) -> Check {
    let of_it = |id: TaskId| {
        let task = cluster.task(id).filter(|task| task.state == TaskState::Lost && task.ended_at == Some(entry.at))?;
        (cluster.spec_of(task).disconnect.fence == Fence::Timed && !excused.contains(&id)).then_some(id)
    };
    let running = engine.containers().filter(|container| container.is_running() && !container.paused);
    match running.filter_map(|container| of_it(container.identity?.task)).next() {
        Some(task) => Err(("I7", format!("{task} was forgotten with its node, and runs: its fence is timed"))),
        None => Ok(()),
    }
}

//! `apply`: the only function that changes the replicated state.
//!
//! It is a function of the state and the entry. It repeats no decision of the leader, but it trusts
//! none: it checks every part of a plan again, with the scheduler's own filters, because the state may
//! have changed since the plan was made. It refuses a part that has become stale and reports that in the
//! outcome; the planner then looks at that workload again.

mod nodes;
mod plan;
mod rollout;
mod volumes;
mod workloads;

use super::{Cluster, cluster::drop_unused_versions};
use crate::{model::*, reconciler};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use std::sync::Arc;

/// How long a host port is quarantined after a stranger was found to hold it.
pub const PORT_REST: Millis = Millis::secs(60);
/// So many tasks in a row that could not be started on a node may be its fault, and so long it is avoided then.
pub const FAILED_STARTS: u32 = 3;
/// See [`FAILED_STARTS`].
pub const AVOIDED_FOR: Millis = Millis::secs(60);
/// An end is dated back by this much at most. An engine that takes longer to let its worker look has trouble of its
/// own.
pub const ENDED_AGO_MAX: Millis = Millis::secs(1);

impl Cluster {
    /// Applies the next entry.
    ///
    /// # Panics
    /// If the entry is not the next one. The storage guarantees a log without gaps.
    pub fn apply(&mut self, entry: &Entry) -> Outcome {
        assert_eq!(entry.index, self.index + 1, "the log has no gaps");
        self.index = entry.index;
        self.term = entry.term;
        self.at = self.at.max(entry.at);
        self.wall_ms = entry.wall_ms;
        self.actor = entry.actor;
        let mut touched = Touched::default();
        self.changes.clear();
        let answer = self.apply_command(&entry.command, &mut touched);
        self.history.finish_entry(self.index, self.at, self.actor);
        Outcome { answer, touched: touched.finish() }
    }

    fn apply_command(&mut self, command: &Command, touched: &mut Touched) -> Result<Answer, Rejection> {
        match command {
            Command::Init { cluster } => {
                self.id.get_or_insert(*cluster);
                Ok(Answer::Done)
            }
            Command::Barrier { seed } => {
                self.seed = *seed;
                Ok(Answer::Done)
            }
            Command::Put(put) => self.apply_put(put, touched),
            Command::Scale { name, replicas, condition } => self.apply_scale(name, *replicas, *condition, touched),
            Command::Restart { name, condition } => self.apply_restart(name, *condition, touched),
            Command::Delete { kind, name, condition } => self.apply_delete(*kind, name, *condition, touched),
            Command::StopTask { task } => self.apply_stop_task(*task, touched),
            Command::Rollout { name, order, condition } => self.apply_rollout(name, *order, *condition, touched),
            Command::Register(registration) => self.apply_register(registration, touched),
            Command::Reach(changes) => {
                changes.iter().for_each(|change| self.apply_reach_change(change, touched));
                Ok(Answer::Done)
            }
            Command::Disks(changes) => {
                changes.iter().for_each(|change| self.apply_disk_change(change, touched));
                Ok(Answer::Done)
            }
            Command::Reports(reports) => {
                reports.iter().for_each(|reports| self.apply_reports(reports, touched));
                Ok(Answer::Done)
            }
            Command::Forget { name } => self.apply_forget(name, touched),
            Command::SetAvailability { name, order } => self.apply_set_availability(name, *order, touched),
            Command::RemoveVolume { name } => self.apply_remove_volume(name, touched),
            Command::SettleUnknown { adopt } => self.apply_settle_unknown(*adopt, touched),
            Command::PrefetchFailed { node, workload, version, end } => {
                self.apply_prefetch_failed(*node, *workload, *version, end, touched);
                Ok(Answer::Done)
            }
            Command::Plan(plan) => {
                self.apply_plan(plan, touched);
                Ok(Answer::Done)
            }
        }
    }

    fn uid(&self) -> Uid {
        Uid { epoch: self.epoch, index: self.index }
    }
    fn task_id(&self, ordinal: u32) -> TaskId {
        TaskId { epoch: self.epoch, index: self.index, ordinal }
    }
}

// The history, for people.
impl Cluster {
    fn record(&mut self, what: What, subject: Subject, task: Option<TaskId>, node: Option<NodeId>, message: String) {
        let (index, at, actor) = (self.index, self.at, self.actor);
        let node_name =
            node.and_then(|node| self.node(node)).map_or_else(Arc::default, |it| it.info.name.as_str().into());
        let message = cut(message);
        self.history.record(HistoryEvent { index, at, actor, what, subject, task, node, node_name, message });
    }
    fn record_workload(&mut self, what: What, uid: Uid, message: impl Into<String>) {
        let subject = self.workloads[&uid].subject();
        self.record(what, subject, None, None, message.into());
    }
    fn record_task(&mut self, what: What, key: TaskKey, message: impl Into<String>) {
        let task = self.tasks.at(key);
        let (id, node, subject) = (task.id, task.node, self.workloads[&task.workload].subject());
        self.record(what, subject, Some(id), node, message.into());
    }
    fn record_node(&mut self, what: What, id: NodeId) {
        self.record(what, Subject::Node, None, Some(id), String::new());
    }
}

/// `1 replica`, `3 replicas`.
fn count(number: u32, of: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {of}{s}")
}

// The lives of tasks.
impl Cluster {
    /// Ends a task. What it held becomes free, and its slot counts the failure in the same entry
    /// (invariant I13). A host port that a stranger was found to hold is quarantined.
    fn end_task(&mut self, key: TaskKey, state: TaskState, end: End, ended_at: Time, touched: &mut Touched) {
        let (reason, named) = (end.reason, end.port);
        let port_taken = reason == Reason::PortTaken;
        let said = end.to_string();
        if !self.advance_task(key, state, Some(end), ended_at) {
            return;
        }
        let task = self.tasks.at(key);
        let (uid, id, node) = (task.workload, task.id, task.node);
        let since = task.serving_since;
        // The failure of an unhealthy task was counted when it became unhealthy.
        let counts = state != TaskState::Lost && reason != Reason::Fenced && task.probed.health != Some(false);
        // The port that the engine named. If it named none, it may mean any of them.
        let named = named.filter(|port| task.host_ports.contains(port));
        let is_taken = |port: &u16| port_taken && named.is_none_or(|named| named == *port);
        let ports = Vec::from_iter(task.host_ports.iter().copied().filter(is_taken));
        if let Some(node) = node {
            let until = self.at + PORT_REST;
            let quarantined = &mut self.nodes[node].quarantined_ports;
            quarantined.retain(|_, rests_until| *rests_until > self.at);
            quarantined.extend(ports.into_iter().map(|port| (port, until)));
            touched.nodes.push(node);
            touched.tasks.push((node, id));
        }
        touched.workloads.push(uid);
        let mut next = String::new();
        let wait = if counts { self.count_failure(key, since, ended_at) } else { None };
        if let Some(wait) = wait
            && self.workloads[&uid].is_tried_again(self.tasks.at(key))
        {
            next = format!("; tried again in {} s", wait.0.div_ceil(1000));
        }
        if let Some(what) = What::end(state) {
            self.record_task(what, key, format!("{said}{next}"));
        }
        if let Some(node) = node.filter(|_| self.tasks.at(key).could_not_start()) {
            self.count_failed_start(node, key, &said);
        }
        self.refresh_finished(uid);
        node.into_iter().for_each(|node| self.record_if_drained(node));
    }

    /// A task could not be started on a node. Several in a row are the node's fault where two workloads say so, or where
    /// the same version runs elsewhere; a workload that starts nowhere is its own fault.
    fn count_failed_start(&mut self, id: NodeId, key: TaskKey, said: &str) {
        let (workload, version) = (self.tasks.at(key).workload, self.tasks.at(key).version);
        let failed = &mut self.nodes[id].failed_starts;
        failed.count = failed.count.saturating_add(1);
        if failed.workloads.len() < 2 {
            failed.workloads.insert(workload);
        }
        let (count, several) = (failed.count, failed.workloads.len() > 1);
        if count < FAILED_STARTS || self.nodes[id].avoided_until(self.at).is_some() {
            return;
        }
        let runs_elsewhere =
            |task: &Task| task.version == version && task.state == TaskState::Running && task.node != Some(id);
        let slots = &self.workloads[&workload].slots;
        if several || slots.iter().flat_map(|slot| self.attempts(slot)).any(runs_elsewhere) {
            self.nodes[id].failed_starts.avoided_until = Some(self.at + AVOIDED_FOR);
            let message = format!(
                "{count} tasks in a row could not be started on it, the last: {said}; for {} s they go elsewhere where they can",
                AVOIDED_FOR.0 / 1000
            );
            self.record(What::Avoided, Subject::Node, None, Some(id), message);
            self.changed_node(id);
        }
    }

    /// Counts a failure of the task's slot and returns the backoff that follows. Returns `None` if the failure does not
    /// count: a task that was told to stop, or that is not of the slot's target version, says nothing about that
    /// version.
    fn count_failure(&mut self, key: TaskKey, serving_since: Option<Time>, at: Time) -> Option<Millis> {
        if !self.counts_failures(key) {
            return None;
        }
        self.end_failure_streak(key, serving_since, at);
        let (task, seed) = (self.tasks.at(key), self.seed);
        let (id, version, restart) = (task.id, task.version, self.spec_of(task).restart);
        let slot = self.slot_of_mut(key);
        (slot.failures, slot.version) = (slot.failures(version).saturating_add(1), version);
        let delay = restart.delay(slot.failures);
        let wait = Millis(delay.0.saturating_add(jitter(seed, id, restart.jitter_max(delay).0)));
        slot.not_before = at + wait;
        let workload = self.workloads.get_mut(&self.tasks.at(key).workload).expect("just found");
        let is_current = workload.version == version;
        let rollout = workload.rollout.as_mut().filter(|rollout| is_current && rollout.state == RolloutState::Running);
        if let Some(rollout) = rollout {
            rollout.failures = rollout.failures.saturating_add(1);
        }
        Some(wait)
    }

    /// Whether the end or the health of a task says something about the target version of its slot.
    fn counts_failures(&self, key: TaskKey) -> bool {
        let task = self.tasks.at(key);
        let shall_be = reconciler::target(self, &self.workloads[&task.workload], task.slot);
        shall_be == task.version && task.desired == Desired::Running
    }

    /// Ends the failure streak of a slot if its task, which no longer serves, had served for `reset_after` since the backoff
    /// of the last failure: an attempt may fail while an older one, out of reach, serves.
    fn end_failure_streak(&mut self, key: TaskKey, serving_since: Option<Time>, at: Time) {
        let task = self.tasks.at(key);
        let (version, reset_after) = (task.version, self.spec_of(task).restart.reset_after);
        let slot = self.slot_of_mut(key);
        if serving_since.is_some_and(|since| at.since(since.max(slot.not_before(version))) >= reset_after) {
            slot.failures = 0;
        }
    }

    fn slot_of_mut(&mut self, key: TaskKey) -> &mut Slot {
        let (uid, slot) = (self.tasks.at(key).workload, self.tasks.at(key).slot);
        &mut self.workloads.get_mut(&uid).expect("a task's workload lives as long as it").slots[slot as usize]
    }

    /// Tells a task to stop. A task that was never placed ends at once, because nothing of it runs.
    fn stop_task(&mut self, key: TaskKey, touched: &mut Touched) {
        let task = self.tasks.at_mut(key);
        if !task.is_live() {
            return;
        }
        task.desired = Desired::Stopped;
        task.generation += 1;
        let (id, node) = (task.id, task.node);
        touched.workloads.push(task.workload);
        self.changed_task(key);
        match node {
            Some(node) => {
                touched.tasks.push((node, id));
                self.record_task(What::Stopping, key, "");
            }
            None => {
                let end = End::new(Reason::Stopped, "stopped before it had a node");
                self.end_task(key, TaskState::Stopped, end, self.at, touched);
            }
        }
    }
}

/// Draws a number from 0 to `most`. It depends on the seed of the term and on the task's ID alone.
fn jitter(seed: u64, task: TaskId, most: u64) -> u64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ task.index.rotate_left(32));
    rng.set_stream(u64::from(task.epoch) << 32 | u64::from(task.ordinal));
    rng.next_u64() % (most + 1)
}

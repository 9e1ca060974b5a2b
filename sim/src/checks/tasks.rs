//! S: the lives of tasks and the history of objects, entry by entry.

use super::{
    Check,
    rollouts::{RolloutWatch, is_of, shall_be},
};
use orbit_core::{
    model::*,
    state::{Cluster, PORT_REST},
};
use std::collections::{BTreeMap, BTreeSet};

/// Remembers each task's last state, to see that it only advances (I6) and never moves (I5), and how
/// often each slot's tasks ended, to see that the next one waits long enough (I27).
#[derive(Debug, Default)]
pub struct TaskWatch {
    seen: BTreeMap<TaskId, (TaskState, Desired, Option<NodeId>)>,
    /// Tasks of no good health, and those that serve, with since when.
    unhealthy: BTreeSet<TaskId>,
    serving: BTreeMap<TaskId, Time>,
    revisions: BTreeMap<Uid, u64>,
    slots: BTreeMap<(Uid, u32), Row>,
    /// Ports that were found to be held by a stranger, and until when they rest.
    quarantined: BTreeMap<(NodeId, u16), Time>,
    rollouts: RolloutWatch,
    /// The last entry that was looked at, and its time.
    index: u64,
    at: Time,
}

/// What a slot has been through: reckoned here from the tasks alone.
#[derive(Clone, Copy, Debug)]
struct Row {
    version: u32,
    /// The newest attempt.
    newest: TaskId,
    failures: u32,
    /// The backoff without its jitter, and with it as it was last seen.
    not_before: Time,
    waits_until: Time,
}

/// I45: right after a service was given another number of replicas: no slot that goes serves while one that stays does not.
pub(crate) fn kept(cluster: &Cluster, entry: &Entry) -> Check {
    let name = match &entry.command {
        Command::Scale { name, .. } => name,
        Command::Put(put) if put.definition.kind == Kind::Service => &put.definition.name,
        _ => return Ok(()),
    };
    let Some(workload) = cluster.workload_named(Kind::Service, name) else { return Ok(()) };
    let mut now = cluster.history().iter().rev().take_while(|event| event.index == cluster.index);
    if !now.any(|event| event.what == What::Scaled && is_of(event, workload)) {
        return Ok(());
    }
    let is_reached = |task: &Task| cluster.node_of(task).is_some_and(Node::is_ready);
    let serves = |slot: &Slot| cluster.attempts(slot).any(|task| task.is_live() && task.serves() && is_reached(task));
    let (kept, surplus) = workload.slots.split_at(workload.slots.len().min(workload.wanted() as usize));
    match !kept.iter().all(serves) && surplus.iter().any(serves) {
        true => Err(("I45", format!("a slot of {name} that serves goes, and one that does not stays"))),
        false => Ok(()),
    }
}

impl TaskWatch {
    /// Slots may change places when there are to be fewer.
    fn follow_moves(&mut self, cluster: &Cluster) {
        let moved =
            |(_, slot): &(Uid, u32), row: &mut Row| cluster.task(row.newest).is_some_and(|newest| newest.slot != *slot);
        let moved: Vec<((Uid, u32), Row)> = self.slots.extract_if(.., moved).collect();
        let to = |((uid, _), row): ((Uid, u32), Row)| Some(((uid, cluster.task(row.newest)?.slot), row));
        self.slots.extend(moved.into_iter().filter_map(to));
    }

    /// S: after every applied entry.
    ///
    /// # Errors
    /// The first task that went back, moved or came too early.
    pub fn look(&mut self, cluster: &Cluster) -> Check {
        if cluster.index < self.index {
            return Ok(()); // a manager that is still replaying
        }
        // Entries that were replayed after a crash were not looked at: what is new since may be as old as the last look.
        let gap = cluster.index != self.index + 1;
        let earliest = if gap { self.at } else { cluster.at };
        (self.index, self.at) = (cluster.index, cluster.at);
        self.follow_moves(cluster);
        for workload in cluster.workloads() {
            let uid = workload.uid;
            // What kept the version before waiting says nothing about this one, also where it returns.
            if self.rollouts.has_turned(workload) {
                self.slots.retain(|(other, _), _| *other != uid);
            }
        }
        for task in cluster.tasks() {
            self.probed(cluster, task, earliest);
            let now = (task.state, task.desired, task.node);
            let Some(before) = self.seen.insert(task.id, now) else {
                self.begun(cluster, task)?;
                self.placed(task, cluster.at)?;
                if task.state.is_terminal() {
                    self.ended(cluster, task);
                }
                continue;
            };
            if before == now {
                continue;
            }
            let (state, desired, node) = before;
            let forward = state == task.state || state.may_become(task.state);
            if !forward || desired > task.desired {
                return Err(("I6", format!("{} went from {state} to {}", task.id, task.state)));
            }
            if node.is_some() && node != task.node {
                return Err(("I5", format!("{} moved from {node:?} to {:?}", task.id, task.node)));
            }
            if node.is_none() {
                self.placed(task, cluster.at)?;
            }
            if task.state.is_terminal() && !state.is_terminal() {
                self.ended(cluster, task);
            }
            if task.state == TaskState::Stopped && task.desired == Desired::Running {
                return Err(("I6", format!("{} has ended as stopped, and nobody told it to", task.id)));
            }
        }
        // A slot's history goes with its newest attempt.
        let newest = |uid: Uid, number: u32| {
            let slot = cluster.workload(uid).and_then(|workload| workload.slots.get(number as usize));
            slot.and_then(|slot| cluster.attempts(slot).next()).map(|task| task.id)
        };
        self.slots.retain(|(uid, slot), row| {
            let before = row.newest;
            row.newest = newest(*uid, *slot).unwrap_or(TaskId::MIN);
            row.newest >= before
        });
        self.patient(cluster)?;
        self.rollouts.look(cluster, &self.serving, gap)?;
        self.revisions(cluster)
    }

    /// I27: a slot waits for the backoff of its own failures, and for nothing else.
    fn patient(&mut self, cluster: &Cluster) -> Check {
        for workload in cluster.workloads() {
            for (number, slot) in (0..).zip(&workload.slots) {
                let version = shall_be(cluster, workload, number);
                let mut row = self.slots.get_mut(&(workload.uid, number)).filter(|row| row.version == version);
                let delay = |row: &Row| workload.spec(row.version).map_or(Millis(0), |s| s.restart.delay(row.failures));
                let percent = workload.spec(version).and_then(|spec| spec.restart.jitter_percent);
                let most = |delay: Millis| percent.map_or(delay.0 / 8, |percent| delay.0 * u64::from(percent) / 100);
                let jitter = |row: &Row| Millis(most(delay(row)) + 1);
                let latest = row.as_ref().map_or(Time(0), |row| row.not_before + jitter(row));
                // What is over by now holds up nobody, whichever version the slot shall be of since.
                let until = slot.not_before(version);
                if until > latest.max(cluster.at) {
                    let name = &workload.name;
                    return Err(("I27", format!("slot {number} of {name} waits until {until}, not {latest}")));
                }
                row.iter_mut().for_each(|row| row.waits_until = until);
            }
        }
        Ok(())
    }

    /// I17: a port that somebody else was found to hold is left alone for a while.
    fn placed(&self, task: &Task, at: Time) -> Check {
        let Some(node) = task.node else { return Ok(()) };
        let rests = |port: &&u16| self.quarantined.get(&(node, **port)).is_some_and(|until| *until > at);
        match task.host_ports.iter().find(rests) {
            Some(port) => Err(("I17", format!("{} is given port {port} of {node:?}, which rests", task.id))),
            None => Ok(()),
        }
    }

    /// I27: no attempt before the backoff of those before it has passed.
    fn begun(&mut self, cluster: &Cluster, task: &Task) -> Check {
        self.followed(cluster, task)?;
        let Some(row) = self.slots.get(&(task.workload, task.slot)) else { return Ok(()) };
        if row.version == task.version && task.created_at < row.not_before {
            let Row { failures, not_before, .. } = row;
            let name = cluster.workload(task.workload).map_or("?", |workload| &workload.name);
            let at = task.created_at;
            let found = format!("{} of {name} was made at {at}, {failures} failures allow it at {not_before}", task.id);
            return Err(("I27", found));
        }
        Ok(())
    }

    /// I6: a single run that is over, or that must not be repeated, is not followed by another.
    fn followed(&self, cluster: &Cluster, task: &Task) -> Check {
        let Some(workload) = cluster.workload(task.workload).filter(|w| w.kind == Kind::Task) else { return Ok(()) };
        let slot = workload.slots.get(task.slot as usize);
        let before = slot.and_then(|slot| cluster.attempts(slot).find(|before| before.id < task.id));
        let never = workload.current().spec.restart.policy == RestartPolicy::Never;
        let over = |t: &&Task| never || t.state == TaskState::Complete || t.desired == Desired::Stopped;
        match before.filter(over) {
            Some(before) => Err(("I6", format!("{} of {} follows {}", task.id, workload.name, before.id))),
            None => Ok(()),
        }
    }

    /// That its health fails counts as a failure, once.
    fn probed(&mut self, cluster: &Cluster, task: &Task, earliest: Time) {
        let since = self.serving.get(&task.id).copied();
        if task.serves() {
            self.serving.entry(task.id).or_insert(earliest);
        } else if task.state == TaskState::Running {
            self.serving.remove(&task.id);
            // A long time of good health ends the row, however it ended itself.
            if counts(cluster, task) && self.is_long(cluster, task, since, cluster.at) {
                self.slots.remove(&(task.workload, task.slot));
            }
        }
        if task.is_unhealthy() && self.unhealthy.insert(task.id) {
            self.failed(cluster, task, since, cluster.at);
        } else if !task.is_unhealthy() && task.state == TaskState::Running {
            self.unhealthy.remove(&task.id);
        }
    }

    fn ended(&mut self, cluster: &Cluster, task: &Task) {
        if let (Some(end), Some(node)) = (&task.end, task.node)
            && end.reason == Reason::PortTaken
        {
            let until = task.ended_at.unwrap_or_default() + PORT_REST;
            let named = end.port.filter(|port| task.host_ports.contains(port));
            let taken = task.host_ports.iter().filter(|port| named.is_none_or(|named| named == **port));
            self.quarantined.extend(taken.map(|port| ((node, *port), until)));
        }
        let since = self.serving.remove(&task.id);
        let fenced = task.end.as_ref().is_some_and(|end| end.reason == Reason::Fenced);
        if task.state != TaskState::Lost && !fenced && !self.unhealthy.remove(&task.id) {
            self.failed(cluster, task, since, task.ended_at.unwrap_or_default());
        }
    }

    fn failed(&mut self, cluster: &Cluster, task: &Task, serving_since: Option<Time>, ended_at: Time) {
        if !counts(cluster, task) {
            return;
        }
        let restart = cluster.spec_of(task).restart;
        let is_long = self.is_long(cluster, task, serving_since, ended_at);
        let (not_before, waits_until) = (Time(0), Time(0));
        let none = Row { version: task.version, newest: task.id, failures: 0, not_before, waits_until };
        let row = self.slots.entry((task.workload, task.slot)).or_insert(none);
        if row.version != task.version || is_long {
            *row = none;
        }
        row.failures += 1;
        row.not_before = ended_at + restart.delay(row.failures);
        row.waits_until = row.not_before;
    }

    /// Whether it has served for so long since the failures of its slot that they count no more.
    fn is_long(&self, cluster: &Cluster, task: &Task, serving_since: Option<Time>, until: Time) -> bool {
        let row = self.slots.get(&(task.workload, task.slot)).filter(|row| row.version == task.version);
        let rested = row.map_or(Time(0), |row| row.waits_until);
        let reset_after = cluster.spec_of(task).restart.reset_after;
        serving_since.is_some_and(|since| until.since(since.max(rested)) >= reset_after)
    }

    /// I11: an object's revision only grows.
    fn revisions(&mut self, cluster: &Cluster) -> Check {
        for workload in cluster.workloads() {
            let before = self.revisions.insert(workload.uid, workload.revision).unwrap_or_default();
            if workload.revision < before {
                return Err(("I11", format!("{} went from revision {before} to {}", workload.name, workload.revision)));
            }
        }
        Ok(())
    }
}

/// Whether a failure of this task is one of its slot.
fn counts(cluster: &Cluster, task: &Task) -> bool {
    let shall_be = cluster.workload(task.workload).map(|workload| shall_be(cluster, workload, task.slot));
    task.desired == Desired::Running && shall_be == Some(task.version)
}

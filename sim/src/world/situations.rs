//! What is noticed for the "sometimes" table.

mod plans;

use super::*;
use crate::tally::Activity;
use orbit_core::{reconciler::Outage, state::Cluster, worker::LABEL_TASK};
use plans::notice_plan;

impl World {
    /// A fault strikes: it is counted, with what the world is doing.
    pub(super) fn tally_fault(&mut self, input: &Input) {
        if let Some(fault) = input.fault() {
            let activities = self.activities();
            self.report.tally.fault(fault, activities);
        }
    }

    fn activities(&mut self) -> Activities {
        let mut activities = Activities::default();
        let Some(machine) = self.managers[ONLY].machine.as_ref().filter(|machine| machine.is_ready()) else {
            activities.note(Activity::Recovering, true);
            return activities;
        };
        let living = self.workers.iter().filter(|worker| worker.machine.is_some()).count();
        activities.note(Activity::Recovering, living < self.workers.len());
        activities.note(Activity::Reconnecting, machine.connected().count() < living);
        let cluster = machine.cluster();
        for task in cluster.tasks().filter(|task| !task.state.is_terminal()) {
            activities.note(Activity::Stopping, task.desired == Desired::Stopped);
            activities.note(Activity::Deploying, task.is_live() && task.state != TaskState::Running);
        }
        let serves = |workload: &Workload| {
            let runs = |slot: &Slot| cluster.attempts(slot).any(|t| t.is_live() && t.state == TaskState::Running);
            workload.slots.len() == workload.replicas as usize && workload.slots.iter().all(runs)
        };
        self.client
            .scaling
            .retain(|name| cluster.workload_named(Kind::Service, name).is_some_and(|workload| !serves(workload)));
        activities.note(Activity::Scaling, !self.client.scaling.is_empty());
        activities.or_idle()
    }

    /// Before an entry is applied.
    pub(super) fn notice_entry(&mut self, entry: &Entry) {
        let Some(machine) = &self.managers[ONLY].machine else { return };
        let cluster = machine.cluster();
        if matches!(entry.command, Command::Reach(_) | Command::Register(_) | Command::Forget { .. }) {
            self.plans.before_nodes_change(self.now, cluster, machine.timing().lease);
        }
        let tally = &mut self.report.tally;
        match &entry.command {
            Command::Reports(nodes) => {
                for end in nodes.iter().flat_map(|it| &it.reports).filter_map(|report| report.end.as_ref()) {
                    if end.message.contains("is not on this machine any more") {
                        tally.reach(Situation::VolumeGone);
                    }
                    if end.message.contains("the operator of this node allows") {
                        tally.reach(Situation::NotAllowed);
                    }
                    tally.reach(match end.reason {
                        Reason::Vanished => Situation::Vanished,
                        Reason::Killed => Situation::Killed,
                        Reason::OutOfMemory => Situation::OutOfMemory,
                        Reason::PortTaken => Situation::PortTaken,
                        Reason::PullFailed => Situation::PullFailed,
                        Reason::PullTimeout => Situation::PullTimeout,
                        Reason::StartFailed => Situation::StartFailed,
                        Reason::CreateFailed => Situation::CreateFailed,
                        Reason::Fenced => Situation::FencedByNode,
                        Reason::Stopped if end.exit_code.is_none() => Situation::StoppedUnstarted,
                        _ => continue,
                    });
                }
            }
            Command::Plan(plan) => notice_plan(tally, cluster, plan, entry.at),
            Command::Reach(changes) => {
                let replaced = |id: TaskId| {
                    let task = cluster.task(id)?;
                    let slot = cluster.workload(task.workload)?.slots.get(task.slot as usize)?;
                    let mut newer = cluster.attempts(slot).take_while(|newer| newer.id != id);
                    Some(task.is_live() && newer.any(|newer| newer.version == task.version))
                };
                for change in changes.iter().filter(|change| change.reach != Reach::Reachable) {
                    let node = cluster.node(change.node).filter(|node| node.is_ready());
                    if node.into_iter().flat_map(Node::tasks).any(|id| replaced(id) == Some(true)) {
                        tally.reach(Situation::SilentAgain);
                    }
                }
                for change in changes.iter().filter(|change| change.reach == Reach::Reachable) {
                    let tasks = cluster.node(change.node).into_iter().flat_map(Node::tasks);
                    if tasks.into_iter().any(|id| is_superseded(cluster, id)) {
                        tally.reach(Situation::OriginalReturned);
                    }
                }
            }
            Command::Register(registration) => {
                if self.forgotten > 0 && cluster.node_named(&registration.info.name).is_none() {
                    tally.reach(Situation::ForgottenReturned);
                }
                let node = cluster.node_named(&registration.info.name);
                if node.into_iter().flat_map(Node::tasks).any(|id| is_superseded(cluster, id)) {
                    tally.reach(Situation::OriginalReturned);
                }
            }
            Command::Put(put) => {
                let held =
                    |w: &Workload| w.rollout.is_some_and(|it| it.is_held()) && *w.current().spec != put.definition.spec;
                if cluster.workload_named(put.definition.kind, &put.definition.name).is_some_and(held) {
                    tally.reach(Situation::HeldSuperseded);
                }
                let deleting = |w: &Workload| w.deleting && *w.name == *put.definition.name;
                if cluster.workloads().any(deleting) {
                    tally.reach(Situation::NameReused);
                }
            }
            _ => {}
        }
    }

    /// After an entry was applied.
    pub(super) fn notice_state(&mut self, entry: &Entry) {
        let Some(machine) = &self.managers[ONLY].machine else { return };
        let cluster = machine.cluster();
        let tally = &mut self.report.tally;
        let is_now = |event: &&orbit_core::model::HistoryEvent| event.index == entry.index;
        for event in cluster.history().iter().rev().take_while(is_now) {
            let Subject::Workload(_, uid, _) = event.subject else { continue };
            let taken_back = cluster.workload(uid).and_then(|w| w.rollout).is_some_and(|it| it.failed.is_some());
            let situation = match event.what {
                What::Canary => {
                    if cluster.nodes().any(|node| node.silent_since().is_some()) {
                        tally.reach(Situation::CanaryAndLoss);
                    }
                    Situation::CanaryWaits
                }
                What::Promoted => Situation::Promoted,
                What::Paused => Situation::RolloutPaused,
                What::Resumed => Situation::RolloutResumed,
                What::RolloutFailed if taken_back => Situation::RollbackFailed,
                What::RolloutFailed => Situation::RolloutStood,
                What::RolledBack => Situation::RolledBack,
                What::RolledOut if taken_back => Situation::RolledBackDone,
                What::Undone => Situation::Undone,
                What::Resolved => Situation::Resolved,
                _ => continue,
            };
            tally.reach(situation);
        }
        match &entry.command {
            Command::Plan(plan) => {
                let made = |(ordinal, _): (usize, &Create)| {
                    let id = TaskId { epoch: cluster.epoch, index: entry.index, ordinal: ordinal as u32 };
                    cluster.task(id).is_some()
                };
                if !plan.creates.iter().enumerate().all(made) {
                    tally.reach(Situation::PlanStale);
                }
                if cluster.workloads().any(|workload| is_mixed(cluster, workload)) {
                    tally.reach(Situation::TwoVersions);
                    let drained = cluster.nodes().any(|node| node.availability.is_draining());
                    if drained && cluster.nodes().any(|node| node.silent_since().is_some()) {
                        tally.reach(Situation::RolloutDrainLoss);
                    }
                }
                let counts = |task: &Task, workload: &Workload| {
                    task.running_at.is_none_or(|at| at + workload.update.min_healthy <= entry.at)
                };
                let young = |workload: &Workload| {
                    tasks_of(cluster, workload).any(|task| task.state == TaskState::Running && !counts(task, workload))
                };
                if cluster.workloads().any(|workload| is_mixed(cluster, workload) && young(workload)) {
                    tally.reach(Situation::NotCountedYet);
                }
                let idle = |workload: &Workload| {
                    let is_new = |task: &Task| task.version == workload.current().number;
                    tasks_of(cluster, workload)
                        .any(|task| task.state == TaskState::Running && is_new(task) && !task.serves())
                };
                if cluster.workloads().any(|workload| is_mixed(cluster, workload) && idle(workload)) {
                    tally.reach(Situation::NeverReady);
                }
            }
            Command::Reach(_) if machine.outages().values().any(|outage| *outage == Outage::Braked) => {
                tally.reach(Situation::Braked);
            }
            Command::SetAvailability { name, .. } => {
                let Some(node) = cluster.node_named(name) else { return };
                match node.availability {
                    Availability::Active => {}
                    Availability::Cordoned => tally.reach(Situation::Cordoned),
                    Availability::Draining { .. } if cluster.is_drained(node.id) => {}
                    Availability::Draining { .. } => {
                        if node.silent_since().is_some() {
                            tally.reach(Situation::DrainOfSilent);
                        }
                        if cluster.workloads().any(|workload| is_mixed(cluster, workload)) {
                            tally.reach(Situation::DrainAndRollout);
                        }
                    }
                }
            }
            Command::Scale { replicas: 0, .. } => tally.reach(Situation::ScaledToZero),
            Command::Reports(_) => {
                let capped = |w: &Workload| {
                    let restart = w.current().spec.restart;
                    w.slots.iter().any(|slot| slot.failures > 0 && restart.delay(slot.failures) == restart.backoff_max)
                };
                if cluster.workloads().any(capped) {
                    tally.reach(Situation::BackoffAtCap);
                }
                for event in cluster.history().iter().rev().take_while(is_now) {
                    match event.what {
                        What::Unready => tally.reach(Situation::Unready),
                        What::Ready
                            if cluster.task(event.task.unwrap_or(TaskId::MIN)).is_some_and(|task| {
                                task.running_at.is_some_and(|at| at + Millis::secs(5) < entry.at)
                            }) =>
                        {
                            tally.reach(Situation::ReadyAgain);
                        }
                        What::Unhealthy => {
                            tally.reach(Situation::Unhealthy);
                            let task = event.task.and_then(|task| cluster.task(task));
                            let Some(workload) = task.and_then(|task| cluster.workload(task.workload)) else {
                                continue;
                            };
                            if tasks_of(cluster, workload).filter(|task| task.is_unhealthy()).count() > 1 {
                                tally.reach(Situation::SickTogether);
                            }
                            if is_mixed(cluster, workload) {
                                tally.reach(Situation::SickInRollout);
                            }
                        }
                        _ => {}
                    }
                }
                let drained =
                    |event: &orbit_core::model::HistoryEvent| event.index == entry.index && event.what == What::Drained;
                if cluster.history().iter().next_back().is_some_and(drained) {
                    tally.reach(Situation::Drained);
                }
            }
            _ => {}
        }
    }

    /// The manager sends something to a worker.
    pub(super) fn notice_sent(&mut self, worker: Option<usize>, message: &ToWorker) {
        let tally = &mut self.report.tally;
        match message {
            ToWorker::HeartbeatAck { .. } | ToWorker::Welcome(_) => {
                let machine = self.managers[ONLY].machine.as_ref();
                let named = |worker| machine?.cluster().node_named(&node_name(worker));
                if let Some(node) = worker.and_then(named) {
                    self.plans.acknowledged(node.id, self.now);
                }
            }
            ToWorker::Probe => tally.reach(Situation::Probed),
            ToWorker::Refused { .. } => tally.reach(Situation::WorkerRefused),
            ToWorker::Assigned(assigned) if assigned.full => tally.reach(Situation::Resynced),
            _ => {}
        }
    }

    /// A worker asks its engine for something.
    pub(super) fn notice_op(&mut self, worker: usize, request: &Op) {
        if let Op::EnsureImage { image, .. } = request
            && image.contains('@')
            && self.workers[worker].engine.holds("web:2")
        {
            self.report.tally.reach(Situation::FetchedAgain);
        }
        if let Op::RemoveImage { .. } = request {
            self.report.tally.reach(Situation::ImageCollected);
        }
        let Op::Remove(name) = request else { return };
        let task: Option<TaskId> = name.rsplit('-').next().and_then(|id| id.parse().ok());
        let cluster = self.managers[ONLY].machine.as_ref().map(|machine| machine.cluster());
        if let (Some(task), Some(cluster)) = (task, cluster)
            && cluster.task(task).is_none()
        {
            self.report.tally.reach(Situation::OrphanRemoved);
        }
    }

    /// What a container is for, by its labels.
    pub(super) fn name_container(&mut self, spec: &worker::ContainerSpec) {
        let label = |key: &str| spec.labels.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
        if let (Some(task), Some(name)) = (label(LABEL_TASK).and_then(|id| id.parse().ok()), label("orbit.name")) {
            self.names.insert(task, name.to_string());
        }
    }
}

/// Every attempt that is remembered.
fn tasks_of<'a>(cluster: &'a Cluster, workload: &'a Workload) -> impl Iterator<Item = &'a Task> {
    workload.slots.iter().flat_map(|slot| cluster.attempts(slot))
}

/// Whether a live task is of another version than the current one.
fn is_mixed(cluster: &Cluster, workload: &Workload) -> bool {
    tasks_of(cluster, workload).any(|task| task.is_live() && task.version != workload.version)
}

/// Whether a live task has a newer attempt in its slot.
fn is_superseded(cluster: &Cluster, id: TaskId) -> bool {
    let Some(task) = cluster.task(id).filter(|task| task.is_live()) else { return false };
    let slot = cluster.workload(task.workload).and_then(|workload| workload.slots.get(task.slot as usize));
    let newest = slot.and_then(|slot| cluster.attempts(slot).next());
    newest.is_some_and(|newest| newest.id != id)
}

//! What has happened to the tasks of each service since this process began, counted where entries are applied.
//!
//! The state keeps failure streaks, which end, and no totals. A total that begins anew with each process is what a counter of
//! Prometheus is, so nothing of it is in the log.

use orbit_core::{
    model::{
        Command, Create, Desired, Entry, Kind, Reason, RolloutState, Task, TaskId, TaskReport, TaskState, Uid, Workload,
    },
    state::Cluster,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The totals of one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "the REST API reads it"))]
pub(crate) struct Totals {
    /// Tasks that followed another of the same version in their slot.
    pub restarts: u64,
    /// Tasks that failed and were not of the version that a running rollout brings.
    pub failures: u64,
}

/// The totals of all services to which something has happened.
#[derive(Default)]
pub(crate) struct Tally(Mutex<BTreeMap<Uid, Totals>>);

/// What an entry may count, as it was before the entry was applied.
#[derive(Default)]
pub(crate) struct Before {
    /// Tasks that the entry makes, if it is still true that they follow one of their version.
    followers: Vec<(Uid, TaskId)>,
    /// Tasks that have not failed.
    sound: Vec<(Uid, TaskId)>,
    /// Workloads of which nothing may be left.
    drops: Vec<Uid>,
}

impl Before {
    /// To be asked before the entry is applied.
    pub fn of(cluster: &Cluster, entry: &Entry) -> Before {
        match &entry.command {
            Command::Plan(plan) => {
                let follower = |(ordinal, create): (u32, &Create)| {
                    let before = cluster.task(create.after?)?;
                    let is_restart = before.version == create.version && is_service(cluster, create.workload);
                    let id = TaskId { epoch: cluster.epoch, index: entry.index, ordinal };
                    is_restart.then_some((create.workload, id))
                };
                let followers = (0..).zip(&plan.creates).filter_map(follower).collect();
                Before { followers, drops: plan.drops.clone(), ..Before::default() }
            }
            Command::Reports(nodes) => Before::reported(cluster, nodes.iter().flat_map(|node| &node.reports)),
            Command::Register(registration) => Before::reported(cluster, registration.inventory.iter()),
            _ => Before::default(),
        }
    }

    fn reported<'a>(cluster: &Cluster, reports: impl Iterator<Item = &'a TaskReport>) -> Before {
        let says_so = |report: &&TaskReport| report.state.is_terminal() || report.probed.health == Some(false);
        let sound = |report: &TaskReport| {
            let task = cluster.task(report.task)?;
            let workload = cluster.workload(task.workload).filter(|workload| workload.kind == Kind::Service)?;
            let counts = task.desired == Desired::Running && !has_failed(task) && !is_of_rollout(workload, task);
            counts.then_some((task.workload, task.id))
        };
        Before { sound: reports.filter(says_so).filter_map(sound).collect(), ..Before::default() }
    }
}

impl Tally {
    /// To be told after the entry was applied.
    pub fn applied(&self, before: Before, cluster: &Cluster) {
        let Before { followers, sound, drops } = before;
        if followers.is_empty() && sound.is_empty() && drops.is_empty() {
            return;
        }
        let mut totals = self.totals();
        // Part of a plan may have been refused.
        for (service, _) in followers.iter().filter(|(_, task)| cluster.task(*task).is_some()) {
            totals.entry(*service).or_default().restarts += 1;
        }
        for (service, _) in sound.iter().filter(|(_, task)| cluster.task(*task).is_some_and(has_failed)) {
            totals.entry(*service).or_default().failures += 1;
        }
        for uid in drops.iter().filter(|uid| cluster.workload(**uid).is_none()) {
            totals.remove(uid);
        }
    }

    /// Those of one service.
    #[cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "the REST API reads it"))]
    pub fn of(&self, service: Uid) -> Totals {
        self.totals().get(&service).copied().unwrap_or_default()
    }

    fn totals(&self) -> MutexGuard<'_, BTreeMap<Uid, Totals>> {
        // Every change is whole before a panic could come.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_service(cluster: &Cluster, uid: Uid) -> bool {
    cluster.workload(uid).is_some_and(|workload| workload.kind == Kind::Service)
}

/// It ended by itself, its node will not run it, or its health probe fails. The state counts a failure in the same cases.
fn has_failed(task: &Task) -> bool {
    let ended = matches!(task.state, TaskState::Complete | TaskState::Failed | TaskState::Rejected);
    let is_fenced = task.end.as_ref().is_some_and(|end| end.reason == Reason::Fenced);
    (ended && !is_fenced) || task.probed.health == Some(false)
}

/// Its failures are those of the rollout, which the state counts.
fn is_of_rollout(workload: &Workload, task: &Task) -> bool {
    let runs = workload.rollout.is_some_and(|rollout| rollout.state == RolloutState::Running);
    runs && task.version == workload.version
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;
    use orbit_core::{model::*, testing};

    struct World {
        cluster: Cluster,
        tally: Tally,
        at: Time,
    }

    impl World {
        /// A node and a service of one replica, whose first task runs; the first rollout is done.
        fn new() -> (World, Uid, TaskId) {
            let mut world = World { cluster: Cluster::default(), tally: Tally::default(), at: Time(1) };
            world.apply(Command::Init { cluster: ClusterId(1) });
            let info = testing::node(NodeUid(1), "node-1");
            world.apply(Command::Register(Registration { info, inventory: vec![] }));
            let service = world.put("web:1");
            let task = world.create(service, 1, None);
            world.report(task, TaskState::Running);
            world.at = world.at + Millis::secs(3600);
            world.plan(Plan { rollouts: vec![(service, 1, RolloutStep::Finish)], ..Plan::default() });
            let rollout = world.cluster.workload(service).unwrap().rollout.unwrap();
            assert_eq!(rollout.state, RolloutState::Done);
            (world, service, task)
        }

        fn apply(&mut self, command: Command) -> Outcome {
            self.at = self.at + Millis::secs(1);
            let index = self.cluster.index + 1;
            let entry = Entry { index, term: 1, at: self.at, wall_ms: 1, actor: Actor::Local, command };
            let before = Before::of(&self.cluster, &entry);
            let outcome = self.cluster.apply(&entry);
            self.tally.applied(before, &self.cluster);
            outcome
        }

        fn put(&mut self, image: &str) -> Uid {
            let definition = testing::service("web", testing::spec(image));
            let put = Put { definition, condition: Condition::None, keeps_replicas: false, idempotency_key: None };
            match self.apply(Command::Put(put)).answer {
                Ok(Answer::Workload { uid, .. }) => uid,
                other => panic!("{other:?}"),
            }
        }

        fn plan(&mut self, plan: Plan) {
            let plan = Plan { parent: self.cluster.index, ..plan };
            self.apply(Command::Plan(plan));
        }

        fn create(&mut self, workload: Uid, version: u32, after: Option<TaskId>) -> TaskId {
            self.at = self.at + Millis::secs(3600);
            let node = self.cluster.node_named("node-1").expect("it has registered").id;
            let target = Some(Target { node, host_ports: Box::default() });
            let create = Create { workload, version, slot: 0, after, target };
            self.plan(Plan { creates: vec![create], ..Plan::default() });
            let id = TaskId { epoch: 1, index: self.cluster.index, ordinal: 0 };
            assert!(self.cluster.task(id).is_some(), "the plan was not stale");
            id
        }

        fn report(&mut self, task: TaskId, state: TaskState) {
            let end = state.is_terminal().then(|| End::new(Reason::Exited, ""));
            self.reports(TaskReport::new(task, state, end));
        }

        fn reports(&mut self, report: TaskReport) {
            let node = self.cluster.node_named("node-1").expect("it has registered");
            let (node, incarnation) = (node.id, node.incarnation);
            self.apply(Command::Reports(vec![NodeReports { node, incarnation, reports: vec![report] }]));
        }
    }

    #[test]
    fn failures_and_restarts_of_a_rollout_are_not_among_the_others() {
        let (mut world, service, first) = World::new();
        assert_eq!(world.tally.of(service), Totals::default());
        world.report(first, TaskState::Failed);
        world.report(first, TaskState::Failed);
        assert_eq!(world.tally.of(service), Totals { restarts: 0, failures: 1 }, "a failure counts once");
        let second = world.create(service, 1, Some(first));
        assert_eq!(world.tally.of(service), Totals { restarts: 1, failures: 1 });
        world.report(second, TaskState::Running);

        assert_eq!(world.put("web:2"), service);
        let third = world.create(service, 2, Some(second));
        world.report(third, TaskState::Failed);
        assert_eq!(world.tally.of(service), Totals { restarts: 1, failures: 1 }, "those are the rollout's");
        assert_eq!(world.cluster.workload(service).unwrap().rollout.unwrap().failures, 1);
        world.report(second, TaskState::Failed);
        assert_eq!(world.tally.of(service), Totals { restarts: 1, failures: 2 }, "the old version failed by itself");
    }

    #[test]
    fn a_task_that_its_own_node_fenced_has_not_failed() {
        let (mut world, service, first) = World::new();
        let end = Some(End::new(Reason::Fenced, ""));
        world.reports(TaskReport::new(first, TaskState::Failed, end));
        assert_eq!(world.cluster.task(first).unwrap().state, TaskState::Failed);
        assert_eq!(world.tally.of(service), Totals::default());
    }

    #[test]
    fn a_part_of_a_plan_that_was_refused_is_no_restart() {
        let (mut world, service, first) = World::new();
        let create = Create { workload: service, version: 1, slot: 7, after: Some(first), target: None };
        world.plan(Plan { creates: vec![create], ..Plan::default() });
        assert_eq!(world.tally.of(service), Totals::default());
    }

    #[test]
    fn nothing_is_kept_of_a_service_that_is_gone() {
        let (mut world, service, first) = World::new();
        world.report(first, TaskState::Failed);
        assert_eq!(world.tally.of(service).failures, 1);
        world.apply(Command::Delete { kind: Kind::Service, name: "web".into(), condition: Condition::None });
        world.plan(Plan { drops: vec![service], ..Plan::default() });
        assert!(world.cluster.workload(service).is_none() && world.tally.totals().is_empty());
    }
}

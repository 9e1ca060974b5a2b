//! What must hold, by name. S-checks read the manager's state, W-checks the engines' truth alone.

use crate::{client::Wish, worker_host::WorkerHost};
use orbit_core::{
    model::*,
    worker::{Action, Op, Worker},
};
use orbit_runtime::fake::FakeEngine;
use std::collections::BTreeMap;

/// What was found, with the invariant's name.
pub(crate) type Check = Result<(), (&'static str, String)>;

/// Remembers each task's last state, to see that it only advances (I6) and never moves (I5).
#[derive(Debug, Default)]
pub(crate) struct TaskWatch {
    seen: BTreeMap<TaskId, (TaskState, Desired, Option<NodeId>)>,
    index: u64,
}

impl TaskWatch {
    /// S: after every applied entry.
    pub fn look(&mut self, cluster: &Cluster) -> Check {
        if cluster.index < self.index {
            return Ok(()); // a manager that is still replaying
        }
        self.index = cluster.index;
        for task in cluster.tasks() {
            let now = (task.state, task.desired, task.node);
            if let Some((state, desired, node)) = self.seen.insert(task.id, now) {
                let forward = state == task.state || state.may_become(task.state);
                if !forward || desired > task.desired {
                    return Err(("I6", format!("{} went from {state} to {}", task.id, task.state)));
                }
                if node.is_some() && node != task.node {
                    return Err(("I5", format!("{} moved from {node:?} to {:?}", task.id, task.node)));
                }
            }
        }
        Ok(())
    }
}

/// Remembers what each worker was told, to see that no older word is followed (I9), and that a task
/// that was told to stop is not started (I6).
#[derive(Debug, Default)]
pub(crate) struct OrderWatch {
    /// By worker: the highest (epoch, term) that it followed.
    seen: BTreeMap<usize, (u32, u64)>,
    /// By worker, its life and task: the highest generation taken up.
    generations: BTreeMap<(usize, u32, TaskId), u32>,
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
        let mut told: BTreeMap<TaskId, Desired> = BTreeMap::new();
        for (task, generation, desired) in worker.orders() {
            told.insert(task, desired);
            let before = self.generations.insert((index, life, task), generation).unwrap_or_default();
            if generation < before {
                let found = format!("worker {index} took up order {before} about {task}, then {generation}");
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
            match task.and_then(|task| told.get(&task)) {
                Some(Desired::Running) => {}
                other => return Err(("I6", format!("{name} is begun on worker {index}, its order is {other:?}"))),
            }
        }
        Ok(())
    }
}

/// S: sums, indexes and limits, recomputed.
pub(crate) fn state(cluster: &Cluster) -> Check {
    match cluster.check().into_iter().next() {
        Some(violation) => Err((violation.invariant, violation.found)),
        None => Ok(()),
    }
}

/// W: a task has at most one container in its life, was started at most once, and on one node (I5).
pub(crate) fn one_container_each<'a>(engines: impl Iterator<Item = &'a FakeEngine>) -> Check {
    let mut homes: BTreeMap<TaskId, usize> = BTreeMap::new();
    for (home, engine) in engines.enumerate() {
        for (task, lives) in engine.lives() {
            if lives.created > 1 || lives.started > 1 {
                return Err(("I5", format!("{task} was created and started {lives:?} times")));
            }
            if let Some(other) = homes.insert(task, home) {
                return Err(("I5", format!("{task} was created on worker {other} and on worker {home}")));
            }
        }
    }
    Ok(())
}

/// I10: every object is one of those that its user may expect.
pub(crate) fn acknowledged(cluster: &Cluster, known: &BTreeMap<(Kind, String), Vec<Wish>>) -> Check {
    for ((kind, name), wishes) in known {
        let found = cluster.workload_named(*kind, name);
        let found: Wish = found.map(|w| (w.replicas, w.current().spec.image.clone()));
        if !wishes.contains(&found) {
            return Err(("I10", format!("{kind} {name} is {found:?}, its user knows {wishes:?}")));
        }
    }
    Ok(())
}

/// Why the world has not converged; nothing once it has.
pub(crate) fn pending(cluster: &Cluster, workers: &[WorkerHost], good_images: &[String]) -> Vec<String> {
    let mut pending = Vec::new();
    if cluster.nodes().count() < workers.len() {
        pending.push("a worker has not registered".to_string());
    }
    for node in cluster.nodes().filter(|node| !node.is_ready()) {
        pending.push(format!("{} is unreachable", node.info.name));
    }
    let mut running: BTreeMap<TaskId, usize> = BTreeMap::new();
    for (index, worker) in workers.iter().enumerate() {
        if !worker.machine.as_ref().is_some_and(|machine| machine.is_welcome()) {
            pending.push(format!("worker {index} is not connected"));
        }
        for container in worker.engine.containers() {
            let Some(identity) = container.identity else { continue };
            // What always fails is on its way in or out at any moment.
            if !good_images.contains(&container.spec.image) {
                continue;
            }
            match cluster.task(identity.task) {
                None => pending.push(format!("{} is not known and has a container", identity.task)),
                Some(task) if container.is_running() && task.state != TaskState::Running => {
                    pending.push(format!("{} runs and is {}", task.id, task.state));
                }
                Some(_) => {}
            }
            if container.is_running() {
                running.insert(identity.task, index);
            }
        }
    }
    let image = |task: &Task| cluster.spec_of(task).image.clone();
    for task in cluster.tasks().filter(|task| good_images.contains(&image(task))) {
        let runs = running.contains_key(&task.id);
        if task.state == TaskState::Running && !runs {
            pending.push(format!("{} is said to run and does not", task.id));
        }
        if !task.is_live() && !task.state.is_terminal() {
            pending.push(format!("{} is told to stop and is {}", task.id, task.state));
        }
    }
    for workload in cluster.workloads() {
        if workload.deleting {
            pending.push(format!("{} is being deleted", workload.name));
            continue;
        }
        let good = good_images.contains(&workload.current().spec.image);
        let serves = |slot: &Slot| {
            let mut live = cluster.attempts(slot).filter(|task| task.is_live());
            let first = live.next();
            let current = |task: &Task| task.version == workload.current().number && running.contains_key(&task.id);
            first.is_some_and(current) && live.next().is_none()
        };
        // A cluster that is full says so, and is not held to more.
        let unplaced = cluster.pending_of(workload.uid).count();
        let explained = workload.decision.as_ref().is_some_and(|d| d.unplaced > 0 && !d.refusals.is_empty());
        if unplaced > 0 && !explained {
            pending.push(format!("{} waits for a node and nobody says why (I30)", workload.name));
        }
        let serving = workload.slots.iter().filter(|slot| serves(slot)).count();
        if workload.kind == Kind::Service && good && unplaced == 0 && serving != workload.replicas as usize {
            pending.push(format!("{} serves with {serving} of {}", workload.name, workload.replicas));
        }
        if workload.slots.len() > workload.replicas as usize {
            pending.push(format!("{} has surplus slots", workload.name));
        }
    }
    pending
}

#[cfg(test)]
mod tests {
    //! Each checker is shown a state that is wrong, and has to see it.

    use super::*;
    use orbit_core::worker::{ContainerSpec, LABEL_CLUSTER, LABEL_NODE, LABEL_SPEC, LABEL_TASK, Op};
    use orbit_runtime::fake::{ImagePlace, Program};

    const TASK: TaskId = TaskId { epoch: 1, index: 4, ordinal: 0 };

    fn spec(image: &str) -> Spec {
        Spec {
            image: image.into(),
            command: vec![],
            args: vec![],
            env: BTreeMap::new(),
            resources: Resources { cpu_millis: 100, memory_bytes: 64 << 20 },
            pids_max: 10,
            ports: vec![],
            placement: Placement::default(),
            restart: Restart::with_policy(RestartPolicy::Always),
            stop_grace: Millis(0),
        }
    }

    /// A cluster with one node and one service, whose only task is as given.
    fn snapshot(task: Task) -> Snapshot {
        let info = NodeInfo {
            uid: NodeUid(1),
            name: "n0".into(),
            labels: BTreeMap::new(),
            arch: "amd64".into(),
            os: "linux".into(),
            allocatable: Resources { cpu_millis: 1000, memory_bytes: 1 << 30 },
            port_range: (20_000, 20_099),
        };
        let node = |id, name: &str| {
            let info = NodeInfo { name: name.into(), uid: NodeUid(u64::from(id) + 1), ..info.clone() };
            let reach = Reach::Reachable;
            Node::bare(NodeId(id), info, 1, Time(0), reach, false, BTreeMap::new(), 20_000)
        };
        let workload = Workload {
            uid: task.workload,
            kind: Kind::Service,
            name: "web".into(),
            labels: BTreeMap::new(),
            replicas: 1,
            revision: 3,
            created_at: Time(0),
            versions: vec![Version::bare(1, spec("web:1").into())],
            deleting: false,
            decision: None,
            slots: vec![Slot::bare(0, Time(0))],
        };
        Snapshot {
            index: 10,
            nodes: vec![node(0, "n0"), node(1, "n1")],
            workloads: vec![workload],
            tasks: vec![task],
            ..Cluster::default().snapshot()
        }
    }

    fn task(state: TaskState, node: u32) -> Task {
        let mut task = Task::new(TASK, Uid { epoch: 1, index: 3 }, 0, 1, Time(0));
        task.state = state;
        task.node = Some(NodeId(node));
        task.end = state.is_terminal().then(|| Box::new(End::exited(Reason::Exited, 0)));
        task
    }

    fn cluster(task: Task) -> Cluster {
        Cluster::restore(snapshot(task)).expect("each of these states is possible in itself")
    }

    fn engine(create: bool) -> FakeEngine {
        let mut engine = FakeEngine::default();
        engine.add_image("web:1", ImagePlace::Present, Program::Run);
        if create {
            make(&mut engine, "orbit-1.4.0");
        }
        engine
    }

    /// A container of the task, by whatever name.
    fn make(engine: &mut FakeEngine, name: &str) {
        let label = |key: &str, value: String| (key.to_string(), value);
        let labels = vec![
            label(LABEL_CLUSTER, ClusterId(1).to_string()),
            label(LABEL_NODE, NodeUid(1).to_string()),
            label(LABEL_SPEC, "0000000000000000".into()),
            label(LABEL_TASK, TASK.to_string()),
        ];
        let spec = ContainerSpec {
            name: name.into(),
            image: "web:1".into(),
            command: vec![],
            args: vec![],
            env: vec![],
            resources: Resources { cpu_millis: 100, memory_bytes: 64 << 20 },
            pids_max: 10,
            ports: vec![],
            labels,
        };
        engine.perform(&Op::Create(Box::new(spec))).expect("created");
    }

    fn named(check: Check) -> &'static str {
        check.expect_err("a violation was planted").0
    }

    #[test]
    fn a_state_that_goes_back_is_seen() {
        let mut watch = TaskWatch::default();
        assert_eq!(watch.look(&cluster(task(TaskState::Running, 0))), Ok(()));
        assert_eq!(named(watch.look(&cluster(task(TaskState::Starting, 0)))), "I6");
        assert_eq!(watch.look(&cluster(task(TaskState::Failed, 0))), Ok(()));
        assert_eq!(named(watch.look(&cluster(task(TaskState::Complete, 0)))), "I6", "an end is for ever");
    }

    #[test]
    fn a_task_that_runs_again_after_it_was_told_to_stop_is_seen() {
        let mut watch = TaskWatch::default();
        let mut stopped = task(TaskState::Running, 0);
        stopped.desired = Desired::Stopped;
        assert_eq!(watch.look(&cluster(stopped)), Ok(()));
        assert_eq!(named(watch.look(&cluster(task(TaskState::Running, 0)))), "I6");
    }

    #[test]
    fn a_task_that_moves_is_seen() {
        let mut watch = TaskWatch::default();
        assert_eq!(watch.look(&cluster(task(TaskState::Running, 0))), Ok(()));
        assert_eq!(named(watch.look(&cluster(task(TaskState::Running, 1)))), "I5");
    }

    #[test]
    fn a_second_container_is_seen_on_the_same_engine_and_on_another() {
        assert_eq!(one_container_each([engine(true), engine(false)].iter()), Ok(()));
        assert_eq!(named(one_container_each([engine(true), engine(true)].iter())), "I5");
        let mut twice = engine(true);
        make(&mut twice, "orbit-1.4.0-again");
        assert_eq!(named(one_container_each([twice].iter())), "I5");
    }

    #[test]
    fn a_machine_that_came_back_smaller_than_what_it_runs_is_no_violation() {
        let mut shrunk = snapshot(task(TaskState::Running, 0));
        shrunk.nodes[0].info.allocatable = Resources::ZERO;
        assert_eq!(state(&Cluster::restore(shrunk).expect("possible in itself")), Ok(()));
    }

    #[test]
    fn an_acknowledged_write_that_is_gone_is_seen() {
        let cluster = cluster(task(TaskState::Running, 0));
        let expect = |wish: Wish| BTreeMap::from([((Kind::Service, "web".to_string()), vec![wish])]);
        assert_eq!(acknowledged(&cluster, &expect(Some((1, "web:1".into())))), Ok(()));
        assert_eq!(named(acknowledged(&cluster, &expect(Some((2, "web:1".into()))))), "I10");
        assert_eq!(named(acknowledged(&cluster, &expect(Some((1, "web:2".into()))))), "I10");
        assert_eq!(named(acknowledged(&cluster, &expect(None))), "I10", "deleted, and there");
    }

    #[test]
    fn a_world_that_has_not_converged_says_what_is_missing() {
        let good = ["web:1".to_string()];
        let found = pending(&cluster(task(TaskState::Running, 0)), &[], &good);
        assert_eq!(found, ["1.4.0 is said to run and does not", "web serves with 0 of 1"]);
    }
}

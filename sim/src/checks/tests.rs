//! Each checker is shown a state that is wrong, and has to see it.

use super::*;
use orbit_core::worker::{ContainerSpec, LABEL_CLUSTER, LABEL_NODE, LABEL_SPEC, LABEL_TASK, Op};
use orbit_core::{
    manager::SessionId,
    state::{Cluster, Snapshot},
};
use orbit_runtime::fake::{FakeEngine, ImagePlace, Program};

const TASK: TaskId = TaskId { epoch: 1, index: 4, ordinal: 0 };

fn spec(image: &str) -> Spec {
    Spec {
        container: Container { pids_max: 10, stop: Stop::within(Millis(0)), ..orbit_core::testing::container(image) },
        placement: Placement::default(),
        restart: Restart::with_policy(RestartPolicy::Always),
        disconnect: Disconnect::default(),
        after: vec![],
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
        address: None,
        pinned_ports: None,
        allowed: [].into(),
        versions: Default::default(),
    };
    let node = |id, name: &str| {
        let info = NodeInfo { name: name.into(), uid: NodeUid(u64::from(id) + 1), ..info.clone() };
        let reach = Reach::Reachable;
        Node::bare(NodeId(id), info, 1, Time(0), reach, Availability::Active, BTreeMap::new(), 20_000)
    };
    let workload = Workload {
        uid: task.workload,
        kind: Kind::Service,
        name: "web".into(),
        labels: BTreeMap::new(),
        replicas: 1,
        update: Update::ONE_BY_ONE,
        revision: 3,
        created_at: Time(0),
        versions: vec![Version::bare(1, spec("web:1").into(), Time(0))],
        version: 1,
        stable: Some(1),
        rollout: Some(Rollout { state: RolloutState::Done, ..Rollout::begun(Time(0), true) }),
        deleting: false,
        decision: None,
        slots: vec![Slot::bare(0, 0, Time(0), 0)],
    };
    Snapshot {
        index: 10,
        nodes: vec![node(0, "n0"), node(1, "n1")],
        next_node: NodeId(2),
        workloads: vec![workload],
        tasks: vec![task],
        ..Cluster::default().snapshot()
    }
}

fn task(state: TaskState, node: u32) -> Task {
    let mut task = Task::new(TASK, Uid { epoch: 1, index: 3 }, 0, 1, Time(0));
    task.state = state;
    task.serving_since = (state == TaskState::Running).then_some(Time(1));
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
        limits: Limits::default(),
        pids_max: 10,
        stop_signal: None,
        volumes: vec![],
        ports: vec![],
        setup: Setup::default(),
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

fn homes<'a>(engines: impl IntoIterator<Item = &'a FakeEngine>) -> Check {
    let mut watch = EngineWatch::default();
    engines.into_iter().enumerate().try_for_each(|(home, engine)| watch.look(home, engine))
}

#[test]
fn a_second_container_is_seen_on_the_same_engine_and_on_another() {
    assert_eq!(homes(&[engine(true), engine(false)]), Ok(()));
    assert_eq!(named(homes(&[engine(true), engine(true)])), "I5");
    let mut twice = engine(true);
    make(&mut twice, "orbit-1.4.0-again");
    assert_eq!(named(homes(&[twice])), "I5");
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
    let found = pending(&cluster(task(TaskState::Running, 0)), Time(0), &[]);
    assert_eq!(found, ["1.4.0 is said to run and does not", "web serves with 0 of 1"]);
}

#[test]
fn an_attempt_that_comes_before_its_backoff_is_seen() {
    let mut watch = TaskWatch::default();
    let mut failed = task(TaskState::Failed, 0);
    failed.ended_at = Some(Time(50));
    assert_eq!(watch.look(&cluster(failed.clone())), Ok(()));
    let again = |created_at| {
        let mut later = snapshot(failed.clone());
        later.index += 1;
        let id = TaskId { index: 11, ..TASK };
        later.tasks.push(Task::new(id, failed.workload, 0, 1, Time(created_at)));
        Cluster::restore(later).expect("possible in itself")
    };
    assert_eq!(named(watch.look(&again(1049))), "I27", "a second after its end at the soonest");
    let mut watch = TaskWatch::default();
    assert_eq!(watch.look(&cluster(failed.clone())), Ok(()));
    assert_eq!(watch.look(&again(1050)), Ok(()));
}

#[test]
fn a_task_on_a_node_that_takes_none_is_seen() {
    let mut placed = task(TaskState::Assigned, 0);
    placed.id.index = 10;
    let mut snapshot = snapshot(placed);
    let entry = Entry {
        index: 10,
        term: 1,
        at: Time(0),
        wall_ms: 0,
        actor: Actor::Local,
        command: Command::Plan(Plan::default()),
    };
    let of = |snapshot: &Snapshot| Cluster::restore(snapshot.clone()).expect("it is possible in itself");
    assert_eq!(plans::committed(&of(&snapshot), &entry), Ok(()));
    snapshot.nodes[0].availability = Availability::Cordoned;
    assert_eq!(named(plans::committed(&of(&snapshot), &entry)), "I29");
}

#[test]
fn whoever_takes_the_only_one_that_serves_is_seen() {
    let mut snapshot = snapshot(task(TaskState::Running, 0));
    let plan = Plan { stops: vec![TASK], ..Plan::default() };
    let drained = |deadline| Availability::Draining { since: Time(0), deadline };
    let mut look = |availability, max_unavailable| {
        snapshot.nodes[0].availability = availability;
        snapshot.workloads[0].update.max_unavailable = max_unavailable;
        let cluster = Cluster::restore(snapshot.clone()).expect("it is possible in itself");
        plans::served(&cluster, &plan, TASK, Time(5000))
    };
    assert_eq!(named(look(drained(None), 0)), "I4");
    assert_eq!(named(look(drained(Some(Time(6000))), 0)), "I4");
    assert_eq!(look(drained(Some(Time(5000))), 0), Ok(()), "its deadline has passed");
    assert_eq!(named(look(Availability::Active, 0)), "I4");
    assert_eq!(look(Availability::Active, 1), Ok(()), "one may be unavailable");
}

#[test]
fn one_more_beside_another_than_the_update_may_add_is_seen() {
    let mut snapshot = snapshot(task(TaskState::Running, 0));
    let create = Create { workload: snapshot.workloads[0].uid, version: 2, slot: 0, after: Some(TASK), target: None };
    let plan = Plan { creates: vec![create], ..Plan::default() };
    let mut look = |max_surge| {
        snapshot.workloads[0].update.max_surge = max_surge;
        plans::crowded(&Cluster::restore(snapshot.clone()).expect("it is possible in itself"), &plan)
    };
    assert_eq!(look(1), Ok(()));
    assert_eq!(named(look(0)), "I3");
}

/// A worker that was welcomed at 1000 with a task, which is to be stopped within 9.5 s and may be replaced after 15 s.
fn fenced() -> FenceWatch {
    let disconnect = Disconnect { replace_after: Some(Millis::secs(15)), fence: Fence::Timed, ..Disconnect::default() };
    let spec = Spec {
        container: Container { stop: Stop::within(Millis::secs(2)), ..spec("web:1").container },
        disconnect,
        ..spec("web:1")
    };
    let order = Assignment {
        task: TASK,
        generation: 1,
        desired: Desired::Running,
        ended: false,
        kind: Kind::Service,
        name: "web".into(),
        slot: 0,
        spec: spec.into(),
        host_ports: [].into(),
        volumes: [].into(),
        image: ImageBytes::AsWritten,
    };
    let info = snapshot(task(TaskState::Running, 0)).nodes[0].info.clone();
    let hello =
        Hello { cluster: None, seen: (0, 0), nonce: 1, info, inventory: vec![], takes_parts: true, prefetches: true };
    let welcome = Welcome {
        cluster: ClusterId(1),
        epoch: 1,
        term: 1,
        node: NodeId(0),
        incarnation: 1,
        heartbeat: Millis::secs(1),
        lease: Millis::secs(5),
        assigned: Assigned { seq: 1, full: true, tasks: vec![order], follow: vec![], removed: vec![] },
    };
    let mut watch = FenceWatch::default();
    watch.begins(0, 0);
    watch.sent(0, SessionId(1), &ToManager::Register(hello), 1000);
    watch.hears(0, SessionId(1), &ToWorker::Welcome(welcome));
    watch
}

#[test]
fn a_fence_that_is_late_is_seen() {
    let mut watch = fenced();
    let mut engine = engine(true);
    engine.perform(&Op::Start("orbit-1.4.0".into())).expect("started");
    assert_eq!(watch.look(0, &engine, 0, 11_400), Ok(()), "a tenth of its time is for its clock");
    assert_eq!(named(watch.look(0, &engine, 0, 11_500)), "I8");
    assert_eq!(watch.look(0, &engine, 4000, 14_000), Ok(()), "its engine was not there");
    let stop = Op::Stop { name: "orbit-1.4.0".into(), grace: Millis::secs(2) };
    assert_eq!(watch.asks(0, &stop, |_| false, 11_000), Ok(()));
    assert_eq!(watch.look(0, &engine, 0, 16_000), Ok(()), "it is being stopped");
    assert_eq!(named(watch.look(0, &engine, 0, 16_001)), "I8", "and may be replaced");
    engine.kill("orbit-1.4.0");
    assert_eq!(watch.look(0, &engine, 0, 16_001), Ok(()));
    let said = |reason| TaskReport::new(TASK, TaskState::Failed, Some(End::exited(reason, 137)));
    assert_eq!(named(watch.ended(&said(Reason::Killed))), "I8");
    assert_eq!(watch.ended(&said(Reason::Killed)), Ok(()), "how it ended was said before");
    assert_eq!(watch.asks(0, &stop, |_| false, 11_000), Ok(()));
    assert_eq!(watch.ended(&said(Reason::Fenced)), Ok(()));
    assert_eq!(watch.asks(0, &stop, |_| false, 9000), Ok(()), "nobody wants it any more");
    assert_eq!(watch.ended(&said(Reason::Killed)), Ok(()));
}

#[test]
fn a_start_after_its_fence_is_seen() {
    let mut watch = fenced();
    let start = Op::Start("orbit-1.4.0".into());
    assert_eq!(watch.asks(0, &start, |_| false, 11_400), Ok(()));
    assert_eq!(named(watch.asks(0, &start, |_| false, 11_500)), "I8");
    // A heartbeat counts from when it was sent, once its answer is there.
    watch.sent(0, SessionId(1), &ToManager::Heartbeat { seq: 1, assigned_seq: 1, disk_full: false }, 2000);
    assert_eq!(named(watch.asks(0, &start, |_| false, 11_500)), "I8");
    watch.hears(0, SessionId(1), &ToWorker::HeartbeatAck { seq: 1 });
    assert_eq!(watch.asks(0, &start, |_| false, 12_400), Ok(()));
    assert_eq!(named(watch.asks(0, &start, |_| false, 12_500)), "I8");
}

#[test]
fn what_is_forgotten_while_it_runs_is_seen() {
    let mut lost = task(TaskState::Lost, 0);
    lost.ended_at = Some(Time(50));
    let mut snapshot = snapshot(lost);
    let entry = Entry {
        index: 10,
        term: 1,
        at: Time(50),
        wall_ms: 0,
        actor: Actor::Local,
        command: Command::Forget { name: "n0".into() },
    };
    let mut engine = engine(true);
    engine.perform(&Op::Start("orbit-1.4.0".into())).expect("started");
    let mut look = |fence, engine: &FakeEngine| {
        let disconnect = Disconnect { replace_after: Some(Millis::secs(15)), fence, ..Disconnect::default() };
        snapshot.workloads[0].versions = vec![Version::bare(1, Spec { disconnect, ..spec("web:1") }.into(), Time(0))];
        let cluster = Cluster::restore(snapshot.clone()).expect("it is possible in itself");
        fences::forgotten(&cluster, &entry, engine, &BTreeSet::new())
    };
    assert_eq!(look(Fence::None, &engine), Ok(()));
    assert_eq!(named(look(Fence::Timed, &engine)), "I7");
    engine.kill("orbit-1.4.0");
    assert_eq!(look(Fence::Timed, &engine), Ok(()));
}

#[test]
fn whoever_keeps_the_other_one_of_two_is_seen() {
    let original = task(TaskState::Running, 0);
    let mut replacement = task(TaskState::Running, 1);
    replacement.id.index = 9;
    let (first, second) = (original.id, replacement.id);
    let mut snapshot = snapshot(original);
    snapshot.tasks.push(replacement);
    let mut look = |keep, stop| {
        let disconnect = Disconnect { keep, ..Disconnect::default() };
        snapshot.workloads[0].versions = vec![Version::bare(1, Spec { disconnect, ..spec("web:1") }.into(), Time(0))];
        let cluster = Cluster::restore(snapshot.clone()).expect("it is possible in itself");
        plans::kept_as_said(&cluster, &Plan { stops: vec![stop], ..Plan::default() }, stop)
    };
    assert_eq!(look(Keep::Replacement, first), Ok(()));
    assert_eq!(named(look(Keep::Replacement, second)), "I41");
    assert_eq!(look(Keep::Original, second), Ok(()));
    assert_eq!(named(look(Keep::Original, first)), "I41");
}

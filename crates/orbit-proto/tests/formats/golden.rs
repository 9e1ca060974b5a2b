//! One file per version of the format, which must be read for ever. The text beside it shows the
//! messages, not the core's values, whose indexes are no part of the format.
//!
//! `UPDATE_GOLDEN=1` writes the files
//! of the present version; a file that was released is never written again.

use orbit_core::{
    model::*,
    state::{KeyRecord, Snapshot},
};
use orbit_proto::*;
use std::{fs, path::PathBuf, sync::Arc};

pub fn spec() -> Spec {
    Spec {
        container: Container {
            image: "registry.example/web:1".into(),
            pull: Pull::Missing,
            command: vec!["/bin/web".into()],
            args: vec!["--port".into(), "8080".into()],
            env: [("A", "1"), ("B", "2")].map(|(k, v)| (k.to_string(), v.to_string())).into(),
            resources: Resources { cpu_millis: 250, memory_bytes: 128 << 20 },
            limits: Limits { cpu_millis: Some(250), memory_bytes: Some(128 << 20) },
            pids_max: 100,
            ports: vec![Port::tcp("http", 8080, None), Port::tcp("admin", 9090, Some(9090))],
            stop: Stop::within(Millis::secs(10)),
            probes: Probes::default(),
            setup: Setup::default(),
        },
        placement: Placement {
            strategy: Strategy::Spread,
            constraints: ["node.name == a", "node.arch != arm64", "node.os == linux", "node.labels.disk == ssd"]
                .map(|text| Constraint::parse(text).unwrap())
                .to_vec(),
        },
        restart: Restart::with_policy(RestartPolicy::OnFailure),
        disconnect: Disconnect::default(),
        after: vec![],
    }
}

pub fn id(index: u64, ordinal: u32) -> TaskId {
    TaskId { epoch: 1, index, ordinal }
}

pub fn uid(index: u64) -> Uid {
    Uid { epoch: 1, index }
}

pub fn info() -> NodeInfo {
    NodeInfo {
        uid: NodeUid(0x0123_4567_89ab_cdef),
        name: "node-a".into(),
        labels: [("disk".to_string(), "ssd".to_string())].into(),
        arch: "amd64".into(),
        os: "linux".into(),
        allocatable: Resources { cpu_millis: 4000, memory_bytes: 8 << 30 },
        port_range: (20_000, 29_999),
        address: None,
        pinned_ports: None,
        allowed: [].into(),
        versions: Default::default(),
    }
}

pub fn end() -> End {
    End { reason: Reason::Exited, exit_code: Some(-3), port: None, message: "gone".into() }
}

fn decision() -> Decision {
    Decision {
        parent: 9,
        placed: 2,
        unplaced: 1,
        refusals: vec![Refusals { filter: "memory".into(), nodes: 3, example: "128Mi of 64Mi".into() }],
        best: vec![(NodeId(0), 900), (NodeId(2), 100)],
    }
}

fn plan() -> Plan {
    let create = |slot, after, target| Create { workload: uid(3), version: 2, slot, after, target };
    let target = |node, ports: &[u16]| Target { node: NodeId(node), host_ports: ports.into() };
    Plan {
        parent: 9,
        creates: vec![
            create(0, None, Some(target(0, &[20_000, 9090]))),
            create(1, None, Some(target(1, &[20_001, 9090]))),
            create(5, Some(id(4, 2)), None),
            create(4, Some(id(4, 1)), None),
        ],
        places: vec![
            Place { task: id(5, 0), target: target(2, &[]) },
            Place { task: id(5, 3), target: target(1, &[]) },
        ],
        stops: vec![id(4, 0), id(4, 7), id(6, 1)],
        removes: vec![id(2, 0)],
        trims: vec![(uid(3), 4)],
        drops: vec![uid(2)],
        decisions: vec![(uid(3), decision())],
        rollouts: vec![],
    }
}

fn numbered(commands: impl IntoIterator<Item = Command>) -> Vec<Entry> {
    let entry = |(index, command)| Entry {
        index,
        term: 2,
        at: Time(1000 * index),
        wall_ms: 1_700_000_000_000 + index,
        actor: Actor::Unknown,
        command,
    };
    (1..).zip(commands).map(entry).collect()
}

fn put(update: Update, spec: Spec) -> Command {
    let (kind, name) = (Kind::Service, "web".into());
    Command::Put(Put {
        definition: Definition { kind, name, labels: [].into(), replicas: 3, update, spec },
        condition: Condition::None,
        keeps_replicas: false,
        idempotency_key: None,
    })
}

/// Everything that can be said of how a container is set up, and nothing but a limit of its memory.
fn setup_entries() -> Vec<Entry> {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    let tmpfs = |path: &str, size_bytes| Tmpfs { path: path.into(), size_bytes };
    let setup = Setup {
        user: Some("1000:1000".into()),
        working_dir: Some("/srv".into()),
        hostname: Some("db".into()),
        init: true,
        tty: true,
        stdin: true,
        tmpfs: vec![tmpfs("/run", None), tmpfs("/tmp", Some(64 << 20))],
        shm_bytes: Some(256 << 20),
        security: Security {
            capabilities_added: ["CHOWN".to_string()].into(),
            capabilities_dropped: ["ALL".to_string()].into(),
            read_only_root: true,
            no_new_privileges: true,
        },
        ulimits: [
            ("memlock".to_string(), Ulimit { soft: -1, hard: -1 }),
            ("nofile".to_string(), Ulimit { soft: 1024, hard: 65_536 }),
        ]
        .into(),
        sysctls: map(&[("net.core.somaxconn", "1024")]),
        extra_hosts: map(&[("host.docker.internal", "host-gateway")]),
        dns: Dns {
            servers: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            search: words(&["example.org"]),
            options: words(&["ndots:2"]),
        },
        logging: Some(Logging { driver: Some("json-file".into()), options: map(&[("max-size", "1m")]) }),
        labels: map(&[("team", "shop")]),
        volumes: vec![],
        host: HostAccess::default(),
    };
    let whole = Spec { container: Container { limits: Limits::default(), setup, ..spec().container }, ..spec() };
    let limits = Limits { memory_bytes: Some(1 << 30), ..Limits::default() };
    let logging = Some(Logging::default());
    let setup = Setup { logging, ..Setup::default() };
    let local = Some("127.0.0.1".parse().unwrap());
    let ports = vec![
        Port { protocol: Protocol::Both, ..Port::tcp("dns", 53, Some(53)) },
        Port { protocol: Protocol::Udp, host_ip: local, ..Port::tcp("game", 27015, None) },
    ];
    let little = Spec { container: Container { limits, setup, ports, ..spec().container }, ..spec() };
    numbered([put(Update::ONE_BY_ONE, whole), put(Update::ONE_BY_ONE, little)])
}

/// A node whose operator allows each thing that there is, and a spec that asks for all of them.
fn allowed_entries() -> Vec<Entry> {
    let words = "capability:NET_ADMIN devices docker-socket host-network host:/srv privileged unconfined";
    let allowed = words.split(' ').map(|word| word.parse().unwrap()).collect();
    let register = Command::Register(Registration { info: NodeInfo { allowed, ..info() }, inventory: vec![] });
    let mount = |host: &str, path: &str, read_only| HostMount { host: host.into(), path: path.into(), read_only };
    let host = HostAccess {
        mounts: vec![mount("/srv/media", "/media", true), mount("/run/docker.sock", "/run/docker.sock", false)],
        devices: vec![Device { host: "/dev/dri".into(), path: "/dev/gpu".into(), access: "rw".into() }],
        network: Network::Host,
        privileged: true,
        seccomp_unconfined: true,
        apparmor_unconfined: true,
    };
    let capabilities_added = ["NET_ADMIN".to_string()].into();
    let setup = |host| {
        let security = Security { capabilities_added, ..Security::default() };
        Setup { security, host, ..Setup::default() }
    };
    let of = |setup| Spec { container: Container { setup, ..spec().container }, ..spec() };
    let alone = HostAccess { network: Network::None, ..HostAccess::default() };
    let puts =
        [of(setup(host)), of(Setup { host: alone, ..Setup::default() })].map(|spec| put(Update::ONE_BY_ONE, spec));
    numbered([register].into_iter().chain(puts))
}

/// A spec whose tasks wait for others.
fn after_entries() -> Vec<Entry> {
    let after = |kind, name: &str, until| After { kind, name: name.into(), until };
    let after = vec![
        after(Kind::Service, "db", Until::Healthy),
        after(Kind::Service, "cache", Until::Started),
        after(Kind::Task, "migrate", Until::Complete),
    ];
    numbered([put(Update::ONE_BY_ONE, Spec { after, ..spec() })])
}

/// One of each command.
fn entries() -> Vec<Entry> {
    let definition = |kind, condition, idempotency_key: Option<&str>| {
        Command::Put(Put {
            definition: Definition {
                kind,
                name: "web".into(),
                labels: [("team".to_string(), "a".to_string())].into(),
                replicas: 3,
                update: Update::ONE_BY_ONE,
                spec: spec(),
            },
            condition,
            keeps_replicas: false,
            idempotency_key: idempotency_key.map(Into::into),
        })
    };
    let report = TaskReport::new(id(5, 1), TaskState::Failed, Some(end()));
    let running = TaskReport::new(id(5, 0), TaskState::Running, None);
    let change = |node, reach| ReachabilityChange { node: NodeId(node), incarnation: 4, reach };
    let commands = [
        Command::Init { cluster: ClusterId(0xfeed_f00d) },
        Command::Barrier { seed: u64::MAX },
        definition(Kind::Service, Condition::Absent, Some("key-1")),
        definition(Kind::Task, Condition::Revision(3), None),
        Command::Scale { name: "web".into(), replicas: 0, condition: Condition::None },
        Command::Delete { kind: Kind::Task, name: "once".into(), condition: Condition::Revision(4) },
        Command::StopTask { task: id(5, 1) },
        Command::Register(Registration { info: info(), inventory: vec![running.clone()] }),
        Command::Reach(vec![change(0, Reach::Unreachable { silent_since: Time(5000) }), change(1, Reach::Reachable)]),
        Command::Reports(vec![NodeReports { node: NodeId(1), incarnation: 8, reports: vec![running, report] }]),
        Command::Forget { name: "node-b".into() },
        Command::Plan(plan()),
    ];
    numbered(commands)
}

pub fn snapshot() -> Snapshot {
    let node = |slot: u32, reach| {
        let info = NodeInfo { name: format!("node-{slot}"), uid: NodeUid(slot.into()), ..info() };
        Node::bare(
            NodeId(slot),
            info,
            4,
            Time(4000),
            reach,
            Availability::Active,
            [(20_007, Time(9000))].into(),
            20_008,
        )
    };
    let mut running = Task::new(id(5, 0), uid(3), 0, 2, Time(5000));
    running.node = Some(NodeId(0));
    running.generation = 2;
    running.state = TaskState::Running;
    running.desired = Desired::Stopped;
    running.host_ports = [20_000, 9090].into();
    running.running_at = Some(Time(6000));
    running.serving_since = running.running_at;
    let mut failed = Task::new(id(5, 1), uid(3), 1, 1, Time(5000));
    failed.node = Some(NodeId(1));
    failed.generation = 1;
    failed.state = TaskState::Failed;
    failed.end = Some(Box::new(end()));
    failed.running_at = Some(Time(6000));
    failed.serving_since = failed.running_at;
    failed.ended_at = Some(Time(8000));
    Snapshot {
        cluster: Some(ClusterId(0xfeed_f00d)),
        epoch: 1,
        unknown: UnknownTasks::Removed,
        schema: 1,
        index: 12,
        term: 2,
        at: Time(12_000),
        wall_ms: 1_700_000_000_012,
        seed: u64::MAX,
        nodes: vec![node(0, Reach::Reachable), node(1, Reach::Unreachable { silent_since: Time(7000) })],
        // There was another, which was forgotten.
        next_node: NodeId(3),
        workloads: vec![Workload {
            uid: uid(3),
            kind: Kind::Service,
            name: "web".into(),
            labels: [("team".to_string(), "a".to_string())].into(),
            replicas: 3,
            update: Update::ONE_BY_ONE,
            revision: 7,
            created_at: Time(3000),
            versions: vec![
                Version::bare(
                    1,
                    Arc::new(Spec {
                        container: Container { image: "registry.example/web:0".into(), ..spec().container },
                        ..spec()
                    }),
                    Time(0),
                ),
                Version::bare(2, Arc::new(spec()), Time(0)),
            ],
            version: 2,
            stable: None,
            rollout: Some(Rollout::begun(Time(0), true)),
            deleting: true,
            decision: Some(decision()),
            slots: vec![Slot::bare(0, 0, Time(0), 0), Slot::bare(4, 0, Time(13_000), 0), Slot::bare(1, 0, Time(0), 0)],
        }],
        tasks: vec![running, failed, Task::new(id(9, 0), uid(3), 2, 2, Time(5000))],
        volumes: vec![],
        keys: vec![
            KeyRecord {
                key: "key-1".into(),
                fingerprint: 77,
                answer: Answer::Workload { uid: uid(3), revision: 3, version: 1, created: true, task: Some(id(3, 0)) },
            },
            KeyRecord { key: "key-2".into(), fingerprint: 78, answer: Answer::Done },
            KeyRecord {
                key: "key-3".into(),
                fingerprint: 79,
                answer: Answer::Node { node: NodeId(1), incarnation: 8 },
            },
        ],
        history: Vec::new(),
    }
}

const UPDATE: Update = Update { max_surge: 0, max_unavailable: 2, min_healthy: Millis::secs(10), ..Update::ONE_BY_ONE };
const CANARY: Update =
    Update { canary: 1, deadline: Some(Millis::secs(600)), on_failure: OnFailure::Rollback, ..UPDATE };

const PROBED: Probed = Probed { health: Some(true), ready: Some(false), image: None };

pub fn probes() -> Probes {
    let http = ProbeAsk::Http { port: "http".into(), path: "/healthz".into() };
    let command = ProbeAsk::Command(vec!["/bin/web".into(), "well".into()]);
    let [health, ready] = [http, command].map(|ask| Some(Probe::asking(ask).into()));
    Probes { health, ready }
}

/// What came to the log after the first files were written.
fn later_entries() -> Vec<Entry> {
    let availability = |order| Command::SetAvailability { name: "node-a".into(), order };
    let stop = Stop { delay: Millis::secs(5), signal: Some("SIGQUIT".into()), grace: Millis::secs(10) };
    let commands = [
        Command::Restart { name: "web".into(), condition: Condition::Revision(4) },
        availability(AvailabilityOrder::Cordon),
        availability(AvailabilityOrder::Drain { deadline: None }),
        availability(AvailabilityOrder::Drain { deadline: Some(Millis::secs(300)) }),
        availability(AvailabilityOrder::Uncordon),
        put(UPDATE, spec()),
        put(
            Update::ONE_BY_ONE,
            Spec { container: Container { pull: Pull::Always, stop, ..spec().container }, ..spec() },
        ),
        Command::Register(Registration {
            info: NodeInfo { address: Some([10, 0, 0, 5].into()), ..info() },
            inventory: vec![],
        }),
        Command::Reports(vec![NodeReports {
            node: NodeId(1),
            incarnation: 8,
            reports: vec![TaskReport::new(
                id(5, 1),
                TaskState::Failed,
                Some(End { port: Some(8080), ..End::new(Reason::PortTaken, "taken") }),
            )],
        }]),
        put(Update::ONE_BY_ONE, Spec { container: Container { probes: probes(), ..spec().container }, ..spec() }),
        Command::Reports(vec![NodeReports {
            node: NodeId(0),
            incarnation: 8,
            reports: vec![TaskReport {
                probed: PROBED,
                why: "ready: 503".into(),
                ..TaskReport::new(id(5, 0), TaskState::Running, None)
            }],
        }]),
    ];
    numbered(commands)
}

/// And to the snapshot.
fn later_snapshot() -> Snapshot {
    let web = || Subject::Workload(Kind::Service, uid(3), "web".into());
    let event = |index, what, subject, task, node: Option<NodeId>, message: &str| {
        let at = Time(1000 * index);
        // Older snapshots leave the name to the node.
        let node_name = node.map_or_else(Arc::default, |node| format!("node-{}", node.0).into());
        HistoryEvent { index, at, actor: Actor::Unknown, what, subject, task, node, node_name, message: message.into() }
    };
    let history = vec![
        event(2, What::Joined, Subject::Node, None, Some(NodeId(1)), ""),
        event(3, What::Created, web(), None, None, "3 replicas of registry.example/web:1"),
        event(5, What::Failed, web(), Some(id(5, 1)), Some(NodeId(1)), "exited with code -3: gone"),
        event(6, What::Draining, Subject::Node, None, Some(NodeId(1)), "1 task to go"),
    ];
    let mut later = Snapshot { history, ..snapshot() };
    later.workloads[0].update = UPDATE;
    later.tasks[0].probed = PROBED;
    later.tasks[0].serving_since = None;
    later.tasks[1].serving_since = Some(Time(7000));
    later.nodes[0].availability = Availability::Cordoned;
    later.nodes[1].availability = Availability::Draining { since: Time(6000), deadline: Some(Time(306_000)) };
    later
}

/// What came with rollouts.
fn rollout_entries() -> Vec<Entry> {
    let order = |order| Command::Rollout { name: "web".into(), order, condition: Condition::None };
    numbered([
        put(CANARY, spec()),
        order(RolloutOrder::Pause),
        order(RolloutOrder::Resume),
        order(RolloutOrder::Promote),
        order(RolloutOrder::Undo { to: None }),
        order(RolloutOrder::Undo { to: Some(2) }),
        Command::Plan(Plan {
            rollouts: vec![
                (uid(3), 2, RolloutStep::Extend),
                (uid(4), 1, RolloutStep::AwaitPromotion),
                (uid(5), 1, RolloutStep::Fail),
                (uid(6), 7, RolloutStep::Finish),
            ],
            ..Plan::default()
        }),
        put(
            UPDATE,
            Spec {
                disconnect: Disconnect {
                    replace_after: Some(Millis::secs(30)),
                    keep: Keep::Original,
                    fence: Fence::Timed,
                },
                restart: Restart { jitter_percent: Some(50), ..Restart::with_policy(RestartPolicy::Always) },
                ..spec()
            },
        ),
        put(UPDATE, Spec { disconnect: Disconnect { fence: Fence::Confirmed, ..Disconnect::default() }, ..spec() }),
        Command::Reports(vec![NodeReports {
            node: NodeId(0),
            incarnation: 8,
            reports: vec![
                TaskReport { digest: Some(DIGEST.into()), ..TaskReport::new(id(5, 0), TaskState::Preparing, None) },
                TaskReport::new(id(5, 1), TaskState::Failed, Some(End::exited(Reason::Fenced, 0))),
            ],
        }]),
    ])
}

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// And to the snapshot.
fn rollout_snapshot() -> Snapshot {
    let mut later = snapshot();
    let mut older = later.workloads[0].clone();
    older.uid = uid(4);
    older.name = "shop".into();
    (older.update, older.version, older.stable) = (CANARY, 1, Some(1));
    let begun = Rollout::begun(Time(9000), false);
    older.rollout = Some(Rollout { state: RolloutState::Canary, settled: 1, failed: Some(2), ..begun });
    older.versions =
        vec![Version::bare(1, Arc::new(spec()), Time(4000)), Version::bare(2, Arc::new(spec()), Time(5000))];
    older.versions[0].was_stable = true;
    older.versions[1].is_restart = true;
    older.versions[0].digest = Some(DIGEST.into());
    later.workloads.push(older);
    later
}

/// What came with fast failures.
fn failures_entries() -> Vec<Entry> {
    numbered([put(Update { max_failures: 3, ..CANARY }, spec())])
}

/// Who asked.
fn actor_entries() -> Vec<Entry> {
    let commands = Actor::ALL.map(|_| Command::Barrier { seed: 1 });
    let by = |(entry, actor)| Entry { actor, ..entry };
    numbered(commands).into_iter().zip(Actor::ALL).map(by).collect()
}

/// And in the history.
fn actor_snapshot() -> Snapshot {
    let by = |(index, actor)| HistoryEvent {
        index,
        at: Time(1000 * index),
        actor,
        what: What::Created,
        subject: Subject::Workload(Kind::Service, uid(3), "web".into()),
        task: None,
        node: None,
        node_name: Arc::default(),
        message: String::new(),
    };
    Snapshot { history: (2..).zip(Actor::ALL).map(by).collect(), ..snapshot() }
}

/// Of which version the failures of a slot are.
fn failures_snapshot() -> Snapshot {
    let mut later = snapshot();
    later.workloads[0].slots =
        vec![Slot::bare(0, 0, Time(0), 0), Slot::bare(4, 2, Time(13_000), 0), Slot::bare(1, 1, Time(9), 2)];
    later
}

/// Nodes that were forgotten have left, and the history has their names.
fn nodes_snapshot() -> Snapshot {
    let mut later = later_snapshot();
    let forgotten = later.nodes.remove(0);
    later.tasks.remove(0);
    later.history.push(HistoryEvent {
        index: 7,
        at: Time(7000),
        actor: Actor::Local,
        what: What::Forgotten,
        subject: Subject::Node,
        task: None,
        node: Some(forgotten.id),
        node_name: forgotten.info.name.into(),
        message: String::new(),
    });
    later
}

/// A user who did not say how many replicas.
fn kept_replicas_entries() -> Vec<Entry> {
    let Command::Put(put) = put(Update::ONE_BY_ONE, spec()) else { unreachable!("it is one") };
    numbered([Command::Put(Put { keeps_replicas: true, ..put })])
}

/// An image that cannot be had, which somebody was asked for before anything was stopped.
fn prefetch_entries() -> Vec<Entry> {
    let end = End::new(Reason::PullFailed, "no such image");
    numbered([Command::PrefetchFailed { node: NodeId(1), workload: uid(3), version: 2, end }])
}

/// A node on which tasks could not be started.
fn avoided_snapshot() -> Snapshot {
    let mut later = nodes_snapshot();
    let node = &mut later.nodes[0];
    let workloads = [uid(3), uid(4)].into();
    node.failed_starts = FailedStarts { count: 3, workloads, avoided_until: Some(Time(67_000)) };
    later.history.push(HistoryEvent {
        index: 8,
        at: Time(7000),
        actor: Actor::Worker,
        what: What::Avoided,
        subject: Subject::Node,
        task: None,
        node: Some(node.id),
        node_name: node.info.name.as_str().into(),
        message: "3 tasks in a row could not be started on it".into(),
    });
    later
}

/// A node whose disk became full, and had room again.
fn disk_entries() -> Vec<Entry> {
    let change = |full| DiskChange { node: NodeId(1), incarnation: 4, full };
    numbered([Command::Disks(vec![change(true)]), Command::Disks(vec![change(false)])])
}

fn settled_entries() -> Vec<Entry> {
    numbered([Command::SettleUnknown { adopt: true }, Command::SettleUnknown { adopt: false }])
}

/// A state that was restored from a backup, and a node with tasks that it does not know.
fn restored_snapshot() -> Snapshot {
    let mut later = nodes_snapshot().for_restore(2);
    let node = &mut later.nodes[0];
    node.unknown = [TaskId { epoch: 1, index: 90, ordinal: 0 }, TaskId { epoch: 1, index: 90, ordinal: 1 }].into();
    later.history.push(HistoryEvent {
        index: 8,
        at: Time(7000),
        actor: Actor::Worker,
        what: What::UnknownTasks,
        subject: Subject::Node,
        task: None,
        node: Some(node.id),
        node_name: node.info.name.as_str().into(),
        message: "2 tasks from before the restore: left alone".into(),
    });
    later
}

/// A node whose disk is full.
fn disk_full_snapshot() -> Snapshot {
    let mut later = nodes_snapshot();
    let node = &mut later.nodes[0];
    node.disk_full_since = Some(Time(7000));
    later.history.push(HistoryEvent {
        index: 8,
        at: Time(7000),
        actor: Actor::Worker,
        what: What::DiskFull,
        subject: Subject::Node,
        task: None,
        node: Some(node.id),
        node_name: node.info.name.as_str().into(),
        message: String::new(),
    });
    later
}

/// A node says which build of an image it has that no registry knows.
fn build_entries() -> Vec<Entry> {
    let report = TaskReport { image_id: Some(DIGEST.into()), ..TaskReport::new(id(5, 0), TaskState::Starting, None) };
    numbered([Command::Reports(vec![NodeReports { node: NodeId(0), incarnation: 8, reports: vec![report] }])])
}

/// A version whose tasks run two builds.
fn build_snapshot() -> Snapshot {
    let mut later = nodes_snapshot();
    later.workloads[0].versions[0].image_id = Some(DIGEST.into());
    later.history.push(HistoryEvent {
        index: 8,
        at: Time(7000),
        actor: Actor::Worker,
        what: What::ImageDiffers,
        subject: Subject::Workload(Kind::Service, uid(3), "web".into()),
        task: Some(id(5, 1)),
        node: Some(NodeId(0)),
        node_name: "node-a".into(),
        message: "version 1 runs two builds".into(),
    });
    later
}

/// Data that outlives its tasks, and is given up.
fn volume_entries() -> Vec<Entry> {
    let mount = |volume: &str, path: &str, read_only, access| {
        let (volume, path) = (volume.to_string(), path.to_string());
        VolumeMount { volume, path, read_only, access }
    };
    let volumes = vec![mount("data", "/data", false, Access::Exclusive), mount("media", "/m", true, Access::Shared)];
    let with_volumes =
        Spec { container: Container { setup: Setup { volumes, ..Setup::default() }, ..spec().container }, ..spec() };
    numbered([put(Update::ONE_BY_ONE, with_volumes), Command::RemoveVolume { name: "data".into() }])
}

/// Where the data of volumes is.
fn volume_snapshot() -> Snapshot {
    let mut later = nodes_snapshot();
    let volume = |name: &str, node: NodeUid| Volume::bare(name.into(), uid(3), node, "node-1".into(), Time(5000));
    later.volumes = vec![volume("data", NodeUid(1)), volume("media", NodeUid(u64::MAX))];
    later.history.push(HistoryEvent {
        index: 8,
        at: Time(7000),
        actor: Actor::Local,
        what: What::VolumeRemoved,
        subject: Subject::Node,
        task: None,
        node: Some(NodeId(1)),
        node_name: "node-1".into(),
        message: "volume old: its data stays on node-1, and nobody is given it again".into(),
    });
    later
}

/// Records in a file: each with its length before it, four bytes, little-endian.
fn pack(records: &[Vec<u8>]) -> Vec<u8> {
    let framed = |r: &Vec<u8>| [&u32::try_from(r.len()).unwrap().to_le_bytes()[..], r].concat();
    records.iter().flat_map(framed).collect()
}

fn unpack(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (record, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
        records.push(record.to_vec());
        bytes = rest;
    }
    records
}

/// The messages as a person reads them.
pub fn shown<M: prost::Message + Default + std::fmt::Debug>(records: &[Vec<u8>]) -> String {
    records.iter().map(|record| format!("{:#?}\n", M::decode(&record[..]).unwrap())).collect()
}

pub fn golden(name: &str, records: &[Vec<u8>], text: &str) -> Vec<Vec<u8>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/v1");
    let (bin, txt) = (dir.join(format!("{name}.bin")), dir.join(format!("{name}.txt")));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&bin, pack(records)).unwrap();
        fs::write(&txt, text).unwrap();
    }
    assert_eq!(fs::read_to_string(&txt).unwrap(), text, "{} differs", txt.display());
    unpack(&fs::read(bin).unwrap())
}

fn entries_are_kept(name: &str, entries: Vec<Entry>) {
    let records: Vec<Vec<u8>> = entries.iter().map(encode_entry).collect();
    let stored = golden(name, &records, &shown::<v1::Entry>(&records));
    let read: Vec<Entry> = stored.iter().map(|r| decode_entry(r).unwrap()).collect();
    assert_eq!(read, entries);
    assert_eq!(records, stored);
}

/// One that is not written like this any more: its bytes stay as they are.
fn older_snapshot_is_read(name: &str, snapshot: Snapshot) {
    let bin = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/v1/{name}.bin"));
    let stored = unpack(&fs::read(bin).unwrap());
    golden(name, &stored, &shown::<v1::SnapshotChunk>(&stored));
    assert_eq!(decode_snapshot(&stored), Ok(snapshot.clone()));
    assert_eq!(decode_snapshot(encode_snapshot(&snapshot)), Ok(snapshot));
}

fn snapshot_is_kept(name: &str, snapshot: Snapshot) {
    let chunks = encode_snapshot(&snapshot);
    let stored = golden(name, &chunks, &shown::<v1::SnapshotChunk>(&chunks));
    assert_eq!(decode_snapshot(&stored), Ok(snapshot));
    assert_eq!(chunks, stored);
}

#[test]
fn entries_of_version_1_are_read_and_written_byte_for_byte() {
    entries_are_kept("entries", entries());
    entries_are_kept("entries-later", later_entries());
    entries_are_kept("entries-rollouts", rollout_entries());
    entries_are_kept("entries-actors", actor_entries());
    entries_are_kept("entries-failures", failures_entries());
    entries_are_kept("entries-kept-replicas", kept_replicas_entries());
    entries_are_kept("entries-prefetch", prefetch_entries());
    entries_are_kept("entries-disks", disk_entries());
    entries_are_kept("entries-settled", settled_entries());
    entries_are_kept("entries-builds", build_entries());
    entries_are_kept("entries-setup", setup_entries());
    entries_are_kept("entries-allowed", allowed_entries());
    entries_are_kept("entries-after", after_entries());
    entries_are_kept("entries-volumes", volume_entries());
}

#[test]
fn a_snapshot_of_version_1_is_read_and_written_byte_for_byte() {
    snapshot_is_kept("snapshot-nodes", nodes_snapshot());
    snapshot_is_kept("snapshot-avoided", avoided_snapshot());
    snapshot_is_kept("snapshot-disk-full", disk_full_snapshot());
    snapshot_is_kept("snapshot-builds", build_snapshot());
    snapshot_is_kept("snapshot-restored", restored_snapshot());
    snapshot_is_kept("snapshot-volumes", volume_snapshot());
}

#[test]
fn snapshots_that_keep_forgotten_nodes_are_read_without_them() {
    older_snapshot_is_read("snapshot", snapshot());
    older_snapshot_is_read("snapshot-later", later_snapshot());
    older_snapshot_is_read("snapshot-rollouts", rollout_snapshot());
    older_snapshot_is_read("snapshot-failures", failures_snapshot());
    older_snapshot_is_read("snapshot-actors", actor_snapshot());
}

//! What a worker measures. A scrape reads what the driver has written here, and never waits for the driver, nor the driver
//! for it.

#![cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "a scrape reads it"))]

use orbit_core::worker::{ContainerState, OpErrorKind, OpKind, OpResult, Worker};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use std::{sync::Mutex, time::Duration};
use tokio::time::Instant;

/// How often all containers are counted: that costs as much as the node is large, and a step does not.
const COUNT_EVERY: Duration = Duration::from_secs(1);

fn error(kind: OpErrorKind) -> &'static str {
    match kind {
        OpErrorKind::Engine => "engine",
        OpErrorKind::NotFound => "not_found",
        OpErrorKind::NameTaken => "name_taken",
        OpErrorKind::ImageMissing => "image_missing",
        OpErrorKind::PortTaken(_) => "port_taken",
        OpErrorKind::Timeout => "timeout",
        OpErrorKind::Unwell => "unwell",
        OpErrorKind::Refused => "refused",
        OpErrorKind::Unclear => "unclear",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFailure {
    kind: &'static str,
    error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfManager {
    manager: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: &'static str,
}

/// A worker's own measures.
pub(crate) struct Metrics {
    engine_up: Gauge,
    session_up: Gauge,
    manager_up: Family<OfManager, Gauge>,
    ledger_tasks: Gauge,
    disk_full: Gauge,
    containers: Family<OfState, Gauge>,
    begun: Family<OfKind, Counter>,
    failed: Family<OfFailure, Counter>,
    durations: Family<OfKind, Histogram>,
    /// When the containers were counted last.
    counted: Mutex<Option<Instant>>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let metrics = Metrics {
            engine_up: Gauge::default(),
            session_up: Gauge::default(),
            manager_up: Family::default(),
            ledger_tasks: Gauge::default(),
            disk_full: Gauge::default(),
            containers: Family::default(),
            begun: Family::default(),
            failed: Family::default(),
            // From a millisecond to some two minutes: an image may take that long.
            durations: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 18))),
            counted: Mutex::default(),
        };
        // A series that comes with its first event is hard to alert on.
        for kind in OpKind::ALL {
            drop(metrics.begun.get_or_create(&OfKind { kind: kind.as_str() }));
            drop(metrics.durations.get_or_create(&OfKind { kind: kind.as_str() }));
            drop(metrics.failed.get_or_create(&OfFailure { kind: kind.as_str(), error: error(OpErrorKind::Engine) }));
        }
        metrics.count([0; 3]);
        metrics
    }
}

impl Metrics {
    /// Puts the measures into a registry, under their names.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("worker");
        let engine = "1 while the container engine answers; without it nothing is started or stopped";
        registry.register("engine_up", engine, self.engine_up.clone());
        let session = "1 while the manager has welcomed this worker";
        registry.register("session_up", session, self.session_up.clone());
        let manager = "1 of the manager that this worker works for, 0 of the others that it may work for";
        registry.register("manager_up", manager, self.manager_up.clone());
        registry.register("ledger_tasks", "Tasks that the ledger remembers", self.ledger_tasks.clone());
        let full = "1 while the disk of the ledger or of the engine is full, so that the node takes no tasks";
        registry.register("disk_full", full, self.disk_full.clone());
        let containers = "Containers of this node by the state that they were seen in last";
        registry.register("containers", containers, self.containers.clone());
        registry.register("operations", "Operations on the engine that were begun", self.begun.clone());
        let failed = "Operations on the engine that failed, and how; of a probe, unwell is its answer";
        registry.register("operation_failures", failed, self.failed.clone());
        let durations = "From the beginning of an operation to its end";
        registry.register_with_unit("operation_duration", durations, Unit::Seconds, self.durations.clone());
    }

    /// An operation begins.
    pub fn begun(&self, kind: OpKind) {
        self.begun.get_or_create(&OfKind { kind: kind.as_str() }).inc();
    }

    /// An operation has ended, after so long.
    pub fn ended(&self, kind: OpKind, took: Duration, result: &OpResult) {
        self.durations.get_or_create(&OfKind { kind: kind.as_str() }).observe(took.as_secs_f64());
        if let Err(failure) = result {
            self.failed.get_or_create(&OfFailure { kind: kind.as_str(), error: error(failure.kind) }).inc();
        }
    }

    /// What the machine knows after a step.
    pub fn stepped(&self, worker: &Worker, now: Instant) {
        self.engine_up.set((!worker.is_engine_down()).into());
        self.session_up.set(worker.is_welcome().into());
        self.ledger_tasks.set(worker.ledger().tasks.len() as i64);
        self.disk_full.set(worker.is_disk_full().into());
        let mut counted = self.counted.lock().expect("nobody panics with it");
        if counted.is_some_and(|at| now.duration_since(at) < COUNT_EVERY) {
            return;
        }
        *counted = Some(now);
        let mut containers = [0; 3];
        for state in worker.containers() {
            match state {
                ContainerState::Created => containers[0] += 1,
                ContainerState::Running => containers[1] += 1,
                ContainerState::Exited { .. } => containers[2] += 1,
            }
        }
        self.count(containers);
    }

    /// Each manager, and whether this worker works for it.
    pub fn works_for<'a>(&self, managers: impl Iterator<Item = (&'a str, bool)>) {
        for (manager, up) in managers {
            self.manager_up.get_or_create(&OfManager { manager: manager.to_string() }).set(up.into());
        }
    }

    fn count(&self, containers: [i64; 3]) {
        for (state, count) in ["created", "running", "exited"].into_iter().zip(containers) {
            self.containers.get_or_create(&OfState { state }).set(count);
        }
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;
    use orbit_core::{
        model::{ClusterId, Millis, NodeInfo, NodeUid, Resources, TaskId},
        worker::{
            Action, BootId, Config, EngineContainer, Event, ImageCollection, Ledger, Op, OpError, OpId, OpOutput, Owner,
        },
    };
    use prometheus_client::encoding::text::encode;

    fn text(metrics: &Metrics) -> String {
        let mut registry = Registry::with_prefix("orbit");
        metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    fn value(metrics: &Metrics, series: &str) -> f64 {
        let text = text(metrics);
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in {text}")).parse().unwrap()
    }

    #[test]
    fn operations_are_counted_by_kind_and_failures_by_error() {
        let metrics = Metrics::default();
        assert_eq!(
            value(&metrics, "orbit_worker_operations_total{kind=\"create\"}"),
            0.0,
            "it is there from the start"
        );
        let owner = Owner { cluster: ClusterId(1), node: NodeUid(1) };
        let ops = [Op::List(owner), Op::Start("a".into()), Op::Start("b".into()), Op::Remove("a".into())];
        ops.iter().for_each(|op| metrics.begun(OpKind::of(op)));
        let failure = |kind| Err(OpError { kind, message: "no".into() });
        metrics.ended(OpKind::Start, Duration::from_millis(3), &failure(OpErrorKind::PortTaken(Some(80))));
        metrics.ended(OpKind::Start, Duration::from_millis(3), &Ok(OpOutput::Done));
        metrics.ended(OpKind::EnsureImage, Duration::from_secs(3), &failure(OpErrorKind::Timeout));
        for (series, expected) in [
            ("operations_total{kind=\"list\"}", 1.0),
            ("operations_total{kind=\"start\"}", 2.0),
            ("operations_total{kind=\"remove\"}", 1.0),
            ("operation_failures_total{kind=\"start\",error=\"port_taken\"}", 1.0),
            ("operation_failures_total{kind=\"ensure_image\",error=\"timeout\"}", 1.0),
            ("operation_duration_seconds_count{kind=\"start\"}", 2.0),
            ("operation_duration_seconds_bucket{le=\"0.004\",kind=\"start\"}", 2.0),
            ("operation_duration_seconds_bucket{le=\"0.002\",kind=\"start\"}", 0.0),
            ("operation_duration_seconds_sum{kind=\"ensure_image\"}", 3.0),
        ] {
            assert_eq!(value(&metrics, &format!("orbit_worker_{series}")), expected, "{series}");
        }
    }

    fn worker() -> Worker {
        let info = NodeInfo {
            uid: NodeUid(1),
            name: "node-1".into(),
            labels: Default::default(),
            arch: "amd64".into(),
            os: "linux".into(),
            allocatable: Resources { cpu_millis: 1000, memory_bytes: 1 << 30 },
            port_range: (20_000, 20_099),
            address: None,
            pinned_ports: None,
            allowed: [].into(),
            versions: Default::default(),
        };
        let (pull_deadline, resync_every) = (Millis::secs(10), Millis::secs(30));
        let mut ledger = Ledger::new(NodeUid(1));
        ledger.cluster = Some(ClusterId(1));
        ledger.tasks.insert(task(1), Default::default());
        Worker::restore(
            Config {
                info,
                pull_deadline,
                starts_max: 1,
                resync_every,
                disk_reserve_bytes: 0,
                image_collection: ImageCollection::NEVER,
            },
            ledger,
            BootId(1),
            1,
        )
    }

    fn task(index: u64) -> TaskId {
        TaskId { epoch: 1, index, ordinal: 0 }
    }

    /// Steps, and gives the listing that the machine wants.
    fn listing(actions: &[Action]) -> OpId {
        let list = |action: &Action| match action {
            Action::Runtime { op, request: Op::List(_) } => Some(*op),
            _ => None,
        };
        actions.iter().find_map(list).expect("it lists")
    }

    #[test]
    fn the_engine_the_session_the_ledger_and_the_containers_are_as_the_machine_knows_them() {
        let (metrics, mut worker, zero) = (Metrics::default(), worker(), Instant::now());
        assert_eq!(value(&metrics, "orbit_worker_engine_up"), 0.0, "nobody has asked it yet");
        let op = listing(&worker.step(orbit_core::model::Time(0), Event::Wake));
        let container = |index: u64, state| EngineContainer {
            id: format!("{index}"),
            name: format!("orbit-{}-{}", ClusterId(1), task(index)),
            task: task(index),
            spec: 1,
            state,
            image_health: None,
        };
        let exited = ContainerState::Exited { code: 0, out_of_memory: false };
        let states = [ContainerState::Running, ContainerState::Running, ContainerState::Created, exited];
        let containers = (1..).zip(states).map(|(index, state)| container(index, state)).collect();
        let done = Event::Done { op, result: Ok(OpOutput::Containers(containers)) };
        worker.step(orbit_core::model::Time(1), done);
        metrics.stepped(&worker, zero);
        let of = |state: &str| value(&metrics, &format!("orbit_worker_containers{{state=\"{state}\"}}"));
        assert_eq!((of("running"), of("created"), of("exited")), (2.0, 1.0, 1.0));
        assert_eq!(value(&metrics, "orbit_worker_engine_up"), 1.0);
        assert_eq!(value(&metrics, "orbit_worker_session_up"), 0.0);
        assert!(value(&metrics, "orbit_worker_ledger_tasks") >= 1.0);

        // The engine goes away, and its containers are counted no more than once a second.
        let op = listing(&worker.step(orbit_core::model::Time(2), Event::HintsLost));
        let error = OpError { kind: OpErrorKind::Engine, message: "gone".into() };
        worker.step(orbit_core::model::Time(3), Event::Done { op, result: Err(error) });
        metrics.stepped(&worker, zero + COUNT_EVERY / 2);
        assert_eq!(value(&metrics, "orbit_worker_engine_up"), 0.0);
        for metric in ["engine_up", "session_up", "ledger_tasks", "containers", "operations", "operation_failures"] {
            let help = format!("# HELP orbit_worker_{metric} ");
            assert!(text(&metrics).contains(&help), "{metric} is described");
        }
    }
}

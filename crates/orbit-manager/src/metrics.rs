//! What the manager measures of itself. Names and units are part of the interface: base units, and labels of which there
//! are few values.
//!
//! What the state can say is not measured: a scrape reads it (`http/metrics`).

#![cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "the REST API reads it"))]

use orbit_core::{
    manager::Action,
    model::{Command, Entry},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};

/// So many scrapes are made at a time: each reads the whole fleet. Others wait for their turn.
const SCRAPES_MAX: usize = 2;
/// How often the invariants are recomputed for scrapes.
const CHECK_EVERY: Duration = Duration::from_secs(60);

/// A route of the REST API, and how it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    method: &'static str,
    route: String,
}

/// What kind of answer was given there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAnswer {
    method: &'static str,
    route: String,
    status: &'static str,
}

/// The file system of the state directory, as the writer of the log saw it last.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    pub free_bytes: u64,
    /// Below so many, users' writes are refused.
    pub reserve_bytes: u64,
}

/// Since when the work has waited that plans are made for.
#[derive(Default)]
struct Waiting {
    /// Of the plan that was proposed and is not in force yet.
    plan_since: Option<Instant>,
    /// Since the first entry that came meanwhile: the next plan is made once that one is in force.
    next_since: Option<Instant>,
}

/// The manager's own measures. Gauges of the cluster are read when they are asked for.
pub(crate) struct Metrics {
    placement: Histogram,
    lag: Histogram,
    fsync: Histogram,
    restarts: Counter,
    pub violations: Counter,
    answers: Family<OfAnswer, Counter>,
    latencies: Family<OfRoute, Histogram>,
    log_entries: Gauge,
    log_bytes: Gauge,
    snapshots: Counter,
    /// Nothing before the first look.
    room: Mutex<Option<Room>>,
    disk_full: Gauge,
    waiting: Mutex<Waiting>,
    /// The turns of scrapes.
    pub scrapes: Semaphore,
    /// When the invariants were recomputed last.
    checked: Mutex<Option<Instant>>,
}

impl Metrics {
    pub fn new() -> Metrics {
        // From a tenth of a millisecond to some ten seconds.
        let seconds = || Histogram::new(exponential_buckets(0.0001, 2.0, 18));
        Metrics {
            placement: seconds(),
            lag: seconds(),
            fsync: seconds(),
            restarts: Counter::default(),
            violations: Counter::default(),
            answers: Family::default(),
            // From a millisecond to some eight seconds: there is one for each route.
            latencies: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 14))),
            log_entries: Gauge::default(),
            log_bytes: Gauge::default(),
            snapshots: Counter::default(),
            room: Mutex::default(),
            disk_full: Gauge::default(),
            waiting: Mutex::default(),
            scrapes: Semaphore::new(SCRAPES_MAX),
            checked: Mutex::default(),
        }
    }

    /// Whether the invariants are to be recomputed now: it costs as much as the cluster is large, so once a
    /// minute, however often it is scraped.
    pub fn is_check_due(&self, now: Instant) -> bool {
        let mut checked = self.checked.lock().expect("nobody panics with it");
        let due = checked.is_none_or(|at| now.duration_since(at) >= CHECK_EVERY);
        if due {
            *checked = Some(now);
        }
        due
    }

    /// Puts the measures into a registry, under their names.
    pub fn register(&self, registry: &mut Registry) {
        let mut seconds = |name, help, histogram: &Histogram| {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        };
        seconds("scheduler_placement", "Making one plan: reconciling and placing", &self.placement);
        let lag = "From the first entry or timer that asked for a plan to the plan being in force; intended waits, such as a backoff, do not count";
        seconds("reconcile_lag", lag, &self.lag);
        seconds("log_fsync", "Writing one group of entries, and its sync", &self.fsync);
        registry.register("task_restarts", "Tasks that followed another in their slot", self.restarts.clone());
        let violations = self.violations.clone();
        registry.register("invariant_violations", "Invariants found not to hold; look at the log", violations);
        let answers = "Requests to the REST API by the route's template and the class of the status";
        registry.register("http_requests", answers, self.answers.clone());
        let latencies = "From a request to the head of its answer; the body of a watch or of a log does not count";
        registry.register_with_unit("http_request_duration", latencies, Unit::Seconds, self.latencies.clone());
        let entries = "Entries of the log that are not in the newest snapshot";
        registry.register("log_entries", entries, self.log_entries.clone());
        let bytes = "What those entries take";
        registry.register_with_unit("log", bytes, Unit::Bytes, self.log_bytes.clone());
        registry.register("snapshots", "Snapshots written since the start", self.snapshots.clone());
        let full = "1 while the disk is full, so that users' writes are refused";
        registry.register("state_disk_full", full, self.disk_full.clone());
        if let Some(Room { free_bytes, reserve_bytes }) = *self.room.lock().expect("nobody panics with it") {
            let mut bytes = |name: &str, help: &str, value: u64| {
                registry.register_with_unit(name, help, Unit::Bytes, ConstGauge::new(value as f64));
            };
            bytes("state_disk_free", "What is free on the file system of the state directory", free_bytes);
            bytes("state_disk_reserve", "Users' writes are refused while less than this is free", reserve_bytes);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nobody panics with it")
    }

    /// A step of the machine went on from one time to the other, and wants this done.
    pub fn stepped(&self, begun: Instant, ended: Instant, actions: &[Action]) {
        let is_plan = |action: &Action| matches!(action, Action::Propose { command: Command::Plan(_), .. });
        let mut waiting = self.waiting();
        if actions.iter().any(is_plan) {
            self.placement.observe(ended.duration_since(begun).as_secs_f64());
            waiting.plan_since = Some(waiting.next_since.take().unwrap_or(begun));
        } else if waiting.plan_since.is_none() {
            // It was looked at, and there is nothing to do before a time that is meant.
            waiting.next_since = None;
        }
    }

    /// An entry is in force. To be said before the machine hears of it.
    pub fn committed(&self, entry: &Entry, now: Instant) {
        let mut waiting = self.waiting();
        if let Command::Plan(plan) = &entry.command {
            if let Some(since) = waiting.plan_since.take() {
                self.lag.observe(now.duration_since(since).as_secs_f64());
            }
            self.restarts.inc_by(plan.creates.iter().filter(|create| create.after.is_some()).count() as u64);
        } else if waiting.plan_since.is_some() {
            waiting.next_since.get_or_insert(now);
        }
    }

    /// What was proposed may never be in force.
    pub fn lost(&self) {
        *self.waiting() = Waiting::default();
    }

    /// A group of entries is durable, after so long.
    pub fn synced(&self, took: Duration) {
        self.fsync.observe(took.as_secs_f64());
    }

    /// So much is in the log behind the newest snapshot.
    pub fn log_is(&self, entries: u64, bytes: u64) {
        let gauge = |value| i64::try_from(value).unwrap_or(i64::MAX);
        self.log_entries.set(gauge(entries));
        self.log_bytes.set(gauge(bytes));
    }

    /// A snapshot was written.
    pub fn compacted(&self) {
        self.snapshots.inc();
    }

    /// So much room is on the disk.
    pub fn room_is(&self, room: Room) {
        *self.room.lock().expect("nobody panics with it") = Some(room);
    }

    /// Whether users' writes are refused because the disk is full.
    pub fn disk_is_full(&self, full: bool) {
        self.disk_full.set(full.into());
    }

    /// As [`disk_is_full`](Self::disk_is_full) was told last.
    pub fn is_disk_full(&self) -> bool {
        self.disk_full.get() != 0
    }

    /// A request was answered. The template of a route stands for all paths that match it; nothing where none does.
    pub fn answered(&self, method: &str, route: Option<&str>, status: u16, took: Duration) {
        // Anybody may make up a method or a path.
        let known = ["GET", "HEAD", "PUT", "POST", "DELETE"];
        let method = known.into_iter().find(|known| *known == method && status != 405).unwrap_or("other");
        let route = route.unwrap_or("other").to_string();
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let status = classes.get(usize::from(status / 100).wrapping_sub(1)).copied().unwrap_or("other");
        self.latencies.get_or_create(&OfRoute { method, route: route.clone() }).observe(took.as_secs_f64());
        self.answers.get_or_create(&OfAnswer { method, route, status }).inc();
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;
    use orbit_core::{
        manager::ProposalId,
        model::{Actor, ClusterId, Create, Plan, TaskId, Time, Uid},
    };
    use prometheus_client::encoding::text::encode;

    const MS: Duration = Duration::from_millis(1);

    struct World {
        metrics: Metrics,
        zero: Instant,
    }

    impl World {
        fn new() -> World {
            World { metrics: Metrics::new(), zero: Instant::now() }
        }

        fn text(&self) -> String {
            let mut registry = Registry::with_prefix("orbit");
            self.metrics.register(&mut registry);
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        }

        fn value(&self, series: &str) -> f64 {
            let text = self.text();
            let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{series} is not in {text}")).parse().unwrap()
        }

        /// A step at this time that proposes a plan, or does not.
        fn step(&self, at: u32, plans: bool) {
            let propose =
                |command| Action::Propose { proposal: ProposalId(1), at: Time(0), actor: Actor::Manager, command };
            let actions = Vec::from_iter(plans.then(|| propose(Command::Plan(Plan::default()))));
            self.metrics.stepped(self.zero + MS * at, self.zero + MS * (at + 1), &actions);
        }

        fn commit(&self, at: u32, command: Command) {
            let entry = Entry { index: 1, term: 1, at: Time(0), wall_ms: 1, actor: Actor::Manager, command };
            self.metrics.committed(&entry, self.zero + MS * at);
        }

        /// The lags of all plans together, in milliseconds.
        fn lag(&self) -> (u64, f64) {
            let (sum, count) = ("orbit_reconcile_lag_seconds_sum", "orbit_reconcile_lag_seconds_count");
            (self.value(count) as u64, (self.value(sum) * 1000.0).round())
        }
    }

    fn other() -> Command {
        Command::Init { cluster: ClusterId(1) }
    }

    #[test]
    fn the_lag_of_a_plan_counts_from_what_asked_for_it_and_not_from_before_an_intended_wait() {
        let world = World::new();
        world.commit(1000, other());
        world.step(1000, true);
        // Two entries come while the plan is under way, and have to wait for the next one.
        world.commit(1010, other());
        world.step(1010, false);
        world.commit(1020, other());
        world.step(1020, false);
        world.commit(1030, Command::Plan(Plan::default()));
        assert_eq!(world.lag(), (1, 30.0));
        world.step(1030, true);
        world.commit(1050, Command::Plan(Plan::default()));
        assert_eq!(world.lag(), (2, 30.0 + 40.0), "the second one had waited since 1010");
        world.step(1050, false);

        // A failure is seen, and the next attempt is to come five minutes later, by a timer.
        world.commit(2000, other());
        world.step(2000, false);
        world.step(302_000, true);
        world.commit(302_005, Command::Plan(Plan::default()));
        assert_eq!(world.lag(), (3, 70.0 + 5.0), "a backoff is no lag");
    }

    #[test]
    fn a_plan_that_was_lost_has_no_lag() {
        let world = World::new();
        world.step(0, true);
        world.commit(10, other());
        world.metrics.lost();
        world.step(10, false);
        world.commit(20, Command::Plan(Plan::default()));
        assert_eq!(world.lag(), (0, 0.0));
    }

    #[test]
    fn tasks_that_follow_another_are_counted() {
        let world = World::new();
        let create = |after| Create { workload: Uid { epoch: 1, index: 1 }, version: 1, slot: 0, after, target: None };
        let plan = Plan { creates: vec![create(None), create(Some(TaskId::MIN))], ..Plan::default() };
        world.commit(0, Command::Plan(plan));
        assert_eq!(world.value("orbit_task_restarts_total"), 1.0);
    }

    #[test]
    fn requests_are_counted_by_route_and_class_and_a_stranger_cannot_make_a_series_up() {
        let world = World::new();
        let answered = |method: &str, route: Option<&str>, status| {
            world.metrics.answered(method, route, status, 20 * MS);
        };
        answered("GET", Some("/v1/services/{name}"), 200);
        answered("GET", Some("/v1/services/{name}"), 404);
        answered("GET", Some("/v1/services/{name}"), 410);
        for n in 0..100 {
            answered(&format!("METHOD{n}"), None, 404);
            answered("PUT", Some("/healthz"), 405);
            answered(&format!("METHOD{n}"), Some("/healthz"), 405);
        }
        let of = |labels: &str| world.value(&format!("orbit_http_requests_total{{{labels}}}"));
        assert_eq!(of("method=\"GET\",route=\"/v1/services/{name}\",status=\"2xx\""), 1.0);
        assert_eq!(of("method=\"GET\",route=\"/v1/services/{name}\",status=\"4xx\""), 2.0);
        assert_eq!(of("method=\"other\",route=\"other\",status=\"4xx\""), 100.0);
        assert_eq!(of("method=\"other\",route=\"/healthz\",status=\"4xx\""), 200.0);
        let series = "orbit_http_request_duration_seconds";
        let route = "method=\"GET\",route=\"/v1/services/{name}\"";
        assert_eq!(world.value(&format!("{series}_count{{{route}}}")), 3.0);
        assert_eq!(world.value(&format!("{series}_bucket{{le=\"0.016\",{route}}}")), 0.0);
        assert_eq!(world.value(&format!("{series}_bucket{{le=\"0.032\",{route}}}")), 3.0);
        let counted = world.text().lines().filter(|line| line.starts_with("orbit_http_requests_total{")).count();
        assert_eq!(counted, 4);
    }

    #[test]
    fn the_log_and_its_disk_are_known_once_they_were_looked_at() {
        let world = World::new();
        assert!(!world.text().contains("orbit_state_disk_free_bytes"), "nothing is known: no alert may take it for 0");
        world.metrics.room_is(Room { free_bytes: 5 << 30, reserve_bytes: 64 << 20 });
        world.metrics.log_is(7, 1234);
        world.metrics.compacted();
        world.metrics.disk_is_full(true);
        let expected = [
            ("orbit_state_disk_free_bytes", (5_u64 << 30) as f64),
            ("orbit_state_disk_reserve_bytes", (64 << 20) as f64),
            ("orbit_state_disk_full", 1.0),
            ("orbit_log_entries", 7.0),
            ("orbit_log_bytes", 1234.0),
            ("orbit_snapshots_total", 1.0),
        ];
        for (series, value) in expected {
            assert_eq!(world.value(series), value, "{series}");
        }
        world.metrics.disk_is_full(false);
        assert_eq!(world.value("orbit_state_disk_full"), 0.0);
    }
}

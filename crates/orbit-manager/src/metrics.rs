//! What the manager measures of itself. Names and units are part of the interface: base units, no
//! IDs as labels.

#![cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "the REST API reads it"))]

use orbit_core::{
    manager::Action,
    model::{Command, Entry},
};
use prometheus_client::{
    metrics::{
        counter::Counter,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use std::{collections::VecDeque, sync::Mutex, time::Duration};
use tokio::time::Instant;

/// So many of the newest entries' times are remembered, to know how long a plan took to follow.
const TIMES_MAX: usize = 1024;

/// How often the invariants are recomputed for scrapes.
const CHECK_EVERY: Duration = Duration::from_secs(60);

/// The manager's own measures. Gauges of the cluster are read when they are asked for.
pub(crate) struct Metrics {
    placement: Histogram,
    lag: Histogram,
    fsync: Histogram,
    restarts: Counter,
    pub violations: Counter,
    committed: Mutex<VecDeque<(u64, Instant)>>,
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
            committed: Mutex::default(),
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
        seconds("reconcile_lag", "From the newest entry that a plan has seen to the plan being in force", &self.lag);
        seconds("log_fsync", "Writing one group of entries, and its sync", &self.fsync);
        registry.register("task_restarts", "Tasks that followed another in their slot", self.restarts.clone());
        let violations = self.violations.clone();
        registry.register("invariant_violations", "Invariants found not to hold; look at the log", violations);
    }

    /// A step of the machine has taken so long and wants this done.
    pub fn stepped(&self, took: Duration, actions: &[Action]) {
        let is_plan = |action: &Action| matches!(action, Action::Propose { command: Command::Plan(_), .. });
        if actions.iter().any(is_plan) {
            self.placement.observe(took.as_secs_f64());
        }
    }

    /// An entry is in force.
    pub fn committed(&self, entry: &Entry, now: Instant) {
        let mut committed = self.committed.lock().expect("nobody panics with it");
        if let Command::Plan(plan) = &entry.command {
            if let Some((_, since)) = committed.iter().find(|(index, _)| *index == plan.parent) {
                self.lag.observe(now.duration_since(*since).as_secs_f64());
            }
            self.restarts.inc_by(plan.creates.iter().filter(|create| create.after.is_some()).count() as u64);
        }
        if committed.len() == TIMES_MAX {
            committed.pop_front();
        }
        committed.push_back((entry.index, now));
    }

    /// A group of entries is durable, after so long.
    pub fn synced(&self, took: Duration) {
        self.fsync.observe(took.as_secs_f64());
    }
}

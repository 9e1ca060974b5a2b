//! A series for each service and each node, by name.
//!
//! A scrape is bounded whatever the cluster is: of the services and nodes the first by name have series, and two gauges say
//! how many have none. The reader is asked in several questions, so that others are answered between two of them.

use super::ManagerHandle;
use crate::{tally::Tally, views};
use orbit_api::view::ServiceStatus;
use orbit_core::{
    manager::View,
    model::{Kind, Node, Rejection, Resources, Time, Workload},
};
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};
use std::{
    fmt::{self, Debug},
    sync::Arc,
};

/// So many services have series of their own.
const SERVICES_MAX: usize = 1_000;
/// So many nodes have series of their own.
const NODES_MAX: usize = 5_000;
/// One question looks at about so many tasks, which takes the reader some milliseconds.
const TASKS_PER_QUESTION: usize = 10_000;

/// What the series of one service say.
#[derive(Debug)]
struct OfService {
    name: Arc<str>,
    desired: u32,
    status: ServiceStatus,
    /// Its state, and how many attempts of its version have failed.
    rollout: Option<(&'static str, u32)>,
    restarts: u64,
    failures: u64,
}

/// What the series of one node say.
#[derive(Debug)]
struct OfNode {
    name: String,
    ready: bool,
    availability: &'static str,
    disk_full: bool,
    allocatable: Resources,
    requested: Resources,
    tasks: u32,
}

/// What has series of its own.
trait Named: Debug + Send + Sync + 'static {
    const LABEL: &'static str;
    fn name(&self) -> &str;
}

impl Named for OfService {
    const LABEL: &'static str = "service";
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for OfNode {
    const LABEL: &'static str = "node";
    fn name(&self) -> &str {
        &self.name
    }
}

/// The services and nodes that have series, in order, and how many have none.
pub(super) struct Series {
    services: Arc<[OfService]>,
    nodes: Arc<[OfNode]>,
    left_out: (usize, usize),
}

impl Series {
    /// Reads them; `all` is how many services and nodes there are.
    ///
    /// # Errors
    /// When the manager is shutting down.
    pub async fn read(handle: &ManagerHandle, all: (usize, usize)) -> Result<Series, Rejection> {
        let services = first(handle, SERVICES_MAX, services).await?;
        let nodes = first(handle, NODES_MAX, nodes).await?;
        let left_out = (all.0.saturating_sub(services.len()), all.1.saturating_sub(nodes.len()));
        Ok(Series { services: services.into(), nodes: nodes.into(), left_out })
    }

    /// Puts them into a registry, under their names.
    pub fn register(self, registry: &mut Registry) {
        let left_out = |what, most| format!("{what} without series of their own; the first {most} by name have them");
        let services = ConstGauge::new(self.left_out.0 as i64);
        registry.register("services_left_out", left_out("Services", SERVICES_MAX), services);
        let nodes = ConstGauge::new(self.left_out.1 as i64);
        registry.register("nodes_left_out", left_out("Nodes", NODES_MAX), nodes);
        register_services(&self.services, registry);
        register_nodes(&self.nodes, registry);
    }
}

/// The first of them, by name.
async fn first<T: Named>(
    handle: &ManagerHandle,
    most: usize,
    page: fn(View, Time, &Tally, Option<&str>, usize) -> Vec<T>,
) -> Result<Vec<T>, Rejection> {
    let mut all: Vec<T> = Vec::new();
    loop {
        let after = all.last().map(|it| it.name().to_string());
        let (tally, room) = (handle.tally(), most - all.len());
        let more = handle.read(move |state, now| page(state, now, &tally, after.as_deref(), room)).await?;
        if more.is_empty() {
            return Ok(all);
        }
        all.extend(more);
    }
}

/// As many of the services behind `after` as one question may look at.
fn services(state: View, now: Time, tally: &Tally, after: Option<&str>, room: usize) -> Vec<OfService> {
    let mut looked_at = 0;
    let has_turn = |service: &&Workload| {
        let has_turn = looked_at < TASKS_PER_QUESTION;
        looked_at += 1 + service.slots.len();
        has_turn
    };
    let show = |service: &Workload| {
        let totals = tally.of(service.uid);
        OfService {
            name: service.name.clone(),
            desired: service.wanted(),
            status: views::counts(state, service, now),
            rollout: service.rollout.map(|rollout| (views::rollout_state(&rollout), rollout.failures)),
            restarts: totals.restarts,
            failures: totals.failures,
        }
    };
    state.cluster().workloads_by_name(Kind::Service, after).take(room).take_while(has_turn).map(show).collect()
}

/// The same of nodes.
fn nodes(state: View, _: Time, _: &Tally, after: Option<&str>, room: usize) -> Vec<OfNode> {
    let cluster = state.cluster();
    let mut looked_at = 0;
    let has_turn = |node: &&Node| {
        let has_turn = looked_at < TASKS_PER_QUESTION;
        looked_at += 1 + node.tasks().count();
        has_turn
    };
    let show = |node: &Node| OfNode {
        name: node.info.name.clone(),
        ready: node.is_ready(),
        availability: views::availability(cluster, node),
        disk_full: node.disk_full_since.is_some(),
        allocatable: node.info.allocatable,
        requested: node.used(),
        tasks: views::live_tasks(cluster, node),
    };
    cluster.nodes_by_name(after).take(room).take_while(has_turn).map(show).collect()
}

fn register_services(services: &Arc<[OfService]>, registry: &mut Registry) {
    let mut metric = |name: &str, kind, help: &str, value: fn(&OfService) -> Option<f64>| {
        let help = format!("{help}; of the first {SERVICES_MAX} services by name");
        registry.register(format!("service_{name}"), help, Each { of: services.clone(), kind, value });
    };
    let gauge = MetricType::Gauge;
    let help = "Replicas that its user wants";
    metric("replicas_desired", gauge, help, |it| Some(it.desired.into()));
    let help = "Tasks that run on a reachable node and whose probes pass";
    metric("replicas_ready", gauge, help, |it| Some(it.status.ready.into()));
    let help = "Ready tasks of the current version";
    metric("replicas_updated", gauge, help, |it| Some(it.status.updated.into()));
    let help = "Tasks that have been ready for update.min_healthy";
    metric("replicas_available", gauge, help, |it| Some(it.status.available.into()));
    let help = "Tasks that ran when their node was heard last, which is unreachable now";
    metric("replicas_unreachable", gauge, help, |it| Some(it.status.unreachable.into()));
    let help = "Tasks that wait for a node";
    metric("replicas_pending", gauge, help, |it| Some(it.status.pending.into()));
    let help = "How many times in a row tasks have failed, in the slot where that is highest";
    metric("failure_streak", gauge, help, |it| Some(it.status.failures.into()));
    let help = "Failed tasks of the version that the newest rollout brings, since it began or was resumed";
    metric("rollout_failures", gauge, help, |it| it.rollout.map(|(_, failures)| failures.into()));
    let counter = MetricType::Counter;
    let help = "Tasks that followed another of the same version in their slot, since this manager started";
    metric("restarts", counter, help, |it| Some(it.restarts as f64));
    let help = "Tasks that ended by themselves, were rejected or became unhealthy, since this manager started, without those of a running rollout's version";
    metric("failures", counter, help, |it| Some(it.failures as f64));
    let state: fn(&OfService) -> Option<&'static str> = |it| Some(it.rollout?.0);
    let help = format!("1 for the state that its newest rollout is in; of the first {SERVICES_MAX} services by name");
    registry.register("service_rollout_state", help, StateOfEach { of: services.clone(), state });
}

fn register_nodes(nodes: &Arc<[OfNode]>, registry: &mut Registry) {
    let mut metric = |name: &str, help: &str, value: fn(&OfNode) -> Option<f64>| {
        let help = format!("{help}; of the first {NODES_MAX} nodes by name");
        let series = Each { of: nodes.clone(), kind: MetricType::Gauge, value };
        registry.register(format!("node_{name}"), help, series);
    };
    metric("ready", "1 while it is reachable, 0 while it is not", |it| Some(f64::from(it.ready)));
    let help = "1 while its disk is full, so that it takes no tasks";
    metric("disk_full", help, |it| Some(f64::from(it.disk_full)));
    metric("tasks", "Its tasks that were not seen to end", |it| Some(it.tasks.into()));
    metric("allocatable_cpu_cores", "Processors that tasks may use in all", |it| Some(cores(it.allocatable)));
    let help = "Memory that tasks may use in all";
    metric("allocatable_memory_bytes", help, |it| Some(it.allocatable.memory_bytes as f64));
    metric("requested_cpu_cores", "Processors that its tasks hold", |it| Some(cores(it.requested)));
    let help = "Memory that its tasks hold";
    metric("requested_memory_bytes", help, |it| Some(it.requested.memory_bytes as f64));
    let state: fn(&OfNode) -> Option<&'static str> = |it| Some(it.availability);
    let help = format!("1 for what its operator wants of it; of the first {NODES_MAX} nodes by name");
    registry.register("node_availability", help, StateOfEach { of: nodes.clone(), state });
}

fn cores(resources: Resources) -> f64 {
    resources.cpu_millis as f64 / 1000.0
}

/// One metric with a series for each of them that has a value.
#[derive(Debug)]
struct Each<T: Named> {
    of: Arc<[T]>,
    kind: MetricType,
    value: fn(&T) -> Option<f64>,
}

impl<T: Named> EncodeMetric for Each<T> {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        for it in &*self.of {
            let Some(value) = (self.value)(it) else { continue };
            let labels = [(T::LABEL, it.name())];
            let mut series = encoder.encode_family(&labels)?;
            match self.kind {
                MetricType::Counter => series.encode_counter::<NoLabelSet, f64, f64>(&value, None)?,
                _ => series.encode_gauge(&value)?,
            }
        }
        Ok(())
    }
    fn metric_type(&self) -> MetricType {
        self.kind
    }
}

/// One metric with a series for each of them, whose label `state` says in which state it is.
#[derive(Debug)]
struct StateOfEach<T: Named> {
    of: Arc<[T]>,
    state: fn(&T) -> Option<&'static str>,
}

impl<T: Named> EncodeMetric for StateOfEach<T> {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        for it in &*self.of {
            let Some(state) = (self.state)(it) else { continue };
            let labels = [(T::LABEL, it.name()), ("state", state)];
            encoder.encode_family(&labels)?.encode_gauge(&1_i64)?;
        }
        Ok(())
    }
    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

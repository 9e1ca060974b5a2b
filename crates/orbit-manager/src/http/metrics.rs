//! `/metrics`, for Prometheus.

use super::*;
use axum::http::header;
use orbit_core::{
    model::{Kind, TaskState},
    state::Cluster,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use std::collections::BTreeMap;
use tokio::time::Instant;
use utoipa_axum::routes;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Beyond so many tasks the invariants are not recomputed: it would keep other readers waiting.
const CHECKED_TASKS_MAX: usize = 20_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTask {
    state: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfNode {
    state: &'static str,
}

/// What the cluster looks like at the moment.
#[derive(Default)]
struct Counts {
    tasks: BTreeMap<(&'static str, &'static str), i64>,
    nodes: BTreeMap<&'static str, i64>,
    services: i64,
    revision: u64,
    violations: Vec<String>,
}

pub(super) fn routes() -> OpenApiRouter<ManagerHandle> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Measures, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "about", operation_id = "read_metrics",
    responses((status = 200, content_type = "application/openmetrics-text"), (status = 503, body = Problem)))]
async fn metrics(State(handle): State<ManagerHandle>) -> Answered<Response> {
    let check = handle.metrics.is_check_due(Instant::now());
    let counts = handle.read(move |state, _| count(state.cluster(), check)).await?;
    for violation in &counts.violations {
        tracing::error!("an invariant does not hold: {violation}");
        handle.metrics.violations.inc();
    }
    let mut registry = Registry::with_prefix("orbit");
    handle.metrics.register(&mut registry);
    let (tasks, nodes) = (Family::<OfTask, Gauge>::default(), Family::<OfNode, Gauge>::default());
    for ((state, reason), count) in counts.tasks {
        tasks.get_or_create(&OfTask { state, reason }).set(count);
    }
    for (state, count) in counts.nodes {
        nodes.get_or_create(&OfNode { state }).set(count);
    }
    let (services, revision) = (Gauge::<i64>::default(), Gauge::<i64>::default());
    services.set(counts.services);
    revision.set(i64::try_from(counts.revision).unwrap_or(i64::MAX));
    registry.register("tasks", "Attempts by their actual state, and why they ended", tasks);
    registry.register("nodes", "Nodes by their state", nodes);
    registry.register("services", "Services", services);
    registry.register("log_index", "Index of the last entry that is in force", revision);
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes everything");
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

fn count(cluster: &Cluster, check: bool) -> Counts {
    let mut counts = Counts { revision: cluster.index, ..Counts::default() };
    // States that nobody is in stand there, too: a series that comes and goes is hard to draw.
    counts.tasks.extend(TaskState::ALL.iter().filter(|state| !state.is_terminal()).map(|s| ((s.as_str(), ""), 0)));
    counts.nodes.extend(["ready", "unreachable"].map(|state| (state, 0)));
    for ((state, reason), count) in cluster.task_counts() {
        let reason = reason.map_or("", |reason| reason.as_str());
        *counts.tasks.entry((state.as_str(), reason)).or_default() += *count as i64;
    }
    let unreachable = cluster.silent().len();
    counts.nodes.insert("ready", (cluster.node_count() - unreachable) as i64);
    counts.nodes.insert("unreachable", unreachable as i64);
    counts.services = cluster.workload_count(Kind::Service) as i64;
    if check && cluster.task_count() <= CHECKED_TASKS_MAX {
        counts.violations = cluster.check().iter().map(ToString::to_string).collect();
    }
    counts
}

//! `/metrics`, for Prometheus.

use super::{series::Series, *};
use axum::http::header;
use orbit_core::{
    model::{Kind, TaskState},
    state::Cluster,
};
use orbit_shell::program::metrics::{CONTENT_TYPE, exposition};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry,
};
use std::collections::BTreeMap;
use tokio::{task::spawn_blocking, time::Instant};
use utoipa_axum::routes;

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
    leads: bool,
    violations: Vec<String>,
}

pub(super) fn routes() -> OpenApiRouter<ManagerHandle> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Measures, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "about", operation_id = "read_metrics",
    responses((status = 200, content_type = "application/openmetrics-text"), (status = 503, body = Problem)))]
async fn metrics(State(handle): State<ManagerHandle>) -> Answered<Response> {
    let measures = handle.metrics.clone();
    let _turn = measures.scrapes.acquire().await;
    let check = measures.is_check_due(Instant::now());
    let counts =
        handle.read(move |state, _| Counts { leads: state.is_ready(), ..count(state.cluster(), check) }).await?;
    for violation in &counts.violations {
        tracing::error!("an invariant does not hold: {violation}");
        measures.violations.inc();
    }
    let series = Series::read(&handle, counts.objects()).await?;
    // The text may be long, and reads files: the threads of the driver are not for that.
    let write = move || {
        exposition(|registry| {
            handle.metrics.register(registry);
            counts.register(registry);
            series.register(registry);
        })
    };
    let text =
        spawn_blocking(write).await.map_err(|_| Rejection::new(Code::Internal, "the metrics cannot be written"))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

impl Counts {
    /// How many services and nodes there are.
    fn objects(&self) -> (usize, usize) {
        (self.services as usize, self.nodes.values().sum::<i64>() as usize)
    }

    fn register(self, registry: &mut Registry) {
        let (tasks, nodes) = (Family::<OfTask, Gauge>::default(), Family::<OfNode, Gauge>::default());
        for ((state, reason), count) in self.tasks {
            tasks.get_or_create(&OfTask { state, reason }).set(count);
        }
        for (state, count) in self.nodes {
            nodes.get_or_create(&OfNode { state }).set(count);
        }
        registry.register("tasks", "Attempts by their actual state, and why they ended", tasks);
        registry.register("nodes", "Nodes by their state", nodes);
        registry.register("services", "Services", ConstGauge::new(self.services));
        let revision = i64::try_from(self.revision).unwrap_or(i64::MAX);
        registry.register("log_index", "Index of the last entry that is in force", ConstGauge::new(revision));
        let leads = "1 if this manager leads and knows everything that was committed before";
        registry.register("leader", leads, ConstGauge::new(i64::from(self.leads)));
    }
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

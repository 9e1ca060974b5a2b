//! Metrics: each series has a name, a help text, and the value that is true.

use crate::manager::{Manager, request};
use axum::body::Body;
use orbit_core::{model::*, testing};
use orbit_proto::v1::{self, worker_client::WorkerClient};
use orbit_store::{HardState, MemoryDisk, MemoryStorage, Storage};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

/// What one scrape says.
struct Scrape(String);

impl Scrape {
    async fn of(manager: &Manager) -> Scrape {
        let response = manager.begin(request("GET", "/metrics").body(Body::empty()).unwrap()).await;
        assert_eq!(response.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
        let answer = crate::manager::whole(response).await;
        Scrape(String::from_utf8(answer.body).expect("it is text"))
    }

    /// The value of a series; nothing if it is not there.
    fn find(&self, series: &str) -> Option<f64> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().expect("a number"))
    }

    fn value(&self, series: &str) -> f64 {
        self.find(series).unwrap_or_else(|| panic!("{series} is not in\n{}", self.0))
    }

    /// That a metric is described.
    fn is_described(&self, metric: &str, kind: &str) {
        let help = self.0.lines().find_map(|line| line.strip_prefix(&format!("# HELP {metric} ")));
        assert!(help.is_some_and(|help| help.len() > 5), "{metric} has no help");
        assert!(self.0.contains(&format!("# TYPE {metric} {kind}\n")), "{metric} is no {kind}:\n{}", self.0);
    }
}

/// Scrapes until a series has this value.
async fn until(manager: &Manager, series: &str, value: f64) -> Scrape {
    until_it(manager, &format!("{series} is {value}"), |scrape| scrape.find(series) == Some(value)).await
}

/// Scrapes until something holds.
async fn until_it(manager: &Manager, what: &str, holds: impl Fn(&Scrape) -> bool) -> Scrape {
    let waiting = async {
        loop {
            let scrape = Scrape::of(manager).await;
            if holds(&scrape) {
                return scrape;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), waiting).await {
        Ok(scrape) => scrape,
        Err(_) => panic!("never: {what}\n{}", Scrape::of(manager).await.0),
    }
}

#[tokio::test]
async fn the_manager_says_its_version_its_process_its_log_and_that_it_leads() {
    let manager = Manager::new().await;
    let scrape = until(&manager, "orbit_leader", 1.0).await;
    for (metric, kind) in [
        ("orbit_build", "info"),
        ("orbit_leader", "gauge"),
        ("orbit_log_index", "gauge"),
        ("orbit_log_entries", "gauge"),
        ("orbit_log_bytes", "gauge"),
        ("orbit_snapshots", "counter"),
        ("orbit_state_disk_free_bytes", "gauge"),
        ("orbit_state_disk_reserve_bytes", "gauge"),
        ("orbit_state_disk_full", "gauge"),
        ("orbit_reconcile_lag_seconds", "histogram"),
        ("orbit_scheduler_placement_seconds", "histogram"),
        ("orbit_log_fsync_seconds", "histogram"),
        ("orbit_http_requests", "counter"),
        ("orbit_http_request_duration_seconds", "histogram"),
        ("process_cpu_seconds", "counter"),
        ("process_resident_memory_bytes", "gauge"),
        ("process_open_fds", "gauge"),
    ] {
        scrape.is_described(metric, kind);
    }
    // Once it is at rest: an entry is in the log, in force and in the reader's copy one after the other.
    let all_count = |scrape: &Scrape| {
        let index = scrape.value("orbit_log_index");
        index >= 5.0 && scrape.value("orbit_log_entries") == index
    };
    let scrape = until_it(&manager, "without a snapshot each entry counts", all_count).await;
    assert!(scrape.value("orbit_log_bytes") > 100.0);
    assert_eq!(scrape.value("orbit_state_disk_full"), 0.0);
    assert!(scrape.value("orbit_state_disk_free_bytes") > scrape.value("orbit_state_disk_reserve_bytes"));
}

#[tokio::test]
async fn the_log_shrinks_when_a_snapshot_is_written() {
    let manager = Manager::new().await;
    // A snapshot is written after 1,000 entries.
    for replicas in 0..1000 {
        let scaled = manager.send("POST", "/v1/services/web/scale", &json!({ "replicas": replicas % 2 })).await;
        assert_eq!(scaled.status, 200);
    }
    let written = |scrape: &Scrape| scrape.value("orbit_snapshots_total") >= 1.0;
    let scrape = until_it(&manager, "a snapshot is written", written).await;
    assert!(scrape.value("orbit_log_index") > 1000.0);
    assert!(scrape.value("orbit_log_entries") < scrape.value("orbit_log_index"), "those in the snapshot do not count");
}

#[tokio::test]
async fn requests_are_counted_by_the_template_of_their_route() {
    let manager = Manager::new().await;
    let before = Scrape::of(&manager).await;
    for n in 0..20 {
        assert_eq!(manager.get(&format!("/v1/services/none-{n}")).await.status, 404);
        assert_eq!(manager.get(&format!("/nowhere/{n}")).await.status, 404);
        let made_up = request(&format!("MADE{n}"), "/healthz").body(Body::empty()).unwrap();
        assert_eq!(manager.ask(made_up).await.status, 405);
        // Refused before it reaches its route.
        let foreign = request("GET", "/v1/nodes").header("origin", "http://elsewhere.example").body(Body::empty());
        assert_eq!(manager.ask(foreign.unwrap()).await.status, 403);
    }
    assert_eq!(manager.get("/v1/services/web").await.status, 200);
    let after = Scrape::of(&manager).await;
    let requests = |labels: &str| {
        let series = format!("orbit_http_requests_total{{{labels}}}");
        after.value(&series) - before.find(&series).unwrap_or(0.0)
    };
    assert_eq!(requests("method=\"GET\",route=\"/v1/services/{name}\",status=\"2xx\""), 1.0);
    assert_eq!(requests("method=\"GET\",route=\"/v1/services/{name}\",status=\"4xx\""), 20.0);
    assert_eq!(requests("method=\"GET\",route=\"other\",status=\"4xx\""), 20.0);
    assert_eq!(requests("method=\"other\",route=\"/healthz\",status=\"4xx\""), 20.0);
    assert_eq!(requests("method=\"GET\",route=\"/v1/nodes\",status=\"4xx\""), 20.0);
    let latencies = "orbit_http_request_duration_seconds_count{method=\"GET\",route=\"/v1/services/{name}\"}";
    assert_eq!(after.value(latencies), 21.0);
    assert!(!after.0.contains("none-1") && !after.0.contains("nowhere") && !after.0.contains("MADE"), "{}", after.0);
}

/// A node's session: it does what it is told, as far as the test says so.
struct Node {
    sender: mpsc::Sender<ToManager>,
    incoming: tonic::Streaming<v1::ToWorker>,
    /// The number of the last assignment.
    assigned: Arc<AtomicU64>,
    reports: u64,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Node {
    async fn register(manager: &Manager, name: &str) -> Node {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serve = orbit_manager::daemon::serve_workers(listener, manager.handle.clone());
        let serving = tokio::spawn(async { drop(serve.await) });
        let mut client = WorkerClient::connect(url).await.unwrap();
        let (sender, receiver) = mpsc::channel(16);
        let outgoing = ReceiverStream::new(receiver).map(|message| v1::ToManager::from(&message));
        let incoming = client.session(outgoing).await.unwrap().into_inner();
        let info = testing::node(NodeUid(1), name);
        let hello = testing::hello(info);
        sender.send(ToManager::Register(hello)).await.unwrap();
        let (heartbeats, seen) = (sender.clone(), Arc::<AtomicU64>::default());
        let assigned = seen.clone();
        let beating = tokio::spawn(async move {
            for seq in 1.. {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let assigned_seq = assigned.load(Ordering::Relaxed);
                if heartbeats.send(ToManager::Heartbeat { seq, assigned_seq, disk_full: false }).await.is_err() {
                    return;
                }
            }
        });
        Node { sender, incoming, assigned: seen, reports: 0, tasks: [serving, beating] }
    }

    /// Waits until a task that is not known yet is assigned to it.
    async fn next_task(&mut self, known: &[TaskId]) -> TaskId {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(30), self.incoming.message());
            let message = message.await.expect("it comes in time").unwrap().expect("the session stands");
            let assigned: Assigned = match message.try_into().unwrap() {
                ToWorker::Welcome(welcome) => welcome.assigned,
                ToWorker::Assigned(assigned) => assigned,
                _ => continue,
            };
            self.assigned.store(assigned.seq, Ordering::Relaxed);
            if let Some(task) = assigned.tasks.iter().map(|order| order.task).find(|task| !known.contains(task)) {
                return task;
            }
        }
    }

    async fn report(&mut self, task: TaskId, state: TaskState) {
        self.reports += 1;
        let end = state.is_terminal().then(|| End::new(Reason::Exited, ""));
        let reports = vec![TaskReport::new(task, state, end)];
        self.sender.send(ToManager::Report { seq: self.reports, reports }).await.unwrap();
    }
}

/// A service of one replica that comes and is tried again quickly.
fn api(image: &str) -> serde_json::Value {
    json!({
        "kind": "Service", "name": "api", "image": image, "replicas": 1,
        "resources": { "cpu": "500m", "memory": "64Mi" },
        "restart": { "backoff": { "initial": "100ms", "max": "100ms" } },
        "update": { "min_healthy": "0s" },
    })
}

#[tokio::test]
async fn each_service_and_each_node_says_how_it_is() {
    let manager = Manager::on(&MemoryDisk::default()).await;
    let mut node = Node::register(&manager, "node-1").await;
    until(&manager, "orbit_node_ready{node=\"node-1\"}", 1.0).await;
    assert_eq!(manager.send("PUT", "/v1/services/api", &api("api:1")).await.status, 201);
    let first = node.next_task(&[]).await;
    let scrape = until(&manager, "orbit_node_tasks{node=\"node-1\"}", 1.0).await;
    for (series, value) in [
        ("allocatable_cpu_cores", 4.0),
        ("allocatable_memory_bytes", (8_u64 << 30) as f64),
        ("requested_cpu_cores", 0.5),
        ("requested_memory_bytes", (64 << 20) as f64),
    ] {
        assert_eq!(scrape.value(&format!("orbit_node_{series}{{node=\"node-1\"}}")), value, "{series}");
        scrape.is_described(&format!("orbit_node_{series}"), "gauge");
    }
    assert_eq!(scrape.value("orbit_node_availability{node=\"node-1\",state=\"active\"}"), 1.0);
    assert_eq!(scrape.value("orbit_service_rollout_state{service=\"api\",state=\"running\"}"), 1.0);
    let of = |series: &str| format!("orbit_service_{series}{{service=\"api\"}}");
    let says = |scrape: &Scrape, all: &[(&str, f64)]| {
        for (series, value) in all {
            assert_eq!(scrape.value(&of(series)), *value, "{series}");
        }
    };
    says(&scrape, &[("replicas_desired", 1.0), ("replicas_ready", 0.0), ("replicas_updated", 0.0)]);

    node.report(first, TaskState::Running).await;
    let done = "orbit_service_rollout_state{service=\"api\",state=\"done\"}";
    let scrape = until(&manager, done, 1.0).await;
    assert_eq!(scrape.find("orbit_service_rollout_state{service=\"api\",state=\"running\"}"), None);
    let settled = [("replicas_ready", 1.0), ("replicas_updated", 1.0), ("replicas_available", 1.0)];
    says(&scrape, &settled);
    says(&scrape, &[("replicas_unreachable", 0.0), ("replicas_pending", 0.0), ("failure_streak", 0.0)]);
    says(&scrape, &[("restarts_total", 0.0), ("failures_total", 0.0), ("rollout_failures", 0.0)]);

    // It fails, and is tried again.
    node.report(first, TaskState::Failed).await;
    let second = node.next_task(&[first]).await;
    let scrape = until(&manager, &of("restarts_total"), 1.0).await;
    says(&scrape, &[("failures_total", 1.0), ("failure_streak", 1.0), ("rollout_failures", 0.0)]);
    node.report(second, TaskState::Running).await;
    until(&manager, &of("replicas_ready"), 1.0).await;

    // A version that fails is the rollout's trouble.
    assert_eq!(manager.send("PUT", "/v1/services/api", &api("api:2")).await.status, 200);
    let third = node.next_task(&[first, second]).await;
    node.report(third, TaskState::Failed).await;
    let scrape = until(&manager, &of("rollout_failures"), 1.0).await;
    says(
        &scrape,
        &[("restarts_total", 1.0), ("failures_total", 1.0), ("replicas_ready", 1.0), ("replicas_updated", 0.0)],
    );
    for (metric, kind) in [
        ("replicas_desired", "gauge"),
        ("replicas_ready", "gauge"),
        ("replicas_updated", "gauge"),
        ("replicas_available", "gauge"),
        ("replicas_unreachable", "gauge"),
        ("replicas_pending", "gauge"),
        ("failure_streak", "gauge"),
        ("rollout_failures", "gauge"),
        ("rollout_state", "gauge"),
        ("restarts", "counter"),
        ("failures", "counter"),
    ] {
        scrape.is_described(&format!("orbit_service_{metric}"), kind);
    }

    assert_eq!(manager.send("POST", "/v1/nodes/node-1/cordon", &json!({})).await.status, 200);
    until(&manager, "orbit_node_availability{node=\"node-1\",state=\"cordoned\"}", 1.0).await;
    // Its worker falls silent: its session ends, and its lease after it.
    drop(node);
    let scrape = until(&manager, &of("replicas_unreachable"), 1.0).await;
    says(&scrape, &[("replicas_ready", 0.0)]);
    assert_eq!(scrape.value("orbit_node_ready{node=\"node-1\"}"), 0.0, "nodes are read after services");
}

#[tokio::test]
async fn a_scrape_of_very_many_services_and_nodes_is_bounded() {
    const SERVICES: u64 = 1_200;
    const NODES: u64 = 5_300;
    let disk = MemoryDisk::default();
    let mut storage = MemoryStorage::open(&disk);
    storage.set_hard_state(HardState { term: 1, vote: None }).unwrap();
    let init = std::iter::once(Command::Init { cluster: ClusterId(1) });
    let register = |n: u64| {
        let info = testing::node(NodeUid(n), format!("node-{n:06}"));
        Command::Register(Registration { info, inventory: Vec::new() })
    };
    let put = |n: u64| {
        let definition = testing::service(format!("service-{n:06}"), testing::spec("web:1"));
        Command::Put(Put { definition, condition: Condition::None, keeps_replicas: false, idempotency_key: None })
    };
    let commands = init.chain((1..=NODES).map(register)).chain((1..=SERVICES).map(put));
    let entry =
        |(index, command)| Entry { index, term: 1, at: Time(index), wall_ms: index, actor: Actor::Local, command };
    storage.append(&Vec::from_iter((1..).zip(commands).map(entry))).unwrap();
    let manager = Manager::on(&disk).await;

    let begun = std::time::Instant::now();
    let scrape = Scrape::of(&manager).await;
    let took = begun.elapsed();
    println!("{} bytes in {} ms", scrape.0.len(), took.as_millis());
    let count = |metric: &str| scrape.0.lines().filter(|line| line.starts_with(&format!("{metric}{{"))).count();
    assert_eq!(count("orbit_service_replicas_desired"), 1_000);
    assert_eq!(count("orbit_service_restarts_total"), 1_000);
    assert_eq!(count("orbit_node_ready"), 5_000);
    assert_eq!(scrape.value("orbit_services_left_out"), (SERVICES - 1_000) as f64);
    assert_eq!(scrape.value("orbit_nodes_left_out"), (NODES - 5_000) as f64);
    assert_eq!(scrape.value("orbit_services"), SERVICES as f64);
    let first =
        |of: &str, name: &str, n: u64| scrape.find(&format!("orbit_{of}{{{name}=\"{name}-{n:06}\"}}")).is_some();
    assert!(
        first("service_replicas_desired", "service", 1_000) && !first("service_replicas_desired", "service", 1_001)
    );
    assert!(first("node_ready", "node", 5_000) && !first("node_ready", "node", 5_001), "the first by name");
    let lines = scrape.0.lines().count();
    // So many metrics of each service and each node.
    assert!(lines < 11 * 1_000 + 8 * 5_000 + 1_000, "{lines} lines");
    assert!(scrape.0.len() < 8 << 20, "{} bytes", scrape.0.len());
    for metric in ["orbit_services_left_out", "orbit_nodes_left_out"] {
        scrape.is_described(metric, "gauge");
    }
    manager.lives().await;
}

//! Metrics: each series has a name, a help text, and the value that is true.

use crate::manager::{Manager, request};
use axum::body::Body;
use serde_json::json;
use std::time::Duration;

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

//! Metrics as Prometheus has them: what is scraped, and that the example rules and the example dashboard work.

use crate::web;
use orbit_tests::{Cluster, Daemon, PATIENCE, Response, ask, binaries, engine, poll_for, prometheus, repository};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn examples() -> PathBuf {
    repository().join("examples/monitoring")
}

fn example(name: &str) -> String {
    fs::read_to_string(examples().join(name)).expect("an example can be read")
}

/// Replaces what the example says, which must be there.
fn with(text: String, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "the example does not say `{from}` any more");
        text.replace(from, to)
    })
}

fn scrape(address: &str) -> Result<String, String> {
    let Response { status, body, .. } = ask("GET", &format!("http://{address}/metrics"), Vec::new())?;
    let text = String::from_utf8_lossy(&body).into_owned();
    if status == 200 { Ok(text) } else { Err(format!("{status}: {text}")) }
}

/// The value of a series.
fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// The expressions of all panels and variables.
fn dashboard_expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&example("dashboard.json")).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expression = |target: &Value| target["expr"].as_str().expect("an expression").to_string();
    let fill = |text: String| text.replace("$__rate_interval", "1m").replace("$service", ".*").replace("$node", ".*");
    let all: Vec<String> = targets.map(expression).map(fill).collect();
    assert!(all.len() > 30, "these are not the panels");
    all
}

/// Names in a text that can only be those of metrics of ours.
fn metrics_named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("orbit_") || word.starts_with("process_")).map(str::to_string).collect()
}

/// A worker without an engine, which says how it is all the same.
fn lone_worker(cluster: &Cluster, metrics: &str) -> Daemon {
    let state = cluster.scratch().join("lone");
    let args = vec![
        format!("--manager={}", cluster.workers_url()),
        "--name=lone".to_string(),
        format!("--state-dir={}", state.display()),
        format!("--metrics={metrics}"),
    ];
    let mut worker = Daemon::new(&binaries().worker, args, cluster.scratch().join("lone.log"));
    worker.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    worker
}

#[test]
fn every_series_that_the_examples_name_is_served_and_a_worker_without_an_engine_says_so() {
    let cluster = Cluster::without_engine();
    let address = format!("127.0.0.1:{}", cluster.spare_port(0));
    let mut worker = lone_worker(&cluster, &address);
    worker.start();
    let worker_page = cluster.wait_for("the worker serves its metrics", || scrape(&address));
    assert_eq!(value(&worker_page, "orbit_worker_engine_up"), Some(0.0), "{worker_page}");
    assert_eq!(value(&worker_page, "orbit_worker_session_up"), Some(0.0));
    assert!(value(&worker_page, "orbit_state_disk_free_bytes") <= value(&worker_page, "orbit_state_disk_size_bytes"));
    assert!(value(&worker_page, "process_open_fds") > Some(3.0));
    let manager_page = scrape(&cluster.address().to_string()).expect("the manager serves its metrics");

    let families = |page: &str| {
        let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let name = |line: &str| line.split(' ').next().expect("a name").to_string();
        types.map(name).collect::<BTreeSet<String>>()
    };
    let served: BTreeSet<String> = families(&worker_page).union(&families(&manager_page)).cloned().collect();
    let is_served = |name: &String| {
        let family =
            ["_total", "_bucket", "_count", "_sum", "_info"].iter().find_map(|suffix| name.strip_suffix(suffix));
        served.contains(name) || family.is_some_and(|family| served.contains(family))
    };
    let dashboard = dashboard_expressions().join("\n");
    for (place, text) in [("rules.yml", example("rules.yml")), ("dashboard.json", dashboard)] {
        let named = metrics_named(&text);
        let missing: Vec<&String> = named.iter().filter(|name| !is_served(name)).collect();
        assert!(named.len() > 10 && missing.is_empty(), "{place}: nobody serves {missing:?}");
    }
    assert_eq!(worker.terminate().code(), Some(0));
}

#[test]
fn an_address_for_metrics_that_is_taken_is_named() {
    let cluster = Cluster::without_engine();
    let mut worker = lone_worker(&cluster, &cluster.address().to_string());
    worker.start();
    assert_eq!(worker.wait_end().code(), Some(2));
    assert!(worker.log().contains("choose another with --metrics"), "{}", worker.log());
}

#[test]
fn a_worker_says_what_it_has_done_on_its_engine() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 0);
    let address = format!("127.0.0.1:{}", cluster.spare_port(0));
    cluster.add_worker(&[&format!("--metrics={address}")]);
    cluster.wait_ready(1);
    cluster.apply(&web("web", 2));
    cluster.wait_running("web", 2);
    let says = |series: &str, expected: f64| {
        cluster.wait_for(&format!("{series} is {expected}"), || {
            let page = scrape(&address)?;
            let name = format!("orbit_worker_{series}");
            if value(&page, &name) == Some(expected) { Ok(page) } else { Err(page) }
        })
    };
    says("engine_up", 1.0);
    says("session_up", 1.0);
    says("containers{state=\"running\"}", 2.0);
    let page = says("ledger_tasks", 2.0);
    for (series, least) in [
        ("operations_total{kind=\"list\"}", 1.0),
        ("operations_total{kind=\"create\"}", 2.0),
        ("operations_total{kind=\"start\"}", 2.0),
        ("operation_duration_seconds_count{kind=\"start\"}", 2.0),
    ] {
        assert!(value(&page, &format!("orbit_worker_{series}")) >= Some(least), "{series}:\n{page}");
    }
    // An image that is nowhere: that is a failure of its kind.
    let mut nowhere = web("nowhere", 1);
    (nowhere["image"], nowhere["pull"]) = ("orbit-nowhere:1".into(), "never".into());
    cluster.apply(&nowhere);
    cluster.wait_for("the failure is counted", || {
        let page = scrape(&address)?;
        let prefix = "orbit_worker_operation_failures_total{kind=\"ensure_image\",";
        let failed = page.lines().any(|line| line.starts_with(prefix) && !line.ends_with(" 0"));
        if failed { Ok(()) } else { Err(page) }
    });
}

#[test]
fn the_example_rules_are_right_by_their_own_tests() {
    let Some(prometheus) = prometheus() else { return };
    for args in [&["check", "config", "prometheus.yml"][..], &["test", "rules", "rules.test.yml"]] {
        let output = prometheus.promtool(&examples(), args);
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        assert!(output.status.success(), "promtool {args:?}: {said}");
    }
    // Each alert stands in a test.
    let tests = example("rules.test.yml");
    let rules = example("rules.yml");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let untested: Vec<&&str> = alerts.iter().filter(|alert| !tests.contains(**alert)).collect();
    assert!(alerts.len() > 10 && untested.is_empty(), "{untested:?}");
}

/// A Prometheus that scrapes a cluster, with the example's configuration in a hurry.
struct Running {
    daemon: Daemon,
    url: String,
}

impl Running {
    fn start(program: &Path, cluster: &Cluster, port: u16, worker: &str) -> Running {
        let dir = cluster.scratch().join("prometheus");
        fs::create_dir(&dir).expect("a folder of the test's own");
        let config = with(
            example("prometheus.yml"),
            &[
                ("scrape_interval: 15s", "scrape_interval: 500ms"),
                ("evaluation_interval: 15s", "evaluation_interval: 500ms"),
                ("127.0.0.1:7070", &cluster.address().to_string()),
                ("127.0.0.1:7072", worker),
            ],
        );
        // A short one stays one: what flaps must not fire.
        let rules =
            with(example("rules.yml"), &[("for: 1m", "for: 1s"), ("for: 2m", "for: 1s"), ("for: 5m", "for: 1s")]);
        fs::write(dir.join("prometheus.yml"), config).expect("a file of the test's own");
        fs::write(dir.join("rules.yml"), rules).expect("a file of the test's own");
        let args = vec![
            format!("--config.file={}", dir.join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", dir.join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--log.level=warn".to_string(),
        ];
        let mut daemon = Daemon::new(program, args, cluster.scratch().join("prometheus.log"));
        daemon.start();
        Running { daemon, url: format!("http://127.0.0.1:{port}") }
    }

    /// What its API answers.
    fn api(&self, path: &str) -> Result<Value, String> {
        let answer = ask("GET", &format!("{}/api/v1/{path}", self.url), Vec::new())?;
        let json: Value =
            serde_json::from_slice(&answer.body).map_err(|error| format!("{error}: {}", answer.text()))?;
        if json["status"] == "success" { Ok(json["data"].clone()) } else { Err(json.to_string()) }
    }

    fn query(&self, expression: &str) -> Result<Value, String> {
        let escaped: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        Ok(self.api(&format!("query?query={escaped}"))?["result"].clone())
    }

    /// The alerts that fire: name, and node, service or job.
    fn firing(&self) -> Result<BTreeSet<(String, String)>, String> {
        let alerts = self.api("alerts")?["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        let about = |labels: &Value| {
            let about = ["node", "service", "job"].iter().find_map(|label| labels[label].as_str());
            about.unwrap_or_default().to_string()
        };
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap_or_default().to_string();
        Ok(firing.map(|alert| (name(alert), about(&alert["labels"]))).collect())
    }

    fn wait_firing(&mut self, what: &str, holds: impl Fn(&BTreeSet<(String, String)>) -> bool) {
        let look = || {
            let firing = self.firing()?;
            if holds(&firing) { Ok(()) } else { Err(format!("{firing:?}")) }
        };
        poll_for(what, 2 * PATIENCE, look).unwrap_or_else(|error| panic!("{error}\n{}", self.daemon.log_tail(20)));
    }
}

#[test]
fn an_alert_fires_while_a_worker_is_stopped_and_resolves_when_it_is_back() {
    let (Some(prometheus), Some(engine)) = (prometheus(), engine()) else { return };
    let mut cluster = Cluster::start(&engine, 0);
    let metrics = format!("127.0.0.1:{}", cluster.spare_port(0));
    cluster.add_worker(&[&format!("--metrics={metrics}")]);
    cluster.wait_ready(1);
    cluster.apply(&web("web", 1));
    cluster.wait_running("web", 1);
    let mut running = Running::start(&prometheus.program(), &cluster, cluster.spare_port(1), &metrics);
    cluster.wait_for("both are scraped", || {
        let up = running.query("sum(up) == 2 and sum(orbit_service_replicas_ready) == 1")?;
        if up.as_array().is_some_and(|up| !up.is_empty()) { Ok(()) } else { Err(format!("{:?}", running.query("up"))) }
    });
    running.wait_firing("nothing fires", BTreeSet::is_empty);
    for expression in dashboard_expressions() {
        let result = running.query(&expression);
        assert!(result.is_ok(), "{expression}: {result:?}");
    }
    // A rate has a value after the second scrape. Some panels show trouble only.
    cluster.wait_for("most panels of the dashboard show something", || {
        let is_empty = |it: &String| running.query(it).is_ok_and(|found| found == serde_json::json!([]));
        let empty = Vec::from_iter(dashboard_expressions().into_iter().filter(is_empty));
        if empty.len() <= 12 { Ok(()) } else { Err(format!("{empty:#?}")) }
    });

    cluster.workers[0].daemon.kill();
    let name = cluster.workers[0].name.clone();
    let expected = [
        ("OrbitNodeUnreachable", name.as_str()),
        ("OrbitScrapeFailing", "orbit-worker"),
        ("OrbitServiceNotReady", "web"),
        ("OrbitServiceDown", "web"),
    ];
    let expected = BTreeSet::from(expected.map(|(name, about)| (name.to_string(), about.to_string())));
    running.wait_firing("the alerts fire", |firing| *firing == expected);
    cluster.workers[0].daemon.start();
    running.wait_firing("the alerts resolve", BTreeSet::is_empty);

    // The manager itself.
    cluster.manager.kill();
    let gone = |firing: &BTreeSet<(String, String)>| {
        let has = |name: &str, about: &str| firing.contains(&(name.to_string(), about.to_string()));
        has("OrbitNoLeader", "")
            && has("OrbitScrapeFailing", "orbit-manager")
            && has("OrbitWorkerWithoutManager", "orbit-worker")
    };
    running.wait_firing("the alerts about the manager fire", gone);
    cluster.manager.start();
    running.wait_firing("the alerts about the manager resolve", BTreeSet::is_empty);
    assert!(running.daemon.is_running(), "{}", running.daemon.log_tail(20));
}

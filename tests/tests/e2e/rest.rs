//! The REST API as its users meet it: pages, selectors, dry runs, watches that go on, events, measures.

use crate::{task, web};
use orbit_tests::{Cluster, repository};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

fn get(cluster: &Cluster, path: &str) -> Value {
    let answer = cluster.ask("GET", path, "").expect("an answer");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list has items");
    items.iter().map(|item| item["name"].as_str().expect("an item has a name").to_string()).collect()
}

/// Services without replicas, so that nothing but they is there.
fn services(cluster: &Cluster, names: &[(&str, &str)]) {
    for (name, team) in names {
        let mut service = web(name, 0);
        service["labels"] = json!({ "team": team });
        cluster.apply(&service);
    }
}

#[test]
fn pages_give_every_object_once_in_order() {
    let cluster = Cluster::without_engine();
    services(&cluster, &[("a", "x"), ("b", "y"), ("c", "x"), ("d", "x"), ("e", "y")]);
    let whole = get(&cluster, "/v1/services");
    assert_eq!(names(&whole), ["a", "b", "c", "d", "e"]);
    assert!(whole.get("continue").is_none() && whole["revision"].as_u64() > Some(0), "{whole}");
    let (mut pages, mut path) = (Vec::new(), "/v1/services?limit=2".to_string());
    loop {
        let page = get(&cluster, &path);
        pages.push(names(&page));
        let Some(next) = page["continue"].as_str() else { break };
        path = format!("/v1/services?limit=2&continue={next}");
    }
    assert_eq!(pages, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
    let chosen = get(&cluster, "/v1/services?limit=2&selector=team%3Dx");
    assert_eq!((names(&chosen), chosen["continue"].as_str()), (vec!["a".to_string(), "c".to_string()], Some("c")));
    let rest = get(&cluster, "/v1/services?selector=team%3Dx&continue=c");
    assert_eq!(names(&rest), ["d"]);
}

#[test]
fn selectors_choose_services_and_the_tasks_of_labelled_objects() {
    let cluster = Cluster::without_engine();
    services(&cluster, &[("a", "x"), ("b", "y")]);
    let mut once = task("once", &["exit", "0"]);
    once["labels"] = json!({ "team": "x" });
    cluster.apply(&once);
    let of = |path: &str| names(&get(&cluster, path));
    assert_eq!(of("/v1/services?selector=team%21%3Dx"), ["b"]);
    assert_eq!(of("/v1/services?selector=team,%21zone"), ["a", "b"]);
    assert_eq!(of("/v1/tasks?selector=team%3Dx"), ["once"]);
    assert_eq!(of("/v1/tasks?selector=team%3Dx&state=running"), [""; 0]);
    assert_eq!(of("/v1/tasks?kind=task&name=once&state=pending"), ["once"]);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let cluster = Cluster::without_engine();
    services(&cluster, &[("there", "x")]);
    let before = get(&cluster, "/v1/services");
    let put = |manifest: &Value| {
        let path = format!("/v1/services/{}?dry_run=1", manifest["name"].as_str().expect("it has a name"));
        cluster.ask("PUT", &path, &manifest.to_string()).expect("an answer")
    };
    let what = |manifest: &Value| {
        let said = put(manifest).json();
        (said["created"].as_bool(), said["changed"].as_bool())
    };
    assert_eq!(what(&web("new", 3)), (Some(true), Some(true)));
    assert_eq!(what(&web("there", 3)), (Some(false), Some(true)));
    let mut same = web("there", 0);
    same["labels"] = json!({ "team": "x" });
    assert_eq!(what(&same), (Some(false), Some(false)));
    let all = json!({ "items": [web("new", 1), same, task("once", &["exit", "0"])] });
    let said = cluster.ask("POST", "/v1/apply?dry_run=1", &all.to_string()).expect("an answer").json();
    let created: Vec<_> =
        said["items"].as_array().expect("one each").iter().map(|item| item["created"].clone()).collect();
    assert_eq!(created, [true, false, true]);
    let refused =
        cluster.ask_with("PUT", "/v1/services/there?dry_run=1", &[("if-match", "\"1\"")], &web("there", 3).to_string());
    assert_eq!(refused.expect("an answer").status, 412, "a dry run is refused as the run would be");
    assert_eq!((get(&cluster, "/v1/services"), cluster.tasks("").len()), (before, 0), "nothing was done");
}

#[test]
fn several_objects_are_all_checked_before_the_first_is_stored() {
    let cluster = Cluster::without_engine();
    let bad = json!({ "items": [web("good", 0), { "kind": "Service", "name": "bad", "image": "" }] });
    let refused = cluster.ask("POST", "/v1/apply", &bad.to_string()).expect("an answer");
    assert_eq!((refused.status, refused.json()["field"].as_str()), (400, Some("items[1].image")));
    assert!(cluster.service("good").is_none());
    let good = json!({ "items": [web("good", 0), task("once", &["exit", "0"])] });
    let stored = cluster.ask("POST", "/v1/apply", &good.to_string()).expect("an answer").json();
    assert_eq!(names(&stored), ["good", "once"]);
    assert!(cluster.service("good").is_some());
}

/// A stream of server-sent events.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(cluster: &Cluster, path: &str, last: Option<u64>) -> Stream {
        let authority = cluster.url().replace("http://", "");
        let mut socket = TcpStream::connect(&authority).expect("the manager listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time that is none would be refused");
        let last = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {authority}\r\n{last}\r\n").expect("it is read");
        let mut stream = Stream(BufReader::new(socket));
        assert!(stream.line().contains(" 200 "), "{path} is a stream");
        stream
    }
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("something comes in time");
        line.trim_end().to_string()
    }
    /// What is told, up to the next ID.
    fn next(&mut self) -> (u64, Vec<Value>) {
        let mut told = Vec::new();
        loop {
            let line = self.line();
            if let Some(data) = line.strip_prefix("data: ") {
                told.push(serde_json::from_str(data).expect("data is JSON"));
            } else if let Some(id) = line.strip_prefix("id: ") {
                // It may stand before the data of its own message.
                let line = self.line();
                told.extend(line.strip_prefix("data: ").map(|data| serde_json::from_str::<Value>(data).expect("JSON")));
                return (id.parse().expect("an ID is a revision"), told);
            }
        }
    }
}

fn told(changes: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("it is there").to_string();
    changes.iter().map(|change| (text(&change["type"]), text(&change["object"]["name"]))).collect()
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_string(), name.to_string())
}

#[test]
fn a_watch_goes_on_where_it_broke_off() {
    let cluster = Cluster::without_engine();
    services(&cluster, &[("a", "x")]);
    let mut stream = Stream::open(&cluster, "/v1/services?watch=1", None);
    let (first, all) = stream.next();
    assert_eq!(told(&all), [pair("added", "a")]);
    drop(stream);
    services(&cluster, &[("b", "x")]);
    cluster.delete("/v1/services/a");
    let mut stream = Stream::open(&cluster, "/v1/services?watch=1", Some(first));
    let mut missed = BTreeSet::new();
    let mut id = first;
    while missed.len() < 2 {
        let (reached, changes) = stream.next();
        assert!(reached > id, "revisions go up");
        id = reached;
        missed.extend(told(&changes));
    }
    assert_eq!(missed, BTreeSet::from([pair("modified", "b"), pair("deleted", "a")]), "of a reader that came back");
    let ahead = cluster.ask("GET", "/v1/services?watch=1&since=99999", "").expect("an answer");
    assert_eq!((ahead.status, ahead.json()["field"].as_str()), (400, Some("since")));
}

#[test]
fn a_watch_from_before_what_is_known_is_told_to_begin_anew() {
    let mut cluster = Cluster::without_engine();
    services(&cluster, &[("a", "x")]);
    let before = get(&cluster, "/v1/services")["revision"].as_u64().expect("a revision");
    services(&cluster, &[("b", "x")]);
    cluster.manager.kill();
    cluster.manager.start();
    cluster.wait_manager();
    let gone = cluster.ask("GET", &format!("/v1/services?watch=1&since={before}"), "").expect("an answer");
    assert_eq!((gone.status, gone.json()["code"].as_str()), (410, Some("compacted")), "{}", gone.text());
}

/// Events without their times: those are reckoned back from the newest entry's clocks, and are off by a
/// millisecond at times.
fn untimed(list: &Value) -> Vec<Value> {
    let mut events = list["items"].as_array().expect("a list has items").clone();
    events.iter_mut().for_each(|event| assert!(event.as_object_mut().expect("it is an object").remove("at").is_some()));
    events
}

#[test]
fn events_outlive_the_manager_and_are_told_from_a_revision_on() {
    let mut cluster = Cluster::without_engine();
    services(&cluster, &[("a", "x"), ("b", "x")]);
    let reasons = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().expect("a list has items");
        items
            .iter()
            .map(|event| format!("{} {}", event["name"].as_str().unwrap(), event["reason"].as_str().unwrap()))
            .collect()
    };
    let all = get(&cluster, "/v1/events?kind=service");
    assert_eq!(reasons(&all), ["a created", "b created"]);
    cluster.manager.kill();
    cluster.manager.start();
    cluster.wait_manager();
    assert_eq!(untimed(&get(&cluster, "/v1/events?kind=service")), untimed(&all), "they are durable");
    let since = all["items"][0]["revision"].as_u64().expect("an event has its revision");
    assert_eq!(reasons(&get(&cluster, &format!("/v1/events?since={since}&kind=service"))), ["b created"]);
    let page = get(&cluster, "/v1/events?kind=service&limit=1");
    let next = page["continue"].as_str().expect("there is more");
    assert_eq!(reasons(&get(&cluster, &format!("/v1/events?kind=service&continue={next}"))), ["b created"]);
    let mut stream = Stream::open(&cluster, &format!("/v1/events?watch=1&since={since}&name=b"), None);
    assert_eq!(stream.next().1[0]["reason"], "created");
    cluster.delete("/v1/services/b");
    assert_eq!(stream.next().1[0]["reason"], "deleted");
}

#[test]
fn measures_have_the_names_that_dashboards_know() {
    let cluster = Cluster::without_engine();
    cluster.apply(&web("web", 2));
    cluster.wait_for("the tasks wait for a node", || match cluster.tasks("service=web").len() {
        2 => Ok(()),
        other => Err(format!("{other} tasks")),
    });
    let answer = cluster.ask("GET", "/metrics", "").expect("an answer");
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    let text = answer.text();
    for (name, kind) in [
        ("orbit_tasks", "gauge"),
        ("orbit_nodes", "gauge"),
        ("orbit_scheduler_placement_seconds", "histogram"),
        ("orbit_reconcile_lag_seconds", "histogram"),
        ("orbit_log_fsync_seconds", "histogram"),
        ("orbit_task_restarts", "counter"),
        ("orbit_invariant_violations", "counter"),
    ] {
        assert!(text.lines().any(|line| line == format!("# TYPE {name} {kind}")), "{name}: {text}");
    }
    let value = |series: &str| text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
    assert_eq!(value("orbit_tasks{state=\"pending\",reason=\"\"}"), Some(2.0), "{text}");
    assert_eq!(value("orbit_nodes{state=\"ready\"}"), Some(0.0));
    assert_eq!(value("orbit_task_restarts_total"), Some(0.0));
    assert_eq!(value("orbit_invariant_violations_total"), Some(0.0));
    assert!(value("orbit_log_fsync_seconds_count") >= Some(1.0), "{text}");
    assert!(text.ends_with("# EOF\n"));
    let ids = cluster.tasks("").into_iter().map(|task| task.id);
    ids.for_each(|id| assert!(!text.contains(&id), "no task's ID is a label: {text}"));
}

/// The document is made of the routes; only a route that was added beside them could be missing in it.
#[test]
fn no_route_is_added_without_its_documentation() {
    let http = repository().join("crates/orbit-manager/src");
    let files = fs::read_dir(http.join("http")).expect("the source is here").flatten().map(|entry| entry.path());
    for file in files.chain([http.join("http.rs")]) {
        let text = fs::read_to_string(&file).expect("a source is text");
        assert!(!text.contains(".route("), "{}: write `.routes(routes!(…))`", file.display());
    }
}

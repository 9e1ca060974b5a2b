//! Bad input: a clear answer with a stable code, and nothing changed.

use crate::{task, timeless, web};
use orbit_tests::{Cluster, Response};
use serde_json::{Value, json};

/// What is sent, and the status, the code and the field of the answer.
struct Case {
    what: &'static str,
    method: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
    expected: (u16, &'static str, &'static str),
}

fn case(
    what: &'static str,
    request: (&'static str, &'static str),
    body: impl ToString,
    expected: (u16, &'static str, &'static str),
) -> Case {
    let body = body.to_string();
    Case { what, method: request.0, path: request.1, headers: Vec::new(), body, expected }
}

const PUT: (&str, &str) = ("PUT", "/v1/services/other");
const POST: (&str, &str) = ("POST", "/v1/tasks");

/// A service with one field set to something else.
fn with(pointer: &str, value: Value) -> Value {
    let mut manifest = web("other", 1);
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
    let parent = manifest.pointer_mut(parent).expect("the parent is there");
    parent.as_object_mut().expect("the parent is an object").insert(key.to_string(), value);
    manifest
}

fn manifests() -> Vec<Case> {
    let invalid = |field: &'static str| (400, "invalid", field);
    let twice = json!([{ "name": "a", "container": 80 }, { "name": "b", "container": 80 }]);
    let same_name = json!([{ "name": "a", "container": 80 }, { "name": "a", "container": 81 }]);
    let same_host =
        json!([{ "name": "a", "container": 80, "host": 8080 }, { "name": "b", "container": 81, "host": 8080 }]);
    let without = |key: &str| {
        let mut manifest = web("other", 1);
        manifest.as_object_mut().expect("it is an object").remove(key);
        manifest
    };
    vec![
        case("unknown key", PUT, with("/imgae", json!("x")), invalid("imgae")),
        case("key that is documented and not built", PUT, with("/health", json!({})), invalid("health")),
        case("unknown key further down", PUT, with("/resources/disk", json!("1Gi")), invalid("resources.disk")),
        case("wrong unit", PUT, with("/resources/cpu", json!("250Mi")), invalid("resources.cpu")),
        case("unknown unit", PUT, with("/resources/memory", json!("128Q")), invalid("resources.memory")),
        case("span without a unit", PUT, with("/stop/grace", json!("10")), invalid("stop.grace")),
        case("negative replicas", PUT, with("/replicas", json!(-1)), invalid("replicas")),
        case("negative cpu", PUT, with("/resources/cpu", json!("-1")), invalid("resources.cpu")),
        case("zero cpu", PUT, with("/resources/cpu", json!("0")), invalid("resources.cpu")),
        case("zero memory", PUT, with("/resources/memory", json!("0")), invalid("resources.memory")),
        case("absurd replicas", PUT, with("/replicas", json!(4_000_000_000u64)), invalid("replicas")),
        case("beyond 32 bits", PUT, with("/replicas", json!(u64::MAX)), invalid("replicas")),
        case("replicas in words", PUT, with("/replicas", json!("three")), invalid("replicas")),
        case("absurd memory", PUT, with("/resources/memory", json!("99999Ti")), invalid("resources.memory")),
        case("absurd cpu", PUT, with("/resources/cpu", json!("99999999")), invalid("resources.cpu")),
        case("port zero", PUT, with("/ports", json!([{ "name": "a", "container": 0 }])), invalid("ports[0].container")),
        case(
            "port beyond the last",
            PUT,
            with("/ports", json!([{ "name": "a", "container": 70000 }])),
            invalid("ports[0].container"),
        ),
        case("one port twice", PUT, with("/ports", twice), invalid("ports[1].container")),
        case("one name for two ports", PUT, with("/ports", same_name), invalid("ports[1].name")),
        case("one host port twice", PUT, with("/ports", same_host), invalid("ports[1].host")),
        case("absurdly long image", PUT, with("/image", json!("x".repeat(5000))), invalid("image")),
        case("no image", PUT, without("image"), invalid("")),
        case("empty image", PUT, with("/image", json!("")), invalid("image")),
        case("unknown kind", PUT, with("/kind", json!("Pod")), invalid("kind")),
        case("kind of another route", PUT, task("other", &[]), invalid("kind")),
        case("another name than the path's", PUT, web("another", 1), invalid("name")),
        case("name that is none", ("PUT", "/v1/services/Web_1"), web("Web_1", 1), invalid("name")),
        case("not JSON", PUT, "{\"kind\": \"Service\",", invalid("")),
        case("YAML", PUT, "kind: Service\nname: other\n", invalid("")),
        case("no body", PUT, "", invalid("")),
        case("two documents", PUT, format!("{0}{0}", web("other", 1)), invalid("")),
        case("list", PUT, "[]", invalid("")),
        case("body too large", PUT, " ".repeat((2 << 20) + 1), (413, "body_too_large", "")),
        case("service as a task", POST, web("other", 1), invalid("kind")),
        case(
            "task with replicas",
            POST,
            json!({ "kind": "Task", "name": "a", "image": "b", "replicas": 2 }),
            invalid("replicas"),
        ),
        case("negative scale", ("POST", "/v1/services/web/scale"), r#"{"replicas":-1}"#, invalid("replicas")),
        case("absurd scale", ("POST", "/v1/services/web/scale"), r#"{"replicas":4000000}"#, invalid("replicas")),
        case("other than scale", ("POST", "/v1/services/web/scale"), r#"{"replicas":1,"image":"x"}"#, invalid("image")),
        case("scale of nothing", ("POST", "/v1/services/none/scale"), r#"{"replicas":1}"#, (404, "not_found", "")),
    ]
}

fn requests() -> Vec<Case> {
    let headed = |what, request: (&'static str, &'static str), header, value, body: Value, expected| Case {
        headers: vec![(header, value)],
        ..case(what, request, body, expected)
    };
    let web_put = ("PUT", "/v1/services/web");
    let get = |path: &'static str| ("GET", path);
    let conflict = (412, "revision_conflict", "");
    vec![
        headed("stale If-Match", web_put, "if-match", "\"1\"", web("web", 5), conflict),
        headed("If-Match of nothing", PUT, "if-match", "\"1\"", web("other", 1), conflict),
        headed("If-None-Match of what is there", web_put, "if-none-match", "*", web("web", 5), conflict),
        headed(
            "If-None-Match of a tag",
            web_put,
            "if-none-match",
            "\"1\"",
            web("web", 5),
            (400, "invalid", "if-none-match"),
        ),
        headed("If-Match of no revision", web_put, "if-match", "\"abc\"", web("web", 5), (400, "invalid", "if-match")),
        headed("stale delete", ("DELETE", "/v1/services/web"), "if-match", "\"1\"", Value::Null, conflict),
        headed("empty key", POST, "idempotency-key", "", task("x", &[]), (400, "invalid", "")),
        case("another spec under a living name", POST, task("once", &["exit", "1"]), (409, "name_in_use", "name")),
        case("unknown route", get("/v1/pods"), "", (404, "no_such_route", "")),
        case("unknown method", ("PATCH", "/v1/services/web"), "", (405, "method_not_allowed", "")),
        case("unknown service", get("/v1/services/none"), "", (404, "not_found", "")),
        case("unknown task", get("/v1/tasks/none"), "", (404, "not_found", "")),
        case("unknown attempt", get("/v1/tasks/9.9.9"), "", (404, "not_found", "")),
        case("unknown node", get("/v1/nodes/none"), "", (404, "not_found", "")),
        case("log of nothing", get("/v1/tasks/none/logs"), "", (404, "not_found", "")),
        case("delete of nothing", ("DELETE", "/v1/services/none"), "", (404, "not_found", "")),
        case("delete of no node", ("DELETE", "/v1/nodes/none"), "", (404, "not_found", "")),
        case("unknown query", get("/v1/services?selektor=a"), "", (400, "invalid", "")),
        case("no selector", get("/v1/services?selector==a"), "", (400, "invalid", "selector")),
        case("empty page", get("/v1/tasks?limit=0"), "", (400, "invalid", "limit")),
        case("no state", get("/v1/tasks?state=walking"), "", (400, "invalid", "state")),
        case("negative page", get("/v1/tasks?limit=-1"), "", (400, "invalid", "")),
        case("no place to continue", get("/v1/tasks?continue=abc"), "", (400, "invalid", "continue")),
        case("follow what", get("/v1/tasks/once/logs?follow=maybe"), "", (400, "invalid", "follow")),
    ]
}

/// All objects, desired and actual. The revision is not in it: a condition that does not hold is found
/// out where the entry is applied.
fn everything(cluster: &Cluster) -> Vec<Value> {
    let look =
        |path: &&str| timeless(cluster.ask("GET", path, "").expect("the manager answers").json()["items"].take());
    ["/v1/services", "/v1/tasks", "/v1/nodes"].iter().map(look).collect()
}

fn check(case: &Case, answer: &Response, wrong: &mut Vec<String>) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_string();
    let found = (answer.status, text("code"), text("field"));
    let (status, code, field) = case.expected;
    let is_problem = answer.header("content-type") == "application/problem+json"
        && body["status"] == json!(answer.status)
        && !text("detail").is_empty();
    if found != (status, code.to_string(), field.to_string()) || !is_problem {
        wrong.push(format!("{}: expected {:?}: {} {}", case.what, case.expected, answer.status, answer.text()));
    }
}

#[test]
fn bad_requests_are_refused_with_a_code_and_change_nothing() {
    let cluster = Cluster::without_engine();
    cluster.apply(&web("web", 0));
    cluster.apply(&task("once", &["exit", "0"]));
    cluster.wait_for("the manager has decided", || {
        let waits = cluster.tasks("").first().is_some_and(|task| task.message.contains("no node"));
        if waits { Ok(()) } else { Err("not yet".to_string()) }
    });
    let before = everything(&cluster);
    let mut wrong = Vec::new();
    for case in manifests().iter().chain(&requests()) {
        match cluster.ask_with(case.method, case.path, &case.headers, &case.body) {
            Ok(answer) => check(case, &answer, &mut wrong),
            Err(error) => wrong.push(format!("{}: {error}", case.what)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(everything(&cluster), before, "nothing has changed");
}

#[test]
fn a_repeated_key_gets_the_same_answer_and_another_request_under_it_none() {
    let cluster = Cluster::without_engine();
    let key = [("idempotency-key", "k-1")];
    let post = |body: &Value| cluster.ask_with("POST", "/v1/tasks", &key, &body.to_string()).expect("an answer");
    let first = post(&task("once", &["exit", "0"]));
    assert_eq!(first.status, 201);
    let again = post(&task("once", &["exit", "0"]));
    let same = |key: &str| assert_eq!(first.json()[key], again.json()[key], "{key}");
    ["name", "uid", "revision", "task"].iter().for_each(|key| same(key));
    assert!(again.is_success());
    let other = post(&task("once", &["exit", "1"]));
    assert_eq!((other.status, other.json()["code"].as_str()), (422, Some("idempotency_key_reused")));
    assert_eq!(cluster.tasks("").len(), 1);
}

#[test]
fn a_condition_that_holds_lets_the_change_happen() {
    let cluster = Cluster::without_engine();
    let put = |header: &str, value: &str, replicas: u32| {
        let body = web("web", replicas).to_string();
        cluster.ask_with("PUT", "/v1/services/web", &[(header, value)], &body).expect("an answer")
    };
    let created = put("if-none-match", "*", 0);
    assert_eq!(created.status, 201);
    let tag = created.header("etag").to_string();
    let read = cluster.ask("GET", "/v1/services/web", "").expect("an answer");
    assert_eq!(read.header("etag"), tag);
    let changed = put("if-match", &tag, 1);
    assert_eq!((changed.status, changed.json()["changed"].as_bool()), (200, Some(true)));
    assert_eq!(put("if-match", &tag, 2).status, 412, "that was another revision");
}

/// One line on standard error, and nothing else.
fn refused(output: &std::process::Output, says: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(output.stdout.is_empty());
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    says.iter().for_each(|words| assert!(stderr.contains(words), "{words} is not in: {stderr}"));
}

#[test]
fn the_command_line_refuses_in_one_line() {
    let mut cluster = Cluster::without_engine();
    let broken = cluster.file("broken.yaml", "kind: Service\n  name: [\n");
    refused(&cluster.orbit(&["apply", "-f", &broken], ""), &["broken.yaml", "line"]);
    let unknown = "kind: Service\nname: web\nimage: x\nreplikas: 3\n";
    refused(&cluster.orbit(&["apply", "-f", "-"], unknown), &["replikas", "line 4"]);
    refused(&cluster.orbit(&["apply", "-f", "/nowhere.yaml"], ""), &["/nowhere.yaml"]);
    refused(&cluster.orbit(&["apply", "-f", "-"], "kind: Service\nname: web\nimage: x\nreplicas: -1\n"), &["replicas"]);
    refused(&cluster.orbit(&["get", "service", "none"], ""), &["none"]);
    refused(&cluster.orbit(&["scale", "none=3"], ""), &["none"]);
    assert!(cluster.tasks("").is_empty() && cluster.service("web").is_none());
    cluster.manager.kill();
    for args in [&["get", "nodes"][..], &["scale", "web=3"], &["delete", "service", "web"], &["node", "ls"]] {
        refused(&cluster.orbit(args, ""), &["no manager answers", &cluster.url()]);
    }
}

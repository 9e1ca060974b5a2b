//! Every value that comes from outside, at every place of every route: the routes and places are those of the
//! document, so that none is missing.

use crate::manager::{Manager, request};
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue},
};
use http_body_util::BodyExt;
use serde_json::Value;
use std::{
    fmt::Write,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Values at the edges of every type that a parameter has, and outside of it.
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "+1",
    "01",
    "4294967295",
    "4294967296",
    "9223372036854775808",
    "18446744073709551614",
    "18446744073709551615",
    "18446744073709551616",
    "999999999999999999999999999999999999999999",
    "1e9",
    "0x10",
    "NaN",
    "0.0",
    "0.5",
    "1.0",
    "1.18446744073709551615",
    "18446744073709551615.0",
    "18446744073709551615.18446744073709551615",
    "0.0.0",
    "1.1.0",
    "9.9.9",
    "4294967295.18446744073709551615.4294967295",
    "4294967296.0.0",
    "1.2.3.4",
    "...",
    "web",
    "once",
    "undo",
    "running",
    "true",
    "null",
    "1969-12-31T23:59:59Z",
    "9999-12-31T23:59:59.999999999Z",
    "0000-00-00T00:00:00Z",
    "2026-02-30T25:61:61Z",
    "2026-01-31T12:00:0\u{e9}Z",
    "a=b,c!=d,!e",
    "==",
    "../../x",
    "a/b",
    "%",
    "\u{0}",
    "\u{1f600}",
    "\u{202e}x",
    "\u{1b}[31m",
    "\"1\"",
    "*",
];

const BODIES: &[&str] = &[
    "",
    "null",
    "0",
    "[]",
    "{}",
    "\"\"",
    "{",
    "\u{0}",
    r#"{"replicas":18446744073709551615}"#,
    r#"{"replicas":-1}"#,
    r#"{"replicas":1e400}"#,
    r#"{"version":4294967295}"#,
    r#"{"version":4294967296}"#,
    r#"{"deadline":"18446744073709551615h"}"#,
    r#"{"deadline":"584554051y"}"#,
    r#"{"deadline":""}"#,
    r#"{"items":[{}]}"#,
    r#"{"items":[]}"#,
    r#"{"kind":"Service","name":"web","image":"x","replicas":4294967295,"resources":{"memory":"18446744073709551615Ti"}}"#,
    r#"{"kind":"Task","name":"x","image":"x","resources":{"cpu":"18446744073709551615"}}"#,
    r#"{"kind":"Task","name":"y","image":"x","stop":{"grace":"18446744073709551615s"}}"#,
];

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        let _ = write!(encoded, "%{byte:02X}");
    }
    encoded
}

/// A route as the document has it.
struct Route {
    method: String,
    path: String,
    statuses: Vec<u16>,
    /// By where they stand: `path`, `query` or `header`.
    parameters: Vec<(String, String)>,
    takes_body: bool,
}

fn routes(document: &Value) -> Vec<Route> {
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_string();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            routes.push(Route {
                method: method.to_uppercase(),
                path: path.clone(),
                statuses: operation["responses"].as_object().unwrap().keys().map(|key| key.parse().unwrap()).collect(),
                parameters: parameters.map(|it| (text(&it["in"]), text(&it["name"]))).collect(),
                takes_body: operation.get("requestBody").is_some(),
            });
        }
    }
    routes
}

/// The path with one parameter set, and the others to what exists.
fn path(route: &Route, set: Option<(&str, &str)>) -> String {
    let mut path = route.path.clone();
    for (_, name) in route.parameters.iter().filter(|(place, _)| place == "path") {
        let usual = if name == "id" {
            "once"
        } else if name == "order" {
            "pause"
        } else {
            "web"
        };
        let value = set.filter(|(of, _)| of == name).map_or(usual.to_string(), |(_, value)| encoded(value));
        path = path.replace(&format!("{{{name}}}"), &value);
    }
    path
}

struct Case {
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<String>,
}

fn cases(route: &Route) -> Vec<Case> {
    let plain = |path: String| Case { path, headers: Vec::new(), body: None };
    let mut cases = Vec::new();
    for (place, name) in &route.parameters {
        let mut values: Vec<String> = VALUES.iter().map(|value| value.to_string()).collect();
        values.extend(["9".repeat(400), "x".repeat(5000), ",".repeat(3000), ".".repeat(3000)]);
        for value in &values {
            match place.as_str() {
                "path" => cases.push(plain(path(route, Some((name, value))))),
                "query" => {
                    let path = path(route, None);
                    let query = format!("{name}={}", encoded(value));
                    let beside = ["", "&watch=1", "&since=0", "&since=18446744073709551615&watch=1", "&limit=1"];
                    cases.extend(beside.iter().map(|more| plain(format!("{path}?{query}{more}"))));
                    cases.push(plain(format!("{path}?{query}&{query}")));
                    cases.push(plain(format!("{path}?{name}=%FF{value}", value = encoded(value))));
                }
                "header" => {
                    let one = (name.clone(), value.as_bytes().to_vec());
                    for headers in [vec![one.clone()], vec![one.clone(), one.clone()]] {
                        for query in ["", "?watch=1"] {
                            let path = format!("{}{query}", path(route, None));
                            cases.push(Case { headers: headers.clone(), ..plain(path) });
                        }
                    }
                }
                other => panic!("a parameter in {other}"),
            }
        }
    }
    cases.push(plain(path(route, None)));
    cases
        .extend(["?", "?=", "?&", "?unknown=1", "?%FF=%FF"].iter().map(|q| plain(format!("{}{q}", path(route, None)))));
    if route.takes_body {
        let deep = "[".repeat(200_000);
        let bodies = BODIES.iter().map(|body| body.to_string()).chain([deep, "\u{feff}{}".to_string()]);
        cases.extend(bodies.map(|body| Case { body: Some(body), ..plain(path(route, None)) }));
    }
    cases
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

#[tokio::test]
async fn no_value_at_any_place_of_any_route_is_trusted() {
    let said = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        said(info);
    }));
    let manager = Manager::new().await;
    let document = manager.get("/v1/openapi.json").await.json();
    let (mut asked, mut wrong) = (0, Vec::new());
    for route in routes(&document) {
        for case in cases(&route) {
            let mut request = request(&route.method, &case.path);
            for (name, value) in &case.headers {
                let Ok(value) = HeaderValue::from_bytes(value) else { continue };
                request = request.header(name.parse::<HeaderName>().unwrap(), value);
            }
            let body = case.body.clone().unwrap_or_default();
            if !body.is_empty() {
                request = request.header("content-type", "application/json");
            }
            let Ok(request) = request.body(Body::from(body)) else { continue };
            asked += 1;
            let mut answer = manager.begin(request).await;
            let status = answer.status().as_u16();
            let of = |what: &str| answer.headers().get("content-type").is_some_and(|kind| kind == what);
            let is_problem = of("application/problem+json");
            if !of("text/event-stream") {
                // What is streamed goes on in a task of its own, which the questions below let come to it.
                while let Some(Ok(_)) = answer.frame().await {}
            }
            // What stands there for a route may not be what such a path means: `a/b` is another one.
            let documented = route.statuses.contains(&status) || matches!(status, 404 | 405);
            if status >= 500 || (status >= 400 && !is_problem) || !documented || PANICS.load(Ordering::SeqCst) > 0 {
                let short: String = case.path.chars().take(120).collect();
                wrong.push(format!("{} {short} {:?}: {status}", route.method, case.headers));
                PANICS.store(0, Ordering::SeqCst);
            }
        }
        manager.lives().await;
        manager.lives().await;
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "also where nobody waits for it");
    assert!(asked > 4000, "{asked} requests are not all");
}

#[tokio::test]
async fn a_watch_of_events_from_ahead_of_the_revision_is_refused() {
    let manager = Manager::new().await;
    let answer = manager.get("/v1/events?watch=1&since=18446744073709551615").await;
    assert_eq!((answer.status, answer.json()["field"].as_str()), (400, Some("since")));
    assert_eq!(manager.get("/v1/events?since=18446744073709551615").await.json()["items"], serde_json::json!([]));
}

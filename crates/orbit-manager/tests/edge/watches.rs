//! Watches: what is asked for costs no more than is taken, and nothing is said to be gone that was never shown.

use crate::manager::{Manager, request};
use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

const REPLICAS: usize = 3_000;

async fn watch(manager: &Manager, path: &str) -> Body {
    let response = manager.begin(request("GET", path).body(Body::empty()).unwrap()).await;
    assert_eq!(response.status().as_u16(), 200, "{path}");
    assert_eq!(response.headers()["x-accel-buffering"], "no", "a proxy is not to gather what it says");
    response.into_body()
}

/// The changes of a watch up to and including the next one that ends a revision: (what, the object's name or ID),
/// and that revision.
async fn until_revision(body: &mut Body) -> (Vec<(String, String)>, u64) {
    let (mut told, mut text) = (Vec::new(), String::new());
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(30), body.frame()).await.expect("it goes on");
        let data = frame.expect("it has no end").expect("it is not broken").into_data().unwrap_or_default();
        text.push_str(std::str::from_utf8(&data).expect("it is text"));
        while let Some((event, rest)) = text.split_once("\n\n") {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if let Some(data) = field("data:") {
                let change: Value = serde_json::from_str(data).expect("a change");
                let object = &change["object"];
                let name = object["id"].as_str().or(object["name"].as_str()).expect("it has a name").to_string();
                told.push((change["type"].as_str().expect("a type").to_string(), name));
            }
            let id = field("id:").map(|id| id.parse().expect("a revision"));
            text = rest.to_string();
            if let Some(id) = id {
                return (told, id);
            }
        }
    }
}

async fn scaled(replicas: usize) -> Manager {
    let manager = Manager::new().await;
    let web = json!({ "kind": "Service", "name": "web", "image": "web:1", "replicas": replicas });
    assert_eq!(manager.send("PUT", "/v1/services/web", &web).await.status, 200);
    let tasks = async || {
        let metrics = String::from_utf8(manager.get("/metrics").await.body).unwrap();
        let pending = metrics.lines().find_map(|line| line.strip_prefix("orbit_tasks{state=\"pending\",reason=\"\"} "));
        pending.map_or(0, |count| count.parse::<usize>().unwrap())
    };
    while tasks().await < replicas + 1 {
        tokio::task::yield_now().await;
    }
    manager
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    line.split_whitespace().next().expect("a number").parse::<u64>().expect("a number") << 10
}

#[tokio::test]
async fn sixty_watches_that_nobody_reads_hold_a_page_each_and_delay_nobody() {
    let manager = scaled(REPLICAS).await;
    let before = resident_bytes();
    let mut watches = Vec::new();
    for _ in 0..60 {
        watches.push(watch(&manager, "/v1/tasks?watch=1").await);
    }
    // Whoever asks now is answered, and each watch has prepared what it may by then.
    for _ in 0..20 {
        manager.lives().await;
        let web = json!({ "replicas": REPLICAS });
        assert_eq!(manager.send("POST", "/v1/services/web/scale", &web).await.status, 200);
    }
    let held = resident_bytes().saturating_sub(before);
    // All of it would be 60 times 3,000 objects of about a kilobyte.
    assert!(held < 100 << 20, "{} MiB are held for readers that take nothing", held >> 20);

    let (told, revision) = until_revision(&mut watches[0]).await;
    let mut names = BTreeMap::new();
    told.iter().for_each(|(what, id)| *names.entry((what.as_str(), id)).or_insert(0) += 1);
    assert_eq!((told.len(), names.len()), (REPLICAS + 1, REPLICAS + 1), "each task once, across the pages");
    assert!(told.iter().all(|(what, _)| what == "added") && revision > 0);
}

#[tokio::test]
async fn a_watch_that_goes_on_says_nothing_of_what_it_never_showed() {
    let manager = Manager::new().await;
    let of = |name: &str, replicas: u32, team: &str| json!({ "kind": "Service", "name": name, "image": "x:1", "replicas": replicas, "labels": { "team": team } });
    let shop = of("shop", 0, "shop");
    assert_eq!(manager.send("PUT", "/v1/services/shop", &shop).await.status, 201);
    let mut first = watch(&manager, "/v1/services?watch=1&selector=team%3Dshop").await;
    let (told, seen) = until_revision(&mut first).await;
    assert_eq!(told, [("added".to_string(), "shop".to_string())]);
    drop(first);

    // `web` has no such label and never had: its tasks come, which changes how it is shown.
    manager.send("POST", "/v1/services/web/scale", &json!({ "replicas": 1 })).await;
    let once = json!({ "kind": "Task", "name": "another", "image": "once:1" });
    manager.send("POST", "/v1/tasks", &once).await;
    assert_eq!(manager.send("PUT", "/v1/services/shop", &of("shop", 0, "other")).await.status, 200);
    let mut second = watch(&manager, &format!("/v1/services?watch=1&selector=team%3Dshop&since={seen}")).await;
    let (told, _) = until_revision(&mut second).await;
    assert_eq!(told, [("deleted".to_string(), "shop".to_string())], "that has lost its label, and nothing else");
}

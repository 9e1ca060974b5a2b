//! What becomes of a task whose node is not heard, as its service says.

use crate::web;
use orbit_tests::{Cluster, Container, Worker, engine};
use serde_json::{Value, json};

fn spread(replicas: u32, disconnect: Value) -> Value {
    let mut service = web("web", replicas);
    service["placement"] = json!({ "strategy": "spread" });
    service["disconnect"] = disconnect;
    service
}

/// The only container of the service, and the worker that it belongs to.
fn only(cluster: &Cluster) -> (Container, usize) {
    let container = cluster.wait_running("web", 1).remove(0);
    let task = cluster.task(container.task()).expect("it is known");
    let node = task.node.expect("it has a node");
    let worker = cluster.workers.iter().position(|worker| worker.name == node);
    (container, worker.expect("a node is a worker"))
}

#[test]
fn a_timed_fence_stops_what_nobody_can_hear_of_before_it_is_replaced() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 2);
    cluster.apply(&spread(1, json!({ "replace_after": "11s", "fence": "timed" })));
    let (container, worker) = only(&cluster);
    let task = container.task().to_string();
    // Neither restarts nor the manager's death are held against a container, but its fence is.
    cluster.manager.kill();
    cluster.workers[worker].daemon.kill();
    cluster.workers[worker].daemon.start();
    cluster.wait_for("it is stopped by its node", || match engine.container(&container.id) {
        Some(seen) if seen.is_running() => Err("it runs".to_string()),
        _ => Ok(()),
    });
    cluster.manager.start();
    cluster.wait_manager();
    let ended = cluster.wait_ended(&task);
    assert_eq!((ended.actual.as_str(), ended.reason.as_deref()), ("failed", Some("fenced")), "{ended:?}");
    let next = cluster.wait_running("web", 1).remove(0);
    assert_ne!(next.id, container.id);
    let failures = cluster.service("web").expect("it is there").actual.failures;
    assert_eq!(failures, 0, "that its node stopped it is no failure of its own");
    // A worker that is told to end leaves its containers running, and says what that means for these.
    for worker in &mut cluster.workers {
        worker.daemon.terminate();
    }
    let warned = |worker: &&Worker| worker.daemon.log().contains("nobody keeps the timed fences");
    assert_eq!(cluster.workers.iter().filter(warned).count(), 1, "only one runs such a container");
}

#[test]
fn a_confirmed_fence_replaces_nothing_until_somebody_gives_the_node_up() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 2);
    cluster.apply(&spread(1, json!({ "replace_after": "5s", "fence": "confirmed" })));
    let (container, worker) = only(&cluster);
    let name = cluster.workers[worker].name.clone();
    cluster.workers[worker].daemon.suspend();
    let message = cluster.wait_for("the node says what it is waited for", || {
        let node = cluster.nodes().into_iter().find(|node| node.name == name).ok_or("no such node")?;
        if node.message.contains("confirmed") { Ok(node.message) } else { Err(node.message) }
    });
    assert!(message.contains("waits until it returns or is forgotten"), "{message}");
    assert_eq!(cluster.tasks("service=web").len(), 1, "nothing was made in its place");
    let forgotten = cluster.orbit(&["node", "forget", &name], "");
    assert!(forgotten.status.success(), "{forgotten:?}");
    cluster.wait_for("another has taken its place", || {
        let running = cluster.running("web");
        let elsewhere = running.iter().find(|task| task.node.as_deref() != Some(&*name));
        elsewhere.map(|_| ()).ok_or_else(|| format!("{running:?}"))
    });
    // It comes back as a new node, and what it ran as another is not wanted any more.
    cluster.workers[worker].daemon.resume();
    cluster.wait_ready(2);
    cluster.wait_for("the old container is gone", || match engine.container(&container.id) {
        Some(seen) if seen.is_running() => Err("it runs".to_string()),
        _ => Ok(()),
    });
}

#[test]
fn what_becomes_of_a_silent_nodes_tasks_and_when_is_said_wherever_somebody_looks() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 2);
    cluster.apply(&spread(1, json!({ "replace_after": "10m" })));
    let (container, worker) = only(&cluster);
    let name = cluster.workers[worker].name.clone();
    cluster.workers[worker].daemon.suspend();
    let unless = format!("unless {name} returns");
    cluster.wait_for("the task says when it is replaced", || {
        let message = cluster.task(container.task()).map(|task| task.message).unwrap_or_default();
        if message.contains("is replaced in") && message.contains(&unless) { Ok(()) } else { Err(message) }
    });
    let service = cluster.service("web").expect("it is there");
    assert!(service.actual.message.contains(&unless), "{service:?}");
    for command in [&["get", "tasks"][..], &["get", "services"], &["describe", "service", "web"]] {
        let shown = cluster.orbit(command, "");
        let text = String::from_utf8_lossy(&shown.stdout);
        assert!(text.contains(&unless), "{command:?}: {text}");
    }
    let shown = cluster.orbit(&["node", "ls"], "");
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("unless it returns"), "{text}");
    // It returns, and nothing of that is left.
    cluster.workers[worker].daemon.resume();
    cluster.wait_for("nothing is waited for any more", || {
        let message = cluster.service("web").map(|service| service.actual.message).unwrap_or_default();
        if message.is_empty() { Ok(()) } else { Err(message) }
    });
}

#[test]
fn the_original_stays_where_its_service_says_so() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 2);
    cluster.apply(&spread(1, json!({ "replace_after": "5s", "keep": "original" })));
    let (container, worker) = only(&cluster);
    cluster.workers[worker].daemon.suspend();
    let replacement = cluster.wait_for("it is replaced", || {
        let running = cluster.running("web");
        let other = running.iter().find(|task| task.id != container.task()).map(|task| task.id.clone());
        other.ok_or_else(|| format!("{running:?}"))
    });
    cluster.workers[worker].daemon.resume();
    cluster.wait_ended(&replacement);
    let (kept, _) = only(&cluster);
    assert_eq!((kept.id, kept.pid), (container.id, container.pid));
}

#[test]
fn a_fence_that_cannot_hold_is_refused_with_its_arithmetic() {
    let cluster = Cluster::without_engine();
    let mut service = spread(1, json!({ "replace_after": "12s", "fence": "timed" }));
    service["stop"] = json!({ "grace": "10s" });
    for path in ["/v1/services/web", "/v1/services/web?dry_run=1"] {
        let answer = cluster.ask("PUT", path, &service.to_string()).expect("the manager answers");
        let problem: Value = serde_json::from_str(&answer.text()).expect("a problem document");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert_eq!((answer.status, problem["field"].as_str()), (400, Some("disconnect.replace_after")), "{problem}");
        assert!(
            detail.contains("a lease of 5s, a stop.grace of 10s") && detail.contains("need at least 19s"),
            "{detail}"
        );
    }
}

#[test]
fn a_replica_on_an_unreachable_node_is_neither_ready_nor_updated_nor_available() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 3);
    let service = spread(3, json!({ "replace_after": "10m" }));
    cluster.apply(&service);
    cluster.wait_running("web", 3);
    cluster.workers[0].daemon.suspend();
    let counted = cluster.wait_for("its node is unreachable", || {
        let actual = cluster.service("web").ok_or("no service")?.actual;
        if actual.unreachable == 1 { Ok(actual) } else { Err(format!("{actual:?}")) }
    });
    assert_eq!((counted.running, counted.ready, counted.updated), (2, 2, 2), "{counted:?}");
    assert!(counted.available <= 2 && !counted.message.is_empty(), "{counted:?}");
    let endpoints = cluster.ask("GET", "/v1/services/web/endpoints", "").expect("an answer").json();
    assert_eq!(endpoints["items"].as_array().map(Vec::len), Some(2));
    let listed = String::from_utf8(cluster.orbit(&["get", "services"], "").stdout).expect("text");
    let row: Vec<&str> = listed.lines().nth(1).expect("a row").split_whitespace().collect();
    assert_eq!(row[..4], ["web", "3", "2", "2"], "{listed}");

    let file = cluster.file("web.json", &service.to_string());
    let apply = |timeout| cluster.orbit(&["apply", "-f", &file, "--wait", "--timeout", timeout], "");
    let late = apply("2s");
    let said = String::from_utf8_lossy(&late.stderr).into_owned();
    assert!(!late.status.success() && said.contains("2 of 3 ready, 1 on unreachable nodes"), "{late:?}");
    cluster.workers[0].daemon.resume();
    let done = apply("30s");
    assert!(done.status.success(), "{done:?}");
}

//! A new version takes the place of the old one on a real engine, no faster than its update allows.

use crate::web;
use orbit_tests::{Cluster, Container, Engine, engine};
use serde_json::{Value, json};

/// Rolls a service on to another version; the least and the most containers that ran meanwhile.
fn roll(engine: &Engine, cluster: &Cluster, before: &[Container], changed: &Value) -> (usize, usize) {
    let labels = [format!("orbit.node={}", before[0].label("orbit.node")), "orbit.name=web".to_string()];
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let replicas = before.len();
    assert_eq!(cluster.apply(changed)["version"], 2);
    let (mut least, mut most) = (usize::MAX, 0);
    cluster.wait_for("all replicas are of the new version", || {
        let running = engine.count_running(&labels);
        (least, most) = (least.min(running), most.max(running));
        let actual = cluster.service("web").ok_or("no service")?.actual;
        let settled = [actual.updated, actual.running].map(|n| n as usize) == [replicas; 2] && actual.stopping == 0;
        if settled { Ok(()) } else { Err(format!("{actual:?}")) }
    });
    let after = cluster.wait_running("web", replicas);
    assert!(after.iter().all(|new| before.iter().all(|old| old.id != new.id)));
    (least, most)
}

fn changed(update: Value) -> Value {
    let mut changed = web("web", 4);
    changed["env"] = json!({ "MODE": "other" });
    changed["update"] = update;
    changed
}

#[test]
fn as_many_as_may_be_run_beside_those_that_serve() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 4));
    let before = cluster.wait_running("web", 4);
    // They stand side by side until the new ones count, so that it can be seen.
    let changed = changed(json!({ "max_surge": 2, "min_healthy": "1s" }));
    assert_eq!(roll(&engine, &cluster, &before, &changed), (4, 6));
}

#[test]
fn where_the_old_ones_go_first_no_more_go_than_may_be_missing() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 4));
    let before = cluster.wait_running("web", 4);
    let changed = changed(json!({ "max_surge": 0, "max_unavailable": 2, "min_healthy": "0s" }));
    let (least, most) = roll(&engine, &cluster, &before, &changed);
    assert!(least >= 2 && most <= 4, "{least} to {most} ran");
}

#[test]
fn a_version_that_fails_before_it_counts_gets_no_further() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 4));
    let before = cluster.wait_running("web", 4);
    // Nobody counts its failures: it is tried until its deadline.
    let mut bad = changed(json!({ "max_surge": 2, "min_healthy": "5s", "max_failures": 0 }));
    bad["args"] = json!(["exit", "3"]);
    cluster.apply(&bad);
    cluster.wait_for("it was tried several times", || {
        let failures = cluster.service("web").ok_or("no service")?.actual.failures;
        if failures >= 3 { Ok(()) } else { Err(format!("{failures} failures")) }
    });
    let serving = cluster.running_containers("web");
    assert!(before.iter().all(|old| serving.iter().any(|it| it.id == old.id)), "the old ones serve: {serving:?}");
    let slots: std::collections::BTreeSet<u32> =
        cluster.tasks("service=web").iter().filter(|task| task.version == 2).map(|task| task.slot).collect();
    assert_eq!(slots, [0, 1].into(), "no other slot was given to it");
    // What is better supersedes it at once.
    let good = changed(json!({ "max_surge": 4, "min_healthy": "0s" }));
    cluster.apply(&good);
    cluster.wait_for("the better one runs", || {
        let actual = cluster.service("web").ok_or("no service")?.actual;
        if actual.updated == 4 && actual.running == 4 { Ok(()) } else { Err(format!("{actual:?}")) }
    });
}

#[test]
fn an_update_that_could_not_begin_is_refused() {
    let cluster = Cluster::without_engine();
    let bad = changed(json!({ "max_surge": 0 }));
    let answer = cluster.ask("PUT", "/v1/services/web", &bad.to_string()).expect("the manager answers");
    let problem: Value = serde_json::from_str(&answer.text()).expect("a problem document");
    assert_eq!((answer.status, problem["field"].as_str()), (400, Some("update.max_unavailable")), "{problem}");
}

#[test]
fn what_serves_is_not_stopped_for_an_image_that_cannot_be_had() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let first_goes = json!({ "max_surge": 0, "max_unavailable": 1, "min_healthy": "0s", "on_failure": "rollback" });
    let mut service = web("web", 1);
    service["update"] = first_goes;
    cluster.apply(&service);
    let before = cluster.wait_running("web", 1).remove(0);
    assert_eq!(cluster.orbit(&["rollout", "status", "web", "--timeout", "30s"], "").status.code(), Some(0));
    // Nothing listens there.
    service["image"] = json!("127.0.0.1:1/absent:1");
    cluster.apply(&service);
    cluster.wait_for("the version is taken back", || {
        let story = String::from_utf8_lossy(&cluster.orbit(&["describe", "service", "web"], "").stdout).into_owned();
        let told = story.contains("image_failed") && story.contains("rolled_back");
        if told { Ok(()) } else { Err(story) }
    });
    let after = cluster.wait_running("web", 1).remove(0);
    assert_eq!((after.id, after.started_at), (before.id, before.started_at), "it has served all the time");
    assert_eq!(cluster.tasks("service=web").len(), 1, "no attempt was made");
}

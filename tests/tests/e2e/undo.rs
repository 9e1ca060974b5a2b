//! How a rollout goes and ends: canaries, a deadline, what is taken back, on a real engine and as a user sees it.

use crate::web;
use orbit_tests::{Cluster, Container, engine};
use serde_json::{Value, json};

/// Another version of it.
fn version(mode: &str, replicas: u32, update: Value) -> Value {
    let mut service = web("web", replicas);
    service["env"] = json!({ "MODE": mode });
    service["update"] = update;
    service
}

fn orbit(cluster: &Cluster, args: &[&str]) -> (Option<i32>, String, String) {
    let output = cluster.orbit(args, "");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn state(cluster: &Cluster) -> String {
    cluster.service("web").and_then(|service| service.rollout).expect("a service has a rollout").state
}

fn wait_state(cluster: &Cluster, wanted: &str) {
    cluster.wait_for(wanted, || match state(cluster) {
        state if state == wanted => Ok(()),
        state => Err(state),
    });
}

fn ids(containers: &[Container]) -> Vec<String> {
    containers.iter().map(|container| container.id.clone()).collect()
}

#[test]
fn canaries_wait_until_somebody_promotes_them() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let update = json!({ "max_surge": 3, "min_healthy": "0s", "canary": 1 });
    cluster.apply(&version("old", 3, update.clone()));
    let before = ids(&cluster.wait_running("web", 3));
    let file = cluster.file("web.json", &version("new", 3, update).to_string());
    let (code, _, said) = orbit(&cluster, &["apply", "-f", &file, "--wait"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the canaries of version 2 serve: promote or undo it"), "{said}");
    let running =
        |of_new: bool| cluster.tasks("service=web&state=running").iter().filter(|t| (t.version == 2) == of_new).count();
    cluster.wait_for("one canary in the place of one", || match (running(true), running(false)) {
        (1, 2) => Ok(()),
        counts => Err(format!("{counts:?}")),
    });
    // What ends meanwhile is followed by one like it.
    let old =
        cluster.tasks("service=web&state=running").into_iter().find(|task| task.version == 1).expect("two are old");
    let container = cluster.running_containers("web").into_iter().find(|c| c.task() == old.id);
    engine.kill(&container.expect("it runs").id);
    let ended = cluster.wait_ended(&old.id);
    let next = cluster.wait_for("it is followed", || {
        let tasks = cluster.tasks("service=web&state=running");
        let next = tasks.into_iter().find(|task| task.slot == ended.slot);
        next.ok_or_else(|| "not yet".to_string())
    });
    assert_eq!(next.version, 1, "the canary's version goes no further");
    let (code, said, _) = orbit(&cluster, &["rollout", "promote", "web"]);
    assert_eq!((code, said.as_str()), (Some(0), "service/web goes on to version 2 in every replica\n"));
    let (code, said, _) = orbit(&cluster, &["rollout", "status", "web"]);
    assert_eq!((code, said.as_str()), (Some(0), "service/web: version 2 is rolled out\n"));
    assert!(ids(&cluster.wait_running("web", 3)).iter().all(|id| !before.contains(id)));
    let (code, _, said) = orbit(&cluster, &["rollout", "promote", "web"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("version 2 of service `web` is rolled out: nothing is under way"), "{said}");
}

#[test]
fn what_does_not_serve_by_its_deadline_is_taken_back() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let update = json!({ "max_surge": 2, "min_healthy": "500ms", "deadline": "3s", "max_failures": 0 });
    cluster.apply(&version("good", 3, update.clone()));
    let before = ids(&cluster.wait_running("web", 3));
    wait_state(&cluster, "done");
    let mut bad = version("bad", 3, update.clone());
    bad["args"] = json!(["exit", "3"]);
    let file = cluster.file("web.json", &bad.to_string());
    let (code, _, said) = orbit(&cluster, &["apply", "-f", &file, "--wait"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("rolled back to version 1: 0 of 3 replicas of version 2 serve"), "{said}");
    assert!(said.contains("; last attempt ended: exited with code 3"), "{said}");
    cluster.wait_for("nothing is left of it", || {
        let actual = cluster.service("web").ok_or("no service")?.actual;
        let rests = actual.running == 3 && actual.stopping + actual.starting + actual.pending == 0;
        if rests { Ok(()) } else { Err(format!("{actual:?}")) }
    });
    let mut after = ids(&cluster.wait_running("web", 3));
    let mut before = before;
    before.sort();
    after.sort();
    assert_eq!(after, before, "what served has not even been restarted");
    let service = cluster.service("web").expect("it is there");
    assert_eq!((service.version, service.desired.env["MODE"].as_str()), (1, "good"));
    assert_eq!(orbit(&cluster, &["rollout", "status", "web"]).0, Some(4));
    let (_, versions, _) = orbit(&cluster, &["rollout", "history", "web"]);
    let lines: Vec<Vec<&str>> = versions.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines[1][0], lines[1][4]), ("1", "current,stable"), "{versions}");
    assert_eq!(lines[2][0], "2", "{versions}");
    // The manifest that worked is what its user wants, then.
    let good = version("good", 3, update);
    cluster.apply(&good);
    assert_eq!(orbit(&cluster, &["rollout", "status", "web"]).0, Some(0));
}

#[test]
fn what_fails_on_every_attempt_is_taken_back_long_before_its_deadline() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let update = json!({ "min_healthy": "5s" });
    cluster.apply(&version("good", 2, update.clone()));
    let before = ids(&cluster.wait_running("web", 2));
    wait_state(&cluster, "done");
    // An image that nobody has, and a process that ends: the deadline of both is ten minutes away.
    let mut absent = version("absent", 2, update.clone());
    (absent["image"], absent["pull"]) = (json!("orbit-absent:1"), json!("never"));
    let mut crashing = version("crashing", 2, update);
    crashing["args"] = json!(["exit", "3"]);
    for bad in [absent, crashing] {
        let file = cluster.file("web.json", &bad.to_string());
        let (code, _, said) = orbit(&cluster, &["apply", "-f", &file, "--wait", "--timeout", "60s"]);
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("rolled back to version 1: 3 attempts of version"), "{said}");
    }
    assert_eq!(ids(&cluster.wait_running("web", 2)), before, "what served has not even been restarted");
}

#[test]
fn a_rollout_stands_still_goes_on_and_is_undone() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let update = json!({ "min_healthy": "1s" });
    cluster.apply(&version("one", 3, update.clone()));
    cluster.wait_running("web", 3);
    wait_state(&cluster, "done");
    cluster.apply(&version("two", 3, update.clone()));
    cluster.wait_for("it has begun", || {
        let current = cluster.service("web").ok_or("no service")?.actual.updated;
        if current > 0 { Ok(()) } else { Err(format!("{current}")) }
    });
    assert_eq!(orbit(&cluster, &["rollout", "pause", "web"]).0, Some(0));
    let (code, said, _) = orbit(&cluster, &["rollout", "status", "web"]);
    assert_eq!((code, said.as_str()), (Some(0), "service/web: the rollout of version 2 is paused\n"));
    assert_eq!(orbit(&cluster, &["restart", "web"]).0, Some(2), "it would reach every replica");
    assert_eq!(orbit(&cluster, &["rollout", "resume", "web"]).0, Some(0));
    let (code, _, said) = orbit(&cluster, &["rollout", "status", "web", "--timeout", "100ms"]);
    assert_eq!(code, Some(5), "{said}");
    assert_eq!(orbit(&cluster, &["rollout", "status", "web"]).0, Some(0));
    let (code, said, _) = orbit(&cluster, &["rollout", "undo", "web"]);
    assert_eq!((code, said.as_str()), (Some(0), "service/web goes back to version 1\n"));
    assert_eq!(orbit(&cluster, &["rollout", "status", "web"]).0, Some(0));
    let service = cluster.service("web").expect("it is there");
    assert_eq!((service.version, service.desired.env["MODE"].as_str()), (1, "one"));
    let (code, _, said) = orbit(&cluster, &["rollout", "undo", "web", "--to", "9"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("version 9 of service `web` is not kept: 1, 2 are"), "{said}");
}

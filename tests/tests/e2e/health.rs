//! What the probes find, and what follows from it.

use crate::{endpoints::endpoints, web};
use orbit_tests::{Cluster, engine};
use serde_json::{Value, json};

/// A question that finds out soon.
fn asking(question: Value) -> Value {
    let mut probe = json!({ "interval": "200ms", "timeout": "500ms", "retries": 2, "start_period": "10s" });
    let question = question.as_object().expect("an object").clone();
    probe.as_object_mut().expect("an object").extend(question);
    probe
}

fn listed(cluster: &Cluster, service: &str) -> Vec<String> {
    endpoints(cluster, service).items.into_iter().map(|endpoint| endpoint.task).collect()
}

fn wait_listed(cluster: &Cluster, service: &str, count: usize) -> Vec<String> {
    cluster.wait_for("so many endpoints", || match listed(cluster, service) {
        tasks if tasks.len() == count => Ok(tasks),
        tasks => Err(format!("{tasks:?}, {count} are waited for")),
    })
}

#[test]
fn what_does_not_answer_leaves_the_endpoints_and_is_kept() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let mut service = web("web", 1);
    service["ready"] = asking(json!({ "http": { "port": "http", "path": "/healthz" } }));
    cluster.apply(&service);
    let before = wait_listed(&cluster, "web", 1);
    let container = cluster.wait_running("web", 1).remove(0);
    engine.pause(&container.id);
    wait_listed(&cluster, "web", 0);
    let task = cluster.task(&before[0]).expect("it is kept");
    assert_eq!((task.actual.as_str(), task.ready, task.message.as_str()), ("running", Some(false), "not ready"));
    let said = String::from_utf8_lossy(&cluster.orbit(&["get", "services"], "").stdout).into_owned();
    assert!(said.contains("1 not ready"), "{said}");
    // Its rollout is over all the same.
    assert_eq!(cluster.orbit(&["rollout", "status", "web", "--timeout", "5s"], "").status.code(), Some(0));
    engine.unpause(&container.id);
    assert_eq!(wait_listed(&cluster, "web", 1), before, "the same task returns");
}

#[test]
fn a_rollout_is_not_over_while_replicas_that_were_asked_for_do_not_run() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let mut service = web("web", 1);
    // One fits on the node, and two do not.
    service["resources"]["cpu"] = json!(format!("{}m", cluster.nodes()[0].allocatable.cpu_millis * 6 / 10));
    cluster.apply(&service);
    let status = |timeout| cluster.orbit(&["rollout", "status", "web", "--timeout", timeout], "").status.code();
    assert_eq!(status("30s"), Some(0));
    cluster.scale("web", 2);
    assert_eq!(status("2s"), Some(3), "the version is rolled out, and one replica has no node");
    cluster.scale("web", 1);
    assert_eq!(status("30s"), Some(0));
}

#[test]
fn an_image_that_cannot_be_run_ends_each_attempt_with_the_engine_s_words() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    for (name, change, said) in [
        ("user", "USER nosuch", "unable to find user nosuch"),
        ("directory", "WORKDIR /web", "/web is not a directory"),
    ] {
        let image = engine.commit(change);
        let mut task = crate::task(name, &["sleep"]);
        task["image"] = json!(image);
        let id = cluster.apply(&task)["task"].as_str().expect("an answer has an attempt").to_string();
        let ended = cluster.wait_ended(&id);
        assert_eq!(ended.actual, "failed", "{ended:?}");
        assert!(ended.message.contains(said), "{ended:?}");
        engine.remove_image(&image);
    }
}

#[test]
fn what_is_not_healthy_is_replaced() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let mut service = web("web", 2);
    service["health"] = asking(json!({ "tcp": { "port": "http" } }));
    cluster.apply(&service);
    wait_listed(&cluster, "web", 2);
    let before = cluster.wait_running("web", 2);
    // It listens still, but nobody gets an answer from it.
    let mut service = service.clone();
    service["health"] = asking(json!({ "http": { "port": "http", "path": "/healthz" } }));
    service["ready"] = asking(json!({ "command": ["/web", "exit", "0"] }));
    cluster.apply(&service);
    cluster.wait_for("the update is done", || match listed(&cluster, "web") {
        tasks if tasks.len() == 2 && before.iter().all(|old| !tasks.contains(&old.task().to_string())) => Ok(()),
        tasks => Err(format!("{tasks:?}")),
    });
    let frozen = cluster.wait_running("web", 2).remove(0);
    let unhealthy = frozen.task().to_string();
    engine.signal(&frozen.id, "STOP");
    cluster.wait_for("another has taken its place", || match listed(&cluster, "web") {
        tasks if tasks.len() == 2 && !tasks.contains(&unhealthy) => Ok(()),
        tasks => Err(format!("{tasks:?} without {unhealthy}")),
    });
    assert_eq!(cluster.wait_ended(&unhealthy).message, "was not healthy");
    let story = String::from_utf8_lossy(&cluster.orbit(&["describe", "service", "web"], "").stdout).into_owned();
    assert!(story.contains("unhealthy") && story.contains("health: "), "{story}");
}

#[test]
fn a_version_that_never_gets_ready_takes_nothing_away_and_holds_nothing_up() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let version = |args: &[&str]| {
        let mut service = web("web", 2);
        service["args"] = json!(args);
        service["ready"] = asking(json!({ "tcp": { "port": "http" } }));
        service
    };
    cluster.apply(&version(&[]));
    let before = wait_listed(&cluster, "web", 2);
    cluster.apply(&version(&["sleep"]));
    cluster.wait_for("one of the new version runs", || match cluster.running("web").len() {
        3 => Ok(()),
        running => Err(format!("{running} run")),
    });
    assert_eq!(listed(&cluster, "web"), before);
    // Port 80 by its variable: the same, and another version.
    let mut mended = version(&[]);
    mended["env"] = json!({ "PORT": "80" });
    cluster.apply(&mended);
    cluster.wait_for("the one that mends it serves", || match listed(&cluster, "web") {
        tasks if tasks.len() == 2 && before.iter().all(|old| !tasks.contains(old)) => Ok(()),
        tasks => Err(format!("{tasks:?}")),
    });
}

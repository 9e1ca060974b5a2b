//! Where a service is reached, and that nobody is sent to a task that is being stopped.

use crate::web;
use orbit_api::view::{Change, ChangeKind, Endpoints};
use orbit_tests::{Cluster, PATIENCE, Watch, addresses, ask_with, block_on, engine};
use serde_json::json;
use std::time::Instant;

pub fn endpoints(cluster: &Cluster, service: &str) -> Endpoints {
    let answer = cluster.ask("GET", &format!("/v1/services/{service}/endpoints"), "").expect("the manager answers");
    serde_json::from_str(&answer.text()).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

#[test]
fn what_is_listed_answers() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 2));
    cluster.wait_running("web", 2);
    let listed = addresses(&endpoints(&cluster, "web"));
    assert_eq!(listed.len(), 2);
    for at in &listed {
        cluster.wait_for("it answers", || ask_with("GET", &format!("http://{at}/"), &[], Vec::new()).map(|_| ()));
    }
    let printed = cluster.orbit(&["endpoints", "web", "-o", "name"], "");
    assert_eq!(String::from_utf8_lossy(&printed.stdout).lines().collect::<Vec<_>>(), listed);
    let nobody = cluster.orbit(&["endpoints", "nobody"], "");
    assert_eq!(nobody.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("there is no service `nobody`"), "{nobody:?}");
}

#[test]
fn a_task_leaves_the_endpoints_and_is_stopped_after_the_delay() {
    const DELAY_S: u64 = 3;
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let mut service = web("web", 2);
    service["stop"] = json!({ "delay": format!("{DELAY_S}s"), "grace": "2s" });
    cluster.apply(&service);
    let running = cluster.wait_running("web", 2);
    let begun = Instant::now();
    cluster.scale("web", 1);
    let left = cluster.wait_for("one has left", || {
        let listed = endpoints(&cluster, "web").items;
        if listed.len() == 1 { Ok(listed[0].task.clone()) } else { Err(format!("{listed:?}")) }
    });
    let stopping = running.iter().find(|it| it.task() != left).expect("the other one");
    assert!(engine.container(&stopping.id).is_some_and(|it| it.is_running()), "nobody is sent to it, and it runs");
    assert!(begun.elapsed().as_secs() < DELAY_S, "looked at too late to mean anything");
    cluster.wait_for("it has ended", || match engine.container(&stopping.id).filter(|it| it.is_running()) {
        Some(_) => Err("it runs".to_string()),
        None => Ok(()),
    });
    assert!(begun.elapsed().as_secs() >= DELAY_S, "stopped after {:?}", begun.elapsed());
}

#[test]
fn the_signal_is_the_specs_own() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let mut service = web("deaf", 1);
    // It does not end on the usual signal, and would have a minute.
    service["args"] = json!(["stubborn"]);
    service["stop"] = json!({ "signal": "SIGKILL", "grace": "60s" });
    cluster.apply(&service);
    cluster.wait_running("deaf", 1);
    let begun = Instant::now();
    cluster.delete("/v1/services/deaf");
    cluster.wait_for("it is gone", || match cluster.containers().as_slice() {
        [] => Ok(()),
        left => Err(format!("{left:?}")),
    });
    assert!(begun.elapsed().as_secs() < 60, "it was killed only after the grace");
}

#[test]
fn a_watch_of_endpoints_tells_all_of_them_at_every_change() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 1));
    cluster.wait_running("web", 1);
    let url = format!("{}/v1/services/web/endpoints?watch=1", cluster.url());
    let mut watch = block_on(Watch::of(&url)).expect("a stream");
    let mut next = || {
        let change = block_on(async { tokio::time::timeout(PATIENCE, watch.next::<Change<Endpoints>>()).await });
        let change = change.expect("a change comes in time").expect("the stream goes on");
        (change.kind, change.object.items.len())
    };
    assert_eq!(next(), (ChangeKind::Added, 1));
    cluster.scale("web", 2);
    assert_eq!(next(), (ChangeKind::Modified, 2));
    cluster.scale("web", 0);
    while next().1 > 0 {}
    cluster.delete("/v1/services/web");
    assert_eq!(next(), (ChangeKind::Deleted, 0));
}

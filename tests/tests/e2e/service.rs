//! Services: what was asked for runs, and comes back when it is taken away.

use crate::{identities, web};
use orbit_tests::{Cluster, ask, engine};
use std::collections::BTreeSet;

#[test]
fn replicas_answer_on_their_published_ports_each_for_itself() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 3));
    let containers = cluster.wait_running("web", 3);
    let mut said = BTreeSet::new();
    for task in cluster.running("web") {
        let container = containers.iter().find(|c| c.task() == task.id).expect("each task has its container");
        let host = task.ports[0].host.expect("a running task has its port");
        assert_eq!(container.ports.get("80/tcp"), Some(&host), "the API and the engine name one port");
        let (first, last) = cluster.workers[0].ports;
        assert!((first..=last).contains(&host), "{host} is outside of the worker's range");
        let hello = cluster.wait_for("the replica answers", || {
            ask("GET", &format!("http://127.0.0.1:{host}/"), vec![]).map(|answer| answer.text())
        });
        assert_eq!(hello, format!("hello from {}\n", container.hostname));
        said.insert(hello);
    }
    assert_eq!(said.len(), 3);
}

#[test]
fn what_is_killed_or_removed_is_replaced_and_nothing_else() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 3));
    let before = cluster.wait_running("web", 3);
    let (killed, removed, kept) = (&before[0], &before[1], &before[2]);

    engine.kill(&killed.id);
    let after = cluster.wait_replaced("web", 3, killed);
    let ended = cluster.task(killed.task()).expect("an ended attempt is remembered");
    assert_eq!((ended.reason.as_deref(), ended.exit_code), (Some("killed"), Some(137)), "{ended:?}");
    assert_eq!(identities(&after).get(&removed.name), identities(&before).get(&removed.name));

    engine.remove(&removed.id);
    let after = cluster.wait_replaced("web", 3, removed);
    // A forced removal kills first, and either may be seen.
    let reason = cluster.task(removed.task()).and_then(|task| task.reason);
    assert!(matches!(reason.as_deref(), Some("killed" | "vanished")), "{reason:?}");
    assert_eq!(identities(&after).get(&kept.name), identities(&before).get(&kept.name));
    let slots: BTreeSet<&str> = after.iter().map(|c| c.label("orbit.slot")).collect();
    assert_eq!(slots, BTreeSet::from(["0", "1", "2"]));
}

#[test]
fn scaling_and_deleting_touch_only_what_is_orbits() {
    let Some(engine) = engine() else { return };
    let plain = engine.foreign(&[], &["sleep"]);
    let labels = [
        ("orbit.cluster", "00000000000000aa"),
        ("orbit.node", "00000000000000bb"),
        ("orbit.task", "1.2.0"),
        ("orbit.name", "web"),
    ];
    let of_another_cluster = engine.foreign(&labels, &["sleep"]);
    let before = [plain.look(), of_another_cluster.look()];

    let mut cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 1));
    let first = cluster.wait_running("web", 1);
    cluster.scale("web", 3);
    let three = cluster.wait_running("web", 3);
    assert_eq!(identities(&three).get(&first[0].name), identities(&first).get(&first[0].name));
    // A worker looks at all there is when it starts.
    assert!(cluster.workers[0].daemon.terminate().success());
    cluster.workers[0].daemon.start();
    cluster.wait_ready(1);
    cluster.scale("web", 1);
    let one = cluster.wait_running("web", 1);
    assert_eq!(identities(&one), identities(&first), "the highest slots go first");
    cluster.scale("web", 0);
    cluster.wait_running("web", 0);
    cluster.scale("web", 1);
    cluster.wait_running("web", 1);

    cluster.delete("/v1/services/web");
    assert!(cluster.service("web").is_none(), "the name is free at once");
    cluster.wait_for("nothing is left behind", || {
        let (containers, tasks) = (cluster.containers(), cluster.tasks(""));
        if containers.is_empty() && tasks.is_empty() { Ok(()) } else { Err(format!("{containers:?} {tasks:?}")) }
    });
    assert_eq!([plain.look(), of_another_cluster.look()], before);
}

#[test]
fn a_changed_spec_replaces_slot_by_slot() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 3));
    let before = cluster.wait_running("web", 3);
    let labels = [format!("orbit.node={}", before[0].label("orbit.node")), "orbit.name=web".to_string()];
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();

    let mut changed = web("web", 3);
    changed["env"] = serde_json::json!({ "MODE": "other" });
    assert_eq!(cluster.apply(&changed)["version"], 2);
    let (mut least, mut most) = (usize::MAX, 0);
    cluster.wait_for("all replicas are of the new version", || {
        let running = engine.count_running(&labels);
        (least, most) = (least.min(running), most.max(running));
        let actual = cluster.service("web").ok_or("no service")?.actual;
        let settled = actual.updated == 3 && actual.running == 3 && actual.stopping == 0;
        if settled { Ok(()) } else { Err(format!("{actual:?}")) }
    });
    assert!(least >= 3 && most <= 4, "{least} to {most} ran: one more at a time, never one less");
    let after = cluster.wait_running("web", 3);
    assert!(after.iter().all(|new| before.iter().all(|old| old.id != new.id)));
    // The same again changes nothing.
    assert_eq!(cluster.apply(&changed)["changed"], false);
    assert_eq!(identities(&cluster.wait_running("web", 3)), identities(&after));
}

#[test]
fn a_port_that_a_stranger_holds_is_passed_over() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let port = cluster.workers[0].ports.0;
    let stranger = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the test's own port");
    cluster.apply(&web("web", 1));
    cluster.wait_running("web", 1);
    let attempts = cluster.tasks("service=web");
    let failed = attempts.iter().find(|task| task.ports[0].host == Some(port)).expect("ports are taken in order");
    assert_eq!((failed.actual.as_str(), failed.reason.as_deref()), ("failed", Some("port_taken")), "{failed:?}");
    let other = cluster.running("web")[0].ports[0].host.expect("a running task has its port");
    assert_ne!(other, port);
    cluster.wait_for("it answers on another", || ask("GET", &format!("http://127.0.0.1:{other}/healthz"), vec![]));
    drop(stranger);
}

#[test]
fn what_ends_at_once_is_started_less_and_less_often() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let mut broken = web("broken", 1);
    broken["args"] = serde_json::json!(["exit", "1"]);
    broken["restart"] = serde_json::json!({ "backoff": { "initial": "500ms", "max": "10s" } });
    cluster.apply(&broken);
    let attempts = cluster.wait_for("three attempts have failed and a fourth begins", || {
        let attempts = cluster.tasks("service=broken");
        let failures = cluster.service("broken").ok_or("no service")?.actual.failures;
        if failures >= 3 && attempts.len() >= 3 { Ok(attempts) } else { Err(format!("{attempts:?}")) }
    });
    let at = |time: &str| humantime::parse_rfc3339(time).expect("the API writes RFC 3339");
    let mut waits = Vec::new();
    for pair in attempts.windows(2) {
        let ended = at(pair[0].ended_at.as_deref().expect("an attempt follows one that has ended"));
        waits.push(at(&pair[1].created_at).duration_since(ended).unwrap_or_default().as_millis());
        assert_eq!((pair[0].reason.as_deref(), pair[0].exit_code), (Some("exited"), Some(1)));
    }
    assert!(waits[0] >= 400 && waits[1] >= 800, "{waits:?} ms after each end");
    cluster.wait_for("it says why, and when it is tried again", || {
        let message = cluster.service("broken").map(|service| service.actual.message).unwrap_or_default();
        let says = message.contains("exited with code 1; tried again in ") && message.ends_with(" s");
        if says { Ok(()) } else { Err(message) }
    });
}

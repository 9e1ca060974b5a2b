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
    let after = cluster.wait_for("the killed one is replaced", || {
        let now = cluster.wait_running("web", 3);
        if now.iter().all(|c| c.id != killed.id) { Ok(now) } else { Err("it runs".to_string()) }
    });
    let ended = cluster.task(killed.task()).expect("an ended attempt is remembered");
    assert_eq!((ended.reason.as_deref(), ended.exit_code), (Some("killed"), Some(137)), "{ended:?}");
    assert_eq!(identities(&after).get(&removed.name), identities(&before).get(&removed.name));

    engine.remove(&removed.id);
    let after = cluster.wait_for("the removed one is replaced", || {
        let now = cluster.wait_running("web", 3);
        if now.iter().all(|c| c.id != removed.id) { Ok(now) } else { Err("it runs".to_string()) }
    });
    assert_eq!(cluster.task(removed.task()).and_then(|task| task.reason).as_deref(), Some("vanished"));
    assert_eq!(identities(&after).get(&kept.name), identities(&before).get(&kept.name));
    let slots: BTreeSet<&str> = after.iter().map(|c| c.label("orbit.slot")).collect();
    assert_eq!(slots, BTreeSet::from(["0", "1", "2"]));
}

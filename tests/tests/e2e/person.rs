//! A person who uses the engine beside Orbit.

use crate::{identities, web};
use orbit_tests::{Cluster, engine};

#[test]
fn what_a_person_stops_is_replaced() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 2));
    let before = cluster.wait_running("web", 2);
    engine.stop(&before[0].id);
    let after = cluster.wait_replaced("web", 2, &before[0]);
    assert!(identities(&after).contains_key(&before[1].name), "and nothing else");
    assert_eq!(cluster.tasks("service=web").len(), 3);
    // Nobody starts it again, and whoever does so by hand is corrected.
    engine.start(&before[0].id);
    cluster.wait_for("what has ended is stopped again", || match engine.container(&before[0].id) {
        Some(container) if container.is_running() => Err("it runs".to_string()),
        _ => Ok(()),
    });
    assert_eq!(identities(&cluster.wait_running("web", 2)), identities(&after));
}

/// A paused process is there still: it holds its port and its memory, and can be stopped.
#[test]
fn what_a_person_pauses_is_kept_and_can_be_stopped() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 2));
    let before = cluster.wait_running("web", 2);
    engine.pause(&before[0].id);
    // A worker looks at all there is when it starts.
    cluster.workers[0].daemon.kill();
    cluster.workers[0].daemon.start();
    cluster.wait_ready(1);
    cluster.scale("web", 3);
    cluster.wait_for("three run for the API", || match cluster.running("web").len() {
        3 => Ok(()),
        other => Err(format!("{other}")),
    });
    assert_eq!(cluster.tasks("service=web").len(), 3, "a paused one is not replaced");
    cluster.delete("/v1/services/web");
    cluster.wait_for("nothing is left behind", || match cluster.containers() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

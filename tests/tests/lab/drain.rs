//! Nodes that are taken out of service.

use crate::{on, web};
use orbit_tests::{Cluster, Lab, ask};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Another serves before one goes, and nobody says that it is done before all are gone.
#[test]
fn a_drained_node_is_empty_and_nobody_noticed() {
    let Some(lab) = Lab::start(2) else { return };
    let cluster = Cluster::in_lab(&lab);
    cluster.apply(&web(4));
    cluster.wait_running("web", 4);
    let uid = on(&cluster, "worker-0");
    let (stop, least) = (AtomicBool::new(false), AtomicUsize::new(usize::MAX));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                least.fetch_min(cluster.running_containers("web").len(), Ordering::Relaxed);
            }
        });
        let drained = cluster.orbit(&["node", "drain", "worker-0"], "");
        let left = cluster.running_containers("web").iter().filter(|c| c.label("orbit.node") == uid).count();
        stop.store(true, Ordering::Relaxed);
        assert!(drained.status.success(), "{}", String::from_utf8_lossy(&drained.stderr));
        assert_eq!(String::from_utf8_lossy(&drained.stdout), "node/worker-0 drained\n");
        assert_eq!(left, 0, "it was said to be drained");
    });
    assert!(least.into_inner() >= 4, "never one less than were asked for");
    let after = cluster.wait_running("web", 4);
    assert!(after.iter().all(|c| c.label("orbit.node") != uid));
    assert_eq!(cluster.nodes()[0].duty, "drained");

    // It takes nothing until it is told to.
    cluster.scale("web", 6);
    assert!(cluster.wait_running("web", 6).iter().all(|c| c.label("orbit.node") != uid));
    assert!(cluster.orbit(&["node", "uncordon", "worker-0"], "").status.success());
    cluster.scale("web", 8);
    let after = cluster.wait_running("web", 8);
    assert_eq!(after.iter().filter(|c| c.label("orbit.node") == uid).count(), 2);
}

#[test]
fn a_drain_names_what_blocks_it_and_ends_it_at_its_deadline() {
    let Some(lab) = Lab::start(2) else { return };
    let mut cluster = Cluster::manager_of(&lab);
    cluster.add_worker_on(&lab.hosts[0], &["--label=disk=ssd"]);
    cluster.add_worker_on(&lab.hosts[1], &[]);
    cluster.wait_ready(2);
    let mut bound = web(1);
    bound["placement"] = json!({ "constraints": ["node.labels.disk == ssd"] });
    cluster.apply(&bound);
    let before = cluster.wait_running("web", 1);
    let answer = cluster.ask("POST", "/v1/nodes/worker-0/drain", "").expect("the manager answers");
    assert!(answer.is_success(), "{}", answer.text());
    let node = || cluster.nodes().into_iter().find(|node| node.name == "worker-0").expect("it is there");
    cluster.wait_for("it says what blocks it", || {
        let node = node();
        let blocked = node.duty == "draining" && node.message.contains("web") && node.message.contains("disk");
        if blocked { Ok(()) } else { Err(format!("{node:?}")) }
    });
    let port = before[0].ports["80/tcp"];
    let url = format!("http://{}:{port}/healthz", lab.hosts[0].address());
    // Its process runs, and may be about to listen.
    cluster.wait_for("it serves meanwhile", || ask("GET", &url, vec![]).map(|_| ()));
    let refused = cluster.ask("POST", "/v1/nodes/worker-0/drain", r#"{"deadline":"soon"}"#).expect("it answers");
    assert_eq!((refused.status, refused.json()["field"].as_str()), (400, Some("deadline")), "{}", refused.text());

    let drained = cluster.orbit(&["node", "drain", "worker-0", "--deadline", "1s"], "");
    assert!(drained.status.success(), "{}", String::from_utf8_lossy(&drained.stderr));
    assert!(cluster.running_containers("web").is_empty());
    assert_eq!(node().duty, "drained");
}

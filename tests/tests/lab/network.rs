//! Cables that are pulled.

use crate::{lives, on, web};
use orbit_tests::{Cluster, Container, Lab, ask};
use std::{collections::BTreeSet, time::Duration};

/// What a second machine serves is reached from outside of it.
#[test]
fn what_runs_on_other_machines_answers_on_their_addresses() {
    let Some(lab) = Lab::start(2) else { return };
    let cluster = Cluster::in_lab(&lab);
    cluster.apply(&web(2));
    let containers = cluster.wait_running("web", 2);
    for (host, worker) in lab.hosts.iter().zip(&cluster.workers) {
        let uid = on(&cluster, &worker.name);
        let container = containers.iter().find(|c| c.label("orbit.node") == uid).expect("they are spread");
        let port = container.ports["80/tcp"];
        let hello = cluster.wait_for("the replica answers", || {
            ask("GET", &format!("http://{}:{port}/", host.address()), vec![]).map(|answer| answer.text())
        });
        assert_eq!(hello, format!("hello from {}\n", container.hostname));
    }
}

#[test]
fn what_ran_on_a_node_that_is_cut_off_runs_elsewhere_and_the_stale_ones_go_when_it_returns() {
    let Some(lab) = Lab::start(3) else { return };
    let cluster = Cluster::in_lab(&lab);
    cluster.apply(&web(6));
    let before = cluster.wait_running("web", 6);
    let gone = on(&cluster, "worker-0");
    let (stale, others): (Vec<Container>, Vec<Container>) =
        before.into_iter().partition(|c| c.label("orbit.node") == gone);
    assert_eq!((stale.len(), others.len()), (2, 4), "they are spread");

    lab.hosts[0].cut();
    cluster.wait_for("the node's countdown is shown", || {
        let node = cluster.nodes().into_iter().find(|node| node.name == "worker-0").ok_or("no such node")?;
        if node.message.starts_with("tasks are replaced in") { Ok(()) } else { Err(format!("{node:?}")) }
    });
    let is_elsewhere = |c: &Container| c.label("orbit.node") != gone;
    cluster.wait_for("all six run on the others", || {
        let elsewhere = cluster.running_containers("web").into_iter().filter(is_elsewhere).count();
        if elsewhere == 6 { Ok(()) } else { Err(format!("{elsewhere} of 6")) }
    });
    let now = lives(&cluster.running_containers("web"));
    assert!(lives(&others).is_subset(&now) && lives(&stale).is_subset(&now), "nobody touches what runs");

    lab.hosts[0].heal();
    cluster.wait_ready(3);
    let after = cluster.wait_running("web", 6);
    let after: BTreeSet<String> = after.into_iter().map(|c| c.id).collect();
    assert!(others.iter().all(|c| after.contains(&c.id)), "what was replaced was only what was silent");
    assert!(stale.iter().all(|c| !after.contains(&c.id)), "what was replaced is stopped");
    let slots: Vec<u32> = cluster.running("web").iter().map(|task| task.slot).collect();
    assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), 6, "each slot is filled once: {slots:?}");
}

/// It is more likely that the manager is cut off than that all nodes are lost.
#[test]
fn a_manager_that_is_cut_off_evicts_nobody() {
    let Some(lab) = Lab::start(3) else { return };
    let cluster = Cluster::in_lab(&lab);
    cluster.apply(&web(6));
    let before = cluster.wait_running("web", 6);
    lab.hosts.iter().for_each(|host| host.cut());
    cluster.wait_for("all three are silent, and the brake is shown", || {
        let nodes = cluster.nodes();
        let braked = |message: &str| message.contains("nothing is replaced until some return");
        match nodes.iter().filter(|node| node.state == "unreachable" && braked(&node.message)).count() {
            3 => Ok(()),
            _ => Err(format!("{nodes:?}")),
        }
    });
    // Well beyond the time after which one silent node's tasks are replaced.
    let silent_since = std::time::Instant::now();
    cluster.wait_for("it would have been replaced long since", || {
        let attempts = cluster.tasks("service=web").len();
        assert_eq!(attempts, 6, "nothing is replaced meanwhile");
        if silent_since.elapsed() > Duration::from_secs(12) { Ok(()) } else { Err("not yet".to_string()) }
    });
    lab.hosts.iter().for_each(|host| host.heal());
    cluster.wait_ready(3);
    let after = cluster.wait_running("web", 6);
    assert_eq!(lives(&after), lives(&before));
    assert_eq!(cluster.tasks("service=web").len(), 6, "not one attempt more");
}

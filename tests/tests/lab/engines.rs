//! Engines that die, return, or come late.

use crate::{lives, web};
use orbit_tests::{Cluster, Lab};
use std::time::Duration;

/// An engine that returns stops what it finds, and each of its containers is an attempt that has ended.
#[test]
fn what_a_returning_engine_has_stopped_is_replaced() {
    let Some(mut lab) = Lab::start(1) else { return };
    let cluster = Cluster::in_lab(&lab);
    cluster.apply(&web(3));
    let before = cluster.wait_running("web", 3);
    let host = &mut lab.hosts[0];
    host.kill_engine();
    host.start_engine();
    host.wait_for_engine();
    let after = cluster.wait_within("three others run", Duration::from_secs(60), || {
        let now = cluster.running_containers("web");
        let others = now.iter().filter(|c| before.iter().all(|b| b.id != c.id)).count();
        if others == 3 && now.len() == 3 { Ok(now) } else { Err(format!("{others} others of {}", now.len())) }
    });
    cluster.wait_running("web", 3);
    assert_eq!(cluster.tasks("service=web").len(), 6, "each was followed once");
    for old in &before {
        // The engine asks before it kills, so what listens ends well: nobody can tell that from an end of its own.
        let task = cluster.task(old.task()).expect("an ended attempt is remembered");
        let found = (task.actual.as_str(), task.reason.as_deref(), task.exit_code);
        assert_eq!(found, ("complete", Some("exited"), Some(0)), "{task:?}");
    }
    assert!(after.iter().all(|c| c.restart_count == 0));
}

#[test]
fn what_outlives_its_engine_is_found_again() {
    let Some(mut lab) = Lab::with_live_restore(1) else { return };
    let cluster = Cluster::in_lab(&lab);
    cluster.apply(&web(3));
    let before = cluster.wait_running("web", 3);
    let host = &mut lab.hosts[0];
    host.kill_engine();
    // Nothing can be asked meanwhile; what is wanted changes all the same.
    cluster.scale("web", 4);
    let says = |what: &str| {
        cluster.wait_for(&format!("the worker says that the engine {what}"), || {
            let log = cluster.workers[0].daemon.log();
            if log.contains(&format!("the container engine {what}")) { Ok(()) } else { Err(log) }
        });
    };
    says("does not answer");
    host.start_engine();
    host.wait_for_engine();
    let after = cluster.wait_running("web", 4);
    says("answers again");
    assert!(lives(&before).is_subset(&lives(&after)), "{before:#?} {after:#?}");
    assert_eq!(cluster.tasks("service=web").len(), 4, "not one attempt more");
}

#[test]
fn an_engine_that_comes_late_is_waited_for() {
    let Some(mut lab) = Lab::start(1) else { return };
    let mut cluster = Cluster::manager_of(&lab);
    lab.hosts[0].stop_engine();
    cluster.add_worker_on(&lab.hosts[0], &[]);
    cluster.wait_for("the worker says what it waits for", || {
        let log = cluster.workers[0].daemon.log();
        if log.contains("no container engine answers") { Ok(()) } else { Err(log) }
    });
    cluster.apply(&web(1));
    lab.hosts[0].start_engine();
    cluster.wait_ready(1);
    cluster.wait_running("web", 1);
}

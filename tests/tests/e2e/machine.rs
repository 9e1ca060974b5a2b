//! What a real machine does to its daemons: it is full, its clock is wrong, it sleeps, it is slow.

use crate::{identities, task, web};
use orbit_tests::{Cluster, Disk, Setup, Signal, WallClock, engine};
use serde_json::json;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

#[test]
fn a_full_disk_refuses_what_is_new_and_loses_nothing() {
    let Some(engine) = engine() else { return };
    let Some(disk) = Disk::of_mib(80) else { return };
    let setup = Setup { state_dir: Some(disk.path().join("manager")), ..Setup::default() };
    let mut cluster = Cluster::start_as(&engine, 1, setup);
    cluster.apply(&web("web", 2));
    let before = cluster.wait_running("web", 2);

    // Below the 64 MiB that users leave to the cluster itself: theirs is refused, its own work goes on.
    disk.fill_mib(40);
    cluster.wait_for("what is new is refused", || {
        let refused = cluster.ask("PUT", "/v1/services/late", &web("late", 0).to_string()).expect("it answers");
        let code = refused.json()["code"].as_str().map(str::to_string);
        if (refused.status, code.as_deref()) == (507, Some("storage_full")) { Ok(()) } else { Err(refused.text()) }
    });
    assert_eq!(cluster.ask("GET", "/v1/services/web", "").expect("it answers").status, 200, "what is there is read");
    let ready = cluster.ask("GET", "/readyz", "").expect("it answers");
    assert!(ready.status == 200 && ready.text().starts_with("storage_full: "), "{}", ready.text());
    engine.kill(&before[1].id);
    let before = cluster.wait_replaced("web", 2, &before[1]);
    // Below the last reserve: nothing is tried, and a manager that is started waits.
    disk.empty();
    disk.fill_mib(70);
    engine.kill(&before[0].id);
    cluster.manager.kill();
    cluster.manager.start();
    cluster.wait_for("it listens, does not lead, and says why", || match cluster.ask("GET", "/readyz", "") {
        Ok(answer) if answer.status == 503 && answer.text().starts_with("storage_full: ") => Ok(()),
        other => Err(format!("{other:?}")),
    });

    disk.empty();
    cluster.wait_manager();
    cluster.wait_replaced("web", 2, &before[0]);
    let id = cluster.apply(&task("late", &["exit", "0"]))["task"].as_str().expect("an attempt").to_string();
    assert_eq!(cluster.wait_ended(&id).actual, "complete");
}

#[test]
fn a_worker_whose_disk_is_full_says_so_takes_nothing_more_and_goes_on_when_there_is_room() {
    let Some(engine) = engine() else { return };
    let Some(disk) = Disk::of_mib(64) else { return };
    let mut cluster = Cluster::start(&engine, 0);
    let state_dir = format!("--state-dir={}", disk.path().join("worker").display());
    cluster.add_worker(&[&state_dir, "--disk-reserve-mib=32"]);
    cluster.wait_ready(1);
    cluster.apply(&web("web", 1));
    let before = cluster.wait_running("web", 1);

    disk.fill_mib(40);
    cluster.wait_for("the node says so", || match cluster.nodes().remove(0).message {
        message if message.contains("its disk has been full") => Ok(()),
        message => Err(message),
    });
    let events = cluster.ask("GET", "/v1/events", "").expect("it answers").text();
    assert!(events.contains("\"reason\":\"disk_full\""), "{events}");
    let metrics = cluster.ask("GET", "/metrics", "").expect("it answers").text();
    assert!(metrics.contains("orbit_node_disk_full{node=\"worker-0\"} 1"), "{metrics}");
    cluster.scale("web", 2);
    let pending = cluster.wait_for("it is taken by nobody", || {
        let tasks = cluster.tasks("service=web");
        tasks.into_iter().find(|task| task.actual == "pending").ok_or("none waits".to_string())
    });
    assert!(pending.message.contains("its disk is full"), "{}", pending.message);
    assert_eq!(identities(&cluster.wait_running("web", 1)), identities(&before), "what it has goes on");

    // Now the ledger cannot be written either: the worker waits, and ends nothing.
    disk.empty();
    disk.fill_mib(60);
    engine.kill(&before[0].id);
    cluster.wait_for("it waits for room", || match cluster.workers[0].daemon.log() {
        log if log.contains("the disk is full") => Ok(()),
        log => Err(log),
    });
    disk.empty();
    let after = cluster.wait_running("web", 2);
    assert!(after.iter().all(|container| container.id != before[0].id), "what was killed is replaced");
    assert!(cluster.workers[0].daemon.is_running(), "it never ended");
    let log = cluster.workers[0].daemon.log();
    assert_eq!(log.matches("worker starts").count(), 1, "{log}");
}

#[test]
fn a_wall_clock_that_is_set_back_moves_nothing() {
    let Some(engine) = engine() else { return };
    let Some(clock) = WallClock::new() else { return };
    let mut cluster = Cluster::start_as(&engine, 0, Setup { env: clock.env(), ..Setup::default() });
    let worker = cluster.add_worker(&[]);
    clock.env().iter().for_each(|(name, value)| worker.daemon.env(name, value));
    cluster.workers[0].daemon.kill();
    cluster.workers[0].daemon.start();
    cluster.wait_ready(1);
    cluster.apply(&web("web", 3));
    let before = cluster.wait_running("web", 3);

    clock.set_back("1h");
    // Timers go on: backoff, leases.
    engine.kill(&before[0].id);
    let after = cluster.wait_replaced("web", 3, &before[0]);
    cluster.manager.kill();
    cluster.manager.start();
    cluster.wait_manager();
    cluster.wait_ready(1);
    assert_eq!(identities(&cluster.wait_running("web", 3)), identities(&after));
    engine.kill(&after[0].id);
    cluster.wait_replaced("web", 3, &after[0]);
    assert_eq!(cluster.tasks("service=web").len(), 5, "each that was killed was followed by one");
}

/// It did not hear anybody because it did not listen.
#[test]
fn a_manager_that_slept_holds_it_against_nobody() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 2);
    cluster.apply(&web("web", 4));
    let before = cluster.wait_running("web", 4);
    cluster.manager.signal(Signal::STOP);
    // Longer than the lease of five seconds and the ten after which a silent node's tasks are replaced.
    std::thread::sleep(Duration::from_secs(12));
    cluster.manager.signal(Signal::CONT);
    cluster.wait_manager();
    cluster.wait_ready(2);
    // The next thing that it does is done by the same rules.
    cluster.scale("web", 5);
    let after = identities(&cluster.wait_running("web", 5));
    assert!(identities(&before).iter().all(|(name, one)| after.get(name) == Some(one)));
    assert_eq!(cluster.tasks("service=web").len(), 5, "nobody was replaced");
}

#[test]
fn a_worker_that_is_killed_amid_creates_leaves_one_container_for_each_task() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 8));
    cluster.wait_for("the first is there", || match cluster.containers().len() {
        0 => Err("none".to_string()),
        _ => Ok(()),
    });
    cluster.workers[0].daemon.kill();
    cluster.workers[0].daemon.start();
    cluster.wait_ready(1);
    cluster.wait_running("web", 8);
    let containers = cluster.containers();
    let tasks: BTreeSet<&str> = containers.iter().map(|c| c.task()).collect();
    assert_eq!(tasks.len(), containers.len(), "a task has at most one: {containers:?}");
    cluster.wait_for("what was left half-made is removed", || {
        let created = cluster.containers().into_iter().filter(|c| c.status == "created").count();
        if created == 0 { Ok(()) } else { Err(format!("{created} created")) }
    });
}

#[test]
fn a_worker_that_is_killed_amid_stops_ends_them_when_it_returns() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 1);
    let mut stubborn = web("web", 2);
    stubborn["args"] = json!(["stubborn"]);
    stubborn["stop"]["grace"] = json!("3s");
    cluster.apply(&stubborn);
    cluster.wait_running("web", 2);
    cluster.scale("web", 0);
    cluster.wait_for("the stops are under way", || match cluster.tasks("service=web&state=stopping").len() {
        2 => Ok(()),
        other => Err(format!("{other}")),
    });
    cluster.workers[0].daemon.kill();
    cluster.workers[0].daemon.start();
    cluster.wait_running("web", 0);
    cluster.wait_for("both are known to have stopped", || {
        let left = cluster.tasks("service=web");
        let stopped = left.iter().all(|task| task.reason.as_deref() == Some("stopped"));
        if stopped { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
fn thirty_at_once_are_thirty() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let mut web = web("web", 30);
    web["resources"]["memory"] = json!("16Mi");
    cluster.apply(&web);
    let containers = cluster.wait_within("thirty run", Duration::from_secs(90), || {
        let running = cluster.running("web").len();
        if running == 30 { Ok(cluster.containers()) } else { Err(format!("{running}")) }
    });
    let tasks: BTreeSet<&str> = containers.iter().map(|c| c.task()).collect();
    assert_eq!((tasks.len(), containers.len()), (30, 30));
    assert_eq!(cluster.tasks("service=web").len(), 30, "all at the first attempt");
    assert!(cluster.nodes().iter().all(|node| node.state == "ready"), "heartbeats go on meanwhile");
    cluster.delete("/v1/services/web");
    cluster.wait_within("nothing is left behind", Duration::from_secs(90), || match cluster.containers().len() {
        0 => Ok(()),
        left => Err(format!("{left}")),
    });
}

/// However many fail at once, the engine is asked for no more attempts than the backoff allows.
#[test]
fn what_ends_at_once_does_not_storm_the_engine() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    const REPLICAS: usize = 6;
    let mut broken = web("broken", REPLICAS as u32);
    broken["args"] = json!(["exit", "1"]);
    broken["restart"] = json!({ "backoff": { "initial": "1s", "max": "10s" } });
    let begun = Instant::now();
    cluster.apply(&broken);
    cluster.wait_for("each has failed three times", || {
        let failed = cluster.tasks("service=broken&state=failed").len();
        if failed >= 3 * REPLICAS { Ok(()) } else { Err(format!("{failed}")) }
    });
    let created = engine.created_by(&format!("orbit.node={}", cluster.nodes()[0].uid));
    let elapsed = begun.elapsed();
    // The n-th attempt comes after 1 + 2 + … + 2^(n-2) seconds at least.
    let allowed = (1..).take_while(|n| Duration::from_secs((1 << (n - 1)) - 1) <= elapsed).count();
    assert!(created <= allowed * REPLICAS, "{created} containers in {elapsed:?}: {allowed} each are allowed");
}

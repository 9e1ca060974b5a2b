//! Daemons die; what they run does not.

use crate::{identities, task, web};
use orbit_tests::{Cluster, engine};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_worker_that_is_killed_finds_its_containers_again() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 3));
    let before = cluster.wait_running("web", 3);
    cluster.workers[0].daemon.kill();
    cluster.wait_for("its silence is noticed", || match &cluster.nodes()[..] {
        [node] if node.state == "unreachable" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(cluster.running("web").iter().all(|task| task.unreachable));
    cluster.workers[0].daemon.start();
    cluster.wait_ready(1);
    cluster.wait_for("all tasks are heard of again", || match cluster.running("web") {
        tasks if tasks.len() == 3 && tasks.iter().all(|task| !task.unreachable) => Ok(()),
        tasks => Err(format!("{tasks:?}")),
    });
    assert_eq!(identities(&cluster.containers()), identities(&before), "the same containers and processes");
    assert!(before.iter().all(|container| container.restart_count == 0));
    assert_eq!(cluster.tasks("service=web").len(), 3, "not one attempt more");
    assert_eq!(cluster.service("web").map(|service| service.actual.failures), Some(0));
}

#[test]
fn a_container_that_was_renamed_stays_its_task_s_and_one_that_carries_its_labels_is_left_alone() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 1));
    let before = cluster.wait_running("web", 1).remove(0);
    engine.rename(&before.id, &format!("{}-renamed", before.name));
    let labels: Vec<(&str, &str)> =
        ["orbit.cluster", "orbit.node", "orbit.task", "orbit.spec"].map(|label| (label, before.label(label))).into();
    let copy = engine.foreign(&labels, &["sleep"]);
    // Whoever begins anew looks at everything once.
    cluster.workers[0].daemon.kill();
    cluster.workers[0].daemon.start();
    cluster.wait_ready(1);
    cluster.scale("web", 2);
    cluster.wait_for("a second replica", || match cluster.running("web") {
        tasks if tasks.len() == 2 => Ok(()),
        tasks => Err(format!("{tasks:?}")),
    });
    assert_eq!(cluster.tasks("service=web").len(), 2, "nothing was made beside the first");
    assert!(engine.container(&before.id).is_some_and(|container| container.is_running()));
    cluster.delete("/v1/services/web");
    cluster.wait_for("its container is gone", || match engine.container(&before.id) {
        None => Ok(()),
        Some(container) => Err(container.status),
    });
    assert!(copy.look().is_running(), "it has the labels and is nobody's of ours");
}

/// What was answered to a submission: name, UID, ID of the attempt, revision.
type Acknowledged = (String, String, String, u64);

#[test]
fn a_manager_that_is_killed_amid_submissions_has_every_one_it_acknowledged() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 2));
    let before = cluster.wait_running("web", 2);

    let acknowledged = submit_until_killed(&mut cluster);
    assert!(!cluster.manager.is_running());
    assert_eq!(identities(&cluster.containers()), identities(&before), "nobody needs a manager to run");
    cluster.manager.start();
    cluster.wait_manager();
    for (name, uid, attempt, revision) in &acknowledged {
        let answer = cluster.ask("GET", &format!("/v1/tasks/{name}"), "").expect("the manager answers");
        let found = answer.json();
        let kept = (found["uid"].as_str(), found["attempt"]["id"].as_str(), found["revision"].as_u64());
        assert_eq!(kept, (Some(&**uid), Some(&**attempt), Some(*revision)), "{name}: {}", answer.text());
    }
    // What was in flight may be repeated.
    let (name, uid, attempt, _) = &acknowledged[0];
    let key = [("idempotency-key", name.as_str())];
    let again = cluster.ask_with("POST", "/v1/tasks", &key, &nowhere(name).to_string()).expect("the manager answers");
    assert_eq!((&again.json()["uid"], &again.json()["task"]), (&json!(uid), &json!(attempt)));

    cluster.wait_ready(1);
    let after = cluster.wait_running("web", 2);
    assert_eq!(identities(&after), identities(&before));
    assert_eq!(cluster.tasks("service=web").len(), 2, "not one attempt more");
    // It decides again, too.
    cluster.scale("web", 3);
    cluster.wait_running("web", 3);
}

/// A task that no node takes: it costs no container.
fn nowhere(name: &str) -> Value {
    let mut task = task(name, &["sleep"]);
    task["placement"] = json!({ "constraints": ["node.labels.none == such"] });
    task
}

/// Several clients submit at once; the manager is killed in the midst of it.
fn submit_until_killed(cluster: &mut Cluster) -> Vec<Acknowledged> {
    const CLIENTS: usize = 8;
    const BEFORE_THE_KILL: usize = 150;
    let (count, dead) = (AtomicUsize::new(0), AtomicBool::new(false));
    let acknowledged = Mutex::new(Vec::<Acknowledged>::new());
    let url = format!("{}/v1/tasks", cluster.url());
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (count, dead, acknowledged, url) = (&count, &dead, &acknowledged, &url);
            scope.spawn(move || {
                for n in 0.. {
                    let name = format!("c{client}-{n}");
                    let key = [("idempotency-key", name.as_str())];
                    let body = nowhere(&name).to_string().into_bytes();
                    // Without an answer it is over: the manager is dead, or will be seen to be ill.
                    let Ok(answer) = orbit_tests::ask_with("POST", url, &key, body) else { break };
                    assert_eq!(answer.status, 201, "{}", answer.text());
                    let answer = answer.json();
                    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_string();
                    let revision = answer["revision"].as_u64().unwrap_or_default();
                    let one = (name, text("uid"), text("task"), revision);
                    acknowledged.lock().expect("nobody panics with it").push(one);
                    count.fetch_add(1, Ordering::Relaxed);
                    if dead.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let until = Instant::now() + Duration::from_secs(20);
        while count.load(Ordering::Relaxed) < BEFORE_THE_KILL && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        cluster.manager.kill();
        dead.store(true, Ordering::Relaxed);
    });
    let acknowledged = acknowledged.into_inner().expect("nobody panicked with it");
    assert!(acknowledged.len() >= BEFORE_THE_KILL, "only {} were acknowledged", acknowledged.len());
    acknowledged
}

#[test]
fn tasks_of_a_dead_worker_run_elsewhere_and_the_stale_ones_go_when_it_returns() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 2);
    let mut spread = web("web", 4);
    spread["placement"] = json!({ "strategy": "spread" });
    cluster.apply(&spread);
    let before = cluster.wait_running("web", 4);
    let dead = cluster.nodes().into_iter().find(|node| node.name == "worker-0").expect("it has registered").uid;
    let (stale, others): (Vec<_>, Vec<_>) = before.into_iter().partition(|c| c.label("orbit.node") == dead);
    assert_eq!((stale.len(), others.len()), (2, 2));

    cluster.workers[0].daemon.kill();
    // Five seconds of lease, ten until they are replaced, from the last that was heard of it.
    cluster.wait_within("all four run on the other", Duration::from_secs(20), || {
        let running = cluster.running_containers("web");
        let elsewhere = running.iter().filter(|c| c.label("orbit.node") != dead).count();
        if elsewhere == 4 { Ok(()) } else { Err(format!("{elsewhere} of 4")) }
    });
    let now = identities(&cluster.containers());
    for one in stale.iter().chain(&others) {
        assert_eq!(now.get(&one.name), identities(std::slice::from_ref(one)).get(&one.name), "nobody touches it");
    }

    cluster.workers[0].daemon.start();
    cluster.wait_ready(2);
    let after = cluster.wait_running("web", 4);
    let ids: BTreeSet<&str> = after.iter().map(|c| c.id.as_str()).collect();
    assert!(stale.iter().all(|c| !ids.contains(&*c.id)) && others.iter().all(|c| ids.contains(&*c.id)));
    cluster.wait_for("the stale containers are removed", || {
        let left = stale.iter().filter(|c| engine.container(&c.id).is_some_and(|c| c.is_running())).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} run")) }
    });
}

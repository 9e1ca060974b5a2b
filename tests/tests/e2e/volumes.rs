//! Data that outlives its tasks.

use crate::{task, web};
use orbit_tests::{Cluster, engine};
use serde_json::{Value, json};

/// A service of which each task writes a line to its volume, and prints all that are there.
fn writer(line: &str) -> Value {
    let mut writer = web("db", 1);
    writer["args"] = json!(["append", "/data/log", line]);
    writer["volumes"] = json!([{ "volume": "data", "path": "/data" }]);
    writer
}

#[test]
fn what_a_task_wrote_is_there_for_the_next_one_and_its_node_is_waited_for() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 2);
    let said = |cluster: &Cluster, args: &[&str]| {
        let output = cluster.orbit(args, "");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a text");
        (output.status.code(), text(output.stdout) + &text(output.stderr))
    };
    let reads = |cluster: &Cluster, lines: &str| {
        cluster.wait_for(&format!("the task that runs has read {lines:?}"), || {
            let tasks = cluster.tasks("service=db");
            let running = tasks.iter().find(|task| task.actual == "running").ok_or("none runs")?;
            let (_, log) = said(cluster, &["logs", &running.id]);
            if log == lines { Ok(()) } else { Err(format!("{log:?}")) }
        });
    };
    assert_eq!(said(&cluster, &["volume", "ls"]), (Some(0), "no volume is used yet\n".to_string()));
    cluster.apply(&writer("one"));
    reads(&cluster, "one\n");
    // An update, a restart, a container that is killed.
    cluster.apply(&writer("two"));
    reads(&cluster, "one\ntwo\n");
    assert_eq!(said(&cluster, &["restart", "db"]).0, Some(0));
    reads(&cluster, "one\ntwo\ntwo\n");
    let container = cluster.wait_running("db", 1).remove(0);
    engine.kill(&container.id);
    reads(&cluster, "one\ntwo\ntwo\ntwo\n");
    // Both daemons, one after the other, and the container with them.
    cluster.manager.kill();
    cluster.manager.start();
    cluster.wait_manager();
    let node = cluster.running("db").remove(0).node.expect("it runs there");
    let worker = cluster.workers.iter().position(|it| it.name == node).expect("one of them");
    let container = cluster.wait_running("db", 1).remove(0);
    cluster.workers[worker].daemon.kill();
    engine.remove(&container.id);
    cluster.wait_for("its node is waited for", || {
        let (_, text) = said(&cluster, &["volume", "describe", "data"]);
        if text.contains("is silent since") { Ok(()) } else { Err(text) }
    });
    let (code, text) = said(&cluster, &["volume", "rm", "data"]);
    assert!(code == Some(2) && text.contains("uses volume `data`: it has to end first"), "{text}");
    cluster.workers[worker].daemon.start();
    reads(&cluster, "one\ntwo\ntwo\ntwo\ntwo\n");

    // Nobody else has it meanwhile.
    let mut thief = task("thief", &["append", "/data/log", "thief"]);
    thief["volumes"] = json!([{ "volume": "data", "path": "/data" }]);
    let id = cluster.apply(&thief)["task"].as_str().expect("an attempt").to_string();
    cluster.wait_for("it says who has the volume", || match cluster.task(&id) {
        Some(task) if task.actual == "pending" && task.message.contains("volume `data` is used by task") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(said(&cluster, &["delete", "task", "thief"]).0, Some(0));

    // It is given up, and the next one begins anew; the data is where it was.
    assert_eq!(said(&cluster, &["delete", "service", "db"]).0, Some(0));
    cluster.wait_for("it is given up", || match said(&cluster, &["volume", "rm", "data"]) {
        (Some(0), text) if text.contains("docker volume rm orbit-") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    cluster.apply(&writer("anew"));
    reads(&cluster, "anew\n");
    assert_eq!(cluster.volumes().len(), 2);
}

#[test]
fn a_volume_that_is_gone_is_not_made_again_and_who_needs_it_says_so() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    cluster.apply(&writer("one"));
    cluster.wait_running("db", 1);
    assert_eq!(cluster.orbit(&["delete", "service", "db"], "").status.code(), Some(0));
    cluster.wait_for("somebody removes it", || {
        cluster.remove_volumes();
        let left = cluster.volumes();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    cluster.apply(&writer("two"));
    cluster.wait_for("it says that the data is gone", || {
        let tasks = cluster.tasks("service=db");
        let says = |message: &str| message.contains("the data of volume `data` is not on this machine any more");
        if tasks.iter().any(|task| says(&task.message)) { Ok(()) } else { Err(format!("{tasks:?}")) }
    });
    assert_eq!(cluster.volumes(), Vec::<String>::new());
}

//! What an operator allows of a machine, and what runs there then.

use crate::{identities, task, web};
use orbit_tests::{Cluster, engine};
use serde_json::json;

#[test]
fn what_nobody_allows_waits_and_says_for_what_and_an_operator_may_take_his_word_back() {
    let Some(engine) = engine() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("hello"), "from the node").expect("a file can be made");
    let host = folder.path().canonicalize().expect("it is there").display().to_string();
    let volumes = json!([{ "host": host, "path": "/data", "read_only": true }]);
    let asked = format!("`host:{host}` is not among what its operator allows");
    let mut cluster = Cluster::start(&engine, 1);
    let mut reader = task("reader", &["print", "/data/hello"]);
    reader["volumes"] = volumes.clone();
    let id = cluster.apply(&reader)["task"].as_str().expect("an attempt").to_string();
    cluster.wait_for("it says for whose word it waits", || match cluster.task(&id) {
        Some(task) if task.actual == "pending" && task.message.contains(&asked) => Ok(()),
        other => Err(format!("{other:?}")),
    });

    let allow = format!("--allow=host:{host}");
    cluster.add_worker(&[&allow]);
    assert_eq!(cluster.wait_ended(&id).actual, "complete");
    let said = |args: &[&str]| String::from_utf8(cluster.orbit(args, "").stdout).expect("a text");
    assert_eq!(said(&["logs", &id]).trim_end(), "/data/hello: from the node");
    assert!(said(&["describe", "node", "worker-1"]).contains(&format!("host:{host}")));
    assert!(!said(&["describe", "node", "worker-0"]).contains("Allows"));

    // What runs goes on when the word is taken back, and nothing more comes.
    let mut keeper = web("keeper", 1);
    keeper["volumes"] = volumes;
    cluster.apply(&keeper);
    let before = identities(&cluster.wait_running("keeper", 1));
    cluster.workers[1].daemon.kill();
    let state_dir = format!("--state-dir={}", cluster.worker_dir(1).display());
    cluster.add_worker(&["--name=worker-1", &state_dir]);
    cluster.wait_for("the node says that it allows nothing", || {
        let nodes = cluster.nodes();
        let node = nodes.iter().find(|node| node.name == "worker-1" && node.state == "ready");
        if node.is_some_and(|node| node.allowed.is_empty()) { Ok(()) } else { Err(format!("{nodes:?}")) }
    });
    cluster.scale("keeper", 2);
    cluster.wait_for("the second one waits", || {
        let tasks = cluster.tasks("service=keeper");
        let waits = tasks.iter().any(|task| task.actual == "pending" && task.message.contains(&asked));
        if waits { Ok(()) } else { Err(format!("{tasks:?}")) }
    });
    assert_eq!(identities(&cluster.wait_running("keeper", 1)), before);
}

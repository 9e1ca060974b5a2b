//! Tasks: one run each, and how it ended.

use crate::task;
use orbit_tests::{Cluster, engine};
use serde_json::json;

#[test]
fn each_end_is_told_apart() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let mut eats = task("eats", &["eat", "64"]);
    eats["resources"]["memory"] = json!("16Mi");
    eats["resources"]["limits"] = json!({ "memory": "16Mi" });
    let mut imageless = task("imageless", &[]);
    // Nobody listens there.
    imageless["image"] = json!("127.0.0.1:9/nothing:1");
    let mut wrong = task("wrong", &[]);
    wrong["command"] = json!(["/nothing"]);
    let killed = cluster.apply(&task("killed", &["sleep"]))["task"].clone();
    let cases = [
        (task("well", &["exit", "0"]), "complete", "exited", Some(0)),
        (task("ill", &["exit", "3"]), "failed", "exited", Some(3)),
        (eats, "failed", "out_of_memory", Some(137)),
        (imageless, "failed", "pull_failed", None),
        (wrong, "failed", "start_failed", None),
    ];
    let submitted = cases.map(|(task, actual, reason, code)| (cluster.apply(&task), actual, reason, code));
    for (submitted, actual, reason, code) in submitted {
        let name = submitted["name"].as_str().expect("an answer has a name");
        let ended = cluster.wait_ended(submitted["task"].as_str().expect("an answer has an attempt"));
        let found = (ended.actual.as_str(), ended.reason.as_deref(), ended.exit_code);
        assert_eq!(found, (actual, Some(reason), code), "{name}: {ended:?}");
        assert_eq!(cluster.tasks(&format!("kind=task&name={name}")).len(), 1, "{name} ran once");
        match cluster.containers().into_iter().find(|c| c.task() == ended.id) {
            Some(container) => {
                assert_eq!(Some(container.exit_code), code.map(i64::from), "{name}: {container:?}");
                assert_eq!(container.oom_killed, reason == "out_of_memory", "{name}: {container:?}");
            }
            None => assert_eq!(code, None, "{name}: what ran is kept for its log"),
        }
    }

    let killed = killed.as_str().expect("an answer has an attempt");
    let container = cluster
        .wait_for("it runs", || cluster.running_containers("killed").pop().ok_or_else(|| "it does not".to_string()));
    engine.kill(&container.id);
    let ended = cluster.wait_ended(killed);
    assert_eq!(
        (ended.actual.as_str(), ended.reason.as_deref(), ended.exit_code),
        ("failed", Some("killed"), Some(137))
    );

    for name in ["well", "ill", "eats", "imageless", "wrong", "killed"] {
        cluster.delete(&format!("/v1/tasks/{name}"));
    }
    cluster.wait_for("nothing is left behind", || match cluster.containers() {
        left if left.is_empty() && cluster.tasks("").is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

#[test]
fn a_process_that_ends_well_has_completed_also_after_a_child_was_killed_for_want_of_memory() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let mut parent = task("parent", &["parent", "64"]);
    parent["resources"]["memory"] = json!("16Mi");
    parent["resources"]["limits"] = json!({ "memory": "16Mi" });
    let id = cluster.apply(&parent)["task"].as_str().expect("an answer has an attempt").to_string();
    let ended = cluster.wait_ended(&id);
    let found = (ended.actual.as_str(), ended.reason.as_deref(), ended.exit_code);
    assert_eq!(found, ("complete", Some("exited"), Some(0)), "{ended:?}");
    assert_eq!(ended.message, "one of its processes was killed for want of memory");
    let container = cluster.containers().into_iter().find(|c| c.task() == id).expect("it is kept for its log");
    assert!(container.oom_killed && container.exit_code == 0, "{container:?}");
}

#[test]
fn what_a_container_prints_is_kept_up_to_a_bound() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    // Three files of 10 MiB at most, which hold some 80 bytes beside each line of 128: this fills them twice.
    let id = cluster.apply(&task("floods", &["flood", "40"]))["task"].as_str().expect("an attempt").to_string();
    assert_eq!(cluster.wait_ended(&id).exit_code, Some(0));
    let log = cluster.orbit(&["logs", &id], "");
    assert!(log.status.success(), "{log:?}");
    let kept = log.stdout.len();
    assert!((10 << 20..30 << 20).contains(&kept), "{kept} bytes are kept of 40 MiB");
    assert!(log.stdout.ends_with(b"x\n"), "its end is whole");
}

#[test]
fn what_does_not_hear_is_killed_after_its_grace() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let mut stubborn = task("stubborn", &["stubborn"]);
    stubborn["stop"]["grace"] = json!("1s");
    let id = cluster.apply(&stubborn)["task"].as_str().expect("an answer has an attempt").to_string();
    let container = cluster
        .wait_for("it runs", || cluster.running_containers("stubborn").pop().ok_or_else(|| "it does not".to_string()));
    cluster.wait_for("it listens", || match cluster.ask("GET", &format!("/v1/tasks/{id}/logs"), "") {
        Ok(log) if log.text().contains("stubborn") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let told = std::time::SystemTime::now();
    cluster.delete(&format!("/v1/tasks/{id}"));
    let ended = cluster.wait_ended(&id);
    assert_eq!((ended.actual.as_str(), ended.reason.as_deref()), ("stopped", Some("stopped")), "{ended:?}");
    let dead = engine.container(&container.id).expect("an ended attempt keeps its container for its log");
    assert_eq!((dead.status.as_str(), dead.exit_code, dead.oom_killed), ("exited", 137, false));
    let finished = humantime::parse_rfc3339(&dead.finished_at).expect("the engine writes RFC 3339");
    let grace = finished.duration_since(told).unwrap_or_default().as_millis();
    assert!((900..5000).contains(&grace), "killed after {grace} ms");
}

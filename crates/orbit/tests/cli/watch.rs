//! What goes on: watches and events; and what changes several things at once.

use crate::{
    Line,
    data::{list, node, service, task},
    fake::{End, Fake, events, log, no_content, ok, problem},
};
use serde_json::{Value, json};

fn change(kind: &str, object: Value) -> Value {
    json!({ "type": kind, "object": object })
}

fn event(revision: u64, reason: &str, message: &str) -> Value {
    json!({ "revision": revision, "at": "2026-03-01T11:59:00.000Z", "reason": reason, "warning": reason == "failed",
        "kind": "service", "name": "web", "task": "1.57.0", "node": "worker-1", "message": message })
}

#[test]
fn a_watch_shows_what_there_is_and_every_change_also_over_a_break() {
    let first = [change("added", task("1.57.0", "starting"))];
    let then = [change("modified", task("1.57.0", "running")), change("deleted", json!({"id": "1.50.0"}))];
    let fake =
        Fake::new([("GET /v1/tasks?watch=1", vec![events(&first, 8, End::Broken), events(&then, 9, End::Open)])]);
    let mut line = Line::to(&fake);
    line.interrupt_after = Some("deleted");
    let ran = line.run(&["get", "tasks", "-w"]);
    assert_eq!(ran.code, 130);
    let shown: Vec<_> = ran.out.lines().collect();
    assert_eq!(shown.len(), 4, "{}", ran.out);
    assert!(shown[0].starts_with("ID ") && shown[1].contains("starting") && shown[2].contains("running"));
    assert_eq!(shown[3], "task/1.50.0 deleted");
    assert_eq!(fake.asked()[1].headers["last-event-id"], "8");
}

#[test]
fn a_watch_that_was_away_for_too_long_begins_anew() {
    let first = [change("added", task("1.57.0", "running"))];
    let again = [change("added", task("1.60.0", "running"))];
    let gone = problem(410, "compacted", "", "list again");
    let fake = Fake::new([(
        "GET /v1/tasks?watch=1",
        vec![events(&first, 8, End::Broken), gone, events(&again, 900, End::Open)],
    )]);
    let mut line = Line::to(&fake);
    line.interrupt_after = Some("1.60.0");
    let ran = line.run(&["get", "tasks", "-w", "-o", "name"]);
    assert_eq!(ran.out, "task/1.57.0\ntask/1.60.0\n");
    assert!(!fake.asked()[2].headers.contains_key("last-event-id"));
}

#[test]
fn a_watch_of_nodes_counts_down() {
    let silent = |seconds: u32| {
        let mut node = node("worker-2", "unreachable", "a");
        node["message"] = json!(format!("replaced in {seconds} s"));
        node
    };
    let fake = Fake::new([
        ("GET /v1/nodes?watch=1", vec![events(&[change("added", silent(3))], 8, End::Open)]),
        ("GET /v1/nodes/worker-2", vec![ok(silent(3)), ok(silent(2)), ok(silent(2)), ok(silent(1))]),
    ]);
    let mut line = Line::to(&fake);
    line.interrupt_after = Some("replaced in 1 s");
    let ran = line.run(&["node", "ls", "-w"]);
    let shown: Vec<_> =
        ran.out.lines().skip(1).filter_map(|line| line.split_once("replaced in ")).map(|(_, rest)| rest).collect();
    assert_eq!(shown, ["3 s", "2 s", "1 s"], "each once: {}", ran.out);
}

#[test]
fn events_are_a_table_that_goes_on() {
    let there = json!({ "revision": 60, "items": [event(58, "created", "3 replicas"), event(59, "failed", "exited")] });
    let follow = "GET /v1/events?kind=service&name=web&watch=1&since=60";
    let fake = Fake::new([
        ("GET /v1/events?kind=service&name=web", vec![ok(there)]),
        (follow, vec![events(&[event(61, "running", "at last")], 61, End::Open)]),
    ]);
    let mut line = Line::to(&fake);
    line.interrupt_after = Some("at last");
    let ran = line.run(&["events", "-f", "service/web"]);
    let shown: Vec<_> = ran.out.lines().collect();
    assert_eq!(shown.len(), 4, "{}", ran.out);
    assert_eq!(shown[0].split_whitespace().collect::<Vec<_>>(), ["AGE", "OBJECT", "EVENT", "TASK", "NODE", "MESSAGE"]);
    assert!(shown[2].contains("failed!") && shown[3].contains("at last"), "{}", ran.out);
    let warnings = Line::to(&fake).run(&["events", "service/web", "--warnings", "-o", "name"]);
    assert_eq!((warnings.code, warnings.out.as_str()), (0, "service/web\n"));
    let later = Line::to(&fake).run(&["events", "service/web", "--since", "2026-03-01T12:00:00Z"]);
    assert_eq!((later.out.as_str(), later.err.as_str()), ("", "no events found\n"));
}

#[test]
fn events_are_waited_for_over_a_break_also_before_the_first_of_them() {
    let there = json!({ "revision": 60, "items": [] });
    let follow = "GET /v1/events?watch=1&since=60";
    let later = events(&[event(61, "running", "at last")], 61, End::Open);
    let stopping = problem(503, "unavailable", "", "the manager is shutting down: ask again");
    let silence = log(&[": alive\n\n"], End::Broken);
    let fake = Fake::new([("GET /v1/events", vec![ok(there)]), (follow, vec![silence, stopping, later])]);
    let mut line = Line::to(&fake);
    line.interrupt_after = Some("at last");
    let ran = line.run(&["events", "-f"]);
    assert_eq!(ran.code, 130, "{}", ran.err);
    assert_eq!(ran.err, "orbit: the manager is shutting down: ask again; still trying\n");
    assert_eq!(fake.asked()[2].headers["last-event-id"], "60", "nothing is missed meanwhile");
}

#[test]
fn a_restart_says_which_version_runs_then() {
    let stored = json!({"name": "web", "uid": "1.40", "revision": 61, "version": 3, "created": false, "changed": true});
    let fake = Fake::new([("POST /v1/services/web/restart", vec![ok(stored)])]);
    let ran = Line::to(&fake).run(&["restart", "web"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "service/web restarts as version 3\n"));
}

/// A directory with two manifests and something else in it.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["api", "web"] {
        let manifest = format!("kind: Service\nname: {name}\nimage: nginx:1\n");
        std::fs::write(dir.path().join(format!("{name}.yaml")), manifest).unwrap();
    }
    std::fs::write(dir.path().join("README.md"), "not a manifest").unwrap();
    dir
}

fn stored(name: &str, created: bool, changed: bool) -> Value {
    json!({"name": name, "uid": "", "revision": 0, "version": 0, "created": created, "changed": changed})
}

#[test]
fn a_directory_is_applied_and_what_is_not_in_it_is_pruned() {
    let dir = directory();
    let there = list(vec![service("api", 1, 1, ""), service("old", 1, 1, ""), service("web", 1, 1, "")]);
    let fake = Fake::new([
        ("PUT /v1/services/api", vec![ok(stored("api", true, true))]),
        ("PUT /v1/services/web", vec![ok(stored("web", false, false))]),
        ("GET /v1/services?selector=team%3Dshop", vec![ok(there)]),
        ("DELETE /v1/services/old", vec![no_content()]),
    ]);
    let file = dir.path().to_str().unwrap();
    let ran = Line::to(&fake).run(&["apply", "-f", file, "--prune", "-l", "team=shop"]);
    assert_eq!(ran.out, "service/api created\nservice/web unchanged\nservice/old deleted\n");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let careless = Line::to(&fake).run(&["apply", "-f", file, "--prune"]);
    assert_eq!(careless.code, 2);
    assert!(careless.err.contains("--all"), "{}", careless.err);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let dir = directory();
    let fake = Fake::new([
        ("PUT /v1/services/api?dry_run=true", vec![ok(stored("api", true, true))]),
        ("PUT /v1/services/web?dry_run=true", vec![ok(stored("web", false, true))]),
        ("GET /v1/services", vec![ok(list(vec![service("old", 1, 1, "")]))]),
    ]);
    let ran = Line::to(&fake).run(&["apply", "-f", dir.path().to_str().unwrap(), "--dry-run", "--prune", "--all"]);
    let expected = "service/api would be created\nservice/web would be changed\nservice/old would be deleted\n";
    assert_eq!((ran.code, ran.out.as_str()), (0, expected), "{}", ran.err);
}

#[test]
fn contexts_are_listed_and_chosen_and_the_rest_of_the_file_stays() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let fake = Fake::new([("GET /v1/services", vec![ok(list(Vec::new()))])]);
    let addr = fake.addr.clone();
    let text = format!(
        "# mine\ncurrent = \"far\"\n[contexts.far]\naddr = \"http://10.0.0.5:7070\"\n[contexts.near]\naddr = \"{addr}\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let run = |args: &[&str]| {
        let line = Line::to(&fake).env("ORBIT_CONFIG", file.to_str().unwrap()).env("ORBIT_ADDR", "");
        line.run(args)
    };
    assert!(run(&["context", "ls"]).out.contains("*        far   http://10.0.0.5:7070"));
    let wrong = run(&["context", "use", "nowhere"]);
    assert_eq!((wrong.code, wrong.err.contains("there are far, near")), (2, true), "{}", wrong.err);
    assert!(run(&["context", "use", "naer"]).err.contains("(did you mean `near`?)"));
    assert_eq!(run(&["context", "use", "near"]).out, "context near is used from now on\n");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("# mine\ncurrent = \"near\"\n"));
    assert_eq!(run(&["get", "services"]).code, 0);
    assert_eq!(fake.lines(), ["GET /v1/services"]);
    std::fs::write(&file, "currant = \"near\"\n").unwrap();
    let broken = run(&["get", "services"]);
    assert!(broken.err.contains("config.toml") && broken.err.contains("currant"), "{}", broken.err);
}

//! `apply`, `delete`, `scale`: what is sent, what is said, what is waited for.

use crate::{Line, data::*, fake::*, transcripts};
use serde_json::{Value, json};
use std::path::PathBuf;
use tempfile::TempDir;

const SEVERAL: &str = "\
kind: Service
name: web
image: nginx:1.27
replicas: 2
---
kind: Task
name: once
image: alpine:3.20
---
kind: Service
name: api
image: api:4
";

fn file(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn all_documents_are_sent_and_each_says_what_became_of_it() {
    let fake = Fake::new([
        ("PUT /v1/services/web", vec![json(201, stored("web", true, true)), ok(stored("web", false, true))]),
        ("PUT /v1/services/api", vec![ok(stored("api", false, false))]),
        ("POST /v1/tasks", vec![json(201, submitted("once", true)), ok(submitted("once", false))]),
    ]);
    let apply = || Line { stdin: SEVERAL, ..Line::to(&fake) }.run(&["apply", "-f", "-"]);
    assert_eq!(apply().out, "service/web created\ntask/once created\nservice/api unchanged\n");
    assert_eq!(apply().out, "service/web changed\ntask/once unchanged\nservice/api unchanged\n");
    let asked = fake.asked();
    assert_eq!(asked[0].body, json!({"kind": "Service", "name": "web", "image": "nginx:1.27", "replicas": 2}));
    assert_eq!(asked[0].headers["content-type"], "application/json");
    assert!(!asked[0].headers.contains_key("if-match"));
}

#[test]
fn nothing_is_sent_while_anything_is_wrong_in_any_file() {
    let fake = Fake::new([]);
    let dir = TempDir::new().unwrap();
    let good = file(&dir, "good.yaml", "kind: Task\nname: once\nimage: a\n");
    let bad = file(
        &dir,
        "bad.yaml",
        "kind: Service\nname: web\nimage: a\n---\nkind: Service\nname: api\nimage: a\nresources: { cpu: 250Mi }\n---\n\
         kind: Service\nname: x\nimage: a\nresources: { memory: 1 }\n---\nkind: Task\nname: once\nimage: b\n",
    );
    let syntax = file(&dir, "syntax.yaml", "kind: Service\nname: [web\n");
    let empty = file(&dir, "empty.yaml", "# nothing\n");
    let missing = dir.path().join("missing.yaml");
    let mut args = vec!["apply"];
    for path in [&good, &bad, &syntax, &empty, &missing] {
        args.extend(["-f", path.to_str().unwrap()]);
    }
    let ran = Line::to(&fake).run(&args);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert_eq!(fake.lines(), [""; 0]);
    insta::assert_snapshot!(ran.err.replace(dir.path().to_str().unwrap(), "DIR"));
}

#[test]
fn what_the_manager_refuses_is_said_with_its_place_and_field() {
    let fake = Fake::new([
        ("PUT /v1/services/web", vec![ok(stored("web", false, true))]),
        (
            "POST /v1/tasks",
            vec![problem(409, "name_in_use", "name", "another task named once has not ended: delete it first")],
        ),
    ]);
    let ran = Line { stdin: SEVERAL, ..Line::to(&fake) }.run(&["apply", "-f", "-"]);
    insta::assert_snapshot!(ran.transcript(&["apply", "-f", "-"]));
}

#[test]
fn a_change_can_be_bound_to_a_revision() {
    let one = "kind: Service\nname: web\nimage: a\n";
    let conflict = problem(412, "revision_conflict", "", "the service is at revision 58: read it again");
    let fake = Fake::new([("PUT /v1/services/web", vec![conflict])]);
    let apply =
        |stdin, revision| Line { stdin, ..Line::to(&fake) }.run(&["apply", "-f", "-", "--if-revision", revision]);
    let ran = apply(one, "57");
    assert_eq!(ran.code, 6);
    assert_eq!(ran.err, "orbit: standard input: service/web: the service is at revision 58: read it again\n");
    assert_eq!(fake.asked()[0].headers["if-match"], "\"57\"");
    assert_eq!(apply(one, "0").code, 6);
    assert_eq!(fake.asked()[1].headers["if-none-match"], "*");
    assert_eq!(apply(SEVERAL, "57").code, 2);
    assert_eq!(fake.asked().len(), 2);
}

/// A service that shall have two replicas, with so many running of the current version and in all.
fn web(current: u32, running: u32, pending: u32, message: &str) -> Reply {
    let mut web = service("web", 2, 0, message);
    web["actual"]["updated"] = json!(current);
    web["actual"]["ready"] = json!(running);
    web["actual"]["running"] = json!(running);
    web["actual"]["pending"] = json!(pending);
    web["actual"]["starting"] = json!(2 - current - pending);
    ok(web)
}

fn waiting(web: Vec<Reply>, once: Vec<Reply>) -> Fake {
    Fake::new([
        ("PUT /v1/services/web", vec![ok(stored("web", false, true))]),
        ("POST /v1/tasks", vec![ok(submitted("once", true))]),
        ("GET /v1/services/web", web),
        ("GET /v1/tasks/once", once),
    ])
}

const WEB_AND_ONCE: &str = "kind: Service\nname: web\nimage: a\nreplicas: 2\n---\nkind: Task\nname: once\nimage: a\n";

fn wait(fake: &Fake, stdin: &str, timeout: &str) -> String {
    let args = ["apply", "-f", "-", "--wait", "--timeout", timeout];
    Line { stdin, ..Line::to(fake) }.run(&args).transcript(&args)
}

#[test]
fn waiting_ends_when_the_current_version_runs_and_the_task_has_ended() {
    let away = problem(503, "unavailable", "", "this manager does not lead now: ask again");
    let attempt = |attempt: Value| ok(definition("once", "on_failure", attempt));
    let fake = waiting(
        vec![
            web(0, 2, 1, "1 task waits: no node has enough memory"),
            web(0, 2, 0, ""),
            away.clone(),
            away,
            web(1, 2, 0, ""),
            web(2, 3, 0, ""),
            web(2, 2, 0, ""),
        ],
        vec![
            attempt(Value::Null),
            attempt(once("1.70.0", "running")),
            attempt(ended("1.70.0", 1)),
            attempt(ended("1.80.0", 0)),
        ],
    );
    insta::assert_snapshot!(wait(&fake, WEB_AND_ONCE, "1m"));
}

#[test]
fn a_task_that_fails_for_good_is_a_failure() {
    let fake = waiting(vec![web(2, 2, 0, "")], vec![ok(definition("once", "never", ended("1.70.0", 3)))]);
    insta::assert_snapshot!(wait(&fake, WEB_AND_ONCE, "1m"));
}

#[test]
fn time_that_runs_out_tells_what_is_late_and_what_has_no_place() {
    let late = waiting(vec![web(1, 1, 0, "")], vec![]);
    let unplaced = waiting(vec![web(1, 1, 1, "1 task waits: 3 nodes: not enough memory")], vec![]);
    let only_web = "kind: Service\nname: web\nimage: a\nreplicas: 2\n";
    insta::assert_snapshot!(wait(&late, only_web, "30ms") + &wait(&unplaced, only_web, "30ms"));
}

#[test]
fn waiting_ends_when_the_object_is_deleted_or_replaced() {
    let only_web = "kind: Service\nname: web\nimage: a\nreplicas: 2\n";
    let mut other = service("web", 2, 2, "");
    other["uid"] = json!("1.99");
    let gone = problem(404, "not_found", "", "no service is named web");
    let replaced = wait(&waiting(vec![ok(other)], vec![]), only_web, "1m");
    assert!(replaced.contains("orbit: service/web: was deleted and created anew"), "{replaced}");
    let deleted = wait(&waiting(vec![gone], vec![]), only_web, "1m");
    assert!(deleted.contains("orbit: service/web: no service is named web\n--- exit 2"), "{deleted}");
}

#[test]
fn deleting_and_scaling_say_what_was_done() {
    let fake = Fake::new([
        ("DELETE /v1/services/web", vec![no_content()]),
        ("DELETE /v1/tasks/1.57.0", vec![no_content()]),
        ("DELETE /v1/tasks/once", vec![no_content()]),
        ("DELETE /v1/nodes/worker-1", vec![no_content()]),
        ("DELETE /v1/services/gone", vec![problem(404, "not_found", "", "no service is named gone")]),
        ("POST /v1/services/web/scale", vec![ok(stored("web", false, true)), ok(stored("web", false, false))]),
    ]);
    let said = transcripts(
        &fake,
        &[
            &["delete", "service", "web"],
            &["delete", "service/gone", "task/1.57.0", "task/once"],
            &["node", "forget", "worker-1"],
            &["scale", "web=5"],
            &["scale", "web=5"],
            &["delete", "service"],
            &["delete", "service", "pod/x"],
        ],
    );
    insta::assert_snapshot!(said);
    let scaled = fake.asked().into_iter().find(|asked| asked.line.contains("scale")).unwrap();
    assert_eq!(scaled.body, json!({"replicas": 5}));
    let ran = Line { stdin: WEB_AND_ONCE, ..Line::to(&fake) }.run(&["delete", "-f", "-"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "service/web deleted\ntask/once deleted\n"));
}

#[test]
fn one_document_says_what_was_created_changed_and_unchanged() {
    let difference = json!({ "field": "replicas", "before": "5", "after": "2" });
    let mut changed = stored("web", false, true);
    changed["changes"] = json!([difference]);
    let fake = Fake::new([
        ("PUT /v1/services/web", vec![ok(changed.clone())]),
        ("PUT /v1/services/api", vec![ok(stored("api", false, false))]),
        ("POST /v1/tasks", vec![json(201, submitted("once", true))]),
        ("PUT /v1/services/web?dry_run=true", vec![ok(changed)]),
        ("PUT /v1/services/api?dry_run=true", vec![ok(stored("api", true, true))]),
        ("POST /v1/tasks?dry_run=true", vec![ok(stored("once", false, false))]),
        ("GET /v1/services", vec![ok(list(vec![service("old", 1, 1, "")]))]),
        ("DELETE /v1/services/old", vec![no_content()]),
    ]);
    let apply = |more: &[&str]| Line { stdin: SEVERAL, ..Line::to(&fake) }.run(&[&["apply", "-f", "-"], more].concat());
    let document = |more: &[&str]| -> Value { serde_json::from_str(&apply(more).out).unwrap() };
    let item = |kind: &str, name: &str, revision: u64, created: bool, changed: bool| json!({ "kind": kind, "name": name, "revision": revision, "created": created, "changed": changed });
    let mut web = item("service", "web", 57, false, true);
    web["changes"] = json!([difference]);
    let (once, api) = (item("task", "once", 70, true, true), item("service", "api", 57, false, false));
    assert_eq!(document(&["-o", "json"]), json!({ "items": [web, once, api] }));
    let pruned = document(&["-o", "json", "--prune", "--all"]);
    assert_eq!(pruned["deleted"], json!(["service/old"]));

    let dry = document(&["-o", "json", "--dry-run", "--prune", "--all"]);
    assert_eq!((&dry["items"][0], &dry["items"][2]["created"]), (&web, &json!(true)));
    assert_eq!((&dry["items"][1]["changed"], &dry["deleted"]), (&json!(false), &json!(["service/old"])));
    assert_eq!(apply(&["-o", "json", "--dry-run", "--exit-code"]).code, 1);

    assert_eq!(apply(&["-o", "name"]).out, "service/web\ntask/once\nservice/api\n");
    let yaml: Value = serde_yaml_ng::from_str(&apply(&["-o", "yaml"]).out).unwrap();
    assert_eq!(yaml, document(&["-o", "json"]));
}

#[test]
fn a_document_says_also_what_was_done_before_a_failure() {
    let fake = Fake::new([
        ("PUT /v1/services/web", vec![ok(stored("web", true, true))]),
        ("POST /v1/tasks", vec![problem(409, "name_in_use", "name", "another task named once has not ended")]),
    ]);
    let ran = Line { stdin: SEVERAL, ..Line::to(&fake) }.run(&["apply", "-f", "-", "-o", "json"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("document 2: task/once: name: another task"), "{}", ran.err);
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(said["items"][0]["created"], json!(true));
    assert_eq!(
        (&said["items"][1]["name"], &said["items"][1]["problem"]["code"]),
        (&json!("once"), &json!("name_in_use"))
    );
    assert_eq!(said["items"].as_array().map(Vec::len), Some(2), "the third was not tried");
}

/// A manager on which `web` shall have two replicas after an order, and goes through these states.
fn ordered(order: &'static str, web: Vec<Reply>) -> Fake {
    Fake::new([(order, vec![ok(stored("web", false, true))]), ("GET /v1/services/web", web)])
}

/// The same in a rollout.
fn in_rollout(state: &str, message: &str, current: u32, running: u32) -> Reply {
    let mut web = service("web", 2, 0, "");
    web["actual"]["updated"] = json!(current);
    web["actual"]["ready"] = json!(running);
    web["actual"]["running"] = json!(running);
    web["actual"]["pending"] = json!(0);
    web["actual"]["starting"] = json!(u32::from(current < 2));
    web["rollout"] = json!({ "state": state, "since": "2026-03-01T11:59:00Z", "stable": 1, "message": message });
    ok(web)
}

#[test]
fn scaling_and_restarting_can_be_waited_for() {
    let transcript = |fake: &Fake, args: &[&str]| Line::to(fake).run(args).transcript(args);
    let (scale, restart) = ("POST /v1/services/web/scale", "POST /v1/services/web/restart");
    let waited = [
        transcript(&ordered(scale, vec![web(1, 1, 0, ""), web(2, 2, 0, "")]), &["scale", "web=2", "--wait"]),
        // How an earlier rollout ended says nothing about the number of replicas.
        transcript(
            &ordered(
                scale,
                vec![in_rollout("rolled_back", "rolled back", 1, 1), in_rollout("rolled_back", "rolled back", 2, 2)],
            ),
            &["scale", "web=2", "--wait"],
        ),
        transcript(
            &ordered(scale, vec![web(1, 1, 1, "1 task waits: no node has enough memory")]),
            &["scale", "web=2", "--wait", "--timeout", "30ms"],
        ),
        transcript(
            &ordered(
                restart,
                vec![in_rollout("running", "", 0, 2), in_rollout("running", "", 1, 2), in_rollout("done", "", 2, 2)],
            ),
            &["restart", "web", "--wait"],
        ),
        transcript(
            &ordered(
                restart,
                vec![in_rollout("running", "", 0, 2), in_rollout("rolled_back", "rolled back to version 1", 2, 2)],
            ),
            &["restart", "web", "--wait"],
        ),
        transcript(
            &ordered(restart, vec![in_rollout("running", "", 0, 2)]),
            &["restart", "web", "--wait", "--timeout", "30ms"],
        ),
        transcript(&ordered(restart, vec![]), &["restart", "web", "--timeout", "30ms"]),
    ];
    insta::assert_snapshot!(waited.concat());
}

#[test]
fn ctrl_c_ends_the_waiting_and_not_the_change() {
    for (order, args, said) in [
        ("POST /v1/services/web/scale", &["scale", "web=2", "--wait"][..], "service/web stays scaled to 2"),
        ("POST /v1/services/web/restart", &["restart", "web", "--wait"], "the restart of service/web goes on"),
    ] {
        let fake = ordered(order, vec![in_rollout("running", "", 0, 2)]);
        let ran = Line { interrupt_after: Some("service/web"), ..Line::to(&fake) }.run(args);
        assert_eq!(ran.code, 130);
        assert!(ran.err.ends_with(&format!("orbit: {said}; only the waiting has ended\n")), "{}", ran.err);
    }
}

#[test]
fn what_get_prints_can_be_applied() {
    let (web, api) = (service("web", 3, 2, "1 task waits"), service("api", 1, 1, ""));
    let fake = Fake::new([
        ("GET /v1/services/web", vec![ok(&web)]),
        ("GET /v1/services", vec![ok(list(vec![api.clone(), web.clone()]))]),
        ("GET /v1/tasks/once", vec![ok(definition("once", "never", Value::Null))]),
        ("PUT /v1/services/web", vec![ok(stored("web", false, false))]),
        ("PUT /v1/services/api", vec![ok(stored("api", false, false))]),
        ("POST /v1/tasks", vec![ok(submitted("once", false))]),
    ]);
    for (shown, applied) in [
        (&["get", "service", "web", "-o", "yaml"][..], "service/web unchanged\n"),
        (&["get", "service", "web", "-o", "json"], "service/web unchanged\n"),
        (&["get", "task", "once", "-o", "yaml"], "task/once unchanged\n"),
        (&["get", "services", "-o", "yaml"], "service/api unchanged\nservice/web unchanged\n"),
    ] {
        let printed = Line::to(&fake).run(shown).out;
        let ran = Line { stdin: &printed, ..Line::to(&fake) }.run(&["apply", "-f", "-"]);
        assert_eq!((ran.code, ran.out.as_str()), (0, applied), "{shown:?}: {}", ran.err);
    }
    let sent = fake.asked().into_iter().find(|asked| asked.line == "PUT /v1/services/web").unwrap();
    assert_eq!(sent.body, web["desired"]);
}

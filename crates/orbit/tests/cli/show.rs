//! Help, tables, descriptions, output formats.

use crate::{Line, data::*, fake::*, transcripts};
use serde_json::json;

fn cluster() -> Fake {
    let mut oom = task("1.50.0", "failed");
    oom["reason"] = json!("out_of_memory");
    oom["exit_code"] = json!(137);
    let mut away = task("1.57.2", "running");
    away["node"] = json!("worker-2");
    away["unreachable"] = json!(true);
    let tasks = vec![task("1.57.0", "running"), pending("1.57.1"), away, oom];
    let mut failed = once("1.70.0", "failed");
    failed["reason"] = json!("pull_failed");
    failed["message"] = json!("manifest unknown:\nno such tag");
    let web = service("web", 3, 2, "1 task waits: 3 nodes: not enough memory");
    Fake::new([
        ("GET /v1/services", vec![ok(list(vec![service("api", 2, 2, ""), web.clone()]))]),
        ("GET /v1/services?selector=team%3Dnone", vec![ok(list(vec![]))]),
        ("GET /v1/services/web", vec![ok(web)]),
        ("GET /v1/tasks", vec![ok(list(tasks.clone()))]),
        ("GET /v1/tasks?kind=service&name=web", vec![ok(list(tasks.clone()))]),
        ("GET /v1/tasks?kind=service&name=web&node=worker-1&state=running", vec![ok(list(tasks[..1].to_vec()))]),
        ("GET /v1/tasks?node=worker-1", vec![ok(list(vec![]))]),
        ("GET /v1/tasks/1.50.0", vec![ok(&tasks[3])]),
        ("GET /v1/tasks/once", vec![ok(definition("once", "never", failed.clone()))]),
        ("GET /v1/tasks?kind=task&name=once", vec![ok(list(vec![failed]))]),
        ("GET /v1/nodes", vec![ok(list(vec![node("worker-1", "ready", "a"), node("worker-2", "unreachable", "b")]))]),
        ("GET /v1/nodes?selector=zone%3Db", vec![ok(list(vec![node("worker-2", "unreachable", "b")]))]),
        ("GET /v1/events?kind=service&name=web", vec![ok(list(story()))]),
        ("GET /v1/events", vec![ok(list(story()))]),
        ("GET /v1/nodes/worker-1", vec![ok(node("worker-1", "ready", "a"))]),
    ])
}

/// What happened to `web`.
fn story() -> Vec<serde_json::Value> {
    let by = |reason: &str| match reason {
        "created" => "local",
        "placed" => "manager",
        _ => "worker",
    };
    let event = |revision: u64, reason: &str, task: Option<&str>, message: &str| {
        json!({ "revision": revision, "at": "2026-03-01T11:59:00.000Z", "actor": by(reason), "reason": reason,
            "warning": reason == "failed", "kind": "service", "name": "web", "task": task,
            "node": task.map(|_| "worker-1"), "message": message })
    };
    vec![
        event(40, "created", None, "3 replicas of nginx:1.27"),
        event(50, "placed", Some("1.50.0"), "slot 0, version 1"),
        event(56, "failed", Some("1.50.0"), "out_of_memory with code 137; tried again in 1 s"),
    ]
}

#[test]
fn tables_are_aligned_and_wide_ones_say_more() {
    insta::assert_snapshot!(transcripts(
        &cluster(),
        &[
            &["get", "services"],
            &["get", "svc", "web", "-o", "wide"],
            &["get", "services", "-l", "team=none"],
            &["get", "tasks"],
            &["get", "tasks", "-o", "wide"],
            &["get", "task", "1.50.0"],
            &["get", "task/once", "-o", "wide"],
            &["get", "tasks", "--service", "web", "--node", "worker-1", "--state", "running"],
            &["get", "no"],
            &["node", "ls", "-o", "wide"],
            &["node", "ls", "-l", "zone=b"],
        ]
    ));
}

#[test]
fn everything_is_shown_at_once_and_so_are_events() {
    let fake = cluster();
    insta::assert_snapshot!(transcripts(
        &fake,
        &[&["get", "all"], &["get", "all", "-o", "name"], &["get", "events"], &["get", "event", "service/web"]]
    ));
    let all: serde_json::Value = serde_json::from_str(&Line::to(&fake).run(&["get", "all", "-o", "json"]).out).unwrap();
    assert_eq!(all["nodes"]["items"][1], node("worker-2", "unreachable", "b"));
    assert_eq!(all["services"]["items"].as_array().map(Vec::len), Some(2));
    for (args, instead) in [
        (&["get", "all", "-w"][..], "-w watches one kind"),
        (&["get", "all", "web"], "`orbit describe web`"),
        (&["get", "events", "web"], "`orbit events KIND/NAME`"),
        (&["get", "all", "--node", "a"], "`orbit get tasks`"),
    ] {
        let ran = Line::to(&fake).run(args);
        assert!(ran.code == 2 && ran.err.contains(instead), "{args:?}: {}", ran.err);
    }
    let nothing = || vec![ok(list(vec![]))];
    let empty =
        Fake::new([("GET /v1/services", nothing()), ("GET /v1/tasks", nothing()), ("GET /v1/nodes", nothing())]);
    let ran = Line::to(&empty).run(&["get", "all"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", "nothing found\n"));
}

#[test]
fn a_rollout_shows_which_version_serves_still_and_how_many_tasks_are_there_for_it() {
    let mut web = service("web", 3, 3, "");
    web["actual"]["starting"] = json!(1);
    web["rollout"] = json!({ "state": "running", "since": "2026-03-01T11:59:00Z", "stable": 1, "message": "" });
    let fake = Fake::new([("GET /v1/services", vec![ok(list(vec![web]))])]);
    let ran = Line::to(&fake).run(&["get", "services"]);
    let expected = "\
        NAME  DESIRED          READY  UPDATED  AVAILABLE  VERSION  AGE  MESSAGE\n\
        web   3 (+1 updating)  3      3        3          1→2      45m\n";
    assert_eq!(ran.out, expected);
}

#[test]
fn a_name_alone_is_described_where_it_is_clear() {
    let fake = cluster();
    let described = |args: &[&str]| {
        let ran = Line::to(&fake).run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        ran.out
    };
    for (name, object) in
        [("web", "service/web"), ("once", "task/once"), ("worker-1", "node/worker-1"), ("1.50.0", "task/1.50.0")]
    {
        assert_eq!(described(&["describe", name]), described(&["describe", object]));
    }
    let fake = Fake::new([
        ("GET /v1/services/web", vec![ok(service("web", 1, 1, ""))]),
        ("GET /v1/nodes/web", vec![ok(node("web", "ready", "a"))]),
        ("GET /v1/services", vec![ok(list(vec![service("web", 1, 1, "")]))]),
    ]);
    insta::assert_snapshot!(transcripts(
        &fake,
        &[&["describe", "web"], &["describe", "wbe"], &["describe", "servce", "web"], &["describe", "pod/web"]]
    ));
}

#[test]
fn descriptions_put_desired_beside_actual() {
    insta::assert_snapshot!(transcripts(
        &cluster(),
        &[
            &["describe", "service", "web"],
            &["describe", "task", "1.50.0"],
            &["describe", "task", "once"],
            &["describe", "node/worker-1"],
        ]
    ));
}

#[test]
fn json_yaml_and_names_are_the_apis_own() {
    let fake = cluster();
    let shown = |args: &[&str]| Line::to(&fake).run(args).out;
    let json: serde_json::Value = serde_json::from_str(&shown(&["get", "task", "1.50.0", "-o", "json"])).unwrap();
    assert_eq!((&json["id"], &json["exit_code"]), (&json!("1.50.0"), &json!(137)));
    let yaml: serde_json::Value = serde_yaml_ng::from_str(&shown(&["get", "service", "web", "-o", "yaml"])).unwrap();
    assert_eq!(yaml, service("web", 3, 2, "1 task waits: 3 nodes: not enough memory"));
    let definition: serde_json::Value = serde_json::from_str(&shown(&["get", "task", "once", "-o", "json"])).unwrap();
    assert_eq!(definition["attempt"]["reason"], "pull_failed");
    assert_eq!(shown(&["get", "services", "-o", "name"]), "service/api\nservice/web\n");
    assert_eq!(shown(&["get", "nodes", "-l", "zone=b", "-o", "name"]), "node/worker-2\n");
    assert_eq!(shown(&["get", "task", "once", "-o", "name"]), "task/once\n");
    let wide = Line::to(&fake).env("ORBIT_FORMAT", "name").run(&["get", "tasks"]).out;
    assert_eq!(wide, "task/1.57.0\ntask/1.57.1\ntask/1.57.2\ntask/1.50.0\n");
    let flag = Line::to(&fake).env("ORBIT_FORMAT", "name").run(&["get", "nodes", "-o", "json"]).out;
    assert!(flag.starts_with('{'), "{flag}");
}

/// What a newer manager says beyond what this program knows is handed on.
#[test]
fn json_keeps_what_is_not_known_here() {
    let mut item = node("worker-1", "ready", "a");
    item["temperature"] = json!(41);
    let fake = Fake::new([("GET /v1/nodes", vec![ok(list(vec![item.clone()]))])]);
    let json: serde_json::Value =
        serde_json::from_str(&Line::to(&fake).run(&["get", "nodes", "-o", "json"]).out).unwrap();
    assert_eq!(json, list(vec![item]));
}

#[test]
fn all_pages_are_read_and_shown_as_one_list() {
    let page = |id: &str, revision: u64, next: Option<&str>| {
        let mut page = list(vec![task(id, "running")]);
        page["revision"] = json!(revision);
        if let Some(next) = next {
            page["continue"] = json!(next);
        }
        vec![ok(page)]
    };
    let fake = Fake::new([
        ("GET /v1/tasks?selector=a%3Db", page("1.1.0", 5, Some("a/1"))),
        ("GET /v1/tasks?selector=a%3Db&continue=a%2F1", page("1.2.0", 6, Some("b"))),
        ("GET /v1/tasks?selector=a%3Db&continue=b", page("1.3.0", 7, None)),
        ("GET /v1/nodes", vec![ok(json!({"revision": 1, "items": [], "continue": "x"}))]),
        ("GET /v1/nodes?continue=x", vec![ok(json!({"revision": 1, "items": [], "continue": "x"}))]),
    ]);
    let ran = Line::to(&fake).run(&["get", "tasks", "-l", "a=b", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let ids: Vec<_> = json["items"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1.1.0", "1.2.0", "1.3.0"]);
    assert_eq!((&json["revision"], json.get("continue")), (&json!(5), None));
    let endless = Line::to(&fake).run(&["get", "nodes"]);
    assert_eq!(endless.code, 2);
    assert!(endless.err.contains("does not end"), "{}", endless.err);
}

#[test]
fn every_command_has_help_with_examples() {
    let fake = Fake::new([]);
    let commands = ["apply", "run", "get", "describe", "delete", "scale", "logs", "node", "completion"];
    let mut all = transcripts(&fake, &[&["--help"]]);
    for command in commands {
        let ran = Line::to(&fake).run(&[command, "--help"]);
        assert!(ran.out.contains("Examples:"), "{command}: {}", ran.out);
        all += &ran.transcript(&[command, "--help"]);
    }
    insta::assert_snapshot!(all);
}

#[test]
fn completion_is_made_for_the_shells() {
    let fake = Fake::new([]);
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef orbit"), ("fish", "complete -c orbit")] {
        let ran = Line::to(&fake).run(&["completion", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains(mark) && ran.out.contains("describe"), "{shell}");
    }
}

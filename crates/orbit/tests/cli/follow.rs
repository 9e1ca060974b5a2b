//! `run` and `logs`: streams, exit codes, Ctrl-C; and the binary itself.

use crate::{Line, data::*, fake::*};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    time::Duration,
};

/// A manager that takes the task `once` and lets it go through these states.
fn running(states: Vec<Reply>, log: Reply) -> Fake {
    Fake::new([
        ("POST /v1/tasks", vec![json(201, submitted("once", true))]),
        ("GET /v1/tasks/1.70.0", states),
        ("GET /v1/tasks/1.70.0/logs?follow=1", vec![log]),
    ])
}

const RUN: &[&str] = &["run", "alpine:3.20", "--name", "once", "--", "echo", "hello"];

#[test]
fn run_follows_the_log_and_ends_with_the_containers_code() {
    let unplaced = {
        let mut task = once("1.70.0", "pending");
        task["node"] = Value::Null;
        task["message"] = json!("no node is registered yet");
        ok(task)
    };
    let away = problem(503, "unavailable", "", "ask again");
    let fake = running(
        vec![unplaced, away, ok(once("1.70.0", "preparing")), ok(once("1.70.0", "running")), ok(ended("1.70.0", 7))],
        log(&["hel", "lo\nbye"], End::Whole),
    );
    let ran = Line::to(&fake).run(RUN);
    assert_eq!((ran.code, ran.out.as_str()), (7, "hello\nbye"));
    assert_eq!(ran.err, "task/once: pending: no node is registered yet\ntask/once: preparing on worker-1\n");
    let asked = &fake.asked()[0];
    let expected = json!({"kind": "Task", "name": "once", "image": "alpine:3.20", "args": ["echo", "hello"]});
    assert_eq!(asked.body, expected);
    assert_eq!(asked.headers["idempotency-key"], "run-0000000000001267");
}

#[test]
fn run_detached_prints_the_id_alone() {
    let fake = running(vec![], log(&[], End::Whole));
    let args = ["run", "-d", "--env", "A=1", "-e", "B=x=y", "--cpu", "0.5", "--memory", "64Mi", "library/Alpine:3"];
    let ran = Line::to(&fake).run(&args);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "1.70.0\n", ""));
    let body = &fake.asked()[0].body;
    assert_eq!(body["env"], json!({"A": "1", "B": "x=y"}));
    let both = json!({"cpu": "500m", "memory": "64Mi"});
    assert_eq!(body["resources"], json!({"cpu": "500m", "memory": "64Mi", "limits": both}));
    assert!(body["name"].as_str().unwrap().starts_with("alpine-"), "{body}");
}

#[test]
fn run_ends_with_125_where_there_is_no_containers_code() {
    let mut failed = once("1.70.0", "rejected");
    failed["reason"] = json!("pull_failed");
    failed["message"] = json!("no such image");
    let fake = running(vec![ok(failed)], log(&[], End::Whole));
    let ran = Line::to(&fake).run(RUN);
    assert_eq!((ran.code, ran.err.as_str()), (125, "orbit: task/once rejected: pull_failed: no such image\n"));
    assert!(!fake.lines().iter().any(|line| line.contains("logs")), "there is no container to have a log");

    let taken = Fake::new([("POST /v1/tasks", vec![problem(409, "name_in_use", "name", "once is taken")])]);
    let ran = Line::to(&taken).run(RUN);
    assert_eq!((ran.code, ran.err.as_str()), (125, "orbit: name: once is taken\n"));

    let away = running(vec![problem(503, "unavailable", "", "ask again")], log(&[], End::Whole));
    let ran = Line { patience: Duration::from_millis(20), ..Line::to(&away) }.run(RUN);
    assert_eq!((ran.code, ran.err.as_str()), (125, "orbit: ask again\n"));
}

#[test]
fn run_says_why_a_container_did_not_end_by_itself_and_survives_a_broken_log() {
    let mut killed = ended("1.70.0", 137);
    killed["reason"] = json!("out_of_memory");
    let fake = running(vec![ok(once("1.70.0", "running")), ok(killed)], log(&["one\n"], End::Broken));
    let ran = Line::to(&fake).run(RUN);
    assert_eq!(ran.code, 137);
    assert!(ran.err.contains("the log is not complete"), "{}", ran.err);
    assert!(ran.err.ends_with("orbit: task/once failed: out_of_memory (137)\n"), "{}", ran.err);
}

#[test]
fn ctrl_c_ends_run_and_says_that_the_task_goes_on() {
    let fake = running(vec![ok(once("1.70.0", "running"))], log(&["hello\n"], End::Open));
    let ran = Line { interrupt_after: Some("hello\n"), ..Line::to(&fake) }.run(RUN);
    assert_eq!((ran.code, ran.out.as_str()), (130, "hello\n"));
    assert_eq!(ran.err, "orbit: task/once goes on; stop it with `orbit delete task once`\n");
}

#[test]
fn logs_are_found_by_id_by_definition_and_by_service() {
    let running = vec![task("1.57.0", "running"), pending("1.57.1"), task("1.57.2", "running"), crashed("1.50.0")];
    let fake = Fake::new([
        ("GET /v1/tasks/1.57.0/logs", vec![log(&["as it is\n\x1b[1mbold"], End::Whole)]),
        ("GET /v1/tasks/1.57.0/logs?timestamps=1", vec![log(&["2026-03-01T12:00:01Z as it is"], End::Whole)]),
        (
            "GET /v1/tasks/1.57.0/logs?tail=2&timestamps=1",
            vec![log(&["2026-03-01T12:00:01Z one\n2026-03-01T12:00:03Z tw", "o"], End::Whole)],
        ),
        ("GET /v1/tasks/1.57.2/logs?tail=2&timestamps=1", vec![log(&["2026-03-01T12:00:02Z three\n"], End::Whole)]),
        // It crashed, and is seen all the same.
        ("GET /v1/tasks/1.50.0/logs?tail=2&timestamps=1", vec![log(&["2026-03-01T12:00:00Z panic\n"], End::Whole)]),
        ("GET /v1/tasks/once", vec![ok(definition("once", "never", ended("1.70.0", 0)))]),
        ("GET /v1/tasks/1.70.0/logs", vec![log(&["done\n"], End::Whole)]),
        ("GET /v1/services/web", vec![ok(service("web", 3, 2, ""))]),
        ("GET /v1/tasks?kind=service&name=web", vec![ok(list(running))]),
        ("GET /v1/services/both", vec![ok(service("both", 1, 0, ""))]),
        ("GET /v1/tasks/both", vec![ok(definition("both", "never", Value::Null))]),
        ("GET /v1/tasks?kind=service&name=both", vec![ok(list(vec![]))]),
    ]);
    let logs = |args: &[&str]| {
        let ran = Line::to(&fake).run(args);
        (ran.code, ran.out, ran.err)
    };
    let said = |code: u8, out: &str, err: &str| (code, out.to_string(), err.to_string());
    assert_eq!(logs(&["logs", "1.57.0"]), said(0, "as it is\n\x1b[1mbold", ""));
    assert_eq!(logs(&["logs", "once"]), said(0, "done\n", ""));
    let merged = "1.50.0  panic\n1.57.0  one\n1.57.2  three\n1.57.0  two\n";
    assert_eq!(logs(&["logs", "--tail", "2", "web"]), said(0, merged, ""));
    let (_, timed, _) = logs(&["logs", "--tail", "2", "--timestamps", "web"]);
    assert!(timed.contains("\n1.57.2  2026-03-01T12:00:02.000000000Z three\n"), "{timed}");
    assert_eq!(logs(&["logs", "-t", "1.57.0"]), said(0, "2026-03-01T12:00:01Z as it is", ""));
    let ambiguous = "orbit: a task and a service are named both: write task/both or service/both\n";
    assert_eq!(logs(&["logs", "both"]), said(2, "", ambiguous));
    assert_eq!(logs(&["logs", "task/both"]), said(2, "", "orbit: task/both has no attempt yet\n"));
    let (code, out, err) = logs(&["logs", "service/both"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.starts_with("service/both has no tasks that have run"), "{err}");
    assert_eq!(logs(&["logs", "nobody"]), said(2, "", "orbit: no task or service is named nobody\n"));
}

/// One that ran, and ended with a panic.
fn crashed(id: &str) -> Value {
    let mut task = task(id, "failed");
    task["exit_code"] = json!(101);
    task
}

/// Attempts of two slots of `web`, and of `once`, by age.
fn attempts() -> Vec<Value> {
    let of_slot = |slot: u32, id: &str, actual: &str| {
        let mut task = task(id, actual);
        task["slot"] = json!(slot);
        task["running_at"] = json!("2026-03-01T11:57:02Z");
        task
    };
    let mut waits = of_slot(1, "1.6.0", "pending");
    waits["running_at"] = Value::Null;
    vec![
        of_slot(0, "1.1.0", "failed"),
        of_slot(1, "1.2.0", "failed"),
        of_slot(0, "1.3.0", "failed"),
        ended("1.4.0", 0),
        of_slot(0, "1.5.0", "running"),
        waits,
    ]
}

#[test]
fn previous_logs_are_those_of_the_attempt_before_the_present_one() {
    let of = |kind: &str| attempts().into_iter().filter(|task| task["kind"] == kind).collect::<Vec<_>>();
    let one = |id: &str| attempts().into_iter().find(|task| task["id"] == id).unwrap();
    let fake = Fake::new([
        ("GET /v1/services/web", vec![ok(service("web", 2, 1, ""))]),
        ("GET /v1/tasks?kind=service&name=web", vec![ok(list(of("service")))]),
        ("GET /v1/tasks/once", vec![ok(definition("once", "never", ended("1.4.0", 0)))]),
        ("GET /v1/tasks?kind=task&name=once", vec![ok(list(of("task")))]),
        ("GET /v1/tasks/1.5.0", vec![ok(one("1.5.0"))]),
        ("GET /v1/tasks/1.1.0", vec![ok(one("1.1.0"))]),
        ("GET /v1/tasks/1.4.0", vec![ok(one("1.4.0"))]),
        ("GET /v1/tasks/1.3.0/logs", vec![log(&["third\n"], End::Whole)]),
        ("GET /v1/tasks/1.3.0/logs?timestamps=1", vec![log(&["2026-03-01T12:00:03Z third\n"], End::Whole)]),
        ("GET /v1/tasks/1.2.0/logs?timestamps=1", vec![log(&["2026-03-01T12:00:02Z second\n"], End::Whole)]),
    ]);
    let logs = |target: &str| Line::to(&fake).run(&["logs", "--previous", target]);
    assert_eq!(logs("web").out, "1.2.0  second\n1.3.0  third\n");
    assert_eq!(logs("1.5.0").out, "third\n");
    for (target, first) in [("1.1.0", "1.1.0"), ("once", "1.4.0")] {
        let ran = logs(target);
        let none = format!("orbit: no attempt before {first} is remembered that has run\n");
        assert_eq!((ran.code, ran.err), (2, none), "{target}");
    }
    assert_eq!(Line::to(&fake).run(&["logs", "-f", "--previous", "web"]).code, 2, "it has ended");
}

#[test]
fn logs_of_all_that_has_a_label_say_of_whom_they_are() {
    let fake = Fake::new([
        ("GET /v1/tasks?selector=team%3Dshop", vec![ok(list(attempts()))]),
        ("GET /v1/tasks/1.1.0/logs?timestamps=1", vec![log(&["first\n"], End::Whole)]),
        ("GET /v1/tasks/1.2.0/logs?timestamps=1", vec![log(&["second\n"], End::Whole)]),
        ("GET /v1/tasks/1.3.0/logs?timestamps=1", vec![log(&["third\n"], End::Whole)]),
        ("GET /v1/tasks/1.4.0/logs?timestamps=1", vec![log(&["done\n"], End::Whole)]),
        ("GET /v1/tasks/1.5.0/logs?timestamps=1", vec![log(&["serves\n"], End::Whole)]),
        ("GET /v1/tasks/1.1.0/logs?follow=1&tail=1", vec![log(&["first\n"], End::Whole)]),
        ("GET /v1/tasks/1.2.0/logs?follow=1&tail=1", vec![log(&["second\n"], End::Whole)]),
        ("GET /v1/tasks/1.3.0/logs?follow=1&tail=1", vec![log(&["third\n"], End::Whole)]),
        ("GET /v1/tasks/1.4.0/logs?follow=1&tail=1", vec![log(&["done\n"], End::Whole)]),
        ("GET /v1/tasks/1.5.0/logs?follow=1&tail=1", vec![log(&["serves\n"], End::Open)]),
        ("GET /v1/tasks?selector=team%3Dnone", vec![ok(list(vec![]))]),
    ]);
    // Without times, as a worker of before gives them, the tasks stand in their order.
    let all = "web 1.1.0  first\nweb 1.2.0  second\nweb 1.3.0  third\nonce 1.4.0  done\nweb 1.5.0  serves\n";
    assert_eq!(Line::to(&fake).run(&["logs", "-l", "team=shop"]).out, all);
    let follow = Line { interrupt_after: Some("serves\n"), ..Line::to(&fake) };
    let followed = follow.run(&["logs", "-f", "--tail", "1", "-l", "team=shop"]);
    assert_eq!(followed.code, 130, "{}", followed.err);
    let mut lines: Vec<_> = followed.out.lines().collect();
    lines.sort_unstable();
    assert!(lines.contains(&"web 1.5.0  serves"), "{lines:?}");
    let none = Line::to(&fake).run(&["logs", "-l", "team=none"]);
    assert!(none.code == 0 && none.err.contains("`orbit get tasks -l team=none`"), "{}", none.err);
    assert_eq!(Line::to(&fake).run(&["logs", "-l", "team=shop", "web"]).code, 2);
    assert_eq!(Line::to(&fake).run(&["logs"]).code, 2);
}

#[test]
fn a_node_that_does_not_answer_does_not_keep_the_other_logs() {
    let running = vec![task("1.1.0", "running"), task("1.1.1", "running"), task("1.1.2", "running")];
    let fake = Fake::new([
        ("GET /v1/services/web", vec![ok(service("web", 3, 3, ""))]),
        ("GET /v1/tasks?kind=service&name=web", vec![ok(list(running))]),
        (
            "GET /v1/tasks/1.1.0/logs?timestamps=1",
            vec![problem(503, "node_unreachable", "", "node worker-1 is not heard")],
        ),
        ("GET /v1/tasks/1.1.1/logs?timestamps=1", vec![log(&["half"], End::Broken)]),
        ("GET /v1/tasks/1.1.2/logs?timestamps=1", vec![log(&["whole\n"], End::Whole)]),
    ]);
    let ran = Line::to(&fake).run(&["logs", "web"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, "1.1.1  half\n1.1.2  whole\n"));
    let expected = "orbit: task 1.1.0: node worker-1 is not heard\n\
                    orbit: the log of task 1.1.1 broke off: the manager or the node went away\n";
    assert_eq!(ran.err, expected);
}

/// A service at a few looks, one of which is not answered; then it is deleted.
fn there_and_gone() -> Vec<Reply> {
    let there = || ok(service("web", 1, 1, ""));
    let (silent, gone) =
        (problem(503, "unavailable", "", "ask again"), problem(404, "not_found", "", "no service is named web"));
    vec![there(), there(), silent, there(), gone]
}

#[test]
fn following_a_service_takes_in_tasks_that_begin_later_and_ends_with_it() {
    let first = vec![task("1.1.0", "running")];
    let later = vec![task("1.1.0", "failed"), task("1.2.0", "running")];
    let fake = Fake::new([
        ("GET /v1/services/web", there_and_gone()),
        ("GET /v1/tasks?kind=service&name=web", vec![ok(list(first)), ok(list(later))]),
        ("GET /v1/tasks/1.1.0/logs?follow=1&tail=1", vec![log(&["old\n"], End::Whole)]),
        ("GET /v1/tasks/1.2.0/logs?follow=1", vec![log(&["new"], End::Whole)]),
    ]);
    let ran = Line::to(&fake).run(&["logs", "-f", "--tail", "1", "web"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let mut lines: Vec<_> = ran.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1.1.0  old", "1.2.0  new"]);
}

/// As after a restart of the manager: each log breaks off, and nobody would hear of that task again.
#[test]
fn following_a_service_goes_on_where_a_log_broke_off() {
    let fake = Fake::new([
        ("GET /v1/services/web", there_and_gone()),
        // Its task has ended meanwhile: what it wrote last is shown all the same.
        (
            "GET /v1/tasks?kind=service&name=web",
            vec![ok(list(vec![task("1.1.0", "running")])), ok(list(vec![task("1.1.0", "failed")]))],
        ),
        ("GET /v1/tasks/1.1.0/logs?follow=1", vec![log(&["one\ntw"], End::Broken)]),
        (
            "GET /v1/tasks/1.1.0/logs?follow=1&since=*",
            vec![problem(503, "node_unreachable", "", "not connected"), log(&["two\n"], End::Whole)],
        ),
    ]);
    let ran = Line::to(&fake).run(&["logs", "-f", "web"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "1.1.0  one\n1.1.0  tw\n1.1.0  two\n"), "{}", ran.err);
    assert_eq!(
        ran.err,
        "orbit: the log of task 1.1.0 broke off: the manager or the node went away; it goes on when they are back, and \
         the last lines may come twice\n"
    );
}

/// A container that somebody removed: its log is not asked for until the service is gone.
#[test]
fn following_a_service_gives_up_the_log_of_what_has_ended_when_it_breaks_off_again() {
    let fake = Fake::new([
        ("GET /v1/services/web", there_and_gone()),
        ("GET /v1/tasks?kind=service&name=web", vec![ok(list(vec![crashed("1.1.0")]))]),
        ("GET /v1/tasks/1.1.0/logs?follow=1", vec![log(&[], End::Broken)]),
        ("GET /v1/tasks/1.1.0/logs?follow=1&since=*", vec![log(&[], End::Broken)]),
    ]);
    let ran = Line::to(&fake).run(&["logs", "-f", "web"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    let said: Vec<_> = ran.err.lines().collect();
    assert!(said.len() == 2 && said[1].ends_with("it has ended, and its log is not asked for any more"), "{said:?}");
}

fn binary(fake: &Fake, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orbit"));
    command.args(args).env("ORBIT_ADDR", &fake.addr).env_remove("ORBIT_FORMAT");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn the_binary_ends_quietly_when_its_reader_goes() {
    let many = (0..20_000).map(|i| task(&format!("1.{i}.0"), "running")).collect();
    let fake = Fake::new([("GET /v1/tasks", vec![ok(list(many))])]);
    let mut child = binary(&fake, &["get", "tasks"]).spawn().unwrap();
    let mut head = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut head).unwrap();
    assert!(head.starts_with("ID "), "{head}");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn the_binary_ends_with_130_on_ctrl_c() {
    let fake = Fake::new([("GET /v1/tasks/1.1.0/logs?follow=1", vec![log(&["one\n"], End::Open)])]);
    let mut child = binary(&fake, &["logs", "-f", "1.1.0"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "one\n");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), rest.as_str()), (Some(130), ""));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

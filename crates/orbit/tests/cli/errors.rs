//! What is said when something is wrong, and the exit codes.

use crate::{Line, data::*, fake::*, transcripts};
use std::io::{self, Write};

#[test]
fn a_manager_that_is_not_there_is_one_line() {
    // Bound and closed again: nobody listens there.
    let addr = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let expected = "orbit: no manager answers at http://MANAGER: start one with `orbit dev`, or set ORBIT_ADDR\n";
    for args in [&["get", "services"][..], &["scale", "web=1"], &["logs", "web"], &["delete", "node", "a", "b"]] {
        let ran = Line::addr(&addr).run(args);
        assert_eq!((ran.code, ran.err.as_str()), (2, expected), "{args:?}");
    }
    let apply = Line { stdin: "kind: Task\nname: a\nimage: b\n", ..Line::addr(&addr) }.run(&["apply", "-f", "-"]);
    assert_eq!((apply.code, apply.err.as_str()), (2, expected));
    let run = Line::addr(&addr).run(&["run", "alpine"]);
    assert_eq!((run.code, run.err.as_str()), (125, expected));
}

#[test]
fn a_flag_is_stronger_than_the_environment() {
    let fake = Fake::new([("GET /v1/nodes", vec![ok(list(vec![]))])]);
    let ran = Line::addr("http://127.0.0.1:1").run(&["get", "nodes", "--addr", &fake.addr]);
    assert_eq!((ran.code, ran.err.as_str()), (0, "no nodes found\n"));
}

#[test]
fn what_the_api_says_is_handed_on_and_a_stranger_is_recognized() {
    let fake = Fake::new([
        ("GET /v1/services/web", vec![problem(404, "not_found", "", "no service is named web")]),
        ("GET /v1/tasks?selector=a%3Db", vec![problem(400, "invalid", "selector", "`a` is not a label")]),
        ("GET /v1/services", vec![text(500, "<html>oops</html>\nmore")]),
        ("GET /v1/nodes", vec![text(200, "hello")]),
        ("GET /v1/nodes/a", vec![text(502, "")]),
        ("GET /v1/tasks/1.2.3", vec![log(&["{\"id\":"], End::Broken)]),
    ]);
    insta::assert_snapshot!(transcripts(
        &fake,
        &[
            &["get", "service", "web"],
            &["get", "tasks", "-l", "a=b"],
            &["get", "services"],
            &["get", "nodes"],
            &["describe", "node", "a"],
            &["get", "task", "1.2.3"],
        ]
    ));
}

#[test]
fn usage_errors_name_what_is_wrong() {
    let fake = Fake::new([]);
    let said = transcripts(
        &fake,
        &[
            &["get", "pods"],
            &["get", "service/web", "api"],
            &["get", "services", "--node", "a"],
            &["get", "service", "web", "-l", "a=b"],
            &["get", "services", "-l", "=a"],
            &["get", "services", "-o", "xml"],
            &["describe", "service"],
            &["apply"],
            &["get", "service", "web", "-w"],
            &["exec", "web"],
            &["events", "--since", "yesterday"],
            &["apply", "-f", "x", "-l", "a=b"],
            &["apply", "-f", "x", "--timeout", "5"],
            &["run", "alpine", "--cpu", "250Mi"],
            &["run", "alpine", "--env", "=x"],
            &["run", "alpine", "--name", "Bad_Name"],
            &["scale", "web"],
            &["logs", "node/a"],
            &["delete"],
            &["get", "nodes", "--addr", "https://a"],
        ],
    );
    insta::assert_snapshot!(said);
    assert_eq!(fake.lines(), [""; 0]);
    let format = Line::to(&fake).env("ORBIT_FORMAT", "xml").run(&["get", "nodes"]);
    assert_eq!(format.code, 2);
    assert!(format.err.starts_with("orbit: ORBIT_FORMAT: `xml`"), "{}", format.err);
}

struct Closed;
impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
struct Full;
impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_enough_is_no_error_and_a_full_disk_is() {
    let fake = Fake::new([
        ("GET /v1/tasks", vec![ok(list(vec![task("1.1.0", "running")]))]),
        ("GET /v1/tasks/1.1.0/logs?follow=1", vec![log(&["one\n"], End::Open)]),
    ]);
    for args in [&["get", "tasks"][..], &["logs", "-f", "1.1.0"], &["--help"], &["completion", "bash"]] {
        let ran = Line::to(&fake).run_on(args, &mut Closed);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
    }
    let full = Line::to(&fake).run_on(&["get", "tasks"], &mut Full);
    assert_eq!(full.code, 2);
    assert!(full.err.starts_with("orbit: writing the output: "), "{}", full.err);
}

#[test]
fn every_code_has_a_page_and_help_is_as_it_was() {
    let line = || Line::addr("http://127.0.0.1:1");
    let listed = line().run(&["help", "errors"]);
    assert_eq!((listed.code, listed.err.as_str()), (0, ""));
    for page in orbit_api::errors::pages() {
        assert!(listed.out.lines().any(|line| line.starts_with(&format!("{} ", page.code))), "{}", page.code);
        let shown = line().run(&["help", "errors", page.code]);
        assert_eq!(shown.code, 0);
        for text in [page.means, page.example, page.remedy] {
            assert!(shown.out.contains(text), "{}", shown.out);
        }
    }
    let unknown = line().run(&["help", "errors", "nothing"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (2, ""));
    assert!(unknown.err.contains("`nothing`"));
    assert!(line().run(&["help", "apply"]).out.contains("orbit apply -f web.yaml"), "clap's own help goes on");
    assert!(line().run(&["help"]).out.contains("orbit help errors"));
}

#[test]
fn nothing_that_somebody_else_says_acts_on_the_terminal() {
    let bad = "x\u{1b}[2J\u{9b}31m\u{202e}\r\ny";
    let of_service = service("web", 3, 3, bad);
    let fake = Fake::new([
        ("GET /v1/services", vec![ok(list(vec![of_service.clone()])); 4]),
        ("GET /v1/services/none", vec![problem(404, "not_found", bad, bad)]),
        ("GET /v1/services/html", vec![text(500, bad)]),
    ]);
    for args in [
        &["get", "services"][..],
        &["get", "services", "-o", "json"],
        &["get", "services", "-o", "yaml"],
        &["get", "services", "-o", "name"],
        &["get", "service", "none"],
        &["get", "service", "html"],
    ] {
        let ran = Line::to(&fake).run(args);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(!said.is_empty() && !said.contains(|c: char| c.is_control() && c != '\n'), "{args:?}: {said:?}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&Line::to(&fake).run(&["get", "services", "-o", "json"]).out).unwrap_or_default();
    assert!(json.is_null() || json["items"][0]["actual"]["message"] == bad, "data stay the same");
}

#[test]
fn an_answer_that_does_not_end_does_not_fill_the_memory() {
    let piece = "x".repeat(1 << 20);
    let endless: Vec<&str> = std::iter::repeat_n(piece.as_str(), 70).collect();
    let fake = Fake::new([
        ("GET /v1/services/web", vec![log(&endless, End::Open)]),
        ("GET /v1/services?watch=1", vec![log(&endless, End::Open), problem(404, "not_found", "", "gone")]),
    ]);
    let ran = Line::to(&fake).run(&["get", "service", "web"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("is larger than 64 MiB"), "{}", ran.err);
    let ran = Line::to(&fake).run(&["get", "services", "-w"]);
    assert!(ran.err.contains("gone"), "the stream was given up: {}", ran.err);
}

#[test]
fn words_of_other_tools_are_answered_with_what_does_the_same() {
    for (args, instead) in [
        (&["rollback", "web"][..], "orbit rollout undo NAME"),
        (&["diff", "-f", "web.yaml"], "orbit apply -f FILE --dry-run"),
        (&["status"], "orbit rollout status NAME"),
        (&["wait", "web"], "orbit rollout status NAME"),
        (&["get", "pods"], "orbit get tasks"),
    ] {
        let ran = Line::addr("http://127.0.0.1:1").run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(ran.err.contains(instead), "{args:?}: {}", ran.err);
    }
    let ran = Line::addr("http://127.0.0.1:1").run(&["get", "nonsense"]);
    assert!(!ran.err.contains("the same here"), "{}", ran.err);
}

#[test]
fn a_slip_of_the_fingers_is_answered_with_what_was_meant() {
    let missing = |what: &str| vec![problem(404, "not_found", "", &format!("there is no {what}"))];
    let fake = Fake::new([
        ("GET /v1/services", vec![ok(list(vec![service("api", 1, 1, ""), service("web", 1, 1, "")]))]),
        ("GET /v1/tasks?kind=task", vec![ok(list(vec![once("1.70.0", "running")]))]),
        ("GET /v1/nodes", vec![ok(list(vec![node("worker-1", "ready", "a")]))]),
        ("GET /v1/services/wbe", missing("service `wbe`")),
        ("DELETE /v1/services/wbe", missing("service `wbe`")),
        ("POST /v1/services/wbe/scale", missing("service `wbe`")),
        ("POST /v1/services/wbe/rollout/undo", missing("service `wbe`")),
        ("GET /v1/services/mail", missing("service `mail`")),
        ("GET /v1/tasks/onec", missing("task `onec`")),
        ("GET /v1/tasks/1.2.3", missing("task `1.2.3`")),
        ("POST /v1/nodes/worker1/drain", missing("node `worker1`")),
    ]);
    let said = transcripts(
        &fake,
        &[
            &["get", "service", "wbe"],
            &["delete", "service", "wbe"],
            &["scale", "wbe=3"],
            &["rollout", "undo", "wbe"],
            &["get", "service", "mail"],
            &["get", "task", "onec"],
            &["get", "task", "1.2.3"],
            &["node", "drain", "worker1"],
            &["logs", "wbe"],
            &["logs", "task/onec"],
            &["get", "servics"],
            &["get", "evnts"],
            &["delete", "service", "nod/worker-1"],
            &["get", "tasks", "--state", "runing"],
            &["rollout", "stats", "web"],
            &["help", "errors", "not_fond"],
        ],
    );
    insta::assert_snapshot!(said);
    let manifest = "kind: Service\nname: web\nimage: nginx:1.27\nreplcas: 3\n";
    let ran = Line { stdin: manifest, ..Line::to(&fake) }.run(&["apply", "-f", "-"]);
    assert!(ran.err.contains("`replcas` (did you mean `replicas`?)"), "{}", ran.err);
}

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

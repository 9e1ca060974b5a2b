//! Compose files as manifests: which file is read, with which variables, and what is said of what cannot be carried over.

use crate::{Line, Ran, data::*, fake::*};
use serde_json::json;
use std::{fs, path::Path};

const COMPOSE: &str = "services:\n  web:\n    image: web:${TAG}\n    restart: always\n    env_file: app.env\n";

/// Writes files into a folder of their own.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("it can be written");
    }
    folder
}

/// No manager is needed.
fn convert(file: &Path, env: &[(&'static str, &'static str)], more: &[&str]) -> Ran {
    let file = file.display().to_string();
    let line = env.iter().fold(Line::addr("http://127.0.0.1:1"), |line, (key, value)| line.env(key, value));
    let mut ran = line.run(&[&["compose", "convert", "-f", &file, "--project", "shop"], more].concat());
    ran.err = ran.err.replace(&file, "FILE");
    ran
}

#[test]
fn a_compose_file_is_printed_as_manifests_that_can_be_applied() {
    let folder = folder(&[("compose.yaml", COMPOSE), (".env", "TAG=1\nMODE=dev\n"), ("app.env", "A=$MODE\n")]);
    let file = folder.path().join("compose.yaml");
    let ran = convert(&file, &[], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let expected = "---\nkind: Service\nname: web\nlabels:\n  project: shop\nimage: web:1\nenv:\n  A: dev\n";
    assert_eq!(ran.out, expected);
    let read = orbit_api::manifest::read_all(&ran.out).expect("these are manifests");
    assert_eq!(read.len(), 1);
    // What the environment says counts more than the file, and another file takes the place of `.env`.
    assert!(convert(&file, &[("TAG", "9")], &[]).out.contains("image: web:9"));
    let other = folder.path().join("other.env");
    fs::write(&other, "TAG=2").expect("it can be written");
    let ran = convert(&file, &[("MODE", "test")], &["--env-file", &other.display().to_string()]);
    assert!(ran.out.contains("image: web:2") && ran.out.contains("A: test"), "{}{}", ran.out, ran.err);
}

#[test]
fn what_cannot_be_said_is_refused_all_of_it_by_its_line() {
    let text = "services:\n  db:\n    image: postgres\n    restart: always\n    volumes: [data:/data]\n    pid: host\nvolumes: {data: {driver: rclone}}\n";
    let folder = folder(&[("compose.yaml", text)]);
    let file = folder.path().join("compose.yaml");
    let ran = convert(&file, &[], &[]);
    let said = "FILE:5: services.db.volumes: `data` cannot be had: see `volumes` of the file\n\
                FILE:6: services.db.pid: namespaces of others are not built\n\
                FILE:7: volumes.data.driver: volumes of drivers are not built yet\n\
                orbit: FILE: 3 things of it cannot be said; --lenient leaves them out\n";
    assert_eq!((ran.code, ran.err.as_str(), ran.out.as_str()), (2, said, ""));
    let lenient = convert(&file, &[], &["--lenient"]);
    assert_eq!(lenient.code, 0);
    assert!(lenient.err.starts_with("warning: FILE:5: services.db.volumes: "), "{}", lenient.err);
    assert!(lenient.out.contains("image: postgres"), "{}", lenient.out);
}

#[test]
fn a_text_comes_from_standard_input_and_what_is_none_is_said_with_its_line() {
    let line = |stdin| Line { stdin, ..Line::addr("http://127.0.0.1:1") };
    let ran = line("services: {web: {image: web, restart: always}}").run(&["compose", "convert", "-f", "-", "-p", "x"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("project: x"), "{}", ran.out);
    let ran = line("services: [").run(&["compose", "convert", "-f", "-"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.starts_with("orbit: -:2: "), "{}", ran.err);
    let absent = convert(Path::new("/not-there/compose.yaml"), &[], &[]);
    assert_eq!((absent.code, absent.err.as_str()), (2, "orbit: FILE: No such file or directory (os error 2)\n"));
}

/// What a manager is asked for that a compose file says.
#[test]
fn a_compose_file_is_applied_pruned_and_deleted_as_its_manifests_are() {
    let text = "name: shop\nservices:\n  web: {image: web, restart: always}\n  once: {image: job, restart: \"no\"}\n";
    let of_project = "GET /v1/services?selector=project%3Dshop";
    let fake = Fake::new([
        ("PUT /v1/services/web", vec![json(201, stored("web", true, true))]),
        ("POST /v1/tasks", vec![json(201, submitted("once", true))]),
        (of_project, vec![ok(list(vec![service("web", 1, 1, ""), service("old", 1, 1, "")]))]),
        ("DELETE /v1/services/web", vec![ok(json!({}))]),
        ("DELETE /v1/services/old", vec![ok(json!({}))]),
        ("DELETE /v1/tasks/once", vec![ok(json!({}))]),
    ]);
    let line = |args: &[&str]| Line { stdin: text, ..Line::to(&fake) }.run(args);
    let ran = line(&["apply", "-f", "-", "--prune"]);
    assert_eq!(ran.out, "service/web created\ntask/once created\nservice/old deleted\n", "{}", ran.err);
    let body = json!({"kind": "Service", "name": "web", "image": "web", "labels": {"project": "shop"}});
    assert_eq!(fake.asked()[0].body, body);
    let ran = line(&["delete", "-f", "-"]);
    assert_eq!((ran.code, fake.lines().last().map(String::as_str)), (0, Some("DELETE /v1/tasks/once")), "{}", ran.err);
}

#[test]
fn nothing_of_a_compose_file_is_sent_that_cannot_all_be_said() {
    let text =
        "services:\n  web: {image: web, restart: always}\n  db: {image: db, restart: always, volumes: [data:/data]}\n";
    let fake = Fake::new([("PUT /v1/services/web", vec![ok(stored("web", true, true))])]);
    let line = |args: &[&str]| Line { stdin: text, ..Line::to(&fake) }.run(args);
    let ran = line(&["apply", "-f", "-"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("standard input:3: services.db.volumes: "), "{}", ran.err);
    assert!(ran.err.ends_with("orbit: standard input: 1 thing of it cannot be said; --lenient leaves it out\n"));
    assert_eq!(fake.lines(), [""; 0]);
}

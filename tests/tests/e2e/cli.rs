//! The command line against real daemons.

use crate::timeless;
use orbit_tests::{Cluster, engine};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    process::Output,
};

const WEB: &str = "
kind: Service
name: web
replicas: 2
image: orbit-web:1
labels: { team: shop }
resources: { cpu: 50m, memory: 32Mi }
ports: [{ name: http, container: 80 }]
stop: { grace: 2s }
---
kind: Task
name: import
image: orbit-web:1
args: [\"exit\", \"0\"]
resources: { cpu: 50m, memory: 32Mi }
";

/// What a command printed that was to succeed.
fn done(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout).expect("the command line writes UTF-8")
}

#[test]
fn a_service_from_apply_to_delete() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let orbit = |args: &[&str]| done(cluster.orbit(args, ""));
    let file = cluster.file("web.yaml", WEB);
    let applied = orbit(&["apply", "-f", &file, "--wait", "--timeout", "30s"]);
    assert_eq!(applied, "service/web created\ntask/import created\n");
    let containers = cluster.running_containers("web");
    assert_eq!(containers.len(), 2, "it has waited");
    assert_eq!(orbit(&["apply", "-f", &file]), "service/web unchanged\ntask/import unchanged\n");

    get_in_every_form(&cluster, &orbit);
    let described = orbit(&["describe", "service", "web"]);
    assert!(described.contains("team=shop") && described.contains("Running:      2"), "{described}");
    let task = containers[0].task();
    assert!(orbit(&["describe", "task", task]).contains("worker-0"));
    assert!(orbit(&["describe", "task/import"]).contains("complete"));
    assert!(orbit(&["describe", "node", "worker-0"]).contains("ready"));
    let log = orbit(&["logs", task]);
    assert!(log.contains("listening on port 80"), "{log}");
    let logs = orbit(&["logs", "web"]);
    assert!(containers.iter().all(|c| logs.contains(&format!("{}  listening", c.task()))), "{logs}");

    assert_eq!(orbit(&["scale", "web=1"]), "service/web scaled to 1\n");
    cluster.wait_running("web", 1);
    assert_eq!(orbit(&["delete", "service", "web"]), "service/web deleted\n");
    assert_eq!(orbit(&["delete", "task/import"]), "task/import deleted\n");
    cluster.wait_for("nothing is left behind", || match cluster.containers() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}

fn get_in_every_form(cluster: &Cluster, orbit: &impl Fn(&[&str]) -> String) {
    for (kind, head, wide) in [
        ("services", "NAME  DESIRED  READY", "IMAGE"),
        ("tasks", "ID", "VERSION"),
        ("nodes", "NAME      STATE", "ARCH"),
    ] {
        let table = orbit(&["get", kind]);
        assert!(table.starts_with(head) && table.lines().count() >= 2, "{table}");
        assert!(orbit(&["get", kind, "-o", "wide"]).lines().next().is_some_and(|head| head.contains(wide)));
        let mut json: Value = serde_json::from_str(&orbit(&["get", kind, "-o", "json"])).expect("it is JSON");
        let mut own = cluster.ask("GET", &format!("/v1/{kind}"), "").expect("the manager answers").json();
        assert_eq!(timeless(json["items"].take()), timeless(own["items"].take()), "the API's own objects");
        let yaml = orbit(&["get", kind, "-o", "yaml"]);
        assert!(yaml.contains("items:\n- "), "{yaml}");
        for name in orbit(&["get", kind, "-o", "name"]).lines() {
            assert!(orbit(&["get", name, "-o", "name"]).starts_with(name), "a name is a target again");
        }
    }
    assert_eq!(orbit(&["get", "services", "-l", "team=shop", "-o", "name"]), "service/web\n");
    assert_eq!(orbit(&["get", "services", "-l", "team=other", "-o", "name"]), "");
    assert_eq!(orbit(&["get", "tasks", "--service", "web", "--state", "running", "-o", "name"]).lines().count(), 2);
    let nodes = orbit(&["node", "ls"]);
    assert!(nodes.contains("worker-0") && nodes.contains("ready"), "{nodes}");
}

/// Every field of a manifest, and one service without most of them.
const FULL: &str = "
kind: Service
name: full
replicas: 3
image: nginx:1.27
pull: always
command: [nginx]
args: [-g, 'daemon off;']
env: { MODE: production, EMPTY: '', 'NULL': 'null' }
labels: { team: shop }
resources: { cpu: 250m, memory: 128Mi, pids: 64 }
ports: [{ name: http, container: 80 }, { name: fixed, container: 81, host: 20100 }]
placement: { strategy: spread, constraints: ['node.labels.disk == ssd'] }
restart: { policy: always, backoff: { initial: 2s, max: 5m, reset_after: 10m, jitter: 20 } }
update: { max_surge: 2, max_unavailable: 1, min_healthy: 30s, canary: 1, deadline: 5m, max_failures: 5, on_failure: pause }
health: { http: { port: http, path: /healthz }, interval: 7s, timeout: 1s, retries: 5, start_period: 20s }
ready: { command: [test, -f, /ready] }
disconnect: { replace_after: 60s, keep: original, fence: timed }
stop: { delay: 5s, signal: SIGQUIT, grace: 12s }
---
kind: Service
name: plain
image: nginx:1.27
---
kind: Task
name: import
image: nginx:1.27
";

#[test]
fn what_get_prints_is_applied_without_a_change() {
    let cluster = Cluster::without_engine();
    let orbit = |args: &[&str], stdin: &str| done(cluster.orbit(args, stdin));
    orbit(&["apply", "-f", "-"], FULL);
    for (printed, unchanged) in [
        (orbit(&["get", "service", "full", "-o", "yaml"], ""), &["service/full"][..]),
        (orbit(&["get", "service", "full", "-o", "json"], ""), &["service/full"]),
        (orbit(&["get", "service", "plain", "-o", "yaml"], ""), &["service/plain"]),
        (orbit(&["get", "task", "import", "-o", "yaml"], ""), &["task/import"]),
        (orbit(&["get", "services", "-o", "yaml"], ""), &["service/full", "service/plain"]),
    ] {
        let expected: String = unchanged.iter().map(|object| format!("{object} unchanged\n")).collect();
        assert_eq!(orbit(&["apply", "-f", "-"], &printed), expected, "{printed}");
        let would_be: String = unchanged.iter().map(|object| format!("{object} would be unchanged\n")).collect();
        assert_eq!(orbit(&["apply", "-f", "-", "--dry-run", "--exit-code"], &printed), would_be);
    }
}

#[test]
fn run_says_when_the_node_of_its_task_is_unreachable_and_when_it_is_back() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 1);
    let mut run = cluster.orbit_spawn(&[
        "run",
        "--name",
        "quiet",
        "--cpu",
        "50m",
        "--memory",
        "32Mi",
        "orbit-web:1",
        "--",
        "sleep",
    ]);
    drop(run.stdin.take());
    let id = cluster.wait_for("it runs", || match &cluster.tasks("kind=task&name=quiet")[..] {
        [task] if task.actual == "running" => Ok(task.id.clone()),
        other => Err(format!("{other:?}")),
    });
    let said = BufReader::new(run.stderr.take().expect("it is piped")).lines();
    let mut said = said.map(|line| line.expect("it is text"));
    cluster.workers[0].daemon.kill();
    let unreachable = said.find(|line| line.contains("unreachable")).expect("the silence is said");
    assert!(
        unreachable.starts_with("task/quiet: running on ") && unreachable.contains(": node unreachable"),
        "{unreachable}"
    );
    cluster.workers[0].daemon.start();
    let back = said.find(|line| line.starts_with("task/quiet: running")).expect("the return is said");
    assert!(!back.contains("unreachable"), "{back}");
    cluster.delete(&format!("/v1/tasks/{id}"));
    let last = said.last().expect("the end is said");
    assert!(last.starts_with("orbit: task/quiet stopped"), "{last}");
    assert_eq!(run.wait().expect("it ends").code(), Some(143));
}

#[test]
fn run_ends_with_the_containers_code_and_logs_follow_to_the_end() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let small = ["--cpu", "50m", "--memory", "32Mi"];
    let run = |more: &[&str]| cluster.orbit(&[&["run"], &small[..], more].concat(), "");
    let code = |output: &Output| output.status.code();
    assert_eq!(code(&run(&["orbit-web:1", "--", "exit", "7"])), Some(7));
    let missing = run(&["127.0.0.1:9/nothing:1"]);
    assert_eq!(code(&missing), Some(125));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("pull_failed"));

    let id = done(run(&["--name", "talks", "--detach", "orbit-web:1", "--", "spam", "100"]));
    cluster.wait_for("it runs", || match cluster.running_containers("talks").len() {
        1 if cluster.task(id.trim()).is_some_and(|task| task.actual == "running") => Ok(()),
        other => Err(format!("{other} containers")),
    });
    let mut follows = cluster.orbit_spawn(&["logs", "-f", id.trim()]);
    drop(follows.stdin.take());
    cluster.wait_for("all of it is there", || {
        let tail = cluster.orbit(&["logs", "--tail", "1", "talks"], "");
        let tail = String::from_utf8_lossy(&tail.stdout).into_owned();
        if tail == "line 100\n" { Ok(()) } else { Err(tail) }
    });
    assert!(follows.try_wait().expect("it can be waited for").is_none(), "it follows while the task runs");
    cluster.delete(&format!("/v1/tasks/{}", id.trim()));
    let followed = done(follows.wait_with_output().expect("its output can be read"));
    let lines: Vec<String> = (1..=100).map(|n| format!("line {n}")).collect();
    assert_eq!(followed.lines().collect::<Vec<_>>(), lines);
}

//! The daemons as their operators have them: settings, logs, signals, the supervisor.

use crate::{identities, web};
use orbit_tests::{Cluster, Daemon, binaries, engine};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Output},
    time::Duration,
};

/// No engine is there.
const NOWHERE: &str = "unix:///nowhere/docker.sock";

/// A worker that is not the cluster's.
fn lone_worker(cluster: &Cluster, name: &str) -> Daemon {
    let state = cluster.scratch().join(name);
    let args = vec![
        format!("--manager=http://127.0.0.1:{}", cluster.workers_port()),
        format!("--name={name}"),
        format!("--state-dir={}", state.display()),
    ];
    Daemon::new(&binaries().worker, args, cluster.scratch().join(format!("{name}.log")))
}

/// Commands that go on for ever; ended when dropped.
struct Readers(Vec<Child>);

impl Drop for Readers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_daemon_that_is_read_from_ends_when_it_is_asked_to_and_its_containers_stay() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("web", 2));
    let before = cluster.wait_running("web", 2);
    let lines: [&[&str]; 5] = [
        &["get", "tasks", "-w"],
        &["events", "-f"],
        &["logs", "-f", "web"],
        &["logs", "-f", before[0].task()],
        &["exec", "-i", "web", "--", "/web", "cat"],
    ];
    let mut readers = Readers(lines.iter().map(|args| cluster.orbit_spawn(args)).collect());
    for (child, line) in readers.0.iter_mut().zip(lines) {
        let _ = child.stdin.as_mut().expect("it is piped").write_all(b"hello\n");
        let mut first = String::new();
        let read = BufReader::new(child.stdout.as_mut().expect("it is piped")).read_line(&mut first);
        assert!(read.is_ok() && !first.is_empty(), "{line:?} is served");
    }
    assert_eq!(cluster.manager.terminate().code(), Some(0));
    assert_eq!(cluster.workers[0].daemon.terminate().code(), Some(0));
    assert_eq!(
        identities(&cluster.wait_for("they run", || Ok::<_, String>(cluster.containers()))),
        identities(&before)
    );
    cluster.manager.start();
    cluster.workers[0].daemon.start();
    cluster.wait_manager();
    cluster.wait_ready(1);
    assert_eq!(identities(&cluster.wait_running("web", 2)), identities(&before), "the same containers and processes");
    drop(readers);
}

#[test]
fn a_worker_with_several_addresses_finds_the_one_that_answers_and_finds_it_again() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 0);
    // Nobody listens at the first; the second is the manager's.
    let nobody = format!("http://127.0.0.1:{}", cluster.spare_port(0));
    let state = cluster.scratch().join("several");
    let args = vec![
        format!("--manager={nobody},{}", cluster.workers_url()),
        "--name=several".to_string(),
        format!("--state-dir={}", state.display()),
    ];
    let mut worker = Daemon::new(&binaries().worker, args, cluster.scratch().join("several.log"));
    worker.start();
    cluster.wait_ready(1);
    let works = format!("works for the manager at {}", cluster.workers_url());
    let log = worker.log();
    assert!(log.contains(&format!("no manager at {nobody}")) && log.contains(&works), "{log}");
    cluster.manager.kill();
    cluster.manager.start();
    cluster.wait_manager();
    cluster.wait_ready(1);
    cluster.wait_for("it works for the manager again", || match worker.log() {
        log if log.matches(&works).count() >= 2 => Ok(()),
        log => Err(log),
    });
    assert_eq!(worker.terminate().code(), Some(0));
}

#[test]
fn whoever_asks_twice_does_not_wait() {
    let mut cluster = Cluster::without_engine();
    let _reader = Readers(vec![cluster.orbit_spawn(&["events", "-f"])]);
    cluster.manager.ask_to_end();
    cluster.manager.ask_to_end();
    let code = cluster.manager.wait_end().code();
    assert!(matches!(code, Some(0 | 143)), "{code:?}: as the signal would have ended it, or in time");
}

#[test]
fn a_worker_without_an_engine_ends_as_well() {
    let cluster = Cluster::without_engine();
    let mut worker = lone_worker(&cluster, "lone");
    worker.env("DOCKER_HOST", NOWHERE);
    worker.start();
    cluster.wait_for("it says what it waits for", || match worker.log() {
        log if log.contains("no container engine answers") => Ok(()),
        log => Err(log),
    });
    assert_eq!(worker.terminate().code(), Some(0));
}

/// Where a daemon's supervisor would listen.
struct Supervisor {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Supervisor {
    fn of(daemon: &mut Daemon, path: &Path) -> Supervisor {
        let socket = UnixDatagram::bind(path).expect("a socket in the test's own folder");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time that is none would be refused");
        daemon.env("NOTIFY_SOCKET", path.to_str().expect("a temporary folder has a plain name"));
        Supervisor { socket, heard: Vec::new() }
    }

    /// Waits until a line is said; gives the whole message.
    fn wait_for(&mut self, line: &str) -> String {
        loop {
            let mut buffer = [0; 4096];
            let read = self.socket.recv(&mut buffer);
            let read = read.unwrap_or_else(|error| panic!("`{line}` is not said: {error}; heard {:?}", self.heard));
            let message = String::from_utf8_lossy(&buffer[..read]).into_owned();
            self.heard.push(message.clone());
            if message.lines().any(|said| said.starts_with(line)) {
                return message;
            }
        }
    }
}

#[test]
fn the_supervisor_is_told_when_the_manager_leads_and_when_it_stops() {
    let mut cluster = Cluster::without_engine();
    cluster.manager.kill();
    let path = cluster.scratch().join("notify");
    let mut supervisor = Supervisor::of(&mut cluster.manager, &path);
    cluster.manager.start();
    let ready = supervisor.wait_for("READY=1");
    assert!(ready.contains("STATUS=leads; 0 of 0 nodes ready"), "{ready}");
    let answer = cluster.ask("GET", "/readyz", "").expect("it listens");
    assert_eq!(answer.status, 200, "it leads: {}", answer.text());
    assert_eq!(supervisor.heard.iter().filter(|said| said.contains("READY=1")).count(), 1);
    assert_eq!(cluster.manager.terminate().code(), Some(0));
    supervisor.wait_for("STOPPING=1");
}

#[test]
fn the_supervisor_is_told_what_a_worker_waits_for() {
    let Some(_engine) = engine() else { return };
    let mut cluster = Cluster::without_engine();
    let mut worker = lone_worker(&cluster, "lone");
    let (path, socket) = (cluster.scratch().join("notify"), cluster.scratch().join("docker.sock"));
    worker.env("DOCKER_HOST", &format!("unix://{}", socket.display()));
    let mut supervisor = Supervisor::of(&mut worker, &path);
    cluster.manager.kill();
    worker.start();
    let ready = supervisor.wait_for("READY=1");
    assert!(ready.contains("STATUS=waits for the container engine"), "{ready}");
    std::os::unix::fs::symlink("/var/run/docker.sock", &socket).expect("the test's own folder");
    let alone = supervisor.wait_for("STATUS=no manager at ");
    assert!(alone.contains("onnection refused") && alone.contains("still trying"), "{alone}");
    cluster.manager.start();
    supervisor.wait_for("STATUS=works for the manager at ");
    let refused = worker.log().lines().filter(|line| line.contains("onnection refused")).count();
    assert_eq!(refused, 1, "once, and not for every attempt: {}", worker.log());
    assert_eq!(worker.terminate().code(), Some(0));
    supervisor.wait_for("STOPPING=1");
}

/// Each line is an object with a time, a level and a message. Gives the messages.
pub fn messages(log: &str) -> Vec<String> {
    let message = |line: &str| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |key: &str| object[key].as_str().unwrap_or_else(|| panic!("no {key}: {line}")).to_string();
        humantime::parse_rfc3339(&text("timestamp")).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&&*text("level")), "{line}");
        text("message")
    };
    log.lines().map(message).collect()
}

#[test]
fn every_line_of_a_log_in_json_is_an_object() {
    let mut cluster = Cluster::without_engine();
    let mut worker = lone_worker(&cluster, "lone");
    worker.env("DOCKER_HOST", NOWHERE);
    cluster.manager.terminate();
    let text_lines = cluster.manager.log().lines().count();
    for daemon in [&mut cluster.manager, &mut worker] {
        daemon.env("ORBIT_LOG_FORMAT", "json");
        daemon.env("RUST_LOG", "debug");
        daemon.start();
    }
    cluster.wait_manager();
    cluster.wait_for("the worker has said something", || match worker.log().is_empty() {
        true => Err("nothing".to_string()),
        false => Ok(()),
    });
    assert_eq!((cluster.manager.terminate().code(), worker.terminate().code()), (Some(0), Some(0)));
    let log = cluster.manager.log();
    let said = messages(&log.lines().skip(text_lines).map(|line| format!("{line}\n")).collect::<String>());
    assert!(said.iter().any(|message| message == "listening"), "{said:?}");
    assert!(messages(&worker.log()).iter().any(|message| message.contains("no container engine answers")));
}

fn start(program: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(program).args(args).envs(env.iter().copied()).output().expect("the daemon can be run")
}

#[test]
fn what_keeps_a_daemon_from_starting_is_one_object_too() {
    let cluster = Cluster::without_engine();
    let state = format!("--state-dir={}", cluster.manager_dir().display());
    let refused = start(&binaries().manager, &[&state, "--log-format=json"], &[]);
    assert_eq!(refused.status.code(), Some(2));
    let said = messages(&String::from_utf8_lossy(&refused.stderr));
    assert!(said.last().is_some_and(|message| message.contains("in use by another process")), "{said:?}");
}

#[test]
fn a_file_is_weaker_than_the_environment_and_that_than_a_flag() {
    let mut cluster = Cluster::without_engine();
    cluster.manager.kill();
    let (users, workers) = (cluster.url().replace("http://", ""), cluster.workers_port());
    let file = |listen: &str| {
        let state = cluster.manager_dir().display().to_string();
        let text = format!("listen = '{listen}'\nlisten_workers = '127.0.0.1:{workers}'\nstate_dir = '{state}'\n");
        cluster.file("manager.toml", &text)
    };
    let log = cluster.scratch().join("configured.log");
    let configured =
        |listen: &str| Daemon::new(&binaries().manager, vec![format!("--config={}", file(listen))], log.clone());
    let mut by_file = configured(&users);
    by_file.start();
    cluster.wait_manager();
    drop(by_file);
    // Nobody may listen there, so it is seen who was asked.
    let mut by_environment = configured("192.0.2.1:1");
    by_environment.env("ORBIT_LISTEN", &users);
    by_environment.start();
    cluster.wait_manager();
    drop(by_environment);
    let path = file("127.0.0.1:1");
    let refused =
        start(&binaries().manager, &["--config", &path, "--listen", "192.0.2.1:1"], &[("ORBIT_LISTEN", &users)]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("cannot listen on 192.0.2.1:1") && said.contains("--listen"), "{said}");
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_line_and_nothing_is_started() {
    let cluster = Cluster::without_engine();
    let cases = [
        (
            &binaries().manager,
            "# ours\nlisten = '127.0.0.1:0'\nlisten_worker = 'x'\n",
            "daemon.toml:3: unknown key `listen_worker`: there are listen, listen_workers, ",
        ),
        (&binaries().manager, "\nlisten = 'here'\n", "daemon.toml:2: invalid value 'here' for `listen`"),
        (
            &binaries().worker,
            "publish = '127.0.0.1'\nports = '9-1'\n",
            "daemon.toml:2: invalid value '9-1' for `ports`",
        ),
        (
            &binaries().worker,
            "manager = 'https://a:1'\n",
            "daemon.toml:1: invalid value 'https://a:1' for `manager`: write http://HOST:PORT",
        ),
        (&binaries().worker, "name = 'No_Name'\n", "--name: "),
        (&binaries().worker, "[label]\ndisk = 'ssd'\n", "daemon.toml:1: unknown key `label`: there are"),
    ];
    for (program, text, expected) in cases {
        let refused = start(program, &["--config", &cluster.file("daemon.toml", text)], &[]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(expected) && said.lines().count() == 1, "{said}");
    }
    let refused = start(&binaries().worker, &["--config", "/nowhere.toml"], &[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("/nowhere.toml: No such file"), "{refused:?}");
    assert!(fs::exists(cluster.manager_dir()).expect("it can be looked for"));
}

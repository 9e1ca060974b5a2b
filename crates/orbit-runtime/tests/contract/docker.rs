//! Docker under test, where an engine answers.

use crate::FOLLOW;
use crate::engine::{Does, Engine, LABEL_TEST, TestEngine, soon, text};
use async_trait::async_trait;
use futures_util::StreamExt;
use orbit_core::model::{
    Device, Dns, ExecRequest, Grant, HOST_GATEWAY, HostAccess, HostMount, Limits, LogRange, Logging, Millis, Network,
    Security, Setup, Tmpfs, UNLIMITED, Ulimit,
};
use orbit_core::worker::{
    ContainerSpec, ContainerState, EngineVolume, LABEL_CLUSTER, LABEL_VOLUME, Op, OpErrorKind, OpOutput, ProbeOf,
    Published,
};
use orbit_runtime::{ContainerRuntime, ExecInput, ExecOutput, docker::DockerRuntime};
use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Command, Stdio},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::{OnceCell, watch},
};

const IMAGE: &str = "orbit-web:contract";
/// The same, to be run by a user whom it does not have.
const IMAGE_NO_USER: &str = "orbit-web:contract-user";
/// The same, to be run in a directory that is a file.
const IMAGE_NO_DIRECTORY: &str = "orbit-web:contract-directory";

/// Removes all that it made when it is dropped, also by a test that fails.
pub struct Docker {
    base: Engine,
    runtime: DockerRuntime,
    /// Held until the end: sockets that never answer, or only take a port.
    sockets: Vec<TcpListener>,
    images: Vec<String>,
}

/// An engine with the image on it, or none and a word about it.
pub async fn engine() -> Option<Docker> {
    static ANSWERS: OnceCell<bool> = OnceCell::const_new();
    let runtime = DockerRuntime::from_env(Ipv4Addr::LOCALHOST.into());
    let answers = ANSWERS
        .get_or_init(|| async {
            if let Err(error) = runtime.info().await {
                let required = std::env::var("ORBIT_REQUIRE_ENGINE").is_ok_and(|required| required == "1");
                assert!(!required, "no Docker engine ({}), and ORBIT_REQUIRE_ENGINE=1", error.message);
                println!("skipped: no Docker engine ({})", error.message);
                return false;
            }
            tokio::task::spawn_blocking(make_image).await.expect("the image is made");
            true
        })
        .await;
    answers.then(|| Docker { base: Engine::new(), runtime, sockets: Vec::new(), images: Vec::new() })
}

fn make_image() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/web/image");
    let made = Command::new(script).arg(IMAGE).output().expect("the image's script runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // They are never run, so older ones will do. A build would refuse the directory, a commit does not look.
    for (image, change) in [(IMAGE_NO_USER, "USER nosuch"), (IMAGE_NO_DIRECTORY, "WORKDIR /web")] {
        let known = Command::new("docker").args(["image", "inspect", image]).output().expect("docker runs");
        if !known.status.success() {
            let container = docker(&["create", IMAGE]);
            docker(&["commit", "-c", change, &container, image]);
            docker(&["rm", &container]);
        }
    }
}

/// The command line stands for other people on the same engine.
fn docker(args: &[&str]) -> String {
    let done = Command::new("docker").args(args).stdin(Stdio::null()).output().expect("docker runs");
    assert!(done.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

impl Drop for Docker {
    fn drop(&mut self) {
        let filter = format!("label={LABEL_TEST}={}", self.base.owner.cluster);
        let found = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output();
        let found = found.map(|found| String::from_utf8_lossy(&found.stdout).into_owned()).unwrap_or_default();
        if !found.trim().is_empty() {
            // A test that fails already shall not be hidden by its clean-up.
            let _ = Command::new("docker").args(["rm", "-f", "-v"]).args(found.split_whitespace()).output();
        }
        let filter = format!("label={LABEL_CLUSTER}={}", self.base.owner.cluster);
        let found = Command::new("docker").args(["volume", "ls", "-q", "--filter", &filter]).output();
        let found = found.map(|found| String::from_utf8_lossy(&found.stdout).into_owned()).unwrap_or_default();
        if !found.trim().is_empty() {
            let _ = Command::new("docker").args(["volume", "rm"]).args(found.split_whitespace()).output();
        }
        if !self.images.is_empty() {
            let _ = Command::new("docker").arg("rmi").args(&self.images).output();
        }
    }
}

#[async_trait]
impl TestEngine for Docker {
    fn base(&self) -> &Engine {
        &self.base
    }
    fn runtime(&self) -> &dyn ContainerRuntime {
        &self.runtime
    }
    fn spec(&mut self, does: Does) -> ContainerSpec {
        let words = match does {
            Does::Run => "sleep".to_owned(),
            // It serves, and hears the signal.
            Does::EndWell => String::new(),
            Does::IgnoreStop => "stubborn".to_owned(),
            Does::Exit(code) => format!("exit {code}"),
            // Twice what it may have.
            Does::EatTooMuch => "eat 64".to_owned(),
            Does::Print(lines) => format!("spam {lines}"),
            Does::NotExist | Does::HaveNoUser | Does::HaveNoDirectory => String::new(),
        };
        let mut spec = ContainerSpec { image: IMAGE.to_owned(), ..self.base.blank() };
        spec.args = words.split_whitespace().map(str::to_owned).collect();
        if matches!(does, Does::NotExist) {
            spec.command = vec!["/not-there".to_owned()];
        }
        match does {
            Does::HaveNoUser => spec.image = IMAGE_NO_USER.to_owned(),
            Does::HaveNoDirectory => spec.image = IMAGE_NO_DIRECTORY.to_owned(),
            _ => {}
        }
        spec
    }
    fn absent_image(&self) -> String {
        // Nothing listens there.
        "127.0.0.1:1/absent:1".to_owned()
    }
    async fn own_image(&mut self) -> String {
        let image = format!("orbit-web:own-{}", self.base.owner.cluster);
        self.images.push(image.clone());
        let made = image.clone();
        let make = move || {
            let container = docker(&["create", IMAGE]);
            docker(&["commit", &container, &made]);
            docker(&["rm", &container]);
        };
        tokio::task::spawn_blocking(make).await.expect("the image is made");
        image
    }
    async fn tag(&mut self, image: &str, new: &str) {
        self.images.push(new.to_owned());
        let (image, new) = (image.to_owned(), new.to_owned());
        tokio::task::spawn_blocking(move || docker(&["tag", &image, &new])).await.expect("it is tagged");
    }
    async fn hanging_image(&mut self) -> String {
        let port = self.hold_a_port().await;
        format!("127.0.0.1:{port}/hanging:1")
    }
    fn free_port(&mut self) -> u16 {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        socket.local_addr().expect("it has an address").port()
    }
    async fn hold_a_port(&mut self) -> u16 {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let port = socket.local_addr().expect("it has an address").port();
        self.sockets.push(socket);
        port
    }
    async fn kill(&mut self, name: &str) {
        docker(&["kill", name]);
    }
    async fn stop_by_hand(&mut self, name: &str) {
        docker(&["stop", "--time", "1", name]);
    }
    async fn pause(&mut self, name: &str) {
        docker(&["pause", name]);
    }
    async fn remove_by_force(&mut self, name: &str) {
        docker(&["rm", "-f", name]);
    }
    async fn rename(&mut self, name: &str, new: &str) {
        docker(&["rename", name, new]);
    }
    async fn copy(&mut self, name: &str, new: &str) {
        let image = docker(&["commit", name]);
        self.images.push(image.clone());
        docker(&["run", "-d", "--name", new, &image]);
    }
    async fn add_foreign(&mut self, name: &str) {
        let label = format!("{LABEL_TEST}={}", self.base.owner.cluster);
        docker(&["run", "--detach", "--network=none", "--label", &label, "--name", name, IMAGE, "sleep"]);
    }
    async fn foreign_runs(&mut self, name: &str) -> bool {
        docker(&["inspect", "--format", "{{.State.Running}}", name]) == "true"
    }
    fn out_of_reach(&mut self) -> Box<dyn ContainerRuntime> {
        Box::new(DockerRuntime::new("unix:///orbit-no-such-engine.sock", Ipv4Addr::LOCALHOST.into()))
    }
}

#[tokio::test]
async fn a_published_web_server_answers_within_its_limits() {
    let Some(mut engine) = engine().await else { return };
    let port = engine.free_port();
    let mut spec = engine.spec(Does::Run);
    spec.args = Vec::new();
    spec.env = vec![("PORT".to_owned(), "8080".to_owned())];
    spec.ports = vec![Published::tcp(8080, port)];
    // More than the engine has, which it would refuse.
    spec.limits.cpu_millis = Some(1_000_000);
    let name = engine.run(spec).await;
    engine.logged(&name, "listening on port 8080\n").await;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("it listens");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("it listens");
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("hello from "), "{answer}");
    engine.logged(&name, "GET / 200\n").await;

    let limits = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}} \
                  {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.NanoCpus}}";
    let capacity = engine.runtime.info().await.expect("it answers").capacity;
    let expected = format!("{0} {0} 64 no {1}", 32 << 20, capacity.cpu_millis * 1_000_000);
    assert_eq!(docker(&["inspect", "--format", limits, &name]), expected);
}

/// What the kernel shows inside a container of which everything is said.
#[tokio::test]
async fn a_container_is_set_up_as_it_is_described() {
    let Some(mut engine) = engine().await else { return };
    let text = |text: &str| Some(text.to_owned());
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut spec = engine.spec(Does::Run);
    let files = "/proc/self/status /proc/self/limits /proc/self/mounts /proc/self/cwd /proc/1/comm /etc/hosts \
                 /etc/resolv.conf /proc/sys/kernel/hostname /proc/sys/net/core/somaxconn";
    spec.args = ["print"].into_iter().chain(files.split_whitespace()).map(str::to_owned).collect();
    spec.labels.push(pair("team", "shop"));
    spec.setup = Setup {
        user: text("1000:1001"),
        working_dir: text("/srv"),
        hostname: text("db"),
        init: true,
        tmpfs: vec![
            Tmpfs { path: "/run/app".to_owned(), size_bytes: Some(64 << 20) },
            Tmpfs { path: "/tmp".to_owned(), size_bytes: None },
        ],
        shm_bytes: Some(32 << 20),
        security: Security {
            capabilities_added: ["CHOWN".to_owned()].into(),
            capabilities_dropped: ["ALL".to_owned()].into(),
            read_only_root: true,
            no_new_privileges: true,
        },
        ulimits: [
            ("core".to_owned(), Ulimit { soft: 0, hard: UNLIMITED }),
            ("nofile".to_owned(), Ulimit { soft: 1000, hard: 2000 }),
        ]
        .into(),
        sysctls: [pair("net.core.somaxconn", "777")].into(),
        extra_hosts: [pair("db.example", "192.0.2.7"), pair("node.example", HOST_GATEWAY)].into(),
        dns: Dns {
            servers: vec![Ipv4Addr::new(192, 0, 2, 53).into()],
            search: vec!["example.org".to_owned()],
            options: vec!["ndots:3".to_owned()],
        },
        logging: Some(Logging { driver: text("json-file"), options: [pair("max-size", "1m")].into() }),
        ..Setup::default()
    };
    let name = engine.run(spec).await;
    assert_eq!(engine.ended(&name).await, ContainerState::Exited { code: 0, out_of_memory: false });
    let seen = engine.log(&name, None).await;
    let lines: Vec<Vec<&str>> = seen.lines().map(|line| line.split_whitespace().collect()).collect();
    let there = |words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        assert!(lines.iter().any(|line| line.starts_with(&words)), "{words:?} is not in\n{seen}");
    };
    let mount = |at: &str, kind: &str, options: &[&str]| {
        let line = lines.iter().find(|line| line.len() > 3 && line[1] == at && line[2] == kind);
        let found = line.unwrap_or_else(|| panic!("no {kind} at {at} in\n{seen}"))[3];
        let has = |option: &&str| found.split(',').any(|it| it == *option);
        assert!(options.iter().all(has), "{at}: {found}");
    };
    there("Uid: 1000 1000");
    there("Gid: 1001 1001");
    // The right to change owners and no other; none of it in effect, because this is not root.
    there("CapBnd: 0000000000000001");
    there("NoNewPrivs: 1");
    there("Max open files 1000 2000");
    there("Max core file size 0 unlimited");
    there("/proc/self/cwd: /srv");
    there("/proc/1/comm: docker-init");
    there("192.0.2.7 db.example");
    assert!(lines.iter().any(|line| line.last() == Some(&"node.example")), "{seen}");
    there("nameserver 192.0.2.53");
    there("/etc/resolv.conf: search example.org");
    there("options ndots:3");
    there("/proc/sys/kernel/hostname: db");
    there("/proc/sys/net/core/somaxconn: 777");
    let root =
        lines.iter().find(|line| line.get(1) == Some(&"/")).or(lines.iter().find(|line| line.get(2) == Some(&"/")));
    assert!(root.is_some_and(|line| line.iter().any(|word| word.starts_with("ro,"))), "{seen}");
    mount("/run/app", "tmpfs", &["rw", "size=65536k"]);
    mount("/tmp", "tmpfs", &["rw"]);
    mount("/dev/shm", "tmpfs", &["size=32768k"]);
    // Other options may be the engine's own.
    let size = r#"{{index .HostConfig.LogConfig.Config "max-size"}}"#;
    let format = format!("{{{{.HostConfig.LogConfig.Type}}}} {size} {{{{.Config.Labels.team}}}}");
    assert_eq!(docker(&["inspect", "--format", &format, &name]), "json-file 1m shop");
}

#[tokio::test]
async fn what_was_written_to_a_volume_is_there_for_the_next_container() {
    let Some(mut engine) = engine().await else { return };
    let name = format!("orbit-contract-{}", engine.base.owner.cluster);
    let mut seen = Vec::new();
    for (line, read_only, is_made) in [("one", false, false), ("two", false, true), ("three", true, true)] {
        let mut spec = engine.spec(Does::Run);
        spec.args = ["append", "/data/log", line].map(str::to_owned).to_vec();
        let (name, volume, path) = (name.clone(), "data".to_owned(), "/data".to_owned());
        spec.volumes = vec![EngineVolume { name, volume, path, read_only, is_made }];
        let container = engine.run(spec).await;
        let said = async {
            loop {
                let log = engine.log(&container, None).await;
                if !log.is_empty() {
                    break log;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        seen.push(soon(said).await);
        docker(&["rm", "-f", &container]);
    }
    assert_eq!(seen[..2], ["one\n", "one\ntwo\n"]);
    assert!(seen[2].contains("Read-only file system"), "{}", seen[2]);
    let labels = format!("{{{{index .Labels {LABEL_CLUSTER:?}}}}} {{{{index .Labels {LABEL_VOLUME:?}}}}}");
    let found = docker(&["volume", "inspect", "--format", &labels, &name]);
    assert_eq!(found, format!("{} data", engine.base.owner.cluster));
}

/// What these files and links are inside a container with this setup.
async fn seen_inside(engine: &mut Docker, files: &str, setup: Setup) -> String {
    let mut spec = engine.spec(Does::Run);
    spec.args = ["print"].into_iter().chain(files.split_whitespace()).map(str::to_owned).collect();
    spec.setup = setup;
    let name = engine.run(spec).await;
    assert_eq!(engine.ended(&name).await, ContainerState::Exited { code: 0, out_of_memory: false });
    engine.log(&name, None).await
}

#[tokio::test]
async fn a_folder_of_the_node_is_given_where_its_operator_allows_it() {
    let Some(mut engine) = engine().await else { return };
    let folder = tempfile::tempdir().expect("a folder can be made");
    let at = |path: &str| folder.path().join(path).to_str().expect("a text").to_owned();
    std::fs::create_dir(at("media")).expect("a folder can be made");
    std::fs::write(at("media/hello"), "from the node").expect("a file can be made");
    std::os::unix::fs::symlink("/etc", at("out")).expect("a link can be made");
    engine.runtime = engine.runtime.clone().with_allowed(&[Grant::HostPath(at(""))]);
    let mount = |host: String, read_only| HostMount { host, path: "/media".to_owned(), read_only };
    let of = |mounts| Setup { host: HostAccess { mounts, ..HostAccess::default() }, ..Setup::default() };
    let seen = seen_inside(&mut engine, "/media/hello /proc/self/mounts", of(vec![mount(at("media"), true)])).await;
    assert!(seen.contains("/media/hello: from the node"), "{seen}");
    let line = seen.lines().find(|line| line.split(' ').nth(1) == Some("/media")).expect("it is mounted");
    assert!(line.split(' ').any(|word| word.starts_with("ro,")), "{line}");
    // What is not allowed, what leads out of what is, and what is not there: nothing is made of it.
    for (host, said) in
        [("/etc".to_owned(), "`host:/etc`"), (at("out"), "leads to `/etc`"), (at("none"), "there is no")]
    {
        let mut spec = engine.spec(Does::Run);
        spec.setup = of(vec![mount(host, false)]);
        let name = spec.name.clone();
        let error = engine.perform(Op::Create(spec.into())).await.expect_err(said);
        assert_eq!(error.kind, OpErrorKind::Refused);
        assert!(error.message.contains(said), "{error:?}");
        assert_eq!(engine.inspect(&name).await, None);
    }
    assert!(!folder.path().join("none").exists());
}

#[tokio::test]
async fn a_container_is_in_the_network_of_its_node_or_in_none_if_it_says_so() {
    let Some(mut engine) = engine().await else { return };
    let of = |network| Setup { host: HostAccess { network, ..HostAccess::default() }, ..Setup::default() };
    let own = std::fs::read_link("/proc/self/ns/net").expect("a link").display().to_string();
    for (network, is_own) in [(Network::Bridge, false), (Network::Host, true), (Network::None, false)] {
        let seen = seen_inside(&mut engine, "/proc/self/ns/net /proc/self/net/dev", of(network)).await;
        assert_eq!(seen.contains(&own), is_own, "{network:?}: {own}\n{seen}");
        let others =
            seen.lines().filter(|line| line.contains(": ") && !line.contains("lo:") && !line.contains("/proc"));
        assert_eq!(others.count() == 0, network == Network::None, "{network:?}: {seen}");
    }
    // What listens in the node's network is asked there.
    let port = engine.free_port();
    let mut spec = engine.spec(Does::Run);
    spec.args = Vec::new();
    spec.env = vec![("PORT".to_owned(), port.to_string())];
    spec.ports = vec![Published::tcp(port, port)];
    spec.setup = of(Network::Host);
    let name = engine.run(spec).await;
    engine.logged(&name, &format!("listening on port {port}\n")).await;
    let ask = ProbeOf::Http(port, "/".to_owned());
    engine.done(Op::Probe { name, ask, timeout: Millis::secs(5) }).await;
}

#[tokio::test]
async fn a_container_may_do_more_of_root_if_it_says_so() {
    let Some(mut engine) = engine().await else { return };
    let capabilities = |seen: &str| {
        let line = seen.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("a line of capabilities");
        u64::from_str_radix(line.trim(), 16).expect("a number")
    };
    let names = |name: &str| [name.to_owned()].into();
    let security =
        Security { capabilities_added: names("NET_ADMIN"), capabilities_dropped: names("ALL"), ..Security::default() };
    let setup = Setup { security, ..Setup::default() };
    let status = "/proc/self/status";
    assert_eq!(capabilities(&seen_inside(&mut engine, status, setup).await), 1 << 12);
    let of = |host| Setup { host, ..Setup::default() };
    // A machine that is a container itself may not have all that it would give.
    let mut spec = engine.spec(Does::Run);
    spec.setup = of(HostAccess { privileged: true, ..HostAccess::default() });
    let name = spec.name.clone();
    assert!(matches!(engine.perform(Op::Create(spec.into())).await, Ok(OpOutput::Created(_))));
    assert_eq!(docker(&["inspect", "--format", "{{.HostConfig.Privileged}}", &name]), "true");
    let unconfined = of(HostAccess { seccomp_unconfined: true, apparmor_unconfined: true, ..HostAccess::default() });
    let seen = seen_inside(&mut engine, status, unconfined).await;
    assert!(seen.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "0"])), "{seen}");
    let device =
        Device { host: "/dev/null".to_owned(), path: "/dev/nothing".to_owned(), access: Device::ACCESS.to_owned() };
    let devices = of(HostAccess { devices: vec![device], ..HostAccess::default() });
    let seen = seen_inside(&mut engine, "/dev/nothing /dev/none", devices).await;
    assert!(seen.starts_with("/dev/nothing: \n/dev/none: No such file"), "{seen:?}");
}

#[tokio::test]
async fn a_terminals_log_is_read_and_an_input_that_stays_open_has_no_end() {
    let Some(mut engine) = engine().await else { return };
    let mut spec = engine.spec(Does::Print(3));
    spec.setup.tty = true;
    let name = engine.run(spec).await;
    engine.logged(&name, "line 3\r\n").await;
    assert_eq!(engine.log(&name, Some(1)).await, "line 3\r\n");
    let mut spec = engine.spec(Does::Run);
    spec.args = vec!["cat".to_owned()];
    let ends = engine.run(spec.clone()).await;
    spec = ContainerSpec { args: spec.args, ..engine.spec(Does::Run) };
    spec.setup.stdin = true;
    let stays = engine.run(spec).await;
    assert_eq!(engine.ended(&ends).await, ContainerState::Exited { code: 0, out_of_memory: false });
    assert_eq!(engine.inspect(&stays).await.map(|it| it.state), Some(ContainerState::Running));
}

#[tokio::test]
async fn a_request_alone_limits_nothing() {
    let Some(mut engine) = engine().await else { return };
    let mut spec = engine.spec(Does::EatTooMuch);
    spec.limits = Limits::default();
    let name = engine.run(spec).await;
    engine.logged(&name, "ate 64 MiB\n").await;
    let format = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}}";
    assert_eq!(docker(&["inspect", "--format", format, &name]), "0 0 512");
}

#[tokio::test]
async fn standard_error_is_told_apart_from_standard_output() {
    let Some(mut engine) = engine().await else { return };
    let mut spec = engine.spec(Does::Run);
    spec.args = vec!["nonsense".to_owned()];
    let name = engine.run(spec).await;
    assert_eq!(engine.ended(&name).await, ContainerState::Exited { code: 2, out_of_memory: false });
    let chunks: Vec<_> = soon(engine.runtime.logs(&name, LogRange::default()).collect()).await;
    assert!(!chunks.is_empty() && chunks.iter().all(|chunk| chunk.as_ref().is_ok_and(|it| it.stderr)), "{chunks:?}");
    assert!(text(chunks).starts_with("usage: web"));
}

#[tokio::test]
async fn what_the_health_check_of_an_image_says_is_told() {
    let Some(mut engine) = engine().await else { return };
    let owner = engine.base.owner;
    let plain = engine.spec(Does::Run);
    let name = engine.run(plain).await;
    assert_eq!(engine.inspect(&name).await.and_then(|it| it.image_health), None, "this image has none");
    // Of the same program, with a check that it does not understand.
    let image = format!("orbit-test-health:{}", std::process::id());
    let check = r#"HEALTHCHECK --interval=1s --retries=1 CMD ["/web", "nonsense"]"#;
    docker(&["commit", "--change", check, &name, &image]);
    engine.images.push(image.clone());
    let mut hints = engine.runtime.hints(owner);
    let spec = engine.spec(Does::Run);
    let sick = engine.run(ContainerSpec { image: image.clone(), ..spec }).await;
    let told = async {
        while engine.inspect(&sick).await.and_then(|it| it.image_health) != Some(false) {
            hints.next().await.expect("the engine goes on").expect("it answers");
        }
    };
    soon(told).await;
    let listed = engine.list(owner).await;
    let health: Vec<_> = listed.iter().map(|it| (it.name == sick, it.image_health)).collect();
    assert!(health.contains(&(true, Some(false))) && health.contains(&(false, None)), "{health:?}");
}

#[tokio::test]
async fn a_paused_container_counts_as_running() {
    let Some(mut engine) = engine().await else { return };
    let spec = engine.spec(Does::Run);
    let owner = engine.base.owner;
    let name = engine.run(spec).await;
    docker(&["pause", &name]);
    assert_eq!(engine.inspect(&name).await.map(|it| it.state), Some(ContainerState::Running));
    assert_eq!(engine.list(owner).await.iter().map(|it| it.state).collect::<Vec<_>>(), [ContainerState::Running]);
    docker(&["unpause", &name]);
}

/// The lines of the processes in a container, sorted: what the engine sees of them on its machine. (Not in the order of their
/// numbers, which begin anew at some time.)
fn processes(name: &str) -> Vec<String> {
    let top = docker(&["top", name, "-o", "pid,args"]);
    let line = |line: &str| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = top.lines().skip(1).map(line).collect();
    lines.sort();
    lines
}

async fn until_processes(name: &str, expected: &[&str]) {
    let mut now = Vec::new();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    let waiting = async {
        loop {
            now = processes(name);
            if now == expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let come = tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await;
    assert!(come.is_ok(), "{now:?} run, not {expected:?}");
}

#[tokio::test]
async fn a_process_whose_output_nobody_reads_ends_whether_it_minds_its_input_or_not() {
    let Some(mut engine) = engine().await else { return };
    let spec = engine.spec(Does::Run);
    let name = engine.run(spec).await;
    for (word, tty) in [("cat", false), ("stubborn", false), ("stubborn", true)] {
        let mut streams = Vec::new();
        for _ in 0..3 {
            let request = ExecRequest { command: vec!["/web".to_owned(), word.to_owned()], tty, stdin: true };
            let mut output = engine.runtime.exec(&name, request, futures_util::stream::pending().boxed());
            // It is begun when its output is asked for.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(1), output.next()).await;
            streams.push(tokio::spawn(async move { while output.next().await.is_some() {} }));
        }
        until_processes(
            &name,
            &["/web sleep", &format!("/web {word}"), &format!("/web {word}"), &format!("/web {word}")],
        )
        .await;
        streams.iter().for_each(tokio::task::JoinHandle::abort);
        until_processes(&name, &["/web sleep"]).await;
    }
    assert_eq!(engine.inspect(&name).await.map(|it| it.state), Some(ContainerState::Running));
}

#[tokio::test]
async fn a_process_whose_input_has_no_more_senders_reads_its_end() {
    let Some(mut engine) = engine().await else { return };
    let spec = engine.spec(Does::Run);
    let name = engine.run(spec).await;
    let request = ExecRequest { command: vec!["/web".to_owned(), "cat".to_owned()], tty: false, stdin: true };
    let input = futures_util::stream::iter([ExecInput::Stdin("hello\n".into())]).boxed();
    let said: Vec<_> = soon(engine.runtime.exec(&name, request, input).collect()).await;
    assert_eq!(said, [Ok(ExecOutput::Stdout("hello\n".into())), Ok(ExecOutput::Exited(0))]);
}

#[tokio::test]
async fn commands_of_probes_that_do_not_answer_do_not_pile_up() {
    let Some(mut engine) = engine().await else { return };
    let spec = engine.spec(Does::Run);
    let name = engine.run(spec).await;
    let ask = || ProbeOf::Command(vec!["/web".to_owned(), "stubborn".to_owned()]);
    let probe = || Op::Probe { name: name.clone(), ask: ask(), timeout: Millis(300) };
    for _ in 0..5 {
        let error = engine.perform(probe()).await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (OpErrorKind::Unwell, "no answer within 300ms"));
        // It has ended before the answer is given.
        assert_eq!(processes(&name), ["/web sleep"]);
    }
    // Nobody waits for the answer any more.
    let op = Op::Probe { name: name.clone(), ask: ask(), timeout: Millis(60_000) };
    let (runtime, asked) = (engine.runtime.clone(), op.clone());
    let asking = tokio::spawn(async move { runtime.perform(asked).await });
    until_processes(&name, &["/web sleep", "/web stubborn"]).await;
    asking.abort();
    until_processes(&name, &["/web sleep"]).await;
    // One that cannot be ended, because it is frozen, is the only one.
    let asking = tokio::spawn({
        let runtime = engine.runtime.clone();
        async move { runtime.perform(op).await }
    });
    until_processes(&name, &["/web sleep", "/web stubborn"]).await;
    engine.pause(&name).await;
    asking.abort();
    assert_eq!(engine.fails(probe()).await, OpErrorKind::Unwell);
    docker(&["unpause", &name]);
    until_processes(&name, &["/web sleep"]).await;
    let well = ProbeOf::Command(vec!["/web".to_owned(), "exit".to_owned(), "0".to_owned()]);
    let op = Op::Probe { name: name.clone(), ask: well, timeout: Millis(30_000) };
    assert_eq!(engine.perform(op).await, Ok(OpOutput::Done));
}

/// An engine's door that can be shut: connections break, and new ones are cut off at once.
struct Door {
    address: String,
    open: watch::Sender<bool>,
}

impl Door {
    /// In front of the engine of the local socket; none if the tests' engine is another.
    async fn new() -> Option<Door> {
        let host = std::env::var("DOCKER_HOST").unwrap_or("unix:///var/run/docker.sock".to_owned());
        let path = host.strip_prefix("unix://")?.to_owned();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
        let address = format!("tcp://{}", listener.local_addr().expect("it has an address"));
        let (open, is_open) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (path, mut is_open) = (path.clone(), is_open.clone());
                tokio::spawn(async move {
                    let mut engine = UnixStream::connect(path).await.expect("the engine answered before");
                    tokio::select! {
                        biased;
                        _ = is_open.wait_for(|open| !open) => {}
                        _ = tokio::io::copy_bidirectional(&mut client, &mut engine) => {}
                    }
                });
            }
        });
        Some(Door { address, open })
    }
}

#[tokio::test]
async fn an_engine_that_goes_away_ends_the_streams_and_is_reached_anew_when_it_is_back() {
    let Some(mut engine) = engine().await else { return };
    let Some(door) = Door::new().await else { return println!("skipped: the engine has no local socket") };
    engine.runtime = DockerRuntime::new(&door.address, Ipv4Addr::LOCALHOST.into());
    let (first, second) = (engine.spec(Does::Run), engine.spec(Does::Print(1)));
    let (owner, task) = (engine.base.owner, engine.base.identity_of(&first).task);
    let (first, second) = (engine.run(first).await, engine.run(second).await);
    let (mut hints, mut logs) = (engine.runtime.hints(owner), engine.runtime.logs(&second, FOLLOW));
    engine.kill(&first).await;
    assert_eq!(soon(hints.next()).await, Some(Ok(task)));
    assert_eq!(soon(logs.next()).await.map(|chunk| chunk.map(|it| it.bytes)), Some(Ok("line 1\n".into())));

    door.open.send_replace(false);
    assert_eq!(soon(hints.next()).await.unwrap().unwrap_err().kind, OpErrorKind::Engine);
    assert_eq!(soon(hints.next()).await, None);
    assert_eq!(soon(logs.next()).await.unwrap().unwrap_err().kind, OpErrorKind::Engine);
    assert_eq!(engine.fails(Op::List(owner)).await, OpErrorKind::Engine);
    assert_eq!(engine.fails(Op::Start(second.clone())).await, OpErrorKind::Engine);

    door.open.send_replace(true);
    assert_eq!(engine.list(owner).await.len(), 2);
    assert_eq!(engine.inspect(&second).await.map(|it| it.state), Some(ContainerState::Running));
}

#[tokio::test]
async fn a_probe_asks_where_the_container_listens() {
    let Some(mut engine) = engine().await else { return };
    let mut spec = engine.spec(Does::EndWell);
    spec.env = vec![("PORT".to_owned(), "8080".to_owned())];
    let name = engine.run(spec).await;
    engine.logged(&name, "listening on port 8080\n").await;
    let probe = |ask: ProbeOf| Op::Probe { name: name.clone(), ask, timeout: Millis(5000) };
    let command = |words: &[&str]| ProbeOf::Command(words.iter().map(|word| (*word).to_owned()).collect());
    for yes in [ProbeOf::Tcp(8080), ProbeOf::Http(8080, "/".to_owned()), command(&["/web", "exit", "0"])] {
        assert_eq!(engine.perform(probe(yes.clone())).await, Ok(OpOutput::Done), "{yes:?}");
    }
    let no = [
        (ProbeOf::Tcp(8081), "port 8081: Connection refused"),
        (ProbeOf::Http(8081, "/".to_owned()), "port 8081: Connection refused"),
        (command(&["/web", "exit", "3"]), "/web ended with code 3"),
        (command(&["/no-such-program"]), "/no-such-program ended with code 12"),
    ];
    for (no, why) in no {
        let error = engine.perform(probe(no)).await.unwrap_err();
        assert_eq!(error.kind, OpErrorKind::Unwell, "{error:?}");
        assert!(error.message.starts_with(why), "{error:?}");
    }
    // Whoever is frozen answers nobody, and the engine starts nothing beside him.
    engine.pause(&name).await;
    for no in [ProbeOf::Http(8080, "/".to_owned()), command(&["/web", "exit", "0"])] {
        let op = Op::Probe { name: name.clone(), ask: no, timeout: Millis(300) };
        assert_eq!(engine.fails(op).await, OpErrorKind::Unwell);
    }
}

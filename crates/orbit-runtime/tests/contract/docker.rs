//! Docker under test, where an engine answers.

use crate::engine::{Does, Engine, LABEL_TEST, TestEngine, soon, text};
use async_trait::async_trait;
use futures_util::StreamExt;
use orbit_core::worker::{ContainerSpec, ContainerState};
use orbit_runtime::{ContainerRuntime, docker::DockerRuntime};
use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Command, Stdio},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::OnceCell,
};

const IMAGE: &str = "orbit-web:contract";

/// Removes all that it made when it is dropped, also by a test that fails.
pub struct Docker {
    base: Engine,
    runtime: DockerRuntime,
    /// Held until the end: sockets that never answer, or only take a port.
    sockets: Vec<TcpListener>,
}

/// An engine with the image on it, or none and a word about it.
pub async fn engine() -> Option<Docker> {
    static ANSWERS: OnceCell<bool> = OnceCell::const_new();
    let runtime = DockerRuntime::from_env(Ipv4Addr::LOCALHOST.into());
    let answers = ANSWERS
        .get_or_init(|| async {
            if let Err(error) = runtime.info().await {
                println!("skipped: no Docker engine ({})", error.message);
                return false;
            }
            tokio::task::spawn_blocking(make_image).await.expect("the image is made");
            true
        })
        .await;
    answers.then(|| Docker { base: Engine::new(), runtime, sockets: Vec::new() })
}

fn make_image() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/web/image");
    let made = Command::new(script).arg(IMAGE).output().expect("the image's script runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
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
            Does::IgnoreStop => "stubborn".to_owned(),
            Does::Exit(code) => format!("exit {code}"),
            // Twice what it may have.
            Does::EatTooMuch => "eat 64".to_owned(),
            Does::Print(lines) => format!("spam {lines}"),
            Does::NotExist => String::new(),
        };
        let mut spec = ContainerSpec { image: IMAGE.to_owned(), ..self.base.blank() };
        spec.args = words.split_whitespace().map(str::to_owned).collect();
        if matches!(does, Does::NotExist) {
            spec.command = vec!["/not-there".to_owned()];
        }
        spec
    }
    fn absent_image(&self) -> String {
        // Nothing listens there.
        "127.0.0.1:1/absent:1".to_owned()
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
    async fn remove_by_force(&mut self, name: &str) {
        docker(&["rm", "-f", name]);
    }
    async fn add_foreign(&mut self, name: &str, port: Option<u16>) {
        let label = format!("{LABEL_TEST}={}", self.base.owner.cluster);
        let publish = port.map(|port| format!("--publish=127.0.0.1:{port}:80"));
        let mut args = vec!["run", "--detach", "--network=none", "--label", &label, "--name", name];
        args.extend(publish.as_deref());
        args.extend([IMAGE, "sleep"]);
        docker(&args);
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
    spec.ports = vec![(8080, port)];
    // More than the engine has, which it would refuse.
    spec.resources.cpu_millis = 1_000_000;
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

#[tokio::test]
async fn standard_error_is_told_apart_from_standard_output() {
    let Some(mut engine) = engine().await else { return };
    let mut spec = engine.spec(Does::Run);
    spec.args = vec!["nonsense".to_owned()];
    let name = engine.run(spec).await;
    assert_eq!(engine.ended(&name).await, ContainerState::Exited { code: 2, out_of_memory: false });
    let chunks: Vec<_> = soon(engine.runtime.logs(&name, false, None).collect()).await;
    assert!(!chunks.is_empty() && chunks.iter().all(|chunk| chunk.as_ref().is_ok_and(|it| it.stderr)), "{chunks:?}");
    assert!(text(chunks).starts_with("usage: web"));
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

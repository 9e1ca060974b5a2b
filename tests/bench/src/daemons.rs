//! The release builds of the daemons beside this program, on free ports of the loopback.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A manager, and a worker if there is one; both end with this value.
pub struct Daemons {
    pub address: SocketAddr,
    pub manager: Child,
    pub worker: Option<Child>,
    /// From the manager's exec to its `/readyz`.
    pub ready_after: Duration,
    pub state: TempDir,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has ports");
    listener.local_addr().expect("bound").port()
}

fn program(name: &str) -> Command {
    let beside = std::env::current_exe().expect("this program has a path");
    let path: PathBuf = beside.with_file_name(name);
    assert!(path.exists(), "{} is missing: run `make bench`, which builds it", path.display());
    let mut command = Command::new(path);
    command.env("RUST_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

impl Daemons {
    /// Starts a manager with an empty log on this disk, and waits until it is ready.
    pub fn manager() -> Daemons {
        // Beside the program: a temporary file system would have no disk to wait for.
        let beside = std::env::current_exe().expect("this program has a path");
        let state = TempDir::new_in(beside.parent().expect("in a directory")).expect("a directory for the state");
        let (users, workers) = (free_port(), free_port());
        let address = SocketAddr::from(([127, 0, 0, 1], users));
        let mut command = program("orbit-manager");
        command.args(["--listen", &address.to_string(), "--listen-workers", &format!("127.0.0.1:{workers}")]);
        command.arg("--state-dir").arg(state.path().join("manager"));
        let begun = Instant::now();
        let manager = command.spawn().expect("the manager starts");
        while get(address, "/readyz").is_none_or(|(status, _)| status != 200) {
            assert!(begun.elapsed() < Duration::from_secs(10), "the manager is not ready");
            sleep(Duration::from_micros(500));
        }
        let ready_after = begun.elapsed();
        std::fs::write(state.path().join("workers"), workers.to_string()).expect("the state is writable");
        Daemons { address, manager, worker: None, ready_after, state }
    }

    /// Adds a worker on the local engine, and waits until it has registered.
    pub fn add_worker(&mut self) {
        let port = std::fs::read_to_string(self.state.path().join("workers")).expect("written by manager()");
        let mut command = program("orbit-worker");
        command.args(["--manager", &format!("http://127.0.0.1:{port}"), "--name", "bench"]);
        command.args(["--cpu-millis", "1000000", "--memory-mib", "1000000"]);
        command.arg("--state-dir").arg(self.state.path().join("worker"));
        self.worker = Some(command.spawn().expect("the worker starts"));
        self.wait("the worker registers", || {
            get(self.address, "/v1/nodes").is_some_and(|(_, body)| body.contains("\"state\":\"ready\""))
        });
    }

    /// Waits until something holds.
    pub fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(300), "never: {what}");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        for child in self.worker.iter_mut().chain([&mut self.manager]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// (status, body); `None` where nobody answers.
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    call(address, "GET", path, "")
}

/// (status, body); `None` where nobody answers.
pub fn call(address: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Some((status, body.to_string()))
}

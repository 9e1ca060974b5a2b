//! Several hosts on this machine: each a network namespace with a Docker engine of its own, all on one
//! bridge, on which the manager is, too. A host can be cut off, and its engine killed.
//!
//! Needs root, `ip`, `nsenter`, `iptables` and `dockerd`. There is one laboratory on a machine at a
//! time; what a killed one left behind goes when the next begins.

use crate::{
    Engine, IMAGE, block_on,
    claim::{Claim, wait_for_claim},
    engine, poll_for,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const BRIDGE: &str = "orbitlab";
/// Of the network, the last byte left out.
const NETWORK: &str = "10.78.0";
/// Enough for an engine to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the manager is, for the hosts.
pub const MANAGER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);

/// The hosts. Dropping it removes everything, also in a panic.
pub struct Lab {
    pub hosts: Vec<Host>,
    _alone: Claim,
}

/// One machine.
pub struct Host {
    /// Counted from 1.
    number: usize,
    dir: PathBuf,
    live_restore: bool,
    dockerd: Option<Child>,
    /// None until it has started once.
    engine: Option<Engine>,
}

impl Lab {
    /// So many hosts with engines that have [`IMAGE`]; `None`, and a line that says so, where that is not
    /// possible: the test then passes without having tested.
    ///
    /// # Panics
    /// Where it is not possible and `ORBIT_REQUIRE_ENGINE=1`, or if something does not start.
    pub fn start(hosts: usize) -> Option<Lab> {
        Lab::of(hosts, false)
    }

    /// The same with engines whose containers outlive them (`--live-restore`).
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn with_live_restore(hosts: usize) -> Option<Lab> {
        Lab::of(hosts, true)
    }

    fn of(hosts: usize, live_restore: bool) -> Option<Lab> {
        let image = engine()?;
        if let Err(error) = possible() {
            engine::skip(&format!("no hosts of one's own: {error}"));
            return None;
        }
        let alone = wait_for_claim("lab");
        clean_up();
        let archive = root().join("images.tar");
        fs::create_dir_all(root()).expect("the temporary folder can be written");
        drop(image);
        run("docker", &["save", IMAGE, "-o", &text(&archive)]);
        build_network();
        let mut lab = Lab { hosts: Vec::new(), _alone: alone };
        for number in 1..=hosts {
            lab.hosts.push(Host::new(number, live_restore));
        }
        for host in &lab.hosts {
            host.wait_for_engine();
            run("docker", &["-H", &host.docker_host(), "load", "-q", "-i", &text(&archive)]);
        }
        Some(lab)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            host.heal();
            // An engine that is dead cannot remove its containers.
            if host.dockerd.is_none() {
                host.start_engine();
            }
        }
        self.hosts.clear();
        clean_up();
    }
}

impl Host {
    fn new(number: usize, live_restore: bool) -> Host {
        let dir = root().join(format!("n{number}"));
        fs::create_dir_all(&dir).expect("the temporary folder can be written");
        fs::write(dir.join("daemon.json"), "{}").expect("the temporary folder can be written");
        let mut host = Host { number, dir, live_restore, dockerd: None, engine: None };
        host.build_namespace();
        host.start_engine();
        host.engine = Some(host.connect());
        host
    }

    fn connect(&self) -> Engine {
        let socket = text(&self.dir.join("docker.sock"));
        let connect = || {
            let said = |error: bollard::errors::Error| error.to_string();
            let docker = Docker::connect_with_unix(&socket, 60, API_DEFAULT_VERSION).map_err(said)?;
            block_on(docker.negotiate_version()).map_err(said)
        };
        let docker = poll_for("the engine answers", PATIENCE, connect);
        Engine { docker: docker.unwrap_or_else(|error| panic!("{error}\n{}", self.log_tail())) }
    }

    /// Its engine.
    ///
    /// # Panics
    /// Never, once the laboratory stands.
    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("it was connected to when it first started")
    }

    /// A network with an address of the bridge's, and nothing of the machine's own.
    fn build_namespace(&self) {
        let (netns, veth) = (self.netns(), self.veth());
        run("ip", &["netns", "add", &netns]);
        run("ip", &["link", "add", &veth, "type", "veth", "peer", "name", "eth0", "netns", &netns]);
        run("ip", &["link", "set", &veth, "master", BRIDGE, "up"]);
        let address = format!("{}/24", self.address());
        let inside: [&[&str]; 5] = [
            &["ip", "link", "set", "lo", "up"],
            &["ip", "addr", "add", &address, "dev", "eth0"],
            &["ip", "link", "set", "eth0", "up"],
            &["ip", "route", "add", "default", "via", &format!("{NETWORK}.1")],
            &["sysctl", "-qw", "net.ipv4.ip_forward=1"],
        ];
        inside.iter().for_each(|command| self.inside(command));
        // A name that cannot be looked up shall fail at once: a look-up that hangs makes an engine slow.
        let resolvers = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        for resolver in resolvers.lines().filter_map(|line| line.strip_prefix("nameserver ")) {
            let unreachable = ["ip", "route", "add", "unreachable", &format!("{}/32", resolver.trim())];
            try_run(
                &self.enter()[0],
                &self.enter()[1..].iter().map(String::as_str).chain(unreachable).collect::<Vec<_>>(),
            );
        }
    }

    /// Its address on the bridge.
    pub fn address(&self) -> String {
        format!("{NETWORK}.1{}", self.number)
    }
    /// As `DOCKER_HOST` has it; it answers also while the host is cut off.
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.dir.join("docker.sock").display())
    }
    fn netns(&self) -> String {
        format!("{BRIDGE}-n{}", self.number)
    }
    fn veth(&self) -> String {
        format!("{BRIDGE}-v{}", self.number)
    }
    /// What to write before a command that shall run on the host. It keeps its process ID. Not
    /// `ip netns exec`, which remounts /sys and so hides the control groups from an engine.
    pub fn enter(&self) -> Vec<String> {
        vec!["nsenter".to_string(), format!("--net=/run/netns/{}", self.netns())]
    }
    fn inside(&self, command: &[&str]) {
        let enter = self.enter();
        run(&enter[0], &enter[1..].iter().map(String::as_str).chain(command.iter().copied()).collect::<Vec<_>>());
    }

    /// The cable is pulled: nothing comes in or goes out, and nobody is told.
    pub fn cut(&self) {
        run("ip", &["link", "set", &self.veth(), "down"]);
    }
    /// The cable is back.
    pub fn heal(&self) {
        try_run("ip", &["link", "set", &self.veth(), "up"]);
    }

    /// Starts the engine, which need not be up when this returns.
    ///
    /// # Panics
    /// If it runs already.
    pub fn start_engine(&mut self) {
        assert!(self.dockerd.is_none(), "the engine of host {} runs already", self.number);
        let log = File::options().create(true).append(true).open(self.dir.join("dockerd.log"));
        let log = log.expect("the temporary folder can be written");
        let enter = self.enter();
        let file = |name: &str| text(&self.dir.join(name));
        let mut dockerd = Command::new(&enter[0]);
        dockerd.args(&enter[1..]).arg("dockerd");
        dockerd.args(["--config-file", &file("daemon.json"), "--host", &self.docker_host()]);
        dockerd.args(["--data-root", &file("data"), "--exec-root", &file("exec"), "--pidfile", &file("docker.pid")]);
        dockerd.arg(format!("--cgroup-parent=/{}", self.netns()));
        if self.live_restore {
            dockerd.arg("--live-restore");
        }
        dockerd.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        self.dockerd = Some(dockerd.spawn().expect("an engine can be run"));
    }

    /// Waits until the engine answers.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait_for_engine(&self) {
        let answers = || block_on(self.engine().docker.ping()).map(|_| ()).map_err(|error| error.to_string());
        let answered = poll_for("the engine answers", PATIENCE, answers);
        answered.unwrap_or_else(|error| panic!("{error}\n{}", self.log_tail()));
    }

    /// `kill -9` of the engine. Its containers go on running until it returns.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill_engine(&mut self) {
        let mut dockerd = self.dockerd.take().expect("the engine runs");
        let _ = dockerd.kill();
        let _ = dockerd.wait();
        self.wait_for_its_containerd();
    }

    /// SIGTERM, and waits until it is gone. Its containers are stopped first, unless they are to outlive it.
    ///
    /// # Panics
    /// If it does not run, or does not end.
    pub fn stop_engine(&mut self) {
        let mut dockerd = self.dockerd.take().expect("the engine runs");
        let pid = Pid::from_raw(dockerd.id() as i32).expect("a process has an ID");
        let _ = kill_process(pid, Signal::TERM);
        let ended = || dockerd.try_wait().expect("a child can be waited for").ok_or_else(|| "it runs".to_string());
        if let Err(error) = poll_for("the engine ends", PATIENCE, ended) {
            let _ = dockerd.kill();
            let _ = dockerd.wait();
            if !std::thread::panicking() {
                panic!("{error}\n{}", self.log_tail());
            }
        }
        self.wait_for_its_containerd();
    }

    /// The engine's own containerd dies with it, a moment later; the next engine refuses to start before.
    fn wait_for_its_containerd(&self) {
        let file = self.dir.join("exec/containerd/containerd.pid");
        let pid = fs::read_to_string(file).ok().and_then(|pid| pid.trim().parse::<u32>().ok());
        let Some(pid) = pid else { return };
        let gone = || match fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(comm) if comm.trim() == "containerd" => Err("it runs".to_string()),
            _ => Ok(()),
        };
        let _ = poll_for("its containerd ends", Duration::from_secs(10), gone);
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.dir.join("dockerd.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.dockerd.is_some() {
            let answers = || block_on(self.engine().docker.ping()).map(|_| ()).map_err(|error| error.to_string());
            if poll_for("the engine answers", PATIENCE, answers).is_ok() {
                self.engine().all().iter().for_each(|container| self.engine().remove(container));
            }
            self.stop_engine();
        }
    }
}

/// Whether this process may do all that, and what for is missing.
fn possible() -> Result<(), String> {
    if !rustix::process::getuid().is_root() {
        return Err("not root".to_string());
    }
    let missing = |program: &&str| Command::new(program).arg("--version").output().is_err();
    match ["ip", "nsenter", "iptables", "dockerd", "docker", "umount"].iter().find(|program| missing(program)) {
        Some(program) => Err(format!("no program `{program}`")),
        None => Ok(()),
    }
}

fn root() -> PathBuf {
    std::env::temp_dir().join(BRIDGE)
}

fn build_network() {
    run("ip", &["link", "add", BRIDGE, "type", "bridge"]);
    run("ip", &["addr", "add", &format!("{MANAGER}/24"), "dev", BRIDGE]);
    run("ip", &["link", "set", BRIDGE, "up"]);
    run("iptables", &["-I", "FORWARD", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT"]);
}

/// Removes what there is, whoever made it. Whatever is not there is none the worse for it.
fn clean_up() {
    for host in fs::read_dir(root()).into_iter().flatten().flatten().map(|entry| entry.path()) {
        // Of a laboratory that was killed.
        for file in ["docker.pid", "exec/containerd/containerd.pid"] {
            let pid = fs::read_to_string(host.join(file)).ok().and_then(|pid| pid.trim().parse::<i32>().ok());
            let is_ours = |pid: &i32| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(&text(&host))
            };
            if let Some(pid) = pid.filter(is_ours).and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
                let ended = || {
                    if Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists() {
                        Err(String::new())
                    } else {
                        Ok(())
                    }
                };
                let _ = poll_for("what was left ends", PATIENCE, ended);
            }
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mut below: Vec<&str> = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|at| Path::new(at).starts_with(&host))
            .collect();
        below.sort_unstable();
        below.iter().rev().for_each(|at| try_run("umount", &["-l", at]));
    }
    for number in 1..=9 {
        if Path::new(&format!("/run/netns/{BRIDGE}-n{number}")).exists() {
            try_run("ip", &["netns", "del", &format!("{BRIDGE}-n{number}")]);
        }
    }
    if Path::new(&format!("/sys/class/net/{BRIDGE}")).exists() {
        try_run("iptables", &["-D", "FORWARD", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT"]);
        try_run("ip", &["link", "del", BRIDGE]);
    }
    let _ = fs::remove_dir_all(root());
}

fn text(path: &Path) -> String {
    path.to_str().expect("a temporary folder has a plain name").to_string()
}

fn try_run(program: &str, args: &[&str]) {
    let _ = Command::new(program).args(args).output();
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().expect("the program is there");
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

//! A manager and its workers as processes, and the ways to look at them.

use crate::{
    Container, Daemon, Engine, Host, Lab, MANAGER, PATIENCE, Response, binaries,
    claim::{Claim, Ports, engine_turn},
    http, poll_for,
};
use orbit_api::view::{List, Node, Service, Task};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::Duration,
};
use tempfile::TempDir;

/// One worker of a cluster.
pub struct Worker {
    /// The node's name.
    pub name: String,
    pub daemon: Daemon,
    /// From which ports its tasks' are chosen.
    pub ports: (u16, u16),
}

/// How a manager is special.
pub struct Setup {
    /// Where it listens for workers.
    pub listen: Ipv4Addr,
    /// Where it keeps its state; `None` is a folder of the cluster's own.
    pub state_dir: Option<PathBuf>,
    /// Beside the environment of the tests.
    pub env: Vec<(String, String)>,
    /// Another program than that of this source.
    pub program: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { listen: Ipv4Addr::LOCALHOST, state_dir: None, env: Vec::new(), program: None }
    }
}

/// A cluster on this machine.
///
/// Order of calls: [`start`](Self::start), [`in_lab`](Self::in_lab) where each worker has a host of its
/// own, or [`without_engine`](Self::without_engine) where nothing is to run; then whatever the test is
/// about.
pub struct Cluster {
    pub manager: Daemon,
    pub workers: Vec<Worker>,
    engines: Vec<Engine>,
    dir: TempDir,
    ports: Ports,
    /// Where the manager listens for workers.
    manager_ip: Ipv4Addr,
    /// Held for as long as the cluster uses the engine.
    _turn: Option<Claim>,
}

impl Cluster {
    /// A manager and so many workers on one engine, ready. Waits while too many others use it.
    ///
    /// # Panics
    /// If they do not become ready.
    pub fn start(engine: &Engine, workers: usize) -> Cluster {
        Cluster::start_as(engine, workers, Setup::default())
    }

    /// The same with a manager that is special.
    ///
    /// # Panics
    /// If they do not become ready.
    pub fn start_as(engine: &Engine, workers: usize, setup: Setup) -> Cluster {
        let turn = engine_turn();
        let mut cluster = Cluster::with_manager(setup);
        cluster.engines = vec![engine.clone()];
        cluster._turn = Some(turn);
        for _ in 0..workers {
            cluster.add_worker(&[]);
        }
        cluster.wait_ready(workers);
        cluster
    }

    /// A manager outside of the laboratory's hosts, and a worker on each of them, ready.
    ///
    /// # Panics
    /// If they do not become ready.
    pub fn in_lab(lab: &Lab) -> Cluster {
        let mut cluster = Cluster::manager_of(lab);
        for host in &lab.hosts {
            cluster.add_worker_on(host, &[]);
        }
        cluster.wait_ready(lab.hosts.len());
        cluster
    }

    /// A manager that the laboratory's hosts can reach.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn manager_of(lab: &Lab) -> Cluster {
        let turn = engine_turn();
        let mut cluster = Cluster::with_manager(Setup { listen: MANAGER, ..Setup::default() });
        cluster.engines = lab.hosts.iter().map(|host| host.engine().clone()).collect();
        cluster._turn = Some(turn);
        cluster
    }

    /// A manager alone.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn without_engine() -> Cluster {
        Cluster::with_manager(Setup::default())
    }

    fn with_manager(Setup { listen: manager_ip, state_dir, env, program }: Setup) -> Cluster {
        let dir = tempfile::Builder::new().prefix("orbit-test-").tempdir().expect("a temporary folder");
        let ports = Ports::claim();
        let args = [
            format!("--listen=127.0.0.1:{}", ports.users()),
            format!("--listen-workers={manager_ip}:{}", ports.workers()),
            format!("--state-dir={}", state_dir.unwrap_or_else(|| dir.path().join("manager")).display()),
        ];
        let program = program.unwrap_or_else(|| binaries().manager.clone());
        let mut manager = Daemon::new(&program, args.to_vec(), dir.path().join("manager.log"));
        env.iter().for_each(|(name, value)| manager.env(name, value));
        manager.start();
        let cluster =
            Cluster { manager, workers: Vec::new(), engines: Vec::new(), dir, ports, manager_ip, _turn: None };
        cluster.wait_manager();
        cluster
    }

    /// One more worker, started but not waited for. It offers far more than the machine has, so that
    /// tests find room; `more` are further flags.
    pub fn add_worker(&mut self, more: &[&str]) -> &mut Worker {
        let program = binaries().worker.to_str().expect("a target folder has a plain name").to_string();
        let ports = self.ports.published(self.workers.len() as u16);
        self.start_worker(vec![program], ports, more)
    }

    /// The same with another program than that of this source.
    pub fn add_worker_as(&mut self, program: &Path) -> &mut Worker {
        let program = program.to_str().expect("a target folder has a plain name").to_string();
        let ports = self.ports.published(self.workers.len() as u16);
        self.start_worker(vec![program], ports, &[])
    }

    /// The same on a host of the laboratory, on that host's engine.
    pub fn add_worker_on(&mut self, host: &Host, more: &[&str]) -> &mut Worker {
        let mut command = host.enter();
        command.extend(["env".to_string(), format!("DOCKER_HOST={}", host.docker_host())]);
        command.push(binaries().worker.to_str().expect("a target folder has a plain name").to_string());
        let publish = format!("--publish={}", host.address());
        self.start_worker(command, (20_000, 20_999), &[&[publish.as_str()], more].concat())
    }

    /// What is said later on a line overrules what was said before.
    fn start_worker(&mut self, command: Vec<String>, ports: (u16, u16), more: &[&str]) -> &mut Worker {
        let name = format!("worker-{}", self.workers.len());
        let mut args = command[1..].to_vec();
        args.extend([
            format!("--manager={}", self.workers_url()),
            format!("--ports={}-{}", ports.0, ports.1),
            "--cpu-millis=64000".to_string(),
            "--memory-mib=16384".to_string(),
        ]);
        let given = |flag: &str| more.iter().any(|arg| arg.starts_with(flag));
        if !given("--name=") {
            args.push(format!("--name={name}"));
        }
        if !given("--state-dir=") {
            args.push(format!("--state-dir={}", self.worker_dir(self.workers.len()).display()));
        }
        args.extend(more.iter().map(|arg| arg.to_string()));
        let mut daemon = Daemon::new(Path::new(&command[0]), args, self.dir.path().join(format!("{name}.log")));
        daemon.start();
        self.workers.push(Worker { name, daemon, ports });
        self.workers.last_mut().expect("it was added just now")
    }

    /// The state directory of the worker of this number.
    pub fn worker_dir(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("worker-{number}"))
    }

    /// Waits until the manager answers that it leads.
    pub fn wait_manager(&self) {
        self.wait_for("the manager is ready", || match self.ask("GET", "/readyz", "") {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// Waits until so many nodes are ready.
    pub fn wait_ready(&self, nodes: usize) {
        self.wait_for(&format!("{nodes} nodes are ready"), || {
            let seen = self.nodes();
            let ready = seen.iter().filter(|node| node.state == "ready").count();
            if ready == nodes { Ok(()) } else { Err(format!("{ready} of {} are", seen.len())) }
        });
    }

    /// Where the API is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The same as an address.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.users()).into()
    }

    /// Where the manager listens for workers.
    pub fn workers_url(&self) -> String {
        format!("http://{}:{}", self.manager_ip, self.ports.workers())
    }

    /// The port of the manager that workers connect to.
    pub fn workers_port(&self) -> u16 {
        self.ports.workers()
    }
    /// A port for whatever else the test starts, by number.
    pub fn spare_port(&self, number: u16) -> u16 {
        self.ports.spare(number)
    }
    /// The manager's state directory.
    pub fn manager_dir(&self) -> PathBuf {
        self.dir.path().join("manager")
    }
    /// A folder for the test's own files; goes with the cluster.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Asks the API.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<Response, String> {
        http::ask(method, &format!("{}{path}", self.url()), body.as_bytes().to_vec())
    }

    /// The same with headers.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Response, String> {
        http::ask_with(method, &format!("{}{path}", self.url()), headers, body.as_bytes().to_vec())
    }

    /// Creates or changes a service, or submits a task, from its JSON.
    ///
    /// # Panics
    /// If that is refused.
    pub fn apply(&self, manifest: &Value) -> Value {
        let name = manifest["name"].as_str().expect("a manifest has a name");
        let answer = match manifest["kind"].as_str() {
            Some("Service") => self.ask("PUT", &format!("/v1/services/{name}"), &manifest.to_string()),
            _ => self.ask("POST", "/v1/tasks", &manifest.to_string()),
        };
        let answer = answer.expect("the manager answers");
        assert!(answer.is_success(), "{} {}", answer.status, answer.text());
        answer.json()
    }

    /// # Panics
    /// If that is refused.
    pub fn scale(&self, service: &str, replicas: u32) {
        let body = format!(r#"{{"replicas":{replicas}}}"#);
        let answer = self.ask("POST", &format!("/v1/services/{service}/scale"), &body).expect("the manager answers");
        assert!(answer.is_success(), "{} {}", answer.status, answer.text());
    }

    /// # Panics
    /// If that is refused.
    pub fn delete(&self, path: &str) {
        let answer = self.ask("DELETE", path, "").expect("the manager answers");
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Option<T> {
        let answer = self.ask("GET", path, "").ok().filter(Response::is_success)?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// All nodes; none where the manager does not answer.
    pub fn nodes(&self) -> Vec<Node> {
        self.get("/v1/nodes").map_or_else(Vec::new, |list: List<Node>| list.items)
    }
    /// The attempts that a query chooses, by ID; none where the manager does not answer.
    pub fn tasks(&self, query: &str) -> Vec<Task> {
        self.get(&format!("/v1/tasks?{query}")).map_or_else(Vec::new, |list: List<Task>| list.items)
    }
    /// One attempt.
    pub fn task(&self, id: &str) -> Option<Task> {
        self.get(&format!("/v1/tasks/{id}"))
    }
    pub fn service(&self, name: &str) -> Option<Service> {
        self.get(&format!("/v1/services/{name}"))
    }

    /// The attempts of a service that run, by ID.
    pub fn running(&self, service: &str) -> Vec<Task> {
        let live = |task: &Task| task.actual == "running" && task.desired == "running";
        self.tasks(&format!("service={service}")).into_iter().filter(live).collect()
    }

    /// What the engines have of this cluster, running or not, by name.
    pub fn containers(&self) -> Vec<Container> {
        let uids = self.node_uids();
        let of_engine = |engine: &Engine| -> Vec<Container> {
            uids.iter().flat_map(|uid| engine.labelled(&format!("orbit.node={uid}"))).collect()
        };
        let mut all: Vec<_> = self.engines.iter().flat_map(of_engine).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// What the engines call the volumes of this cluster.
    pub fn volumes(&self) -> Vec<String> {
        let labels: Vec<String> = self.node_uids().iter().map(|uid| format!("orbit.node={uid}")).collect();
        self.engines.iter().flat_map(|engine| labels.iter().flat_map(|label| engine.volumes(label))).collect()
    }

    /// Removes those that no container has.
    pub fn remove_volumes(&self) {
        self.engines.iter().for_each(|engine| engine.remove_volumes(&self.volumes()));
    }

    /// The containers of an object that run.
    pub fn running_containers(&self, name: &str) -> Vec<Container> {
        let ours = |container: &Container| container.is_running() && container.label("orbit.name") == name;
        self.containers().into_iter().filter(ours).collect()
    }

    /// What the workers' logs say: it is there before the first container is.
    fn node_uids(&self) -> BTreeSet<String> {
        let logs = self.workers.iter().map(|worker| worker.daemon.log()).collect::<Vec<_>>().join("\n");
        let uid = |rest: &str| rest.chars().take_while(char::is_ascii_hexdigit).collect::<String>();
        logs.split(" uid=").skip(1).map(uid).filter(|uid| uid.len() == 16).collect()
    }

    /// Waits until so many replicas of the service run, for the API and for the engine alike, and
    /// nothing else of it does. Gives the containers.
    pub fn wait_running(&self, service: &str, replicas: usize) -> Vec<Container> {
        self.wait_for(&format!("{replicas} replicas of {service} run"), || {
            let tasks: BTreeSet<String> = self.running(service).into_iter().map(|task| task.id).collect();
            let containers = self.running_containers(service);
            let found: BTreeSet<String> = containers.iter().map(|c| c.task().to_string()).collect();
            match tasks.len() == replicas && tasks == found && containers.len() == replicas {
                true => Ok(containers),
                false => Err(format!("tasks {tasks:?}, containers {found:?}")),
            }
        })
    }

    /// The same once a container, which was killed or removed, is not among them any more.
    pub fn wait_replaced(&self, service: &str, replicas: usize, gone: &Container) -> Vec<Container> {
        self.wait_for(&format!("{} of {service} is replaced", gone.name), || {
            let now = self.wait_running(service, replicas);
            if now.iter().all(|container| container.id != gone.id) { Ok(now) } else { Err("it runs".to_string()) }
        })
    }

    /// Waits until the attempt has ended.
    pub fn wait_ended(&self, id: &str) -> Task {
        self.wait_for(&format!("task {id} has ended"), || match self.task(id) {
            Some(task) if task.ended_at.is_some() => Ok(task),
            other => Err(format!("{other:?}")),
        })
    }

    /// Waits for a condition; what it gives is passed on. An `Err` says what is there instead.
    ///
    /// # Panics
    /// After [`PATIENCE`], with the state of everything.
    pub fn wait_for<T>(&self, what: &str, look: impl FnMut() -> Result<T, String>) -> T {
        self.wait_within(what, PATIENCE, look)
    }

    /// The same with a deadline of its own.
    ///
    /// # Panics
    /// After that, with the state of everything.
    pub fn wait_within<T>(&self, what: &str, patience: Duration, look: impl FnMut() -> Result<T, String>) -> T {
        poll_for(what, patience, look).unwrap_or_else(|error| panic!("{error}\n{}", self.dump()))
    }

    /// Everything that helps to see why something did not happen.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        for path in ["/v1/nodes", "/v1/services", "/v1/tasks"] {
            let answer = self.ask("GET", path, "").map(|answer| answer.text());
            text += &format!("--- GET {path}\n{}\n", answer.unwrap_or_else(|error| error));
        }
        for c in self.containers() {
            let Container { name, status, exit_code, oom_killed, pid, started_at, .. } = &c;
            let state = format!("{status} exit={exit_code} oom={oom_killed} pid={pid} started={started_at}");
            text += &format!("--- container {name} ({}/{}) {state}\n", c.label("orbit.name"), c.label("orbit.slot"));
        }
        text += &format!("--- manager.log\n{}\n", self.manager.log_tail(60));
        for worker in &self.workers {
            text += &format!("--- {}.log\n{}\n", worker.name, worker.daemon.log_tail(60));
        }
        text
    }

    fn orbit_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&binaries().orbit);
        command.args(args).env("ORBIT_ADDR", self.url()).env("NO_COLOR", "1").env_remove("ORBIT_FORMAT");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the command line against this cluster, with a text on its standard input.
    ///
    /// # Panics
    /// If it cannot be run.
    pub fn orbit(&self, args: &[&str], stdin: &str) -> Output {
        let mut child = self.orbit_spawn(args);
        let _ = child.stdin.take().expect("it is piped").write_all(stdin.as_bytes());
        child.wait_with_output().expect("its output can be read")
    }

    /// The same, left running with its streams piped.
    ///
    /// # Panics
    /// If it cannot be run.
    pub fn orbit_spawn(&self, args: &[&str]) -> Child {
        self.orbit_command(args).spawn().expect("the command line can be run")
    }

    /// Writes a file of the test's own and gives its path.
    ///
    /// # Panics
    /// If that fails.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("the temporary folder can be written");
        path.to_str().expect("a temporary folder has a plain name").to_string()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.manager.kill();
        self.workers.iter_mut().for_each(|worker| worker.daemon.kill());
        // The engine may still be at a request of a worker that is dead: look again after each round.
        for _ in 0..50 {
            let left = self.containers();
            if left.is_empty() {
                break;
            }
            for engine in &self.engines {
                left.iter().for_each(|container| engine.remove(&container.id));
            }
            sleep(Duration::from_millis(50));
        }
        self.remove_volumes();
    }
}

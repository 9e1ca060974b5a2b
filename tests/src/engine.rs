//! The Docker engine, asked itself.

use crate::{block_on, repository};
use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::{ContainerCreateBody, ContainerInspectResponse},
    query_parameters::{
        CreateContainerOptionsBuilder, EventsOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, RenameContainerOptionsBuilder,
        StopContainerOptionsBuilder,
    },
};
use futures_util::StreamExt;
use std::{
    collections::{BTreeMap, HashMap},
    process::Command,
    sync::OnceLock,
    time::SystemTime,
};

/// The example web server.
pub const IMAGE: &str = "orbit-web:1";

/// An engine that answers and has [`IMAGE`].
#[derive(Clone)]
pub struct Engine {
    pub docker: Docker,
}

/// What the engine says of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// Of the image, whatever it is called.
    pub image_id: String,
    /// Of its first process; 0 where it does not run.
    pub pid: i64,
    pub started_at: String,
    pub finished_at: String,
    /// `created`, `running`, `exited`, …
    pub status: String,
    pub restart_count: i64,
    pub exit_code: i64,
    pub oom_killed: bool,
    pub hostname: String,
    pub labels: BTreeMap<String, String>,
    /// `80/tcp` and the port of the host.
    pub ports: BTreeMap<String, u16>,
}

impl Container {
    pub fn is_running(&self) -> bool {
        self.status == "running"
    }
    /// One label, empty where it is missing.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
    /// The task that it belongs to.
    pub fn task(&self) -> &str {
        self.label("orbit.task")
    }
}

/// The engine that `DOCKER_HOST` names, with the image in it; `None`, and a line that says so, where
/// no engine answers: the test then passes without having tested.
///
/// # Panics
/// Where none answers and `ORBIT_REQUIRE_ENGINE=1`; or if the image cannot be made.
pub fn engine() -> Option<Engine> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    match ENGINE.get_or_init(|| block_on(connect())) {
        Ok(engine) => Some(engine.clone()),
        Err(error) => {
            skip(&format!("no Docker engine ({error})"));
            None
        }
    }
}

/// Says why a test is skipped, and counts it, one line each, where `.ci/test` wants to know: a runner hides
/// what a passing test prints.
///
/// # Panics
/// Where `ORBIT_REQUIRE_ENGINE=1`: then nothing may be missing.
pub fn skip(why: &str) {
    let required = std::env::var("ORBIT_REQUIRE_ENGINE").is_ok_and(|required| required == "1");
    assert!(!required, "{why}, and ORBIT_REQUIRE_ENGINE=1");
    println!("skipped: {why}");
    let Ok(path) = std::env::var("ORBIT_SKIPPED") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    let _ = file.and_then(|mut file| std::io::Write::write_all(&mut file, format!("{name}\n").as_bytes()));
}

async fn connect() -> Result<Engine, String> {
    let said = |error: bollard::errors::Error| error.to_string();
    let docker = match std::env::var("DOCKER_HOST") {
        Ok(host) if !host.is_empty() => Docker::connect_with_host(&host),
        _ => Docker::connect_with_unix("/var/run/docker.sock", 60, API_DEFAULT_VERSION),
    };
    let docker = docker.map_err(said)?.negotiate_version().await.map_err(said)?;
    docker.ping().await.map_err(said)?;
    if docker.inspect_image(IMAGE).await.is_err() {
        let made = Command::new(repository().join("examples/web/image")).arg(IMAGE).output();
        let made = made.expect("the script can be run");
        assert!(made.status.success(), "{IMAGE} cannot be made:\n{}", String::from_utf8_lossy(&made.stderr));
    }
    Ok(Engine { docker })
}

impl Engine {
    /// All containers with a label, running or not, by name. One that goes away meanwhile is left out.
    pub fn labelled(&self, label: &str) -> Vec<Container> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let listed = block_on(self.docker.list_containers(Some(options))).expect("the engine lists containers");
        let ids = listed.into_iter().filter_map(|container| container.id);
        let mut all: Vec<_> = ids.filter_map(|id| self.container(&id)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The IDs of all containers, whoever's they are, running or not.
    ///
    /// # Panics
    /// If the engine does not answer.
    pub fn all(&self) -> Vec<String> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let listed = block_on(self.docker.list_containers(Some(options))).expect("the engine lists containers");
        listed.into_iter().filter_map(|container| container.id).collect()
    }

    /// How many containers with all of these labels run, in one look.
    ///
    /// # Panics
    /// If the engine does not answer.
    pub fn count_running(&self, labels: &[&str]) -> usize {
        let filters = HashMap::from([("label", labels.to_vec()), ("status", vec!["running"])]);
        let options = ListContainersOptionsBuilder::default().filters(&filters).build();
        block_on(self.docker.list_containers(Some(options))).expect("the engine lists containers").len()
    }

    /// One container, by ID or name.
    pub fn container(&self, id: &str) -> Option<Container> {
        block_on(self.docker.inspect_container(id, None)).ok().map(container)
    }

    /// `docker kill`
    pub fn kill(&self, id: &str) {
        self.signal(id, "KILL");
    }

    /// `docker kill --signal`
    pub fn signal(&self, id: &str, signal: &str) {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        block_on(self.docker.kill_container(id, Some(options))).expect("a running container can be told");
    }

    /// `docker stop`, with a second of grace.
    pub fn stop(&self, id: &str) {
        let options = StopContainerOptionsBuilder::default().t(1).build();
        block_on(self.docker.stop_container(id, Some(options))).expect("a running container can be stopped");
    }

    /// `docker pause`. Not beside commands that begin in the container, as those of probes do: runc may give up freezing it
    /// (opencontainers/runc 2791), or freeze what begins the command, and then the engine answers nothing about the
    /// container any more.
    pub fn pause(&self, id: &str) {
        block_on(self.docker.pause_container(id)).expect("a running container can be paused");
    }

    /// `docker unpause`
    pub fn unpause(&self, id: &str) {
        block_on(self.docker.unpause_container(id)).expect("a paused container can be thawed");
    }

    /// `docker rename`
    pub fn rename(&self, id: &str, name: &str) {
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        block_on(self.docker.rename_container(id, options)).expect("a container can be renamed");
    }

    /// `docker start`
    pub fn start(&self, id: &str) {
        block_on(self.docker.start_container(id, None)).expect("a stopped container can be started");
    }

    /// How many containers with this label were ever created, as far as the engine remembers.
    ///
    /// # Panics
    /// If the engine does not answer.
    pub fn created_by(&self, label: &str) -> usize {
        let filters = HashMap::from([("label", vec![label]), ("event", vec!["create"])]);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let options = EventsOptionsBuilder::default().since("1").until(&now.to_string()).filters(&filters).build();
        block_on(self.docker.events(Some(options)).map(|event| event.expect("the engine tells")).count())
    }

    /// Commits the example's image with a change (`USER nosuch`), which nobody checks, and gives the new image's reference.
    ///
    /// # Panics
    /// If the command line refuses.
    pub fn commit(&self, change: &str) -> String {
        let docker = |args: &[&str]| {
            let output = std::process::Command::new("docker").args(args).output().expect("the command line is there");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).trim().to_string()
        };
        let word = change.split(' ').next().unwrap_or_default().to_lowercase();
        let (container, image) = (docker(&["create", IMAGE]), format!("orbit-changed-{word}:{}", std::process::id()));
        docker(&["commit", "-c", change, &container, &image]);
        docker(&["rm", &container]);
        image
    }

    /// `docker pull`, by somebody else.
    ///
    /// # Panics
    /// If that fails.
    pub fn pull(&self, image: &str) {
        let output = std::process::Command::new("docker").args(["pull", image]).output().expect("it is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Whether an image is on the machine.
    pub fn has_image(&self, image: &str) -> bool {
        block_on(self.docker.inspect_image(image)).is_ok()
    }

    /// Removes an image; without effect where there is none.
    pub fn remove_image(&self, image: &str) {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        let _ = block_on(self.docker.remove_image(image, Some(options), None));
    }

    /// The names of the volumes with this label.
    pub fn volumes(&self, label: &str) -> Vec<String> {
        let filter = format!("label={label}");
        let output = Command::new("docker").args(["volume", "ls", "-q", "--filter", &filter]).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.split_whitespace().map(str::to_string).collect()
    }

    /// Removes those of these volumes that no container has.
    pub fn remove_volumes(&self, names: &[String]) {
        if !names.is_empty() {
            let _ = Command::new("docker").args(["volume", "rm"]).args(names).output();
        }
    }

    /// `docker rm -f`. One that is gone already is a success.
    pub fn remove(&self, id: &str) {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        let _ = block_on(self.docker.remove_container(id, Some(options)));
    }

    /// A container that is nobody's, removed with its guard.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn foreign(&self, labels: &[(&str, &str)], args: &[&str]) -> Foreign {
        let body = ContainerCreateBody {
            image: Some(IMAGE.to_string()),
            cmd: Some(args.iter().map(|arg| arg.to_string()).collect()),
            labels: Some(labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()),
            ..ContainerCreateBody::default()
        };
        let created =
            block_on(self.docker.create_container(Some(CreateContainerOptionsBuilder::default().build()), body));
        let foreign = Foreign { engine: self.clone(), id: created.expect("a container can be created").id };
        block_on(self.docker.start_container(&foreign.id, None)).expect("a container can be started");
        foreign
    }
}

/// A container beside Orbit's.
pub struct Foreign {
    engine: Engine,
    pub id: String,
}

impl Foreign {
    /// # Panics
    /// If it is gone.
    pub fn look(&self) -> Container {
        self.engine.container(&self.id).expect("nobody removes the container of somebody else")
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.engine.remove(&self.id);
    }
}

fn container(inspected: ContainerInspectResponse) -> Container {
    let state = inspected.state.unwrap_or_default();
    let config = inspected.config.unwrap_or_default();
    let bindings = inspected.host_config.and_then(|host| host.port_bindings).unwrap_or_default();
    let host = |bound: Option<Vec<bollard::models::PortBinding>>| bound?.first()?.host_port.clone()?.parse().ok();
    Container {
        id: inspected.id.unwrap_or_default(),
        image_id: inspected.image.unwrap_or_default(),
        name: inspected.name.unwrap_or_default().trim_start_matches('/').to_string(),
        pid: state.pid.unwrap_or_default(),
        started_at: state.started_at.unwrap_or_default(),
        finished_at: state.finished_at.unwrap_or_default(),
        status: state.status.map(|status| status.to_string()).unwrap_or_default(),
        restart_count: inspected.restart_count.unwrap_or_default(),
        exit_code: state.exit_code.unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or_default(),
        hostname: config.hostname.unwrap_or_default(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        ports: bindings.into_iter().filter_map(|(inside, bound)| Some((inside, host(bound)?))).collect(),
    }
}

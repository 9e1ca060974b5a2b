//! The worker as a program: one validated configuration, the real engine, the real ledger.

use crate::{Error, Parts, driver::run_measured, exposition, metrics::Metrics};
use clap::Parser;
use orbit_core::{
    model::{Grant, Millis, NodeInfo, NodeUid, Resources, SPEC_LEVEL, Versions, check_labels, check_name, limits},
    worker::{self, FreeSpace},
};
use orbit_runtime::{ContainerRuntime, EngineInfo, docker::DockerRuntime};
use orbit_shell::{
    Owned, TokioBlocking,
    program::{LogFormat, Logs, Settings, metrics::disk_bytes},
    supervisor,
};
use orbit_store::{Options, RedbLedger};
use prometheus_client::{
    metrics::gauge::ConstGauge,
    registry::{Registry, Unit},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Where a manager listens unless it is told otherwise.
const ORBITS_PORTS: [u16; 2] = [7070, 7071];

/// So much is said of the engine's version, in ASCII; the manager takes no more.
const NAME_CHARS_MAX: usize = 60;

/// The ledger is written as long as so much is free: what runs is looked after when nothing more is begun.
const LEDGER_RESERVE_BYTES: u64 = 4 << 20;

/// A TiB, for each container.
const CONTAINER_LOG_MIB_MAX: u64 = 1 << 20;

/// Orbit's worker: runs on this machine what the manager decides, through Docker.
#[derive(Parser, Clone, Debug, PartialEq, Eq)]
#[command(
    name = "orbit-worker",
    version,
    after_help = "\
Flags override the environment, which overrides the file, which overrides the defaults. The file is
TOML; its keys are the flags' names with underscores (`labels` is a table), and an unknown key is
refused:

  # /etc/orbit/worker.toml
  manager = \"http://10.0.0.5:7071\"
  publish = \"0.0.0.0\"
  [labels]
  disk = \"ssd\"

The engine is the local one, or that of DOCKER_HOST; the worker waits for an engine that does not answer.
SIGTERM and Ctrl-C end the worker; its containers keep running, and the next start adopts them.

Examples:
  orbit-worker --config /etc/orbit/worker.toml
  orbit-worker --manager http://10.0.0.5:7071 --publish 0.0.0.0 --label disk=ssd"
)]
pub struct Config {
    /// The address at which the manager listens for workers; may be given several times, or with commas between. The worker
    /// works for one of them, and dials the next where one cannot be reached or refuses it.
    #[arg(
        id = "manager",
        long = "manager",
        env = "ORBIT_MANAGER",
        default_value = "http://127.0.0.1:7071",
        value_name = "URL",
        value_parser = url,
        value_delimiter = ','
    )]
    pub managers: Vec<String>,
    /// The directory of the worker's ledger; each worker needs its own.
    #[arg(long, env = "ORBIT_WORKER_STATE", default_value = "/var/lib/orbit/worker", value_name = "DIR")]
    pub state_dir: PathBuf,
    /// The node's name, unique in the cluster [default: the machine's name].
    #[arg(long, env = "ORBIT_NODE_NAME", value_name = "NAME")]
    pub name: Option<String>,
    /// A label of the node, for constraints; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    pub labels: Vec<(String, String)>,
    /// Processor time that tasks may use in all, in thousandths [default: the machine's].
    #[arg(long, value_name = "MILLIS")]
    pub cpu_millis: Option<u64>,
    /// Memory that tasks may use in all, in MiB [default: the machine's].
    #[arg(long, value_name = "MIB")]
    pub memory_mib: Option<u64>,
    /// The range from which host ports are chosen. Workers that share a machine need separate ranges.
    #[arg(long, default_value = "20000-29999", value_name = "FIRST-LAST", value_parser = port_range)]
    pub ports: (u16, u16),
    /// Further ports that a service may pin (`host` in its manifest), beside those of --ports: 80, or 8000-8999; may be given
    /// several times. The ports on which Orbit listens can never be pinned. [default: none]
    #[arg(long = "pinned-ports", value_name = "PORT|FIRST-LAST", value_parser = ports_of, value_delimiter = ',')]
    pub pinned_ports: Vec<(u16, u16)>,
    /// What a container may have of this machine beyond what each has anyway; may be given several times: host:/PATH (that, and
    /// all below it), docker-socket, devices, host-network, capability:NAME, unconfined or privileged. With most of them,
    /// whoever may start containers may do all that root may here. [default: nothing]
    #[arg(long = "allow", value_name = "WHAT")]
    pub allow: Vec<Grant>,
    /// The address of this machine on which tasks publish their ports. Only this machine reaches them unless this
    /// names another address (0.0.0.0: all addresses).
    #[arg(long, env = "ORBIT_PUBLISH", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDRESS")]
    pub publish: IpAddr,
    /// The address under which others reach the ports of this machine's tasks; the endpoints of a service name it
    /// [default: that of --publish, or the address from which the worker dials the manager].
    #[arg(long, env = "ORBIT_ADVERTISE", value_name = "ADDRESS")]
    pub advertise: Option<IpAddr>,
    /// How long pulling an image may take, in seconds.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub pull_deadline: u64,
    /// How much of what a container writes is kept, in MiB, where the engine keeps it in files (its drivers `json-file` and
    /// `local`); the oldest third goes first. 0: as the engine is configured, which by default keeps everything.
    #[arg(long, default_value_t = 30, value_name = "MIB")]
    pub container_log_mib: u64,
    /// With less than this free, in MiB, on the disk of the ledger or of the engine, the node takes no more tasks; those that
    /// it has go on.
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    pub disk_reserve_mib: u64,
    /// With less than this free, in MiB, on the disk of the engine, images go that this worker pulled and that no task has needed
    /// for a while, one after the other. Others are never removed, nor any of which there is a container. 0: none is. Where several
    /// workers share an engine, one of them at most should do this: none knows what the others need.
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    pub collect_images_below_mib: u64,
    /// After nothing has needed them for so long, in seconds. The manager relies for a minute on an image that it has asked for
    /// ahead.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub collect_images_after: u64,
    /// Credentials for registries: a file as `docker login` writes it. It is read, and its helpers are asked, for every pull
    /// [default: the file of Docker's own command line, if there is one].
    #[arg(long, env = "ORBIT_REGISTRY_AUTH", value_name = "FILE")]
    pub registry_auth: Option<PathBuf>,
    /// The address at which Prometheus finds this worker's /metrics, for example 127.0.0.1:7072. Whoever reaches it can read
    /// them. [default: none, nothing is served]
    #[arg(long, env = "ORBIT_METRICS", value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
    /// The log.
    #[command(flatten)]
    pub logs: Logs,
}

impl Config {
    /// The name that the node has.
    pub fn node_name(&self) -> String {
        self.name.clone().unwrap_or_else(machine_name)
    }
    /// Where Orbit itself listens, or would: no task is given one of these, or what talks to Orbit would talk to the task.
    fn own_ports(&self) -> BTreeSet<u16> {
        let port = |manager: &String| manager.parse::<tonic::codegen::http::Uri>().ok()?.port_u16();
        let metrics = self.metrics.map(|address| address.port());
        self.managers.iter().filter_map(port).chain(metrics).chain(ORBITS_PORTS).collect()
    }
    /// What may be pinned, without Orbit's own.
    fn pinnable(&self) -> Vec<(u16, u16)> {
        let mut ranges = self.pinned_ports.clone();
        for own in self.own_ports() {
            ranges = ranges.into_iter().flat_map(|range| without(range, own)).collect();
        }
        ranges
    }
    /// What is allowed, once each, in the order of the words.
    fn allowed(&self) -> Box<[Grant]> {
        let by_word: BTreeMap<String, &Grant> = self.allow.iter().map(|grant| (grant.to_string(), grant)).collect();
        by_word.into_values().cloned().collect()
    }
    fn label_map(&self) -> BTreeMap<String, String> {
        self.labels.iter().cloned().collect()
    }
}

impl Settings for Config {
    fn check(&self) -> Result<(), String> {
        check_name("--name", &self.node_name()).map_err(|error| error.to_string())?;
        check_labels("--label", &self.label_map()).map_err(|error| error.to_string())?;
        match () {
            () if self.managers.is_empty() => Err("--manager: a worker has one at least".to_string()),
            () if self.allow.len() > limits::ITEMS_MAX => {
                Err(format!("--allow: {} are more than {}", self.allow.len(), limits::ITEMS_MAX))
            }
            () if self.allow.iter().map(|it| it.to_string().len()).sum::<usize>() > limits::LABELS_BYTES_MAX => {
                Err(format!("--allow: more than {} bytes", limits::LABELS_BYTES_MAX))
            }
            () if self.own_ports().iter().any(|port| (self.ports.0..=self.ports.1).contains(port)) => {
                let own = self.own_ports().iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
                Err(format!("--ports: {}-{} holds a port on which Orbit listens ({own})", self.ports.0, self.ports.1))
            }
            () if self.container_log_mib > CONTAINER_LOG_MIB_MAX => {
                Err(format!("--container-log-mib: {} is more than {CONTAINER_LOG_MIB_MAX}", self.container_log_mib))
            }
            () if self.pull_deadline == 0 => Err("--pull-deadline: 0 s is no time to pull an image".to_string()),
            () if self.cpu_millis == Some(0) => Err("--cpu-millis: a node with none runs nothing".to_string()),
            () if self.memory_mib == Some(0) => Err("--memory-mib: a node with none runs nothing".to_string()),
            () => Ok(()),
        }
    }
    fn log_format(&self) -> LogFormat {
        self.logs.log_format
    }
}

fn url(text: &str) -> Result<String, String> {
    let wrong = || "write http://HOST:PORT, where the manager listens for workers".to_string();
    let uri: tonic::codegen::http::Uri = text.parse().map_err(|_| wrong())?;
    let plain = uri.path_and_query().is_none_or(|path| path.as_str() == "/") && uri.port_u16().is_some();
    if uri.scheme_str() == Some("http") && plain { Ok(text.to_string()) } else { Err(wrong()) }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_string(), value.to_string()))
}

/// What is left of a range without one port.
fn without((first, last): (u16, u16), port: u16) -> impl Iterator<Item = (u16, u16)> {
    let (below, above) = match (first..=last).contains(&port) {
        true => ((first < port).then(|| (first, port - 1)), (port < last).then(|| (port + 1, last))),
        false => (Some((first, last)), None),
    };
    below.into_iter().chain(above)
}

/// One port, or a range of them.
fn ports_of(text: &str) -> Result<(u16, u16), String> {
    match text.parse() {
        Ok(port) if port > 0 => Ok((port, port)),
        _ => port_range(text),
    }
}

fn port_range(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("`{text}` is not a range of ports: write FIRST-LAST, for example 20000-29999");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let (first, last) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    if first == 0 || first > last {
        return Err(wrong());
    }
    Ok((first, last))
}

/// Why a worker could not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address of the metrics.
    #[error("cannot listen on {address}: {source}; if something else listens there, choose another with --metrics")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The shell.
    #[error(transparent)]
    Worker(#[from] Error),
}

impl From<orbit_store::StoreError> for StartError {
    fn from(error: orbit_store::StoreError) -> Self {
        StartError::Worker(error.into())
    }
}

/// Runs a worker on the local engine (`DOCKER_HOST` is honoured) until `stop` is ready.
///
/// # Errors
/// When the ledger cannot be read or written. An engine that does not answer is waited for.
pub async fn serve(config: Config, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    // The first thing that can be refused: a directory in use or of another version.
    let options = Options { reserve_bytes: LEDGER_RESERVE_BYTES, ..Options::default() };
    let ledger = RedbLedger::open(&config.state_dir, options)?;
    // From the beginning: that there is no engine is what somebody wants to be told.
    let metrics = Arc::<Metrics>::default();
    let _exposition = config.metrics.map(|address| expose(address, metrics.clone(), &config.state_dir)).transpose()?;
    let mut stop = std::pin::pin!(async {
        stop.await;
        supervisor::stopping();
    });
    // It does its work from here on: a machine whose engine comes later is nothing that failed.
    supervisor::ready("waits for the container engine");
    let runtime = DockerRuntime::from_env(config.publish)
        .with_credentials(config.registry_auth.clone())
        .with_log_bytes(config.container_log_mib << 20)
        .with_allowed(&config.allow);
    if config.allow.iter().any(Grant::is_root) {
        tracing::warn!("--allow: whoever may start containers may do all that root may on this machine");
    }
    let runtime = Arc::new(runtime);
    let engine = tokio::select! { biased;
        () = &mut stop => return Ok(()),
        info = engine(&*runtime) => info,
    };
    // The engine may be another machine's: then its directory is not here, and its disk nobody's to look at.
    let engine_dir = engine.root_dir.clone().filter(|dir| dir.is_dir());
    let state_dir = config.state_dir.clone();
    let parts = Parts {
        config: worker_config(&config, engine),
        managers: config.managers,
        runtime,
        ledger: Box::new(ledger),
        free_space: Arc::new(move || free_space(&state_dir, engine_dir.as_deref())),
        blocking: Arc::new(TokioBlocking),
        nonce: orbit_shell::random(),
    };
    Ok(run_measured(parts, metrics, stop).await?)
}

/// What is free on the disks of these directories.
fn free_space(state_dir: &Path, engine_dir: Option<&Path>) -> std::io::Result<FreeSpace> {
    let images_bytes = engine_dir.map_or(Ok(u64::MAX), |dir| disk_bytes(dir).map(|(free, _)| free))?;
    Ok(FreeSpace { least_bytes: disk_bytes(state_dir)?.0.min(images_bytes), images_bytes })
}

/// Serves the metrics until this is dropped.
fn expose(address: SocketAddr, metrics: Arc<Metrics>, state_dir: &Path) -> Result<Owned, StartError> {
    let listener = TcpListener::bind(address).map_err(|source| StartError::Listen { address, source })?;
    if !address.ip().is_loopback() {
        tracing::warn!("--metrics {address}: whoever reaches this address can read the metrics");
    }
    let state_dir = state_dir.to_path_buf();
    let page = move || {
        orbit_shell::program::metrics::exposition(|registry| {
            metrics.register(registry);
            register_disk(&state_dir, registry);
        })
    };
    Ok(Owned::spawn(async move {
        if let Err(error) = exposition::serve(listener, Arc::new(page)).await {
            tracing::warn!("the metrics cannot be served: {error}");
        }
    }))
}

fn register_disk(state_dir: &Path, registry: &mut Registry) {
    // A series that is not there is better than one that says 0.
    let Ok((free, size)) = disk_bytes(state_dir) else { return };
    let mut bytes = |name: &str, help: &str, value: u64| {
        registry.register_with_unit(name, help, Unit::Bytes, ConstGauge::new(value as f64));
    };
    bytes("state_disk_free", "What is free on the file system of the state directory", free);
    bytes("state_disk_size", "The size of the file system of the state directory", size);
}

/// Waits for an engine that answers. Each reason why not is said once.
async fn engine(runtime: &dyn ContainerRuntime) -> EngineInfo {
    let mut said = String::new();
    loop {
        match runtime.info().await {
            Ok(info) => return info,
            Err(error) if error.message != said => {
                tracing::warn!("no container engine answers ({}): waiting for one", error.message);
                said = error.message;
            }
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn worker_config(config: &Config, engine: EngineInfo) -> worker::Config {
    let memory_bytes = config.memory_mib.map(|mib| mib.saturating_mul(1 << 20));
    worker::Config {
        info: NodeInfo {
            uid: NodeUid(orbit_shell::random()),
            name: config.node_name(),
            labels: config.label_map(),
            arch: engine.arch,
            os: engine.os,
            allocatable: Resources {
                cpu_millis: config.cpu_millis.unwrap_or(engine.capacity.cpu_millis),
                memory_bytes: memory_bytes.unwrap_or(engine.capacity.memory_bytes),
            },
            port_range: config.ports,
            pinned_ports: Some(config.pinnable().into()),
            allowed: config.allowed(),
            versions: Box::new(Versions {
                worker: env!("CARGO_PKG_VERSION").to_string(),
                engine: engine.version.chars().filter(|c| matches!(c, ' '..='~')).take(NAME_CHARS_MAX).collect(),
                spec_level: SPEC_LEVEL,
            }),
            // Where only one address publishes, it is that one. Else the manager sees from where this worker dials.
            address: config.advertise.or(Some(config.publish).filter(|publish| !publish.is_unspecified())),
        },
        pull_deadline: Millis::secs(config.pull_deadline),
        // A few more than the engine works on at once: it is never idle while a result is on its way.
        starts_max: 12,
        resync_every: Millis::secs(30),
        disk_reserve_bytes: config.disk_reserve_mib.saturating_mul(1 << 20),
        image_collection: worker::ImageCollection {
            below_bytes: config.collect_images_below_mib.saturating_mul(1 << 20),
            unneeded_for: Millis::secs(config.collect_images_after),
        },
    }
}

/// The machine's name, as far as it can be a node's: what is not allowed in one becomes a hyphen.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = name.trim().chars().map(allowed).take(50).collect();
    let name = name.trim_matches('-');
    if name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.to_string()
    } else {
        format!("node-{name}").trim_end_matches('-').to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(args: &[&str]) -> Result<Config, String> {
        let args = ["orbit-worker"].iter().chain(args).map(std::ffi::OsString::from);
        orbit_shell::program::read::<Config>(args).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn what_may_be_pinned_is_said_by_the_operator_and_never_orbits_own() {
        assert_eq!(config(&[]).unwrap().pinnable(), []);
        let some = config(&["--pinned-ports", "80,443", "--pinned-ports", "8000-8999"]).unwrap();
        assert_eq!(some.pinnable(), [(80, 80), (443, 443), (8000, 8999)]);
        let any = config(&["--pinned-ports", "1-65535", "--manager", "http://10.0.0.5:65535"]).unwrap();
        assert_eq!(any.pinnable(), [(1, 7069), (7072, 65534)]);
        assert_eq!(config(&["--pinned-ports", "7071"]).unwrap().pinnable(), []);
        for bad in ["0", "9-8", "http", "70000"] {
            assert!(config(&["--pinned-ports", bad]).is_err(), "{bad}");
        }
        assert!(config(&["--ports", "7000-8000"]).unwrap_err().contains("7070, 7071"));
        let measured = config(&["--pinned-ports", "9000-9002", "--metrics", "127.0.0.1:9001"]).unwrap();
        assert_eq!(measured.pinnable(), [(9000, 9000), (9002, 9002)]);
    }

    #[test]
    fn a_worker_takes_a_list_of_managers_however_it_is_written() {
        let (a, b) = ("http://a:7071", "http://b:8071");
        assert_eq!(config(&[]).unwrap().managers, ["http://127.0.0.1:7071"]);
        assert_eq!(config(&["--manager", "http://a:7071,http://b:8071"]).unwrap().managers, [a, b]);
        let twice = config(&["--manager", a, "--manager", b, "--pinned-ports", "8070-8072"]).unwrap();
        assert_eq!(twice.managers, [a, b]);
        assert_eq!(twice.pinnable(), [(8070, 8070), (8072, 8072)], "each manager's port is Orbit's own");
        for (text, managers) in [
            ("manager = \"http://a:7071\"", &[a][..]),
            ("manager = \"http://a:7071,http://b:8071\"", &[a, b]),
            ("manager = [\"http://a:7071\", \"http://b:8071\"]", &[a, b]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("worker.toml");
            std::fs::write(&file, text).unwrap();
            assert_eq!(config(&["--config", file.to_str().unwrap()]).unwrap().managers, managers, "{text}");
        }
        assert!(config(&["--manager", "http://a:7071,b"]).unwrap_err().contains("http://HOST:PORT"));
    }

    #[test]
    fn the_file_says_it_as_a_list() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("worker.toml");
        let text = "pinned_ports = [\"80\", \"8000-8999\"]\nallow = [\"host:/srv/a,b\", \"devices\"]\n";
        std::fs::write(&file, text).unwrap();
        let read = config(&["--config", file.to_str().unwrap()]).unwrap();
        assert_eq!(read.pinnable(), [(80, 80), (8000, 8999)]);
        assert_eq!(read.allow, [Grant::HostPath("/srv/a,b".into()), Grant::Devices]);
    }

    #[test]
    fn what_is_allowed_is_said_once_each_in_order_and_nothing_by_default() {
        let allowed = |args: &[&str]| config(args).map(|config| config.allowed());
        assert_eq!(allowed(&[]), Ok([].into()));
        let [socket, net] = [Grant::DockerSocket, Grant::Capability("NET_ADMIN".into())];
        let twice = ["--allow", "docker-socket", "--allow", "capability:NET_ADMIN", "--allow=docker-socket"];
        assert_eq!(allowed(&twice), Ok([net, socket].into()));
        for (bad, said) in
            [("root", "`root`"), ("host:srv", "absolute"), ("host:/a/../etc", "`..`"), ("capability:", "NET_ADMIN")]
        {
            let refusal = allowed(&["--allow", bad]).unwrap_err();
            assert!(refusal.contains(said) && refusal.contains("--allow"), "{refusal}");
        }
    }
}

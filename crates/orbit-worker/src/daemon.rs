//! The worker as a program: flags and environment into one validated configuration, the real
//! engine, the real ledger.

use crate::{Error, Parts, run};
use clap::Args;
use orbit_core::{
    model::{Millis, NodeInfo, NodeUid, Resources, check_map, check_name},
    worker::Config,
};
use orbit_runtime::{ContainerRuntime, docker::DockerRuntime};
use orbit_shell::TokioBlocking;
use orbit_store::{Options, RedbLedger};
use std::{
    collections::BTreeMap,
    future::Future,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// What a worker is told on its command line.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Where the manager listens for workers.
    #[arg(long, env = "ORBIT_MANAGER", default_value = "http://127.0.0.1:7071", value_name = "URL")]
    pub manager: String,
    /// Where the worker keeps its ledger; one directory per worker.
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
    /// From which host ports are chosen. Workers that share a machine need ranges of their own.
    #[arg(long, default_value = "20000-29999", value_name = "FIRST-LAST", value_parser = port_range)]
    pub ports: (u16, u16),
    /// On which of the machine's addresses tasks publish their ports. Nothing outside of this
    /// machine reaches them unless told otherwise here (0.0.0.0: on all).
    #[arg(long, env = "ORBIT_PUBLISH", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDRESS")]
    pub publish: IpAddr,
    /// How long pulling an image may take, in seconds.
    #[arg(long, default_value_t = PULL_DEADLINE_DEFAULT, value_name = "SECONDS")]
    pub pull_deadline: u64,
}

impl Flags {
    /// A worker on the manager's own machine, with the defaults for everything else.
    pub fn local(manager: String, state_dir: PathBuf) -> Flags {
        Flags {
            manager,
            state_dir,
            name: None,
            labels: Vec::new(),
            cpu_millis: None,
            memory_mib: None,
            ports: PORTS_DEFAULT,
            publish: IpAddr::V4(Ipv4Addr::LOCALHOST),
            pull_deadline: PULL_DEADLINE_DEFAULT,
        }
    }
}

/// Below the range from which Linux gives ports to outgoing connections.
const PORTS_DEFAULT: (u16, u16) = (20_000, 29_999);
/// Seconds.
const PULL_DEADLINE_DEFAULT: u64 = 600;

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_string(), value.to_string()))
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
    /// A flag.
    #[error("{0}")]
    Flag(String),
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
/// When a flag is wrong, or the ledger cannot be read or written. An engine that does not answer
/// is waited for.
pub async fn serve(flags: Flags, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let name = flags.name.clone().unwrap_or_else(machine_name);
    check_name("--name", &name).map_err(|e| StartError::Flag(e.to_string()))?;
    let labels: BTreeMap<String, String> = flags.labels.iter().cloned().collect();
    check_map("--label", &labels).map_err(|e| StartError::Flag(e.to_string()))?;
    // The first thing that can be refused: a directory in use or of another version.
    let ledger = RedbLedger::open(&flags.state_dir, Options::default())?;
    let runtime = Arc::new(DockerRuntime::from_env(flags.publish));
    let mut stop = std::pin::pin!(stop);
    let info = loop {
        let error = match runtime.info().await {
            Ok(info) => break info,
            Err(error) => error,
        };
        tracing::warn!("no container engine answers ({}): waiting for one", error.message);
        tokio::select! { biased;
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    };
    let config = Config {
        info: NodeInfo {
            uid: NodeUid(orbit_shell::random()),
            name,
            labels,
            arch: info.arch,
            os: info.os,
            allocatable: Resources {
                cpu_millis: flags.cpu_millis.unwrap_or(info.capacity.cpu_millis),
                memory_bytes: flags.memory_mib.map_or(info.capacity.memory_bytes, |mib| mib.saturating_mul(1 << 20)),
            },
            port_range: flags.ports,
        },
        pull_deadline: Millis::secs(flags.pull_deadline),
        // A few more than the engine works on at once: it is never idle while a result is on its way.
        starts_max: 12,
        resync_every: Millis::secs(30),
    };
    let parts = Parts {
        config,
        manager: flags.manager,
        runtime,
        ledger: Box::new(ledger),
        blocking: Arc::new(TokioBlocking),
        nonce: orbit_shell::random(),
    };
    Ok(run(parts, stop).await?)
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

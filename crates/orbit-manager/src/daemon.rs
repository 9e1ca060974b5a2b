//! The manager as a program: one validated configuration, the real log, the real listeners.

use crate::{
    Error, ManagerHandle, Parts,
    consensus::COMPACT_EVERY,
    http::{self, browser::Names, connections::Limits},
    sessions::Workers,
    start,
};
use clap::Parser;
use orbit_core::model::{ClusterId, Timing};
use orbit_proto::{bounds, v1::worker_server::WorkerServer};
use orbit_shell::{
    TokioBlocking,
    program::{LogFormat, Logs, Settings},
    supervisor,
};
use orbit_store::{Options, RedbStorage};
use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::sync::oneshot;

/// Orbit's manager: keeps the desired state, decides what runs where.
#[derive(Parser, Clone, Debug, PartialEq, Eq)]
#[command(
    name = "orbit-manager",
    version,
    after_help = "\
Flags override the environment, which overrides the file, which overrides the defaults. The file is
TOML; its keys are the flags' names with underscores, and an unknown key is refused:

  # /etc/orbit/manager.toml
  listen_workers = \"10.0.0.5:7071\"
  log_format = \"json\"

SIGTERM and Ctrl-C end the manager; workers and containers keep running.

Examples:
  orbit-manager --config /etc/orbit/manager.toml
  orbit-manager --state-dir /var/lib/orbit/manager --listen-workers 0.0.0.0:7071"
)]
pub struct Config {
    /// The address for users: the REST API. There are no certificates yet, so only this machine reaches it
    /// unless this names another address.
    #[arg(long, env = "ORBIT_LISTEN", default_value = "127.0.0.1:7070", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// A further name by which clients may call this manager, such as the name that a reverse proxy on this machine passes
    /// on in the header Host. It matters only if --listen is a loopback address: other names are refused there.
    #[arg(long = "name", env = "ORBIT_NAMES", value_delimiter = ',', value_name = "NAME")]
    pub names: Vec<String>,
    /// The address for workers. There are no certificates yet: use another address than the loopback only in
    /// networks that you trust.
    #[arg(long, env = "ORBIT_LISTEN_WORKERS", default_value = "127.0.0.1:7071", value_name = "ADDRESS")]
    pub listen_workers: SocketAddr,
    /// The directory of the manager's log; each manager needs its own.
    #[arg(long, env = "ORBIT_MANAGER_STATE", default_value = "/var/lib/orbit/manager", value_name = "DIR")]
    pub state_dir: PathBuf,
    /// The log.
    #[command(flatten)]
    pub logs: Logs,
}

impl Settings for Config {
    fn check(&self) -> Result<(), String> {
        match self.listen == self.listen_workers && self.listen.port() != 0 {
            true => Err(format!("--listen and --listen-workers are both {}: give each its own port", self.listen)),
            false => Ok(()),
        }
    }
    fn log_format(&self) -> LogFormat {
        self.logs.log_format
    }
}

/// Why a manager could not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address.
    #[error(
        "cannot listen on {address}: {source}; if another manager runs here, stop it, or choose another with {flag}"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
        /// Which flag sets it.
        flag: &'static str,
    },
    /// The shell.
    #[error(transparent)]
    Manager(#[from] Error),
    /// A listener failed later.
    #[error("a listener failed: {0}")]
    Serve(String),
}

impl From<orbit_store::StoreError> for StartError {
    fn from(error: orbit_store::StoreError) -> Self {
        StartError::Manager(error.into())
    }
}

fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| StartError::Listen { address, source, flag })
}

/// How long answers that are under way are waited for at the end. Watches and logs that are followed
/// are under way for ever: they are cut then, and their readers come back.
const FAREWELL_MAX: Duration = Duration::from_millis(300);

/// Runs a manager until `stop` is ready, and a little longer: what is asked already is answered.
///
/// # Errors
/// When a listener or the state directory cannot be had, or the log cannot be written.
pub async fn serve(config: Config, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let storage = RedbStorage::open(&config.state_dir, Options::default())?;
    let users = listen(config.listen, "--listen")?;
    let workers = listen(config.listen_workers, "--listen-workers")?;
    for (address, flag) in [(config.listen, "--listen"), (config.listen_workers, "--listen-workers")] {
        if !address.ip().is_loopback() {
            tracing::warn!("{flag} {address}: there are no certificates yet, so only for networks that you trust");
        }
    }
    let parts = Parts {
        timing: Timing::default(),
        storage: Box::new(storage),
        blocking: Arc::new(TokioBlocking),
        compact_every: COMPACT_EVERY,
        seed: orbit_shell::random(),
        cluster: ClusterId(orbit_shell::random()),
    };
    let (close, closed) = oneshot::channel();
    let (say_answered, answered) = oneshot::channel::<()>();
    let farewell = async {
        stop.await;
        supervisor::stopping();
        let _ = close.send(());
        let _ = tokio::time::timeout(FAREWELL_MAX, answered).await;
    };
    let (handle, manager) = start(parts, farewell)?;
    tracing::info!(users = %config.listen, workers = %config.listen_workers, "listening");
    let users = async {
        let names = Names::of(config.listen.ip(), &config.names);
        let router = http::router(handle.clone(), names);
        let served = http::serve(users, router, Limits::of_this_process(), async { drop(closed.await) }).await;
        match served {
            // Everything is answered: it is for the manager to end.
            Ok(()) => drop(say_answered),
            Err(error) => return StartError::Serve(error.to_string()),
        }
        std::future::pending().await
    };
    tokio::select! { biased;
        ended = manager => Ok(ended?),
        failed = users => Err(failed),
        served = serve_workers(workers, handle.clone()) => Err(StartError::Serve(format!("{served:?}"))),
        () = report(handle.clone()) => unreachable!("it goes on for as long as the manager"),
    }
}

/// Tells the supervisor when the manager leads, and then how the cluster is.
async fn report(handle: ManagerHandle) {
    let mut said = String::new();
    loop {
        let looked = handle.read(|state, _| {
            let cluster = state.cluster();
            let nodes = cluster.node_count();
            (state.is_ready(), cluster.index, nodes - cluster.silent().len(), nodes)
        });
        let Ok((leads, revision, reached, nodes)) = looked.await else { return std::future::pending().await };
        let status = format!("leads; {reached} of {nodes} nodes ready");
        if leads && said != status {
            if said.is_empty() {
                supervisor::ready(&status)
            } else {
                supervisor::status(&status)
            }
            said = status;
        }
        // Never compacted: what is asked for is only ever the newest.
        let _ = handle.feed.after(revision).await;
    }
}

/// Lets workers in. What they send is bounded, whoever they are.
///
/// # Errors
/// When nobody can be let in any more.
pub async fn serve_workers(
    listener: TcpListener,
    handle: ManagerHandle,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    // A worker whose machine has vanished does not close its connection: it is asked now and then.
    let keepalive = Some(std::time::Duration::from_secs(10));
    let mut server = tonic::transport::Server::builder().http2_keepalive_interval(keepalive);
    let service = WorkerServer::new(Workers::new(handle))
        .max_decoding_message_size(bounds::FROM_WORKER_BYTES_MAX)
        .max_encoding_message_size(bounds::TO_WORKER_BYTES_MAX);
    server.add_service(service).serve_with_incoming(incoming).await?;
    Ok(())
}

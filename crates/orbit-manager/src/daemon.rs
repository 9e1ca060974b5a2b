//! The manager as a program: flags and environment into one validated configuration, the real log,
//! the real listeners.

use crate::{
    Door, Error, Parts,
    consensus::COMPACT_EVERY,
    http,
    sessions::{MESSAGE_BYTES_MAX, Workers},
    start,
};
use clap::Args;
use orbit_core::model::{ClusterId, Timing};
use orbit_proto::v1::worker_server::WorkerServer;
use orbit_shell::TokioBlocking;
use orbit_store::{Options, RedbStorage};
use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
};

/// What a manager is told on its command line.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Where users come in. Without certificates yet: nobody outside of this machine reaches it
    /// unless told otherwise here.
    #[arg(long, env = "ORBIT_LISTEN", default_value = "127.0.0.1:7070", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Where workers come in.
    #[arg(long, env = "ORBIT_LISTEN_WORKERS", default_value = "127.0.0.1:7071", value_name = "ADDRESS")]
    pub listen_workers: SocketAddr,
    /// Where the manager keeps its log; one directory per manager.
    #[arg(long, env = "ORBIT_MANAGER_STATE", default_value = "/var/lib/orbit/manager", value_name = "DIR")]
    pub state_dir: PathBuf,
}

/// Why a manager could not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address.
    #[error("cannot listen on {address}: {source} (another manager? choose another with {flag})")]
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

/// Runs a manager until `stop` is ready.
///
/// # Errors
/// When a listener or the state directory cannot be had, or the log cannot be written.
pub async fn serve(flags: Flags, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let storage = RedbStorage::open(&flags.state_dir, Options::default())?;
    let users = listen(flags.listen, "--listen")?;
    let workers = listen(flags.listen_workers, "--listen-workers")?;
    let parts = Parts {
        timing: Timing::default(),
        storage: Box::new(storage),
        blocking: Arc::new(TokioBlocking),
        compact_every: COMPACT_EVERY,
        seed: orbit_shell::random(),
        cluster: ClusterId(orbit_shell::random()),
    };
    let (door, manager) = start(parts, stop)?;
    tracing::info!(users = %flags.listen, workers = %flags.listen_workers, "listening");
    tokio::select! { biased;
        ended = manager => Ok(ended?),
        served = http::serve(users, door.clone()) => Err(StartError::Serve(format!("{served:?}"))),
        served = serve_workers(workers, door) => Err(StartError::Serve(format!("{served:?}"))),
    }
}

async fn serve_workers(listener: TcpListener, door: Door) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    // A worker whose machine has vanished does not close its connection: it is asked now and then.
    let keepalive = Some(std::time::Duration::from_secs(10));
    let mut server = tonic::transport::Server::builder().http2_keepalive_interval(keepalive);
    let service = WorkerServer::new(Workers::new(door))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    server.add_service(service).serve_with_incoming(incoming).await?;
    Ok(())
}

//! What the end-to-end tests and the benchmarks stand on: the shipped binaries as processes, on
//! ports and directories of their own, and a Docker engine that is asked itself.
//!
//! [`engine`] first; then a [`Cluster`]; then requests through it, and [`Cluster::wait_for`] until
//! what was asked for is so. Dropping the cluster, also in a panic, ends its processes and removes
//! every container of its nodes. Everything blocks: a test reads from top to bottom.

#![forbid(unsafe_code)]

mod binaries;
mod claim;
mod clock;
mod cluster;
mod daemon;
mod disk;
mod engine;
mod http;
mod lab;
mod prometheus;
mod registry;

pub use binaries::{Binaries, binaries, repository};
pub use clock::WallClock;
pub use cluster::{Cluster, Setup, Worker};
pub use daemon::Daemon;
pub use disk::Disk;
pub use engine::{Container, Engine, IMAGE, engine};
pub use http::{Response, Watch, addresses, ask, ask_with, stream};
pub use lab::{Host, Lab, MANAGER};
pub use prometheus::{Prometheus, prometheus};
pub use registry::{Mood, Registry};
pub use rustix::process::Signal;

use std::{
    future::Future,
    sync::OnceLock,
    time::{Duration, Instant},
};
use tokio::runtime::{Builder, Runtime};

/// So long a condition is waited for, unless the test says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const POLL: Duration = Duration::from_millis(50);

/// Runs a future to its end, on a runtime that all tests of the process share.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let start = || Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads can be started");
    RUNTIME.get_or_init(start).block_on(future)
}

/// Looks until the condition holds; gives what it gave. An `Err` says what is there instead.
///
/// # Errors
/// After `patience`, with what the last look saw.
pub fn poll_for<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let until = Instant::now() + patience;
    loop {
        match look() {
            Ok(seen) => return Ok(seen),
            Err(seen) if Instant::now() >= until => {
                return Err(format!("not within {} s: {what}; instead: {seen}", patience.as_secs_f32()));
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

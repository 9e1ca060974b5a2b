//! The worker's shell: it carries out what the core's worker machine decides.
//!
//! It holds no branch on the state of a task: every decision, retry and timer is the machine's.
//! What differs between production and simulation comes from outside, in [`Parts`]: the container
//! runtime, the ledger, the executor for blocking work, the nonce. Clock, timers and transport are
//! those of tokio and tonic, which `--cfg madsim` exchanges.

#![forbid(unsafe_code)]

#[cfg(all(feature = "daemon", not(madsim)))]
pub mod daemon;
mod driver;
#[cfg(all(feature = "daemon", not(madsim)))]
mod exposition;
mod hints;
mod input;
mod managers;
mod metrics;
mod session;
mod streams;

pub use driver::{Error, Parts, run};

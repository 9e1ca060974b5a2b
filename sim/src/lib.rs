//! The pure world: the manager's and the workers' own machines, with a log, a network and Docker
//! engines as plain values on one queue of events. No clock, no threads, no IO: a seed decides
//! everything.
//!
//! [`run`] lives through one seed: calm, then chaos, then every fault is healed, and at the end the
//! world must have converged to what its users were told. The invariants are checked after every
//! event that could break them; a violation names its invariant.

#![forbid(unsafe_code)]

mod checks;
mod client;
mod manager_host;
mod network;
mod options;
mod random;
mod worker_host;
mod world;

pub use options::Options;
pub use world::{Failure, Report, run, run_with};

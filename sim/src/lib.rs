//! The pure world: the manager's and the workers' own machines, with a log, a network and Docker
//! engines as plain values on one queue of events. No clock, no threads, no IO: a seed decides
//! everything.
//!
//! [`run`] lives through one [`Plan`]: calm, then chaos, then every fault is healed, and at the end
//! the world must have converged to what its users were told. The invariants are checked after every
//! event that could break them; a violation names its invariant.
//!
//! What comes from outside ([`Input`]) is drawn from the seed, and written down as it comes, so that
//! a failing run is a [`Script`], which [`shrink`] cuts down to what matters.

#![forbid(unsafe_code)]

mod chaos;
pub mod checks;
pub mod client;
mod commit;
mod event;
pub mod hunt;
mod input;
mod manager_host;
mod network;
mod options;
mod queue;
mod random;
mod scenarios;
mod shrink;
mod tally;
mod worker_host;
mod world;

pub use commit::commit;
pub use input::*;
pub use options::Options;
pub use random::Random;
pub use scenarios::{Coverage, Scenario, scenarios};
pub use shrink::shrink;
pub use tally::{Activities, Activity, Fault, Situation, Tally};
pub use world::{CrashPoint, Failure, Moment, Outcome, Phase, Plan, Report, Trace, images, record, run, run_watched};

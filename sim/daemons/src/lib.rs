//! The daemons as they are shipped, in a simulated world: madsim's network and clock, the fake
//! engine, the real store on a disk whose power fails.
//!
//! The pure world (`sim/`) finds wrong decisions in thousands of seeds; this one finds what only the
//! shells can get wrong: cancellation, lost wake-ups, order of actions, reconnecting, what is durable
//! when. [`run`] lives through one seed: calm, chaos, then every fault is healed, and at the end the
//! world must have converged to what its users were told, and rest.

#![forbid(unsafe_code)]

#[cfg(not(madsim))]
compile_error!("run cargo in sim/daemons, where .cargo/config.toml sets --cfg madsim");

mod chaos;
mod engine;
mod executor;
mod hosts;
mod life;
mod machine;
mod options;
mod record;
mod run;
mod shadow;
mod users;
mod watch;
mod world;

pub use engine::Engine;
pub use hosts::{ManagerHost, WorkerHost};
pub use options::Options;
pub use record::Report;
pub use run::{Failure, run, run_with};

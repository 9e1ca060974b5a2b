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
#[allow(dead_code)]
#[path = "../../src/checks.rs"]
mod checks;
#[allow(dead_code)]
#[path = "../../src/client.rs"]
mod client;
mod engine;
mod executor;
mod hosts;
mod machine;
mod options;
#[path = "../../src/random.rs"]
mod random;
mod record;
mod run;
mod users;
mod watch;
mod world;

/// What the pure world's checks read of a worker.
mod worker_host {
    use orbit_runtime::fake::FakeEngine;

    pub(crate) struct WorkerHost {
        pub machine: Option<Welcome>,
        pub engine: FakeEngine,
    }

    pub(crate) struct Welcome;

    impl Welcome {
        pub fn is_welcome(&self) -> bool {
            true
        }
    }
}

pub use engine::Engine;
pub use hosts::{ManagerHost, WorkerHost};
pub use options::Options;
pub use record::Report;
pub use run::{Failure, run, run_with};

//! What a seed decides before it begins: the size of the world, and which faults it knows.
//!
//! Swarm testing: each class of faults is on or off per seed, so that some worlds have few faults
//! and go deep, and others have all at once.

use crate::random::Random;

/// The options of one run. `Debug` prints them on one line.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything is drawn from.
    pub seed: u64,
    /// How many workers.
    pub workers: usize,
    /// Thousandths of a processor of each worker: small ones are soon full.
    pub cpu_millis: u64,
    /// How long the faults last, in virtual milliseconds.
    pub chaos_ms: u64,
    /// How many different services and tasks the client knows.
    pub names: usize,
    /// Thousandths of messages that are lost.
    pub lose: u64,
    /// Thousandths of messages that arrive twice.
    pub double: u64,
    /// The longest way of a message, in milliseconds; messages overtake each other.
    pub delay_ms_max: u64,
    /// Thousandths of actions before which the manager crashes.
    pub manager_crash: u64,
    /// Thousandths of actions before which a worker crashes.
    pub worker_crash: u64,
    /// Crashes, reboots and pauses at random times.
    pub outages: bool,
    /// Partitions between workers and the manager.
    pub partitions: bool,
    /// The engine's operations fail, lose their response, or it is down.
    pub engine_faults: bool,
    /// Containers exit, are killed or removed by somebody else.
    pub container_faults: bool,
    /// Images that are missing, slow or broken.
    pub bad_images: bool,
    /// How long an operation of the engine takes at most beside its nature, in milliseconds. Slow
    /// engines make tasks wait for their turn, and much can happen to a container meanwhile.
    pub engine_ms_max: u64,
    /// How long a sync of the manager's log takes at most, in milliseconds.
    pub sync_ms_max: u64,
}

impl Options {
    /// Drawn from a seed.
    pub fn from_seed(seed: u64) -> Options {
        let mut random = Random::new(seed, 0);
        let mut sometimes = |thousandths, value| if random.chance(thousandths) { value } else { 0 };
        let lose = sometimes(500, 50);
        let double = sometimes(500, 50);
        let manager_crash = sometimes(400, 3);
        let worker_crash = sometimes(400, 3);
        Options {
            seed,
            workers: random.between(1, 6) as usize,
            cpu_millis: [2000, 64_000, 64_000][random.below(3)],
            chaos_ms: random.between(30, 240) * 1000,
            names: random.between(1, 5) as usize,
            lose,
            double,
            delay_ms_max: [1, 20, 500][random.below(3)],
            manager_crash,
            worker_crash,
            outages: random.chance(500),
            partitions: random.chance(500),
            engine_faults: random.chance(500),
            container_faults: random.chance(500),
            bad_images: random.chance(300),
            engine_ms_max: [20, 20, 3000][random.below(3)],
            sync_ms_max: [2, 50][random.below(2)],
        }
    }
}

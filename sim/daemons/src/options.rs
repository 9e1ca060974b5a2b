//! What a seed decides before it begins: the size of the world, and which faults it knows.

use orbit_sim::Random;

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
    /// The longest pause between two faults, in milliseconds.
    pub chaos_pause_ms_max: u64,
    /// How many different services and tasks the users know.
    pub names: usize,
    /// Images that are missing, slow or broken.
    pub bad_images: bool,
    /// Processes are killed, between two of their actions or in the middle of a write.
    pub kills: bool,
    /// Machines lose their power.
    pub power_losses: bool,
    /// Processes stand still for a while.
    pub pauses: bool,
    /// Links are cut, one way too, one by one, or all at once.
    pub partitions: bool,
    /// Thousandths of packets that are lost and sent again.
    pub loss: u64,
    /// The longest way of a packet, in milliseconds.
    pub latency_ms_max: u64,
    /// The engine's operations fail or lose their response, its events too, and it goes down.
    pub engine_faults: bool,
    /// Containers exit, are killed or removed by somebody else.
    pub container_faults: bool,
    /// How long an operation of the engine takes at most beside its nature, in milliseconds.
    pub engine_ms_max: u64,
    /// Syncs fail, disks are full.
    pub disk_faults: bool,
    /// Whether a full disk is noticed before it is written to.
    pub reserve: bool,
    /// How long a call of the store takes at most, in microseconds.
    pub store_us_max: u64,
    /// After so many entries the log is compacted.
    pub compact_every: u64,
    /// Users hang up before they are answered.
    pub hang_ups: bool,
    /// Time passes at awkward places of the shells.
    pub buggify: bool,
}

impl Options {
    /// Drawn from a seed.
    pub fn from_seed(seed: u64) -> Options {
        let mut random = Random::new(seed, 0);
        let mut one_of = |choice: [u64; 3]| choice[random.below(3)];
        let cpu_millis = one_of([2000, 64_000, 64_000]);
        let latency_ms_max = one_of([2, 20, 500]);
        let engine_ms_max = one_of([20, 20, 3000]);
        let store_us_max = one_of([500, 5000, 200_000]);
        let compact_every = one_of([10, 60, 1000]);
        let chaos_pause_ms_max = one_of([1000, 5000, 15_000]);
        Options {
            seed,
            workers: random.between(1, 4) as usize,
            cpu_millis,
            chaos_ms: random.between(15, 90) * 1000,
            chaos_pause_ms_max,
            names: random.between(1, 5) as usize,
            bad_images: random.chance(300),
            kills: random.chance(500),
            power_losses: random.chance(500),
            pauses: random.chance(400),
            partitions: random.chance(500),
            loss: if random.chance(400) { random.between(1, 50) } else { 0 },
            latency_ms_max,
            engine_faults: random.chance(500),
            container_faults: random.chance(500),
            engine_ms_max,
            disk_faults: random.chance(400),
            reserve: random.chance(500),
            store_us_max,
            compact_every,
            hang_ups: random.chance(400),
            buggify: random.chance(500),
        }
    }

    /// A world in which nothing goes wrong.
    pub fn calm() -> Options {
        Options {
            seed: 0,
            workers: 2,
            cpu_millis: 4000,
            chaos_ms: 0,
            chaos_pause_ms_max: 1000,
            names: 1,
            bad_images: false,
            kills: false,
            power_losses: false,
            pauses: false,
            partitions: false,
            loss: 0,
            latency_ms_max: 2,
            engine_faults: false,
            container_faults: false,
            engine_ms_max: 1,
            disk_faults: false,
            reserve: true,
            store_us_max: 500,
            compact_every: 1000,
            hang_ups: false,
            buggify: false,
        }
    }
}

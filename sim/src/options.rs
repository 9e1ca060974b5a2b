//! What a seed decides before it begins: the size of the world, and which faults it knows.
//!
//! Swarm testing: each class of faults is on or off per seed, so that some worlds have few faults
//! and go deep, and others have all at once.

use crate::random::Random;
use serde::{Deserialize, Serialize};

/// So late a message comes at most, in milliseconds.
pub const LATE_MS_MAX: u64 = 30_000;
/// The longest deadline of a rollout that a user asks for, in milliseconds.
pub const DEADLINE_MS_MAX: u64 = 40_000;

/// The options of one run. Rates are in thousandths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Where everything is drawn from that a script does not say.
    pub seed: u64,
    /// How many workers.
    pub workers: usize,
    /// Thousandths of a processor of each worker: small ones are soon full.
    pub cpu_millis: u64,
    /// How long the faults last, in virtual milliseconds.
    pub chaos_ms: u64,
    /// How long a converged world is watched for coming to rest, in virtual milliseconds.
    pub rest_ms: u64,
    /// How many different services and tasks the users know.
    pub names: usize,
    /// The longest pause between two requests, in milliseconds.
    pub asks_ms_max: u64,
    /// Messages that are lost.
    pub lose: u64,
    /// Messages that arrive twice.
    pub double: u64,
    /// Messages that arrive long after all those behind them.
    pub late: u64,
    /// The longest ordinary way of a message, in milliseconds; messages overtake each other.
    pub delay_ms_max: u64,
    /// Actions before which the manager crashes.
    pub manager_crash: u64,
    /// Actions before which a worker crashes.
    pub worker_crash: u64,
    /// Operations of an engine that fail, hang, or are not heard of, or are heard of late.
    pub engine_faults: u64,
    /// Events of an engine that are lost, told twice, or told late.
    pub hint_faults: u64,
    /// Crashes and reboots at random times.
    pub outages: bool,
    /// Processes that are stopped for a while and go on.
    pub pauses: bool,
    /// Partitions between workers and the manager.
    pub partitions: bool,
    /// Engines that are down for a while, with or without their containers.
    pub engine_outages: bool,
    /// Containers exit, are killed, removed or started by somebody else; ports are taken.
    pub container_faults: bool,
    /// The manager's disk is full for a while.
    pub disk_faults: bool,
    /// Second workers of a name, and copies of state directories.
    pub twins: bool,
    /// Wall clocks that jump.
    pub clock_jumps: bool,
    /// How much faster or slower a worker's clock runs at most, in parts per million.
    pub drift_ppm_max: u64,
    /// So many workers' machines are lost for good, one by one and a long time apart, the last ones
    /// while the faults last. At most a third, unless nothing else can make them look like a mass loss.
    pub lost_for_good: usize,
    /// Images that are missing, slow or broken.
    pub bad_images: bool,
    /// How long an operation of the engine takes at most beside its nature, in milliseconds. Slow
    /// engines make tasks wait for their turn, and much can happen to a container meanwhile.
    pub engine_ms_max: u64,
    /// How long a sync of the manager's log takes at most, in milliseconds.
    pub sync_ms_max: u64,
    /// What a row costs that the manager looks at, in virtual microseconds. A slow manager of a small fleet is as busy as
    /// a fast one of a large fleet.
    pub row_us: u64,
    /// Nothing happens but that all of a fleet falls silent and returns.
    pub crowded: bool,
    /// Workers have little room: enough to run tasks, so little that images go that nothing needs.
    pub scarce_disks: bool,
}

impl Default for Options {
    /// What a script does not say.
    fn default() -> Self {
        Options::calm(1)
    }
}

impl Options {
    /// Drawn from a seed.
    pub fn from_seed(seed: u64) -> Options {
        let mut random = Random::new(seed, 0);
        let mut sometimes = |thousandths, value| if random.chance(thousandths) { value } else { 0 };
        let rates = [
            sometimes(400, 50),
            sometimes(400, 50),
            sometimes(400, 20),
            sometimes(400, 3),
            sometimes(400, 3),
            sometimes(500, 60),
            sometimes(500, 150),
            sometimes(300, 50_000),
        ];
        let workers = random.between(1, 6) as usize;
        let lost_for_good = if random.chance(300) { random.below(workers / 3 + 1) } else { 0 };
        let lonely = random.chance(40);
        let [lose, double, late, manager_crash, worker_crash, engine_faults, hint_faults, drift_ppm_max] = rates;
        let options = Options {
            seed,
            workers,
            cpu_millis: [2000, 64_000, 64_000][random.below(3)],
            chaos_ms: random.between(30, 240) * 1000,
            rest_ms: if random.chance(100) { 600_000 } else { 60_000 },
            names: random.between(1, 5) as usize,
            asks_ms_max: [1000, 4000, 20_000][random.below(3)],
            lose,
            double,
            late,
            delay_ms_max: [1, 20, 500][random.below(3)],
            manager_crash,
            worker_crash,
            engine_faults,
            hint_faults,
            outages: random.chance(500),
            pauses: random.chance(400),
            partitions: random.chance(500),
            engine_outages: random.chance(400),
            container_faults: random.chance(500),
            disk_faults: random.chance(250),
            twins: random.chance(300),
            clock_jumps: random.chance(250),
            drift_ppm_max,
            lost_for_good,
            bad_images: random.chance(300),
            engine_ms_max: [20, 20, 3000][random.below(3)],
            sync_ms_max: [2, 50, 1500][random.below(3)],
            row_us: [0, 0, 5, 50][random.below(4)],
            crowded: false,
            scarce_disks: random.chance(250),
        };
        match (lonely, random.chance(30)) {
            (true, _) => options.lonely(),
            (false, true) => options.crowded(random.between(16, 40) as usize),
            (false, false) => options,
        }
    }

    /// A small world that loses most of its machines one by one, while its manager crashes. Nothing in
    /// it lets them fall silent together, so each has to be given up for itself.
    fn lonely(self) -> Options {
        Options {
            workers: 3,
            lost_for_good: 2,
            chaos_ms: 240_000,
            outages: true,
            lose: 0,
            late: 0,
            worker_crash: 0,
            pauses: false,
            partitions: false,
            disk_faults: false,
            drift_ppm_max: 0,
            ..self
        }
    }

    /// A fleet that falls silent and returns as a whole, again and again, before a manager that is slow for it: whatever
    /// a return costs, it must not cost it for every other node.
    fn crowded(self, workers: usize) -> Options {
        Options {
            workers,
            chaos_ms: 120_000,
            names: 3,
            asks_ms_max: 4000,
            partitions: true,
            row_us: 300,
            crowded: true,
            sync_ms_max: self.sync_ms_max.min(50),
            delay_ms_max: self.delay_ms_max.min(20),
            seed: self.seed,
            ..Options::calm(workers)
        }
    }

    /// When which machine is lost for good, in milliseconds: the last ones, far apart.
    pub(crate) fn losses(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        let count = self.lost_for_good.min(self.workers) as u64;
        (0..count).map(move |nth| {
            let at = self.chaos_ms.saturating_sub(20_000 + 120_000 * (count - 1 - nth));
            (at.max(1), self.workers - 1 - nth as usize)
        })
    }

    /// A world of a given size in which nothing goes wrong by itself.
    pub fn calm(workers: usize) -> Options {
        Options {
            seed: 1,
            workers,
            cpu_millis: 64_000,
            chaos_ms: 60_000,
            rest_ms: 60_000,
            names: 1,
            asks_ms_max: 1000,
            lose: 0,
            double: 0,
            late: 0,
            delay_ms_max: 1,
            manager_crash: 0,
            worker_crash: 0,
            engine_faults: 0,
            hint_faults: 0,
            outages: false,
            pauses: false,
            partitions: false,
            engine_outages: false,
            container_faults: false,
            disk_faults: false,
            twins: false,
            clock_jumps: false,
            drift_ppm_max: 0,
            lost_for_good: 0,
            bad_images: false,
            engine_ms_max: 20,
            sync_ms_max: 2,
            row_us: 0,
            crowded: false,
            scarce_disks: false,
        }
    }

    /// How long a healed world may take to converge, in milliseconds: leases, dials and the time until
    /// a lost node's tasks are replaced; what lasts from before (processes that are down or stopped, an
    /// operation that hangs, ports that rest); and then for each replica of the largest service, one
    /// after the other, a pull, a start, a stop and the longest backoff.
    pub fn converge_ms(&self) -> u64 {
        const REPLICAS_MAX: u64 = 6;
        let when = |fault: bool, ms: u64| if fault { ms } else { 0 };
        let pull = when(self.bad_images, 20_000) + 3000;
        let stop = 5_000 + 20_000; // the longest delay, and the longest grace
        // The longest one, and as much again where somebody wants that much jitter.
        let backoff = 10_000 + when(self.bad_images || self.container_faults || self.engine_faults > 0, 10_000);
        30_000
            + when(self.outages || self.pauses || self.worker_crash + self.manager_crash > 0, 20_000)
            + when(self.engine_faults > 0, 60_000)
            + when(self.twins, 30_000)
            + when(self.engine_faults > 0 || self.container_faults, 60_000)
            // The longest time after which a lost node's tasks are replaced.
            + 40_000
            // A rollout that fails, and the one that takes its place back, with all replicas once more.
            + 2 * DEADLINE_MS_MAX
            + 2 * REPLICAS_MAX * (pull + stop + backoff + 4 * self.engine_ms_max.min(20) + 4 * self.sync_ms_max)
    }
}

//! A worker's machine in its host: a ledger on disk, a Docker engine beside it, and a process that
//! can crash before any of its actions.

use crate::random::Random;
use orbit_core::{
    model::*,
    worker::{Action, Config, Event, Ledger, Worker},
};
use orbit_runtime::fake::FakeEngine;

#[derive(Debug)]
pub(crate) struct WorkerHost {
    pub machine: Option<Worker>,
    /// Counts the process's lives: what belongs to an earlier one is void.
    pub life: u32,
    pub ledger: Ledger,
    pub engine: FakeEngine,
    /// How many of the engine's happenings were followed.
    pub followed: u64,
    pub reboots: u32,
    /// The wake-up that is queued.
    pub wake: Option<u64>,
    config: Config,
    started_at: u64,
    random: Random,
}

impl WorkerHost {
    pub fn new(index: usize, mut random: Random, engine: FakeEngine, cpu_millis: u64) -> WorkerHost {
        let uid = NodeUid(random.bits());
        let config = Config {
            info: NodeInfo {
                uid,
                name: format!("node-{index}"),
                labels: Default::default(),
                arch: "amd64".into(),
                os: "linux".into(),
                allocatable: Resources { cpu_millis, memory_bytes: 8 << 30 },
                port_range: (20_000, 20_099),
            },
            pull_deadline: Millis::secs(20),
            starts_max: 3,
            resync_every: Millis::secs(30),
        };
        let ledger = Ledger::new(uid);
        WorkerHost {
            machine: None,
            life: 0,
            ledger,
            engine,
            followed: 0,
            reboots: 0,
            wake: None,
            config,
            started_at: 0,
            random,
        }
    }

    fn clock(&self, now: u64) -> Time {
        Time(now - self.started_at)
    }

    pub fn start(&mut self, now: u64) -> Vec<Action> {
        assert!(self.machine.is_none());
        self.started_at = now;
        self.machine = Some(Worker::restore(self.config.clone(), self.ledger.clone(), self.random.bits()));
        self.step(now, Event::Wake)
    }

    pub fn crash(&mut self) {
        self.machine = None;
        self.wake = None;
        self.life += 1;
    }

    pub fn step(&mut self, now: u64, event: Event) -> Vec<Action> {
        let clock = self.clock(now);
        self.machine.as_mut().map_or_else(Vec::new, |machine| machine.step(clock, event))
    }

    /// In the world's time.
    pub fn deadline(&self) -> Option<u64> {
        Some(self.machine.as_ref()?.deadline()?.0 + self.started_at)
    }
}

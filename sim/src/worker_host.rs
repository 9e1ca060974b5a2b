//! A worker's machine in its host: a ledger on disk, a Docker engine beside it, and a process that
//! can crash before any of its actions.

use crate::{client::allowed, random::Random};
use orbit_core::{
    model::*,
    worker::{Action, BootId, Config, Event, ImageCollection, Ledger, OpId, Worker},
};
use orbit_runtime::fake::FakeEngine;
use std::collections::BTreeSet;

/// What a node's disk has to have free; the world knows only full and empty ones.
const DISK_RESERVE_BYTES: u64 = 1 << 20;
/// What is free where disks are scarce: more than the reserve and a quarter, and less than what images are removed for.
pub const SCARCE_BYTES: u64 = 2 << 20;

#[derive(Debug)]
pub(crate) struct WorkerHost {
    pub machine: Option<Worker>,
    /// Counts the process's lives: what belongs to an earlier one is void.
    pub life: u32,
    pub ledger: Ledger,
    pub engine: FakeEngine,
    /// How many of the engine's events were followed.
    pub followed: u64,
    pub reboots: u32,
    /// Its machine is gone for good.
    pub is_lost: bool,
    /// Its engine was killed, and stops its containers when it returns.
    pub stops_at_return: bool,
    /// The process is stopped until then; what happens to it waits.
    pub paused_until: u64,
    /// Operations that the process has given up: the engine may carry them out yet, and is not listened to.
    pub cancelled: BTreeSet<OpId>,
    /// The wake-up that is queued.
    pub wake: Option<u64>,
    /// Since the manager heard of it last, it or its engine was not there, or did not do at once what it was told:
    /// timed fences are no good meanwhile. And until when that goes on.
    shaken: bool,
    pub shaken_until: u64,
    /// Its disk has no room until then.
    pub disk_full_until: u64,
    config: Config,
    booted_at: u64,
    /// Its process has ended, and its machine goes on.
    away: bool,
    /// How much faster its clock runs than the world's, in parts per million.
    drift_ppm: i64,
    random: Random,
}

impl WorkerHost {
    pub fn new(
        index: usize,
        mut random: Random,
        engine: FakeEngine,
        cpu_millis: u64,
        drift_ppm_max: u64,
    ) -> WorkerHost {
        let uid = NodeUid(random.bits());
        let drift_ppm = random.between(0, 2 * drift_ppm_max) as i64 - drift_ppm_max as i64;
        let config = Config {
            info: NodeInfo {
                uid,
                name: node_name(index),
                labels: [("zone".to_string(), ["a", "b"][index % 2].to_string())].into(),
                arch: "amd64".into(),
                os: "linux".into(),
                allocatable: Resources { cpu_millis, memory_bytes: 8 << 30 },
                port_range: (20_000, 20_099),
                address: None,
                pinned_ports: None,
                allowed: allowed_first(index),
                versions: Versions { spec_level: SPEC_LEVEL, ..Versions::default() }.into(),
            },
            pull_deadline: Millis::secs(20),
            starts_max: 3,
            resync_every: Millis::secs(30),
            disk_reserve_bytes: DISK_RESERVE_BYTES,
            // A little more than the manager relies on an image that it asked for ahead.
            image_collection: ImageCollection { below_bytes: 2 * SCARCE_BYTES, unneeded_for: Millis::secs(61) },
        };
        let ledger = Ledger::new(uid);
        WorkerHost {
            machine: None,
            life: 0,
            ledger,
            engine,
            followed: 0,
            reboots: 0,
            is_lost: false,
            stops_at_return: false,
            paused_until: 0,
            cancelled: BTreeSet::new(),
            wake: None,
            shaken: false,
            shaken_until: 0,
            disk_full_until: 0,
            config,
            booted_at: 0,
            away: false,
            drift_ppm,
            random,
        }
    }

    /// What its operator allows, whatever its process knows of that yet.
    pub fn allowed(&self) -> &[Grant] {
        &self.config.info.allowed
    }

    /// The operator writes down what is allowed: everything that there is, or nothing. Its next process reads it.
    pub fn allow(&mut self, more: bool) {
        self.config.info.allowed = if more { allowed().into() } else { [].into() };
    }

    /// It or its engine is not there, or does not do at once what it is told, until then.
    pub fn shake(&mut self, until: u64) {
        self.shaken = true;
        self.shaken_until = self.shaken_until.max(until);
    }

    /// Whether timed fences are no good now.
    pub fn is_shaken(&self) -> bool {
        self.shaken || self.away
    }

    /// The manager has heard of it.
    pub fn steady(&mut self, now: u64) {
        self.shaken = now < self.shaken_until;
    }

    /// Its process is back, `in_time` if no fence has passed meanwhile: it was there for all of them then.
    pub fn back(&mut self, in_time: bool) {
        self.shaken |= std::mem::take(&mut self.away) && !in_time;
    }

    pub fn clock(&self, now: u64) -> Time {
        let passed = now - self.booted_at;
        Time(passed.saturating_add_signed(passed as i64 * self.drift_ppm / 1_000_000))
    }

    /// Starts the process.
    pub fn start(&mut self, now: u64) -> Vec<Action> {
        assert!(self.machine.is_none());
        let boot = BootId(self.reboots.into());
        self.machine = Some(Worker::restore(self.config.clone(), self.ledger.clone(), boot, self.random.bits()));
        self.step(now, Event::Wake)
    }

    /// What a second worker of this one's name says first: a new one, or one with a copy of this one's
    /// state directory.
    pub fn hello_of_twin(&self, copied: bool, number: u64) -> Hello {
        let own = Ledger::new(NodeUid(u64::MAX - number));
        let Ledger { node, cluster, seen, .. } = if copied { self.ledger.clone() } else { own };
        let info = NodeInfo { uid: node, ..self.config.info.clone() };
        // Its engine has none of the containers.
        Hello {
            cluster,
            seen,
            nonce: u64::MAX - number,
            info,
            inventory: Vec::new(),
            takes_parts: true,
            prefetches: true,
        }
    }

    /// The process ends, and with `reboot` the whole machine; it is back after `down_ms`.
    pub fn crash(&mut self, now: u64, reboot: bool, down_ms: u64) {
        self.away = !reboot;
        if reboot {
            self.shake(now + down_ms);
            self.engine.reboot();
            self.reboots += 1;
            self.booted_at = now;
        }
        self.paused_until = now;
        self.machine = None;
        self.wake = None;
        self.cancelled.clear();
        self.life += 1;
    }

    pub fn step(&mut self, now: u64, event: Event) -> Vec<Action> {
        let clock = self.clock(now);
        self.machine.as_mut().map_or_else(Vec::new, |machine| machine.step(clock, event))
    }

    /// When it wants to be woken, in the world's time.
    pub fn deadline(&self) -> Option<u64> {
        let due = self.machine.as_ref()?.deadline()?.0;
        let world = i128::from(due) * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm));
        // Rounded up, so that it is due on its own clock by then.
        Some(u64::try_from(world).unwrap_or(u64::MAX - 2).saturating_add(1 + self.booted_at))
    }
}

/// One machine of three is nobody's who allows anything.
fn allowed_first(index: usize) -> Box<[Grant]> {
    if index % 3 == 2 { [].into() } else { allowed().into() }
}

/// The name of a worker's node.
pub(crate) fn node_name(index: usize) -> String {
    format!("node-{index}")
}

//! A machine on which one daemon runs: its disk, and how its process ends and starts again.

use crate::{options::Options, record::Record};
use madsim::{runtime::Handle, task::NodeId};
use orbit_sim::Random;
use orbit_store::{StoreError, simulated::SimulatedDisk};
use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tokio::sync::mpsc;

/// A process has ended by itself, or in the middle of a write.
pub(crate) struct End {
    pub machine: Arc<Machine>,
    /// Which of its processes.
    pub life: u64,
    /// What it said; none when it was cut short.
    pub error: Option<StoreError>,
    /// Whether its disk has refused something since it started.
    pub excused: bool,
}

pub(crate) struct Machine {
    pub name: String,
    pub disk: SimulatedDisk,
    record: Record,
    random: Mutex<Random>,
    store_us_max: u64,
    ends: mpsc::UnboundedSender<End>,
    node: OnceLock<NodeId>,
    up: AtomicBool,
    life: AtomicU64,
    errors_before: AtomicU64,
}

impl Machine {
    pub fn new(
        name: String,
        mut random: Random,
        options: &Options,
        record: Record,
        ends: mpsc::UnboundedSender<End>,
    ) -> Machine {
        Machine {
            name,
            disk: SimulatedDisk::new(random.bits()),
            record,
            random: Mutex::new(random),
            store_us_max: options.store_us_max,
            ends,
            node: OnceLock::new(),
            up: AtomicBool::new(true),
            life: AtomicU64::new(0),
            errors_before: AtomicU64::new(0),
        }
    }

    /// Its place in the network, once it has booted.
    pub fn booted(&self, node: NodeId) {
        self.node.set(node).expect("a machine boots once");
    }
    pub fn node(&self) -> NodeId {
        *self.node.get().expect("it has booted")
    }
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Microseconds that a part of a call of the store takes.
    pub fn latency(&self) -> u64 {
        self.random.lock().expect("nobody panics with it").between(0, self.store_us_max)
    }

    /// A process begins.
    pub fn begins(&self) {
        self.life.fetch_add(1, Ordering::Relaxed);
        self.errors_before.store(self.disk.errors(), Ordering::Relaxed);
    }

    /// Its process has ended, with what it said; none when it was cut short.
    pub fn ended(self: &Arc<Machine>, error: Option<StoreError>) {
        let error = if self.disk.is_cut() { None } else { error };
        let excused = self.disk.errors() > self.errors_before.load(Ordering::Relaxed);
        let life = self.life.load(Ordering::Relaxed);
        let _ = self.ends.send(End { machine: self.clone(), life, error, excused });
    }

    /// Whether this process is still the present one.
    pub fn is_life(&self, life: u64) -> bool {
        self.is_up() && self.life.load(Ordering::Relaxed) == life
    }

    /// Ends the process; with the power goes what it has not synced.
    pub fn crash(&self, power: bool) {
        self.record.note(if power { "power losses" } else { "kills" }, &self.name);
        // First the disk: what the process still does while it is taken apart is not written.
        if power {
            self.disk.lose_power();
        } else {
            self.disk.crash();
        }
        self.up.store(false, Ordering::Relaxed);
        Handle::current().kill(self.node());
    }

    pub fn start(&self) {
        self.record.note("starts", &self.name);
        self.up.store(true, Ordering::Relaxed);
        Handle::current().restart(self.node());
    }
}

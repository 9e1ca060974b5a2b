//! A world of daemons: its machines, its users, and what was shown to them.

use crate::{
    hosts::{ManagerHost, WorkerHost, open_log},
    machine::Machine,
    options::Options,
    record::{Record, Violation},
};
use orbit_core::state::{Cluster, Snapshot};
use orbit_sim::{Random, client::Client};
use orbit_store::{Storage, StoreError};
use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::sleep};

pub(crate) struct World {
    pub options: Options,
    pub record: Record,
    pub manager: ManagerHost,
    pub workers: Vec<WorkerHost>,
    /// Held while anything is outstanding, so that whoever has it knows what the cluster may be.
    pub client: tokio::sync::Mutex<Client>,
    /// The newest state that the manager has shown to anybody.
    pub shown: Mutex<Option<Snapshot>>,
    pub calm: AtomicBool,
    pub random: Mutex<Random>,
    pub violations: mpsc::UnboundedSender<Violation>,
}

/// The name of the node that the n-th worker is, from 0.
pub(crate) fn node_name(n: usize) -> String {
    format!("node-{}", n + 1)
}

impl World {
    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub fn machines(&self) -> impl Iterator<Item = &Arc<Machine>> {
        std::iter::once(&self.manager.machine).chain(self.workers.iter().map(|worker| &worker.machine))
    }

    pub fn violated(&self, violation: Violation) {
        let _ = self.violations.send(violation);
    }

    pub fn shown(&self) -> MutexGuard<'_, Option<Snapshot>> {
        self.shown.lock().expect("nobody panics with it")
    }

    /// A process ends, and its machine starts it again after a while.
    pub async fn outage(self: &Arc<World>, machine: &Arc<Machine>, power: bool) {
        if !machine.is_up() {
            return;
        }
        machine.crash(power);
        if power && let Some(worker) = self.workers.iter().find(|worker| Arc::ptr_eq(&worker.machine, machine)) {
            worker.runtime.reboot();
        }
        if Arc::ptr_eq(&self.manager.machine, machine)
            && let Err(violation) = self.recovers()
        {
            self.violated(violation);
        }
        let ms =
            self.random.lock().expect("nobody panics with it").between(50, if self.is_calm() { 500 } else { 15_000 });
        sleep(Duration::from_millis(ms)).await;
        machine.start();
    }

    /// I10, I14: what is on the manager's disk reaches as far as what anybody was shown, and is the
    /// same there.
    pub fn recovers(&self) -> Result<(), Violation> {
        let lost = |error: StoreError| ("I10", format!("the log cannot be read after a crash: {error}"));
        let copy = self.manager.machine.disk.copy();
        let kept = open_log(&copy, false).map_err(lost)?.load().map_err(lost)?;
        let Some(shown) = self.shown().clone() else { return Ok(()) };
        let mut cluster = match kept.snapshot {
            Some(snapshot) if snapshot.index > shown.index => return Ok(()),
            Some(snapshot) => Cluster::restore(snapshot).map_err(|what| ("I14", format!("the snapshot is {what}")))?,
            None => Cluster::default(),
        };
        for entry in kept.entries.iter().take_while(|entry| entry.index <= shown.index) {
            cluster.apply(entry);
        }
        if cluster.index < shown.index {
            return Err(("I10", format!("entry {} was shown, the disk ends at {}", shown.index, cluster.index)));
        }
        if cluster.snapshot() != shown {
            return Err(("I14", format!("the log gives another state at {} than was live", shown.index)));
        }
        self.record.note("recoveries compared", shown.index);
        Ok(())
    }
}

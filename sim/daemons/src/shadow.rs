//! The replicated state as it follows from what became durable, entry by entry, across the
//! manager's lives: where the checks see every entry, and what a recovery must not fall behind.

use crate::record::Violation;
use orbit_core::{
    model::Entry,
    state::{Cluster, Snapshot},
};
use orbit_sim::checks::{self, TaskWatch};
use orbit_store::{Compactor, HardState, Recovered, RedbStorage, Replay, Result, Storage};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::UnboundedSender;

pub(crate) struct Shadow {
    cluster: Cluster,
    tasks: TaskWatch,
    violations: UnboundedSender<Violation>,
}

impl Shadow {
    pub fn new(violations: UnboundedSender<Violation>) -> Arc<Mutex<Shadow>> {
        Arc::new(Mutex::new(Shadow { cluster: Cluster::default(), tasks: TaskWatch::default(), violations }))
    }

    fn follow(&mut self, entries: &[Entry]) {
        let known = self.cluster.index;
        for entry in entries.iter().filter(|entry| entry.index > known) {
            self.cluster.apply(entry);
            let checked = checks::state(&self.cluster).and_then(|()| self.tasks.look(&self.cluster));
            if let Err(violation) = checked {
                let _ = self.violations.send(violation);
            }
        }
    }

    /// I10: what was acknowledged to the shell is there. What was not may be, and counts from now on.
    fn recovered(&mut self, kept: &Recovered) {
        let last = kept.entries.last().map(|entry| entry.index);
        let last = last.or(kept.snapshot.as_ref().map(|snapshot| snapshot.index)).unwrap_or(0);
        if last < self.cluster.index {
            let found = format!("the log ends at {last}, entry {} was durable", self.cluster.index);
            let _ = self.violations.send(("I10", found));
        }
        self.follow(&kept.entries);
    }
}

/// The log, with its shadow.
pub(crate) struct Shadowed {
    pub log: RedbStorage,
    pub shadow: Arc<Mutex<Shadow>>,
}

impl Storage for Shadowed {
    fn replay(&mut self, replay: &mut dyn Replay) -> Result<()> {
        self.shadow.lock().expect("nobody panics with it").recovered(&self.log.load()?);
        self.log.replay(replay)
    }
    fn append(&mut self, entries: &[Entry]) -> Result<u64> {
        let bytes = self.log.append(entries)?;
        self.shadow.lock().expect("nobody panics with it").follow(entries);
        Ok(bytes)
    }
    fn set_hard_state(&mut self, state: HardState) -> Result<()> {
        self.log.set_hard_state(state)
    }
    fn truncate_from(&mut self, index: u64) -> Result<()> {
        self.log.truncate_from(index)
    }
    fn install(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.log.install(snapshot)
    }
    fn free_bytes(&self) -> Result<u64> {
        self.log.free_bytes()
    }
    fn compactor(&self) -> Arc<dyn Compactor> {
        self.log.compactor()
    }
}

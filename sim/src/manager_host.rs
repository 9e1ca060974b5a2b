//! The manager's machine in its host: a log on a disk that syncs in groups, and a process that can
//! crash before any of its actions.

use crate::{checks::Check, random::Random};
use orbit_core::{
    manager::{Action, Event, Manager, ProposalId},
    model::*,
    state::{Cluster, Snapshot},
};
use std::collections::VecDeque;

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub term: u64,
    pub snapshot: Option<Snapshot>,
    /// What follows the snapshot.
    pub entries: Vec<Entry>,
}

impl Disk {
    /// (index, time) of the last entry.
    fn last(&self) -> (u64, Time) {
        let of_snapshot = self.snapshot.as_ref().map_or((0, Time(0)), |s| (s.index, s.at));
        self.entries.last().map_or(of_snapshot, |entry| (entry.index, entry.at))
    }

    /// The state as a restart finds it.
    pub fn recover(&self) -> Cluster {
        self.replay(|_| Ok(())).expect("nothing is checked")
    }

    /// The same, looked at after every entry.
    ///
    /// # Errors
    /// What was seen first.
    pub fn replay(&self, mut look: impl FnMut(&Cluster) -> Check) -> Result<Cluster, (&'static str, String)> {
        let mut cluster = match &self.snapshot {
            Some(snapshot) => Cluster::restore(snapshot.clone()).expect("a snapshot loads (I33)"),
            None => Cluster::default(),
        };
        for entry in &self.entries {
            cluster.apply(entry);
            look(&cluster)?;
        }
        Ok(cluster)
    }

    /// Writes a snapshot of everything up to an index, and drops the entries before it.
    pub fn compact(&mut self, keep: usize) {
        let cut = self.entries.len().saturating_sub(keep);
        let mut copy = Disk { entries: Vec::new(), ..self.clone() }.recover();
        self.entries.drain(..cut).for_each(|entry| {
            copy.apply(&entry);
        });
        self.snapshot = Some(copy.snapshot());
    }
}

#[derive(Debug)]
pub(crate) struct ManagerHost {
    pub machine: Option<Manager>,
    /// Counts the process's lives: what belongs to an earlier one is void.
    pub life: u32,
    pub disk: Disk,
    /// Numbered and not durable yet.
    queue: VecDeque<(ProposalId, Entry)>,
    /// The first so many of the queue are being synced.
    pub syncing: usize,
    started_at: u64,
    /// The wall clock beside the world's time, in milliseconds.
    pub wall_offset: i64,
    /// The wake-up that is queued.
    pub wake: Option<u64>,
    pub random: Random,
    timing: Timing,
}

impl ManagerHost {
    pub fn new(random: Random, timing: Timing) -> ManagerHost {
        ManagerHost {
            machine: None,
            life: 0,
            disk: Disk::default(),
            queue: VecDeque::new(),
            syncing: 0,
            started_at: 0,
            wall_offset: 0,
            wake: None,
            random,
            timing,
        }
    }

    /// The process's own clock, which begins with it.
    fn clock(&self, now: u64) -> Time {
        Time(now - self.started_at + 1000)
    }

    /// Starts the process: recovery, then the election that a single manager always wins.
    pub fn start(&mut self, now: u64) -> Vec<Action> {
        assert!(self.machine.is_none());
        self.started_at = now;
        self.disk.term += 1;
        self.machine = Some(Manager::restore(self.disk.recover(), self.timing));
        let (seed, cluster) = (self.random.bits(), ClusterId(self.random.bits()));
        self.step(now, Event::Elected { term: self.disk.term, seed, cluster, wall_ms: self.wall(now) })
    }

    /// The wall clock, in milliseconds since 1970.
    fn wall(&self, now: u64) -> u64 {
        (1_700_000_000_000 + now).saturating_add_signed(self.wall_offset)
    }

    /// The process is gone. Of the entries that were being synced, the first `durable` are durable:
    /// how many those were, of how many.
    pub fn crash(&mut self, durable: usize) -> (usize, usize) {
        self.machine = None;
        self.wake = None;
        self.life += 1;
        let syncing = std::mem::take(&mut self.syncing);
        let durable = durable.min(syncing);
        self.disk.entries.extend(self.queue.drain(..).take(durable).map(|(_, entry)| entry));
        (durable, syncing)
    }

    pub fn step(&mut self, now: u64, event: Event) -> Vec<Action> {
        let clock = self.clock(now);
        self.machine.as_mut().map_or_else(Vec::new, |machine| machine.step(clock, event))
    }

    /// The cluster's clock.
    pub fn cluster_time(&self, now: u64) -> Time {
        self.machine.as_ref().map_or(Time(0), |machine| machine.cluster_time(self.clock(now)))
    }

    /// When it wants to be woken, in the world's time.
    pub fn deadline(&self) -> Option<u64> {
        let due = self.machine.as_ref()?.deadline()?;
        Some((due.0 + self.started_at).saturating_sub(1000))
    }

    /// Numbers a proposal. True if a sync has to be begun.
    pub fn append(&mut self, now: u64, proposal: ProposalId, at: Time, command: Command) -> bool {
        let last = self.queue.back().map(|(_, entry)| (entry.index, entry.at)).unwrap_or(self.disk.last());
        let entry =
            Entry { index: last.0 + 1, term: self.disk.term, at: at.max(last.1), wall_ms: self.wall(now), command };
        self.queue.push_back((proposal, entry));
        self.begin_sync()
    }

    fn begin_sync(&mut self) -> bool {
        if self.syncing > 0 || self.queue.is_empty() {
            return false;
        }
        self.syncing = self.queue.len();
        true
    }

    /// The sync has ended: its entries are durable. With them whether another has to be begun.
    pub fn synced(&mut self) -> (Vec<(ProposalId, Entry)>, bool) {
        let durable: Vec<_> = self.queue.drain(..self.syncing).collect();
        self.disk.entries.extend(durable.iter().map(|(_, entry)| entry.clone()));
        self.syncing = 0;
        let again = self.begin_sync();
        (durable, again)
    }
}

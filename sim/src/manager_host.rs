//! The manager's machine and its replica in their host: a log on a disk that takes its time to sync, and a process
//! that can crash before any of its actions.

use crate::{checks::Check, random::Random};
use orbit_consensus::{Batch, HardState, In, Out, Position, Proposal, Replica};
use orbit_core::{
    cost,
    manager::{Action, Event, Manager, ProposalId},
    model::*,
    state::{Cluster, Snapshot},
};

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub hard_state: HardState,
    pub snapshot: Option<Snapshot>,
    /// What follows the snapshot.
    pub entries: Vec<Entry>,
}

impl Disk {
    /// Writes a batch, of its entries only the first so many.
    fn write(&mut self, batch: Batch, entries: usize) {
        let Batch { number: _, hard_state, install, entries: all } = batch;
        self.hard_state = hard_state.unwrap_or(self.hard_state);
        if let Some(snapshot) = install {
            self.entries.clear();
            self.snapshot = Some(*snapshot);
        }
        self.entries.extend(all.into_iter().take(entries));
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
    /// As long as there is a machine.
    replica: Option<Replica>,
    /// Counts the process's lives: what belongs to an earlier one is void.
    pub life: u32,
    pub disk: Disk,
    /// What is being synced.
    syncing: Option<Batch>,
    /// The process is stopped until then; what happens to it waits.
    pub paused_until: u64,
    /// It is at work until then, in microseconds; what happens to it waits, and nothing excuses it.
    busy_until_us: u64,
    /// What a row costs that it looks at, in microseconds.
    row_us: u64,
    started_at: u64,
    /// The wall clock beside the world's time, in milliseconds.
    pub wall_offset: i64,
    /// The wake-up that is queued.
    pub wake: Option<u64>,
    pub random: Random,
    timing: Timing,
}

impl ManagerHost {
    pub fn new(random: Random, timing: Timing, row_us: u64) -> ManagerHost {
        ManagerHost {
            machine: None,
            replica: None,
            life: 0,
            disk: Disk::default(),
            syncing: None,
            paused_until: 0,
            busy_until_us: 0,
            row_us,
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

    /// Starts the process: recovery, then the election that a single manager always wins. It takes no time: whether
    /// its term can be written is asked before.
    pub fn start(&mut self, now: u64) -> Vec<Action> {
        assert!(self.machine.is_none());
        self.started_at = now;
        let cluster = self.disk.recover();
        self.replica = Some(Replica::new(self.disk.hard_state, Position::of(&cluster)));
        self.machine = Some(Manager::restore(cluster, self.timing));
        assert!(self.consensus(now, In::Tick).is_empty());
        let events = self.synced(now);
        events.into_iter().flat_map(|event| self.step(now, event)).collect()
    }

    /// The wall clock, in milliseconds since 1970.
    fn wall(&self, now: u64) -> u64 {
        (1_700_000_000_000 + now).saturating_add_signed(self.wall_offset)
    }

    /// The process is gone. Of the entries that were being synced, the first `durable` are durable:
    /// how many those were, of how many.
    pub fn crash(&mut self, durable: usize) -> (usize, usize) {
        self.machine = None;
        self.replica = None;
        self.wake = None;
        self.life += 1;
        self.busy_until_us = 0;
        let Some(batch) = self.syncing.take() else { return (0, 0) };
        let syncing = batch.entries.len();
        let durable = durable.min(syncing);
        self.disk.write(batch, durable);
        (durable, syncing)
    }

    pub fn step(&mut self, now: u64, event: Event) -> Vec<Action> {
        let clock = self.clock(now);
        let Some(machine) = &mut self.machine else { return Vec::new() };
        cost::take();
        let actions = machine.step(clock, event);
        self.busy_until_us = self.busy_until_us.max(now * 1000) + cost::take() * self.row_us;
        actions
    }

    /// When it has done what it was asked so far.
    pub fn busy_until(&self) -> u64 {
        self.busy_until_us / 1000
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

    /// Has a command appended. True if a sync has to be begun.
    pub fn append(&mut self, now: u64, id: ProposalId, at: Time, actor: Actor, command: Command) -> bool {
        let was_syncing = self.is_syncing();
        let proposal = Proposal { id, at, wall_ms: self.wall(now), actor, command };
        assert!(self.consensus(now, In::Propose(vec![proposal])).is_empty(), "a machine proposes while it leads");
        !was_syncing && self.is_syncing()
    }

    /// Whether something is being synced.
    pub fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// The sync has ended: its batch is durable. What the machine is to be told of it. Another sync may have to be
    /// begun.
    pub fn synced(&mut self, now: u64) -> Vec<Event> {
        let batch = self.syncing.take().expect("a batch is being synced");
        let number = batch.number;
        self.disk.write(batch, usize::MAX);
        self.consensus(now, In::Persisted(number))
    }

    /// The sync has failed and nothing of its batch is durable. What the machine is to be told of it.
    pub fn not_synced(&mut self, now: u64) -> Vec<Event> {
        let batch = self.syncing.take().expect("a batch is being synced");
        self.consensus(now, In::NotPersisted(batch.number))
    }

    /// Steps the replica: what the machine is to be told.
    fn consensus(&mut self, now: u64, input: In) -> Vec<Event> {
        let clock = self.clock(now);
        let outs = self.replica.as_mut().expect("the process lives").step(clock, input);
        let mut events = Vec::new();
        for out in outs {
            match out {
                Out::Persist(batch) => {
                    let before = self.syncing.replace(batch);
                    assert!(before.is_none(), "one sync at a time");
                }
                Out::Event(event) => events.push(self.told(now, event)),
            }
        }
        events
    }

    /// An event of consensus, as the machine is told it.
    fn told(&mut self, now: u64, event: orbit_consensus::Event) -> Event {
        match event {
            orbit_consensus::Event::Elected { term } => {
                let (seed, cluster) = (self.random.bits(), ClusterId(self.random.bits()));
                Event::Elected { term, seed, cluster, wall_ms: self.wall(now) }
            }
            orbit_consensus::Event::Deposed => Event::Deposed,
            orbit_consensus::Event::Committed { entry, proposal } => Event::Committed { entry, proposal },
            orbit_consensus::Event::Lost(proposal) => Event::ProposalLost(proposal),
            orbit_consensus::Event::Install(snapshot) => Event::Install(snapshot),
        }
    }
}

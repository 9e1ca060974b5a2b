//! Random lives of one replica, beside a model that is a list: what was proposed to a leader is appended in order,
//! what is durable is committed in order, and a crash keeps a beginning of what was being written.

use orbit_consensus::{Batch, Event, GROUP_MAX, HardState, In, Out, Position, Proposal, Replica};
use orbit_core::{
    manager::ProposalId,
    model::{Actor, ClusterId, Command, Entry, Time},
    state::Cluster,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
enum Deed {
    Tick,
    /// So many together, that much later than the last.
    Propose(usize, i64),
    Persisted,
    /// Of what could not be written, so many entries are durable nevertheless.
    NotPersisted(usize),
    /// A state so many entries ahead, of a term so much newer.
    Snapshot(u64, u64),
    /// Of what is being written, so many entries are durable.
    Crash(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => Just(Deed::Tick),
        10 => (0..5usize, -20..50i64).prop_map(|(many, later)| Deed::Propose(many, later)),
        10 => Just(Deed::Persisted),
        1 => (0..6usize).prop_map(Deed::NotPersisted),
        1 => (0..4u64, 0..3u64).prop_map(|(ahead, newer)| Deed::Snapshot(ahead, newer)),
        1 => (0..6usize).prop_map(Deed::Crash),
    ]
}

/// What is on the disk.
#[derive(Default)]
struct Disk {
    hard_state: HardState,
    snapshot: Position,
    entries: Vec<Entry>,
}

impl Disk {
    fn last(&self) -> Position {
        let of = |entry: &Entry| Position { index: entry.index, term: entry.term, at: entry.at };
        self.entries.last().map_or(self.snapshot, of)
    }

    /// Writes a batch, of its entries only the first so many.
    fn write(&mut self, batch: &Batch, entries: usize) {
        if let Some(hard_state) = batch.hard_state {
            assert!(hard_state.term > self.hard_state.term, "terms only grow");
            self.hard_state = hard_state;
        }
        if let Some(snapshot) = &batch.install {
            self.snapshot = Position { index: snapshot.index, term: snapshot.term, at: snapshot.at };
            self.entries.clear();
        }
        for entry in batch.entries.iter().take(entries) {
            let last = self.last();
            assert_eq!(entry.index, last.index + 1, "the log has no gaps");
            assert!(entry.term >= last.term && entry.at >= last.at, "term and clock of the log do not go back");
            self.entries.push(entry.clone());
        }
    }
}

struct World {
    disk: Disk,
    replica: Replica,
    writing: Option<Batch>,
    /// The model: what a leader was asked and has not answered, in order.
    outstanding: Vec<u64>,
    /// The model: up to where the machine was told.
    told: u64,
    leads: bool,
    stopped: bool,
    terms: BTreeSet<u64>,
    proposals: u64,
    at: i64,
    now: u64,
}

impl World {
    fn new() -> World {
        World {
            disk: Disk::default(),
            replica: Replica::new(HardState::default(), Position::default()),
            writing: None,
            outstanding: Vec::new(),
            told: 0,
            leads: false,
            stopped: false,
            terms: BTreeSet::new(),
            proposals: 0,
            at: 0,
            now: 0,
        }
    }

    /// A new life, on what the last one left.
    fn start(&mut self) {
        self.replica = Replica::new(self.disk.hard_state, self.disk.last());
        self.writing = None;
        self.outstanding.clear();
        self.told = self.disk.last().index;
        (self.leads, self.stopped) = (false, false);
        self.now = 0;
    }

    fn act(&mut self, deed: &Deed) {
        match deed {
            Deed::Tick => self.step(In::Tick),
            Deed::Propose(many, later) => {
                let proposals: Vec<Proposal> = (0..*many).map(|_| self.proposal(*later)).collect();
                self.outstanding.extend(proposals.iter().map(|proposal| proposal.id.0));
                self.step(In::Propose(proposals));
                if !self.leads {
                    assert!(self.outstanding.is_empty(), "what is proposed elsewhere is lost at once");
                }
            }
            Deed::Persisted => {
                let Some(batch) = self.writing.take() else { return };
                self.disk.write(&batch, usize::MAX);
                self.step(In::Persisted(batch.number));
            }
            Deed::NotPersisted(durable) => {
                let Some(batch) = self.writing.take() else { return };
                self.write_partly(&batch, *durable);
                self.stopped = true;
                self.step(In::NotPersisted(batch.number));
                assert!(!self.leads && self.outstanding.is_empty() && self.writing.is_none());
            }
            Deed::Snapshot(ahead, newer) => {
                let term = self.disk.last().term + newer;
                let mut cluster = Cluster::default();
                for index in 1..=self.disk.last().index + ahead {
                    let command = Command::Init { cluster: ClusterId(1) };
                    cluster.apply(&Entry {
                        index,
                        term,
                        at: self.disk.last().at,
                        wall_ms: 1,
                        actor: Actor::Local,
                        command,
                    });
                }
                self.step(In::Snapshot(Box::new(cluster.snapshot())));
            }
            Deed::Crash(durable) => {
                if let Some(batch) = self.writing.take() {
                    self.write_partly(&batch, *durable);
                }
                self.start();
            }
        }
    }

    /// The hard state and a snapshot are there, or not.
    fn write_partly(&mut self, batch: &Batch, durable: usize) {
        if durable > 0 || !batch.entries.is_empty() {
            self.disk.write(batch, durable);
        }
    }

    fn proposal(&mut self, later: i64) -> Proposal {
        self.proposals += 1;
        self.at = (self.at + later).max(0);
        let id = self.proposals;
        Proposal {
            id: ProposalId(id),
            at: Time(self.at as u64),
            wall_ms: 1,
            actor: Actor::Manager,
            command: Command::Barrier { seed: id },
        }
    }

    fn step(&mut self, input: In) {
        self.now += 1;
        for out in self.replica.step(Time(self.now), input) {
            match out {
                Out::Persist(batch) => {
                    assert!(!self.stopped, "a replica that has stopped writes nothing");
                    assert!(self.writing.is_none(), "one batch at a time");
                    assert!(batch.entries.len() <= GROUP_MAX);
                    self.writing = Some(batch);
                }
                Out::Event(event) => self.told(event),
            }
        }
        assert_eq!(self.replica.is_leader(), self.leads);
        assert_eq!(self.replica.committed(), self.told);
    }

    fn told(&mut self, event: Event) {
        match event {
            Event::Elected { term } => {
                assert!(!self.leads && !self.stopped);
                assert_eq!(term, self.disk.hard_state.term, "a term is durable before it begins");
                assert!(term > self.disk.last().term && self.terms.insert(term), "no term is led twice");
                assert_eq!(self.terms.last(), Some(&term), "terms only grow");
                assert_eq!(self.told, self.disk.last().index, "everything before was told");
                self.leads = true;
            }
            Event::Deposed => assert!(std::mem::take(&mut self.leads)),
            Event::Committed { entry, proposal } => {
                assert_eq!(entry.index, self.told + 1, "in order, without gaps");
                self.told = entry.index;
                assert!(self.disk.entries.contains(&entry), "nothing is committed before it is durable");
                // Those before it were answered: outcomes come in the order of the proposals.
                let first = self.outstanding.remove(0);
                assert_eq!(proposal, Some(ProposalId(first)));
                assert_eq!(entry.command, Command::Barrier { seed: first });
            }
            Event::Lost(proposal) => {
                assert!(!self.leads, "a leader loses nothing");
                assert_eq!(proposal, ProposalId(self.outstanding.remove(0)));
            }
            Event::Install(snapshot) => {
                assert!(snapshot.index > self.told && !self.leads);
                assert_eq!(snapshot.index, self.disk.snapshot.index, "a snapshot is durable before it counts");
                self.told = snapshot.index;
            }
        }
    }

    /// Nothing fails any more: everything that a leader was asked is committed.
    fn rest(&mut self) {
        while self.writing.is_some() {
            self.act(&Deed::Persisted);
        }
        assert!(self.outstanding.is_empty(), "nothing is forgotten");
        if !self.leads {
            self.start();
            self.act(&Deed::Tick);
            self.act(&Deed::Persisted);
        }
        assert_eq!(self.told, self.disk.last().index);
        assert!(self.leads, "it can lead after whatever happened");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_replica_is_a_list_that_survives(deeds in prop::collection::vec(deed(), 0..60)) {
        let mut world = World::new();
        deeds.iter().for_each(|deed| world.act(deed));
        world.rest();
    }
}

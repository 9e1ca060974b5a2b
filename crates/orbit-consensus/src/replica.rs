//! One replica of the log.

use crate::{Batch, Event, HardState, In, Out, Position, Proposal};
use orbit_core::{
    manager::ProposalId,
    model::{Entry, Time},
    state::{Cluster, Snapshot},
};
use std::collections::VecDeque;

/// At most so many entries go into one batch, and so into one transaction of the store.
pub const GROUP_MAX: usize = 4096;

/// One replica of the log.
///
/// Entries get their index when they are appended, in the order in which they were proposed. At most one batch is
/// being written at a time; what is appended meanwhile gathers and makes the next one, of at most [`GROUP_MAX`]
/// entries (group commit). So a sync costs the same for one entry and for a thousand, and it is the replica that
/// decides what is written together.
#[derive(Clone, Debug)]
pub struct Replica {
    role: Role,
    /// The newest, which may still be on its way to the disk.
    hard_state: HardState,
    /// Of the last entry that was appended.
    last: Position,
    /// Index of the last entry that was handed out as committed.
    committed: u64,
    /// Appended and not yet in a batch.
    gathered: VecDeque<(ProposalId, Entry)>,
    /// What is being written, in the batch of the number `batches`.
    writing: Option<Writing>,
    /// So many batches were handed out.
    batches: u64,
    now: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Follower,
    /// Its term is not durable yet.
    Candidate,
    Leader,
    /// What is on its disk is not known any more.
    Stopped,
}

#[derive(Clone, Debug)]
enum Writing {
    Term,
    Entries(Vec<(ProposalId, Entry)>),
    Snapshot(Box<Snapshot>),
}

// Getters.
impl Replica {
    /// The newest term that this replica knows of.
    pub fn term(&self) -> u64 {
        self.hard_state.term
    }
    /// Whether proposals are appended.
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }
    /// Index of the last committed entry.
    pub fn committed(&self) -> u64 {
        self.committed
    }
}

impl Replica {
    /// A replica that follows. `last` is where the log on the disk ends; with one manager everything in it is
    /// committed, and the shell has applied it.
    pub fn new(hard_state: HardState, last: Position) -> Replica {
        // A snapshot can be of a later term than the hard state that was found.
        let term = hard_state.term.max(last.term);
        let vote = if term == hard_state.term { hard_state.vote } else { None };
        Replica {
            role: Role::Follower,
            hard_state: HardState { term, vote },
            last,
            committed: last.index,
            gathered: VecDeque::new(),
            writing: None,
            batches: 0,
            now: Time(0),
        }
    }

    /// Takes in one event. Carry out what comes back, in order, before the next step.
    ///
    /// `now` is the caller's monotonic clock; its zero does not matter, and it does not go back.
    pub fn step(&mut self, now: Time, input: In) -> Vec<Out> {
        assert!(now >= self.now, "the clock does not go back");
        self.now = now;
        let mut outs = Vec::new();
        match input {
            In::Tick => self.tick(&mut outs),
            In::Propose(proposals) => self.propose(proposals, &mut outs),
            In::Persisted(number) => self.persisted(number, &mut outs),
            In::NotPersisted(number) => self.not_persisted(number, &mut outs),
            In::Snapshot(snapshot) => self.snapshot(snapshot, &mut outs),
        }
        outs
    }

    /// Nobody else votes: it stands for election as soon as its disk is free, and has won once its term is durable.
    fn tick(&mut self, outs: &mut Vec<Out>) {
        if self.role != Role::Follower || self.writing.is_some() {
            return;
        }
        self.role = Role::Candidate;
        self.hard_state = HardState { term: self.hard_state.term + 1, vote: None };
        let batch = Batch { hard_state: Some(self.hard_state), ..Batch::default() };
        self.persist(Writing::Term, batch, outs);
    }

    fn propose(&mut self, proposals: Vec<Proposal>, outs: &mut Vec<Out>) {
        if self.role != Role::Leader {
            outs.extend(proposals.into_iter().map(|proposal| Out::Event(Event::Lost(proposal.id))));
            return;
        }
        for Proposal { id, at, wall_ms, actor, command } in proposals {
            let Position { index, at: before, .. } = self.last;
            self.last = Position { index: index + 1, term: self.hard_state.term, at: at.max(before) };
            let Position { index, term, at } = self.last;
            self.gathered.push_back((id, Entry { index, term, at, wall_ms, actor, command }));
        }
        self.write_gathered(outs);
    }

    fn persisted(&mut self, number: u64, outs: &mut Vec<Out>) {
        match self.written(number) {
            Writing::Term => {
                self.role = Role::Leader;
                outs.push(Out::Event(Event::Elected { term: self.hard_state.term }));
            }
            Writing::Entries(entries) => {
                // First of all, so that the disk has work while the machine follows.
                self.write_gathered(outs);
                for (proposal, entry) in entries {
                    assert_eq!(entry.index, self.committed + 1, "entries are committed in order");
                    self.committed = entry.index;
                    outs.push(Out::Event(Event::Committed { entry, proposal: Some(proposal) }));
                }
            }
            Writing::Snapshot(snapshot) => {
                self.last = Position { index: snapshot.index, term: snapshot.term, at: snapshot.at };
                self.committed = snapshot.index;
                outs.push(Out::Event(Event::Install(snapshot)));
            }
        }
    }

    fn not_persisted(&mut self, number: u64, outs: &mut Vec<Out>) {
        let writing = self.written(number);
        if self.role == Role::Leader {
            outs.push(Out::Event(Event::Deposed));
        }
        self.role = Role::Stopped;
        let Writing::Entries(entries) = writing else { return };
        let outstanding = entries.into_iter().chain(self.gathered.drain(..));
        outs.extend(outstanding.map(|(proposal, _)| Out::Event(Event::Lost(proposal))));
    }

    fn snapshot(&mut self, snapshot: Box<Snapshot>, outs: &mut Vec<Out>) {
        let free = self.role == Role::Follower && self.writing.is_none();
        if !free || snapshot.index <= self.last.index || Cluster::restore((*snapshot).clone()).is_err() {
            return;
        }
        let mut batch = Batch { install: Some(snapshot.clone()), ..Batch::default() };
        if snapshot.term > self.hard_state.term {
            self.hard_state = HardState { term: snapshot.term, vote: None };
            batch.hard_state = Some(self.hard_state);
        }
        self.persist(Writing::Snapshot(snapshot), batch, outs);
    }

    /// Begins the next batch of entries, if none is being written.
    fn write_gathered(&mut self, outs: &mut Vec<Out>) {
        if self.writing.is_some() || self.gathered.is_empty() {
            return;
        }
        let group: Vec<_> = self.gathered.drain(..self.gathered.len().min(GROUP_MAX)).collect();
        let entries = group.iter().map(|(_, entry)| entry.clone()).collect();
        self.persist(Writing::Entries(group), Batch { entries, ..Batch::default() }, outs);
    }

    fn persist(&mut self, writing: Writing, batch: Batch, outs: &mut Vec<Out>) {
        assert!(self.writing.is_none(), "one batch at a time");
        self.writing = Some(writing);
        self.batches += 1;
        outs.push(Out::Persist(Batch { number: self.batches, ..batch }));
    }

    /// What was written in the batch of this number.
    fn written(&mut self, number: u64) -> Writing {
        assert_eq!(number, self.batches, "the batch that is being written");
        self.writing.take().expect("each batch is answered once")
    }
}

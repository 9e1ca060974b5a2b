//! Consensus: which entries are committed, and who leads. A pure state machine, as the two in `orbit-core` are.
//!
//! Order of calls: [`Replica::new`] with what the disk holds, then [`Replica::step`] with whatever happens. Carry
//! out what a step asks for, in order, before the next one. A [`Batch`] is written beside the steps, because a
//! sync takes long: say [`In::Persisted`] when it is durable, or [`In::NotPersisted`] when it cannot be written.
//!
//! There is one manager today, so a replica elects itself and commits what is durable. The interface is made for
//! several: then messages from other replicas come in, messages to them go out, and a batch names what may be
//! sent only after it is durable. Neither the shell nor the manager's machine has to be told which it is.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod replica;
#[cfg(test)]
mod tests;

pub use replica::{GROUP_MAX, Replica};

use orbit_core::{
    manager::ProposalId,
    model::{Actor, Command, Entry, Time},
    state::{Cluster, Snapshot},
};

/// What a replica must remember apart from the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The newest term seen; 0 before the first election.
    pub term: u64,
    /// For whom this replica voted in that term. With one manager there is no vote.
    pub vote: Option<u64>,
}

/// Where the log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Of the last entry; 0 in an empty log.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Its time, in milliseconds of the cluster's clock: no later entry has an earlier one.
    pub at: Time,
}

impl Position {
    /// The position of the last entry that a state has applied.
    pub fn of(cluster: &Cluster) -> Position {
        Position { index: cluster.index, term: cluster.term, at: cluster.at }
    }
}

/// A command that a leader is to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Named when its outcome is known.
    pub id: ProposalId,
    /// The entry's time, if the last entry's is not later.
    pub at: Time,
    /// The wall clock in milliseconds since 1970.
    pub wall_ms: u64,
    /// Who asked for it.
    pub actor: Actor,
    /// The entry's content.
    pub command: Command,
}

/// What happens to a replica.
#[derive(Clone, Debug)]
pub enum In {
    /// Time passes. A replica without a leader stands for election at its first tick, so the shell ticks at the
    /// start and about once a second; how often does not matter to a single manager.
    Tick,
    /// What is to be appended. Proposals that are ready together come together, and then go into one batch.
    Propose(Vec<Proposal>),
    /// The batch of this number is durable.
    Persisted(u64),
    /// The batch of this number could not be written: nobody knows how much of it is durable. A full disk is no
    /// such failure, the shell waits for room. The replica stops; one that is made from the disk again goes on.
    NotPersisted(u64),
    /// A snapshot of a state that is ahead of this replica, which then replaces its log. Ignored by a leader, which
    /// has all that is committed, while another batch is being written, and if the snapshot is not newer or is no
    /// state that a cluster can have.
    Snapshot(Box<Snapshot>),
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "short-lived, one at a time")]
pub enum Out {
    /// Write this, then answer with its number. No second one is asked for before that answer.
    Persist(Batch),
    /// Hand this to the manager's machine.
    Event(Event),
}

/// What has to become durable together. A crash meanwhile leaves a beginning of the entries, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Counted from 1, over the life of the replica.
    pub number: u64,
    /// Replaces the hard state, before the rest is written.
    pub hard_state: Option<HardState>,
    /// Replaces the log and the state before it.
    pub install: Option<Box<Snapshot>>,
    /// Follow the last entry of the log, without gaps.
    pub entries: Vec<Entry>,
}

/// What the manager's machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "short-lived, one at a time")]
pub enum Event {
    /// This replica leads from now on. Everything committed before was handed out, or was in the log at the start.
    Elected {
        /// Durable, and higher than every term before.
        term: u64,
    },
    /// This replica leads no longer. What becomes of the outstanding proposals follows.
    Deposed,
    /// An entry is durable on a majority, which is this replica alone today. Each comes once, in order, without gaps.
    Committed {
        /// With the index it was given when it was appended.
        entry: Entry,
        /// What it was proposed as, if it was by this replica.
        proposal: Option<ProposalId>,
    },
    /// It is not known whether the proposal will be committed. Each proposal comes back once, by this or as an entry.
    Lost(ProposalId),
    /// A snapshot is durable and replaces the state.
    Install(Box<Snapshot>),
}

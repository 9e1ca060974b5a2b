//! What a manager's storage is, whatever it is made of.

use crate::Result;
use orbit_consensus::HardState;
use orbit_core::{model::Entry, state::Snapshot};
use std::sync::Arc;

/// What a crash left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// As it was set last.
    pub hard_state: HardState,
    /// The newest snapshot.
    pub snapshot: Option<Snapshot>,
    /// The entries behind it, without gaps; from index 1 where there is no snapshot.
    pub entries: Vec<Entry>,
    /// How many bytes these entries take.
    pub entries_bytes: u64,
}

/// Takes in what is kept, piece by piece.
pub trait Replay {
    /// Comes first, and once.
    ///
    /// # Errors
    /// What is wrong with the snapshot: it is damaged.
    fn begin(&mut self, hard_state: HardState, snapshot: Option<Snapshot>) -> std::result::Result<(), String>;

    /// The next entry behind the snapshot, and how many bytes it takes.
    fn entry(&mut self, entry: Entry, bytes: u64);
}

impl Replay for Recovered {
    fn begin(&mut self, hard_state: HardState, snapshot: Option<Snapshot>) -> std::result::Result<(), String> {
        (self.hard_state, self.snapshot) = (hard_state, snapshot);
        Ok(())
    }
    fn entry(&mut self, entry: Entry, bytes: u64) {
        self.entries.push(entry);
        self.entries_bytes += bytes;
    }
}

/// One manager's log, hard state and snapshots: what is kept, not what is committed.
///
/// Call [`replay`](Storage::replay) or [`load`](Storage::load) first and once; then the others in any order. Each is durable when it
/// returns. See the crate for what follows an error.
pub trait Storage: Send {
    /// Hands over everything that is kept, entry by entry: a start takes no more memory for a long log than for a
    /// short one.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written.
    fn replay(&mut self, replay: &mut dyn Replay) -> Result<()>;

    /// The same as one value, with all entries in memory.
    ///
    /// # Errors
    /// As [`replay`](Storage::replay).
    fn load(&mut self) -> Result<Recovered> {
        let mut recovered = Recovered::default();
        self.replay(&mut recovered)?;
        Ok(recovered)
    }

    /// Adds entries behind the last one, all of them or none. Returns how many bytes they take.
    ///
    /// # Errors
    /// [`Full`](crate::StoreError::Full) when free space is below the reserve: nothing was tried.
    ///
    /// # Panics
    /// If the entries would leave a gap: the caller's bug.
    fn append(&mut self, entries: &[Entry]) -> Result<u64>;

    /// Replaces the hard state.
    ///
    /// # Errors
    /// When it cannot be written.
    fn set_hard_state(&mut self, state: HardState) -> Result<()>;

    /// Drops the entries from `index` on: they were never committed.
    ///
    /// # Errors
    /// When it cannot be written.
    ///
    /// # Panics
    /// If `index` is in the snapshot, and so was committed.
    fn truncate_from(&mut self, index: u64) -> Result<()>;

    /// Takes over a snapshot from a leader. Entries behind it stay if the log agrees with it, and go
    /// if it does not. One that is not newer than the present snapshot changes nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    fn install(&mut self, snapshot: &Snapshot) -> Result<()>;

    /// Bytes free on the file system.
    ///
    /// # Errors
    /// When the system does not say.
    fn free_bytes(&self) -> Result<u64>;

    /// A handle that compacts beside the calls above, from another thread.
    fn compactor(&self) -> Arc<dyn Compactor>;
}

/// Shortens a log while it is being written: takes a snapshot from whoever has applied the log, writes
/// it, drops the prefix. Appends wait for one small transaction at most. A crash at any point leaves what
/// can be loaded.
pub trait Compactor: Send + Sync {
    /// Keeps a snapshot, every entry of which must be committed, in place of the entries in it. A second
    /// call waits for the first.
    ///
    /// # Errors
    /// When it cannot be read or written.
    fn compact(&self, snapshot: &Snapshot) -> Result<Compacted>;
}

/// What came of a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compacted {
    /// A new snapshot stands.
    Done {
        /// Index of the last entry that it contains.
        index: u64,
    },
    /// The snapshot reached that far already, or the log not that far; or one was installed meanwhile.
    Nothing,
}

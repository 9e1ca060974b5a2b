//! What survives a crash: the manager's log and snapshots, and the worker's ledger.
//!
//! [`Storage`] keeps one manager's log; [`LedgerStore`] keeps one worker's memory. Each has a durable
//! form on redb and a twin in memory whose "disk" outlives it, for tests and the simulator. Both are
//! synchronous: the shell calls them on a blocking executor that it is given from outside.
//!
//! Nothing returns before it is durable. After any error but [`StoreError::Full`] the handle is of no
//! further use, and what was being written may or may not be there: the process ends, and recovers by
//! starting again. One transaction a call: batching (group commit) is the caller's.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod compact;
mod database;
mod error;
mod ledger;
mod memory;
mod redb_storage;
#[cfg(any(test, feature = "simulated"))]
pub mod simulated;
mod storage;
mod tables;
#[cfg(test)]
mod tests;

pub use compact::RedbCompactor;
pub use database::Options;
pub use error::{Result, StoreError};
pub use ledger::{LedgerDisk, LedgerStore, MemoryLedger, RedbLedger};
pub use memory::{Fault, MemoryDisk, MemoryStorage};
pub use orbit_consensus::HardState;
pub use redb_storage::RedbStorage;
pub use storage::{Compacted, Compactor, Recovered, Replay, Storage};

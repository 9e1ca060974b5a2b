//! Orbit's formats: the wire between manager and worker, the log, the snapshots, the ledger.
//!
//! [`v1`] is generated from `proto/orbit/v1`. Beside it stand conversions: `From<&core>` never
//! fails, `TryFrom<v1>` refuses with a [`DecodeError`] what no core value corresponds to. Any bytes
//! may be decoded: the result is a value or an error, and it takes memory in proportion to the bytes.
//!
//! The shells convert at the edge of a stream; `orbit-store` calls [`encode_entry`], [`decode_entry`],
//! [`SnapshotWriter`] and [`SnapshotReader`]. What the core could write to the log is always read back:
//! rules that only an honest peer keeps are checked on the wire, not in the log.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod backup;
pub mod bounds;
mod columns;
mod error;
mod ledger;
mod log;
mod model;
mod pairs;
mod pieces;
mod setup;
mod snapshot;
mod wire;

pub use backup::{BackupError, BackupWriter, read_backup};
pub use error::DecodeError;
pub use ledger::{decode_ledger_task, encode_ledger_task};
pub use log::{decode_entry, encode_entry};
pub use pieces::{FromWorker, to_manager};
pub use snapshot::{CHUNK_BYTES, SnapshotReader, SnapshotWriter, decode_snapshot, encode_snapshot};
pub use wire::stream_token;

/// The generated messages, the client and the server of the package `orbit.v1`.
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod v1 {
    tonic::include_proto!("orbit.v1");
}

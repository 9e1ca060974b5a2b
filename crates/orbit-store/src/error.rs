//! What a store says when it cannot do what it was asked.

use std::io;

/// A result of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why the store failed. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the directory open.
    #[error(
        "{place} is in use by another process{}: stop that process, or give this one a state directory of its own",
        .pid.map(|pid| format!(" (PID {pid})")).unwrap_or_default()
    )]
    InUse {
        /// Which file or directory.
        place: String,
        /// The process, if it has said so.
        pid: Option<u32>,
    },
    /// What is to be made is there already.
    #[error("{place} has the state of a manager already: choose another directory, or move that one away")]
    Exists {
        /// Which directory.
        place: String,
    },
    /// The files were written by a program with another format.
    #[error(
        "{place} has format {found}, this program knows {known}: run the version of Orbit that wrote it, \
         or start with an empty state directory"
    )]
    WrongVersion {
        /// Which file.
        place: String,
        /// The format of the file.
        found: u64,
        /// The newest format that this program knows.
        known: u64,
    },
    /// The bytes are not what was written, or never were ours.
    #[error("{place} is damaged or not Orbit's ({what}): restore the state directory from a backup")]
    Corrupt {
        /// Which file.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// Too little free space: refused before anything was written; the handle can be used on.
    #[error("{place} has {free_bytes} bytes free, below the reserve of {reserve_bytes}: free some space")]
    Full {
        /// Which file.
        place: String,
        /// What is left on its file system.
        free_bytes: u64,
        /// What must be left.
        reserve_bytes: u64,
    },
    /// The system refused. What was being written may or may not be there.
    #[error("{place} cannot be read or written: {source}")]
    Io {
        /// Which file or directory.
        place: String,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    pub(crate) fn io(place: impl ToString, source: io::Error) -> StoreError {
        StoreError::Io { place: place.to_string(), source }
    }
    pub(crate) fn corrupt(place: impl ToString, what: impl ToString) -> StoreError {
        StoreError::Corrupt { place: place.to_string(), what: what.to_string() }
    }
}

/// What goes wrong inside a transaction, before it is known in which file.
#[derive(Debug)]
pub(crate) enum Trouble {
    Redb(redb::Error),
    Corrupt(String),
}

impl Trouble {
    pub fn at(self, place: &str) -> StoreError {
        match self {
            Trouble::Corrupt(what) => StoreError::corrupt(place, what),
            Trouble::Redb(redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch) => {
                StoreError::InUse { place: place.to_string(), pid: None }
            }
            Trouble::Redb(redb::Error::Io(e))
                if !matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                StoreError::io(place, e)
            }
            Trouble::Redb(e @ (redb::Error::PreviousIo | redb::Error::DatabaseClosed)) => {
                StoreError::io(place, io::Error::other(e.to_string()))
            }
            Trouble::Redb(e) => StoreError::corrupt(place, e),
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),+) => {$(
        impl From<redb::$error> for Trouble {
            fn from(e: redb::$error) -> Trouble {
                Trouble::Redb(e.into())
            }
        }
    )+};
}
from_redb!(DatabaseError, TransactionError, TableError, StorageError, CommitError);

impl From<orbit_proto::DecodeError> for Trouble {
    fn from(e: orbit_proto::DecodeError) -> Trouble {
        Trouble::Corrupt(e.to_string())
    }
}

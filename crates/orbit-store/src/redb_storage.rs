//! The log on redb.

use crate::{
    Compactor, HardState, Options, RedbCompactor, Replay, Result, Storage,
    database::{Content, Db, META},
    error::Trouble,
    tables::{self, LOG, WriteFn, drop_remains, point, pointer, read_entries, read_snapshot, write_chunks},
};
use orbit_core::{model::Entry, state::Snapshot};
use orbit_proto::{decode_entry, encode_entry};
use redb::{ReadableTable, StorageBackend};
use std::{path::Path, sync::Arc};

const FILE: &str = "log.redb";

/// A manager's log in the file `log.redb` of a state directory, or on a simulated disk.
pub struct RedbStorage {
    db: Arc<Db>,
    compactor: Arc<RedbCompactor>,
    /// Index of the last entry that is kept, in the log or in the snapshot.
    last: u64,
}

impl RedbStorage {
    /// Opens the log in a state directory, which is made (for its owner alone) if it is not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`](crate::StoreError::InUse) when another process has it, [`StoreError::WrongVersion`](crate::StoreError::WrongVersion) or
    /// [`StoreError::Corrupt`](crate::StoreError::Corrupt) when it cannot be read.
    pub fn open(dir: &Path, options: Options) -> Result<RedbStorage> {
        Self::new(Db::open(dir, FILE, Content::Log, options, tables::make)?)
    }

    /// Makes the log of a manager that begins with a snapshot, in a state directory that has none yet.
    ///
    /// # Errors
    /// [`StoreError::Exists`](crate::StoreError::Exists) when there is one, and otherwise as [`RedbStorage::open`]. There is
    /// no log then that a manager would start from.
    pub fn create(dir: &Path, options: Options, hard_state: HardState, snapshot: &Snapshot) -> Result<()> {
        Db::create(dir, FILE, Content::Log, options, tables::make, |db| {
            let mut storage = Self::new(db)?;
            storage.set_hard_state(hard_state)?;
            storage.install(snapshot)
        })
    }

    /// The same on a simulated disk; `free` says how many bytes are free there.
    ///
    /// # Errors
    /// As [`RedbStorage::open`].
    pub fn create_with_backend(
        backend: impl StorageBackend,
        options: Options,
        free: impl Fn() -> std::io::Result<u64> + Send + Sync + 'static,
    ) -> Result<RedbStorage> {
        Self::new(Db::with_backend(backend, Content::Log, options, tables::make, Box::new(free))?)
    }

    fn new(db: Db) -> Result<RedbStorage> {
        let db = Arc::new(db);
        let last = db.read(|txn| {
            let last = txn.open_table(LOG)?.last()?.map(|(key, _)| key.value());
            Ok(last.unwrap_or(0).max(pointer(txn)?.index))
        })?;
        let compactor = Arc::new(RedbCompactor::new(db.clone()));
        Ok(RedbStorage { db, compactor, last })
    }

    #[cfg(test)]
    pub(crate) fn redb_compactor(&self) -> Arc<RedbCompactor> {
        self.compactor.clone()
    }
    #[cfg(test)]
    pub(crate) fn db(&self) -> &Db {
        &self.db
    }
}

impl Storage for RedbStorage {
    fn replay(&mut self, replay: &mut dyn Replay) -> Result<()> {
        self.db.read(|txn| {
            let meta = txn.open_table(META)?;
            let get = |key| Ok::<_, Trouble>(meta.get(key)?.map(|v| v.value()));
            let hard_state = HardState { term: get("term")?.unwrap_or(0), vote: get("vote")? };
            let pointer = pointer(txn)?;
            let snapshot = read_snapshot(txn, pointer)?;
            let damaged = |what| Trouble::Corrupt(format!("the snapshot is damaged: {what}"));
            replay.begin(hard_state, snapshot).map_err(damaged)?;
            read_entries(txn, pointer.index + 1, |entry, bytes| replay.entry(entry, bytes))
        })
    }

    fn append(&mut self, entries: &[Entry]) -> Result<u64> {
        let Some(last) = entries.last() else { return Ok(0) };
        for (entry, index) in entries.iter().zip(self.last + 1..) {
            assert_eq!(entry.index, index, "the log has no gaps");
        }
        self.db.check_reserve()?;
        let bytes = self.db.write(|txn| {
            let (mut log, mut bytes) = (txn.open_table(LOG)?, 0);
            for entry in entries {
                let encoded = encode_entry(entry);
                log.insert(entry.index, encoded.as_slice())?;
                bytes += encoded.len() as u64;
            }
            Ok(bytes)
        })?;
        self.last = last.index;
        Ok(bytes)
    }

    fn set_hard_state(&mut self, state: HardState) -> Result<()> {
        self.db.write(|txn| {
            let mut meta = txn.open_table(META)?;
            meta.insert("term", state.term)?;
            match state.vote {
                Some(vote) => meta.insert("vote", vote)?,
                None => meta.remove("vote")?,
            };
            Ok(())
        })
    }

    fn truncate_from(&mut self, index: u64) -> Result<()> {
        let kept = self.db.read(pointer)?.index;
        assert!(index > kept, "entry {index} is committed: the snapshot contains {kept}");
        self.db.write(|txn| {
            txn.open_table(LOG)?.retain_in(index.., |_, _| false)?;
            Ok(())
        })?;
        self.last = self.last.min(index - 1);
        Ok(())
    }

    fn install(&mut self, snapshot: &Snapshot) -> Result<()> {
        let before = self.db.read(pointer)?;
        if snapshot.index <= before.index {
            return Ok(());
        }
        let write = |f: &mut WriteFn<'_>| self.db.write(f);
        let new = write_chunks(&write, snapshot)?;
        let agrees = self.db.write(|txn| {
            let agrees = match txn.open_table(LOG)?.get(snapshot.index)? {
                Some(bytes) => decode_entry(bytes.value())?.term == snapshot.term,
                None => false,
            };
            if !agrees {
                txn.delete_table(LOG)?;
                txn.open_table(LOG)?;
            }
            point(txn, new)?;
            Ok(agrees)
        })?;
        if !agrees {
            self.last = snapshot.index;
        }
        drop_remains(&write, new)
    }

    fn free_bytes(&self) -> Result<u64> {
        self.db.free_bytes()
    }

    fn compactor(&self) -> Arc<dyn Compactor> {
        self.compactor.clone()
    }
}

//! The log on redb.

use crate::{
    Compactor, HardState, Options, Recovered, RedbCompactor, Result, Storage,
    database::{Content, Db, META},
    error::Trouble,
};
use orbit_core::{model::Entry, state::Snapshot};
use orbit_proto::{SnapshotReader, SnapshotWriter, decode_entry, encode_entry};
use redb::{ReadTransaction, ReadableTable, StorageBackend, TableDefinition, TableError, WriteTransaction};
use std::{path::Path, sync::Arc};

/// Entries by index.
pub(crate) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// Chunks by (generation, place). Only the generation counts to which [`Pointer`] points: others are
/// the remains of a crash, or under way.
pub(crate) const CHUNKS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("snapshot");

/// So many bytes of chunks go into one transaction.
const WRITE_BYTES: usize = 2 << 20;
/// So many rows are dropped in one transaction.
const DROP_ROWS: u64 = 2000;

/// Which snapshot counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pointer {
    /// 0 where there is none.
    pub generation: u64,
    pub index: u64,
    pub chunks: u64,
}

/// A manager's log in the file `log.redb` of a state directory, or on a simulated disk.
pub struct RedbStorage {
    db: Arc<Db>,
    compactor: Arc<RedbCompactor>,
    /// Index of the last entry that is kept, in the log or in the snapshot.
    last: u64,
}

fn tables(txn: &WriteTransaction) -> std::result::Result<(), TableError> {
    txn.open_table(LOG)?;
    txn.open_table(CHUNKS)?;
    Ok(())
}

impl RedbStorage {
    /// Opens the log in a state directory, which is made (for its owner alone) if it is not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`](crate::StoreError::InUse) when another process has it, [`StoreError::WrongVersion`](crate::StoreError::WrongVersion) or
    /// [`StoreError::Corrupt`](crate::StoreError::Corrupt) when it cannot be read.
    pub fn open(dir: &Path, options: Options) -> Result<RedbStorage> {
        Self::new(Db::open(dir, "log.redb", Content::Log, options, tables)?)
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
        Self::new(Db::with_backend(backend, Content::Log, options, tables, Box::new(free))?)
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
    fn load(&mut self) -> Result<Recovered> {
        self.db.read(|txn| {
            let meta = txn.open_table(META)?;
            let get = |key| Ok::<_, Trouble>(meta.get(key)?.map(|v| v.value()));
            let hard_state = HardState { term: get("term")?.unwrap_or(0), vote: get("vote")? };
            let pointer = pointer(txn)?;
            let snapshot = read_snapshot(txn, pointer)?;
            let entries = read_entries(txn, pointer.index + 1, u64::MAX, usize::MAX)?;
            Ok(Recovered { hard_state, snapshot, entries })
        })
    }

    fn append(&mut self, entries: &[Entry]) -> Result<()> {
        let Some(last) = entries.last() else { return Ok(()) };
        for (entry, index) in entries.iter().zip(self.last + 1..) {
            assert_eq!(entry.index, index, "the log has no gaps");
        }
        self.db.check_reserve()?;
        self.db.write(|txn| {
            let mut log = txn.open_table(LOG)?;
            for entry in entries {
                log.insert(entry.index, encode_entry(entry).as_slice())?;
            }
            Ok(())
        })?;
        self.last = last.index;
        Ok(())
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

/// The content of one transaction.
pub(crate) type WriteFn<'a> = dyn FnMut(&WriteTransaction) -> std::result::Result<(), Trouble> + 'a;
/// Carries one transaction out, durably.
pub(crate) type Write<'a> = dyn Fn(&mut WriteFn<'_>) -> Result<()> + 'a;

pub(crate) fn pointer(txn: &ReadTransaction) -> std::result::Result<Pointer, Trouble> {
    pointer_in(&txn.open_table(META)?)
}

/// Of the last entry that is kept, in the log or in the snapshot.
pub(crate) fn last_index(txn: &ReadTransaction) -> std::result::Result<u64, Trouble> {
    let last = txn.open_table(LOG)?.last()?.map_or(0, |(index, _)| index.value());
    Ok(last.max(pointer(txn)?.index))
}

pub(crate) fn pointer_in(meta: &impl ReadableTable<&'static str, u64>) -> std::result::Result<Pointer, Trouble> {
    let get = |key| Ok::<_, Trouble>(meta.get(key)?.map_or(0, |v| v.value()));
    Ok(Pointer {
        generation: get("snapshot.generation")?,
        index: get("snapshot.index")?,
        chunks: get("snapshot.chunks")?,
    })
}

/// Makes a snapshot the one that counts.
pub(crate) fn point(txn: &WriteTransaction, to: Pointer) -> std::result::Result<(), Trouble> {
    let mut meta = txn.open_table(META)?;
    meta.insert("snapshot.generation", to.generation)?;
    meta.insert("snapshot.index", to.index)?;
    meta.insert("snapshot.chunks", to.chunks)?;
    Ok(())
}

pub(crate) fn read_snapshot(txn: &ReadTransaction, pointer: Pointer) -> std::result::Result<Option<Snapshot>, Trouble> {
    if pointer.generation == 0 {
        return Ok(None);
    }
    let mut reader = SnapshotReader::default();
    let chunks = txn.open_table(CHUNKS)?;
    for chunk in chunks.range((pointer.generation, 0)..=(pointer.generation, u32::MAX))? {
        reader.push(chunk?.1.value())?;
    }
    let snapshot = reader.finish()?;
    if snapshot.index != pointer.index {
        let message = format!("the snapshot ends at {}, not at {}", snapshot.index, pointer.index);
        return Err(Trouble::Corrupt(message));
    }
    Ok(Some(snapshot))
}

/// At most `max` entries from `from` to `to`, both included, without gaps.
pub(crate) fn read_entries(
    txn: &ReadTransaction,
    from: u64,
    to: u64,
    max: usize,
) -> std::result::Result<Vec<Entry>, Trouble> {
    let mut entries = Vec::new();
    for (row, index) in txn.open_table(LOG)?.range(from..=to)?.take(max).zip(from..) {
        let (key, bytes) = row?;
        let entry = decode_entry(bytes.value())?;
        if key.value() != index || entry.index != index {
            return Err(Trouble::Corrupt(format!("the log has no entry {index}")));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Writes a snapshot's chunks in bounded transactions, under a generation of its own. It does not
/// count yet.
pub(crate) fn write_chunks(write: &Write<'_>, snapshot: &Snapshot) -> Result<Pointer> {
    let mut generation = 0;
    write(&mut |txn| {
        let mut meta = txn.open_table(META)?;
        generation = meta.get("generation")?.map_or(0, |v| v.value()) + 1;
        meta.insert("generation", generation)?;
        Ok(())
    })?;
    let mut chunks = (0u32..).zip(SnapshotWriter::new(snapshot)).peekable();
    let mut count = 0;
    while chunks.peek().is_some() {
        write(&mut |txn| {
            let mut table = txn.open_table(CHUNKS)?;
            let mut bytes = 0;
            while bytes < WRITE_BYTES
                && let Some((place, chunk)) = chunks.next()
            {
                table.insert((generation, place), chunk.as_slice())?;
                bytes += chunk.len();
                count += 1;
            }
            Ok(())
        })?;
    }
    Ok(Pointer { generation, index: snapshot.index, chunks: count })
}

/// Drops what the snapshot made superfluous: the log's prefix, and the chunks of older generations.
/// In bounded transactions, so that an append waits for one of them at most.
pub(crate) fn drop_remains(write: &Write<'_>, counts: Pointer) -> Result<()> {
    let mut more = true;
    while more {
        write(&mut |txn| {
            let mut log = txn.open_table(LOG)?;
            let mut end = counts.index;
            if let Some((first, _)) = log.first()? {
                end = end.min(first.value().saturating_add(DROP_ROWS - 1));
            }
            log.retain_in(..=end, |_, _| false)?;
            more = end < counts.index && log.first()?.is_some_and(|(first, _)| first.value() <= counts.index);
            Ok(())
        })?;
    }
    let mut more = true;
    while more {
        write(&mut |txn| {
            let mut table = txn.open_table(CHUNKS)?;
            let first = table.first()?.map(|(key, _)| key.value());
            match first {
                Some((generation, place)) if generation < counts.generation => {
                    let end = place.saturating_add(3);
                    table.retain_in((generation, place)..=(generation, end), |_, _| false)?;
                }
                _ => more = false,
            }
            Ok(())
        })?;
    }
    Ok(())
}

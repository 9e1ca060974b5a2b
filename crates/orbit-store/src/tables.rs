//! The tables of a manager's log on redb, and what is read and written in them.

use crate::{Result, database::META, error::Trouble};
use orbit_core::{model::Entry, state::Snapshot};
use orbit_proto::{SnapshotReader, SnapshotWriter, decode_entry};
use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

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

/// Makes the tables of a new file.
pub(crate) fn make(txn: &WriteTransaction) -> std::result::Result<(), TableError> {
    txn.open_table(LOG)?;
    txn.open_table(CHUNKS)?;
    Ok(())
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

/// All entries from `from` on, without gaps, one after the other, and how many bytes each takes.
pub(crate) fn read_entries(
    txn: &ReadTransaction,
    from: u64,
    mut take: impl FnMut(Entry, u64),
) -> std::result::Result<(), Trouble> {
    for (row, index) in txn.open_table(LOG)?.range(from..)?.zip(from..) {
        let (key, bytes) = row?;
        let entry = decode_entry(bytes.value())?;
        if key.value() != index || entry.index != index {
            return Err(Trouble::Corrupt(format!("the log has no entry {index}")));
        }
        take(entry, bytes.value().len() as u64);
    }
    Ok(())
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

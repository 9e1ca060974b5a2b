//! The log in memory, on a "disk" that outlives the storage.

use crate::{Compacted, Compactor, HardState, Recovered, Replay, Result, Storage, StoreError};
use orbit_core::{model::Entry, state::Snapshot};
use orbit_proto::encode_entry;
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Where a [`MemoryStorage`] keeps its content. Clones are the same disk: keep one, drop the storage
/// (the crash), open another storage on it.
#[derive(Clone, Debug)]
pub struct MemoryDisk(Arc<Mutex<Disk>>);

#[derive(Debug)]
struct Disk {
    kept: Recovered,
    fault: Option<Fault>,
    free_bytes: u64,
}

/// How the next append fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written, and the storage says so by [`StoreError::Full`].
    Full,
    /// Nothing is written; the caller cannot know.
    Lost,
    /// Everything is written; the caller cannot know.
    Kept,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        let disk = Disk { kept: Recovered::default(), fault: None, free_bytes: u64::MAX };
        MemoryDisk(Arc::new(Mutex::new(disk)))
    }
}

impl MemoryDisk {
    /// Makes the next append fail, once.
    pub fn fail_next_append(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }
    /// What [`Storage::free_bytes`] says from now on.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.lock().free_bytes = bytes;
    }
    fn lock(&self) -> MutexGuard<'_, Disk> {
        // Every change is whole before a panic could come.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log in memory.
#[derive(Debug)]
pub struct MemoryStorage(MemoryDisk);

impl MemoryStorage {
    /// Opens what is on a disk.
    pub fn open(disk: &MemoryDisk) -> MemoryStorage {
        MemoryStorage(disk.clone())
    }
}

impl Recovered {
    fn snapshot_index(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |s| s.index)
    }
    fn last(&self) -> u64 {
        self.entries.last().map_or(self.snapshot_index(), |e| e.index)
    }
}

const PLACE: &str = "the disk in memory";

/// As many as they would take on a disk.
fn bytes(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| encode_entry(entry).len() as u64).sum()
}

impl Storage for MemoryStorage {
    fn replay(&mut self, replay: &mut dyn Replay) -> Result<()> {
        let kept = self.0.lock().kept.clone();
        let damaged = |what| StoreError::Corrupt { place: PLACE.into(), what };
        replay.begin(kept.hard_state, kept.snapshot).map_err(damaged)?;
        for entry in kept.entries {
            let taken = bytes(std::slice::from_ref(&entry));
            replay.entry(entry, taken);
        }
        Ok(())
    }

    fn append(&mut self, entries: &[Entry]) -> Result<u64> {
        let mut disk = self.0.lock();
        for (entry, index) in entries.iter().zip(disk.kept.last() + 1..) {
            assert_eq!(entry.index, index, "the log has no gaps");
        }
        let fault = disk.fault.take();
        let unknown = || Err(StoreError::io(PLACE, io::Error::other("the append failed")));
        match fault {
            Some(Fault::Full) => {
                return Err(StoreError::Full { place: PLACE.into(), free_bytes: 0, reserve_bytes: 1 });
            }
            Some(Fault::Lost) => return unknown(),
            Some(Fault::Kept) | None => disk.kept.entries.extend_from_slice(entries),
        }
        if fault.is_some() { unknown() } else { Ok(bytes(entries)) }
    }

    fn set_hard_state(&mut self, state: HardState) -> Result<()> {
        self.0.lock().kept.hard_state = state;
        Ok(())
    }

    fn truncate_from(&mut self, index: u64) -> Result<()> {
        let kept = &mut self.0.lock().kept;
        assert!(index > kept.snapshot_index(), "entry {index} is committed: the snapshot contains it");
        kept.entries.retain(|e| e.index < index);
        Ok(())
    }

    fn install(&mut self, snapshot: &Snapshot) -> Result<()> {
        let kept = &mut self.0.lock().kept;
        if snapshot.index <= kept.snapshot_index() {
            return Ok(());
        }
        let agrees = kept.entries.iter().any(|e| (e.index, e.term) == (snapshot.index, snapshot.term));
        kept.entries.retain(|e| agrees && e.index > snapshot.index);
        kept.snapshot = Some(snapshot.clone());
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64> {
        Ok(self.0.lock().free_bytes)
    }

    fn compactor(&self) -> Arc<dyn Compactor> {
        Arc::new(MemoryCompactor(self.0.clone()))
    }
}

struct MemoryCompactor(MemoryDisk);

impl Compactor for MemoryCompactor {
    fn compact(&self, snapshot: &Snapshot) -> Result<Compacted> {
        let (kept, index) = (&mut self.0.lock().kept, snapshot.index);
        if index <= kept.snapshot_index() || index > kept.last() {
            return Ok(Compacted::Nothing);
        }
        kept.entries.retain(|e| e.index > index);
        kept.snapshot = Some(snapshot.clone());
        Ok(Compacted::Done { index })
    }
}

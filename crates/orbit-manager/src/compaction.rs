//! When the log is compacted: after a number of entries or bytes since the last snapshot, no matter which process wrote
//! them. The snapshot comes from the reader, so nothing is replayed for it and no step waits.

use crate::{notice::Notice, reader::Reader};
use orbit_shell::{BlockingExecutor, call};
use orbit_store::{Compacted, Compactor, StoreError};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::mpsc;

/// After so many bytes of entries the next snapshot is written: a restart loads no more than that
/// beside the snapshot.
const BYTES_MAX: u64 = 64 << 20;

/// What is in the log behind the last snapshot, and who shortens it.
pub(crate) struct Compaction {
    pub compactor: Arc<dyn Compactor>,
    pub blocking: Arc<dyn BlockingExecutor>,
    pub reader: Reader,
    /// After so many entries the next snapshot is written.
    pub entries_max: u64,
    /// Entries and bytes since the last snapshot.
    behind: Arc<Behind>,
    /// What is not to be tried before the log has grown by another part.
    next: (u64, u64),
}

#[derive(Default)]
struct Behind {
    entries: AtomicU64,
    bytes: AtomicU64,
    running: AtomicU64,
}

impl Compaction {
    /// `entries` and `bytes` are in the log already.
    pub fn new(
        compactor: Arc<dyn Compactor>,
        blocking: Arc<dyn BlockingExecutor>,
        reader: Reader,
        entries_max: u64,
        (entries, bytes): (u64, u64),
    ) -> Compaction {
        let behind = Behind { entries: entries.into(), bytes: bytes.into(), running: 0.into() };
        Compaction {
            compactor,
            blocking,
            reader,
            entries_max,
            behind: Arc::new(behind),
            next: (entries_max, BYTES_MAX),
        }
    }

    /// So much was written. Begins the next snapshot where it is due; one that failed is tried again after
    /// a tenth as much.
    pub fn wrote(&mut self, entries: u64, bytes: u64, notices: &mpsc::UnboundedSender<Notice>) {
        let behind = &self.behind;
        let entries = behind.entries.fetch_add(entries, Ordering::Relaxed) + entries;
        let bytes = behind.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if entries < self.next.0 && bytes < self.next.1 {
            // A snapshot has been written meanwhile.
            if entries < self.entries_max / 2 && bytes < BYTES_MAX / 2 {
                self.next = (self.entries_max, BYTES_MAX);
            }
            return;
        }
        if behind.running.swap(1, Ordering::Relaxed) == 1 {
            return;
        }
        self.next = (entries + (self.entries_max / 10).max(1), bytes + BYTES_MAX / 10);
        let (reader, compactor, blocking) = (self.reader.clone(), self.compactor.clone(), self.blocking.clone());
        let (behind, notices) = (behind.clone(), notices.clone());
        tokio::spawn(async move {
            if let Ok(snapshot) = reader.snapshot().await {
                match call(&blocking, move || compactor.compact(&snapshot)).await {
                    Ok(Compacted::Done { index }) => {
                        behind.entries.fetch_sub(entries, Ordering::Relaxed);
                        behind.bytes.fetch_sub(bytes, Ordering::Relaxed);
                        tracing::info!(index, "snapshot written, log compacted");
                    }
                    Ok(Compacted::Nothing) => {}
                    Err(StoreError::Full { .. }) => tracing::warn!("no room for a snapshot: the log is kept"),
                    Err(error) => _ = notices.send(Notice::Failed(error)),
                }
            }
            behind.running.store(0, Ordering::Relaxed);
        });
    }
}

//! When the log is compacted: after a number of entries or bytes since the last snapshot, no matter which process wrote
//! them. The snapshot comes from the reader, so nothing is replayed for it and no step waits.

use crate::{metrics::Metrics, notice::Notice, reader::Reader};
use orbit_shell::{BlockingExecutor, call};
use orbit_store::{Compacted, Compactor, StoreError};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
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
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Behind {
    entries: AtomicU64,
    bytes: AtomicU64,
    running: AtomicBool,
    /// A snapshot was written since the last look.
    done: AtomicBool,
}

impl Compaction {
    /// `entries` and `bytes` are in the log already.
    pub fn new(
        compactor: Arc<dyn Compactor>,
        blocking: Arc<dyn BlockingExecutor>,
        reader: Reader,
        entries_max: u64,
        (entries, bytes): (u64, u64),
        metrics: Arc<Metrics>,
    ) -> Compaction {
        let behind = Behind { entries: entries.into(), bytes: bytes.into(), ..Behind::default() };
        metrics.log_is(entries, bytes);
        Compaction {
            compactor,
            blocking,
            reader,
            entries_max,
            behind: Arc::new(behind),
            next: (entries_max, BYTES_MAX),
            metrics,
        }
    }

    /// So much was written. Begins the next snapshot where it is due; one that failed is tried again after
    /// a tenth as much.
    pub fn wrote(&mut self, entries: u64, bytes: u64, notices: &mpsc::UnboundedSender<Notice>) {
        let behind = &self.behind;
        let entries = behind.entries.fetch_add(entries, Ordering::Relaxed) + entries;
        let bytes = behind.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.metrics.log_is(entries, bytes);
        if behind.done.swap(false, Ordering::Relaxed) {
            self.next = (self.entries_max, BYTES_MAX);
        }
        let is_due = entries >= self.next.0 || bytes >= self.next.1;
        if !is_due || behind.running.swap(true, Ordering::Relaxed) {
            return;
        }
        self.next = (entries + (self.entries_max / 10).max(1), bytes + BYTES_MAX / 10);
        let (reader, compactor, blocking) = (self.reader.clone(), self.compactor.clone(), self.blocking.clone());
        let (behind, notices, metrics) = (behind.clone(), notices.clone(), self.metrics.clone());
        tokio::spawn(async move {
            if let Ok(snapshot) = reader.snapshot().await {
                match call(&blocking, move || compactor.compact(&snapshot)).await {
                    Ok(Compacted::Done { index }) => {
                        let left_entries = behind.entries.fetch_sub(entries, Ordering::Relaxed) - entries;
                        let left_bytes = behind.bytes.fetch_sub(bytes, Ordering::Relaxed) - bytes;
                        behind.done.store(true, Ordering::Relaxed);
                        metrics.log_is(left_entries, left_bytes);
                        metrics.compacted();
                        tracing::info!(index, "snapshot written, log compacted");
                    }
                    Ok(Compacted::Nothing) => {}
                    Err(StoreError::Full { .. }) => tracing::warn!("no room for a snapshot: the log is kept"),
                    Err(error) => _ = notices.send(Notice::Failed(error)),
                }
            }
            behind.running.store(false, Ordering::Relaxed);
        });
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;
    use orbit_core::{
        model::Timing,
        state::{Cluster, Snapshot},
    };
    use orbit_shell::{Clock, TokioBlocking};
    use std::{collections::VecDeque, sync::Mutex, time::Duration};
    use tokio::time::{sleep, timeout};

    /// Answers as it was told to, and counts.
    #[derive(Default)]
    struct Counting {
        answers: Mutex<VecDeque<Result<Compacted, StoreError>>>,
        calls: AtomicU64,
    }

    impl Compactor for Counting {
        fn compact(&self, snapshot: &Snapshot) -> Result<Compacted, StoreError> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let answer = self.answers.lock().unwrap().pop_front();
            answer.unwrap_or(Ok(Compacted::Done { index: snapshot.index }))
        }
    }

    struct World {
        compaction: Compaction,
        compactor: Arc<Counting>,
        notices: mpsc::UnboundedSender<Notice>,
    }

    impl World {
        /// After 100 entries or [`BYTES_MAX`]; `behind` are there already.
        fn new(behind: (u64, u64)) -> World {
            let compactor = Arc::new(Counting::default());
            let reader = Reader::start(Cluster::default(), Timing::default(), Clock::start());
            let metrics = Arc::new(Metrics::new());
            let compaction = Compaction::new(compactor.clone(), Arc::new(TokioBlocking), reader, 100, behind, metrics);
            World { compaction, compactor, notices: mpsc::unbounded_channel().0 }
        }

        /// Writes, lets a compaction that this begins come to its end, and says how many there were.
        async fn write(&mut self, entries: u64, bytes: u64) -> u64 {
            self.compaction.wrote(entries, bytes, &self.notices);
            let ended = async {
                while self.compaction.behind.running.load(Ordering::Relaxed) {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(Duration::from_secs(20), ended).await.expect("a compaction ends");
            self.compactor.calls.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn a_log_is_compacted_by_entries_or_by_bytes_whichever_comes_first() {
        let mut world = World::new((0, 0));
        assert_eq!(world.write(99, 1).await, 0);
        assert_eq!(world.write(1, 1).await, 1);
        assert_eq!(world.write(1, BYTES_MAX - 1).await, 1, "both count from the last snapshot");
        assert_eq!(world.write(1, 1).await, 2, "three large entries are as good as a hundred");
    }

    #[tokio::test]
    async fn what_an_earlier_process_wrote_counts() {
        assert_eq!(World::new((99, 0)).write(1, 1).await, 1);
        assert_eq!(World::new((1, BYTES_MAX - 1)).write(1, 1).await, 1);
        assert_eq!(World::new((98, 0)).write(1, 1).await, 0);
    }

    #[tokio::test]
    async fn a_compaction_that_failed_is_tried_again_after_a_tenth_as_much() {
        let mut world = World::new((0, 0));
        let full = StoreError::Full { place: "the disk".into(), free_bytes: 0, reserve_bytes: 1 };
        world.compactor.answers.lock().unwrap().push_back(Err(full));
        assert_eq!(world.write(100, 1).await, 1);
        assert_eq!(world.write(9, 1).await, 1, "not at once");
        assert_eq!(world.write(1, 1).await, 2);
        assert_eq!(world.write(99, 1).await, 2, "that one succeeded, and the count begins anew");
        assert_eq!(world.write(1, 1).await, 3);
    }
}

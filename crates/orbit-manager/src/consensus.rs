//! What is committed. With one manager: everything that is durable.
//!
//! Proposals are numbered in the order in which they come, and written in groups: while one group
//! is being synced, the next gathers. So a sync costs the same for one entry and for a thousand.
//! Several managers put a Raft library here; the driver would not notice.

use crate::{compaction::Compaction, metrics::Metrics};
use orbit_core::{
    manager::ProposalId,
    model::{Command, Entry, Time},
    planted::{Bug, planted},
    state::Cluster,
};
use orbit_shell::{BlockingExecutor, buggify, call};
use orbit_store::{HardState, Recovered, Storage, StoreError};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// At most so many entries are written by one transaction.
const GROUP_MAX: usize = 4096;
/// After so many entries the next snapshot is written, unless somebody says otherwise.
pub const COMPACT_EVERY: u64 = 50_000;
/// How long to wait before a full disk is tried again, and how often to look how full it is: it is
/// others who fill it, while there may be nothing to write.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Below so many free bytes users' writes are refused; what the cluster itself has to write finds room
/// there, down to the reserve of the store, below which nothing is tried.
const USERS_RESERVE_BYTES: u64 = 64 << 20;

/// What consensus tells the driver.
#[derive(Debug)]
pub enum Committed {
    /// These are durable, in order, each with the proposal that it was.
    Entries(Vec<(ProposalId, Entry)>),
    /// The store cannot go on, and so neither can the process.
    Failed(StoreError),
}

/// Where entries are kept.
pub struct Log {
    /// Itself.
    pub storage: Box<dyn Storage>,
    /// Where it is written.
    pub blocking: Arc<dyn BlockingExecutor>,
    /// Who shortens it.
    pub(crate) compaction: Compaction,
}

/// What a start found.
pub struct Found {
    /// The state, with every entry of the log applied.
    pub cluster: Cluster,
    /// As it was set last.
    pub hard_state: HardState,
    /// Entries behind the last snapshot, and about how many bytes they take.
    pub behind_snapshot: (u64, u64),
}

/// Numbers proposals and hands them to the writer.
pub struct Consensus {
    term: u64,
    last: (u64, Time),
    queue: mpsc::UnboundedSender<(ProposalId, Entry)>,
    /// The disk is full: writes are refused before they are tried.
    full: Arc<AtomicBool>,
}

impl Consensus {
    /// The state as the storage has it, without leading yet: call `Consensus::elect` next.
    ///
    /// # Errors
    /// When the storage cannot be read, or is damaged.
    pub fn recover(storage: &mut dyn Storage) -> Result<Found, StoreError> {
        let Recovered { hard_state, snapshot, entries } = storage.load()?;
        let damaged = |what| StoreError::Corrupt { place: "the snapshot".to_string(), what };
        let mut cluster = match snapshot {
            Some(snapshot) => Cluster::restore(snapshot).map_err(damaged)?,
            None => Cluster::default(),
        };
        let mut bytes = 0;
        for entry in &entries {
            bytes += entry.bytes() as u64;
            cluster.apply(entry);
        }
        Ok(Found { cluster, hard_state, behind_snapshot: (entries.len() as u64, bytes) })
    }

    /// Begins the next term, durably, and starts the writer.
    ///
    /// # Errors
    /// When the storage cannot be written.
    pub(crate) fn elect(
        log: Log,
        cluster: &Cluster,
        before: HardState,
        committed: mpsc::UnboundedSender<Committed>,
        metrics: Arc<Metrics>,
    ) -> Result<Consensus, StoreError> {
        let Log { mut storage, blocking, compaction } = log;
        let term = before.term.max(cluster.term) + 1;
        storage.set_hard_state(HardState { term, vote: None })?;
        let (queue, receiver) = mpsc::unbounded_channel();
        let full = Arc::new(AtomicBool::new(false));
        let storage = Some(storage);
        let writer = Writer { storage, compaction, blocking, committed, full: full.clone(), metrics };
        tokio::spawn(writer.write(receiver));
        Ok(Consensus { term, last: (cluster.index, cluster.at), queue, full })
    }

    /// The present term.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Whether there is room for what users ask for. Below the reserve their writes are refused;
    /// what the cluster itself has to write still finds room in it.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Numbers a proposal and queues it.
    pub fn propose(&mut self, proposal: ProposalId, at: Time, wall_ms: u64, command: Command) {
        self.last = (self.last.0 + 1, self.last.1.max(at));
        let entry = Entry { index: self.last.0, term: self.term, at: self.last.1, wall_ms, command };
        // A writer that has failed has said so already.
        let _ = self.queue.send((proposal, entry));
    }
}

struct Writer {
    storage: Option<Box<dyn Storage>>,
    compaction: Compaction,
    blocking: Arc<dyn BlockingExecutor>,
    committed: mpsc::UnboundedSender<Committed>,
    full: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl Writer {
    /// Writes until nobody proposes any more, or the store fails.
    async fn write(mut self, mut queue: mpsc::UnboundedReceiver<(ProposalId, Entry)>) {
        let mut looked = None;
        loop {
            if looked.is_none_or(|looked: Instant| looked.elapsed() >= LOOK_EVERY) {
                self.look_for_room().await;
                looked = Some(Instant::now());
            }
            let first = tokio::select! { biased;
                first = queue.recv() => first,
                () = tokio::time::sleep(LOOK_EVERY) => continue,
            };
            let Some(first) = first else { return };
            let mut group = vec![first];
            while group.len() < GROUP_MAX
                && let Ok(next) = queue.try_recv()
            {
                group.push(next);
            }
            let early = planted(Bug::AcknowledgedEarly);
            if early {
                let _ = self.committed.send(Committed::Entries(group.clone()));
            }
            match self.append(group).await {
                Ok(group) => {
                    let (entries, bytes) = (group.len(), group.iter().map(|(_, entry)| entry.bytes()).sum::<usize>());
                    buggify().await;
                    if !early && self.committed.send(Committed::Entries(group)).is_err() {
                        return;
                    }
                    self.compaction.wrote(entries as u64, bytes as u64, &self.committed);
                }
                Err(error) => {
                    let _ = self.committed.send(Committed::Failed(error));
                    return;
                }
            }
        }
    }

    /// Does blocking work on the storage.
    async fn with_storage<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Storage) -> T + Send + 'static,
    ) -> T {
        let mut storage = self.storage.take().expect("given back after every call");
        let (storage, done) = call(&self.blocking, move || {
            let done = work(&mut *storage);
            (storage, done)
        })
        .await;
        self.storage = Some(storage);
        done
    }

    async fn look_for_room(&mut self) {
        // A file system that does not say so is full when a write is refused.
        if let Ok(free) = self.with_storage(|storage| storage.free_bytes()).await {
            self.set_full(free < USERS_RESERVE_BYTES, || format!("{free} bytes free"));
        }
    }

    /// Tells the operator when it changes.
    fn set_full(&self, full: bool, why: impl Fn() -> String) {
        if self.full.swap(full, Ordering::Relaxed) != full {
            match full {
                true => tracing::error!("the disk is full ({}): users' writes are refused until there is room", why()),
                false => tracing::info!("there is room on the disk again"),
            }
        }
    }

    /// Makes a group durable. A full disk is waited for: nothing that was numbered is given up.
    async fn append(&mut self, group: Vec<(ProposalId, Entry)>) -> Result<Vec<(ProposalId, Entry)>, StoreError> {
        let entries: Arc<Vec<Entry>> = Arc::new(group.iter().map(|(_, entry)| entry.clone()).collect());
        loop {
            let entries = entries.clone();
            let begun = Instant::now();
            match self.with_storage(move |storage| storage.append(&entries)).await {
                Ok(()) => {
                    self.metrics.synced(begun.elapsed());
                    return Ok(group);
                }
                Err(error @ StoreError::Full { .. }) => {
                    self.set_full(true, || error.to_string());
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(_) if planted(Bug::FailedWriteCounts) => return Ok(group),
                Err(error) => return Err(error),
            }
        }
    }
}

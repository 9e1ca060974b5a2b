//! The shell around the replica of `orbit-consensus`: it owns the storage, writes the batches that the replica asks
//! for, and hands its events to the driver.
//!
//! The replica lives in a task of its own, so that neither a long step of the machine nor a sync keeps it from what
//! comes in. A full disk is waited for here; the replica only sees a batch that takes long.

use crate::{
    compaction::Compaction,
    metrics::{Metrics, Room},
    notice::Notice,
};
use orbit_consensus::{Batch, GROUP_MAX, HardState, In, Out, Position, Proposal, Replica};
use orbit_core::{
    manager::ProposalId,
    model::{Actor, Command, Entry, Time},
    state::{Cluster, Snapshot},
};
use orbit_shell::{BlockingExecutor, Clock, buggify, call};
use orbit_store::{Replay, Storage, StoreError};
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

#[cfg(all(test, not(madsim)))]
mod tests;

/// After so many entries the next snapshot is written, unless somebody says otherwise.
pub const COMPACT_EVERY: u64 = 50_000;
/// How long to wait before a full disk is tried again, and how often to look how full it is: it is
/// others who fill it, while there may be nothing to write.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Below so many free bytes users' writes are refused; what the cluster itself has to write finds room
/// there, down to the reserve of the store, below which nothing is tried.
const USERS_RESERVE_BYTES: u64 = 64 << 20;

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
#[derive(Default)]
pub struct Found {
    /// The state, with every entry of the log applied.
    pub cluster: Cluster,
    /// As it was set last.
    pub hard_state: HardState,
    /// Entries behind the last snapshot, and how many bytes they take.
    pub behind_snapshot: (u64, u64),
}

impl Replay for Found {
    fn begin(&mut self, hard_state: HardState, snapshot: Option<Snapshot>) -> Result<(), String> {
        self.hard_state = hard_state;
        self.cluster = snapshot.map_or_else(|| Ok(Cluster::default()), Cluster::restore)?;
        Ok(())
    }
    fn entry(&mut self, entry: Entry, bytes: u64) {
        self.cluster.apply(&entry);
        self.behind_snapshot.0 += 1;
        self.behind_snapshot.1 += bytes;
    }
}

/// The driver's handle of the task that runs the replica.
pub struct Consensus {
    term: u64,
    proposals: mpsc::UnboundedSender<Proposal>,
    /// The disk is full: writes are refused before they are tried.
    full: Arc<AtomicBool>,
}

impl Consensus {
    /// The state as the storage has it, without leading yet: call `Consensus::start` next.
    ///
    /// # Errors
    /// When the storage cannot be read, or is damaged.
    pub fn recover(storage: &mut dyn Storage) -> Result<Found, StoreError> {
        let mut found = Found::default();
        storage.replay(&mut found)?;
        Ok(found)
    }

    /// Begins the next term, durably, and starts the task that goes on from there. Nobody else votes, so the
    /// term has begun when this returns; the first notice says so. `clock` is the manager's own.
    ///
    /// # Errors
    /// When the storage cannot be written.
    pub(crate) fn start(
        log: Log,
        cluster: &Cluster,
        hard_state: HardState,
        clock: Clock,
        notices: mpsc::UnboundedSender<Notice>,
        metrics: Arc<Metrics>,
    ) -> Result<Consensus, StoreError> {
        let Log { mut storage, blocking, compaction } = log;
        let mut replica = Replica::new(hard_state, Position::of(cluster));
        let mut events = Vec::new();
        let mut outs = VecDeque::from(replica.step(Time(clock.ms()), In::Tick));
        while let Some(out) = outs.pop_front() {
            match out {
                Out::Persist(batch) => {
                    write(&mut *storage, &batch)?;
                    outs.extend(replica.step(Time(clock.ms()), In::Persisted(batch.number)));
                }
                Out::Event(event) => events.push(event),
            }
        }
        // Its receiver is the caller's.
        let _ = notices.send(Notice::Events(events));
        let term = replica.term();
        let (proposals, receiver) = mpsc::unbounded_channel();
        let full = Arc::new(AtomicBool::new(false));
        let disk = Disk { storage: Some(storage), blocking, full: full.clone(), metrics, looked: None };
        let shell =
            Shell { replica, clock, disk: Some(disk), writing: None, to_write: VecDeque::new(), compaction, notices };
        tokio::spawn(shell.run(receiver));
        Ok(Consensus { term, proposals, full })
    }

    /// A handle without a replica: what is proposed can be looked at.
    #[cfg(all(test, not(madsim)))]
    pub(crate) fn unattended() -> (Consensus, mpsc::UnboundedReceiver<Proposal>) {
        let (proposals, receiver) = mpsc::unbounded_channel();
        (Consensus { term: 1, proposals, full: Arc::default() }, receiver)
    }

    /// The term that was begun at the start.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Whether there is room for what users ask for. Below the reserve their writes are refused;
    /// what the cluster itself has to write still finds room in it.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Has a command appended. It comes back as a committed entry, or as lost.
    pub fn propose(&self, id: ProposalId, at: Time, wall_ms: u64, actor: Actor, command: Command) {
        // A task that has ended has said why.
        let _ = self.proposals.send(Proposal { id, at, wall_ms, actor, command });
    }
}

/// Makes a batch durable, and says how many bytes its entries take. What it replaces is replaced first; a retry writes
/// the same again.
fn write(storage: &mut dyn Storage, batch: &Batch) -> Result<u64, StoreError> {
    let Batch { number: _, hard_state, install, entries } = batch;
    if let Some(hard_state) = *hard_state {
        storage.set_hard_state(hard_state)?;
    }
    if let Some(snapshot) = install {
        storage.install(snapshot)?;
    }
    if entries.is_empty() { Ok(0) } else { storage.append(entries) }
}

/// A write under way: it takes the disk along and gives it back, with the bytes that were written.
type Writing = Pin<Box<dyn Future<Output = (Disk, Arc<Batch>, Result<u64, StoreError>)> + Send>>;

/// The task around the replica: it is stepped while a batch is being written, whatever the driver does meanwhile.
struct Shell {
    replica: Replica,
    clock: Clock,
    /// Nothing while a batch is being written.
    disk: Option<Disk>,
    writing: Option<Writing>,
    /// Never more than one, unless entries are acknowledged early.
    to_write: VecDeque<Batch>,
    compaction: Compaction,
    notices: mpsc::UnboundedSender<Notice>,
}

/// The driver has gone.
struct Gone;

impl Shell {
    /// Runs until nobody proposes any more, or the store fails.
    async fn run(mut self, mut proposals: mpsc::UnboundedReceiver<Proposal>) {
        loop {
            let writing = self.writing.as_mut();
            let is_idle = writing.is_none();
            let written = async {
                match writing {
                    Some(writing) => writing.await,
                    None => std::future::pending().await,
                }
            };
            let stepped = tokio::select! { biased;
                (disk, batch, result) = written => {
                    self.writing = None;
                    self.disk = Some(disk);
                    match result {
                        Ok(bytes) => self.written(&batch, bytes),
                        Err(error) => return self.failed(batch.number, error),
                    }
                }
                first = proposals.recv() => {
                    let Some(first) = first else { break };
                    // What is ready together is written together.
                    let mut group = vec![first];
                    while group.len() < GROUP_MAX
                        && let Ok(next) = proposals.try_recv()
                    {
                        group.push(next);
                    }
                    self.step(In::Propose(group))
                }
                // Others fill the disk, too. While a batch is being written, the writer looks.
                () = sleep(LOOK_EVERY), if is_idle => {
                    let mut disk = self.disk.take().expect("nothing is being written");
                    disk.look_for_room().await;
                    self.disk = Some(disk);
                    self.step(In::Tick)
                }
            };
            if let Err(Gone) = stepped {
                return;
            }
        }
        // What the disk is at is seen to its end.
        if let Some(writing) = self.writing {
            drop(writing.await);
        }
    }

    /// Steps the replica and carries out what it asks for.
    fn step(&mut self, input: In) -> Result<(), Gone> {
        let mut events = Vec::new();
        for out in self.replica.step(Time(self.clock.ms()), input) {
            match out {
                Out::Persist(batch) => self.to_write.push_back(batch),
                Out::Event(event) => events.push(event),
            }
        }
        self.begin_to_write();
        if events.is_empty() {
            return Ok(());
        }
        self.notices.send(Notice::Events(events)).map_err(|_| Gone)
    }

    fn begin_to_write(&mut self) {
        if self.writing.is_some() {
            return;
        }
        if let Some(batch) = self.to_write.pop_front() {
            let disk = self.disk.take().expect("nothing is being written");
            self.writing = Some(Box::pin(disk.persist(Arc::new(batch))));
        }
    }

    fn written(&mut self, batch: &Batch, bytes: u64) -> Result<(), Gone> {
        self.step(In::Persisted(batch.number))?;
        if !batch.entries.is_empty() {
            self.compaction.wrote(batch.entries.len() as u64, bytes, &self.notices);
        }
        Ok(())
    }

    /// The machine is told that it leads no longer, so that everybody who waits is answered; then the process ends.
    fn failed(mut self, batch: u64, error: StoreError) {
        if let Ok(()) = self.step(In::NotPersisted(batch)) {
            let _ = self.notices.send(Notice::Failed(error));
        }
    }
}

/// The storage, and how full it is.
struct Disk {
    storage: Option<Box<dyn Storage>>,
    blocking: Arc<dyn BlockingExecutor>,
    full: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    /// When its room was looked at last.
    looked: Option<Instant>,
}

impl Disk {
    /// Makes a batch durable. A full disk is waited for: nothing that was appended is given up.
    async fn persist(mut self, batch: Arc<Batch>) -> (Disk, Arc<Batch>, Result<u64, StoreError>) {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            self.look_for_room().await;
        }
        let written = loop {
            let content = batch.clone();
            let begun = Instant::now();
            match self.with_storage(move |storage| write(storage, &content)).await {
                Ok(bytes) => {
                    self.metrics.synced(begun.elapsed());
                    break Ok(bytes);
                }
                Err(error @ StoreError::Full { .. }) => {
                    self.set_full(true, || error.to_string());
                    sleep(LOOK_EVERY).await;
                }
                Err(error) => break Err(error),
            }
        };
        if written.is_ok() {
            buggify().await;
        }
        (self, batch, written)
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
            self.metrics.room_is(Room { free_bytes: free, reserve_bytes: USERS_RESERVE_BYTES });
            self.set_full(free < USERS_RESERVE_BYTES, || format!("{free} bytes free"));
        }
        self.looked = Some(Instant::now());
    }

    /// Tells the operator when it changes.
    fn set_full(&self, full: bool, why: impl Fn() -> String) {
        self.metrics.disk_is_full(full);
        if self.full.swap(full, Ordering::Relaxed) != full {
            match full {
                true => tracing::error!("the disk is full ({}): users' writes are refused until there is room", why()),
                false => tracing::info!("there is room on the disk again"),
            }
        }
    }
}

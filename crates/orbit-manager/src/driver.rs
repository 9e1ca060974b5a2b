//! The loop: one event in, its actions out, in order.

use crate::{
    compaction::Compaction,
    consensus::{Consensus, Log},
    feed::Feed,
    handle::ManagerHandle,
    input::{Input, Replied},
    metrics::Metrics,
    notice::Notice,
    reader::Reader,
};
use orbit_consensus as consensus;
use orbit_core::{
    manager::{Action, Event, LeadChanges, Manager, RequestId, SessionId},
    model::{ClusterId, Code, Rejection, Time, Timing, ToWorker},
    state::Cluster,
};
use orbit_shell::{BlockingExecutor, Clock};
use orbit_store::{Storage, StoreError};
use std::{collections::BTreeMap, future::Future, sync::Arc, time::SystemTime};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

#[cfg(all(test, not(madsim)))]
mod tests;

/// What a manager is made of.
pub struct Parts {
    /// Leases and heartbeats.
    pub timing: Timing,
    /// The log.
    pub storage: Box<dyn Storage>,
    /// Where the log is written.
    pub blocking: Arc<dyn BlockingExecutor>,
    /// After so many entries the next snapshot is written.
    pub compact_every: u64,
    /// Fresh randomness for the first term.
    pub seed: u64,
    /// The cluster's ID, should the log be empty.
    pub cluster: ClusterId,
}

/// Why a manager cannot go on. It recovers by starting again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// So many inputs wait at a time. Who has more waits before the queue, each connection with one message: then
/// its worker feels the flow control of its own connection, and delays nobody else.
const INPUTS_MAX: usize = 4096;

struct Driver {
    machine: Manager,
    consensus: Consensus,
    clock: Clock,
    /// Fresh randomness for the next term.
    seed: u64,
    /// The cluster's ID, should the log be empty.
    cluster: ClusterId,
    requests: u64,
    replies: BTreeMap<RequestId, oneshot::Sender<Replied>>,
    sessions: BTreeMap<SessionId, mpsc::Sender<ToWorker>>,
    /// Sessions whose workers do not take what they are sent.
    stuck: Vec<SessionId>,
    feed: Arc<Feed>,
    metrics: Arc<Metrics>,
    reader: Reader,
    /// What the reader was told last of what only the leader knows.
    lead_changes: LeadChanges,
}

/// Recovers from the storage and begins a term. The handle is open once this returns; the returned
/// future runs the manager until `stop` is ready.
///
/// # Errors
/// At once when the storage cannot be read; from the future when it cannot be written.
pub fn start(
    mut parts: Parts,
    stop: impl Future<Output = ()>,
) -> Result<(ManagerHandle, impl Future<Output = Result<(), Error>>), Error> {
    let recovered = Consensus::recover(&mut *parts.storage)?;
    let cluster = recovered.cluster;
    let (sender, notices) = mpsc::unbounded_channel();
    let metrics = Arc::new(Metrics::new());
    let clock = Clock::start();
    let reader = Reader::start(cluster.clone(), parts.timing, clock);
    let compaction = Compaction::new(
        parts.storage.compactor(),
        parts.blocking.clone(),
        reader.clone(),
        parts.compact_every,
        recovered.behind_snapshot,
        metrics.clone(),
    );
    let log = Log { storage: parts.storage, blocking: parts.blocking, compaction };
    let consensus = Consensus::start(log, &cluster, recovered.hard_state, clock, sender, metrics.clone())?;
    tracing::info!(revision = cluster.index, term = consensus.term(), "manager starts");
    let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
    let feed = Arc::new(Feed::new(cluster.index));
    let handle = ManagerHandle::new(inputs, feed.clone(), metrics.clone(), reader.clone());
    let driver = Driver {
        machine: Manager::restore(cluster, parts.timing),
        consensus,
        clock,
        seed: parts.seed,
        cluster: parts.cluster,
        requests: 0,
        replies: BTreeMap::new(),
        sessions: BTreeMap::new(),
        stuck: Vec::new(),
        feed,
        metrics,
        reader,
        lead_changes: None,
    };
    Ok((handle, driver.run(receiver, notices, stop)))
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The next of a row of numbers that look random: each term has a seed of its own, and a simulated run the same ones
/// again. (The finalizer of SplitMix64.)
fn another(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Driver {
    async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut notices: mpsc::UnboundedReceiver<Notice>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let mut stop = std::pin::pin!(stop);
        let mut alone = false;
        loop {
            let wake = self.clock.reaches(self.machine.deadline().map(|due| due.0));
            tokio::select! { biased;
                () = &mut stop => break,
                // What is durable comes first: it makes room and answers those who wait longest.
                notice = notices.recv() => match notice.expect("consensus says why before it ends") {
                    Notice::Events(events) => events.into_iter().for_each(|event| self.follow(event)),
                    Notice::Failed(error) => return Err(error.into()),
                },
                input = inputs.recv(), if !alone => match input {
                    Some(input) => self.take(input),
                    // Nobody can ask any more; what is under way goes on.
                    None => alone = true,
                },
                () = wake => self.step(Event::Wake),
            }
            while let Some(session) = self.stuck.pop() {
                self.take(Input::SessionClosed(session));
            }
        }
        tracing::info!("manager stops; workers and containers go on");
        Ok(())
    }

    fn now(&self) -> Time {
        Time(self.clock.ms())
    }

    /// Takes in what consensus says.
    fn follow(&mut self, event: consensus::Event) {
        match event {
            consensus::Event::Elected { term } => {
                let (seed, cluster) = (self.seed, self.cluster);
                self.seed = another(seed);
                self.step(Event::Elected { term, seed, cluster, wall_ms: wall_ms() });
            }
            consensus::Event::Deposed => {
                self.metrics.lost();
                tracing::warn!(revision = self.machine.cluster().index, "this manager leads no longer");
                self.step(Event::Deposed);
            }
            consensus::Event::Committed { entry, proposal } => {
                self.metrics.committed(&entry, Instant::now());
                // Before anybody is answered because of it.
                self.reader.committed(Arc::new(entry.clone()));
                self.step(Event::Committed { entry, proposal });
                let cluster = self.machine.cluster();
                self.feed.publish(cluster.index, cluster.changes());
            }
            consensus::Event::Lost(proposal) => {
                self.metrics.lost();
                self.step(Event::ProposalLost(proposal));
            }
            consensus::Event::Install(snapshot) => {
                let cluster = Cluster::restore((*snapshot).clone()).expect("consensus has checked the snapshot");
                let index = cluster.index;
                self.reader.install(cluster);
                self.step(Event::Install(snapshot));
                self.feed.begin_anew(index);
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Request(actor, request, reply) => {
                if self.consensus.is_full() && self.machine.takes_room(&request) {
                    let message = "the manager's disk is full: nothing was written; free some space";
                    let result = Err(Rejection::new(Code::StorageFull, message));
                    let _ = reply.send(Replied { result, revision: self.machine.cluster().index });
                    return;
                }
                self.requests += 1;
                let id = RequestId(self.requests);
                self.replies.insert(id, reply);
                self.step(Event::Request { id, actor, request });
            }
            #[cfg(madsim)]
            Input::Inspect(look) => look(&self.machine, self.now()),
            Input::SessionOpened(session, sender) => {
                self.sessions.insert(session, sender);
            }
            Input::Message(session, message) => self.step(Event::Message { session, message }),
            Input::SessionClosed(session) => {
                self.sessions.remove(&session);
                self.step(Event::SessionClosed(session));
            }
        }
    }

    fn step(&mut self, event: Event) {
        let begun = Instant::now();
        let actions = self.machine.step(self.now(), event);
        self.metrics.stepped(begun, Instant::now(), &actions);
        let lead_changes = self.machine.lead_changes();
        if lead_changes != self.lead_changes {
            self.lead_changes = lead_changes;
            self.reader.lead(self.machine.lead());
        }
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Propose { proposal, at, actor, command } => {
                self.consensus.propose(proposal, at, wall_ms(), actor, command)
            }
            Action::Send { session, message } => {
                if let Some(sender) = self.sessions.get(&session)
                    && sender.try_send(message).is_err()
                {
                    // The worker does not take what it is sent: the connection is as good as gone.
                    self.stuck.push(session);
                }
            }
            // Dropping the sender ends the stream after what was sent before.
            Action::Close(session) => drop(self.sessions.remove(&session)),
            Action::Reply { id, result } => {
                let reply = self.replies.remove(&id).expect("a request is answered once");
                // Whoever asked may have gone.
                let _ = reply.send(Replied { result, revision: self.machine.cluster().index });
            }
        }
    }
}

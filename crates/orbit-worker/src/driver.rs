//! The loop: one event in, its actions out, in order.

use crate::{hints, input::Input, managers::Managers, metrics::Metrics, session, streams};
use orbit_core::{
    model::{Time, ToManager},
    worker::{Action, BootId, Config, Event, FreeSpace, Ledger, LedgerWrite, LinkId, OpId, OpKind, Worker},
};
use orbit_runtime::ContainerRuntime;
use orbit_shell::{BlockingExecutor, Clock, Owned};
use orbit_store::{LedgerStore, StoreError};
use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    io,
    sync::Arc,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, Instant, sleep, sleep_until},
};

/// Says how many bytes are free.
pub type LookForRoom = Arc<dyn Fn() -> io::Result<FreeSpace> + Send + Sync>;

/// What a worker is made of.
pub struct Parts {
    /// What its operator says. The node's own ID in it is replaced by the ledger's.
    pub config: Config,
    /// Where managers listen for workers, for example `http://127.0.0.1:7071`. There is one at least, and the worker works
    /// for one at a time.
    pub managers: Vec<String>,
    /// The container engine.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// The durable memory. An empty one is filled with the node ID of `config`.
    pub ledger: Box<dyn LedgerStore>,
    /// How much is free where the ledger and the engine keep what they have.
    pub free_space: LookForRoom,
    /// Where the ledger is written.
    pub blocking: Arc<dyn BlockingExecutor>,
    /// Fresh randomness for this process.
    pub nonce: u64,
}

/// How often to look how much room there is on the disk, and how long to wait before a full one is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a worker cannot go on. It recovers by starting again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Everything that it has begun ends with it: connections, operations, streams, hints.
struct Driver {
    machine: Worker,
    parts: Parts,
    ledger: Option<Box<dyn LedgerStore>>,
    clock: Clock,
    inputs: mpsc::UnboundedSender<Input>,
    managers: Managers,
    links: BTreeMap<LinkId, Dialled>,
    ops: BTreeMap<OpId, Begun>,
    metrics: Arc<Metrics>,
    /// Streams of logs and processes; those that have ended go when the next is opened.
    streams: Vec<Owned>,
    hints: Option<Owned>,
    /// The manager to which a connection ended, or was none, and why; taken by whoever says it.
    unreached: Option<(String, String)>,
    /// The manager that the worker works for, as far as it was said.
    works_for: Option<String>,
    /// What was said of each manager since then.
    said: BTreeMap<String, String>,
    /// Whether it was said that the engine does not answer.
    engine_down: bool,
    /// What is left to do of the steps so far: nothing, but for a ledger that cannot be written.
    actions: VecDeque<Action>,
    /// The ledger's disk is full: when it is tried again. Nothing is taken in until then.
    retry_at: Option<Instant>,
}

/// A connection that the machine has asked for.
struct Dialled {
    _task: Owned,
    sender: Option<mpsc::Sender<ToManager>>,
    /// Whether the worker was welcomed on it.
    welcomed: bool,
}

/// An operation that is under way.
struct Begun {
    _task: Owned,
    kind: OpKind,
    at: Instant,
}

/// Runs a worker until `stop` is ready. Its containers go on running.
///
/// # Errors
/// When the ledger cannot be read or written.
pub async fn run(parts: Parts, stop: impl Future<Output = ()>) -> Result<(), Error> {
    run_measured(parts, Arc::default(), stop).await
}

/// The same, with metrics that somebody else reads.
///
/// # Errors
/// As [`run`].
pub(crate) async fn run_measured(
    mut parts: Parts,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let ledger = match parts.ledger.load()? {
        Some(ledger) => ledger,
        None => {
            let ledger = Ledger::new(parts.config.info.uid);
            parts.ledger.create(&ledger)?;
            ledger
        }
    };
    tracing::info!(node = %parts.config.info.name, uid = %ledger.node, managers = ?parts.managers, "worker starts");
    let (sender, mut inputs) = mpsc::unbounded_channel();
    let machine = Worker::restore(parts.config.clone(), ledger, BootId(orbit_shell::boot()), parts.nonce);
    let store = std::mem::replace(&mut parts.ledger, Box::new(Nothing));
    let mut driver = Driver {
        machine,
        managers: Managers::new(parts.managers.clone()),
        parts,
        ledger: Some(store),
        clock: Clock::of_this_machine(),
        inputs: sender,
        links: BTreeMap::new(),
        ops: BTreeMap::new(),
        metrics,
        streams: Vec::new(),
        hints: None,
        unreached: None,
        works_for: None,
        said: BTreeMap::new(),
        engine_down: false,
        actions: VecDeque::new(),
        retry_at: None,
    };
    let (looked, mut looks) = watch::channel(FreeSpace::of(u64::MAX));
    let _look = Owned::spawn(look(driver.parts.free_space.clone(), driver.parts.blocking.clone(), looked));
    let mut stop = std::pin::pin!(stop);
    driver.step(Event::Wake).await?;
    loop {
        if let Some(at) = driver.retry_at {
            tokio::select! { biased;
                () = &mut stop => break,
                () = sleep_until(at) => driver.carry_out().await?,
            }
            continue;
        }
        let wake = driver.clock.reaches(driver.machine.deadline().map(|due| due.0));
        let event = tokio::select! { biased;
            () = &mut stop => break,
            Ok(()) = looks.changed() => Some(Event::Disk(*looks.borrow_and_update())),
            input = inputs.recv() => driver.heard(input.expect("the driver holds a sender")),
            () = wake => Some(Event::Wake),
        };
        if let Some(event) = event {
            driver.step(event).await?;
        }
    }
    tracing::info!("worker stops; its containers go on running");
    let fences = driver.machine.ledger().fences();
    if fences > 0 {
        tracing::warn!(fences, "nobody keeps the timed fences of its containers until a worker runs here again");
    }
    Ok(())
}

/// Looks how much room there is, again and again; beside the loop, because a file system may take its time. One that does not
/// say so is full when a write is refused.
async fn look(free_space: LookForRoom, blocking: Arc<dyn BlockingExecutor>, looked: watch::Sender<FreeSpace>) {
    loop {
        let free_space = free_space.clone();
        if let Ok(free) = orbit_shell::call(&blocking, move || free_space()).await {
            looked.send_replace(free);
        }
        sleep(LOOK_EVERY).await;
    }
}

impl Driver {
    /// What it means for the machine; nothing where it comes too late.
    fn heard(&mut self, input: Input) -> Option<Event> {
        Some(match input {
            Input::LinkUp(link, sender) => {
                if let Some(dialled) = self.links.get_mut(&link) {
                    dialled.sender = Some(sender);
                }
                Event::LinkUp(link)
            }
            Input::LinkDown(link, why) => {
                self.unreached = self.ended(link).map(|manager| (manager, why));
                Event::LinkDown(link)
            }
            Input::Message(link, message) => Event::Message { link, message },
            Input::Done(op, result) => {
                // One that was given up meanwhile is none of the machine's any more.
                let begun = self.ops.remove(&op)?;
                self.metrics.ended(begun.kind, begun.at.elapsed(), &result);
                Event::Done { op, result }
            }
            Input::Hint(task) => Event::Hint(task),
            Input::HintsLost => Event::HintsLost,
        })
    }

    async fn step(&mut self, event: Event) -> Result<(), Error> {
        self.actions.extend(self.machine.step(Time(self.clock.ms()), event));
        self.carry_out().await?;
        if let Some(owner) = self.machine.owner().filter(|_| self.hints.is_none()) {
            let follow = hints::follow(self.parts.runtime.clone(), owner, self.inputs.clone());
            self.hints = Some(Owned::spawn(follow));
        }
        let is_welcome = self.machine.is_welcome();
        // There is one connection at a time.
        self.links.values_mut().for_each(|dialled| dialled.welcomed |= is_welcome);
        self.metrics.stepped(&self.machine, Instant::now());
        self.metrics.works_for(self.managers.iter().map(|(manager, current)| (manager, current && is_welcome)));
        self.say_whether_connected();
        self.say_whether_engine_answers();
        Ok(())
    }

    /// Does what is left to do, in order, as far as the ledger can be written.
    async fn carry_out(&mut self) -> Result<(), Error> {
        while let Some(action) = self.actions.pop_front() {
            let Action::Persist(writes) = action else {
                self.act(action);
                continue;
            };
            let (writes, written) = self.persist(writes).await;
            match written {
                Ok(()) => {}
                Err(error @ StoreError::Full { .. }) => {
                    self.actions.push_front(Action::Persist(writes));
                    if self.retry_at.is_none() {
                        self.say_full(&error);
                    }
                    self.retry_at = Some(Instant::now() + LOOK_EVERY);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        if self.retry_at.take().is_some() {
            tracing::info!("there is room on the disk again: the worker goes on");
            orbit_shell::supervisor::status("there is room on the disk again");
        }
        Ok(())
    }

    async fn persist(&mut self, writes: Vec<LedgerWrite>) -> (Vec<LedgerWrite>, Result<(), StoreError>) {
        let mut store = self.ledger.take().expect("given back after every write");
        let (store, writes, written) = orbit_shell::call(&self.parts.blocking, move || {
            let written = store.persist(&writes);
            (store, writes, written)
        })
        .await;
        self.ledger = Some(store);
        (writes, written)
    }

    /// Whoever cannot write down what it does stops doing anything, also being there: the manager hears why while it can.
    /// Containers go on.
    fn say_full(&mut self, error: &StoreError) {
        tracing::error!("the disk is full ({error}): nothing is begun, and the manager not heard, until there is room");
        orbit_shell::supervisor::status("the disk is full: waits for room");
        let fences = self.machine.ledger().fences();
        if fences > 0 {
            tracing::warn!(fences, "a timed fence that passes until then is kept only when there is room again");
        }
        // Images do not go meanwhile: that they went would have to be written down.
        let free = FreeSpace { least_bytes: 0, images_bytes: u64::MAX };
        for action in self.machine.step(Time(self.clock.ms()), Event::Disk(free)) {
            match &action {
                Action::Send { message: ToManager::Heartbeat { .. }, .. } => self.act(action),
                _ => self.actions.push_back(action),
            }
        }
    }

    /// One line when it goes away, and one when it is back.
    fn say_whether_engine_answers(&mut self) {
        let down = self.machine.is_engine_down();
        if std::mem::replace(&mut self.engine_down, down) == down {
            return;
        }
        match down {
            true => {
                tracing::warn!("the container engine does not answer; no container is started or stopped until it does")
            }
            false => tracing::info!("the container engine answers again"),
        }
    }

    /// A connection has ended: gives the manager that it led to, and makes way for the next one.
    fn ended(&mut self, link: LinkId) -> Option<String> {
        let dialled = self.links.remove(&link)?;
        let manager = self.managers.current().to_string();
        self.managers.ended(dialled.welcomed);
        Some(manager)
    }

    /// Each news of a manager once, and not once for every attempt.
    fn say_whether_connected(&mut self) {
        let unreached = self.unreached.take();
        let current = self.managers.current();
        if self.machine.is_welcome() {
            if self.works_for.as_deref() != Some(current) {
                let news = format!("works for the manager at {current}");
                tracing::info!("{news}");
                orbit_shell::supervisor::status(&news);
                self.works_for = Some(current.to_string());
                self.said.clear();
            }
        } else if let Some((manager, why)) = unreached {
            let next = if manager == current { "still trying".to_string() } else { format!("trying {current} next") };
            let news = format!("no manager at {manager} ({why}); {next}");
            self.works_for = None;
            if self.said.get(&manager) != Some(&news) {
                tracing::warn!("{news}");
                orbit_shell::supervisor::status(&news);
                self.said.insert(manager, news);
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Persist(_) => unreachable!("written before anything else is done"),
            Action::Runtime { op, request } => {
                let (runtime, inputs) = (self.parts.runtime.clone(), self.inputs.clone());
                let kind = OpKind::of(&request);
                self.metrics.begun(kind);
                let work = async move {
                    orbit_shell::buggify().await;
                    tracing::debug!(op = op.0, ?request, "begun");
                    let result = runtime.perform(request).await;
                    tracing::debug!(op = op.0, ?result, "ended");
                    orbit_shell::buggify().await;
                    let _ = inputs.send(Input::Done(op, result));
                };
                self.ops.insert(op, Begun { _task: Owned::spawn(work), kind, at: Instant::now() });
            }
            // Dropping it makes the engine give it up.
            Action::Cancel(op) => drop(self.ops.remove(&op)),
            Action::Connect(link) => {
                let manager = self.managers.current().to_string();
                let task = Owned::spawn(session::dial(manager, link, self.inputs.clone()));
                self.links.insert(link, Dialled { _task: task, sender: None, welcomed: false });
            }
            Action::Disconnect(link) => drop(self.ended(link)),
            Action::Send { link, message } => {
                if let Some(sender) = self.links.get(&link).and_then(|dialled| dialled.sender.as_ref())
                    && sender.try_send(message).is_err()
                {
                    // Nobody takes it: the connection is as good as gone.
                    let why = "the manager takes nothing more".to_string();
                    let _ = self.inputs.send(Input::LinkDown(link, why));
                }
            }
            Action::Open { request, container } => {
                self.streams.retain(|stream| !stream.is_finished());
                let (manager, runtime) = (self.managers.current().to_string(), self.parts.runtime.clone());
                self.streams.push(Owned::spawn(streams::open(manager, runtime, request, container)));
            }
            Action::Warn(text) => tracing::warn!("{text}"),
        }
    }
}

/// Stands where the ledger was until the driver has taken it.
struct Nothing;

impl LedgerStore for Nothing {
    fn load(&mut self) -> orbit_store::Result<Option<Ledger>> {
        Ok(None)
    }
    fn create(&mut self, _: &Ledger) -> orbit_store::Result<()> {
        unreachable!("the driver has taken the ledger")
    }
    fn persist(&mut self, _: &[LedgerWrite]) -> orbit_store::Result<()> {
        unreachable!("the driver has taken the ledger")
    }
}

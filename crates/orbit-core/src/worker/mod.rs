//! The worker's pure machine: it carries out the manager's orders through the container engine.
//!
//! Order of calls: [`Worker::restore`], then [`Worker::step`] with [`Event::Wake`], then `step` with
//! each further event. Carry out the actions of a step, in order, before the next step; an
//! [`Action::Persist`] is durable before any action behind it is begun. Sleep until
//! [`Worker::deadline`] at most, then send [`Event::Wake`].
//!
//! The machine is level-triggered. For each task it compares the order of the manager, the memory of the ledger and
//! the state in the engine, and begins at most one operation. Hints (events of the engine) only make it look. A
//! crash at any point is ordinary input.

mod images;
mod ledger;
mod link;
mod op;
mod prefetch;
mod probing;
mod task;

pub use ledger::*;
pub use op::*;

use crate::model::*;
use images::Images;
use link::Link;
use probing::Found;
use std::collections::{BTreeMap, BTreeSet};
use task::{Known, Step, WorkerTask};

/// A connection to the manager. Chosen by the machine, never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// The settings that an operator gives a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The description of the machine. The node's own ID comes from the ledger.
    pub info: NodeInfo,
    /// How long pulling an image may take.
    pub pull_deadline: Millis,
    /// How many containers are created or started at a time: more makes an engine slower.
    pub starts_max: usize,
    /// How often everything is listed, in case an event was lost.
    pub resync_every: Millis,
    /// With less than this free on its disk, in bytes, the node takes no more tasks.
    pub disk_reserve_bytes: u64,
    /// When images go that were pulled for tasks.
    pub image_collection: ImageCollection,
}

/// When images that a worker pulled are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageCollection {
    /// With less than this free on the disk, in bytes. 0: never.
    pub below_bytes: u64,
    /// After nothing has needed them for so long. More than the manager relies on an image that it asked for ahead.
    pub unneeded_for: Millis,
}

impl ImageCollection {
    /// Every image stays.
    pub const NEVER: ImageCollection = ImageCollection { below_bytes: 0, unneeded_for: Millis(0) };
}

/// How much room a worker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// On the disks of the ledger and of the engine, the least of them, in bytes.
    pub least_bytes: u64,
    /// Where the engine keeps its images, in bytes; all there can be where nobody here can look.
    pub images_bytes: u64,
}

impl FreeSpace {
    /// So many bytes on the one disk that there is.
    pub const fn of(bytes: u64) -> FreeSpace {
        FreeSpace { least_bytes: bytes, images_bytes: bytes }
    }
}

/// What happens to a worker.
#[derive(Clone, Debug)]
pub enum Event {
    /// The connection that was asked for is open.
    LinkUp(LinkId),
    /// The connection has ended, or could not be made.
    LinkDown(LinkId),
    /// The manager says something.
    Message {
        /// On this connection.
        link: LinkId,
        /// What it says.
        message: ToWorker,
    },
    /// An operation has ended.
    Done {
        /// Which.
        op: OpId,
        /// What it gave.
        result: OpResult,
    },
    /// Something happened to the container of a task.
    Hint(TaskId),
    /// Events of the engine may have been lost: look at everything.
    HintsLost,
    /// Somebody has looked how much room there is.
    Disk(FreeSpace),
    /// The deadline has come.
    Wake,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make these durable, in one transaction.
    Persist(Vec<LedgerWrite>),
    /// Begin an operation; come back with [`Event::Done`].
    Runtime {
        /// Its number.
        op: OpId,
        /// What to do.
        request: Op,
    },
    /// Give up an operation that is under way, because nobody needs its result any more. Its [`Event::Done`] must not
    /// come after this, even if the operation has ended meanwhile.
    Cancel(OpId),
    /// Dial the manager; come back with [`Event::LinkUp`] or [`Event::LinkDown`].
    Connect(LinkId),
    /// End a connection.
    Disconnect(LinkId),
    /// Send to the manager. Dropped if the connection has ended.
    Send {
        /// The connection.
        link: LinkId,
        /// What to send.
        message: ToManager,
    },
    /// Dial a stream of its own to something of a container.
    Open {
        /// What is wanted.
        request: StreamRequest,
        /// The container's ID or name.
        container: String,
    },
    /// The operator has to know.
    Warn(String),
}

/// How long an engine that does not answer, or a container whose operation it refused, is left
/// alone.
const ENGINE_RETRY: Millis = Millis::secs(1);

/// A manager relies on an image at most for the longest delay and the longest grace of a stop, and a while.
const PROMISE_MAX: Millis = Millis(3 * limits::SPAN_MS_MAX);

/// What is written down of the manager's having heard lags behind by this part of the shortest fence at most.
const HEARD_OF_PART: u64 = 4;

/// The worker's machine.
#[derive(Clone, Debug)]
pub struct Worker {
    config: Config,
    boot: BootId,
    nonce: u64,
    ledger: Ledger,
    link: Link,
    /// Everything that is wanted, remembered or running, by task.
    tasks: BTreeMap<TaskId, WorkerTask>,
    /// Tasks to look at in this step.
    due: BTreeSet<TaskId>,
    /// Tasks that were looked at in this step: nothing else that is reported can have changed.
    looked_at: BTreeSet<TaskId>,
    engine: Engine,
    ops: BTreeMap<OpId, InFlight>,
    /// Counts operations begun and ended, to tell whether a listing is older than an operation.
    ticks: u64,
    /// Tasks that wait for a place among the creates and starts.
    queue: BTreeSet<TaskId>,
    /// Tasks whose volumes another container may write to. They are looked at again in each step.
    volume_waits: BTreeSet<TaskId>,
    /// Tasks whose last operation was refused, and when to look at them again.
    paused: BTreeSet<(Time, TaskId)>,
    /// When to look at a task again, though nothing happened: the delay before its signal has passed, or it is
    /// to be probed.
    looks: BTreeSet<(Time, TaskId)>,
    /// Images that are being pulled, with the tasks that wait for each. A pull for which no task waits at the end of
    /// a step is given up.
    fetching: BTreeMap<(String, Pull), BTreeSet<TaskId>>,
    /// The images that are fetched because the manager asked for them, with the versions that it named.
    prefetching: BTreeMap<(String, Pull), BTreeSet<(Uid, u32)>>,
    images: Images,
    /// Containers of the last listing that have our labels but not the name that this worker gives: they are not ours.
    foreign: BTreeSet<String>,
}

/// What is known of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Engine {
    /// Everything was listed once, so an absent container is known to be absent.
    listed: bool,
    /// It did not answer: nothing is begun before this time, when it is asked again.
    down_until: Option<Time>,
    /// When everything is listed again.
    resync_at: Time,
    /// A listing is under way.
    listing: bool,
    /// Another listing is wanted when that one has ended.
    list_again: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum InFlight {
    List { begun: u64 },
    Fetch { image: (String, Pull) },
    RemoveImage { id: String },
    Task { task: TaskId, step: Step },
    Probe { task: TaskId, kind: ProbeKind },
}

// Getters.
impl Worker {
    /// Its durable memory, as far as it has asked for it to be written.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
    /// Whose containers it touches; `None` before it has joined a cluster.
    pub fn owner(&self) -> Option<Owner> {
        Some(Owner { cluster: self.ledger.cluster?, node: self.ledger.node })
    }
    /// The orders that it has taken up in this life: task, generation, what is wanted. By task.
    pub fn orders(&self) -> impl Iterator<Item = (TaskId, u32, Desired)> + '_ {
        let order = |(id, task): (&TaskId, &WorkerTask)| {
            let order = task.order.as_ref()?;
            Some((*id, order.generation, order.desired))
        };
        self.tasks.iter().filter_map(order)
    }
    /// The order about a task that it has taken up in this life.
    pub fn order(&self, task: TaskId) -> Option<&Assignment> {
        self.tasks.get(&task)?.order.as_ref()
    }
    /// Which build each task runs whose image no registry knows, as far as this process has fetched it.
    pub fn local_images(&self) -> impl Iterator<Item = (TaskId, &str)> {
        let runs = |(_, task): &(&TaskId, &WorkerTask)| task.observed == Some(TaskState::Running);
        self.tasks.iter().filter(runs).filter_map(|(id, task)| Some((*id, task.local_image()?.as_str())))
    }
    /// What each of its containers that are known to be there did when it was seen last.
    pub fn containers(&self) -> impl Iterator<Item = ContainerState> + '_ {
        let seen = |task: &WorkerTask| if let Known::Is(state) = task.container { Some(state) } else { None };
        self.tasks.values().filter_map(seen)
    }
    /// Whether the manager has welcomed it on the present connection.
    pub fn is_welcome(&self) -> bool {
        self.link.welcomed().is_some()
    }
    /// Whether the engine did not answer last: nothing is begun until it does.
    pub fn is_engine_down(&self) -> bool {
        self.engine.down_until.is_some()
    }
    /// Whether its disk is full, as far as somebody has looked.
    pub fn is_disk_full(&self) -> bool {
        self.link.is_disk_full()
    }
    /// When to send [`Event::Wake`] at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let engine = self.engine.down_until.unwrap_or(self.engine.resync_at);
        let engine = (!self.engine.listing && self.owner().is_some()).then_some(engine);
        let looks = [&self.paused, &self.looks].map(|looks| looks.first().map(|(at, _)| *at));
        engine.into_iter().chain(looks.into_iter().flatten()).chain(self.link.deadline()).min()
    }
}

impl Worker {
    /// A worker that knows what its ledger remembers and nothing else.
    ///
    /// `nonce` is drawn at random for this process.
    pub fn restore(config: Config, ledger: Ledger, boot: BootId, nonce: u64) -> Worker {
        let tasks = ledger.tasks.keys().map(|id| (*id, WorkerTask::default())).collect();
        let listed = ledger.cluster.is_none();
        let heard_of_at = ledger.heard_of.filter(|heard_of| heard_of.boot == boot).map(|heard_of| heard_of.at);
        let engine = Engine { listed, down_until: None, resync_at: Time(0), listing: false, list_again: false };
        Worker {
            config,
            boot,
            nonce,
            ledger,
            link: Link::new(nonce, heard_of_at),
            tasks,
            due: BTreeSet::new(),
            looked_at: BTreeSet::new(),
            engine,
            ops: BTreeMap::new(),
            ticks: 0,
            queue: BTreeSet::new(),
            volume_waits: BTreeSet::new(),
            paused: BTreeSet::new(),
            looks: BTreeSet::new(),
            fetching: BTreeMap::new(),
            prefetching: BTreeMap::new(),
            images: Images::default(),
            foreign: BTreeSet::new(),
        }
    }

    /// Takes in one event. Carry out all actions, in order, before the next step.
    ///
    /// `now` is the machine's clock: it does not go back, and all processes from one start of the machine to the next count
    /// from the same zero.
    pub fn step(&mut self, now: Time, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.link.begin(now);
        match event {
            Event::LinkUp(link) => self.link_up(now, link, &mut actions),
            Event::LinkDown(link) => self.link.down(link, now),
            Event::Message { link, message } => self.message(now, link, message, &mut actions),
            Event::Done { op, result } => self.done(now, op, result, &mut actions),
            Event::Hint(task) => {
                // What has ended stays so; what somebody does to it later, the next listing shows.
                let ended = |known: &WorkerTask| matches!(known.container, Known::Is(ContainerState::Exited { .. }));
                if let Some(known) = self.tasks.get_mut(&task).filter(|known| !ended(known)) {
                    known.stale = true;
                    known.hinted_at.get_or_insert(now);
                    self.due.insert(task);
                }
            }
            Event::HintsLost => self.list(&mut actions),
            Event::Disk(FreeSpace { least_bytes, images_bytes }) => {
                self.disk(now, least_bytes);
                self.collect_images(now, images_bytes, &mut actions);
            }
            Event::Wake => {}
        }
        self.keep_listing(now, &mut actions);
        self.resume_paused(now);
        self.take_looks(now);
        self.drive_due(now, &mut actions);
        // Whom the answer would go to has gone.
        if self.link.welcomed().is_none() {
            self.prefetching.clear();
        }
        self.cancel_fetches(&mut actions);
        let news = self.news(now);
        self.link.follow_up(now, self.engine.listed, news, &mut actions);
        debug_assert!(self.reports_everything(), "a change of a task was overlooked");
        persist_first(actions)
    }

    /// A disk is full when less than the reserve is free, and has room when a quarter more is: between the two it stays what
    /// it was, so that a log that grows and is cut does not make it news each time.
    fn disk(&mut self, now: Time, free_bytes: u64) {
        let reserve = self.config.disk_reserve_bytes;
        let full = match self.link.is_disk_full() {
            true => free_bytes < reserve.saturating_add(reserve / 4),
            false => free_bytes < reserve,
        };
        self.link.disk_is(now, full);
    }

    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    fn persist(&mut self, write: LedgerWrite, actions: &mut Vec<Action>) {
        self.ledger.apply(&write);
        actions.push(Action::Persist(vec![write]));
    }

    /// Writes down when the manager heard of this node, where a task is fenced. Not each time, because that is a sync: a part
    /// of the shortest fence later, so that a process that follows stops nothing much too soon.
    fn remember_heard_of(&mut self, actions: &mut Vec<Action>) {
        let Some(shortest) = self.ledger.open_fences().map(|fence| fence.after).min() else { return };
        let at = self.link.heard_of_at();
        let of_this_boot = self.ledger.heard_of.filter(|heard_of| heard_of.boot == self.boot);
        if of_this_boot.is_none_or(|heard_of| heard_of.at + Millis(shortest.0 / HEARD_OF_PART) <= at) {
            self.persist(LedgerWrite::HeardOf(HeardOf { boot: self.boot, at }), actions);
        }
    }

    fn begin(&mut self, in_flight: InFlight, request: Op, actions: &mut Vec<Action>) {
        let op = OpId(self.tick());
        self.ops.insert(op, in_flight);
        actions.push(Action::Runtime { op, request });
    }
}

/// Puts all ledger writes of a step into one transaction before its other actions. A write may always be durable
/// early, and one sync costs less than several.
fn persist_first(actions: Vec<Action>) -> Vec<Action> {
    let (mut writes, mut others) = (Vec::new(), Vec::new());
    for action in actions {
        match action {
            Action::Persist(more) => writes.extend(more),
            other => others.push(other),
        }
    }
    if !writes.is_empty() {
        others.insert(0, Action::Persist(writes));
    }
    others
}

// The engine as a whole.
impl Worker {
    fn keep_listing(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.owner().is_none() || self.engine.listing {
            return;
        }
        let at = self.engine.down_until.unwrap_or(self.engine.resync_at);
        if at <= now {
            self.engine.resync_at = now + self.config.resync_every;
            self.list(actions);
        }
    }

    fn list(&mut self, actions: &mut Vec<Action>) {
        let Some(owner) = self.owner() else { return };
        if self.engine.listing {
            self.engine.list_again = true;
            return;
        }
        self.engine.listing = true;
        let begun = self.ticks + 1;
        self.begin(InFlight::List { begun }, Op::List(owner), actions);
    }

    fn resume_paused(&mut self, now: Time) {
        while let Some(&(at, id)) = self.paused.first()
            && at <= now
        {
            self.paused.pop_first();
            if let Some(task) = self.tasks.get_mut(&id) {
                task.paused = false;
                self.due.insert(id);
            }
        }
    }

    fn take_looks(&mut self, now: Time) {
        while let Some(&(at, id)) = self.looks.first()
            && at <= now
        {
            self.looks.pop_first();
            self.due.insert(id);
        }
    }

    fn engine_down(&mut self, now: Time) {
        self.engine.down_until = Some(now + ENGINE_RETRY);
    }

    /// Takes in a listing of all our containers. A task whose operation began or ended after the listing began is left
    /// alone, because its state is newer than the listing.
    fn listed(&mut self, begun: u64, containers: Vec<EngineContainer>, actions: &mut Vec<Action>) {
        self.engine.listed = true;
        self.engine.down_until = None;
        let owner = self.owner().expect("what was listed has an owner");
        // Anybody can set labels, and give a container another name: the ID that the engine gave is what counts, and the name
        // where nobody heard that.
        let is_ours =
            |it: &EngineContainer| match self.ledger.tasks.get(&it.task).and_then(|task| task.container.as_ref()) {
                Some(known) => *known == it.id,
                None => it.name == container_name(&owner, it.task),
            };
        let (ours, foreign): (Vec<EngineContainer>, Vec<EngineContainer>) = containers.into_iter().partition(is_ours);
        self.meet_foreign(foreign, actions);
        let mut present: BTreeMap<TaskId, EngineContainer> = ours.into_iter().map(|c| (c.task, c)).collect();
        // After the welcome the worker knows all its orders, so no other container is wanted: a create of an earlier
        // process may take effect only now. Before the welcome nobody knows that yet.
        let unwanted = self.link.welcomed().is_some();
        for (id, container) in &present {
            self.remember_container(*id, &container.id, actions);
            self.tasks.entry(*id).or_insert_with(|| WorkerTask { unwanted, ..WorkerTask::default() });
        }
        for (id, task) in &mut self.tasks {
            if task.op || task.touched > begun {
                continue;
            }
            task.container = match present.remove(id) {
                Some(container) => {
                    task.found.probed.image = container.image_health;
                    Known::Is(container.state)
                }
                None => Known::Absent,
            };
            task.stale = false;
        }
        self.due.extend(self.tasks.keys());
        if std::mem::take(&mut self.engine.list_again) {
            self.list(actions);
        }
    }

    /// Warns once of each container that has our labels and is none of ours: an image that was committed from one of ours
    /// carries them, say. They belong to no task and are not touched.
    fn meet_foreign(&mut self, foreign: Vec<EngineContainer>, actions: &mut Vec<Action>) {
        let names: BTreeSet<String> = foreign.into_iter().map(|container| container.name).collect();
        for name in names.difference(&self.foreign) {
            let text = format!("container `{name}` carries this node's labels and is none of its own: left alone");
            actions.push(Action::Warn(text));
        }
        self.foreign = names;
    }

    fn done(&mut self, now: Time, op: OpId, result: OpResult, actions: &mut Vec<Action>) {
        let in_flight = self.ops.remove(&op).expect("an operation ends once");
        if matches!(&result, Err(error) if error.kind == OpErrorKind::Engine) {
            self.engine_down(now);
        }
        match in_flight {
            InFlight::List { begun } => {
                self.engine.listing = false;
                match result {
                    Ok(OpOutput::Containers(containers)) => self.listed(begun, containers, actions),
                    Ok(_) => unreachable!("a listing gives containers"),
                    Err(_) => self.engine_down(now),
                }
            }
            InFlight::Fetch { image } => self.fetched(now, &image, &result, actions),
            InFlight::RemoveImage { id } => self.image_removed(now, &id, &result, actions),
            InFlight::Task { task, step } => self.task_done(now, task, step, result, actions),
            InFlight::Probe { task, kind } => self.probe_done(now, task, kind, result),
        }
    }
}

// What the manager says.
impl Worker {
    fn link_up(&mut self, now: Time, link: LinkId, actions: &mut Vec<Action>) {
        let hello = Hello {
            cluster: self.ledger.cluster,
            seen: self.ledger.seen,
            nonce: self.nonce,
            info: NodeInfo { uid: self.ledger.node, ..self.config.info.clone() },
            inventory: self.reports(),
            takes_parts: true,
            prefetches: true,
        };
        self.link.up(now, link, hello, actions);
    }

    /// What is known of each task, for the manager. A state is reported only after it was observed.
    fn reports(&self) -> Vec<TaskReport> {
        self.tasks.iter().filter_map(|(id, task)| self.report_of(*id, task)).collect()
    }

    fn report_of(&self, id: TaskId, task: &WorkerTask) -> Option<TaskReport> {
        let end = self.ledger.tasks.get(&id).and_then(|remembered| remembered.end.clone());
        end.or_else(|| {
            let state = task.observed?;
            let found = if state == TaskState::Running { task.found.clone() } else { Found::default() };
            let digest = task.unresolved().cloned();
            let image_id = task.local_image().filter(|_| state >= TaskState::Starting).cloned();
            let report = TaskReport::new(id, state, None);
            Some(TaskReport { probed: found.probed, why: found.why, digest, image_id, ..report })
        })
    }

    /// What is unconfirmed of each task that was looked at and, when reports are to be repeated, of each that was reported;
    /// `None` of a task of which nothing is. A step costs the tasks that it touches, not all of the node's.
    fn news(&mut self, now: Time) -> Vec<(TaskId, Option<TaskReport>)> {
        let mut tasks = std::mem::take(&mut self.looked_at);
        tasks.extend(self.link.repeated(now));
        tasks.into_iter().map(|id| (id, self.unconfirmed(id))).collect()
    }

    /// What the manager has not confirmed of a task.
    fn unconfirmed(&self, id: TaskId) -> Option<TaskReport> {
        let task = self.tasks.get(&id)?;
        if task.order.as_ref().is_none_or(|order| order.ended) {
            return None;
        }
        let is_unconfirmed = |report: &TaskReport| {
            let (state, probed) = task.confirmed.map_or((None, Probed::default()), |(s, p)| (Some(s), p));
            let unresolved = report.digest.is_some();
            unresolved
                || state < Some(report.state)
                || (state == Some(report.state) && probed != report.probed)
                || self.link.has_unconfirmed(report)
        };
        self.report_of(id, task).filter(is_unconfirmed)
    }

    /// Whether every task that is unconfirmed has been reported, in a session that stands.
    fn reports_everything(&self) -> bool {
        self.tasks.keys().all(|id| self.link.has_reported(*id) || self.unconfirmed(*id).is_none())
    }

    fn message(&mut self, now: Time, link: LinkId, message: ToWorker, actions: &mut Vec<Action>) {
        if !self.link.heard(link, now) {
            return;
        }
        match message {
            ToWorker::Welcome(welcome) => self.welcome(now, welcome, actions),
            ToWorker::Refused { message } => {
                actions.push(Action::Warn(format!("the manager refused this worker: {message}")));
                self.link.refused(now, actions);
            }
            ToWorker::Assigned(assigned) => {
                if self.link.take_assigned(assigned.seq, assigned.full) {
                    self.assigned(assigned);
                }
            }
            ToWorker::HeartbeatAck { seq } => {
                // Tasks whose fence had passed may be started again now.
                let heard_of_at = self.link.heard_of_at();
                let had_passed =
                    |task: &WorkerTask| task.fence().is_some_and(|fence| fence.passes_at(heard_of_at) <= now);
                self.due.extend(self.tasks.iter().filter(|(_, task)| had_passed(task)).map(|(id, _)| *id));
                self.link.acknowledged(seq);
                self.remember_heard_of(actions);
            }
            ToWorker::Committed { seq, states } => {
                for (id, state, probed) in states {
                    if let Some(task) = self.tasks.get_mut(&id).filter(|_| self.link.confirmed(seq, id)) {
                        task.confirm(state, probed);
                        self.due.insert(id);
                    }
                }
            }
            ToWorker::Probe => actions.extend(self.link.send(ToManager::ProbeAck)),
            ToWorker::Prefetch { workload, version, image, pull, keep } => {
                // It is fetched within the deadline, or not at all.
                let keep = keep.min(PROMISE_MAX);
                self.promise_image(now, &image, now + self.config.pull_deadline + keep);
                self.prefetch((workload, version), (image, pull), actions);
            }
            ToWorker::Open(request) => {
                if let Some(container) = self.container_of(request.task) {
                    actions.push(Action::Open { request, container });
                }
            }
        }
    }

    fn welcome(&mut self, now: Time, welcome: Welcome, actions: &mut Vec<Action>) {
        let seen = (welcome.epoch, welcome.term);
        if self.ledger.cluster.is_some_and(|ours| ours != welcome.cluster) || seen < self.ledger.seen {
            actions.push(Action::Warn("welcomed by another cluster or an old manager: not followed".into()));
            self.link.refused(now, actions);
            return;
        }
        if self.link.welcomed().is_some() {
            return;
        }
        self.images.knows_orders = true;
        if seen.0 > self.ledger.seen.0 {
            // A manager that was restored from a backup counts its orders anew.
            self.tasks.values_mut().for_each(|task| task.order = None);
        }
        if (self.ledger.cluster, self.ledger.seen) != (Some(welcome.cluster), seen) {
            self.persist(LedgerWrite::Seen { cluster: welcome.cluster, seen }, actions);
        }
        // The manager has the probe results of the hello, which may differ from the last confirmed ones: the present
        // results are reported again.
        let confirmed = self.tasks.values_mut().filter_map(|task| task.confirmed.as_mut());
        confirmed.for_each(|(_, probed)| *probed = Probed::default());
        self.link.welcome(now, &welcome);
        self.remember_heard_of(actions);
        // Nothing was reported yet in this session.
        self.due.extend(self.tasks.keys());
        self.assigned(welcome.assigned);
    }

    /// Takes up orders. An order is stale if its generation is lower than that of an order taken up before.
    fn assigned(&mut self, assigned: Assigned) {
        if assigned.full {
            let orders = assigned.tasks.iter().map(|order| order.task);
            let wanted: BTreeSet<TaskId> = orders.chain(assigned.follow).collect();
            for (id, task) in &mut self.tasks {
                task.unwanted |= !wanted.contains(id);
            }
            self.due.extend(self.tasks.keys());
        }
        for id in assigned.removed {
            // Also a task that is not known here: its container may exist.
            self.tasks.entry(id).or_default().unwanted = true;
            self.due.insert(id);
        }
        for order in assigned.tasks {
            let id = order.task;
            let fresh = !self.tasks.contains_key(&id);
            let task = self.tasks.entry(id).or_default();
            if fresh && self.engine.listed {
                // Neither the ledger nor the last listing has it, and nobody else creates it.
                task.container = Known::Absent;
            }
            if task.order.as_ref().is_none_or(|known| known.generation <= order.generation) {
                task.order = Some(order);
                self.due.insert(id);
            }
        }
    }
}

/// The name that a worker gives the container of a task.
fn container_name(owner: &Owner, id: TaskId) -> String {
    format!("orbit-{}-{id}", owner.cluster)
}

//! The world: one queue of events, and what each does.

mod ending;
mod inputs;
mod managing;
mod situations;
mod working;

use crate::{
    chaos::Chaos,
    checks::{self, EngineWatch, FenceWatch, OrderWatch, PlanWatch, Stale, TaskWatch, VolumeWatch, WorkerView},
    client::{Client, IMAGES_BAD, IMAGES_GOOD},
    event::{Rank, WorldEvent},
    input::{Ask, Input, Point, Script, Step, Strike},
    manager_host::ManagerHost,
    network::{Connection, Network},
    options::Options,
    queue::Queue,
    random::Random,
    tally::{Activities, Situation, Tally},
    worker_host::{SCARCE_BYTES, WorkerHost, node_name},
};
use orbit_core::{
    manager::{self, SessionId},
    model::*,
    state::Snapshot,
    worker::{self, FreeSpace, LinkId, Op, OpError, OpErrorKind, OpId},
};
use orbit_runtime::fake::{FakeContainer, FakeEngine, ImagePlace, Program};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    hash::Hasher,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// What to live through.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The world.
    pub options: Options,
    /// What comes into it; `None` draws that from the seed.
    pub steps: Option<Vec<Step>>,
    /// One crash at a boundary between effects.
    pub crash: Option<CrashPoint>,
    /// What is written down of the events.
    pub trace: Trace,
}

impl Plan {
    /// Everything drawn from a seed.
    pub fn seed(seed: u64) -> Plan {
        Plan::drawn(Options::from_seed(seed))
    }
    /// Inputs drawn from the seed of the options.
    pub fn drawn(options: Options) -> Plan {
        Plan { options, steps: None, crash: None, trace: Trace::Nothing }
    }
    /// Inputs as a script has them.
    pub fn script(script: &Script) -> Plan {
        Plan { steps: Some(script.steps.clone()), ..Plan::drawn(script.options.clone()) }
    }
}

/// A process dies at the n-th boundary between two effects of the whole world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    /// Counted from 0.
    pub boundary: u64,
    /// How long it is away, in milliseconds.
    pub down_ms: u64,
    /// How many of the entries that are being synced there are durable.
    pub durable: usize,
}

/// Where, around an effect, a boundary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The effect has not begun.
    Before,
    /// It has taken place, and who asked for it has not heard.
    Applied,
    /// Who asked for it has heard.
    Acknowledged,
}

/// What is written down of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Nothing: fastest.
    Nothing,
    /// The last ones before a failure.
    Tail,
    /// All are printed, up to the n-th; with the state after it, and what that event changed in it.
    Print {
        /// Counted from 1.
        until: Option<u64>,
        /// Whether to print the state there.
        state: bool,
    },
}

/// The phases of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Faults begin a few seconds after the start.
    Chaos,
    /// Every fault has ended: the world converges.
    Healing,
    /// It has converged and is at rest.
    Rest,
    /// It is over.
    Done,
}

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What was found.
    pub found: String,
    /// When, in virtual milliseconds.
    pub at_ms: u64,
    /// After how many events.
    pub event: u64,
    /// The run as a script: what came into the world until then.
    pub script: Script,
    /// The last events before the violation, oldest first, if they were written down.
    pub tail: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Failure { invariant, found, at_ms, event, .. } = self;
        write!(f, "{invariant} violated at {at_ms} ms, event {event}: {found}")
    }
}

/// What a run went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events, each followed by its checks.
    pub events: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Length of the log.
    pub entries: u64,
    /// Containers that were started.
    pub started: u64,
    /// Boundaries between effects, at each of which a process could have died.
    pub boundaries: u64,
    /// Of those, by moment: before an effect, applied and not acknowledged, acknowledged.
    pub moments: [u64; 3],
    /// Of everything that happened, in order: equal for equal plans, in any process.
    pub hash: u64,
    /// What was reached.
    pub tally: Tally,
}

/// How a run ended, without IDs and times: what a run with faults must have in common with one
/// without (I26).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// By kind and name: version, replicas, and how many run of it.
    pub objects: BTreeMap<String, String>,
    /// By kind and name, how its newest attempts stand, sorted.
    pub newest: BTreeMap<String, Vec<String>>,
    /// By name, how many containers were started for it over all time.
    pub started: BTreeMap<String, u32>,
}

/// Lives through a plan.
///
/// # Errors
/// The first invariant that does not hold.
pub fn run(plan: &Plan) -> Result<(Report, Outcome), Box<Failure>> {
    run_watched(plan, &mut |_, _| {})
}

/// Lives through a plan, and says when each phase begins.
///
/// # Errors
/// The first invariant that does not hold.
pub fn run_watched(plan: &Plan, begins: &mut dyn FnMut(Phase, &Report)) -> Result<(Report, Outcome), Box<Failure>> {
    let mut world = World::new(plan);
    // A panic is a violated assertion: the world is only read after it.
    let lived = catch_unwind(AssertUnwindSafe(|| world.live(begins)));
    let lived = lived.unwrap_or_else(|panic| Err(("I16", said(&*panic))));
    lived.map_err(|(invariant, found)| Box::new(world.failure(invariant, found)))?;
    world.report.virtual_ms = world.now;
    Ok((world.report, world.outcome()))
}

/// A line for whoever watches; if he has left (`| head`), that is his affair.
fn say(line: fmt::Arguments) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What a panic said.
fn said(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("an assertion failed").to_string()
}

/// What came into the world while a plan was lived through.
pub fn record(plan: &Plan) -> Script {
    let mut world = World::new(plan);
    match world.live(&mut |_, _| {}) {
        Ok(()) => Script { about: String::new(), options: plan.options.clone(), steps: world.chaos.record },
        Err((invariant, found)) => world.failure(invariant, found).script,
    }
}

type Lived = Result<(), (&'static str, String)>;

/// FNV-1a over words: quick, and the same in every process.
struct TraceHash(u64);

impl Hasher for TraceHash {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23);
    }
    fn write_u8(&mut self, it: u8) {
        self.write_u64(it.into());
    }
    fn write_u32(&mut self, it: u32) {
        self.write_u64(it.into());
    }
    fn write_usize(&mut self, it: usize) {
        self.write_u64(it as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// The manager in the list of managers: there is one as yet.
const ONLY: usize = 0;

/// How often a worker with little room looks at its disk, in milliseconds.
const SCARCE_LOOK_MS: u64 = 5000;

struct World {
    options: Options,
    crash: Option<CrashPoint>,
    trace: Trace,
    now: u64,
    queue: Queue,
    managers: Vec<ManagerHost>,
    disk_full_until: u64,
    /// What the state was at the last crash, to compare with what the log gives (I14).
    before_crash: Option<Snapshot>,
    workers: Vec<WorkerHost>,
    network: Network,
    client: Client,
    users: Random,
    chaos: Chaos,
    engines: Random,
    /// How long an operation takes at most, as yet.
    engine_ms_max: u64,
    watch: TaskWatch,
    /// How often `web:2` was pushed again.
    pushes: u64,
    /// How many containers were given another name, and how many were copied with their labels.
    renamed: u64,
    copied: u64,
    /// Tasks whose container somebody started himself, and those with a timed fence that were replaced while their worker or
    /// engine was not there: nothing was promised of them (I7).
    excused: BTreeSet<TaskId>,
    orders: OrderWatch,
    fences: FenceWatch,
    plans: PlanWatch,
    homes: EngineWatch,
    volumes: VolumeWatch,
    /// What each task's containers are for, by the label that says so.
    names: BTreeMap<TaskId, String>,
    /// Nodes that were forgotten while their worker was away.
    forgotten: u64,
    /// How many second workers have appeared.
    twins: u64,
    /// Requests of a script that were never answered.
    unanswered: VecDeque<Ask>,
    calm: bool,
    report: Report,
    tail: VecDeque<String>,
    /// The state before the event, if it is wanted.
    state_before: String,
}

const TAIL: usize = 40;

/// In place of a life: the connection is not the worker's, but that of a second one of its name, or of
/// one with a copy of its state directory.
const TWIN: u32 = u32::MAX;
const COPY: u32 = u32::MAX - 1;

impl World {
    fn new(plan: &Plan) -> World {
        let options = plan.options.clone();
        let stream = |stream| Random::new(options.seed, stream);
        let mut engines = stream(5);
        let Options { workers, cpu_millis, drift_ppm_max, delay_ms_max, .. } = options;
        let host = |i| WorkerHost::new(i, stream(100 + i as u64), engine(&mut engines), cpu_millis, drift_ppm_max);
        let workers = (0..workers).map(host).collect();
        let mut world = World {
            now: 0,
            queue: Queue::default(),
            managers: vec![ManagerHost::new(stream(1), Timing::default(), options.row_us)],
            disk_full_until: 0,
            before_crash: None,
            workers,
            network: Network::new(stream(2), delay_ms_max),
            client: Client::default(),
            users: stream(3),
            chaos: Chaos::new(&options, plan.steps.as_deref()),
            engines,
            engine_ms_max: options.engine_ms_max,
            watch: TaskWatch::default(),
            pushes: 0,
            renamed: 0,
            copied: 0,
            excused: BTreeSet::new(),
            orders: OrderWatch::default(),
            fences: FenceWatch::default(),
            plans: PlanWatch::default(),
            homes: EngineWatch::default(),
            volumes: VolumeWatch::default(),
            names: BTreeMap::new(),
            forgotten: 0,
            twins: 0,
            unanswered: VecDeque::new(),
            calm: false,
            report: Report { hash: 0xcbf2_9ce4_8422_2325, ..Report::default() },
            tail: VecDeque::new(),
            state_before: String::new(),
            crash: plan.crash,
            trace: plan.trace,
            options,
        };
        match &plan.steps {
            Some(steps) => {
                for Step { at, input, .. } in steps.iter().filter(|s| !matches!(s.input, Input::Strike { .. })) {
                    world.after(*at, WorldEvent::Input(Box::new(input.clone())));
                }
            }
            None => {
                let losses: Vec<(u64, usize)> = world.options.losses().collect();
                for (at, worker) in losses {
                    world.after(at, WorldEvent::Input(Box::new(Input::Lost { worker })));
                }
                world.after(1000, WorldEvent::ClientDraws);
                world.after(5000, WorldEvent::Chaos);
            }
        }
        world
    }

    fn live(&mut self, begins: &mut dyn FnMut(Phase, &Report)) -> Lived {
        self.after(0, WorldEvent::ManagerStart);
        for worker in 0..self.workers.len() {
            self.after(10, WorldEvent::WorkerStart { worker });
        }
        self.after(7000, WorldEvent::Compact);
        self.after(self.options.chaos_ms, WorldEvent::Heal);
        begins(Phase::Chaos, &self.report);
        self.run_until(self.options.chaos_ms)?;
        begins(Phase::Healing, &self.report);
        self.converge()?;
        begins(Phase::Rest, &self.report);
        self.rest()?;
        begins(Phase::Done, &self.report);
        Ok(())
    }

    fn run_until(&mut self, end: u64) -> Lived {
        while let Some((at, event)) = self.queue.pop_until(end) {
            self.now = at;
            self.report.events += 1;
            self.note(&event);
            self.happen(event)?;
            self.show_state();
        }
        self.now = end;
        Ok(())
    }

    fn after(&mut self, ms: u64, event: WorldEvent) {
        self.queue.push(self.now + ms, event);
    }

    fn note(&mut self, event: &WorldEvent) {
        // What is drawn and what a script says differ in how they come about; inputs count as they
        // are taken in.
        if event.rank() != Rank::Outside {
            self.hash(|hash| event.hash_into(hash));
        }
        match self.trace {
            Trace::Nothing => {}
            Trace::Tail => {
                if self.tail.len() == TAIL {
                    self.tail.pop_front();
                }
                self.tail.push_back(format!("{:>7} {:>9} {event}", self.report.events, self.now));
            }
            Trace::Print { until, .. } => {
                if until.is_none_or(|until| self.report.events <= until) {
                    say(format_args!("{:>7} {:>9} {event}", self.report.events, self.now));
                }
            }
        }
    }

    fn hash(&mut self, add: impl FnOnce(&mut TraceHash)) {
        let mut hash = TraceHash(self.report.hash);
        hash.write_u64(self.now);
        add(&mut hash);
        self.report.hash = hash.finish();
    }

    fn failure(&mut self, invariant: &'static str, found: String) -> Failure {
        let about = format!("{invariant}: {found}\nseed {}", self.options.seed);
        let steps = std::mem::take(&mut self.chaos.record);
        Failure {
            invariant,
            found,
            at_ms: self.now,
            event: self.report.events,
            script: Script { about, options: self.options.clone(), steps },
            tail: self.tail.iter().cloned().collect(),
        }
    }

    /// A boundary between two effects of a process: whether it dies here.
    fn boundary(&mut self, moment: Moment) -> bool {
        let here = self.report.boundaries;
        self.report.moments[moment as usize] += 1;
        self.report.boundaries += 1;
        self.crash.is_some_and(|crash| crash.boundary == here)
    }

    /// Whether something of a kind that passes a point is struck.
    fn struck(&mut self, point: Point, worker: usize, kind: &str) -> Option<Strike> {
        let strike = self.chaos.strike(self.now, point, worker, kind)?;
        self.tally_fault(&Input::Strike { point, worker, only: None, strike });
        Some(strike)
    }

    fn happen(&mut self, event: WorldEvent) -> Lived {
        // A stopped process hears nothing until it goes on; then it hears everything at once.
        let until = match event.workers() {
            Some(worker) => self.workers[worker].paused_until,
            None if event.is_managers() => self.managers[ONLY].paused_until.max(self.managers[ONLY].busy_until()),
            None => 0,
        };
        if self.now < until {
            self.after(until - self.now, event);
            return Ok(());
        }
        match event {
            WorldEvent::Chaos => self.wreak()?,
            WorldEvent::ClientDraws => self.client_draws()?,
            WorldEvent::Input(input) => self.input(*input)?,
            WorldEvent::ManagerStart => self.manager_start()?,
            WorldEvent::ManagerWake { life, due } => {
                if life == self.managers[ONLY].life && self.managers[ONLY].wake == Some(due) {
                    self.managers[ONLY].wake = None;
                    self.overdue()?;
                    self.returned()?;
                    self.manager_step(manager::Event::Wake)?;
                }
            }
            WorldEvent::ManagerSynced { life } => self.manager_synced(life)?,
            WorldEvent::ManagerHears { session, .. } if self.may_be_free(session) => self.hang_up(session),
            WorldEvent::ManagerHears { session, message } => {
                if self.network.open.contains_key(&session) {
                    self.manager_step(manager::Event::Message { session, message })?;
                } else {
                    self.report.tally.reach(Situation::MessageToNobody);
                }
            }
            WorldEvent::ManagerHangup { session } => self.manager_step(manager::Event::SessionClosed(session))?,
            WorldEvent::ManagerAsked { life, id, request } => {
                if life == self.managers[ONLY].life {
                    self.manager_step(manager::Event::Request { id, actor: Actor::Local, request })?;
                }
            }
            WorldEvent::AskAgain => self.ask_again(),
            WorldEvent::Compact => {
                if self.now >= self.disk_full_until {
                    self.managers[ONLY].disk.compact(5);
                }
                if let Some(machine) = &self.managers[ONLY].machine {
                    checks::snapshot(machine.cluster())?;
                }
                self.after(9000, WorldEvent::Compact);
            }
            WorldEvent::WorkerStart { worker } if self.workers[worker].is_lost => {}
            WorldEvent::WorkerStart { worker } => {
                self.fences.begins(worker, self.now);
                let in_time = self.fences.pass_after(worker, &self.workers[worker].engine, self.now + 2000);
                self.workers[worker].back(in_time);
                let actions = self.workers[worker].start(self.now);
                self.look_at_disk(worker, 1);
                if self.options.scarce_disks {
                    (1..60).for_each(|n| self.look_at_disk(worker, n * SCARCE_LOOK_MS));
                }
                self.worker_acts(worker, actions)?;
            }
            WorldEvent::WorkerWake { worker, life, due } => {
                if self.workers[worker].life == life && self.workers[worker].wake == Some(due) {
                    self.workers[worker].wake = None;
                    self.worker_step(worker, life, worker::Event::Wake)?;
                }
            }
            WorldEvent::WorkerLinkUp { worker, life, link } => {
                self.worker_step(worker, life, worker::Event::LinkUp(link))?;
            }
            WorldEvent::WorkerLinkDown { worker, life, link } => {
                self.worker_step(worker, life, worker::Event::LinkDown(link))?;
            }
            WorldEvent::WorkerHears { worker, session, message } => match self.network.open.get(&session).copied() {
                Some(Connection { life, link, .. }) => {
                    if let ToWorker::HeartbeatAck { .. } = message {
                        self.workers[worker].steady(self.now);
                    }
                    self.fences.hears(worker, session, &message);
                    self.worker_step(worker, life, worker::Event::Message { link, message })?;
                }
                None => self.report.tally.reach(Situation::MessageToNobody),
            },
            WorldEvent::EngineBegins { worker, life, op, request } => {
                let own = self.workers[worker].engine.takes(&request).0;
                let takes = own + self.engines.between(0, self.engine_ms_max);
                if own > 0 && matches!(request, Op::Stop { .. }) {
                    self.report.tally.reach(Situation::StopRanIntoGrace);
                }
                self.after(takes, WorldEvent::EngineActs { worker, life, op, request });
            }
            WorldEvent::EngineActs { worker, life, op, request } => self.engine_acts(worker, life, op, &request)?,
            WorldEvent::EngineAnswers { worker, life, op, .. }
                if self.workers[worker].life == life && self.workers[worker].cancelled.remove(&op) => {}
            WorldEvent::EngineAnswers { worker, life, op, result } => {
                self.worker_step(worker, life, worker::Event::Done { op, result })?;
                if self.workers[worker].life == life && self.boundary(Moment::Acknowledged) {
                    self.crash_here(Some(worker))?;
                }
            }
            WorldEvent::EngineHint { worker, life, task } => {
                self.worker_step(worker, life, worker::Event::Hint(task))?;
            }
            WorldEvent::EngineHintsLost { worker, life } => {
                self.worker_step(worker, life, worker::Event::HintsLost)?;
            }
            WorldEvent::TwinGoes { session } => self.hang_up(session),
            WorldEvent::EngineUp { worker } => {
                if std::mem::take(&mut self.workers[worker].stops_at_return) {
                    self.end_containers(worker);
                }
                self.workers[worker].engine.engine_down(false);
                let life = self.workers[worker].life;
                self.after(0, WorldEvent::EngineHintsLost { worker, life });
            }
            WorldEvent::PortFree { worker, port } => self.workers[worker].engine.hold_port(port, false),
            WorldEvent::WorkerDisk { worker, life } => {
                let full = self.now < self.workers[worker].disk_full_until;
                let free_bytes = match (full, self.options.scarce_disks) {
                    (true, _) => 0,
                    (false, true) => SCARCE_BYTES,
                    (false, false) => u64::MAX,
                };
                self.worker_step(worker, life, worker::Event::Disk(FreeSpace::of(free_bytes)))?;
            }
            WorldEvent::StartsAgain { worker } => self.workers[worker].engine.starts_nothing(false),
            WorldEvent::Heal => self.heal(),
        }
        Ok(())
    }

    /// The process of the crash point's boundary dies.
    fn crash_here(&mut self, worker: Option<usize>) -> Lived {
        let CrashPoint { down_ms, durable, .. } = self.crash.expect("that is why it dies");
        match worker {
            Some(worker) => self.worker_crash(worker, false, down_ms),
            None => self.manager_crash(down_ms, durable),
        }
        Ok(())
    }

    fn show_state(&mut self) {
        let Trace::Print { until, state: true } = self.trace else { return };
        let wanted = until.unwrap_or(u64::MAX);
        if self.report.events + 1 == wanted {
            self.state_before = self.state();
        } else if self.report.events == wanted {
            let (before, after) = (std::mem::take(&mut self.state_before), self.state());
            say(format_args!("\nThe state after event {wanted}; + is new, - is gone:"));
            let has = |text: &str, line: &str| text.lines().any(|other| other == line);
            before.lines().filter(|line| !has(&after, line)).for_each(|line| say(format_args!("- {line}")));
            for line in after.lines() {
                say(format_args!("{} {line}", if has(&before, line) { ' ' } else { '+' }));
            }
        }
    }
}

/// Puts the simulator's images into an engine: some there, some to be pulled, some bad.
pub fn images(engine: &mut FakeEngine, pull_ms: u64) {
    engine.add_image("web:1", ImagePlace::Present, Program::Polite);
    engine.add_image("web:2", ImagePlace::Pullable(Millis(pull_ms)), Program::Stubborn);
    engine.add_image("exit:0", ImagePlace::Present, Program::Exit(0));
    engine.add_image("exit:1", ImagePlace::Present, Program::Exit(1));
    engine.add_image("broken:1", ImagePlace::Present, Program::BadEntrypoint);
    engine.add_image("user:1", ImagePlace::Present, Program::NoSuchUser);
    engine.add_image("dir:1", ImagePlace::Present, Program::NoSuchDirectory);
    engine.add_image("oom:1", ImagePlace::Present, Program::OutOfMemory);
    engine.add_image("hang:1", ImagePlace::Hanging, Program::Run);
    engine.push_again("web:2", &digest_nth(0));
    engine.add_health_check("web:2");
}

/// The name of a container that is not ours, on every engine.
const FOREIGN: &str = "somebody-elses";

fn engine(random: &mut Random) -> FakeEngine {
    let mut engine = FakeEngine::default();
    images(&mut engine, random.between(10, 3000));
    engine.add_foreign(FOREIGN, &[(80, 20_003)]);
    engine
}

/// What `web:2` means in the registry after it was pushed so often.
pub(crate) fn digest_nth(nth: u64) -> String {
    format!("sha256:{nth:064x}")
}

//! The world: one queue of events, and what each does.

mod faults;
mod managing;
mod working;

use crate::{
    checks::{self, OrderWatch, TaskWatch},
    client::Client,
    manager_host::ManagerHost,
    network::{Connection, Network},
    options::Options,
    random::Random,
    worker_host::WorkerHost,
};
use orbit_core::{
    manager::{self, RequestId, SessionId},
    model::*,
    worker::{self, LinkId, Op, OpError, OpErrorKind, OpId, OpResult},
};
use orbit_runtime::fake::{FakeEngine, ImagePlace, Program};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    fmt,
};

/// Something that will happen. What names a life is void if the process has died since.
#[derive(Clone, Debug)]
enum Happening {
    ManagerStart,
    ManagerWake { life: u32, due: u64 },
    ManagerSynced { life: u32 },
    ManagerHears { session: SessionId, message: ToManager },
    ManagerHangup { session: SessionId },
    ManagerAsked { life: u32, id: RequestId, request: manager::Request },
    ManagerCrash,
    ManagerPause { ms: u64 },
    Compact,
    WorkerStart { worker: usize },
    WorkerWake { worker: usize, life: u32, due: u64 },
    WorkerLinkUp { worker: usize, life: u32, link: LinkId },
    WorkerLinkDown { worker: usize, life: u32, link: LinkId },
    WorkerHears { session: SessionId, message: ToWorker },
    WorkerCrash { worker: usize, reboot: bool },
    EngineBegins { worker: usize, life: u32, op: OpId, request: Op },
    EngineActs { worker: usize, life: u32, op: OpId, request: Op },
    EngineAnswers { worker: usize, life: u32, op: OpId, result: OpResult },
    EngineHint { worker: usize, life: u32, task: TaskId },
    EngineHintsLost { worker: usize, life: u32 },
    EngineUp { worker: usize },
    ClientAsks,
    Chaos,
    Mend { worker: usize },
    Heal,
}

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The invariant's name.
    pub invariant: String,
    /// What was found.
    pub found: String,
    /// When, in virtual milliseconds.
    pub at_ms: u64,
    /// The options of the run, and the last events before the violation, oldest first.
    pub trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Failure { seed, invariant, found, at_ms, trace } = self;
        writeln!(f, "{trace}")?;
        writeln!(f, "{invariant} violated at {at_ms} ms: {found}")?;
        write!(f, "again with: cargo run -p orbit-sim -- replay {seed}")
    }
}

/// What a seed went through.
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
    /// Crashes of the manager.
    pub manager_crashes: u64,
    /// Crashes of workers.
    pub worker_crashes: u64,
    /// Of everything that happened, in order: equal for equal seeds, in any process.
    pub hash: u64,
}

/// How long a healed world has to converge: the longest backoff, the leases, an unanswered dial.
const CONVERGE_MS: u64 = 240_000;
/// How long a converged world is watched for coming to rest.
const REST_MS: u64 = 60_000;

const IMAGES_GOOD: [&str; 2] = ["web:1", "web:2"];
const IMAGES_BAD: [&str; 5] = ["exit:0", "exit:1", "absent:1", "broken:1", "oom:1"];

/// Lives through a seed.
///
/// # Errors
/// The first invariant that does not hold.
pub fn run(seed: u64) -> Result<Report, Box<Failure>> {
    run_with(Options::from_seed(seed), false)
}

/// Lives through a seed with given options; `verbose` prints every event.
///
/// # Errors
/// The first invariant that does not hold.
pub fn run_with(options: Options, verbose: bool) -> Result<Report, Box<Failure>> {
    let mut world = World::new(options, verbose);
    let lived = world.live();
    lived.map_err(|(invariant, found)| Box::new(world.failure(invariant, found)))?;
    world.report.virtual_ms = world.now;
    Ok(world.report)
}

type Lived = Result<(), (&'static str, String)>;

struct World {
    options: Options,
    now: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    manager: ManagerHost,
    /// The manager's process is stopped until then; what happens to it waits.
    manager_paused_until: u64,
    /// What the state was at the last crash, to compare with what the log gives (I14).
    before_crash: Option<Snapshot>,
    workers: Vec<WorkerHost>,
    network: Network,
    client: Client,
    chaos: Random,
    engines: Random,
    crashes: Random,
    watch: TaskWatch,
    orders: OrderWatch,
    calm: bool,
    report: Report,
    trace: VecDeque<String>,
    verbose: bool,
}

impl World {
    fn new(options: Options, verbose: bool) -> World {
        let stream = |stream| Random::new(options.seed, stream);
        let images = IMAGES_GOOD.iter().chain(options.bad_images.then_some(&IMAGES_BAD).into_iter().flatten());
        let images = images.map(|image| image.to_string()).collect();
        let mut engine_random = stream(5);
        let workers = (0..options.workers)
            .map(|i| WorkerHost::new(i, stream(100 + i as u64), engine(&mut engine_random), options.cpu_millis))
            .collect();
        let Options { lose, double, delay_ms_max, names, .. } = options;
        World {
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            manager: ManagerHost::new(stream(1), Timing::default()),
            manager_paused_until: 0,
            before_crash: None,
            workers,
            network: Network::new(stream(2), lose, double, delay_ms_max),
            client: Client::new(stream(3), names, images),
            chaos: stream(4),
            engines: engine_random,
            crashes: stream(6),
            watch: TaskWatch::default(),
            orders: OrderWatch::default(),
            calm: false,
            report: Report::default(),
            trace: VecDeque::new(),
            verbose,
            options,
        }
    }

    fn live(&mut self) -> Lived {
        self.after(0, Happening::ManagerStart);
        for worker in 0..self.workers.len() {
            self.after(10, Happening::WorkerStart { worker });
        }
        self.after(1000, Happening::ClientAsks);
        self.after(5000, Happening::Chaos);
        self.after(7000, Happening::Compact);
        self.after(self.options.chaos_ms, Happening::Heal);
        self.run_until(self.options.chaos_ms)?;
        self.converge()?;
        self.rest()
    }

    fn run_until(&mut self, end: u64) -> Lived {
        while self.queue.peek().is_some_and(|Reverse((at, _))| *at <= end) {
            self.one()?;
        }
        self.now = end;
        Ok(())
    }

    fn one(&mut self) -> Lived {
        let Reverse((at, sequence)) = self.queue.pop().expect("the caller has looked");
        let happening = self.happenings.remove(&sequence).expect("queued once");
        self.now = at;
        self.report.events += 1;
        self.note(&happening);
        self.happen(happening)?;
        checks::one_container_each(self.workers.iter().map(|worker| &worker.engine))
    }

    fn after(&mut self, ms: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now + ms, self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    fn note(&mut self, happening: &Happening) {
        let line = format!("{:>9} {happening:?}", self.now);
        for byte in line.bytes() {
            self.report.hash = (self.report.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if self.verbose {
            println!("{line}");
        }
        if self.trace.len() == 60 {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }

    fn failure(&self, invariant: &str, found: String) -> Failure {
        let lines: Vec<&str> = self.trace.iter().map(String::as_str).collect();
        let trace = format!("{:?}\n{}", self.options, lines.join("\n"));
        Failure { seed: self.options.seed, invariant: invariant.to_string(), found, at_ms: self.now, trace }
    }

    fn happen(&mut self, happening: Happening) -> Lived {
        // A stopped process hears nothing until it goes on; then it hears everything at once.
        if happening.is_managers() && self.now < self.manager_paused_until {
            self.after(self.manager_paused_until - self.now, happening);
            return Ok(());
        }
        match happening {
            Happening::ManagerStart => self.manager_start()?,
            Happening::ManagerWake { life, due } => {
                if life == self.manager.life && self.manager.wake == Some(due) {
                    self.manager.wake = None;
                    self.manager_step(manager::Event::Wake)?;
                }
            }
            Happening::ManagerSynced { life } => self.manager_synced(life)?,
            Happening::ManagerHears { session, message } => {
                if self.network.open.contains_key(&session) {
                    self.manager_step(manager::Event::Message { session, message })?;
                }
            }
            Happening::ManagerHangup { session } => self.manager_step(manager::Event::SessionClosed(session))?,
            Happening::ManagerAsked { life, id, request } => {
                if life == self.manager.life {
                    self.manager_step(manager::Event::Request { id, request })?;
                }
            }
            Happening::ManagerCrash => self.manager_crash(),
            Happening::ManagerPause { ms } => self.manager_paused_until = self.now + ms,
            Happening::Compact => {
                self.manager.disk.compact(5);
                self.after(9000, Happening::Compact);
            }
            Happening::WorkerStart { worker } => {
                let actions = self.workers[worker].start(self.now);
                self.worker_acts(worker, actions);
            }
            Happening::WorkerWake { worker, life, due } => {
                if self.workers[worker].life == life && self.workers[worker].wake == Some(due) {
                    self.workers[worker].wake = None;
                    self.worker_step(worker, life, worker::Event::Wake)?;
                }
            }
            Happening::WorkerLinkUp { worker, life, link } => {
                self.worker_step(worker, life, worker::Event::LinkUp(link))?;
            }
            Happening::WorkerLinkDown { worker, life, link } => {
                self.worker_step(worker, life, worker::Event::LinkDown(link))?;
            }
            Happening::WorkerHears { session, message } => {
                if let Some(Connection { worker, life, link }) = self.network.open.get(&session).cloned() {
                    self.worker_step(worker, life, worker::Event::Message { link, message })?;
                }
            }
            Happening::WorkerCrash { worker, reboot } => self.worker_crash(worker, reboot),
            Happening::EngineBegins { worker, life, op, request } => {
                let takes =
                    self.workers[worker].engine.takes(&request).0 + self.engines.between(0, self.options.engine_ms_max);
                self.after(takes, Happening::EngineActs { worker, life, op, request });
            }
            Happening::EngineActs { worker, life, op, request } => self.engine_acts(worker, life, op, &request),
            Happening::EngineAnswers { worker, life, op, result } => {
                self.worker_step(worker, life, worker::Event::Done { op, result })?;
            }
            Happening::EngineHint { worker, life, task } => {
                self.worker_step(worker, life, worker::Event::Hint(task))?;
            }
            Happening::EngineHintsLost { worker, life } => {
                self.worker_step(worker, life, worker::Event::HintsLost)?;
            }
            Happening::EngineUp { worker } => {
                self.workers[worker].engine.engine_down(false);
                let life = self.workers[worker].life;
                self.worker_step(worker, life, worker::Event::HintsLost)?;
            }
            Happening::ClientAsks => self.client_asks(),
            Happening::Chaos => self.wreak(),
            Happening::Mend { worker } => {
                self.network.cut_up.remove(&worker);
                self.network.cut_down.remove(&worker);
            }
            Happening::Heal => self.heal(),
        }
        Ok(())
    }
}

impl Happening {
    /// Whether it happens to the manager's process.
    fn is_managers(&self) -> bool {
        matches!(
            self,
            Happening::ManagerWake { .. }
                | Happening::ManagerSynced { .. }
                | Happening::ManagerHears { .. }
                | Happening::ManagerHangup { .. }
                | Happening::ManagerAsked { .. }
        )
    }
}

/// An engine with some images, one of which has to be pulled.
fn engine(random: &mut Random) -> FakeEngine {
    let mut engine = FakeEngine::default();
    engine.add_image("web:1", ImagePlace::Present, Program::Run);
    engine.add_image("web:2", ImagePlace::Pullable(Millis(random.between(10, 3000))), Program::Stubborn);
    engine.add_image("exit:0", ImagePlace::Present, Program::Exit(0));
    engine.add_image("exit:1", ImagePlace::Present, Program::Exit(1));
    engine.add_image("broken:1", ImagePlace::Present, Program::BadEntrypoint);
    engine.add_image("oom:1", ImagePlace::Present, Program::OutOfMemory);
    engine.add_foreign("somebody-elses", &[(80, 20_003)]);
    engine
}

//! The world: one queue of events, and what each does.

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
                let takes = self.workers[worker].engine.takes(&request).0 + self.engines.between(0, 20);
                self.after(takes, Happening::EngineActs { worker, life, op, request });
            }
            Happening::EngineActs { worker, life, op, request } => self.engine_acts(worker, life, op, &request),
            Happening::EngineAnswers { worker, life, op, result } => {
                self.worker_step(worker, life, worker::Event::Done { op, result })?;
            }
            Happening::EngineHint { worker, life, task } => {
                self.worker_step(worker, life, worker::Event::Hint(task))?;
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

// The manager.
impl World {
    fn manager_start(&mut self) -> Lived {
        if self.manager.machine.is_some() {
            return Ok(());
        }
        let actions = self.manager.start(self.now);
        let cluster = self.manager.machine.as_ref().expect("just started").cluster();
        checks::acknowledged(cluster, &self.client.known)?;
        if let Some(before) = self.before_crash.take()
            && before.index == cluster.index
            && before != cluster.snapshot()
        {
            return Err(("I14", "the log gives another state than the one that was live".to_string()));
        }
        self.manager_acts(actions)
    }

    fn manager_step(&mut self, event: manager::Event) -> Lived {
        let applied = matches!(event, manager::Event::Committed { .. });
        let actions = self.manager.step(self.now, event);
        if applied && let Some(machine) = &self.manager.machine {
            checks::state(machine.cluster())?;
            self.watch.look(machine.cluster())?;
        }
        self.manager_acts(actions)?;
        match &self.manager.machine {
            Some(machine) if machine.is_ready() => checks::acknowledged(machine.cluster(), &self.client.known),
            _ => Ok(()),
        }
    }

    fn manager_acts(&mut self, actions: Vec<manager::Action>) -> Lived {
        for action in actions {
            if self.crashes.chance(self.options.manager_crash) {
                self.manager_crash();
                return Ok(());
            }
            match action {
                manager::Action::Propose { proposal, at, command } => {
                    if self.manager.append(self.now, proposal, at, command) {
                        self.begin_sync();
                    }
                }
                manager::Action::Send { session, message } => {
                    let Some(worker) = self.network.open.get(&session).map(|c| c.worker) else { continue };
                    if self.network.cut_down.contains(&worker) {
                        continue;
                    }
                    for delay in self.network.copies(self.now, (session, false)) {
                        self.after(delay, Happening::WorkerHears { session, message: message.clone() });
                    }
                }
                manager::Action::Close(session) => self.hang_up(session),
                manager::Action::Reply { id, result } => {
                    self.client.answered(id, result).map_err(|found| ("I12", found))?;
                }
            }
        }
        if let Some(due) = self.manager.deadline()
            && self.manager.wake != Some(due)
        {
            self.manager.wake = Some(due);
            let life = self.manager.life;
            self.after(due.saturating_sub(self.now).max(1), Happening::ManagerWake { life, due });
        }
        Ok(())
    }

    fn begin_sync(&mut self) {
        let life = self.manager.life;
        let takes = self.manager.random.between(1, self.options.sync_ms_max);
        self.after(takes, Happening::ManagerSynced { life });
    }

    fn manager_synced(&mut self, life: u32) -> Lived {
        if life != self.manager.life {
            return Ok(());
        }
        let (durable, again) = self.manager.synced();
        if again {
            self.begin_sync();
        }
        for (proposal, entry) in durable {
            if life != self.manager.life {
                break;
            }
            self.manager_step(manager::Event::Committed { entry, proposal: Some(proposal) })?;
        }
        Ok(())
    }

    fn manager_crash(&mut self) {
        let Some(machine) = &self.manager.machine else { return };
        self.report.manager_crashes += 1;
        self.before_crash = Some(machine.snapshot());
        self.manager.crash();
        self.client.disconnected();
        let sessions: Vec<SessionId> = self.network.open.keys().copied().collect();
        sessions.into_iter().for_each(|session| self.hang_up(session));
        let down = self.chaos.between(50, 8000);
        self.after(down, Happening::ManagerStart);
    }

    /// A connection ends. Each side learns of it, unless the network is cut between them.
    fn hang_up(&mut self, session: SessionId) {
        let Some(Connection { worker, life, link }) = self.network.open.remove(&session) else { return };
        if !self.network.is_cut(worker) {
            let delay = self.network.delay();
            self.after(delay, Happening::WorkerLinkDown { worker, life, link });
            self.after(delay, Happening::ManagerHangup { session });
        }
    }

    fn client_asks(&mut self) {
        let tasks: Vec<TaskId> = match &self.manager.machine {
            Some(machine) => machine.cluster().tasks().filter(|t| t.is_live()).map(|t| t.id).collect(),
            None => Vec::new(),
        };
        // Somebody whose manager is down waits until it is back.
        if self.manager.machine.is_some()
            && let Some((id, request)) = self.client.ask(&tasks)
        {
            self.after(1, Happening::ManagerAsked { life: self.manager.life, id, request });
        }
        if !self.calm {
            let pause = self.chaos.between(100, 4000);
            self.after(pause, Happening::ClientAsks);
        }
    }
}

// The workers.
impl World {
    fn worker_step(&mut self, worker: usize, life: u32, event: worker::Event) -> Lived {
        if self.workers[worker].life == life {
            let actions = self.workers[worker].step(self.now, event);
            if let Some(machine) = &self.workers[worker].machine {
                self.orders.look(worker, life, self.workers[worker].ledger.seen, machine, &actions)?;
            }
            self.worker_acts(worker, actions);
        }
        Ok(())
    }

    fn worker_acts(&mut self, worker: usize, actions: Vec<worker::Action>) {
        let life = self.workers[worker].life;
        for action in actions {
            if self.crashes.chance(self.options.worker_crash) {
                self.worker_crash(worker, false);
                return;
            }
            match action {
                worker::Action::Persist(writes) => {
                    writes.iter().for_each(|write| self.workers[worker].ledger.apply(write));
                }
                worker::Action::Runtime { op, request } => {
                    self.after(0, Happening::EngineBegins { worker, life, op, request });
                }
                worker::Action::Connect(link) => self.dial(worker, life, link),
                worker::Action::Disconnect(link) => {
                    if let Some(session) = self.network.session_of(worker, life, link) {
                        self.hang_up(session);
                    }
                }
                worker::Action::Send { link, message } => {
                    let Some(session) = self.network.session_of(worker, life, link) else { continue };
                    if self.network.cut_up.contains(&worker) {
                        continue;
                    }
                    for delay in self.network.copies(self.now, (session, true)) {
                        self.after(delay, Happening::ManagerHears { session, message: message.clone() });
                    }
                }
                worker::Action::OpenLogs { .. } | worker::Action::Warn(_) => {}
            }
        }
        if let Some(due) = self.workers[worker].deadline()
            && self.workers[worker].wake != Some(due)
        {
            self.workers[worker].wake = Some(due);
            self.after(due.saturating_sub(self.now).max(1), Happening::WorkerWake { worker, life, due });
        }
    }

    fn dial(&mut self, worker: usize, life: u32, link: LinkId) {
        let delay = self.network.delay() + 1;
        if self.network.is_cut(worker) {
            return; // nobody answers: the worker gives up by itself
        }
        if self.manager.machine.is_none() {
            self.after(delay, Happening::WorkerLinkDown { worker, life, link });
            return;
        }
        self.network.dial(Connection { worker, life, link });
        self.after(delay, Happening::WorkerLinkUp { worker, life, link });
    }

    fn worker_crash(&mut self, worker: usize, reboot: bool) {
        if self.workers[worker].machine.is_none() {
            return;
        }
        self.report.worker_crashes += 1;
        self.workers[worker].crash();
        if reboot {
            self.workers[worker].engine.reboot();
            self.workers[worker].reboots += 1;
        }
        let of_worker = |(id, c): (&SessionId, &Connection)| (c.worker == worker).then_some(*id);
        let sessions: Vec<SessionId> = self.network.open.iter().filter_map(of_worker).collect();
        sessions.into_iter().for_each(|session| self.hang_up(session));
        let down = if self.calm { 100 } else { self.chaos.between(50, 20_000) };
        self.after(down, Happening::WorkerStart { worker });
    }

    fn engine_acts(&mut self, worker: usize, life: u32, op: OpId, request: &Op) {
        let faulty = self.options.engine_faults && !self.calm;
        let lost = || OpError { kind: OpErrorKind::Engine, message: "the connection broke".to_string() };
        let host = &mut self.workers[worker];
        // Either nothing took place, or it did and nobody hears of it.
        let result = match faulty && self.engines.chance(40) {
            true if self.engines.chance(500) => Err(lost()),
            true => host.engine.perform(request).and(Err(lost())),
            false => host.engine.perform(request),
        };
        self.report.started += u64::from(matches!(request, Op::Start(_)) && result.is_ok());
        let delay = self.engines.between(0, 10);
        self.after(delay, Happening::EngineAnswers { worker, life, op, result });
        self.tell_hints(worker);
    }

    /// The engine's events: some are lost, some come late.
    fn tell_hints(&mut self, worker: usize) {
        let host = &mut self.workers[worker];
        let (life, faulty) = (host.life, self.options.engine_faults && !self.calm);
        let news: Vec<TaskId> = host.engine.happenings_since(host.followed).map(|(_, it)| it.task).collect();
        host.followed = host.engine.happenings_count();
        for task in news {
            if faulty && self.engines.chance(100) {
                continue;
            }
            let delay = self.engines.between(0, 50);
            self.after(delay, Happening::EngineHint { worker, life, task });
        }
    }
}

// What goes wrong, and how it ends.
impl World {
    fn wreak(&mut self) {
        if self.calm {
            return;
        }
        let pause = self.chaos.between(500, 15_000);
        self.after(pause, Happening::Chaos);
        let worker = self.chaos.below(self.workers.len());
        match self.chaos.below(6) {
            0 if self.options.outages => self.after(0, Happening::ManagerCrash),
            1 if self.options.outages => {
                let reboot = self.chaos.chance(300);
                self.after(0, Happening::WorkerCrash { worker, reboot });
            }
            2 if self.options.outages => {
                let ms = self.chaos.between(100, 20_000);
                self.after(0, Happening::ManagerPause { ms });
            }
            3 if self.options.partitions => self.cut(worker),
            4 if self.options.engine_faults => {
                self.workers[worker].engine.engine_down(true);
                let down = self.chaos.between(100, 15_000);
                self.after(down, Happening::EngineUp { worker });
            }
            5 if self.options.container_faults => self.hurt_container(worker),
            _ => {}
        }
    }

    fn cut(&mut self, worker: usize) {
        // Now and then the manager is cut off from everybody at once.
        let all = self.chaos.chance(200);
        let (up, down) = [(true, true), (true, false), (false, true)][self.chaos.below(3)];
        let ms = self.chaos.between(500, 40_000);
        let victims = if all { 0..self.workers.len() } else { worker..worker + 1 };
        for victim in victims {
            self.network.cut_up.extend(up.then_some(victim));
            self.network.cut_down.extend(down.then_some(victim));
            self.after(ms, Happening::Mend { worker: victim });
        }
    }

    fn hurt_container(&mut self, worker: usize) {
        let engine = &mut self.workers[worker].engine;
        let ours = engine.containers().filter(|c| c.identity.is_some() && c.is_running());
        let names: Vec<String> = ours.map(|c| c.spec.name.clone()).collect();
        if names.is_empty() {
            return;
        }
        let name = &names[self.chaos.below(names.len())];
        match self.chaos.below(5) {
            0 => engine.exit(name, 0),
            1 => engine.exit(name, 1),
            2 => engine.kill(name),
            3 => engine.oom(name),
            _ => engine.remove_behind_our_back(name),
        }
        self.tell_hints(worker);
    }

    /// Every fault ends; whoever is down comes back.
    fn heal(&mut self) {
        self.calm = true;
        self.network.heal();
        self.options.manager_crash = 0;
        self.options.worker_crash = 0;
        for worker in 0..self.workers.len() {
            if self.workers[worker].engine.is_down() {
                self.after(0, Happening::EngineUp { worker });
            }
        }
    }

    fn pending(&self) -> Vec<String> {
        let Some(machine) = &self.manager.machine else { return vec!["the manager is down".to_string()] };
        if self.now < self.manager_paused_until {
            return vec!["the manager is paused".to_string()];
        }
        let good = IMAGES_GOOD.map(str::to_string);
        checks::pending(machine.cluster(), &self.workers, &good)
    }

    /// I22: a healed world converges in bounded time.
    fn converge(&mut self) -> Lived {
        let end = self.now + CONVERGE_MS;
        while self.now < end {
            self.run_until(self.now + 5000)?;
            if self.pending().is_empty() {
                let cluster = self.manager.machine.as_ref().expect("nothing is pending").cluster();
                return checks::acknowledged(cluster, &self.client.known);
            }
        }
        Err(("I22", self.pending().join("; ")))
    }

    /// I23: a converged world comes to rest. I31: what is not ours was not touched.
    fn rest(&mut self) -> Lived {
        let index = |world: &World| world.manager.machine.as_ref().map_or(0, |machine| machine.cluster().index);
        // What always fails is tried again for ever, and so never rests.
        let restless = self.manager.machine.as_ref().is_some_and(|machine| {
            let good = |w: &Workload| IMAGES_GOOD.contains(&w.current().spec.image.as_str());
            machine.cluster().workloads().any(|w| !good(w))
        });
        self.run_until(self.now + 10_000)?;
        let before = index(self);
        self.run_until(self.now + REST_MS)?;
        let after = index(self);
        if !restless && before != after {
            let tail: Vec<String> = self.manager.disk.entries.iter().rev().take(3).map(|e| format!("{e:?}")).collect();
            return Err(("I23", format!("{} more entries, the last: {}", after - before, tail.join("\n"))));
        }
        if let Some(pending) = self.pending().first().filter(|_| !restless) {
            return Err(("I22", format!("converged, and then: {pending}")));
        }
        // It may have ended with its machine, but never at our hands.
        let foreign = |worker: &WorkerHost| {
            let container = worker.engine.container("somebody-elses");
            container.is_some_and(|c| c.is_running() || worker.reboots > 0)
        };
        if !self.workers.iter().all(foreign) {
            return Err(("I31", "a container that is not ours was touched".to_string()));
        }
        self.report.entries = after;
        let disk = self.manager.disk.recover();
        let live = self.manager.machine.as_ref().expect("converged").snapshot();
        if disk.index == live.index && disk.snapshot() != live {
            return Err(("I14", "the log gives another state than the one that is live".to_string()));
        }
        Ok(())
    }
}

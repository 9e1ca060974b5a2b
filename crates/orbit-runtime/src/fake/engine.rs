//! The engine as a value.

use crate::{EngineInfo, Identity, identity_of, op_error};
use orbit_core::model::{Millis, Pull, Resources, TaskId, repository};
use orbit_core::worker::{
    Container, ContainerSpec, ContainerState, Op, OpError, OpErrorKind, OpOutput, OpResult, Owner,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The least memory limit that Docker accepts, in bytes.
pub const MEMORY_LIMIT_MIN_BYTES: u64 = 6 << 20;
/// The exit code of a process that SIGKILL ended.
const KILLED: i32 = 128 + 9;
/// The exit code of a process that SIGTERM ended.
const TERMINATED: i32 = 128 + 15;
/// What Docker notes for a container that was running when its machine went down.
const MACHINE_LOST: i32 = 255;
/// How many of the newest happenings are kept for those who follow them.
const HAPPENINGS_MAX: usize = 4096;

/// A Docker engine as a plain value: images, containers and ports, without time.
///
/// Order of calls: set it up ([`add_image`](Self::add_image), …), then any mixture of
/// [`perform`](Self::perform), which is what a worker asks; of the test's controls, which are what
/// the world does to it; and of questions. Every operation takes place at once: whoever wants a
/// stop or a pull to last lets time pass before it performs it (see
/// [`takes`](Self::takes)), as [`FakeRuntime`](super::FakeRuntime) does.
///
/// Containers and history outlive any worker: make the engine outside of it.
#[derive(Clone, Debug)]
pub struct FakeEngine {
    info: EngineInfo,
    images: BTreeMap<String, FakeImage>,
    containers: BTreeMap<String, FakeContainer>,
    foreign_ports: BTreeSet<u16>,
    down: bool,
    outages: u64,
    faults: VecDeque<Fault>,
    lives: BTreeMap<TaskId, Lives>,
    happenings: VecDeque<Identity>,
    /// How many happenings were dropped from the front of `happenings`.
    happenings_dropped: u64,
}

/// An image that the engine has or could get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeImage {
    /// What its tag means in the registry by now; none of one that was made here.
    pub digest: Option<String>,
    /// What it ever meant there.
    pub pushed: BTreeSet<String>,
    /// What it means on the machine, once that has it.
    pub digest_here: Option<String>,
    /// What else of it the machine has, by digest.
    pub others_here: BTreeSet<String>,
    /// Whether the machine has it.
    pub here: bool,
    /// Where it came or would come from.
    pub place: ImagePlace,
    /// What its containers do.
    pub program: Program,
}

/// Where an image is. One that the engine was never told of is refused by the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagePlace {
    /// On the machine, and in a registry that answers at once.
    Present,
    /// In the registry: a pull takes this long.
    Pullable(Millis),
    /// In a registry that never answers: a pull lasts until its deadline.
    Hanging,
}

impl ImagePlace {
    /// How long a pull takes; `None` if it does not end.
    fn takes(self) -> Option<Millis> {
        match self {
            ImagePlace::Present => Some(Millis(0)),
            ImagePlace::Pullable(span) => Some(span),
            ImagePlace::Hanging => None,
        }
    }
}

impl FakeImage {
    /// Whether its registry is asked for it.
    fn is_asked_for(&self, reference: &str, pull: Pull) -> bool {
        pull == Pull::Always || (pull == Pull::Missing && !self.is_here(reference))
    }
    fn is_here(&self, reference: &str) -> bool {
        match reference.split_once('@') {
            Some((_, digest)) => self.digest_here.as_deref() == Some(digest) || self.others_here.contains(digest),
            None => self.here,
        }
    }
}

/// What the containers of an image do once started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// Run until told to stop.
    #[default]
    Run,
    /// Run until told to stop, and then end well, with code 0.
    Polite,
    /// Print `stubborn`, run, and ignore the stop signal: only the kill after the grace ends it.
    Stubborn,
    /// End at once with this code.
    Exit(i32),
    /// Take more memory than it may, at once.
    OutOfMemory,
    /// Print `line 1` to `line n`, then run.
    Print(u32),
    /// There is no such program in the image: the start is refused.
    BadEntrypoint,
}

/// A container of the fake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeContainer {
    /// What it was created from.
    pub spec: ContainerSpec,
    /// Read from its labels; `None` for a foreign one.
    pub identity: Option<Identity>,
    /// What it does.
    pub state: ContainerState,
    /// Somebody froze its process, which counts as running.
    pub paused: bool,
    /// Something ails it: it says no to every probe.
    pub sick: bool,
    /// How often it said yes to one.
    pub yes: u64,
    /// What it runs.
    pub program: Program,
    /// Which bytes of it, where a registry knows them.
    pub digest: Option<String>,
    /// What it wrote: (to standard error, the line without its end).
    pub lines: Vec<(bool, String)>,
}

/// What became of a task's containers over all time: the truth, whatever anyone believes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lives {
    /// How many containers were created for it.
    pub created: u32,
    /// How often one of them was started, by those who ask the engine.
    pub started: u32,
    /// How many were removed, by whom ever.
    pub removed: u32,
}

/// The kinds of [`Op`], to aim a [`Fault`] with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum OpName {
    List,
    Inspect,
    EnsureImage,
    Create,
    Start,
    Stop,
    Probe,
    Remove,
}

impl OpName {
    /// The kind of an operation.
    pub fn of(op: &Op) -> OpName {
        match op {
            Op::List(_) => OpName::List,
            Op::Inspect { .. } => OpName::Inspect,
            Op::EnsureImage { .. } => OpName::EnsureImage,
            Op::Create(_) => OpName::Create,
            Op::Start(_) => OpName::Start,
            Op::Stop { .. } => OpName::Stop,
            Op::Probe { .. } => OpName::Probe,
            Op::Remove(_) => OpName::Remove,
        }
    }
}

/// A trouble that the next operation of a kind meets, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which operations meet it.
    pub on: OpName,
    /// The operation takes place, and only its answer is replaced: a lost response.
    pub takes_place: bool,
    /// The answer.
    pub error: OpError,
}

impl Default for FakeEngine {
    /// An engine on a machine of 4 processors and 8 GiB.
    fn default() -> Self {
        let gib = 1 << 30;
        FakeEngine::new(Resources { cpu_millis: 4000, memory_bytes: 8 * gib })
    }
}

impl FakeEngine {
    /// An engine without images or containers, on a Linux machine of this size (amd64).
    pub fn new(capacity: Resources) -> FakeEngine {
        FakeEngine {
            info: EngineInfo {
                capacity,
                arch: "amd64".to_owned(),
                os: "linux".to_owned(),
                version: "a fake".to_owned(),
            },
            images: BTreeMap::new(),
            containers: BTreeMap::new(),
            foreign_ports: BTreeSet::new(),
            down: false,
            outages: 0,
            faults: VecDeque::new(),
            lives: BTreeMap::new(),
            happenings: VecDeque::new(),
            happenings_dropped: 0,
        }
    }

    // What a worker asks.

    /// Carries one operation out, at once, as [`Op`] describes each.
    pub fn perform(&mut self, op: &Op) -> OpResult {
        if self.down {
            return Err(self.gone());
        }
        let name = OpName::of(op);
        let fault = self.faults.iter().position(|fault| fault.on == name).and_then(|at| self.faults.remove(at));
        match fault {
            None => self.obey(op),
            Some(fault) => {
                if fault.takes_place {
                    // Whatever came of it, nobody hears it.
                    let _ = self.obey(op);
                }
                Err(fault.error)
            }
        }
    }

    /// What the engine says of its machine.
    ///
    /// # Errors
    /// [`OpErrorKind::Engine`] while it is down.
    pub fn info(&self) -> Result<EngineInfo, OpError> {
        if self.down { Err(self.gone()) } else { Ok(self.info.clone()) }
    }

    /// How long an operation takes by its nature, latencies apart: a pull, and a stop that is
    /// ignored. Let this much time pass, then perform it.
    pub fn takes(&self, op: &Op) -> Millis {
        match op {
            _ if self.down => Millis(0),
            Op::EnsureImage { image, pull, deadline } => match self.known(image) {
                Some(known) if known.is_asked_for(image, *pull) => {
                    known.place.takes().map_or(*deadline, |span| span.min(*deadline))
                }
                _ => Millis(0),
            },
            Op::Stop { name, grace } => match self.containers.get(name) {
                Some(it) if it.is_running() && it.program == Program::Stubborn && !it.is_killed_at_once() => *grace,
                _ => Millis(0),
            },
            // Nobody answers for a frozen process.
            Op::Probe { name, timeout, .. } => match self.containers.get(name) {
                Some(it) if it.paused => *timeout,
                _ => Millis(0),
            },
            _ => Millis(0),
        }
    }

    fn obey(&mut self, op: &Op) -> OpResult {
        match op {
            Op::List(owner) => Ok(OpOutput::Containers(self.list(*owner))),
            Op::Inspect { owner, name } => Ok(OpOutput::Container(self.inspect(*owner, name))),
            Op::EnsureImage { image, pull, deadline } => self.ensure_image(image, *pull, *deadline),
            Op::Create(spec) => self.create(spec),
            Op::Start(name) => self.start(name),
            Op::Stop { name, .. } => self.stop(name),
            Op::Probe { name, .. } => self.probe(name),
            Op::Remove(name) => self.remove(name),
        }
    }

    fn list(&self, owner: Owner) -> Vec<Container> {
        self.containers.iter().filter_map(|(name, it)| seen_by(owner, name, it)).collect()
    }

    fn inspect(&self, owner: Owner, name: &str) -> Option<Container> {
        seen_by(owner, name, self.containers.get(name)?)
    }

    fn ensure_image(&mut self, image: &str, pull: Pull, deadline: Millis) -> OpResult {
        let (is_known, name) = (self.known(image).is_some(), self.name_of(image));
        let Some(known) = self.images.get_mut(&name).filter(|_| is_known) else {
            return Err(op_error(OpErrorKind::Refused, format!("manifest for {image} not found: manifest unknown")));
        };
        if !known.is_asked_for(image, pull) && !known.is_here(image) {
            return Err(op_error(OpErrorKind::Refused, format!("{image} is not here, and is not to be pulled")));
        }
        if known.is_asked_for(image, pull) && known.place.takes().is_none_or(|span| span > deadline) {
            return Err(op_error(OpErrorKind::Timeout, format!("{image} was not pulled within {deadline}")));
        }
        if let Some((_, digest)) = image.split_once('@') {
            known.others_here.insert(digest.to_string());
            return Ok(OpOutput::Image(Some(digest.to_string())));
        }
        if known.is_asked_for(image, pull) {
            known.others_here.extend(known.digest_here.take());
            known.digest_here = known.digest.clone();
        }
        known.here = true;
        Ok(OpOutput::Image(known.digest_here.clone()))
    }

    /// The tag that a reference is or was of.
    fn name_of(&self, reference: &str) -> String {
        let Some((repo, digest)) = reference.split_once('@') else { return reference.to_owned() };
        let is_of = |(name, image): &(&String, &FakeImage)| repository(name) == repo && image.pushed.contains(digest);
        self.images.iter().find(is_of).map_or_else(|| reference.to_owned(), |(name, _)| name.clone())
    }

    fn known(&self, reference: &str) -> Option<&FakeImage> {
        self.images.get(&self.name_of(reference))
    }

    /// Somebody pushes other bytes under the same tag. Those from before can be had by their digest.
    pub fn push_again(&mut self, image: &str, digest: &str) {
        if let Some(known) = self.images.get_mut(image) {
            known.digest = Some(digest.to_string());
            known.pushed.insert(digest.to_string());
        }
    }

    fn create(&mut self, spec: &ContainerSpec) -> OpResult {
        let identity = identity_of(&spec.labels);
        if let Some(holder) = self.containers.get(&spec.name) {
            if identity.is_some() && holder.identity == identity {
                return Ok(OpOutput::Done);
            }
            let message = format!("the container name {} is already in use", spec.name);
            return Err(op_error(OpErrorKind::NameTaken, message));
        }
        let (program, digest) = match self.known(&spec.image) {
            Some(image) if image.is_here(&spec.image) => {
                let pinned = spec.image.split_once('@').map(|(_, digest)| digest.to_string());
                (image.program, pinned.or(image.digest_here.clone()))
            }
            _ => return Err(op_error(OpErrorKind::ImageMissing, format!("no such image: {}", spec.image))),
        };
        let memory = spec.resources.memory_bytes;
        if memory > 0 && memory < MEMORY_LIMIT_MIN_BYTES {
            return Err(op_error(OpErrorKind::Refused, "minimum memory limit allowed is 6MB"));
        }
        if let Some(identity) = identity {
            self.lives.entry(identity.task).or_default().created += 1;
        }
        let container = FakeContainer {
            paused: false,
            sick: false,
            yes: 0,
            spec: spec.clone(),
            identity,
            state: ContainerState::Created,
            program,
            digest,
            lines: Vec::new(),
        };
        self.containers.insert(spec.name.clone(), container);
        Ok(OpOutput::Done)
    }

    fn start(&mut self, name: &str) -> OpResult {
        let container = self.containers.get(name).ok_or_else(|| absent(name))?;
        if container.state != ContainerState::Created {
            return Ok(OpOutput::Done);
        }
        if container.program == Program::BadEntrypoint {
            return Err(op_error(OpErrorKind::Refused, "exec: no such file or directory"));
        }
        if let Some(port) = container.spec.ports.iter().map(|&(_, host)| host).find(|&port| self.port_in_use(port)) {
            return Err(op_error(OpErrorKind::PortTaken(Some(port)), format!("port {port} is already allocated")));
        }
        if let Some(identity) = container.identity {
            self.lives.entry(identity.task).or_default().started += 1;
        }
        let program = container.program;
        self.with(name, |container| container.state = ContainerState::Running);
        match program {
            Program::Exit(code) => self.end(name, code, false),
            Program::OutOfMemory => self.end(name, KILLED, true),
            Program::Print(lines) => self.with(name, |container| {
                container.lines.extend((1..=lines).map(|n| (false, format!("line {n}"))));
            }),
            Program::Stubborn => self.with(name, |container| container.lines.push((false, "stubborn".to_owned()))),
            Program::Run | Program::Polite | Program::BadEntrypoint => {}
        }
        Ok(OpOutput::Done)
    }

    fn stop(&mut self, name: &str) -> OpResult {
        let container = self.containers.get(name).ok_or_else(|| absent(name))?;
        let code = match container.program {
            _ if container.is_killed_at_once() => KILLED,
            Program::Stubborn => KILLED,
            Program::Polite => 0,
            _ => TERMINATED,
        };
        self.end(name, code, false);
        Ok(OpOutput::Done)
    }

    fn probe(&mut self, name: &str) -> OpResult {
        let container = self.containers.get_mut(name).ok_or_else(|| absent(name))?;
        if !container.is_running() {
            return Err(op_error(OpErrorKind::Refused, format!("container {name} does not run")));
        }
        if !container.is_well() {
            return Err(op_error(OpErrorKind::Unwell, "connection refused"));
        }
        container.yes += 1;
        Ok(OpOutput::Done)
    }

    fn remove(&mut self, name: &str) -> OpResult {
        if self.containers.get(name).is_some_and(|container| container.state == ContainerState::Running) {
            return Err(op_error(OpErrorKind::Refused, format!("you cannot remove the running container {name}")));
        }
        self.take_away(name);
        Ok(OpOutput::Done)
    }

    // Controls: what the world does. None of them minds whether the engine is down.

    /// Puts an image on the machine, or makes it available to it.
    pub fn add_image(&mut self, image: &str, place: ImagePlace, program: Program) {
        let (here, digest) = (place == ImagePlace::Present, None);
        let (pushed, others_here) = (BTreeSet::new(), BTreeSet::new());
        let known = FakeImage { digest, pushed, digest_here: None, others_here, here, place, program };
        self.images.insert(image.to_owned(), known);
    }
    /// Takes an image off the machine and out of the registry. Containers of it keep running.
    pub fn remove_image(&mut self, image: &str) {
        self.images.remove(image);
    }
    /// A container's process ends by itself. Nothing happens to one that does not run.
    ///
    /// # Panics
    /// If there is no such container, as do the controls below: the test meant another.
    pub fn exit(&mut self, name: &str, code: i32) {
        if self.containers.get(name).is_none_or(|container| !container.paused) {
            self.end(name, code, false);
        }
    }
    /// Somebody stops a container: its process is asked, and killed if it does not hear.
    pub fn stop_behind_our_back(&mut self, name: &str) {
        let stopped = self.stop(name);
        assert!(stopped.is_ok(), "no container {name}");
    }
    /// Somebody freezes a container's process. A stop and a kill thaw it.
    pub fn pause(&mut self, name: &str) {
        self.with(name, |container| container.paused = container.is_running());
    }
    /// Somebody thaws a frozen container.
    pub fn unpause(&mut self, name: &str) {
        self.with(name, |container| container.paused = false);
    }
    /// Something ails a container, so that it says no to every probe, or no longer does.
    pub fn make_sick(&mut self, name: &str, sick: bool) {
        self.with(name, |container| container.sick = sick);
    }
    /// The engine stops those of our containers that run, as Docker does without live-restore: when it
    /// is told to end, or when it returns after it was killed. Each process is asked first, so that some
    /// of them end well.
    pub fn stop_ours(&mut self) {
        let ours = self.containers().filter(|it| it.identity.is_some() && it.is_running());
        let names: Vec<String> = ours.map(|it| it.spec.name.clone()).collect();
        names.iter().for_each(|name| self.stop_behind_our_back(name));
    }
    /// Somebody kills a container's process.
    pub fn kill(&mut self, name: &str) {
        self.end(name, KILLED, false);
    }
    /// The kernel kills a container's process for want of memory.
    pub fn oom(&mut self, name: &str) {
        self.end(name, KILLED, true);
    }
    /// Somebody removes a container by force, running or not.
    pub fn remove_behind_our_back(&mut self, name: &str) {
        assert!(self.containers.contains_key(name), "no container {name}");
        self.take_away(name);
    }
    /// Somebody starts an ended container again, which Orbit never does: not counted as a start.
    pub fn restart_behind_our_back(&mut self, name: &str) {
        self.with(name, |container| container.state = ContainerState::Running);
        self.happened(name);
    }
    /// A container writes a line, to standard error or to standard output.
    pub fn write_line(&mut self, name: &str, stderr: bool, line: &str) {
        self.with(name, |container| container.lines.push((stderr, line.to_owned())));
    }
    /// The engine stops answering, or answers again. Its containers run on.
    pub fn engine_down(&mut self, down: bool) {
        self.outages += u64::from(down && !self.down);
        self.down = down;
    }
    /// The machine went down and is up again, with its engine: every container that ran has ended.
    pub fn reboot(&mut self) {
        self.outages += u64::from(!self.down);
        self.down = false;
        let running: Vec<String> =
            self.containers().filter(|it| it.is_running()).map(|it| it.spec.name.clone()).collect();
        for name in running {
            self.end(&name, MACHINE_LOST, false);
        }
    }
    /// The next operation of a kind fails. Several wait in line.
    pub fn fail_next(&mut self, fault: Fault) {
        self.faults.push_back(fault);
    }
    /// The next operation of a kind takes place, and its response is lost.
    pub fn lose_response(&mut self, on: OpName) {
        let error = op_error(OpErrorKind::Engine, "the connection broke before the response came");
        self.fail_next(Fault { on, takes_place: true, error });
    }
    /// Faults that were asked for and not met are forgotten.
    pub fn heal(&mut self) {
        self.faults.clear();
    }
    /// A process that is no container takes a port of the machine, or gives it back.
    pub fn hold_port(&mut self, port: u16, held: bool) {
        if held {
            self.foreign_ports.insert(port);
        } else {
            self.foreign_ports.remove(&port);
        }
    }
    /// A running container that is none of ours.
    pub fn add_foreign(&mut self, name: &str, ports: &[(u16, u16)]) {
        let spec = ContainerSpec {
            name: name.to_owned(),
            image: "foreign".to_owned(),
            command: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            resources: Resources::ZERO,
            pids_max: 0,
            stop_signal: None,
            ports: ports.to_vec(),
            labels: Vec::new(),
        };
        let (state, program) = (ContainerState::Running, Program::Run);
        self.containers.insert(
            name.to_owned(),
            FakeContainer {
                paused: false,
                sick: false,
                yes: 0,
                spec,
                identity: None,
                state,
                program,
                digest: None,
                lines: Vec::new(),
            },
        );
    }

    // Questions: the truth, whether the engine answers or not.

    /// All containers, by name, foreign and ended ones included.
    pub fn containers(&self) -> impl Iterator<Item = &FakeContainer> {
        self.containers.values()
    }
    /// A container by name.
    pub fn container(&self, name: &str) -> Option<&FakeContainer> {
        self.containers.get(name)
    }
    /// What became of each task's containers over all time, by task.
    pub fn lives(&self) -> impl Iterator<Item = (TaskId, Lives)> + '_ {
        self.lives.iter().map(|(task, lives)| (*task, *lives))
    }
    /// What became of one task's containers.
    pub fn lives_of(&self, task: TaskId) -> Lives {
        self.lives.get(&task).copied().unwrap_or_default()
    }
    /// Whether the engine is down.
    pub fn is_down(&self) -> bool {
        self.down
    }
    /// How often it went down: who was connected before the last time is not any more.
    pub fn outages(&self) -> u64 {
        self.outages
    }
    /// Whether an image is on the machine.
    pub fn has_image(&self, image: &str) -> bool {
        self.images.get(image).is_some_and(|image| image.here)
    }
    /// Whether a running container or a foreign process holds a port of the machine.
    pub fn port_in_use(&self, port: u16) -> bool {
        self.foreign_ports.contains(&port)
            || self.containers().any(|it| it.is_running() && it.spec.ports.iter().any(|&(_, host)| host == port))
    }

    /// How many things have happened to our containers so far: an end, a removal. The place from
    /// which to [follow](Self::happenings_since).
    pub fn happenings_count(&self) -> u64 {
        self.happenings_dropped + self.happenings.len() as u64
    }
    /// Whose containers something happened to, after the first `seen` happenings, each with its
    /// place among all. Only the newest few thousand are kept.
    pub fn happenings_since(&self, seen: u64) -> impl Iterator<Item = (u64, Identity)> + '_ {
        let skipped = seen.saturating_sub(self.happenings_dropped);
        let first = self.happenings_dropped + skipped;
        (first..).zip(self.happenings.iter().skip(skipped as usize).copied())
    }

    fn end(&mut self, name: &str, code: i32, out_of_memory: bool) {
        assert!(self.containers.contains_key(name), "no container {name}");
        if self.containers[name].state == ContainerState::Running {
            self.with(name, |container| {
                container.state = ContainerState::Exited { code, out_of_memory };
                container.paused = false;
            });
            self.happened(name);
        }
    }

    fn take_away(&mut self, name: &str) {
        self.happened(name);
        if let Some(identity) = self.containers.remove(name).and_then(|container| container.identity) {
            self.lives.entry(identity.task).or_default().removed += 1;
        }
    }

    fn happened(&mut self, name: &str) {
        let Some(identity) = self.containers.get(name).and_then(|container| container.identity) else { return };
        if self.happenings.len() == HAPPENINGS_MAX {
            self.happenings.pop_front();
            self.happenings_dropped += 1;
        }
        self.happenings.push_back(identity);
    }

    fn with(&mut self, name: &str, change: impl FnOnce(&mut FakeContainer)) {
        let container = self.containers.get_mut(name).unwrap_or_else(|| panic!("no container {name}"));
        change(container);
    }

    fn gone(&self) -> OpError {
        op_error(OpErrorKind::Engine, "the engine does not answer")
    }
}

impl FakeContainer {
    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        self.state == ContainerState::Running
    }
    /// Whether it says yes to a probe: nobody froze it, and nothing ails it.
    pub fn is_well(&self) -> bool {
        !self.paused && !self.sick
    }
    /// Its stop signal cannot be ignored.
    fn is_killed_at_once(&self) -> bool {
        self.spec.stop_signal.as_deref() == Some("SIGKILL")
    }
}

fn seen_by(owner: Owner, name: &str, container: &FakeContainer) -> Option<Container> {
    let identity = container.identity.filter(|identity| identity.owner == owner)?;
    Some(Container { name: name.to_owned(), task: identity.task, spec: identity.spec, state: container.state })
}

fn absent(name: &str) -> OpError {
    op_error(OpErrorKind::NotFound, format!("no such container: {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::model::{ClusterId, NodeUid};

    const TASK: TaskId = TaskId { epoch: 1, index: 1, ordinal: 0 };

    fn engine() -> FakeEngine {
        let mut engine = FakeEngine::default();
        engine.add_image("web", ImagePlace::Present, Program::Run);
        engine
    }

    fn spec(name: &str) -> ContainerSpec {
        let owner = Owner { cluster: ClusterId(1), node: NodeUid(2) };
        ContainerSpec {
            name: name.to_owned(),
            image: "web".to_owned(),
            command: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            resources: Resources { cpu_millis: 100, memory_bytes: 16 << 20 },
            pids_max: 64,
            stop_signal: None,
            ports: vec![(80, 20_000)],
            labels: Identity { owner, task: TASK, spec: 3 }.labels(),
        }
    }

    #[test]
    fn a_lost_response_leaves_its_effect_and_the_repetition_adds_none() {
        let mut engine = engine();
        let create = Op::Create(Box::new(spec("a")));
        engine.lose_response(OpName::Create);
        assert_eq!(engine.perform(&create).unwrap_err().kind, OpErrorKind::Engine);
        assert_eq!(engine.perform(&create), Ok(OpOutput::Done));
        let start = Op::Start("a".to_owned());
        engine.lose_response(OpName::Start);
        assert_eq!(engine.perform(&start).unwrap_err().kind, OpErrorKind::Engine);
        assert_eq!(engine.perform(&start), Ok(OpOutput::Done));
        assert_eq!(engine.lives_of(TASK), Lives { created: 1, started: 1, removed: 0 });
    }

    #[test]
    fn a_fault_without_effect_waits_for_its_kind_of_operation_and_strikes_once() {
        let mut engine = engine();
        let error = op_error(OpErrorKind::PortTaken(None), "taken");
        engine.fail_next(Fault { on: OpName::Start, takes_place: false, error: error.clone() });
        assert_eq!(engine.perform(&Op::Create(Box::new(spec("a")))), Ok(OpOutput::Done));
        assert_eq!(engine.perform(&Op::Start("a".to_owned())), Err(error));
        assert_eq!(engine.lives_of(TASK).started, 0);
        assert_eq!(engine.perform(&Op::Start("a".to_owned())), Ok(OpOutput::Done));
        assert_eq!(engine.lives_of(TASK).started, 1);
    }

    #[test]
    fn an_ended_container_gives_its_port_back_and_is_not_started_again() {
        let mut engine = engine();
        for name in ["a", "b"] {
            assert_eq!(engine.perform(&Op::Create(Box::new(spec(name)))), Ok(OpOutput::Done));
        }
        let start = |name: &str| Op::Start(name.to_owned());
        assert_eq!(engine.perform(&start("a")), Ok(OpOutput::Done));
        assert_eq!(engine.perform(&start("b")).unwrap_err().kind, OpErrorKind::PortTaken(Some(20_000)));
        engine.exit("a", 3);
        assert_eq!(engine.perform(&start("a")), Ok(OpOutput::Done));
        let ended = ContainerState::Exited { code: 3, out_of_memory: false };
        assert_eq!(engine.container("a").map(|it| it.state), Some(ended));
        assert_eq!(engine.perform(&start("b")), Ok(OpOutput::Done));
    }

    #[test]
    fn a_reboot_ends_what_ran_and_brings_the_engine_back() {
        let mut engine = engine();
        engine.add_foreign("other", &[]);
        assert_eq!(engine.perform(&Op::Create(Box::new(spec("a")))), Ok(OpOutput::Done));
        assert_eq!(engine.perform(&Op::Start("a".to_owned())), Ok(OpOutput::Done));
        let seen = engine.happenings_count();
        engine.engine_down(true);
        assert_eq!(engine.perform(&Op::Start("a".to_owned())).unwrap_err().kind, OpErrorKind::Engine);
        assert!(engine.container("a").is_some_and(FakeContainer::is_running));
        engine.reboot();
        assert_eq!(engine.containers().filter(|it| it.is_running()).count(), 0);
        assert_eq!(engine.happenings_since(seen).map(|(_, it)| it.task).collect::<Vec<_>>(), [TASK]);
        assert!(engine.info().is_ok());
    }

    #[test]
    fn a_pull_takes_its_time_and_never_more_than_the_deadline() {
        let mut engine = engine();
        let pull = |image: &str, deadline| Op::EnsureImage {
            image: image.to_owned(),
            pull: Pull::Missing,
            deadline: Millis(deadline),
        };
        engine.add_image("far", ImagePlace::Pullable(Millis(500)), Program::Run);
        engine.add_image("hung", ImagePlace::Hanging, Program::Run);
        assert_eq!(engine.takes(&pull("far", 100)), Millis(100));
        assert_eq!(engine.perform(&pull("far", 100)).unwrap_err().kind, OpErrorKind::Timeout);
        assert_eq!(engine.takes(&pull("far", 900)), Millis(500));
        assert_eq!(engine.perform(&pull("far", 900)), Ok(OpOutput::Image(None)));
        assert_eq!(engine.takes(&pull("far", 900)), Millis(0));
        let always = Op::EnsureImage { image: "far".to_owned(), pull: Pull::Always, deadline: Millis(900) };
        assert_eq!(engine.takes(&always), Millis(500), "the registry is asked again");
        assert_eq!(engine.perform(&pull("hung", 900)).unwrap_err().kind, OpErrorKind::Timeout);
        assert_eq!(engine.perform(&pull("nowhere", 900)).unwrap_err().kind, OpErrorKind::Refused);
    }

    #[test]
    fn only_the_newest_happenings_are_kept_and_their_count_goes_on() {
        let mut engine = engine();
        for _ in 0..HAPPENINGS_MAX + 5 {
            assert_eq!(engine.perform(&Op::Create(Box::new(spec("a")))), Ok(OpOutput::Done));
            assert_eq!(engine.perform(&Op::Remove("a".to_owned())), Ok(OpOutput::Done));
        }
        assert_eq!(engine.happenings_count(), HAPPENINGS_MAX as u64 + 5);
        assert_eq!(engine.happenings_since(0).count(), HAPPENINGS_MAX);
        assert_eq!(engine.happenings_since(engine.happenings_count() - 2).count(), 2);
    }
}

//! The engine as a value: what a worker asks of it, and the truth about it. What the world does to it is in `controls`.

mod controls;
#[cfg(test)]
mod tests;

use super::{
    container::{FakeContainer, Lives, Program},
    fault::Fault,
    image::FakeImage,
};
use crate::{EngineInfo, Identity, op_error, volume_gone};
use orbit_core::model::{Millis, Pull, Resources, TaskId, is_pinned, repository};
use orbit_core::worker::{
    ContainerSpec, ContainerState, EngineContainer, EngineVolume, ImageFound, Op, OpError, OpErrorKind, OpKind,
    OpOutput, OpResult, Owner, Published,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The least memory limit that Docker accepts, in bytes.
pub const MEMORY_LIMIT_MIN_BYTES: u64 = 6 << 20;
/// The exit code of a process that SIGKILL ended.
const KILLED: i32 = 128 + 9;
/// The exit code of a process that SIGTERM ended.
const TERMINATED: i32 = 128 + 15;
/// How many of the newest events are kept for those who follow them.
const EVENTS_MAX: usize = 4096;

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
    /// The IDs of those that nobody pulled through this engine.
    foreign_images: BTreeSet<String>,
    /// By ID.
    containers: BTreeMap<String, FakeContainer>,
    foreign_ports: BTreeSet<u16>,
    /// What was written to each volume: the tasks that did, in order.
    volumes: BTreeMap<String, Vec<TaskId>>,
    starts_nothing: bool,
    down: bool,
    outages: u64,
    faults: VecDeque<Fault>,
    lives: BTreeMap<TaskId, Lives>,
    events: VecDeque<Identity>,
    /// How many events were dropped from the front of `events`.
    events_dropped: u64,
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
                root_dir: None,
            },
            images: BTreeMap::new(),
            foreign_images: BTreeSet::new(),
            containers: BTreeMap::new(),
            foreign_ports: BTreeSet::new(),
            volumes: BTreeMap::new(),
            starts_nothing: false,
            down: false,
            outages: 0,
            faults: VecDeque::new(),
            lives: BTreeMap::new(),
            events: VecDeque::new(),
            events_dropped: 0,
        }
    }

    // What a worker asks.

    /// Carries one operation out, at once, as [`Op`] describes each.
    pub fn perform(&mut self, op: &Op) -> OpResult {
        if self.down {
            return Err(self.gone());
        }
        let name = OpKind::of(op);
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
            Op::Stop { name, grace } => match self.container(name) {
                Some(it) if it.is_running() && it.program == Program::Stubborn && !it.is_killed_at_once() => *grace,
                _ => Millis(0),
            },
            // Nobody answers for a frozen process.
            Op::Probe { name, timeout, .. } => match self.container(name) {
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
            Op::RemoveImage { image, id } => self.remove_reference(image, id),
            Op::Create(spec) => self.create(spec),
            Op::Start(name) => self.start(name),
            Op::Stop { name, .. } => self.stop(name),
            Op::Probe { name, .. } => self.probe(name),
            Op::Remove(name) => self.remove(name),
        }
    }

    fn list(&self, owner: Owner) -> Vec<EngineContainer> {
        self.containers.values().filter_map(|it| seen_by(owner, it)).collect()
    }

    fn inspect(&self, owner: Owner, name: &str) -> Option<EngineContainer> {
        seen_by(owner, self.container(name)?)
    }

    fn ensure_image(&mut self, image: &str, pull: Pull, deadline: Millis) -> OpResult {
        let (is_known, name) = (self.known(image).is_some(), self.name_of(image));
        let ids_before: BTreeSet<String> = self.images.values().flat_map(FakeImage::ids).collect();
        let Some(known) = self.images.get_mut(&name).filter(|_| is_known) else {
            return Err(op_error(OpErrorKind::Refused, format!("manifest for {image} not found: manifest unknown")));
        };
        if !known.is_asked_for(image, pull) && !known.is_here(image) {
            return Err(op_error(OpErrorKind::Refused, format!("{image} is not here, and is not to be pulled")));
        }
        if known.is_asked_for(image, pull) && known.place.takes().is_none_or(|span| span > deadline) {
            return Err(op_error(OpErrorKind::Timeout, format!("{image} was not pulled within {deadline}")));
        }
        let before = known.id_of(image);
        if let Some((_, digest)) = image.split_once('@') {
            known.digests_here.insert(digest.to_string());
        } else {
            if known.is_asked_for(image, pull) {
                known.digest_here = known.digest.clone();
                known.digests_here.extend(known.digest_here.clone());
            }
            known.here = true;
        }
        let id = known.id_of(image).expect("it is here by now");
        let digest = match image.split_once('@') {
            Some((_, digest)) => Some(digest.to_string()),
            None => known.digest_here.clone(),
        };
        let (was_pulled, was_new) = (before.as_ref() != Some(&id), !ids_before.contains(&id));
        Ok(OpOutput::Image(ImageFound { digest, was_pulled, was_new, id }))
    }

    fn remove_reference(&mut self, image: &str, id: &str) -> OpResult {
        let name = self.name_of(image);
        if self.image_id(image).as_deref() != Some(id) {
            return Ok(OpOutput::Done);
        }
        let is_tag = |(name, known): &(&String, &FakeImage)| known.here && known.id_of(name).as_deref() == Some(id);
        let tags = self.images.iter().filter(is_tag).count();
        if is_pinned(image) && tags > 0 {
            return Ok(OpOutput::Done);
        }
        // With another tag left, the image stays.
        if tags <= 1 && self.containers().any(|it| it.image_id == id) {
            return Err(op_error(OpErrorKind::Refused, format!("conflict: a container uses the image {image}")));
        }
        let known = self.images.get_mut(&name).expect("it has an ID");
        match image.split_once('@') {
            Some((_, digest)) => _ = known.digests_here.remove(digest),
            None => {
                known.here = false;
                // The last tag takes the digests of its image along.
                if let Some(digest) = known.digest_here.take() {
                    known.digests_here.remove(&digest);
                }
            }
        }
        Ok(OpOutput::Done)
    }

    /// Whether an image was on the machine from the beginning, and nobody asked for it to be pulled.
    pub fn is_foreign_image(&self, id: &str) -> bool {
        self.foreign_images.contains(id)
    }

    /// The ID of the image that a reference means here; none where it is not here.
    pub fn image_id(&self, reference: &str) -> Option<String> {
        self.known(reference)?.id_of(reference)
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

    fn create(&mut self, spec: &ContainerSpec) -> OpResult {
        let identity = Identity::of_spec(spec);
        if let Some(holder) = self.containers().find(|it| it.name == spec.name) {
            if identity.is_some() && holder.identity == identity {
                return Ok(OpOutput::Created(holder.id.clone()));
            }
            let message = format!("the container name {} is already in use", spec.name);
            return Err(op_error(OpErrorKind::NameTaken, message));
        }
        let image_id = self.image_id(&spec.image).unwrap_or_default();
        let (program, digest, health_check) = match self.known(&spec.image) {
            Some(image) if image.is_here(&spec.image) => {
                let pinned = spec.image.split_once('@').map(|(_, digest)| digest.to_string());
                (image.program, pinned.or(image.digest_here.clone()), image.health_check)
            }
            _ => return Err(op_error(OpErrorKind::ImageMissing, format!("no such image: {}", spec.image))),
        };
        if spec.limits.memory_bytes.is_some_and(|memory| memory < MEMORY_LIMIT_MIN_BYTES) {
            return Err(op_error(OpErrorKind::Refused, "minimum memory limit allowed is 6MB"));
        }
        let gone = |volume: &&EngineVolume| volume.is_made && !self.volumes.contains_key(&volume.name);
        if let Some(EngineVolume { volume, .. }) = spec.volumes.iter().find(gone) {
            return Err(volume_gone(volume));
        }
        for volume in &spec.volumes {
            self.volumes.entry(volume.name.clone()).or_default();
        }
        if program == Program::NoSuchDirectory {
            return Err(op_error(OpErrorKind::Unclear, "cannot mkdir: /web is not a directory"));
        }
        if let Some(identity) = identity {
            self.lives.entry(identity.task).or_default().created += 1;
        }
        let id = self.new_id(&spec.name);
        let container = FakeContainer {
            id: id.clone(),
            name: spec.name.clone(),
            copied: None,
            paused: false,
            unhealthy: false,
            health_check,
            yes: 0,
            spec: spec.clone(),
            identity,
            state: ContainerState::Created,
            program,
            digest,
            image_id,
            lines: Vec::new(),
        };
        self.containers.insert(id.clone(), container);
        Ok(OpOutput::Created(id))
    }

    /// An ID that no container has: a test that knows under which name something was created knows its ID.
    fn new_id(&self, name: &str) -> String {
        let again = (2..).map(|n| format!("{name}+{n}"));
        let mut ids = std::iter::once(name.to_owned()).chain(again);
        ids.find(|id| !self.containers.contains_key(id)).expect("there are numbers enough")
    }

    fn start(&mut self, name: &str) -> OpResult {
        let container = self.container(name).ok_or_else(|| absent(name))?;
        if container.state != ContainerState::Created {
            return Ok(OpOutput::Done);
        }
        if self.starts_nothing {
            return Err(op_error(OpErrorKind::Refused, "failed to create endpoint: network bridge not found"));
        }
        if container.program == Program::BadEntrypoint {
            return Err(op_error(OpErrorKind::Refused, "exec: no such file or directory"));
        }
        if container.program == Program::NoSuchUser {
            return Err(op_error(
                OpErrorKind::Unclear,
                "unable to find user nosuch: no matching entries in passwd file",
            ));
        }
        if let Some(port) = container.spec.ports.iter().find(|port| self.is_held(port)).map(|port| port.host) {
            return Err(op_error(OpErrorKind::PortTaken(Some(port)), format!("port {port} is already allocated")));
        }
        let (identity, program) = (container.identity, container.program);
        if let Some(identity) = identity {
            self.lives.entry(identity.task).or_default().started += 1;
        }
        self.with(name, |container| container.state = ContainerState::Running);
        self.write_to_volumes(name);
        match program {
            Program::Exit(code) => self.end(name, code, false),
            Program::OutOfMemory => self.end(name, KILLED, true),
            Program::Print(lines) => self.with(name, |container| {
                container.lines.extend((1..=lines).map(|n| (false, format!("line {n}"))));
            }),
            Program::Stubborn => self.with(name, |container| container.lines.push((false, "stubborn".to_owned()))),
            Program::Run | Program::Polite => {}
            Program::BadEntrypoint | Program::NoSuchUser | Program::NoSuchDirectory => {}
        }
        Ok(OpOutput::Done)
    }

    /// What begins to run writes down that it does, wherever it may.
    fn write_to_volumes(&mut self, name: &str) {
        let Some(container) = self.container(name) else { return };
        let Some(Identity { task, .. }) = container.identity else { return };
        let writable: BTreeSet<String> =
            container.spec.volumes.iter().filter(|it| !it.read_only).map(|it| it.name.clone()).collect();
        for volume in writable {
            self.volumes.entry(volume).or_default().push(task);
        }
    }

    fn stop(&mut self, name: &str) -> OpResult {
        let container = self.container(name).ok_or_else(|| absent(name))?;
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
        let id = self.id_of(name).ok_or_else(|| absent(name))?;
        let container = self.containers.get_mut(&id).expect("its ID was just found");
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
        if self.container(name).is_some_and(|container| container.state == ContainerState::Running) {
            return Err(op_error(OpErrorKind::Refused, format!("you cannot remove the running container {name}")));
        }
        self.take_away(name);
        Ok(OpOutput::Done)
    }

    // Questions: the truth, whether the engine answers or not.

    /// All containers, by name, foreign and ended ones included.
    pub fn containers(&self) -> impl Iterator<Item = &FakeContainer> {
        self.containers.values()
    }
    /// A container by its ID or its name.
    pub fn container(&self, name: &str) -> Option<&FakeContainer> {
        self.containers.get(name).or_else(|| self.containers().find(|it| it.name == name))
    }
    /// What became of each task's containers over all time, by task.
    pub fn lives(&self) -> impl Iterator<Item = (TaskId, Lives)> + '_ {
        self.lives.iter().map(|(task, lives)| (*task, *lives))
    }
    /// What became of one task's containers.
    pub fn lives_of(&self, task: TaskId) -> Lives {
        self.lives.get(&task).copied().unwrap_or_default()
    }
    /// The volumes, by name, and which tasks wrote to each, in order.
    pub fn volumes(&self) -> &BTreeMap<String, Vec<TaskId>> {
        &self.volumes
    }
    /// Whether the engine is down.
    pub fn is_down(&self) -> bool {
        self.down
    }
    /// How often it went down: who was connected before the last time is not any more.
    pub fn outages(&self) -> u64 {
        self.outages
    }
    /// Whether the machine has what a reference asks for: a tag, or the bytes of a digest.
    pub fn holds(&self, reference: &str) -> bool {
        self.known(reference).is_some_and(|image| image.is_here(reference))
    }
    /// Whether a running container or a foreign process holds a port of the machine.
    pub fn port_in_use(&self, port: u16) -> bool {
        self.foreign_ports.contains(&port) || self.published().any(|it| it.host == port)
    }
    /// What running containers have published.
    fn published(&self) -> impl Iterator<Item = &Published> {
        self.containers().filter(|it| it.is_running()).flat_map(|it| &it.spec.ports)
    }
    /// Whether somebody has what a container wants to publish. The sockets of strangers are TCP's.
    fn is_held(&self, wanted: &Published) -> bool {
        let by_stranger = wanted.protocol.has_tcp() && self.foreign_ports.contains(&wanted.host);
        by_stranger || self.published().any(|it| it.host == wanted.host && it.protocol.overlaps(wanted.protocol))
    }

    /// How many things have happened to our containers so far: an end, a removal. The place from
    /// which to [follow](Self::events_since).
    pub fn events_count(&self) -> u64 {
        self.events_dropped + self.events.len() as u64
    }
    /// Whose containers something happened to, after the first `seen` events, each with its
    /// place among all. Only the newest few thousand are kept.
    pub fn events_since(&self, seen: u64) -> impl Iterator<Item = (u64, Identity)> + '_ {
        let skipped = seen.saturating_sub(self.events_dropped);
        let first = self.events_dropped + skipped;
        (first..).zip(self.events.iter().skip(skipped as usize).copied())
    }

    fn end(&mut self, name: &str, code: i32, out_of_memory: bool) {
        let container = self.container(name).unwrap_or_else(|| panic!("no container {name}"));
        if container.state == ContainerState::Running {
            self.with(name, |container| {
                container.state = ContainerState::Exited { code, out_of_memory };
                container.paused = false;
            });
            self.happened(name);
        }
    }

    fn take_away(&mut self, name: &str) {
        self.happened(name);
        let taken = self.id_of(name).and_then(|id| self.containers.remove(&id));
        if let Some(identity) = taken.and_then(|container| container.identity) {
            self.lives.entry(identity.task).or_default().removed += 1;
        }
    }

    fn happened(&mut self, name: &str) {
        let Some(identity) = self.container(name).and_then(|it| it.identity.or(it.copied)) else { return };
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
            self.events_dropped += 1;
        }
        self.events.push_back(identity);
    }

    fn with(&mut self, name: &str, change: impl FnOnce(&mut FakeContainer)) {
        let id = self.id_of(name).unwrap_or_else(|| panic!("no container {name}"));
        change(self.containers.get_mut(&id).expect("its ID was just found"));
    }

    fn id_of(&self, name: &str) -> Option<String> {
        self.container(name).map(|container| container.id.clone())
    }

    fn gone(&self) -> OpError {
        op_error(OpErrorKind::Engine, "the engine does not answer")
    }
}

fn seen_by(owner: Owner, container: &FakeContainer) -> Option<EngineContainer> {
    let identity = container.identity.or(container.copied).filter(|identity| identity.owner == owner)?;
    let (id, name, state) = (container.id.clone(), container.name.clone(), container.state);
    let image_health = container.image_health();
    Some(EngineContainer { id, name, task: identity.task, spec: identity.spec, state, image_health })
}

fn absent(name: &str) -> OpError {
    op_error(OpErrorKind::NotFound, format!("no such container: {name}"))
}

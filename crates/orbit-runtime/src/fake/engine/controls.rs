//! What the world does to the engine. None of it minds whether the engine is down.

use super::{FakeEngine, KILLED};
use crate::{
    fake::{
        container::{FakeContainer, Program},
        fault::Fault,
        image::{FakeImage, ImagePlace},
    },
    op_error,
};
use orbit_core::{
    model::{Limits, Resources, Setup},
    worker::{ContainerSpec, ContainerState, OpErrorKind, OpKind, Published},
};
use std::collections::BTreeSet;

/// What Docker notes for a container that was running when its machine went down.
const MACHINE_LOST: i32 = 255;

impl FakeEngine {
    /// Somebody pushes other bytes under the same tag. Those from before can be had by their digest.
    pub fn push_again(&mut self, image: &str, digest: &str) {
        if let Some(known) = self.images.get_mut(image) {
            known.digest = Some(digest.to_string());
            known.pushed.insert(digest.to_string());
        }
    }
    /// Puts an image on the machine, or makes it available to it.
    pub fn add_image(&mut self, image: &str, place: ImagePlace, program: Program) {
        let (here, digest) = (place == ImagePlace::Present, None);
        let (pushed, digests_here) = (BTreeSet::new(), BTreeSet::new());
        let (health_check, builds) = (false, 0);
        let known = FakeImage {
            content: image.to_owned(),
            digest,
            pushed,
            digest_here: None,
            digests_here,
            builds,
            here,
            place,
            program,
            health_check,
        };
        self.images.insert(image.to_owned(), known);
        self.foreign_images.extend(self.image_id(image));
    }
    /// Somebody gives an image another tag.
    pub fn tag(&mut self, image: &str, new: &str) {
        if let Some(known) = self.images.get(image).cloned() {
            self.images.insert(new.to_owned(), known);
        }
    }
    /// Somebody builds an image again on the machine, under the same tag. Where that came from a registry, nothing happens.
    pub fn build_again(&mut self, image: &str) {
        if let Some(known) = self.images.get_mut(image).filter(|known| known.here && known.digest_here.is_none()) {
            known.builds += 1;
        }
        self.foreign_images.extend(self.image_id(image));
    }
    /// An image brings a health check of its own.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn add_health_check(&mut self, image: &str) {
        self.images.get_mut(image).expect("an image that was added").health_check = true;
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
        if self.container(name).is_none_or(|container| !container.paused) {
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
    pub fn make_unhealthy(&mut self, name: &str, unhealthy: bool) {
        let mut is_told = false;
        self.with(name, |container| {
            let before = container.image_health();
            container.unhealthy = unhealthy;
            is_told = container.image_health() != before;
        });
        if is_told {
            self.happened(name);
        }
    }
    /// The engine stops those of our containers that run, as Docker does without live-restore: when it
    /// is told to end, or when it returns after it was killed. Each process is asked first, so that some
    /// of them end well.
    pub fn stop_ours(&mut self) {
        let ours = self.containers().filter(|it| it.identity.is_some() && it.is_running());
        let ids: Vec<String> = ours.map(|it| it.id.clone()).collect();
        ids.iter().for_each(|name| self.stop_behind_our_back(name));
    }
    /// Somebody removes the volumes that no container has. Returns how many there were.
    pub fn prune_volumes(&mut self) -> usize {
        let mounted = self.containers().flat_map(|it| &it.spec.volumes).map(|volume| volume.name.clone());
        let mounted: BTreeSet<String> = mounted.collect();
        let before = self.volumes.len();
        self.volumes.retain(|name, _| mounted.contains(name));
        before - self.volumes.len()
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
        assert!(self.container(name).is_some(), "no container {name}");
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
        let running: Vec<String> = self.containers().filter(|it| it.is_running()).map(|it| it.id.clone()).collect();
        for name in running {
            self.end(&name, MACHINE_LOST, false);
        }
    }
    /// The next operation of a kind fails. Several wait in line.
    pub fn fail_next(&mut self, fault: Fault) {
        self.faults.push_back(fault);
    }
    /// The next operation of a kind takes place, and its response is lost.
    pub fn lose_response(&mut self, on: OpKind) {
        let error = op_error(OpErrorKind::Engine, "the connection broke before the response came");
        self.fail_next(Fault { on, takes_place: true, error });
    }
    /// Faults that were asked for and not met are forgotten.
    pub fn heal(&mut self) {
        self.faults.clear();
    }
    /// No container can be started any more, or again: the machine's network is gone, say. What runs goes on.
    pub fn starts_nothing(&mut self, starts_nothing: bool) {
        self.starts_nothing = starts_nothing;
    }
    /// A process that is no container takes a port of the machine, or gives it back.
    pub fn hold_port(&mut self, port: u16, held: bool) {
        if held {
            self.foreign_ports.insert(port);
        } else {
            self.foreign_ports.remove(&port);
        }
    }
    /// Somebody gives a container another name.
    pub fn rename(&mut self, name: &str, new: &str) {
        self.with(name, |container| container.name = new.to_owned());
        self.happened(name);
    }
    /// Somebody makes an image of one of our containers, and runs that: it carries our labels, and is not ours.
    pub fn copy(&mut self, name: &str, new: &str) {
        let Some(original) = self.container(name) else { panic!("no container {name}") };
        let (copied, id) = (original.identity, self.new_id(new));
        // Which ports a container has published is not in its image, nor are its volumes.
        let spec = ContainerSpec { ports: Vec::new(), volumes: Vec::new(), ..original.spec.clone() };
        let container = FakeContainer {
            id: id.clone(),
            name: new.to_owned(),
            identity: None,
            copied,
            spec,
            state: ContainerState::Running,
            ..original.clone()
        };
        self.containers.insert(id, container);
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
            limits: Limits::default(),
            pids_max: 0,
            stop_signal: None,
            ports: ports.iter().map(|&(container, host)| Published::tcp(container, host)).collect(),
            setup: Setup::default(),
            volumes: Vec::new(),
            labels: Vec::new(),
        };
        let (state, program) = (ContainerState::Running, Program::Run);
        self.containers.insert(
            name.to_owned(),
            FakeContainer {
                id: name.to_owned(),
                name: name.to_owned(),
                copied: None,
                paused: false,
                unhealthy: false,
                health_check: false,
                yes: 0,
                spec,
                identity: None,
                state,
                program,
                digest: None,
                image_id: String::new(),
                lines: Vec::new(),
            },
        );
    }
}

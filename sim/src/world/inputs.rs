//! What comes from outside.

use super::*;
use crate::{
    client::News,
    input::{Ask, Harm},
};

impl World {
    pub(super) fn wreak(&mut self) -> Lived {
        if self.calm {
            return Ok(());
        }
        let pause = self.chaos.pause();
        self.after(pause, WorldEvent::Chaos);
        for (ms, input) in self.chaos.wreak(&self.options) {
            match ms {
                0 => self.input(input)?,
                ms => self.after(ms, WorldEvent::Input(Box::new(input))),
            }
        }
        Ok(())
    }

    pub(super) fn client_draws(&mut self) -> Lived {
        if self.calm {
            return Ok(());
        }
        let pause = self.users.between(100, self.options.asks_ms_max);
        self.after(pause, WorldEvent::ClientDraws);
        let bad = self.options.bad_images.then_some(IMAGES_BAD).into_iter().flatten();
        let images: Vec<&str> = IMAGES_GOOD.into_iter().chain(bad).collect();
        let (names, workers) = (self.options.names, self.workers.len());
        match self.client.draw(&mut self.users, names, &images, workers) {
            // Somebody whose manager is down waits until it is back.
            Some(ask) if self.managers[ONLY].machine.is_some() => self.input(Input::Ask(ask)),
            _ => Ok(()),
        }
    }

    /// Takes in one input, and writes it down.
    pub(super) fn input(&mut self, input: Input) -> Lived {
        if self.calm {
            return Ok(());
        }
        self.hash(|hash| hash.write(format!("{input:?}").as_bytes()));
        self.chaos.record.push(Step { at: self.now, skip: 0, input: input.clone() });
        let somebody = |worker: &usize| *worker < self.workers.len();
        let victim = match &input {
            Input::WorkerCrash { worker, .. }
            | Input::Lost { worker }
            | Input::WorkerPause { worker, .. }
            | Input::Cut { worker, .. }
            | Input::Stall { worker, .. }
            | Input::EngineDown { worker, .. }
            | Input::HintsBreak { worker }
            | Input::Container { worker, .. }
            | Input::Prune { worker, .. }
            | Input::PruneVolumes { worker }
            | Input::BuildAgain { worker }
            | Input::Twin { worker, .. }
            | Input::HoldPort { worker, .. }
            | Input::StartsNothing { worker, .. }
            | Input::WorkerDiskFull { worker, .. }
            | Input::Allow { worker, .. } => somebody(worker),
            _ => true,
        };
        if !victim {
            return Ok(());
        }
        match input {
            Input::Ask(ask) => self.ask(&ask),
            Input::Expect { name, running } => self.expect(&name, running)?,
            Input::ExpectDrained { worker, drained } => {
                let cluster = self.managers[ONLY].machine.as_ref().map(|machine| machine.cluster());
                let node = cluster.and_then(|cluster| Some((cluster, cluster.node_named(&node_name(worker))?)));
                if node.is_some_and(|(cluster, node)| cluster.is_drained(node.id) != drained) {
                    return Err(("expected", format!("worker {worker} drained: {drained}")));
                }
            }
            Input::ManagerCrash { down_ms, durable } => {
                if self.managers[ONLY].machine.is_some() {
                    self.tally_fault(&input);
                    self.manager_crash(down_ms, durable);
                }
            }
            Input::ManagerPause { .. } if self.managers[ONLY].machine.is_none() => {}
            Input::ManagerPause { ms } => {
                self.tally_fault(&input);
                let Timing { lease, heartbeat, .. } = Timing::default();
                if ms > lease.0 {
                    self.report.tally.reach(Situation::PausedBeyondLease);
                }
                self.managers[ONLY].paused_until = self.managers[ONLY].paused_until.max(self.now + ms);
                // It has something to do once in a lease, and notices that it does that late by more
                // than a heartbeat. A shorter pause cannot be told from a busy machine.
                if ms > lease.0 + heartbeat.0 {
                    self.plans.awake_since = self.managers[ONLY].paused_until;
                }
            }
            Input::WallJump { ms } => {
                self.tally_fault(&input);
                self.managers[ONLY].wall_offset += ms;
            }
            Input::DiskFull { ms } => {
                self.tally_fault(&input);
                self.disk_full_until = self.disk_full_until.max(self.now + ms);
            }
            Input::WorkerCrash { worker, reboot, down_ms } => {
                if self.workers[worker].machine.is_some() {
                    self.tally_fault(&input);
                    if self.network.is_cut(worker) && !reboot {
                        self.report.tally.reach(Situation::RestartedAlone);
                    }
                    self.worker_crash(worker, reboot, down_ms);
                }
            }
            Input::Lost { worker } => {
                self.tally_fault(&input);
                self.worker_crash(worker, true, 0);
                let host = &mut self.workers[worker];
                host.is_lost = true;
                host.engine.reboot();
                host.reboots += 1;
            }
            Input::WorkerPause { worker, .. } if self.workers[worker].machine.is_none() => {}
            Input::WorkerPause { worker, ms } => {
                self.tally_fault(&input);
                if ms > Timing::default().lease.0 {
                    self.report.tally.reach(Situation::WorkerPausedBeyondLease);
                }
                let until = &mut self.workers[worker].paused_until;
                *until = (*until).max(self.now + ms);
                self.workers[worker].shake(self.now + ms);
            }
            Input::Cut { worker, up, down } => {
                if !self.network.is_cut(worker) {
                    self.tally_fault(&input);
                }
                self.network.cut_up.extend(up.then_some(worker));
                self.network.cut_down.extend(down.then_some(worker));
                if (0..self.workers.len()).all(|worker| self.network.is_cut(worker)) {
                    self.report.tally.reach(Situation::AllCutOff);
                }
            }
            Input::Mend { worker } => {
                self.network.cut_up.remove(&worker);
                self.network.cut_down.remove(&worker);
                self.network.whole_since = self.now;
            }
            Input::Stall { worker, up, down, ms } => {
                self.tally_fault(&input);
                [(up, true), (down, false)].into_iter().filter(|(held, _)| *held).for_each(|(_, up)| {
                    self.network.stall(worker, up, self.now + ms);
                });
            }
            Input::EngineDown { worker, .. } if self.workers[worker].engine.is_down() => {}
            Input::EngineDown { worker, ms, live_restore, killed } => {
                self.tally_fault(&input);
                match (live_restore, killed) {
                    (true, _) => {}
                    (false, false) => self.end_containers(worker),
                    (false, true) => self.workers[worker].stops_at_return = true,
                }
                self.workers[worker].engine.engine_down(true);
                self.workers[worker].shake(self.now + ms + 2000);
                self.after(ms, WorldEvent::EngineUp { worker });
            }
            Input::HintsBreak { worker } => {
                self.tally_fault(&input);
                let life = self.workers[worker].life;
                self.after(0, WorldEvent::EngineHintsLost { worker, life });
            }
            Input::Container { worker, nth, harm } => self.harm(worker, nth, harm, &input)?,
            Input::Prune { worker, told } => self.prune(worker, told, &input)?,
            Input::PruneVolumes { worker } => self.prune_volumes(worker, &input),
            Input::PushAgain => {
                self.tally_fault(&input);
                self.pushes += 1;
                let digest = digest_nth(self.pushes);
                self.workers.iter_mut().for_each(|host| host.engine.push_again("web:2", &digest));
            }
            Input::BuildAgain { worker } => {
                self.tally_fault(&input);
                self.workers[worker].engine.build_again("web:1");
            }
            Input::HoldPort { worker, port, ms } => {
                self.tally_fault(&input);
                self.workers[worker].engine.hold_port(port, true);
                self.after(ms, WorldEvent::PortFree { worker, port });
            }
            Input::StartsNothing { worker, ms } => {
                self.tally_fault(&input);
                self.workers[worker].engine.starts_nothing(true);
                self.after(ms, WorldEvent::StartsAgain { worker });
            }
            Input::WorkerDiskFull { worker, ms } => {
                self.tally_fault(&input);
                let host = &mut self.workers[worker];
                host.disk_full_until = host.disk_full_until.max(self.now + ms);
                self.look_at_disk(worker, 0);
                self.look_at_disk(worker, ms);
            }
            Input::Allow { worker, more, down_ms } => {
                self.tally_fault(&input);
                self.workers[worker].allow(more);
                if self.workers[worker].machine.is_some() {
                    self.worker_crash(worker, false, down_ms);
                }
            }
            Input::Twin { worker, copied, ms } => self.twin(worker, copied, ms, &input),
            Input::Strike { .. } => unreachable!("strikes are filed by what they hit"),
        }
        Ok(())
    }

    /// A second worker dials as the first would, and says what a worker says first. Whatever it is told to
    /// run, it does not: its machine is gone before that. So a name that is free is left to its owner.
    fn twin(&mut self, worker: usize, copied: bool, ms: u64, input: &Input) {
        let cluster = self.managers[ONLY].machine.as_ref().map(|machine| machine.cluster());
        let is_held = cluster.is_some_and(|cluster| cluster.node_named(&node_name(worker)).is_some());
        // A copy of a machine that is gone for good would have it heard again, and fall silent together with
        // another: a mass loss, which only an operator ends.
        if !is_held || self.network.is_cut(worker) || self.workers[worker].is_lost {
            return;
        }
        self.tally_fault(input);
        self.twins += 1;
        let hello = self.workers[worker].hello_of_twin(copied, self.twins);
        let link = LinkId(self.twins);
        let session = self.network.dial_aside(Connection { worker, life: if copied { COPY } else { TWIN }, link });
        let delay = self.network.delay() + 1;
        self.after(delay, WorldEvent::ManagerHears { session, message: ToManager::Register(hello) });
        self.after(delay + ms, WorldEvent::TwinGoes { session });
    }

    /// Whether this is a second worker of a name that is free, or will be: an operator has said that the
    /// first one is gone for good. It would be let in, and rightly.
    pub(super) fn may_be_free(&self, session: SessionId) -> bool {
        let Some(twin) = self.network.open.get(&session).filter(|twin| twin.life == TWIN) else { return false };
        let cluster = self.managers[ONLY].machine.as_ref().map(|machine| machine.cluster());
        let is_held = cluster.is_some_and(|cluster| cluster.node_named(&node_name(twin.worker)).is_some());
        !is_held || self.client.is_forgetting()
    }

    /// What a second worker is told: one of the same name is never let in, one with a copied state
    /// directory only where the original is silent (I20).
    pub(super) fn twin_is_told(&mut self, life: u32, message: &ToWorker) -> Lived {
        match (life, message) {
            (TWIN, ToWorker::Refused { .. }) => self.report.tally.reach(Situation::TwinRefused),
            (TWIN, ToWorker::Welcome(welcome)) => {
                return Err(("I20", format!("a second worker was let in as {}", welcome.node)));
            }
            (_, ToWorker::Refused { .. }) => self.report.tally.reach(Situation::CopyRefused),
            (_, ToWorker::Welcome(_)) => self.report.tally.reach(Situation::CopyTookOver),
            _ => {}
        }
        Ok(())
    }

    /// A user asks; in a run with a crash point, only once those before him have been answered.
    fn ask(&mut self, ask: &Ask) {
        let patient = self.crash.is_some();
        let waits = |machine: &&manager::Manager| patient && (self.client.is_waiting() || !machine.is_ready());
        let Some(machine) = self.managers[ONLY].machine.as_ref().filter(|machine| !waits(machine)) else {
            if patient {
                self.unanswered.push_back(ask.clone());
                self.after(100, WorldEvent::AskAgain);
            }
            return;
        };
        let tasks: Vec<TaskId> = machine.cluster().tasks().filter(|task| task.is_live()).map(|task| task.id).collect();
        if let Some((id, request)) = self.client.ask(ask, &tasks, node_name) {
            self.after(1, WorldEvent::ManagerAsked { life: self.managers[ONLY].life, id, request });
        }
    }

    /// Whoever had no answer asks again. (A drawn user decides that by himself.)
    pub(super) fn ask_again(&mut self) {
        if self.managers[ONLY].machine.as_ref().is_some_and(|machine| machine.is_ready())
            && !self.client.is_waiting()
            && let Some(ask) = self.unanswered.pop_front()
        {
            self.ask(&ask);
        }
        if !self.unanswered.is_empty() {
            self.after(100, WorldEvent::AskAgain);
        }
    }

    fn expect(&self, name: &str, expected: usize) -> Lived {
        let containers = self.workers.iter().flat_map(|worker| worker.engine.containers());
        let of_it = containers.filter(|container| {
            let task = container.identity.map(|identity| identity.task);
            container.is_running() && task.and_then(|task| self.names.get(&task)).is_some_and(|it| it == name)
        });
        match of_it.count() {
            running if running == expected => Ok(()),
            running => Err(("expected", format!("{expected} containers of {name}, and {running} run"))),
        }
    }

    /// What a user was told.
    pub(super) fn hear(&mut self, news: Option<News>) {
        self.report.tally.reach(match news {
            None => return,
            Some(News::Repeated) => Situation::KeyRepeated,
            Some(News::StaleRefused) => Situation::StaleConditionRefused,
            Some(News::FreshAccepted) => Situation::FreshConditionAccepted,
            Some(News::Forgotten) => {
                self.forgotten += 1;
                Situation::NodeForgotten
            }
            Some(News::FenceRefused) => Situation::FenceRefused,
            Some(News::VolumeRemoved) => Situation::VolumeRemoved,
            Some(News::ForgetWaits) => Situation::ForgetWaits,
        });
    }

    /// The engine goes down with its containers, as Docker does without live-restore.
    pub(super) fn end_containers(&mut self, worker: usize) {
        let host = &mut self.workers[worker];
        host.engine.stop_ours();
        host.followed = host.engine.events_count();
    }

    fn harm(&mut self, worker: usize, nth: usize, harm: Harm, input: &Input) -> Lived {
        let WorkerHost { engine, ledger, .. } = &mut self.workers[worker];
        let ours = engine.containers().filter(|c| c.identity.is_some());
        // A container that was never heard of is known by its name alone.
        let is_known = |c: &FakeContainer| {
            c.identity.is_some_and(|it| ledger.tasks.get(&it.task).is_some_and(|task| task.container.is_some()))
        };
        let fits = ours.filter(|c| match harm {
            Harm::Exit(_) | Harm::Kill | Harm::OutOfMemory | Harm::Stop | Harm::Pause => c.is_running(),
            Harm::Sicken | Harm::SickenAll => c.is_running() && !c.unhealthy,
            Harm::Cure => c.is_running() && c.unhealthy,
            Harm::Start => matches!(c.state, worker::ContainerState::Exited { .. }),
            Harm::Remove => true,
            Harm::Rename => is_known(c),
            Harm::Copy => c.is_running() && is_known(c),
        });
        let names: Vec<String> = fits.map(|c| c.id.clone()).collect();
        let Some(name) = names.get(nth % names.len().max(1)) else { return Ok(()) };
        let task = engine.container(name).and_then(|it| it.identity).map(|identity| identity.task);
        if harm == Harm::Start {
            self.excused.extend(task);
        }
        if let Harm::Start | Harm::Pause = harm {
            self.fences.excuse(task);
        }
        match harm {
            Harm::Exit(code) => engine.exit(name, code),
            Harm::Kill => engine.kill(name),
            Harm::OutOfMemory => engine.oom(name),
            Harm::Remove => engine.remove_behind_our_back(name),
            Harm::Start => engine.restart_behind_our_back(name),
            Harm::Stop => engine.stop_behind_our_back(name),
            Harm::Pause => engine.pause(name),
            Harm::Sicken => engine.make_unhealthy(name, true),
            Harm::SickenAll => self.make_all_unhealthy(&name.clone()),
            Harm::Cure => engine.make_unhealthy(name, false),
            Harm::Rename => engine.rename(name, &format!("renamed-{}", self.renamed)),
            Harm::Copy => engine.copy(name, &format!("copy-{}", self.copied)),
        }
        self.renamed += u64::from(harm == Harm::Rename);
        self.copied += u64::from(harm == Harm::Copy);
        self.tally_fault(input);
        self.tell_hints(worker);
        self.volumes.look(worker, &self.workers[worker].engine)?;
        self.homes.look(worker, &self.workers[worker].engine)
    }

    fn make_all_unhealthy(&mut self, name: &str) {
        let task = |c: &FakeContainer| c.identity.map(|identity| identity.task);
        let of_name = self.workers.iter().find_map(|worker| worker.engine.container(name)).and_then(task);
        let object = of_name.and_then(|task| self.names.get(&task));
        for worker in &mut self.workers {
            let ours = worker.engine.containers().filter(|c| c.is_running());
            let ours = ours.filter(|c| task(c).and_then(|task| self.names.get(&task)) == object && object.is_some());
            let ours: Vec<String> = ours.map(|c| c.id.clone()).collect();
            ours.iter().for_each(|name| worker.engine.make_unhealthy(name, true));
        }
    }

    /// What of ours does not run is removed. Whether there was any.
    fn remove_idle(&mut self, worker: usize) -> bool {
        let engine = &mut self.workers[worker].engine;
        let idle = engine.containers().filter(|c| c.identity.is_some() && !c.is_running());
        let names: Vec<String> = idle.map(|c| c.id.clone()).collect();
        names.iter().for_each(|name| engine.remove_behind_our_back(name));
        !names.is_empty()
    }

    /// And then the volumes that no container has.
    fn prune_volumes(&mut self, worker: usize, input: &Input) {
        self.remove_idle(worker);
        if self.workers[worker].engine.prune_volumes() > 0 {
            self.tally_fault(input);
        }
        self.tell_hints(worker);
    }

    /// Somebody tidies up, as `docker container prune` does: whatever of ours does not run is gone.
    fn prune(&mut self, worker: usize, told: bool, input: &Input) -> Lived {
        if !self.remove_idle(worker) {
            return Ok(());
        }
        self.tally_fault(input);
        if told {
            self.tell_hints(worker);
        } else {
            let host = &mut self.workers[worker];
            host.followed = host.engine.events_count();
            let life = host.life;
            self.after(0, WorldEvent::EngineHintsLost { worker, life });
        }
        Ok(())
    }
}

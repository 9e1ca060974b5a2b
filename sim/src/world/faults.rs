//! What goes wrong, and how it ends: every fault healed, convergence, rest.

use super::*;

impl World {
    pub(super) fn wreak(&mut self) {
        if self.calm {
            return;
        }
        let pause = self.chaos.between(100, 15_000);
        self.after(pause, Happening::Chaos);
        let worker = self.chaos.below(self.workers.len());
        match self.chaos.below(8) {
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
            6 if self.options.container_faults => self.prune(worker),
            7 if self.options.engine_faults => {
                // The engine's events break off and begin anew: what happened meanwhile was not told.
                let life = self.workers[worker].life;
                self.after(0, Happening::EngineHintsLost { worker, life });
            }
            _ => {}
        }
    }

    pub(super) fn cut(&mut self, worker: usize) {
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

    /// Somebody tidies up, as `docker container prune` does: whatever of ours does not run is gone.
    fn prune(&mut self, worker: usize) {
        let engine = &mut self.workers[worker].engine;
        let idle = engine.containers().filter(|c| c.identity.is_some() && !c.is_running());
        let names: Vec<String> = idle.map(|c| c.spec.name.clone()).collect();
        names.iter().for_each(|name| engine.remove_behind_our_back(name));
        if self.chaos.chance(500) {
            self.tell_hints(worker);
        } else {
            let host = &mut self.workers[worker];
            host.followed = host.engine.happenings_count();
            let life = host.life;
            self.after(0, Happening::EngineHintsLost { worker, life });
        }
    }

    pub(super) fn hurt_container(&mut self, worker: usize) {
        let engine = &mut self.workers[worker].engine;
        let ours = engine.containers().filter(|c| c.identity.is_some());
        let names: Vec<(String, bool)> = ours.map(|c| (c.spec.name.clone(), c.is_running())).collect();
        if names.is_empty() {
            return;
        }
        let (name, runs) = &names[self.chaos.below(names.len())];
        // What does not run can only be removed.
        let what = if *runs { self.chaos.below(5) } else { 4 };
        match what {
            0 => engine.exit(name, 0),
            1 => engine.exit(name, 1),
            2 => engine.kill(name),
            3 => engine.oom(name),
            _ => engine.remove_behind_our_back(name),
        }
        self.tell_hints(worker);
    }

    /// Every fault ends; whoever is down comes back.
    pub(super) fn heal(&mut self) {
        self.calm = true;
        self.network.heal();
        self.options.engine_ms_max = self.options.engine_ms_max.min(20);
        self.options.manager_crash = 0;
        self.options.worker_crash = 0;
        for worker in 0..self.workers.len() {
            if self.workers[worker].engine.is_down() {
                self.after(0, Happening::EngineUp { worker });
            }
        }
    }

    pub(super) fn pending(&self) -> Vec<String> {
        let Some(machine) = &self.manager.machine else { return vec!["the manager is down".to_string()] };
        if self.now < self.manager_paused_until {
            return vec!["the manager is paused".to_string()];
        }
        let good = IMAGES_GOOD.map(str::to_string);
        checks::pending(machine.cluster(), &self.workers, &good)
    }

    /// I22: a healed world converges in bounded time.
    pub(super) fn converge(&mut self) -> Lived {
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
    pub(super) fn rest(&mut self) -> Lived {
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

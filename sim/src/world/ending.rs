//! How it ends: every fault healed, convergence, rest.

use super::*;
use crate::options::LATE_MS_MAX;

impl World {
    /// Every fault ends; who is down or stopped comes back in his time, but for the machines that were
    /// lost for good.
    pub(super) fn heal(&mut self) {
        self.calm = true;
        self.chaos.end();
        self.network.heal(self.now);
        self.engine_ms_max = self.engine_ms_max.min(20);
        for worker in 0..self.workers.len() {
            self.workers[worker].engine.starts_nothing(false);
            self.workers[worker].disk_full_until = 0;
            self.look_at_disk(worker, 0);
            if self.workers[worker].engine.is_down() {
                self.after(0, WorldEvent::EngineUp { worker });
            }
        }
    }

    /// What nobody replaces has to get well by itself: what has no health probe, and what is to be replaced by
    /// nothing, because its node is silent.
    fn cure(&mut self) {
        let Some(machine) = &self.managers[ONLY].machine else { return };
        let cluster = machine.cluster();
        let is_replaced = |task: TaskId| {
            let task = cluster.task(task)?;
            Some(cluster.spec_of(task).container.probes.health.is_some() && task.is_live())
        };
        for worker in &mut self.workers {
            let ours = worker.engine.containers().filter(|c| c.unhealthy || c.paused);
            let ours = ours.filter_map(|c| Some((c.id.clone(), c.identity?.task)));
            let ours: Vec<(String, TaskId)> = ours.collect();
            for (name, _) in ours.into_iter().filter(|(_, task)| is_replaced(*task) != Some(true)) {
                worker.engine.make_unhealthy(&name, false);
                worker.engine.unpause(&name);
            }
        }
    }

    fn pending(&self) -> Vec<String> {
        let Some(machine) = &self.managers[ONLY].machine else { return vec!["the manager is down".to_string()] };
        if self.now < self.managers[ONLY].paused_until {
            return vec!["the manager is paused".to_string()];
        }
        if self.workers.iter().any(|worker| self.now < worker.paused_until && !worker.is_lost) {
            return vec!["a worker is paused".to_string()]; // word that it sent before may still arrive
        }
        if self.client.is_waiting() || !self.unanswered.is_empty() {
            return vec!["a user waits for an answer".to_string()];
        }
        let at = self.managers[ONLY].cluster_time(self.now);
        let mut pending = checks::pending(machine.cluster(), at, &self.views());
        pending.extend(checks::not_due_yet(machine, at));
        pending
    }

    fn views(&self) -> Vec<WorkerView<'_>> {
        let welcome = |host: &WorkerHost| host.machine.as_ref().is_some_and(|machine| machine.is_welcome());
        let hosts = self.workers.iter();
        hosts
            .map(|h| WorkerView {
                is_welcome: welcome(h),
                is_lost: h.is_lost,
                engine: &h.engine,
                ledger: Some(&h.ledger),
            })
            .collect()
    }

    /// I22: a healed world converges in bounded time. A full one has converged when it stands still:
    /// while tasks end, those that wait have room to hope for.
    pub(super) fn converge(&mut self) -> Lived {
        let end = self.now + self.options.converge_ms();
        while self.now < end {
            let before = self.index();
            self.cure();
            self.run_until(self.now + 5000)?;
            if self.pending().is_empty() && (before == self.index() || self.is_restless()) {
                let cluster = self.managers[ONLY].machine.as_ref().expect("nothing is pending").cluster();
                return checks::acknowledged(cluster, &self.client.known);
            }
        }
        let pending = self.pending().join("; ");
        Err(("I22", if pending.is_empty() { "entries go on being written".to_string() } else { pending }))
    }

    fn index(&self) -> u64 {
        self.managers[ONLY].machine.as_ref().map_or(0, |machine| machine.cluster().index)
    }

    /// What always fails is tried again for ever, and so never rests.
    fn is_restless(&self) -> bool {
        self.managers[ONLY]
            .machine
            .as_ref()
            .is_some_and(|machine| checks::is_restless(machine.cluster(), &self.views()))
    }

    /// I23: a converged world comes to rest. I31: what is not ours was not touched.
    pub(super) fn rest(&mut self) -> Lived {
        let restless = self.is_restless();
        // What was sent late may still be under way, and somebody may wait for it.
        self.run_until(self.now.max(self.options.chaos_ms + LATE_MS_MAX) + 10_000)?;
        let before = self.index();
        self.run_until(self.now + self.options.rest_ms)?;
        let after = self.index();
        if !restless && before != after {
            let tail: Vec<String> =
                self.managers[ONLY].disk.entries.iter().rev().take(3).map(|e| format!("{e:?}")).collect();
            return Err(("I23", format!("{} more entries, the last: {}", after - before, tail.join("\n"))));
        }
        if let Some(pending) = self.pending().first().filter(|_| !restless) {
            return Err(("I22", format!("converged, and then: {pending}")));
        }
        // It may have ended with its machine, but never at our hands.
        let foreign = |worker: &WorkerHost| {
            let untouched = |c: &&FakeContainer| c.identity.is_none() && (c.is_running() || worker.reboots > 0);
            worker.engine.containers().filter(untouched).count() as u64
        };
        let there = self.workers.len() as u64 + self.copied;
        if self.workers.iter().map(foreign).sum::<u64>() != there {
            return Err(("I31", "a container that is not ours was touched".to_string()));
        }
        if let Some(machine) = &self.managers[ONLY].machine {
            let workers = self.workers.iter().filter(|host| !host.is_lost).filter_map(|host| host.machine.as_ref());
            checks::builds_are_told(machine.cluster(), workers)?;
        }
        self.report.entries = after;
        let disk = self.managers[ONLY].disk.recover();
        let live = self.managers[ONLY].machine.as_ref().expect("converged").snapshot();
        if disk.index == live.index && disk.snapshot() != live {
            return Err(("I14", "the log gives another state than the one that is live".to_string()));
        }
        Ok(())
    }

    /// How it ended, without IDs and times.
    pub(super) fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(machine) = &self.managers[ONLY].machine else { return outcome };
        let cluster = machine.cluster();
        let running: Vec<TaskId> = self
            .workers
            .iter()
            .flat_map(|worker| worker.engine.containers())
            .filter(|container| container.is_running())
            .filter_map(|container| Some(container.identity?.task))
            .collect();
        for workload in cluster.workloads() {
            let (version, image) = (workload.current().number, &workload.current().spec.container.image);
            let tasks = cluster.tasks().filter(|task| task.workload == workload.uid);
            let runs = tasks.filter(|task| running.contains(&task.id)).count();
            let newest = workload.slots.iter().filter_map(|slot| cluster.attempts(slot).next());
            let mut ends: Vec<String> = newest.map(|task| task.state.to_string()).collect();
            ends.sort();
            let name = format!("{} {}", workload.kind, workload.name);
            let text = format!("version {version} of {image}, {runs} of {} run", workload.replicas);
            outcome.objects.insert(name.clone(), text);
            outcome.newest.insert(name, ends);
        }
        for lives in self.workers.iter().flat_map(|worker| worker.engine.lives()) {
            let name = self.names.get(&lives.0).cloned().unwrap_or_default();
            *outcome.started.entry(name).or_default() += lives.1.started;
        }
        outcome.started.retain(|_, count| *count > 0);
        outcome
    }

    /// Everything that a person wants to see of a state, one thing per line.
    pub(super) fn state(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        let mut line = |it: String| writeln!(text, "{it}").expect("a string");
        match &self.managers[ONLY].machine {
            None => line("manager: down".to_string()),
            Some(machine) => {
                let cluster = machine.cluster();
                line(format!("manager: term {}, ready {}", cluster.term, machine.is_ready()));
                for node in cluster.nodes() {
                    line(format!("node {}: {:?}, registered by {}", node.info.name, node.reach, node.incarnation));
                }
                for workload in cluster.workloads() {
                    let (version, image) = (workload.current().number, &workload.current().spec.container.image);
                    let gone = if workload.deleting { ", is being deleted" } else { "" };
                    let (kind, name, replicas) = (workload.kind, &workload.name, workload.replicas);
                    line(format!("{kind} {name}: {replicas} of version {version}, {image}{gone}"));
                }
                for task in cluster.tasks() {
                    let name = cluster.workload(task.workload).map_or("?", |workload| &workload.name);
                    let node = cluster.node_of(task).map_or("-", |node| &node.info.name);
                    let (id, slot, state, desired) = (task.id, task.slot, task.state, task.desired);
                    line(format!("task {id} of {name}, slot {slot}, on {node}: {state}, wanted {desired:?}"));
                }
            }
        }
        for (index, worker) in self.workers.iter().enumerate() {
            let welcome = worker.machine.as_ref().map(|machine| machine.is_welcome());
            line(format!("worker {index}: welcome {welcome:?}, engine down {}", worker.engine.is_down()));
            for container in worker.engine.containers() {
                line(format!("container {} on {index}: {:?}", container.spec.name, container.state));
            }
        }
        text
    }
}

//! The manager's process: its actions, its disk, its connections.

use super::*;
use orbit_core::state::Cluster;

/// So long after its network is whole a fleet may take to be back, in milliseconds: the longest pause between two dials,
/// a greeting, and the entries.
const RETURN_MS_MAX: u64 = 12_000;

impl World {
    pub(super) fn manager_start(&mut self) -> Lived {
        if self.managers[ONLY].machine.is_some() {
            return Ok(());
        }
        // It cannot write the term that it begins, and is started again.
        if self.now < self.disk_full_until {
            self.after(self.disk_full_until - self.now, WorldEvent::ManagerStart);
            return Ok(());
        }
        if self.managers[ONLY].disk.snapshot.is_some() {
            self.report.tally.reach(Situation::SnapshotRestored);
        }
        // What was durable and not told of yet happened one by one.
        self.managers[ONLY].disk.replay(|cluster| self.watch.look(cluster))?;
        let actions = self.managers[ONLY].start(self.now);
        self.plans.awake_since = self.now.max(self.managers[ONLY].paused_until);
        let cluster = self.managers[ONLY].machine.as_ref().expect("just started").cluster();
        checks::acknowledged(cluster, &self.client.known)?;
        if let Some(before) = self.before_crash.take()
            && before.index == cluster.index
            && before != cluster.snapshot()
        {
            return Err(("I14", "the log gives another state than the one that was live".to_string()));
        }
        self.manager_acts(actions)
    }

    pub(super) fn manager_step(&mut self, event: manager::Event) -> Lived {
        let entry = match &event {
            manager::Event::Committed { entry, .. } => Some(entry.clone()),
            _ => None,
        };
        if let Some(entry) = &entry {
            self.notice_entry(entry);
        }
        let cluster = self.managers[ONLY].machine.as_ref().map(|machine| machine.cluster());
        let stale = entry.as_ref().and_then(|entry| Some(Stale::before(cluster?, entry)));
        let early = entry.as_ref().and_then(|entry| Some(checks::early(cluster?, entry))).unwrap_or_default();
        let actions = self.managers[ONLY].step(self.now, event);
        if let Some(entry) = entry
            && let Some(machine) = &self.managers[ONLY].machine
        {
            checks::state(machine.cluster())?;
            stale.map_or(Ok(()), |stale| stale.after(machine.cluster()))?;
            self.watch.look(machine.cluster())?;
            checks::committed(machine.cluster(), &entry)?;
            checks::none_placed(machine.cluster(), &early)?;
            checks::kept(machine.cluster(), &entry)?;
            self.excused.extend(replaced_while(machine.cluster(), &entry, |node| {
                self.workers.iter().enumerate().any(|(nth, host)| host.is_shaken() && node_name(nth) == node)
            }));
            if let Command::Forget { name } = &entry.command {
                let of_it = |(nth, _): &(usize, &WorkerHost)| node_name(*nth) == **name;
                let host = self.workers.iter().enumerate().find(of_it).map(|(_, host)| host);
                if let Some(host) = host.filter(|host| self.is_steady(host)) {
                    checks::forgotten(machine.cluster(), &entry, &host.engine, &self.excused)?;
                }
            }
            checks::sessions(machine)?;
            if matches!(entry.command, Command::Reports(_)) {
                checks::asked(machine.cluster(), self.workers.iter().map(|worker| &worker.engine))?;
            }
            self.notice_state(&entry);
            self.manager_acts(actions)?;
            return self.acknowledged();
        }
        self.manager_acts(actions)
    }

    /// I22 while things go wrong, where the manager is there and has been for a while.
    pub(super) fn overdue(&self) -> Lived {
        let awake = self.now > self.plans.awake_since.max(self.managers[ONLY].paused_until) + 5000;
        match self.managers[ONLY].machine.as_ref().filter(|machine| awake && machine.is_ready()) {
            Some(machine) => checks::overdue(machine, self.managers[ONLY].cluster_time(self.now)),
            None => Ok(()),
        }
    }

    /// I42: a fleet that was silent as a whole is back soon after its network is, however busy that makes the manager.
    pub(super) fn returned(&self) -> Lived {
        let is_whole = (0..self.workers.len()).all(|worker| !self.network.is_cut(worker));
        let due = self.network.whole_since + RETURN_MS_MAX;
        let machine = self.managers[ONLY].machine.as_ref().filter(|machine| machine.is_ready());
        let Some(machine) = machine.filter(|_| self.options.crowded && is_whole && self.now > due) else {
            return Ok(());
        };
        let silent: Vec<&str> =
            machine.cluster().nodes().filter(|node| !node.is_ready()).map(|node| node.info.name.as_str()).collect();
        if silent.is_empty() {
            return Ok(());
        }
        let (since, names) = (Time(self.network.whole_since), silent.join(", "));
        Err(("I42", format!("not back though the network is whole since {since}: {names}")))
    }

    /// I10, where the manager is there to be asked.
    fn acknowledged(&self) -> Lived {
        match &self.managers[ONLY].machine {
            Some(machine) if machine.is_ready() => checks::acknowledged(machine.cluster(), &self.client.known),
            _ => Ok(()),
        }
    }

    pub(super) fn manager_acts(&mut self, actions: Vec<manager::Action>) -> Lived {
        for action in actions {
            if let Some(machine) = &self.managers[ONLY].machine {
                let at = self.managers[ONLY].cluster_time(self.now);
                let holds = |node: &Node, image: &str| {
                    let mut hosts = self.workers.iter().enumerate();
                    hosts.any(|(index, host)| node_name(index) == node.info.name && host.engine.holds(image))
                };
                self.plans.look(self.now, at, machine, &action, &holds)?;
            }
            if let Some(Strike::Crash { down_ms, durable }) = self.struck(Point::ManagerAction, 0, "") {
                self.manager_crash(down_ms, durable);
                return Ok(());
            }
            if self.boundary(Moment::Before) {
                return self.crash_here(None);
            }
            match action {
                manager::Action::Propose { proposal, at, actor, command } => {
                    if self.managers[ONLY].append(self.now, proposal, at, actor, command) {
                        self.begin_sync();
                    }
                }
                manager::Action::Send { session, message } => self.send_down(session, message)?,
                manager::Action::Close(session) => self.hang_up(session),
                manager::Action::Reply { id, result } => {
                    let news = self.client.answered(id, result)?;
                    self.hear(news);
                }
            }
        }
        if let Some(due) = self.managers[ONLY].deadline()
            && self.managers[ONLY].wake != Some(due)
        {
            self.managers[ONLY].wake = Some(due);
            let life = self.managers[ONLY].life;
            self.after(due.saturating_sub(self.now).max(1), WorldEvent::ManagerWake { life, due });
        }
        Ok(())
    }

    fn send_down(&mut self, session: SessionId, message: ToWorker) -> Lived {
        let connection = self.network.open.get(&session).copied();
        self.notice_sent(connection.map(|c| c.worker), &message);
        let Some(Connection { worker, life, .. }) = connection else { return Ok(()) };
        if let TWIN | COPY = life {
            return self.twin_is_told(life, &message);
        }
        if self.network.cut_down.contains(&worker) {
            return Ok(());
        }
        let strike = self.struck(Point::Down, worker, "");
        let [first, second] = self.network.copies(self.now, (session, false), strike);
        if let Some(delay) = second {
            self.after(delay, WorldEvent::WorkerHears { worker, session, message: message.clone() });
        }
        if let Some(delay) = first {
            self.after(delay, WorldEvent::WorkerHears { worker, session, message });
        }
        Ok(())
    }

    fn begin_sync(&mut self) {
        let life = self.managers[ONLY].life;
        let takes = self.managers[ONLY].random.between(1, self.options.sync_ms_max);
        self.after(takes, WorldEvent::ManagerSynced { life });
    }

    pub(super) fn manager_synced(&mut self, life: u32) -> Lived {
        if life != self.managers[ONLY].life {
            return Ok(());
        }
        if self.now < self.disk_full_until {
            // Nothing was written. After any error of the store the replica leads no longer, whoever waits is told,
            // and the process ends.
            let down_ms = self.disk_full_until - self.now;
            self.report.tally.reach(Situation::LeadLost);
            for event in self.managers[ONLY].not_synced(self.now) {
                self.manager_step(event)?;
                if life != self.managers[ONLY].life {
                    return Ok(());
                }
            }
            self.manager_crash(down_ms, 0);
            return Ok(());
        }
        let told = self.managers[ONLY].synced(self.now);
        let mut entries = 0;
        for event in &told {
            if let manager::Event::Committed { entry, .. } = event {
                entries += 1;
                self.hash(|hash| std::hash::Hash::hash(entry, hash));
            }
        }
        if entries > 1 {
            self.report.tally.reach(Situation::GroupCommit);
        }
        if self.boundary(Moment::Applied) {
            return self.crash_here(None);
        }
        if self.managers[ONLY].is_syncing() {
            self.begin_sync();
        }
        for event in told {
            if life != self.managers[ONLY].life {
                break;
            }
            self.manager_step(event)?;
            if life == self.managers[ONLY].life && self.boundary(Moment::Acknowledged) {
                return self.crash_here(None);
            }
        }
        Ok(())
    }

    pub(super) fn manager_crash(&mut self, down_ms: u64, durable: usize) {
        let Some(machine) = &self.managers[ONLY].machine else { return };
        self.before_crash = Some(machine.snapshot());
        let (durable, syncing) = self.managers[ONLY].crash(durable);
        if durable > 0 {
            let whole = durable == syncing;
            let situation = if whole { Situation::EntryDurableUnanswered } else { Situation::EntryPartlyDurable };
            self.report.tally.reach(situation);
        }
        let unanswered = self.client.disconnected();
        if self.crash.is_some() {
            unanswered.into_iter().rev().for_each(|ask| self.unanswered.push_front(ask));
            self.after(100, WorldEvent::AskAgain);
        }
        let sessions: Vec<SessionId> = self.network.open.keys().copied().collect();
        sessions.into_iter().for_each(|session| self.hang_up(session));
        // A process that was stopped and is killed is gone.
        self.managers[ONLY].paused_until = self.now;
        let down_ms = if self.calm { down_ms.min(100) } else { down_ms };
        self.after(down_ms, WorldEvent::ManagerStart);
    }

    /// A connection ends. Each side learns of it, unless the network is cut between them.
    pub(super) fn hang_up(&mut self, session: SessionId) {
        let Some(Connection { worker, life, link }) = self.network.open.remove(&session) else { return };
        if !self.network.is_cut(worker) {
            let delay = self.network.delay();
            self.after(delay, WorldEvent::WorkerLinkDown { worker, life, link });
            self.after(delay, WorldEvent::ManagerHangup { session });
        }
    }
}

/// The tasks with a timed fence that a plan replaces, on nodes that are not there or do not do at once what they are told.
fn replaced_while(cluster: &Cluster, entry: &Entry, is_shaken: impl Fn(&str) -> bool) -> Vec<TaskId> {
    let Command::Plan(plan) = &entry.command else { return Vec::new() };
    let shaken = |task: &&Task| {
        let node = cluster.node_of(task);
        let fence = cluster.spec_of(task).disconnect.fence;
        !task.state.is_terminal() && fence == Fence::Timed && node.is_some_and(|node| is_shaken(&node.info.name))
    };
    let slots = plan.creates.iter().filter_map(|it| cluster.workload(it.workload)?.slots.get(it.slot as usize));
    slots.flat_map(|slot| cluster.attempts(slot)).filter(shaken).map(|task| task.id).collect()
}

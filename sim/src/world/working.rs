//! The workers' processes: their actions, their engines, the hints.

use super::*;

impl World {
    pub(super) fn worker_step(&mut self, worker: usize, life: u32, event: worker::Event) -> Lived {
        if self.workers[worker].life == life {
            self.fenced_in_time(worker)?;
            let told = matches!(event, worker::Event::Message { .. });
            let actions = self.workers[worker].step(self.now, event);
            if let Some(machine) = &self.workers[worker].machine
                && (told || !actions.is_empty())
            {
                let host = &self.workers[worker];
                self.orders.look(worker, life, host.clock(self.now), host.ledger.seen, machine, &actions)?;
            }
            self.worker_acts(worker, actions)?;
        }
        Ok(())
    }

    pub(super) fn worker_acts(&mut self, worker: usize, actions: Vec<worker::Action>) -> Lived {
        let life = self.workers[worker].life;
        for action in actions {
            if let Some(Strike::Crash { down_ms, .. }) = self.struck(Point::WorkerAction, worker, "") {
                self.worker_crash(worker, false, down_ms);
                return Ok(());
            }
            if self.boundary(Moment::Before) {
                return self.crash_here(Some(worker));
            }
            match action {
                worker::Action::Persist(writes) => {
                    let ends = writes.iter().filter_map(|write| match write {
                        worker::LedgerWrite::Ended(report) => Some(report),
                        _ => None,
                    });
                    ends.clone().try_for_each(|report| self.fences.ended(report))?;
                    checks::ends(&self.workers[worker].engine, ends)?;
                    writes.iter().for_each(|write| self.workers[worker].ledger.apply(write));
                }
                worker::Action::Runtime { op, request } => {
                    self.notice_op(worker, &request);
                    let machine = self.workers[worker].machine.as_ref();
                    let order = |task| machine.and_then(|machine| machine.order(task));
                    let is_told = |task| order(task).is_some_and(|order| order.desired == Desired::Stopped);
                    self.fences.asks(worker, &request, is_told, self.now)?;
                    checks::is_ours(&self.workers[worker].engine, &request)?;
                    let host = &self.workers[worker];
                    checks::is_allowed(&host.engine, host.allowed(), &request)?;
                    if let Some(machine) = &self.workers[worker].machine {
                        checks::is_unneeded(&self.workers[worker].engine, machine, &request)?;
                    }
                    if let Some(machine) = &self.managers[ONLY].machine {
                        checks::left_first(machine.cluster(), &self.workers[worker].ledger, &request)?;
                    }
                    self.after(0, WorldEvent::EngineBegins { worker, life, op, request });
                }
                worker::Action::Cancel(op) => drop(self.workers[worker].cancelled.insert(op)),
                worker::Action::Connect(link) => self.dial(worker, life, link),
                worker::Action::Disconnect(link) => {
                    if let Some(session) = self.network.session_of(worker, life, link) {
                        self.hang_up(session);
                    }
                }
                worker::Action::Send { link, message } => self.send_up(worker, life, link, message),
                worker::Action::Open { .. } | worker::Action::Warn(_) => {}
            }
        }
        if let Some(due) = self.workers[worker].deadline()
            && self.workers[worker].wake != Some(due)
        {
            self.workers[worker].wake = Some(due);
            self.after(due.saturating_sub(self.now).max(1), WorldEvent::WorkerWake { worker, life, due });
        }
        Ok(())
    }

    /// A worker looks at its disk after so long. (As shipped it looks every second.)
    pub(super) fn look_at_disk(&mut self, worker: usize, ms: u64) {
        let life = self.workers[worker].life;
        self.after(ms, WorldEvent::WorkerDisk { worker, life });
    }

    fn send_up(&mut self, worker: usize, life: u32, link: LinkId, message: ToManager) {
        let Some(session) = self.network.session_of(worker, life, link) else { return };
        self.fences.sent(worker, session, &message, self.now);
        if self.network.cut_up.contains(&worker) {
            return;
        }
        let strike = self.struck(Point::Up, worker, kind_of(&message));
        let [first, second] = self.network.copies(self.now, (session, true), strike);
        if let Some(delay) = second {
            self.after(delay, WorldEvent::ManagerHears { session, message: message.clone() });
        }
        if let Some(delay) = first {
            self.after(delay, WorldEvent::ManagerHears { session, message });
        }
    }

    fn dial(&mut self, worker: usize, life: u32, link: LinkId) {
        let delay = self.network.delay() + 1;
        if self.network.is_cut(worker) {
            return; // nobody answers: the worker gives up by itself
        }
        if self.managers[ONLY].machine.is_none() {
            self.after(delay, WorldEvent::WorkerLinkDown { worker, life, link });
            return;
        }
        self.network.dial(Connection { worker, life, link });
        self.after(delay, WorldEvent::WorkerLinkUp { worker, life, link });
    }

    pub(super) fn worker_crash(&mut self, worker: usize, reboot: bool, down_ms: u64) {
        if self.workers[worker].machine.is_none() {
            return;
        }
        let now = self.now;
        self.workers[worker].crash(now, reboot, down_ms.max(1));
        if reboot {
            self.fences.rebooted(worker);
        }
        let of_worker = |(id, c): (&SessionId, &Connection)| (c.worker == worker).then_some(*id);
        let sessions: Vec<SessionId> = self.network.open.iter().filter_map(of_worker).collect();
        sessions.into_iter().for_each(|session| self.hang_up(session));
        self.after(down_ms.max(1), WorldEvent::WorkerStart { worker });
    }

    pub(super) fn engine_acts(&mut self, worker: usize, life: u32, op: OpId, request: &Op) -> Lived {
        let strike = self.struck(Point::Engine, worker, kind_of_op(request));
        match strike {
            Some(Strike::Hang { ms } | Strike::Late { ms }) => self.workers[worker].shake(self.now + ms),
            Some(_) => self.workers[worker].shake(self.now + 5000),
            None => {}
        }
        if let Some(Strike::Hang { ms }) = strike {
            self.after(ms, WorldEvent::EngineActs { worker, life, op, request: request.clone() });
            return Ok(());
        }
        let lost = || OpError { kind: OpErrorKind::Engine, message: "the connection broke".to_string() };
        let refused = || OpError { kind: refusal_of(request), message: "not now".to_string() };
        let engine = &mut self.workers[worker].engine;
        // Either nothing took place, or it did and nobody hears of it.
        let result = match strike {
            Some(Strike::Fail { refused: true }) if !engine.is_down() => Err(refused()),
            Some(Strike::Fail { .. }) => Err(lost()),
            Some(Strike::Lose) => engine.perform(request).and(Err(lost())),
            _ => engine.perform(request),
        };
        self.homes.look(worker, &self.workers[worker].engine)?;
        self.volumes.look(worker, &self.workers[worker].engine)?;
        self.report.started += u64::from(matches!(request, Op::Start(_)) && result.is_ok());
        if let Op::Start(name) = request {
            // What an earlier process began, and takes place late, the next listing shows: a start is no event to look for.
            if self.workers[worker].life != life {
                let container = self.workers[worker].engine.container(name);
                self.fences.excuse(container.and_then(|it| it.identity).map(|identity| identity.task));
            }
            self.runs_alone(worker, name)?;
        }
        if let Op::Create(spec) = request {
            self.name_container(spec);
        }
        if self.workers[worker].life == life && self.boundary(Moment::Applied) {
            self.tell_hints(worker);
            return self.crash_here(Some(worker));
        }
        let late = if let Some(Strike::Late { ms }) = strike { ms } else { 0 };
        let delay = self.engines.between(0, 10) + late;
        self.after(delay, WorldEvent::EngineAnswers { worker, life, op, result });
        self.tell_hints(worker);
        Ok(())
    }

    /// I7, where the manager is there to be asked what is whose.
    fn runs_alone(&self, worker: usize, name: &str) -> Lived {
        let container = self.workers[worker].engine.container(name).filter(|container| container.is_running());
        let task = container.and_then(|container| container.identity).map(|identity| identity.task);
        let (Some(task), Some(machine)) = (task, &self.managers[ONLY].machine) else { return Ok(()) };
        let engines = self.workers.iter().map(|host| &host.engine);
        checks::nobody_else_writes(machine.cluster(), task, engines, |task| self.excused.contains(&task))?;
        checks::same_bytes(machine.cluster(), task, self.workers.iter().map(|host| &host.engine))?;
        let engines = self.workers.iter().filter(|host| !host.is_lost).map(|host| (&host.engine, self.is_steady(host)));
        checks::alone(machine.cluster(), task, engines, &self.excused)
    }

    /// Whether a worker and its engine have done at once what they were told, since the manager heard of them last.
    pub(super) fn is_steady(&self, host: &WorkerHost) -> bool {
        !host.is_shaken() && !self.is_slow()
    }

    /// An engine that takes long for everything is not one that does at once what it is told.
    fn is_slow(&self) -> bool {
        self.options.engine_ms_max > 500
    }

    /// I8, where the worker is there to stop something.
    fn fenced_in_time(&self, worker: usize) -> Lived {
        let host = &self.workers[worker];
        match host.machine.is_some() && !self.is_slow() {
            true => self.fences.look(worker, &host.engine, host.shaken_until, self.now),
            false => Ok(()),
        }
    }

    /// The engine's events.
    pub(super) fn tell_hints(&mut self, worker: usize) {
        let host = &mut self.workers[worker];
        let life = host.life;
        if host.followed == host.engine.events_count() {
            return;
        }
        let news: Vec<TaskId> = host.engine.events_since(host.followed).map(|(_, it)| it.task).collect();
        host.followed = host.engine.events_count();
        for task in news {
            let delay = self.engines.between(0, 50);
            match self.struck(Point::Hint, worker, "") {
                Some(Strike::Lose) => {}
                Some(Strike::Late { ms }) => self.after(delay + ms, WorldEvent::EngineHint { worker, life, task }),
                Some(Strike::Double) => {
                    self.after(delay, WorldEvent::EngineHint { worker, life, task });
                    self.after(2 * delay + 1, WorldEvent::EngineHint { worker, life, task });
                }
                _ => self.after(delay, WorldEvent::EngineHint { worker, life, task }),
            }
        }
    }
}

/// The kind of a message, as scripts name it.
fn kind_of(message: &ToManager) -> &'static str {
    match message {
        ToManager::Register(_) => "register",
        ToManager::Heartbeat { .. } => "heartbeat",
        ToManager::Report { .. } => "report",
        ToManager::ProbeAck => "probe_ack",
        ToManager::Prefetched { .. } => "prefetched",
    }
}

/// The kind of an operation, as scripts name it.
fn kind_of_op(request: &Op) -> &'static str {
    match request {
        Op::List(_) => "list",
        Op::Inspect { .. } => "inspect",
        Op::EnsureImage { .. } => "pull",
        Op::RemoveImage { .. } => "remove_image",
        Op::Create(_) => "create",
        Op::Start(_) => "start",
        Op::Stop { .. } => "stop",
        Op::Probe { .. } => "probe",
        Op::Remove(_) => "remove",
    }
}

/// How an engine that answers refuses an operation.
fn refusal_of(request: &Op) -> OpErrorKind {
    match request {
        Op::Start(_) => OpErrorKind::PortTaken(None),
        Op::Probe { .. } => OpErrorKind::Unwell,
        _ => OpErrorKind::Refused,
    }
}

//! The workers' processes: their actions, their engines, the hints.

use super::*;

impl World {
    pub(super) fn worker_step(&mut self, worker: usize, life: u32, event: worker::Event) -> Lived {
        if self.workers[worker].life == life {
            let actions = self.workers[worker].step(self.now, event);
            if let Some(machine) = &self.workers[worker].machine {
                self.orders.look(worker, life, self.workers[worker].ledger.seen, machine, &actions)?;
            }
            self.worker_acts(worker, actions);
        }
        Ok(())
    }

    pub(super) fn worker_acts(&mut self, worker: usize, actions: Vec<worker::Action>) {
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

    pub(super) fn dial(&mut self, worker: usize, life: u32, link: LinkId) {
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

    pub(super) fn worker_crash(&mut self, worker: usize, reboot: bool) {
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

    pub(super) fn engine_acts(&mut self, worker: usize, life: u32, op: OpId, request: &Op) {
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
    pub(super) fn tell_hints(&mut self, worker: usize) {
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

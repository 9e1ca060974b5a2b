//! The manager's process: its actions, its disk, its connections, its users.

use super::*;

impl World {
    pub(super) fn manager_start(&mut self) -> Lived {
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

    pub(super) fn manager_step(&mut self, event: manager::Event) -> Lived {
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

    pub(super) fn manager_acts(&mut self, actions: Vec<manager::Action>) -> Lived {
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

    pub(super) fn begin_sync(&mut self) {
        let life = self.manager.life;
        let takes = self.manager.random.between(1, self.options.sync_ms_max);
        self.after(takes, Happening::ManagerSynced { life });
    }

    pub(super) fn manager_synced(&mut self, life: u32) -> Lived {
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

    pub(super) fn manager_crash(&mut self) {
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
    pub(super) fn hang_up(&mut self, session: SessionId) {
        let Some(Connection { worker, life, link }) = self.network.open.remove(&session) else { return };
        if !self.network.is_cut(worker) {
            let delay = self.network.delay();
            self.after(delay, Happening::WorkerLinkDown { worker, life, link });
            self.after(delay, Happening::ManagerHangup { session });
        }
    }

    pub(super) fn client_asks(&mut self) {
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

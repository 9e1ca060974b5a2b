//! What workers say: hello, heartbeats, reports; and who of two that claim to be one is the clone.

use super::*;

impl Manager {
    pub(super) fn message(&mut self, now: Time, id: SessionId, message: ToManager, actions: &mut Vec<Action>) {
        let Some(leader) = self.leader.as_mut().filter(|leader| leader.barrier_passed) else {
            refuse(id, "this manager does not lead yet", actions);
            return;
        };
        let at = leader.time(now);
        if let ToManager::Register(hello) = message {
            if leader.sessions.get_mut(id).is_none() && !leader.sessions.guests.contains_key(&id) {
                self.hello(now, id, hello, actions);
            }
            return;
        }
        let Some(session) = leader.sessions.get_mut(id) else { return };
        let (node, incarnation) = (session.node, session.incarnation);
        leader.leases.touch(node, at);
        leader.refuse_clones_of(id, actions);
        match message {
            ToManager::Register(_) | ToManager::ProbeAck => {}
            ToManager::Heartbeat { seq, assigned_seq } => {
                actions.push(Action::Send { session: id, message: ToWorker::HeartbeatAck { seq } });
                actions.extend(leader.sessions.resync(&self.cluster, id, assigned_seq, at, &self.timing));
                let silent = self.cluster.node(node).is_some_and(|node| node.reach != Reach::Reachable);
                if silent && !leader.edges_outstanding {
                    leader.edges_outstanding = true;
                    let edge = Edge { node, incarnation, reach: Reach::Reachable };
                    leader.propose(now, Purpose::Edges, Command::Edges(vec![edge]), actions);
                }
            }
            ToManager::Report { reports } => self.report(now, id, reports, actions),
        }
    }

    /// What is known already is confirmed at once; what is new goes through the log.
    fn report(&mut self, now: Time, id: SessionId, reports: Vec<TaskReport>, actions: &mut Vec<Action>) {
        let leader = self.leader.as_mut().expect("the caller has looked");
        let session = leader.sessions.get_mut(id).expect("the caller has looked");
        let (node, incarnation) = (session.node, session.incarnation);
        let (mut known, mut new, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for report in reports {
            let said = report.said();
            let task = self.cluster.task(report.task).filter(|task| task.node == Some(node));
            match task {
                // `Lost` is the manager's own word: from a worker it is noise.
                Some(task)
                    if (task.is_news(&report) || self.cluster.resolves(task, &report))
                        && report.state != TaskState::Lost =>
                {
                    if session.proposed.insert(said) {
                        new.push(report);
                    }
                }
                Some(_) => known.push(said),
                None => {
                    known.push(said);
                    unknown.push((node, report.task));
                }
            }
        }
        if !planted(Bug::UnknownNotToldOff) {
            leader.sessions.untold(&unknown);
        }
        if !known.is_empty() {
            let message = ToWorker::Committed { states: known };
            actions.push(Action::Send { session: id, message });
        }
        if !new.is_empty() {
            let states = new.iter().map(TaskReport::said).collect();
            let command = Command::Reports { node, incarnation, reports: new };
            leader.propose(now, Purpose::Reports(id, states), command, actions);
        }
    }

    /// A worker says hello. Its registration is proposed unless something speaks against it.
    fn hello(&mut self, now: Time, id: SessionId, hello: Hello, actions: &mut Vec<Action>) {
        if let Err(message) = self.check_hello(&hello) {
            refuse(id, &message, actions);
            return;
        }
        let leader = self.leader.as_mut().expect("the caller has looked");
        let (uid, nonce) = (hello.info.uid, hello.nonce);
        let twin =
            leader.sessions.guests.values().any(|guest| guest.hello.info.uid == uid && guest.hello.nonce != nonce);
        if twin {
            refuse(id, "another process is registering as this node: try again later", actions);
            return;
        }
        let mut guest = Guest { hello, proposed: false, probe_until: None };
        match leader.sessions.of_uid(uid) {
            Some((old, old_nonce)) if old_nonce != nonce => {
                // Either the old process is gone and its connection does not know it, or this is a
                // clone of a node that lives.
                guest.probe_until = Some(leader.time(now) + self.timing.probe);
                actions.push(Action::Send { session: old, message: ToWorker::Probe });
                leader.sessions.guests.insert(id, guest);
            }
            old => {
                if let Some((old, _)) = old {
                    leader.sessions.close(old);
                    actions.push(Action::Close(old));
                }
                leader.sessions.guests.insert(id, guest);
                self.propose_registration(now, id, actions);
            }
        }
    }

    fn check_hello(&self, hello: &Hello) -> Result<(), String> {
        let ours = self.cluster.id;
        if let Some(theirs) = hello.cluster.filter(|theirs| Some(*theirs) != ours) {
            return Err(format!(
                "this worker belongs to cluster {theirs}, not to {}: \
                 give it a state directory of its own to join this one",
                ours.map_or_else(String::new, |id| id.to_string())
            ));
        }
        if hello.seen > (self.cluster.epoch, self.cluster.term) {
            return Err("this worker has seen a later manager: this one is out of date".to_string());
        }
        let info = &hello.info;
        check_name("name", &info.name).map_err(|e| e.message)?;
        check_map("labels", &info.labels).map_err(|e| e.to_string())?;
        if info.port_range.0 == 0 || info.port_range.0 > info.port_range.1 {
            return Err(format!("{}-{} is not a range of ports", info.port_range.0, info.port_range.1));
        }
        for (first, last) in info.pinned_ports.iter().flatten() {
            if *first == 0 || first > last {
                return Err(format!("{first}-{last} is not a range of ports"));
            }
        }
        if info.arch.len() > limits::NAME_BYTES_MAX || info.os.len() > limits::NAME_BYTES_MAX {
            return Err("the architecture or the system has too long a name".to_string());
        }
        Ok(())
    }

    fn propose_registration(&mut self, now: Time, id: SessionId, actions: &mut Vec<Action>) {
        let leader = self.leader.as_mut().expect("the caller has looked");
        let guest = leader.sessions.guests.get_mut(&id).expect("the caller has looked");
        guest.proposed = true;
        guest.probe_until = None;
        let registration = Registration { info: guest.hello.info.clone(), inventory: guest.hello.inventory.clone() };
        leader.propose(now, Purpose::Register(id), Command::Register(registration), actions);
    }

    pub(super) fn registered(
        &mut self,
        now: Time,
        id: SessionId,
        answer: Result<Answer, Rejection>,
        actions: &mut Vec<Action>,
    ) {
        let leader = self.leader.as_mut().expect("the caller has looked");
        let at = leader.time(now);
        let guest = leader.sessions.guests.remove(&id);
        match (answer, guest) {
            (Ok(Answer::Node { node, .. }), guest) => {
                if !planted(Bug::WelcomeNotHeard) {
                    leader.leases.touch(node, at);
                }
                // The session of an older registration can order and report nothing any more.
                if let Some(old) = leader.sessions.of_node(node) {
                    leader.sessions.close(old);
                    actions.push(Action::Close(old));
                }
                if let Some(guest) = guest {
                    let welcome = leader.sessions.welcome(&self.cluster, id, &guest, node, at, &self.timing);
                    actions.push(welcome);
                }
            }
            (Ok(_), _) => {}
            (Err(rejection), Some(_)) => refuse(id, &rejection.message, actions),
            (Err(_), None) => {}
        }
    }

    /// A probe that was not answered in time: the old session is dead, the new one takes over.
    pub(super) fn settle_probes(&mut self, now: Time, actions: &mut Vec<Action>) {
        let Some(leader) = &mut self.leader else { return };
        let at = leader.time(now);
        let due = |(id, guest): (&SessionId, &Guest)| {
            guest.probe_until.is_some_and(|until| until <= at).then_some((*id, guest.hello.info.uid))
        };
        let due: Vec<(SessionId, NodeUid)> = leader.sessions.guests.iter().filter_map(due).collect();
        for (id, uid) in due {
            let leader = self.leader.as_mut().expect("just looked");
            if let Some((old, _)) = leader.sessions.of_uid(uid) {
                leader.sessions.close(old);
                actions.push(Action::Close(old));
            }
            self.propose_registration(now, id, actions);
        }
    }
}

impl Leader {
    /// This session has just spoken, so whoever else claims to be its node is a clone.
    fn refuse_clones_of(&mut self, live: SessionId, actions: &mut Vec<Action>) {
        if self.sessions.guests.is_empty() {
            return;
        }
        let clones = |(id, guest): (&SessionId, &Guest)| {
            let claims = self.sessions.of_uid(guest.hello.info.uid).map(|(id, _)| id);
            let its = claims == Some(live) || planted(Bug::CloneOfAnybody);
            (guest.probe_until.is_some() && its).then_some(*id)
        };
        let clones: Vec<SessionId> = self.sessions.guests.iter().filter_map(clones).collect();
        for id in clones {
            self.sessions.close(id);
            refuse(id, "another worker with this node's state directory is connected: give this one its own", actions);
        }
    }
}

fn refuse(session: SessionId, message: &str, actions: &mut Vec<Action>) {
    actions.push(Action::Send { session, message: ToWorker::Refused { message: message.to_string() } });
    actions.push(Action::Close(session));
}

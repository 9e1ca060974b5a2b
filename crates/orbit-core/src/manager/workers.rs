//! Messages of workers: hello, heartbeats, reports; and which of two processes with one identity is the clone.

use super::{
    prefetch::{self, Prefetch},
    *,
};

impl Manager {
    pub(super) fn message(&mut self, now: Time, id: SessionId, message: ToManager, actions: &mut Vec<Action>) {
        let Some(leader) = self.leader.as_mut().filter(|leader| leader.barrier_passed) else {
            refuse(id, "this manager does not lead yet", actions);
            return;
        };
        let at = leader.time(now);
        if let ToManager::Register(hello) = message {
            if leader.sessions.get_mut(id).is_none() && leader.sessions.pending(id).is_none() {
                self.hello(now, id, hello, actions);
            }
            return;
        }
        let Some(session) = leader.sessions.get_mut(id) else { return };
        let node = session.node;
        leader.leases.touch(node, at);
        leader.refuse_clones_of(id, actions);
        match message {
            ToManager::Register(_) | ToManager::ProbeAck => {}
            ToManager::Heartbeat { seq, assigned_seq, disk_full } => {
                let is_newest = leader.sessions.hears(id, seq);
                actions.push(Action::Send { session: id, message: ToWorker::HeartbeatAck { seq } });
                actions.extend(leader.dispatcher.acknowledged(&self.cluster, id, assigned_seq, at, &self.timing));
                let Some(known) = self.cluster.node(node) else { return };
                if known.reach != Reach::Reachable {
                    leader.returned.insert(node);
                }
                // Until it is written it is said with every heartbeat, and the last word counts.
                if is_newest && known.disk_full_since.is_some() != disk_full {
                    leader.disks.insert(node, disk_full);
                }
            }
            ToManager::Report { seq, reports } => self.report(id, seq, reports, actions),
            ToManager::Prefetched { workload, version, failure } => {
                self.prefetched(now, (node, workload, version), failure, actions);
            }
        }
    }

    /// What is known already is confirmed at once; what is new goes through the log.
    fn report(&mut self, id: SessionId, seq: u64, reports: Vec<TaskReport>, actions: &mut Vec<Action>) {
        let leader = self.leader.as_mut().expect("the caller has looked");
        let session = leader.sessions.get_mut(id).expect("the caller has looked");
        let (node, incarnation) = (session.node, session.incarnation);
        let (mut known, mut new, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for report in reports {
            // A later word of the task was heard before, and may have said the opposite. What is not confirmed is said again.
            if session.reported.get(&report.task).is_some_and(|last| seq != 0 && seq < *last) {
                continue;
            }
            let task = self.cluster.task(report.task).filter(|task| task.node == Some(node));
            // States only advance: of two, the later one is known by itself.
            if task.is_some() && report.probed != Probed::default() {
                session.reported.insert(report.task, seq);
            }
            let key = report.key();
            let under_way = session.proposed.get(&report.task);
            if let Some((said, _)) = under_way {
                let ((_, state, _), _) = said;
                if *said == report.statement() || *state > report.state {
                    continue;
                }
            }
            match task {
                // `Lost` is the manager's own word: from a worker it is noise.
                Some(task)
                    if (task.is_news(&report) || self.cluster.resolves(task, &report) || under_way.is_some())
                        && report.state != TaskState::Lost =>
                {
                    session.proposed.insert(report.task, (report.statement(), seq));
                    new.push(report);
                }
                Some(_) => known.push(key),
                None => {
                    known.push(key);
                    unknown.push((node, report.task));
                }
            }
        }
        leader.dispatcher.changed(&unknown);
        // What is forgotten is not reported again.
        let tasks = self.cluster.node(node).map_or(0, |node| node.tasks.len());
        if session.reported.len() > 2 * tasks + 64 {
            session.reported.retain(|task, _| self.cluster.task(*task).is_some());
        }
        if !known.is_empty() {
            let message = ToWorker::Committed { seq, states: known };
            actions.push(Action::Send { session: id, message });
        }
        if !new.is_empty() {
            leader.reports.push((id, seq, NodeReports { node, incarnation, reports: new }));
        }
    }

    /// Reports wait for those before them to be written, and then go into one entry, however many nodes
    /// they are of: a fleet that speaks all at once costs a few entries.
    pub(super) fn propose_reports(&mut self, now: Time, actions: &mut Vec<Action>) {
        let Some(leader) = self.leader.as_mut().filter(|leader| !leader.reports_outstanding) else { return };
        let (mut keys, mut said) = (Vec::new(), BTreeMap::<NodeId, NodeReports>::new());
        let (mut room, mut later) = (REPORTS_MAX, Vec::new());
        for (session, seq, new) in std::mem::take(&mut leader.reports) {
            // What was said by a process that has been followed by another is not written.
            if leader.sessions.get_mut(session).is_none() {
                continue;
            }
            // One message of a node at a time: what it says of a task twice is two entries, each with what follows from it.
            if room == 0 || said.contains_key(&new.node) {
                later.push((session, seq, new));
                continue;
            }
            let keys_of = new.reports.iter().map(TaskReport::key).collect();
            keys.push(ProposedReports { session, seq, keys: keys_of });
            room = room.saturating_sub(new.reports.len());
            said.insert(new.node, new);
        }
        leader.reports = later;
        if !said.is_empty() {
            leader.reports_outstanding = true;
            leader.propose(now, Purpose::Reports(keys), Command::Reports(said.into_values().collect()), actions);
        }
    }

    /// An image that a node was asked for is there, or cannot be had. Of what cannot, it is written that it cannot at all, and
    /// then each time that counts for a rollout: a drain that waits for an image does not fill the log.
    fn prefetched(&mut self, now: Time, prefetch: Prefetch, failure: Option<End>, actions: &mut Vec<Action>) {
        let leader = self.leader.as_mut().expect("the caller has looked");
        let (node, uid, version) = prefetch;
        let Some(workload) = self.cluster.workload(uid) else { return };
        let Some(spec) = workload.spec(version) else { return };
        let at = leader.time(now);
        let Some(end) = failure else {
            if leader.planner.prefetches.arrived(prefetch, at) {
                leader.planner.look_at(uid);
            }
            return;
        };
        let delay = |failures| spec.restart.delay(failures);
        let Some(failures) = leader.planner.prefetches.failed(prefetch, at, delay) else { return };
        leader.planner.look_at(uid);
        let rolls_out = workload.rollout.is_some_and(|rollout| rollout.state == RolloutState::Running);
        if failures == 1 || (rolls_out && workload.version == version) {
            let command = Command::PrefetchFailed { node, workload: uid, version, end };
            leader.propose(now, Purpose::PrefetchFailed, command, actions);
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
        if leader.sessions.pending_of(uid).any(|(_, pending)| pending.hello.nonce != nonce) {
            refuse(id, "another process is registering as this node: try again later", actions);
            return;
        }
        let mut pending = PendingSession { hello, probe_until: None };
        match leader.sessions.of_uid(uid) {
            Some((old, old_nonce)) if old_nonce != nonce => {
                // Either the old process is gone and its connection does not know it, or this is a
                // clone of a node that lives.
                pending.probe_until = Some(leader.time(now) + self.timing.probe);
                actions.push(Action::Send { session: old, message: ToWorker::Probe });
                leader.sessions.insert_pending(id, pending);
            }
            old => {
                if let Some((old, _)) = old {
                    leader.close(old);
                    actions.push(Action::Close(old));
                }
                leader.sessions.insert_pending(id, pending);
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
            let (epoch, _) = hello.seen;
            let restored = match epoch >= self.cluster.epoch && self.cluster.unknown == UnknownTasks::Held {
                true => format!(": it has to be restored with --epoch {} or above", epoch.saturating_add(1)),
                false => String::new(),
            };
            return Err(format!("this worker has seen a later manager: this one is out of date{restored}"));
        }
        if !hello.takes_parts && hello.inventory.iter().any(|report| self.cluster.leaves_alone(report.task)) {
            return Err("this manager was restored, and this worker has tasks that it does not know and cannot be \
                        told to leave alone: upgrade the worker, or say `orbit snapshot settle --remove-unknown`"
                .to_string());
        }
        let info = &hello.info;
        check_name("name", &info.name).map_err(|e| e.message)?;
        check_labels("labels", &info.labels).map_err(|e| e.to_string())?;
        if info.port_range.0 == 0 || info.port_range.0 > info.port_range.1 {
            return Err(format!("{}-{} is not a range of ports", info.port_range.0, info.port_range.1));
        }
        for (first, last) in info.pinned_ports.iter().flatten() {
            if *first == 0 || first > last {
                return Err(format!("{first}-{last} is not a range of ports"));
            }
        }
        if info.allowed.iter().map(|grant| grant.to_string().len()).sum::<usize>() > limits::LABELS_BYTES_MAX {
            return Err(format!("what its operator allows takes more than {} bytes", limits::LABELS_BYTES_MAX));
        }
        let Versions { worker, engine, .. } = &*info.versions;
        if [&info.arch, &info.os, worker, engine].iter().any(|text| text.len() > limits::NAME_BYTES_MAX) {
            return Err("the architecture, the system or a version has too long a name".to_string());
        }
        Ok(())
    }

    fn propose_registration(&mut self, now: Time, id: SessionId, actions: &mut Vec<Action>) {
        let leader = self.leader.as_mut().expect("the caller has looked");
        leader.sessions.end_probe(id);
        let Hello { info, inventory, .. } = &leader.sessions.pending(id).expect("the caller has looked").hello;
        let registration = Registration { info: info.clone(), inventory: inventory.clone() };
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
        let pending = leader.sessions.take_pending(id);
        match (answer, pending) {
            (Ok(Answer::Node { node, incarnation }), pending) => {
                leader.leases.touch(node, at);
                // The session of an older registration can order and report nothing any more.
                if let Some(old) = leader.sessions.of_node(node) {
                    leader.close(old);
                    actions.push(Action::Close(old));
                }
                leader.leases.watch(node, &self.timing);
                if let Some(PendingSession { hello, .. }) = pending {
                    let waited = leader.planner.prefetches.registered(node, hello.prefetches);
                    waited.into_iter().for_each(|uid| leader.planner.look_at(uid));
                    leader.sessions.open(id, &hello, node, incarnation);
                    let assigned = leader.dispatcher.subscribe(&self.cluster, id, node, hello.takes_parts, at);
                    let welcome = Welcome {
                        cluster: self.cluster.id.unwrap_or(ClusterId(0)),
                        epoch: self.cluster.epoch,
                        term: self.cluster.term,
                        node,
                        incarnation,
                        heartbeat: self.timing.heartbeat,
                        lease: self.timing.lease,
                        assigned,
                    };
                    actions.push(Action::Send { session: id, message: ToWorker::Welcome(welcome) });
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
        for id in leader.sessions.unanswered(at) {
            let leader = self.leader.as_mut().expect("just looked");
            let uid = leader.sessions.pending(id).expect("it waits").hello.info.uid;
            if let Some((old, _)) = leader.sessions.of_uid(uid) {
                leader.close(old);
                actions.push(Action::Close(old));
            }
            self.propose_registration(now, id, actions);
        }
    }
}

impl Leader {
    /// Asks nodes for images. One that is not connected now is asked when the workload is looked at again.
    pub(super) fn tell_prefetches(&mut self, cluster: &Cluster, actions: &mut Vec<Action>) {
        for (node, workload, version) in self.planner.prefetches.take_wanted() {
            let wanted = cluster.workload(workload).and_then(|it| it.version(version));
            if let (Some(session), Some(wanted)) = (self.sessions.of_node(node), wanted) {
                let (image, pull) = (image_reference(&wanted.spec, &wanted.image()), wanted.spec.container.pull);
                let keep = prefetch::kept_for(cluster.workload(workload));
                let message = ToWorker::Prefetch { workload, version, image, pull, keep };
                actions.push(Action::Send { session, message });
            }
        }
    }

    /// This session has just spoken, so whoever else claims to be its node is a clone.
    fn refuse_clones_of(&mut self, live: SessionId, actions: &mut Vec<Action>) {
        let Some(uid) = self.sessions.uid_of(live) else { return };
        let probed = |(id, pending): (SessionId, &PendingSession)| pending.probe_until.map(|_| id);
        let clones = Vec::from_iter(self.sessions.pending_of(uid).filter_map(probed));
        for id in clones {
            self.close(id);
            refuse(id, "another worker with this node's state directory is connected: give this one its own", actions);
        }
    }
}

fn refuse(session: SessionId, message: &str, actions: &mut Vec<Action>) {
    actions.push(Action::Send { session, message: ToWorker::Refused { message: message.to_string() } });
    actions.push(Action::Close(session));
}

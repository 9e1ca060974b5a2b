//! `apply`: the only way in which the replicated state changes.
//!
//! A function of the state and the entry. It decides nothing that the leader has decided already,
//! but it believes nothing either: every part of a plan is checked again, with the scheduler's own
//! filters, because the state may have moved since the plan was made. What has become stale is
//! refused and reported in the outcome, and its workload is looked at again.

use crate::{
    model::*,
    planted::{Bug, planted},
    reconciler,
    scheduler::filter::{self, Class, Demand},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

/// How long a host port rests after it was found to be held by a stranger.
pub const PORT_REST: Millis = Millis::secs(60);
/// An end is dated back by so much at most: a node that was told long before it could look was not well.
pub const ENDED_AGO_MAX: Millis = Millis::secs(1);

impl Cluster {
    /// Applies the next entry.
    ///
    /// # Panics
    /// If the entry is not the next one: a log without gaps is the storage's duty.
    pub fn apply(&mut self, entry: &Entry) -> Outcome {
        assert_eq!(entry.index, self.index + 1, "the log has no gaps");
        self.index = entry.index;
        self.term = entry.term;
        self.at = self.at.max(entry.at);
        self.wall_ms = entry.wall_ms;
        let mut touched = Touched::default();
        self.changes.clear();
        let answer = self.apply_command(&entry.command, &mut touched);
        self.history.finish_entry(self.index, self.at);
        Outcome { answer, touched: touched.finish() }
    }

    fn apply_command(&mut self, command: &Command, touched: &mut Touched) -> Result<Answer, Rejection> {
        match command {
            Command::Init { cluster } => {
                self.id.get_or_insert(*cluster);
                Ok(Answer::Done)
            }
            Command::Barrier { seed } => {
                self.seed = *seed;
                Ok(Answer::Done)
            }
            Command::Put(put) => self.apply_put(put, touched),
            Command::Scale { name, replicas, condition } => self.apply_scale(name, *replicas, *condition, touched),
            Command::Restart { name, condition } => self.apply_restart(name, *condition, touched),
            Command::Delete { kind, name, condition } => self.apply_delete(*kind, name, *condition, touched),
            Command::StopTask { task } => self.apply_stop_task(*task, touched),
            Command::Register(registration) => self.apply_register(registration, touched),
            Command::Edges(edges) => {
                edges.iter().for_each(|edge| self.apply_edge(edge, touched));
                Ok(Answer::Done)
            }
            Command::Reports { node, incarnation, reports } => {
                self.apply_reports(*node, *incarnation, reports, touched)
            }
            Command::Forget { name } => self.apply_forget(name, touched),
            Command::SetDuty { name, order } => self.apply_set_duty(name, *order, touched),
            Command::Plan(plan) => {
                self.apply_plan(plan, touched);
                Ok(Answer::Done)
            }
        }
    }

    fn uid(&self) -> Uid {
        Uid { epoch: self.epoch, index: self.index }
    }
    fn task_id(&self, ordinal: u32) -> TaskId {
        TaskId { epoch: self.epoch, index: self.index, ordinal }
    }
}

// What people read later.
impl Cluster {
    fn record(&mut self, what: What, subject: Subject, task: Option<TaskId>, node: Option<NodeId>, message: String) {
        let (index, at) = (self.index, self.at);
        self.history.record(Happening { index, at, what, subject, task, node, message: cut(message) });
    }
    fn record_workload(&mut self, what: What, uid: Uid, message: impl Into<String>) {
        let subject = self.workloads[&uid].subject();
        self.record(what, subject, None, None, message.into());
    }
    fn record_task(&mut self, what: What, key: TaskKey, message: impl Into<String>) {
        let task = self.tasks.at(key);
        let (id, node, subject) = (task.id, task.node, self.workloads[&task.workload].subject());
        self.record(what, subject, Some(id), node, message.into());
    }
    fn record_node(&mut self, what: What, id: NodeId) {
        self.record(what, Subject::Node, None, Some(id), String::new());
    }
}

// What users ask for.
impl Cluster {
    fn apply_put(&mut self, put: &Put, touched: &mut Touched) -> Result<Answer, Rejection> {
        if let Some(answer) = self.answered(put) {
            return answer;
        }
        let answer = match self.check_put(put)? {
            None => self.create_workload(&put.definition, touched),
            Some(uid) => self.change_workload(uid, &put.definition, touched),
        };
        if let Some(key) = &put.idempotency_key {
            self.keys.insert(key, fingerprint(put), answer.clone());
        }
        Ok(answer)
    }

    /// Which living workload a request would change; none where it would create one.
    fn check_put(&self, put: &Put) -> Result<Option<Uid>, Rejection> {
        let Definition { kind, ref name, replicas, .. } = put.definition;
        let existing = self.workload_named(kind, name);
        self.check_condition(kind, name, put.condition)?;
        self.check_slots(existing.map_or(0, |workload| workload.replicas), replicas)?;
        if let Some(workload) = existing
            && kind == Kind::Task
            && !workload.is_as(&put.definition)
        {
            let message = format!("another task named `{name}` exists: delete it or choose another name");
            return Err(Rejection { code: Code::NameInUse, field: "name".into(), message });
        }
        Ok(existing.map(|workload| workload.uid))
    }

    /// The living workload that a request would change, none where it would create one, and whether
    /// it would change anything: if it were made now. Nothing is done.
    ///
    /// # Errors
    /// As the request itself.
    pub fn preview(&self, put: &Put) -> Result<(Option<&Workload>, bool), Rejection> {
        put.definition.validate()?;
        let existing = self.check_put(put)?.map(|uid| &self.workloads[&uid]);
        let Definition { replicas, update, .. } = put.definition;
        let is_same = |workload: &Workload| {
            workload.is_as(&put.definition) && (workload.replicas, workload.update) == (replicas, update)
        };
        Ok((existing, !existing.is_some_and(is_same)))
    }

    fn check_slots(&self, before: u32, replicas: u32) -> Result<(), Rejection> {
        if self.slots - u64::from(before) + u64::from(replicas) > limits::SLOTS_MAX {
            let message = format!("the cluster would have more than {} slots", limits::SLOTS_MAX);
            return Err(Rejection::new(Code::LimitReached, message));
        }
        Ok(())
    }

    /// What a request gets whose idempotency key is remembered; nothing if it is not.
    pub(super) fn answered(&self, put: &Put) -> Option<Result<Answer, Rejection>> {
        let (before, answer) = self.keys.get(put.idempotency_key.as_deref()?)?;
        if planted(Bug::ConditionBeforeKey)
            && let Err(refused) = self.check_condition(put.definition.kind, &put.definition.name, put.condition)
        {
            return Some(Err(refused));
        }
        Some(match *before == fingerprint(put) {
            true => Ok(answer.clone()),
            false => Err(Rejection::new(
                Code::KeyReused,
                "this idempotency key was used for another request: take a new one",
            )),
        })
    }

    fn check_condition(&self, kind: Kind, name: &str, condition: Condition) -> Result<(), Rejection> {
        let revision = self.workload_named(kind, name).map(|w| w.revision);
        let conflict = |message: String| Err(Rejection::new(Code::RevisionConflict, message));
        match (condition, revision) {
            (Condition::None, _) | (Condition::Absent, None) => Ok(()),
            (Condition::Revision(wanted), Some(found)) if wanted == found => Ok(()),
            (Condition::Revision(wanted), Some(found)) => {
                conflict(format!("{kind} `{name}` is at revision {found}, not {wanted}: read it again"))
            }
            (Condition::Revision(wanted), None) => {
                conflict(format!("there is no {kind} `{name}`, and so none at revision {wanted}"))
            }
            (Condition::Absent, Some(found)) => {
                conflict(format!("{kind} `{name}` exists already, at revision {found}"))
            }
        }
    }

    fn create_workload(&mut self, definition: &Definition, touched: &mut Touched) -> Answer {
        let uid = self.uid();
        let slots = match definition.kind {
            Kind::Service => Vec::new(),
            Kind::Task => vec![Slot::default()],
        };
        self.insert_workload(Workload {
            uid,
            kind: definition.kind,
            name: definition.name.as_str().into(),
            labels: definition.labels.clone(),
            replicas: definition.replicas,
            update: definition.update,
            revision: self.index,
            created_at: self.at,
            versions: vec![Version { number: 1, spec: Arc::new(definition.spec.clone()), tasks: 0 }],
            deleting: false,
            decision: None,
            slots,
        });
        touched.workloads.push(uid);
        let Definition { kind, replicas, spec, .. } = definition;
        self.record_workload(
            What::Created,
            uid,
            match kind {
                Kind::Service => format!("{} of {}", count(*replicas, "replica"), spec.image),
                Kind::Task => spec.image.clone(),
            },
        );
        // A task definition is answered with its first attempt, so that is made in the same entry.
        let task = (definition.kind == Kind::Task).then(|| {
            let id = self.task_id(0);
            self.insert_task(Task::new(id, uid, 0, 1, self.at));
            id
        });
        Answer::Workload { uid, revision: self.index, version: 1, created: true, task }
    }

    fn change_workload(&mut self, uid: Uid, definition: &Definition, touched: &mut Touched) -> Answer {
        let index = self.index;
        let workload = self.workloads.get_mut(&uid).expect("found by name");
        let new_spec = *workload.current().spec != definition.spec;
        let same_number = (workload.replicas, workload.update) == (definition.replicas, definition.update);
        if new_spec || workload.labels != definition.labels || !same_number {
            workload.revision = index;
        }
        workload.labels.clone_from(&definition.labels);
        workload.update = definition.update;
        if new_spec {
            let version = self.new_version(uid, Arc::new(definition.spec.clone()));
            self.record_workload(What::Changed, uid, format!("version {version} of {}", definition.spec.image));
        }
        self.change_replicas(uid, definition.replicas);
        touched.workloads.push(uid);
        let workload = &self.workloads[&uid];
        let newest = workload.slots.first().and_then(|slot| self.attempts(slot).next());
        let task = newest.filter(|_| workload.kind == Kind::Task).map(|task| task.id);
        let (revision, version) = (workload.revision, workload.current().number);
        Answer::Workload { uid, revision, version, created: false, task }
    }

    /// The slots are filled anew from this spec, one by one. What kept the old version waiting says
    /// nothing about the new one.
    fn new_version(&mut self, uid: Uid, spec: Arc<Spec>) -> u32 {
        let workload = self.workloads.get_mut(&uid).expect("the caller found it");
        let number = workload.current().number + 1;
        workload.versions.push(Version { number, spec, tasks: 0 });
        drop_unused_versions(workload);
        for slot in &mut workload.slots {
            *slot = Slot { newest: slot.newest, ..Slot::default() };
        }
        workload.decision = None;
        number
    }

    fn change_replicas(&mut self, uid: Uid, replicas: u32) {
        let before = self.workloads[&uid].replicas;
        self.set_replicas(uid, replicas);
        if before != replicas {
            self.record_workload(What::Scaled, uid, format!("from {before} to {}", count(replicas, "replica")));
        }
    }

    fn apply_scale(
        &mut self,
        name: &str,
        replicas: u32,
        condition: Condition,
        touched: &mut Touched,
    ) -> Result<Answer, Rejection> {
        let Some(uid) = self.names.get(&(Kind::Service, Arc::from(name))).copied() else {
            return Err(no_such(Kind::Service, name));
        };
        self.check_condition(Kind::Service, name, condition)?;
        self.check_slots(self.workloads[&uid].replicas, replicas)?;
        let workload = self.workloads.get_mut(&uid).expect("found by name");
        if workload.replicas != replicas && !planted(Bug::ScaleKeepsRevision) {
            workload.revision = self.index;
        }
        let (revision, version) = (workload.revision, workload.current().number);
        self.change_replicas(uid, replicas);
        touched.workloads.push(uid);
        Ok(Answer::Workload { uid, revision, version, created: false, task: None })
    }

    fn apply_restart(&mut self, name: &str, condition: Condition, touched: &mut Touched) -> Result<Answer, Rejection> {
        let Some(uid) = self.names.get(&(Kind::Service, Arc::from(name))).copied() else {
            return Err(no_such(Kind::Service, name));
        };
        self.check_condition(Kind::Service, name, condition)?;
        let spec = self.workloads[&uid].current().spec.clone();
        let version = self.new_version(uid, spec);
        self.record_workload(What::Restarted, uid, format!("as version {version}"));
        self.changed_workload(uid);
        let workload = self.workloads.get_mut(&uid).expect("found by name");
        workload.revision = self.index;
        touched.workloads.push(uid);
        Ok(Answer::Workload { uid, revision: self.index, version, created: false, task: None })
    }

    fn apply_delete(
        &mut self,
        kind: Kind,
        name: &str,
        condition: Condition,
        touched: &mut Touched,
    ) -> Result<Answer, Rejection> {
        let Some(uid) = self.names.get(&(kind, Arc::from(name))).copied() else {
            return Err(no_such(kind, name));
        };
        if !planted(Bug::DeleteUnconditional) {
            self.check_condition(kind, name, condition)?;
        }
        self.record_workload(What::Deleted, uid, "");
        self.mark_deleting(uid);
        touched.workloads.push(uid);
        Ok(Answer::Done)
    }

    fn apply_stop_task(&mut self, id: TaskId, touched: &mut Touched) -> Result<Answer, Rejection> {
        let Some(key) = self.tasks.key(id) else {
            return Err(Rejection::new(Code::NotFound, format!("there is no task {id}")));
        };
        self.stop_task(key, touched);
        Ok(Answer::Done)
    }

    fn apply_forget(&mut self, name: &str, touched: &mut Touched) -> Result<Answer, Rejection> {
        let Some(node) = self.node_named(name) else {
            return Err(Rejection::new(Code::NotFound, format!("there is no node `{name}`")));
        };
        if node.reach == Reach::Reachable {
            let message = format!("node `{name}` is reachable: stop its worker first");
            return Err(Rejection::new(Code::Conflict, message));
        }
        let (id, uid, tasks) = (node.id, node.info.uid, Vec::from_iter(node.tasks()));
        self.nodes[id.slot()].duty = Duty::Active;
        for task in tasks {
            let key = self.tasks.key(task).expect("a node's tasks are in the table");
            let end = End::new(Reason::NodeLost, format!("node {name} was forgotten"));
            self.end_task(key, TaskState::Lost, end, self.at, touched);
        }
        let node = &mut self.nodes[id.slot()];
        node.forgotten = true;
        self.node_names.remove(name);
        if !planted(Bug::ForgetKeepsId) {
            self.node_uids.remove(&uid);
        }
        touched.nodes.push(id);
        touched.reach_changed = true;
        self.record_node(What::Forgotten, id);
        self.changed_node(id);
        Ok(Answer::Done)
    }
}

// What operators want of nodes.
impl Cluster {
    fn apply_set_duty(&mut self, name: &str, order: DutyOrder, touched: &mut Touched) -> Result<Answer, Rejection> {
        let Some(node) = self.node_named(name) else {
            return Err(Rejection::new(Code::NotFound, format!("there is no node `{name}`")));
        };
        let (id, before) = (node.id, node.duty);
        let (duty, what) = match order {
            DutyOrder::Uncordon => (Duty::Active, What::Uncordoned),
            DutyOrder::Cordon if before.is_draining() => return Ok(Answer::Done),
            DutyOrder::Cordon => (Duty::Cordoned, What::Cordoned),
            DutyOrder::Drain { deadline } => {
                let deadline = deadline.map(|deadline| self.at + deadline);
                (Duty::Draining { since: self.at, deadline }, What::Draining)
            }
        };
        if duty == before {
            return Ok(Answer::Done);
        }
        self.nodes[id.slot()].duty = duty;
        let left = count(self.tasks_left(id), "task");
        let message = match (duty, order) {
            (_, DutyOrder::Drain { deadline: Some(span) }) => format!("{left} to go, told to stop after {span}"),
            (Duty::Draining { .. }, _) => format!("{left} to go"),
            _ => String::new(),
        };
        self.record(what, Subject::Node, None, Some(id), message);
        self.changed_node(id);
        self.touch_node(id, touched);
        self.record_if_drained(id);
        Ok(Answer::Done)
    }

    /// How many tasks of a node are not seen to have ended.
    pub fn tasks_left(&self, id: NodeId) -> u32 {
        let left = self.nodes[id.slot()].tasks().filter_map(|task| self.task(task));
        left.filter(|task| !task.state.is_terminal()).count() as u32
    }

    /// Whether an operator wants a node's tasks to go, and all are seen to have ended.
    pub fn is_drained(&self, id: NodeId) -> bool {
        self.nodes[id.slot()].duty.is_draining() && self.tasks_left(id) == 0
    }

    fn record_if_drained(&mut self, id: NodeId) {
        if self.is_drained(id) {
            self.record_node(What::Drained, id);
        }
    }
}

/// `1 replica`, `3 replicas`.
fn count(number: u32, of: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {of}{s}")
}

fn no_such(kind: Kind, name: &str) -> Rejection {
    Rejection::new(Code::NotFound, format!("there is no {kind} `{name}`"))
}

/// Of what a request asks for, so that another one under the same idempotency key is told apart.
fn fingerprint(put: &Put) -> u64 {
    let Definition { kind, name, labels, replicas, update, spec } = &put.definition;
    let mut fnv = crate::model::Fnv::default();
    fnv.write_u8(*kind as u8);
    fnv.write(name.as_bytes());
    fnv.write_u32(*replicas);
    for (key, value) in labels {
        fnv.write_usize(key.len());
        fnv.write(key.as_bytes());
        fnv.write_usize(value.len());
        fnv.write(value.as_bytes());
    }
    fnv.write_u64(spec.fingerprint());
    // As it was before an update could be described.
    if *update != Update::ONE_BY_ONE {
        update.hash(&mut fnv);
    }
    match put.condition {
        Condition::None => fnv.write_u8(0),
        Condition::Absent => fnv.write_u8(1),
        Condition::Revision(revision) => fnv.write_u64(revision),
    }
    fnv.finish()
}

// What nodes say.
impl Cluster {
    fn apply_register(&mut self, registration: &Registration, touched: &mut Touched) -> Result<Answer, Rejection> {
        let info = &registration.info;
        let known = self.node_uids.get(&info.uid).copied();
        if let Some(holder) = self.node_named(&info.name).filter(|holder| Some(holder.id) != known) {
            let message = format!(
                "another node is named `{}` ({}): choose another name, or forget that node",
                info.name, holder.info.uid
            );
            return Err(Rejection { code: Code::NameInUse, field: "name".into(), message });
        }
        let was_silent = known.is_some_and(|id| self.nodes[id.slot()].reach != Reach::Reachable);
        let id = known.unwrap_or(NodeId(u32::try_from(self.nodes.len()).expect("fewer nodes than that")));
        match known {
            Some(id) => {
                let node = &mut self.nodes[id.slot()];
                self.node_names.remove(&node.info.name);
                node.info = info.clone();
                node.incarnation = self.index;
                node.registered_at = self.at;
                node.reach = Reach::Reachable;
                node.granted = node.used;
                if planted(Bug::RestsForgottenAtReturn) {
                    node.resting_ports.clear();
                }
            }
            None => self.nodes.push(Node::bare(
                id,
                info.clone(),
                self.index,
                self.at,
                Reach::Reachable,
                Duty::Active,
                false,
                Default::default(),
                info.port_range.0,
            )),
        }
        self.node_names.insert(info.name.clone(), id);
        self.node_uids.insert(info.uid, id);
        match known {
            None => self.record_node(What::Joined, id),
            Some(_) if was_silent => self.record_node(What::Returned, id),
            Some(_) => {}
        }
        self.changed_node(id);
        if known.is_none() || !planted(Bug::ReturnUnseen) {
            self.touch_node(id, touched);
        }
        for report in &registration.inventory {
            self.apply_report(id, report, touched);
        }
        Ok(Answer::Node { node: id, incarnation: self.index })
    }

    fn apply_edge(&mut self, edge: &Edge, touched: &mut Touched) {
        let Some(node) = self.nodes.get_mut(edge.node.slot()) else { return };
        let stale = node.incarnation != edge.incarnation && !planted(Bug::StaleEdgeCounts);
        if node.forgotten || stale || node.reach == edge.reach {
            return;
        }
        node.reach = edge.reach;
        self.record_node(if edge.reach == Reach::Reachable { What::Returned } else { What::Unreachable }, edge.node);
        self.changed_node(edge.node);
        self.touch_node(edge.node, touched);
    }

    /// A node came, went or came back: it and everything on it is looked at again.
    fn touch_node(&mut self, id: NodeId, touched: &mut Touched) {
        touched.nodes.push(id);
        touched.reach_changed = true;
        let tasks = self.nodes[id.slot()].tasks();
        touched.workloads.extend(tasks.filter_map(|task| Some(self.task(task)?.workload)));
    }

    fn apply_reports(
        &mut self,
        node: NodeId,
        incarnation: u64,
        reports: &[TaskReport],
        touched: &mut Touched,
    ) -> Result<Answer, Rejection> {
        let stale = |n: &Node| n.incarnation != incarnation && !planted(Bug::StaleReportCounts);
        let known = self.node(node).filter(|n| !n.forgotten && !stale(n));
        if known.is_none() {
            return Err(Rejection::new(Code::Conflict, "a report from an older registration"));
        }
        for report in reports {
            self.apply_report(node, report, touched);
        }
        Ok(Answer::Done)
    }

    /// A report counts if it is from the task's own node and goes forward. Everything else is
    /// ordinary input: duplicates, late messages, tasks that are no longer remembered.
    fn apply_report(&mut self, node: NodeId, report: &TaskReport, touched: &mut Touched) {
        if report.state < TaskState::Preparing || report.state == TaskState::Lost {
            return;
        }
        let Some(key) = self.tasks.key(report.task) else { return };
        if self.tasks.at(key).node != Some(node) {
            return;
        }
        if report.state.is_terminal() {
            let end = report.end.clone().unwrap_or_else(|| End::new(Reason::Exited, ""));
            let end = End { message: cut(end.message), ..end };
            // The engine tidies up before it lets anybody look at what has ended. The wait for the next
            // attempt has begun by then.
            let task = self.tasks.at(key);
            let begun = task.running_at.unwrap_or(task.created_at);
            let ended_at = self.at.before(report.ended_ago.min(ENDED_AGO_MAX)).max(begun);
            self.end_task(key, report.state, end, ended_at, touched);
        } else if self.advance_task(key, report.state, None, self.at) {
            if report.state == TaskState::Running {
                self.record_task(What::Running, key, "");
            }
            touched.workloads.push(self.tasks.at(key).workload);
        }
    }

    /// A task has ended: what it held is free, and its slot counts the failure in the same entry
    /// (invariant I13).
    fn end_task(&mut self, key: TaskKey, state: TaskState, end: End, ended_at: Time, touched: &mut Touched) {
        let (port_taken, named) = (end.reason == Reason::PortTaken, end.port);
        let said = end.to_string();
        if !self.advance_task(key, state, Some(end), ended_at) {
            return;
        }
        let task = self.tasks.at(key);
        let (uid, slot, id, node) = (task.workload, task.slot as usize, task.id, task.node);
        // How an older version fails says nothing about the current one.
        let current = self.workloads[&uid].current().number == task.version || planted(Bug::OldVersionCounts);
        let by_itself = current && task.desired == Desired::Running && state != TaskState::Lost;
        let since = if planted(Bug::HealthFromCreation) { Some(task.created_at) } else { task.running_at };
        let ran = since.map(|since| ended_at.since(since));
        // The one that the engine named; any of them may be meant where it named none.
        let named = named.filter(|port| task.host_ports.contains(port) && !planted(Bug::AllPortsRest));
        let is_taken = |port: &u16| port_taken && named.is_none_or(|named| named == *port);
        let ports = Vec::from_iter(task.host_ports.iter().copied().filter(is_taken));
        if let Some(node) = node {
            let until = self.at + PORT_REST;
            let resting = &mut self.nodes[node.slot()].resting_ports;
            resting.retain(|_, rests_until| *rests_until > self.at);
            resting.extend(ports.into_iter().map(|port| (port, until)));
            touched.nodes.extend((!planted(Bug::RoomUnseen)).then_some(node));
            touched.tasks.push((node, id));
        }
        touched.workloads.push(uid);
        let mut next = String::new();
        if by_itself {
            let seed = self.seed;
            let workload = self.workloads.get_mut(&uid).expect("a task's workload lives as long as it");
            let restart = workload.current().spec.restart;
            let slot = &mut workload.slots[slot];
            if ran.is_some_and(|ran| ran >= restart.reset_after) {
                slot.failures = 0;
            }
            slot.failures = slot.failures.saturating_add(1);
            let delay = restart.delay(slot.failures);
            let wait = delay.0.saturating_add(jitter(seed, id, delay.0 / 8));
            slot.not_before = ended_at + Millis(wait);
            if reconciler::is_tried_again(workload, self.tasks.at(key)) {
                next = format!("; tried again in {} s", wait.div_ceil(1000));
            }
        }
        if let Some(what) = What::end(state) {
            self.record_task(what, key, format!("{said}{next}"));
        }
        self.refresh_finished(uid);
        node.into_iter().for_each(|node| self.record_if_drained(node));
    }

    /// Tells a task to stop. One that was never placed has nothing to stop, and ends here.
    fn stop_task(&mut self, key: TaskKey, touched: &mut Touched) {
        let task = self.tasks.at_mut(key);
        if !task.is_live() {
            return;
        }
        task.desired = Desired::Stopped;
        task.generation += 1;
        let (id, node) = (task.id, task.node);
        touched.workloads.push(task.workload);
        self.changed_task(key);
        match node {
            Some(node) => {
                touched.tasks.push((node, id));
                self.record_task(What::Stopping, key, "");
            }
            None => {
                let end = End::new(Reason::Stopped, "stopped before it had a node");
                self.end_task(key, TaskState::Stopped, end, self.at, touched);
            }
        }
    }
}

/// A draw from 0 to `most`, from the term's seed and a stream of the task's own.
fn jitter(seed: u64, task: TaskId, most: u64) -> u64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ task.index.rotate_left(32));
    rng.set_stream(u64::from(task.epoch) << 32 | u64::from(task.ordinal));
    rng.next_u64() % (most + 1)
}

// What the leader decided.
impl Cluster {
    fn apply_plan(&mut self, plan: &Plan, touched: &mut Touched) {
        for id in &plan.stops {
            if let Some(key) = self.tasks.key(*id) {
                self.stop_task(key, touched);
            }
        }
        for id in &plan.removes {
            self.apply_remove(*id, touched);
        }
        for (ordinal, create) in plan.creates.iter().enumerate() {
            let ordinal = u32::try_from(ordinal).expect("a plan is bounded");
            touched.workloads.push(create.workload);
            if !self.apply_create(ordinal, create, touched) {
                self.refuse(create.target.as_ref(), touched);
            }
        }
        for place in &plan.places {
            if !self.apply_place(place, touched) {
                self.refuse(Some(&place.target), touched);
            }
        }
        for (uid, len) in &plan.trims {
            self.apply_trim(*uid, *len);
        }
        for uid in &plan.drops {
            self.apply_drop(*uid, touched);
        }
        for (uid, decision) in &plan.decisions {
            self.apply_decision(*uid, decision);
        }
    }

    /// A part of a plan had become stale. What it would have taken there is free for others, who were
    /// told that there is no room.
    fn refuse(&self, target: Option<&Target>, touched: &mut Touched) {
        touched.refused += 1;
        let node = target.map(|target| target.node).filter(|node| self.node(*node).is_some());
        touched.nodes.extend(node);
    }

    fn apply_decision(&mut self, uid: Uid, decision: &Decision) {
        let Some(workload) = self.workloads.get_mut(&uid) else { return };
        let before = workload.decision.replace(decision.clone());
        self.changed_workload(uid);
        // That it still finds no node, for the same reasons, is no news.
        let kinds = |decision: &Decision| Vec::from_iter(decision.refusals.iter().map(|r| (r.filter.clone(), r.nodes)));
        let news = before.is_none_or(|before| before.unplaced == 0 || kinds(&before) != kinds(decision));
        if decision.unplaced > 0 && news {
            let tasks = count(decision.unplaced, "task");
            self.record_workload(What::Unplaced, uid, format!("{tasks} without a node: {}", decision.why()));
        }
    }

    fn apply_remove(&mut self, id: TaskId, touched: &mut Touched) {
        let Some(key) = self.tasks.key(id) else { return };
        let task = self.tasks.at(key);
        if !task.state.is_terminal() {
            return;
        }
        let workload = &self.workloads[&task.workload];
        // The newest attempt tells the reconciler what the slot has been through.
        let newest = workload.slots[task.slot as usize].newest == Some(key);
        if newest && task.slot < workload.wanted() {
            return;
        }
        let uid = task.workload;
        touched.tasks.extend(task.node.map(|node| (node, id)));
        self.remove_task(key);
        self.refresh_finished(uid);
    }

    /// Returns false where the plan has become stale.
    fn apply_create(&mut self, ordinal: u32, create: &Create, touched: &mut Touched) -> bool {
        let Some(workload) = self.workloads.get(&create.workload) else { return false };
        let slot = workload.slots.get(create.slot as usize).copied();
        let fresh = create.slot < workload.wanted()
            && (workload.current().number == create.version || planted(Bug::StaleVersionMade))
            && slot.map_or(create.slot as usize == workload.slots.len(), |slot| {
                let newest = self.attempts(&slot).next();
                // It may have reported a good end, or been told to stop, since the plan was made.
                let over = |task: &Task| reconciler::is_over(workload, task) && !planted(Bug::FinishedRunRepeated);
                let follows = !newest.is_some_and(over);
                follows && self.at >= slot.not_before && newest.map(|task| task.id) == create.after
            });
        if !fresh {
            return false;
        }
        let spec = workload.current().spec.clone();
        if create.target.as_ref().is_some_and(|target| self.check_target(&spec, target).is_err()) {
            return false;
        }
        if slot.is_none() {
            let workload = self.workloads.get_mut(&create.workload).expect("just found");
            workload.slots.push(Slot::default());
        }
        let id = self.task_id(ordinal);
        let mut task = Task::new(id, create.workload, create.slot, create.version, self.at);
        if let Some(target) = &create.target {
            task.node = Some(target.node);
            task.host_ports = target.host_ports.clone();
            task.state = TaskState::Assigned;
            task.generation = 1;
            touched.tasks.push((target.node, id));
            self.turn_ports(&spec, target);
        }
        self.insert_task(task);
        if create.target.is_some() {
            self.record_placed(id);
        }
        true
    }

    /// Returns false where the plan has become stale.
    fn apply_place(&mut self, place: &Place, touched: &mut Touched) -> bool {
        let Some(key) = self.tasks.key(place.task) else { return false };
        let task = self.tasks.at(key);
        if task.state != TaskState::Pending || task.desired != Desired::Running {
            return false;
        }
        let (uid, spec) = (task.workload, self.spec_of(task).clone());
        touched.workloads.push(uid);
        if self.check_target(&spec, &place.target).is_err() {
            return false;
        }
        self.place_task(key, &place.target, self.at);
        self.record_placed(place.task);
        self.turn_ports(&spec, &place.target);
        touched.tasks.push((place.target.node, place.task));
        true
    }

    fn record_placed(&mut self, id: TaskId) {
        let key = self.tasks.key(id).expect("placed just now");
        let task = self.tasks.at(key);
        let after = task.older.map(|older| format!(", after {}", self.tasks.at(older).id));
        let message = format!("slot {}, version {}{}", task.slot, task.version, after.unwrap_or_default());
        self.record_task(What::Placed, key, message);
    }

    /// Whether a task of this spec may be placed there now: the scheduler's own filters, over the
    /// state as it is (invariants I1, I17, I18).
    fn check_target(&self, spec: &Spec, target: &Target) -> Result<(), filter::Refusal> {
        let node = self.node(target.node).ok_or(filter::Refusal::NotReady)?;
        let class = Class::of(spec);
        filter::check(node, &class, &Demand::default(), self.at)?;
        filter::check_ports(node, spec, &target.host_ports, self.at)
    }

    /// The next search for a port starts behind those that were chosen now.
    fn turn_ports(&mut self, spec: &Spec, target: &Target) {
        let node = &mut self.nodes[target.node.slot()];
        let mut chosen = spec.ports.iter().zip(&target.host_ports).filter(|(port, _)| port.host.is_none());
        if let Some((_, &last)) = chosen.next_back() {
            let (first, end) = node.info.port_range;
            node.next_port = if last >= end { first } else { last + 1 };
        }
    }

    fn apply_trim(&mut self, uid: Uid, len: u32) {
        let Some(workload) = self.workloads.get_mut(&uid) else { return };
        while workload.slots.len() > len.max(workload.wanted()) as usize
            && workload.slots.last().is_some_and(|slot| slot.newest.is_none())
        {
            workload.slots.pop();
        }
    }

    fn apply_drop(&mut self, uid: Uid, touched: &mut Touched) {
        let Some(workload) = self.workloads.get(&uid) else { return };
        let attempts = workload.slots.iter().flat_map(|slot| self.attempts(slot));
        let ended: Option<Vec<TaskId>> = attempts.map(|task| task.state.is_terminal().then_some(task.id)).collect();
        let finished = workload.deleting
            || workload.slots.first().and_then(|slot| self.attempts(slot).next()).is_some_and(|task| {
                reconciler::is_final(workload, task) // an old result makes room for newer ones
            });
        let Some(tasks) = ended.filter(|_| finished) else { return };
        for id in tasks {
            let key = self.tasks.key(id).expect("just found");
            let task = self.tasks.at(key);
            if !planted(Bug::DropUntold) {
                touched.tasks.extend(task.node.map(|node| (node, id)));
            }
            self.remove_task(key);
        }
        self.drop_workload(uid);
    }
}

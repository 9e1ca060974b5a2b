//! What operators want of nodes, and what nodes say.

use super::*;
use std::collections::BTreeSet;

impl Cluster {
    pub(super) fn apply_set_availability(
        &mut self,
        name: &str,
        order: AvailabilityOrder,
        touched: &mut Touched,
    ) -> Result<Answer, Rejection> {
        let Some(node) = self.node_named(name) else {
            return Err(Rejection::new(Code::NotFound, format!("there is no node `{name}`")));
        };
        let (id, before) = (node.id, node.availability);
        let (availability, what) = match order {
            AvailabilityOrder::Uncordon => (Availability::Active, What::Uncordoned),
            AvailabilityOrder::Cordon if before.is_draining() => return Ok(Answer::Done),
            AvailabilityOrder::Cordon => (Availability::Cordoned, What::Cordoned),
            AvailabilityOrder::Drain { deadline } => {
                let deadline = deadline.map(|deadline| self.at + deadline);
                (Availability::Draining { since: self.at, deadline }, What::Draining)
            }
        };
        if availability == before {
            return Ok(Answer::Done);
        }
        self.nodes[id].availability = availability;
        let left = count(self.tasks_left(id), "task");
        let message = match (availability, order) {
            (_, AvailabilityOrder::Drain { deadline: Some(span) }) => {
                format!("{left} to go, told to stop after {span}")
            }
            (Availability::Draining { .. }, _) => format!("{left} to go"),
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
        let left = self.nodes[id].tasks().filter_map(|task| self.task(task));
        left.filter(|task| !task.state.is_terminal()).count() as u32
    }

    /// Whether an operator wants a node's tasks to go, and all are seen to have ended.
    pub fn is_drained(&self, id: NodeId) -> bool {
        self.nodes[id].availability.is_draining() && self.tasks_left(id) == 0
    }

    pub(super) fn record_if_drained(&mut self, id: NodeId) {
        if self.is_drained(id) {
            self.record_node(What::Drained, id);
        }
    }

    /// The task of a node that its fence stops last, and when it is known to be gone, where the node has been silent since
    /// then.
    fn last_fenced(&self, node: &Node, since: Time) -> Option<(TaskId, Time)> {
        let fenced = |task: &Task| {
            let timed = Some(&self.spec_of(task).disconnect).filter(|it| it.fence == Fence::Timed);
            timed.and_then(|it| it.replace_after).filter(|_| !task.state.is_terminal())
        };
        let tasks = node.tasks().filter_map(|id| self.task(id));
        tasks.filter_map(|task| Some((task.id, since + fenced(task)?))).max_by_key(|(task, at)| (*at, *task))
    }

    /// Whether a node that has been silent since then has stopped by now what it stops by itself (invariant I7).
    ///
    /// # Errors
    /// The task that may run, and for how long.
    pub(crate) fn check_fences(&self, node: &Node, since: Time, at: Time) -> Result<(), Rejection> {
        let last = self.last_fenced(node, since).filter(|(_, gone_at)| *gone_at > at);
        let Some((task, gone_at)) = last else { return Ok(()) };
        let message = format!(
            "node `{}` may still run task {task}, whose fence is timed: it stops it by itself within {} s, ask again then",
            node.info.name,
            gone_at.since(at).0.div_ceil(1000)
        );
        Err(Rejection::new(Code::Conflict, message))
    }

    pub(super) fn apply_forget(&mut self, name: &str, touched: &mut Touched) -> Result<Answer, Rejection> {
        let Some(node) = self.node_named(name) else {
            return Err(Rejection::new(Code::NotFound, format!("there is no node `{name}`")));
        };
        let Some(since) = node.silent_since() else {
            let message = format!("node `{name}` is reachable: stop its worker first");
            return Err(Rejection::new(Code::Conflict, message));
        };
        self.check_fences(node, since, self.at)?;
        let (id, tasks) = (node.id, Vec::from_iter(node.tasks()));
        for task in tasks {
            let key = self.tasks.key(task).expect("a node's tasks are in the table");
            let end = End::new(Reason::NodeLost, format!("node {name} was forgotten"));
            self.end_task(key, TaskState::Lost, end, self.at, touched);
        }
        self.record_node(What::Forgotten, id);
        self.changed_node(id);
        self.forget_node(id);
        touched.nodes.push(id);
        touched.reach_changed = true;
        Ok(Answer::Done)
    }
}

// What nodes say.
impl Cluster {
    pub(super) fn apply_register(
        &mut self,
        registration: &Registration,
        touched: &mut Touched,
    ) -> Result<Answer, Rejection> {
        let info = &registration.info;
        let known = self.node_uids.get(&info.uid).copied();
        if let Some(holder) = self.node_named(&info.name).filter(|holder| Some(holder.id) != known) {
            let message = format!(
                "another node is named `{}` ({}): choose another name, or forget that node",
                info.name, holder.info.uid
            );
            return Err(Rejection { code: Code::NameInUse, field: "name".into(), message });
        }
        let was_silent = known.is_some_and(|id| self.nodes[id].reach != Reach::Reachable);
        let id = known.unwrap_or(self.nodes.next_id());
        match known {
            Some(id) => {
                self.set_reach(id, Reach::Reachable);
                let node = &mut self.nodes[id];
                self.node_names.remove(&node.info.name);
                node.info = info.clone();
                node.incarnation = self.index;
                node.granted = node.used;
            }
            None => self.insert_node(Node::bare(
                id,
                info.clone(),
                self.index,
                self.at,
                Reach::Reachable,
                Availability::Active,
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
        self.note_unknown(id, &registration.inventory);
        self.changed_node(id);
        self.touch_node(id, touched);
        for report in &registration.inventory {
            self.apply_report(id, report, touched);
        }
        Ok(Answer::Node { node: id, incarnation: self.index })
    }

    /// Notes what a node has from before a restore that the state does not know, where that is left alone.
    fn note_unknown(&mut self, id: NodeId, inventory: &[TaskReport]) {
        let reported = inventory.iter().map(|report| report.task);
        let unknown: BTreeSet<TaskId> = reported.filter(|task| self.leaves_alone(*task)).collect();
        if unknown == self.nodes[id].unknown {
            return;
        }
        if !unknown.is_empty() {
            let message = format!("{} from before the restore: left alone", count(unknown.len() as u32, "task"));
            self.record(What::UnknownTasks, Subject::Node, None, Some(id), message);
        }
        self.nodes[id].unknown = unknown;
    }

    /// An operator has said what becomes of what is left alone since a restore.
    pub(super) fn apply_settle_unknown(&mut self, adopt: bool, touched: &mut Touched) -> Result<Answer, Rejection> {
        if self.unknown == UnknownTasks::Removed {
            let message = "nothing is held: this manager was not restored from a backup, or that is settled";
            return Err(Rejection::new(Code::Conflict, message));
        }
        if adopt {
            self.unknown = UnknownTasks::Adopted;
            return Ok(Answer::Done);
        }
        self.unknown = UnknownTasks::Removed;
        let ids: Vec<NodeId> = self.nodes.iter().filter(|node| !node.unknown.is_empty()).map(|node| node.id).collect();
        for id in ids {
            let unknown = std::mem::take(&mut self.nodes[id].unknown);
            touched.tasks.extend(unknown.into_iter().map(|task| (id, task)));
            self.changed_node(id);
        }
        Ok(Answer::Done)
    }

    pub(super) fn apply_reach_change(&mut self, change: &ReachabilityChange, touched: &mut Touched) {
        let ReachabilityChange { node: id, incarnation, reach } = *change;
        let Some(node) = self.node(id) else { return };
        if node.incarnation != incarnation || node.reach == reach {
            return;
        }
        self.set_reach(id, reach);
        self.record_node(if reach == Reach::Reachable { What::Returned } else { What::Unreachable }, id);
        self.changed_node(id);
        self.touch_node(id, touched);
    }

    pub(super) fn apply_disk_change(&mut self, change: &DiskChange, touched: &mut Touched) {
        let DiskChange { node: id, incarnation, full } = *change;
        let Some(node) = self.node(id) else { return };
        if node.incarnation != incarnation || node.disk_full_since.is_some() == full {
            return;
        }
        self.nodes[id].disk_full_since = full.then_some(self.at);
        self.record_node(if full { What::DiskFull } else { What::DiskHasRoom }, id);
        self.changed_node(id);
        self.touch_node(id, touched);
    }

    /// A node came, went or came back: it and everything on it is looked at again.
    fn touch_node(&mut self, id: NodeId, touched: &mut Touched) {
        touched.nodes.push(id);
        touched.reach_changed = true;
        let tasks = self.nodes[id].tasks();
        touched.workloads.extend(tasks.filter_map(|task| Some(self.task(task)?.workload)));
    }

    pub(super) fn apply_reports(&mut self, said: &NodeReports, touched: &mut Touched) {
        let NodeReports { node, incarnation, reports } = said;
        // A report of an older registration says nothing any more: its worker has another session by now.
        if self.node(*node).is_none_or(|n| n.incarnation != *incarnation) {
            return;
        }
        for report in reports {
            self.apply_report(*node, report, touched);
        }
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
                self.compare_build(key, report);
                self.starts_again(node);
            }
            // On the way to running, a task is of interest only beside another one in its slot.
            if report.state >= TaskState::Running || self.tasks.at(key).older.is_some() {
                touched.workloads.push(self.tasks.at(key).workload);
            }
        }
        if report.state == TaskState::Running && self.tasks.at(key).state == TaskState::Running {
            self.apply_probed(key, report, touched);
        }
        self.remember_build(key, report);
        if self.resolves(self.tasks.at(key), report) {
            self.apply_digest(key, report.digest.as_deref().unwrap_or_default(), touched);
        }
    }

    /// A task runs on a node: what could not be started there before was no fault of the node's, or that is over.
    fn starts_again(&mut self, id: NodeId) {
        let failed = std::mem::take(&mut self.nodes[id].failed_starts);
        if failed.avoided_until.is_some() {
            self.changed_node(id);
        }
    }

    /// Whether a report says for the first time what the image of a version means.
    pub(crate) fn resolves(&self, task: &Task, report: &TaskReport) -> bool {
        let version = self.workload(task.workload).and_then(|workload| workload.version(task.version));
        let unresolved = version.is_some_and(|version| version.image() == ImageBytes::Unresolved);
        unresolved && report.digest.as_deref().is_some_and(is_digest)
    }

    /// Of an image that no registry knows, each node has its own: the build of the first task is remembered.
    fn remember_build(&mut self, key: TaskKey, report: &TaskReport) {
        let Some(image_id) = image_id(report) else { return };
        let uid = self.tasks.at(key).workload;
        let version = self.version_of_mut(key);
        if version.digest.is_none() && version.image_id.is_none() {
            version.image_id = Some(image_id.into());
            self.changed_workload(uid);
        }
    }

    /// A task runs: is its image the one that the first task of its version had, or that a registry knows? Nothing is done about
    /// it, because nobody can say which of them was meant; a person is told.
    fn compare_build(&mut self, key: TaskKey, report: &TaskReport) {
        let Some(image_id) = image_id(report) else { return };
        let version = self.version_of_mut(key);
        let other = match (&version.digest, &version.image_id) {
            (Some(digest), _) => format!("others run {}", short(digest)),
            (None, Some(first)) if **first != *image_id => format!("its first task had {}", short(first)),
            (None, _) => return,
        };
        let message = format!(
            "version {} runs two builds of {}: this is {}, {other}; push it to a registry, or give each build a tag",
            version.number,
            version.spec.container.image,
            short(image_id)
        );
        self.record_task(What::ImageDiffers, key, message);
    }

    fn version_of_mut(&mut self, key: TaskKey) -> &mut Version {
        let task = self.tasks.at(key);
        let (uid, number) = (task.workload, task.version);
        let workload = self.workloads.get_mut(&uid).expect("a task's workload lives as long as it");
        let version = workload.versions.iter_mut().find(|version| version.number == number);
        version.expect("a version lives as long as a task refers to it")
    }

    /// From now on the image of a version means this: whoever has not created its container yet is told.
    fn apply_digest(&mut self, key: TaskKey, digest: &str, touched: &mut Touched) {
        let uid = self.tasks.at(key).workload;
        let version = self.version_of_mut(key);
        version.digest = Some(digest.into());
        let number = version.number;
        let mut message = format!("version {number}, {} is {digest}", version.spec.container.image);
        if let Some(first) = &version.image_id {
            message = format!("{message}; a node runs a build of its own, {}", short(first));
        }
        let workload = &self.workloads[&uid];
        let waits = |task: &&Task| task.version == number && task.state < TaskState::Running;
        let attempts = workload.slots.iter().flat_map(|slot| self.attempts(slot)).filter(waits);
        touched.tasks.extend(attempts.filter_map(|task| Some((task.node?, task.id))));
        self.record_workload(What::Resolved, uid, message);
        self.changed_workload(uid);
    }

    /// What a running task's probes have found. That its health fails counts as a failure of its slot, in the same
    /// entry (invariant I13); whose turn it is to be replaced, the plan says.
    fn apply_probed(&mut self, key: TaskKey, report: &TaskReport, touched: &mut Touched) {
        let task = self.tasks.at(key);
        let (before, served, since) = (task.probed, task.serves(), task.serving_since);
        // Of what is not asked, nobody can know anything.
        let Probes { health, ready } = &self.spec_of(task).container.probes;
        let Probed { health: healthy, ready: is_ready, image } = report.probed;
        let (healthy, is_ready) = (healthy.filter(|_| health.is_some()), is_ready.filter(|_| ready.is_some()));
        let found = Probed { health: healthy, ready: is_ready, image };
        let probed = before.updated(found);
        if probed == before {
            return;
        }
        self.set_probed(key, probed, self.at);
        let task = self.tasks.at(key);
        touched.workloads.push(task.workload);
        let failed = task.is_unhealthy() && before.health != Some(false);
        let (serves, why) = (task.serves(), cut(report.why.clone()));
        if failed {
            let wait = self.count_failure(key, since, self.at);
            let next = wait.map(|wait| format!("; replaced in {} s at the earliest", wait.0.div_ceil(1000)));
            self.record_task(What::Unhealthy, key, format!("{why}{}", next.unwrap_or_default()));
        } else if !serves && (served || (probed.ready == Some(false) && before.ready != Some(false))) {
            if self.counts_failures(key) {
                self.end_failure_streak(key, since, self.at);
            }
            // Also of one that never served: why not is what somebody wants to know of it.
            self.record_task(What::Unready, key, why);
        } else if !served && serves {
            self.record_task(What::Ready, key, "");
        }
    }
}

/// The build that a worker says a task runs, where it is the name of one.
fn image_id(report: &TaskReport) -> Option<&str> {
    report.image_id.as_deref().filter(|id| is_digest(id))
}

/// A digest as engines show it: enough to tell it from others.
fn short(digest: &str) -> &str {
    digest.get(.."sha256:".len() + 12).unwrap_or(digest)
}

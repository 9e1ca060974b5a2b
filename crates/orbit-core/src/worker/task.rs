//! One task on its node: what is wanted, what the ledger remembers, what the engine shows, and the
//! one step that follows.
//!
//! The order of things, and why: a create is remembered before it is begun, so that a container
//! that has gone is told from one that never was. An end is remembered before it is reported, so
//! that no crash starts the task again. A container is removed only when its end is committed; one
//! that was never seen to run goes before that, so that nobody can start it any more.

use super::{
    prefetch::fetch_failure,
    probing::{Found, Probing},
    *,
};

/// What is known of a task's container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing yet: look first.
    #[default]
    Unknown,
    /// There is none.
    Absent,
    /// There is one, and it was seen in this state.
    Is(ContainerState),
}

/// An operation on a task's container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Inspect,
    Fetch,
    Create,
    Start,
    Stop,
    Remove,
}

/// A create or a start that failed without the container's being to blame for certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    step: Step,
    /// When it failed so first.
    since: Time,
    /// The engine answered, so it is the container's fault as soon as the engine answers another question.
    answered: bool,
    /// What the engine said last.
    message: String,
}

/// A start that goes wrong for so long on an engine that answers everything else is the container's fault.
const BLAMED_AFTER: Millis = Millis::secs(60);

impl Trouble {
    /// Whether the container is to blame. Ask only when the engine has answered something else since.
    fn is_blamed(&self, now: Time) -> bool {
        self.answered || self.since + BLAMED_AFTER <= now
    }
}

/// A task as its node knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct WorkerTask {
    /// What the manager wants; `None` before it has said so in this process's life.
    pub order: Option<Assignment>,
    /// The manager does not know the task any more: nothing of it shall remain.
    pub unwanted: bool,
    /// What the engine showed last.
    pub container: Known,
    /// Something happened to the container since.
    pub stale: bool,
    /// When that was first heard of. What an engine tells of an end comes before it lets one look.
    pub hinted_at: Option<Time>,
    /// The engine refused an operation: left alone for a while.
    pub paused: bool,
    /// Its create or start failed, and nothing that was seen since says that it took place.
    pub trouble: Option<Trouble>,
    /// How it ends as soon as its container is gone, which was never seen to run. That goes first: a process before this one may have
    /// asked for it to be started, and an engine may do so late, when the task has ended for everybody else.
    pub withdrawn: Option<Withdrawn>,
    /// When the stop signal may be sent, once it was told to stop.
    pub signal_at: Option<Time>,
    /// When it is looked at next, to see whether its fence has passed.
    pub fence_look_at: Option<Time>,
    /// An operation is under way.
    pub op: bool,
    /// It is a fetch, of this image.
    pub fetching: Option<(String, Pull)>,
    /// The count of operations when one of this task's began or ended last.
    pub touched: u64,
    /// The image that is there, and the reference that it was asked for by.
    pub fetched: Option<(String, ImageFound)>,
    /// How far it has come, terminal states apart: those are in the ledger.
    pub observed: Option<TaskState>,
    /// The latest state that is known to be committed, and what its probes had found by the latest word of it.
    pub confirmed: Option<(TaskState, Probed)>,
    /// When each of its probes is asked, and how often it failed.
    pub probing: BTreeMap<ProbeKind, Probing>,
    /// What they have found.
    pub found: Found,
}

/// How a task ends whose container was never seen to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Withdrawn {
    state: TaskState,
    end: End,
    /// The engine answered, and will not remove the container.
    stays: bool,
}

impl WorkerTask {
    /// It ends like this as soon as its container, which was never seen to run, is removed.
    fn withdraw(&mut self, state: TaskState, end: End) {
        self.withdrawn = Some(Withdrawn { state, end, stays: false });
    }
    /// When its node stops it by itself, by its order.
    pub fn fence(&self) -> Option<TimedFence> {
        fence_of(self.order.as_ref(), None)
    }
    fn observe(&mut self, state: TaskState) {
        self.observed = self.observed.max(Some(state));
    }
    pub(super) fn confirm(&mut self, state: TaskState, probed: Probed) {
        if self.confirmed.is_none_or(|(known, _)| known <= state) {
            self.confirmed = Some((state, probed));
        }
    }
    /// What the image means here, as long as the manager has not said what it means for all.
    pub(super) fn unresolved(&self) -> Option<&String> {
        let order = self.order.as_ref()?;
        let waits = order.image == ImageBytes::Unresolved && !order.ended;
        self.fetched.as_ref()?.1.digest.as_ref().filter(|_| waits)
    }
    /// Which build its image is, where no registry knows it.
    pub(super) fn local_image(&self) -> Option<&String> {
        let found = &self.fetched.as_ref()?.1;
        found.digest.is_none().then_some(&found.id)
    }
    pub(super) fn wants_to_run(&self) -> bool {
        let runs = |order: &Assignment| order.desired == Desired::Running && !order.ended;
        !self.unwanted && self.order.as_ref().is_some_and(runs)
    }
}

/// How long a container has whose spec is not known (any more).
const GRACE_DEFAULT: Millis = Millis::secs(10);

impl Worker {
    /// Looks at every task that is due, and begins what follows.
    pub(super) fn drive_due(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.due.append(&mut self.volume_waits);
        while let Some(id) = self.due.pop_first() {
            self.looked_at.insert(id);
            self.drive(now, id, actions);
        }
    }

    /// One look at one task.
    fn drive(&mut self, now: Time, id: TaskId, actions: &mut Vec<Action>) {
        self.leave_fetch(id);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if task.op || task.paused || self.engine.down_until.is_some() || !self.engine.listed {
            return;
        }
        let remembered = self.ledger.tasks.get(&id);
        let attempted = remembered.is_some_and(|r| r.attempted);
        let ended = remembered.is_some_and(|r| r.end.is_some());
        let fenced = remembered.is_some_and(|r| r.fenced);
        if task.stale || (task.container == Known::Unknown && (attempted || task.unwanted || ended)) {
            return self.begin_step(id, Step::Inspect, actions);
        }
        if task.unwanted {
            return self.drive_unwanted(now, id, actions);
        }
        if ended || task.order.as_ref().is_some_and(|order| order.ended) {
            return self.drive_ended(id, actions);
        }
        match task.container {
            Known::Is(ContainerState::Exited { code, out_of_memory }) => {
                let (state, end) = match fenced {
                    true => (TaskState::Failed, End::exited(Reason::Fenced, code)),
                    false => ending(task.order.as_ref(), code, out_of_memory),
                };
                self.finish(now, id, state, end, actions);
            }
            Known::Is(ContainerState::Running) => {
                task.observe(TaskState::Running);
                task.withdrawn = None;
                if task.order.is_some() && !task.wants_to_run() {
                    task.observe(TaskState::Stopping);
                    self.stop_after_delay(now, id, actions);
                } else if fenced || self.is_fenced(now, id) {
                    // Should it be heard again before that has ended: nobody is to be sent to it.
                    self.tasks.get_mut(&id).expect("just looked").observe(TaskState::Stopping);
                    if !fenced {
                        self.persist(LedgerWrite::Fenced(id), actions);
                    }
                    self.begin_step(id, Step::Stop, actions);
                } else if self.tasks[&id].order.is_some() {
                    self.probe(now, id, actions);
                }
            }
            Known::Is(ContainerState::Created) => {
                task.observe(TaskState::Starting);
                // It was seen, so the create took place.
                task.trouble.take_if(|trouble| trouble.step == Step::Create);
                let trouble = task.trouble.as_ref();
                if let Some(withdrawn) = task.withdrawn.take_if(|withdrawn| withdrawn.stays) {
                    // Its end does not wait for ever for an engine that does not let go of it.
                    self.finish(now, id, withdrawn.state, withdrawn.end, actions);
                } else if task.withdrawn.is_some() {
                    self.begin_step(id, Step::Remove, actions);
                } else if let Some(blamed) = trouble.filter(|trouble| trouble.is_blamed(now) && task.wants_to_run()) {
                    let end = End::new(Reason::StartFailed, blamed.message.clone());
                    task.withdraw(TaskState::Failed, end);
                    self.begin_step(id, Step::Remove, actions);
                } else if task.wants_to_run() {
                    match self.forbidden(id) {
                        None => self.enqueue(now, id, actions),
                        Some(why) => {
                            let task = self.tasks.get_mut(&id).expect("just looked");
                            task.withdraw(TaskState::Failed, End::new(Reason::StartFailed, why));
                            self.begin_step(id, Step::Remove, actions);
                        }
                    }
                } else if task.order.is_some() {
                    let message = with_last_words("stopped before it was started", trouble);
                    let end = End::new(Reason::Stopped, message);
                    task.withdraw(TaskState::Stopped, end);
                    self.begin_step(id, Step::Remove, actions);
                }
            }
            Known::Absent | Known::Unknown if attempted => {
                if let Some(Withdrawn { state, end, .. }) = task.withdrawn.take() {
                    return self.finish(now, id, state, end, actions);
                }
                let told = task.order.as_ref().is_some_and(|order| order.desired == Desired::Stopped);
                let state = if told { TaskState::Stopped } else { TaskState::Failed };
                let end = match task.trouble.as_ref() {
                    Some(refused) if refused.step == Step::Create && refused.answered => {
                        End::new(Reason::CreateFailed, refused.message.clone())
                    }
                    other => End::new(Reason::Vanished, with_last_words("its container is gone", other)),
                };
                self.finish(now, id, state, end, actions);
            }
            Known::Absent | Known::Unknown => self.drive_new(now, id, actions),
        }
    }

    /// A task that is not to run any more does not wait for its image.
    fn leave_fetch(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| !task.wants_to_run()) else { return };
        if let Some(image) = task.fetching.take() {
            self.fetching.get_mut(&image).expect("a task waits for what is fetched").remove(&id);
            self.tick();
            let task = self.tasks.get_mut(&id).expect("just found");
            (task.op, task.touched) = (false, self.ticks);
        }
    }

    /// Gives up fetches for which nobody waits any more: a large image that nobody needs takes the network and the disk
    /// from those that somebody does.
    pub(super) fn cancel_fetches(&mut self, actions: &mut Vec<Action>) {
        let prefetching = &self.prefetching;
        let nobody_waits = |image: &(String, Pull), waiting: &mut BTreeSet<TaskId>| {
            waiting.is_empty() && !prefetching.contains_key(image)
        };
        let unwanted: Vec<_> = self.fetching.extract_if(.., nobody_waits).collect();
        for (unwanted, _) in unwanted {
            actions.extend(self.give_up_fetch(&unwanted).map(Action::Cancel));
        }
    }

    /// Whether the manager may have replaced the task by now, because it has not heard of this node for so long: then
    /// it is stopped, whatever was wanted, and not started (invariant I8). Looks again when that will be so.
    fn is_fenced(&mut self, now: Time, id: TaskId) -> bool {
        let heard_of_at = self.link.heard_of_at();
        let task = self.tasks.get_mut(&id).expect("the caller has looked");
        let fence = fence_of(task.order.as_ref(), self.ledger.tasks.get(&id));
        let Some(at) = fence.map(|fence| fence.passes_at(heard_of_at)) else { return false };
        if at > now && task.fence_look_at.is_none_or(|look_at| look_at <= now) {
            task.fence_look_at = Some(at);
            self.looks.insert((at, id));
        }
        at <= now
    }

    /// It was told to stop while it ran: the signal follows the delay, so that nobody is sent to it any more.
    /// A worker that was restarted in the middle counts the delay anew.
    fn stop_after_delay(&mut self, now: Time, id: TaskId, actions: &mut Vec<Action>) {
        let task = self.tasks.get_mut(&id).expect("the caller has looked");
        let delay = task.order.as_ref().map_or(Millis(0), |order| order.spec.container.stop.delay);
        let signal_at = *task.signal_at.get_or_insert(now + delay);
        if signal_at > now && !self.is_fenced(now, id) {
            self.looks.insert((signal_at, id));
        } else {
            self.begin_step(id, Step::Stop, actions);
        }
    }

    /// What a task asks for that this node does not give, in words: most often what its operator does not allow. The manager
    /// has asked that before; but this is not its word, and the operator may have taken it back since.
    fn forbidden(&self, id: TaskId) -> Option<String> {
        let order = self.tasks[&id].order.as_ref()?;
        if order.volumes.len() != order.spec.container.setup.volumes.len() {
            return Some("its manager does not say which volumes it has".to_string());
        }
        let asks = order.spec.asks();
        let asked = self.config.info.forbids(&asks)?;
        Some(format!("`{asked}` is not among what the operator of this node allows"))
    }

    /// No container was ever attempted.
    fn drive_new(&mut self, now: Time, id: TaskId, actions: &mut Vec<Action>) {
        let task = self.tasks.get_mut(&id).expect("the caller has looked");
        if task.order.is_none() {
            return;
        }
        if !task.wants_to_run() {
            let end = End::new(Reason::Stopped, "stopped before it was created");
            return self.finish(now, id, TaskState::Stopped, end, actions);
        }
        if let Some(why) = self.forbidden(id) {
            return self.finish(now, id, TaskState::Failed, End::new(Reason::CreateFailed, why), actions);
        }
        let task = self.tasks.get_mut(&id).expect("just looked");
        let order = task.order.as_ref().expect("just looked");
        let is_right = |(reference, found): &(String, ImageFound)| match &order.image {
            ImageBytes::Digest(wanted) => found.digest.as_deref() == Some(wanted),
            ImageBytes::AsWritten | ImageBytes::Unresolved => *reference == order.spec.container.image,
        };
        if !task.fetched.as_ref().is_some_and(is_right) {
            task.observe(TaskState::Preparing);
            self.begin_step(id, Step::Fetch, actions);
        } else if task.unresolved().is_none() {
            task.observe(TaskState::Starting);
            self.enqueue(now, id, actions);
        }
    }

    /// The task has ended. Its container is kept for its logs; but one that was never started has
    /// none, and one that somebody started again must not run.
    fn drive_ended(&mut self, id: TaskId, actions: &mut Vec<Action>) {
        let task = &self.tasks[&id];
        let committed = task.order.as_ref().is_some_and(|order| order.ended)
            || task.confirmed.is_some_and(|(state, _)| state.is_terminal());
        match task.container {
            Known::Is(ContainerState::Running) => self.begin_step(id, Step::Stop, actions),
            Known::Is(ContainerState::Created) if committed => self.begin_step(id, Step::Remove, actions),
            _ => {}
        }
    }

    /// Nothing of the task shall remain. Where it was told to stop before, it keeps its delay.
    fn drive_unwanted(&mut self, now: Time, id: TaskId, actions: &mut Vec<Action>) {
        let task = &self.tasks[&id];
        match task.container {
            Known::Is(ContainerState::Running) if task.signal_at.is_some() => self.stop_after_delay(now, id, actions),
            Known::Is(ContainerState::Running) => self.begin_step(id, Step::Stop, actions),
            Known::Is(_) => self.begin_step(id, Step::Remove, actions),
            Known::Absent | Known::Unknown => {
                if self.ledger.tasks.contains_key(&id) {
                    self.persist(LedgerWrite::Forgotten(id), actions);
                }
                self.tasks.remove(&id);
                self.queue.remove(&id);
            }
        }
    }

    /// The task has ended, for ever.
    fn finish(&mut self, now: Time, id: TaskId, state: TaskState, end: End, actions: &mut Vec<Action>) {
        let hinted_at = self.tasks[&id].hinted_at.unwrap_or(now);
        let report = TaskReport { ended_ago: now.since(hinted_at), ..TaskReport::new(id, state, Some(end)) };
        self.persist(LedgerWrite::Ended(report), actions);
        self.queue.remove(&id);
        self.drive_ended(id, actions);
    }

    /// Waits for a place among the creates and starts, in the order of the tasks' IDs.
    fn enqueue(&mut self, now: Time, id: TaskId, actions: &mut Vec<Action>) {
        self.queue.insert(id);
        self.serve_queue(now, actions);
    }

    fn serve_queue(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.engine.down_until.is_some() {
            return;
        }
        let starting = |op: &&InFlight| matches!(op, InFlight::Task { step: Step::Create | Step::Start, .. });
        let mut places = self.config.starts_max.saturating_sub(self.ops.values().filter(starting).count());
        let may_start = |task: &&WorkerTask| task.wants_to_run() && !task.op && !task.paused && !task.stale;
        while places > 0
            && let Some(id) = self.queue.pop_first()
        {
            let Some(task) = self.tasks.get(&id).filter(may_start) else { continue };
            // A welcome makes it look at everything again, an acknowledged heartbeat at this.
            let fence = task.fence();
            let fenced = fence.is_some_and(|fence| fence.passes_at(self.link.heard_of_at()) <= now);
            if fenced {
                continue;
            }
            if self.waits_for_volume(id) {
                self.volume_waits.insert(id);
                continue;
            }
            let task = &self.tasks[&id];
            if task.container == Known::Is(ContainerState::Created) {
                places -= 1;
                // Durable before anything can be written to them.
                for volume in self.unmade_volumes(id) {
                    self.persist(LedgerWrite::VolumeMade(volume), actions);
                }
                self.begin_step(id, Step::Start, actions);
            } else if !self.ledger.tasks.contains_key(&id) && !matches!(task.container, Known::Is(_)) {
                places -= 1;
                // Durable before the create is begun: attempted and absent means vanished.
                self.persist(LedgerWrite::Attempted(id), actions);
                if let Some(fence) = fence {
                    self.persist(LedgerWrite::Fence(id, fence), actions);
                    self.remember_heard_of(actions);
                }
                self.begin_step(id, Step::Create, actions);
            } else {
                // Something else was seen since it began to wait, and it was not looked at yet.
                self.due.insert(id);
            }
        }
    }

    /// The volumes of a task that are not known to have been made.
    fn unmade_volumes(&self, id: TaskId) -> Vec<String> {
        let order = self.tasks[&id].order.as_ref();
        let names = order.zip(self.owner()).map(|(order, owner)| Vec::from_iter(volume_names(&owner, order)));
        names.into_iter().flatten().filter(|name| !self.ledger.volumes.contains(name)).collect()
    }

    /// Whether a container is here that may write to what this task wants for itself. The manager has asked that before;
    /// but after its node was forgotten and came back, what ran there ends only now (invariant I49).
    fn waits_for_volume(&self, id: TaskId) -> bool {
        let uses = |task: &WorkerTask| task.order.as_ref().map(|order| order.spec.container.setup.volume_uses());
        let Some(own) = uses(&self.tasks[&id]).filter(|own| !own.is_empty()) else { return false };
        let holds = |(other, task): (&TaskId, &WorkerTask)| {
            let is_there = match task.container {
                Known::Is(state) => !matches!(state, ContainerState::Exited { .. }),
                Known::Absent => task.op,
                Known::Unknown => self.ledger.tasks.get(other).is_some_and(|it| it.attempted && it.end.is_none()),
            };
            // What one uses that is not wanted any more is not known.
            let is_known = !task.unwanted && task.order.as_ref().is_some_and(|order| !order.ended);
            *other != id && is_there && (!is_known || uses(task).is_some_and(|its| own.conflict(&its).is_some()))
        };
        self.tasks.iter().any(holds)
    }

    fn begin_step(&mut self, id: TaskId, step: Step, actions: &mut Vec<Action>) {
        let touched = self.tick();
        let name = self.container_of(id).expect("no task is known before a cluster is joined");
        let owner = self.owner().expect("no task is known before a cluster is joined");
        let task = self.tasks.get_mut(&id).expect("the caller has looked");
        assert!(!task.op, "one operation at a time for {id}");
        task.op = true;
        task.touched = touched;
        task.stale = false;
        let remembered = self.ledger.tasks.get(&id);
        let unknown = remembered.and_then(|remembered| remembered.fence).map_or(GRACE_DEFAULT, |fence| fence.grace);
        let grace = task.order.as_ref().map_or(unknown, |order| order.spec.container.stop.grace);
        let request = match step {
            Step::Inspect => Op::Inspect { owner, name },
            Step::Start => Op::Start(name),
            Step::Stop => Op::Stop { name, grace },
            Step::Remove => Op::Remove(name),
            Step::Create => {
                let order = task.order.as_ref().expect("only what is ordered is created");
                Op::Create(Box::new(container_spec(&owner, order, &self.ledger.volumes)))
            }
            Step::Fetch => {
                let order = task.order.as_ref().expect("only what is ordered is fetched");
                let (image, pull) = (order.image_reference(), order.spec.container.pull);
                task.fetching = Some((image.clone(), pull));
                // One fetch serves all that wait for the image.
                let under_way = self.fetching.contains_key(&(image.clone(), pull));
                self.fetching.entry((image.clone(), pull)).or_default().insert(id);
                if under_way {
                    return;
                }
                return self.fetch((image, pull), actions);
            }
        };
        self.begin(InFlight::Task { task: id, step }, request, actions);
    }

    /// An image is there, or cannot be had.
    pub(super) fn fetch_done(
        &mut self,
        now: Time,
        id: TaskId,
        image: &str,
        result: OpResult,
        actions: &mut Vec<Action>,
    ) {
        match result {
            Ok(OpOutput::Image(found)) => {
                let task = self.tasks.get_mut(&id).expect("a task stays while an operation is under way");
                (task.op, task.fetching) = (false, None);
                task.fetched = Some((image.to_string(), found));
                task.touched = self.ticks;
                self.due.insert(id);
            }
            Ok(_) => unreachable!("a fetch gives an image"),
            Err(error) => self.task_done(now, id, Step::Fetch, Err(error), actions),
        }
    }

    /// A step has ended.
    pub(super) fn task_done(&mut self, now: Time, id: TaskId, step: Step, result: OpResult, actions: &mut Vec<Action>) {
        let touched = self.tick();
        let task = self.tasks.get_mut(&id).expect("a task stays while an operation is under way");
        (task.op, task.fetching) = (false, None);
        task.touched = touched;
        self.due.insert(id);
        match result {
            Ok(output) => self.step_succeeded(id, step, output, actions),
            Err(error) => self.step_failed(now, id, step, error, actions),
        }
        self.serve_queue(now, actions);
    }

    fn step_succeeded(&mut self, id: TaskId, step: Step, output: OpOutput, actions: &mut Vec<Action>) {
        match &output {
            OpOutput::Created(container) => self.remember_container(id, container, actions),
            OpOutput::Container(Some(found)) if found.task == id => self.remember_container(id, &found.id, actions),
            _ => {}
        }
        let task = self.tasks.get_mut(&id).expect("the caller has looked");
        match step {
            Step::Inspect => {
                task.container = match output {
                    // One with another task's label is somebody else's.
                    OpOutput::Container(Some(container)) if container.task == id => {
                        task.found.probed.image = container.image_health;
                        Known::Is(container.state)
                    }
                    OpOutput::Container(_) => Known::Absent,
                    _ => unreachable!("an inspection gives a container or none"),
                };
                // That was something else, and no end.
                if matches!(task.container, Known::Is(ContainerState::Created | ContainerState::Running)) {
                    task.hinted_at = None;
                }
            }
            Step::Fetch => unreachable!("an image is noted by its reference"),
            Step::Create => task.container = Known::Is(ContainerState::Created),
            Step::Start => {
                (task.container, task.trouble, task.withdrawn) = (Known::Is(ContainerState::Running), None, None);
            }
            // Look at how it ended.
            Step::Stop => task.stale = true,
            Step::Remove => task.container = Known::Absent,
        }
    }

    fn step_failed(&mut self, now: Time, id: TaskId, step: Step, error: OpError, actions: &mut Vec<Action>) {
        let OpError { kind, message } = error;
        let task = self.tasks.get_mut(&id).expect("the caller has looked");
        let reason = match (step, kind) {
            // Says nothing about the container: look again when the engine is back.
            (Step::Fetch, OpErrorKind::Engine) => return,
            // Whose fault that is, and whether it took place, the next look shows.
            (Step::Create | Step::Start, OpErrorKind::Engine | OpErrorKind::Unclear) => {
                let earlier = task.trouble.take().filter(|trouble| trouble.step == step);
                let since = earlier.map_or(now, |trouble| trouble.since);
                task.trouble = Some(Trouble { step, since, answered: kind == OpErrorKind::Unclear, message });
                task.stale = true;
                return;
            }
            (_, OpErrorKind::Engine) => {
                if let Some(trouble) = &mut task.trouble {
                    trouble.answered = false;
                }
                task.stale = true;
                return;
            }
            (Step::Inspect | Step::Stop | Step::Remove, _) => {
                task.stale = true;
                // A refusal is not answered by asking again at once.
                if kind != OpErrorKind::NotFound {
                    if let (Step::Remove, Some(withdrawn)) = (step, &mut task.withdrawn) {
                        withdrawn.stays = true;
                    }
                    task.paused = true;
                    self.paused.insert((now + ENGINE_RETRY, id));
                    actions.push(Action::Warn(format!("{step:?} of the container of task {id}: {message}")));
                }
                return;
            }
            (Step::Fetch, _) => fetch_failure(kind),
            (Step::Create, OpErrorKind::ImageMissing) => Reason::PullFailed,
            (Step::Create, OpErrorKind::NameTaken) => Reason::NameTaken,
            (_, OpErrorKind::PortTaken(_)) => Reason::PortTaken,
            (Step::Start, OpErrorKind::NotFound) => Reason::Vanished,
            (Step::Create, _) => Reason::CreateFailed,
            (Step::Start, _) => Reason::StartFailed,
        };
        if step == Step::Create {
            // Nothing was created, and what holds the name is not ours.
            task.container = Known::Absent;
        }
        if reason == Reason::Vanished {
            task.container = Known::Absent;
        }
        let state = if reason == Reason::NameTaken { TaskState::Rejected } else { TaskState::Failed };
        let port = if let OpErrorKind::PortTaken(port) = kind { port } else { None };
        let end = End { port, ..End::new(reason, message) };
        if step == Step::Start && reason != Reason::Vanished {
            task.withdraw(state, end);
            return;
        }
        self.finish(now, id, state, end, actions);
    }

    /// Writes down which container is this task's, where that was not known.
    pub(super) fn remember_container(&mut self, id: TaskId, container: &str, actions: &mut Vec<Action>) {
        if self.ledger.tasks.get(&id).is_some_and(|remembered| remembered.container.is_none()) {
            self.persist(LedgerWrite::Created(id, container.to_string()), actions);
        }
    }

    /// The ID of a task's container or, where nobody heard it, its name; `None` before a cluster is joined.
    pub(super) fn container_of(&self, id: TaskId) -> Option<String> {
        let known = self.ledger.tasks.get(&id).and_then(|remembered| remembered.container.clone());
        known.or_else(|| Some(container_name(&self.owner()?, id)))
    }
}

/// The fence of a task, by its order or, where it has none yet, by what is remembered of it.
fn fence_of(order: Option<&Assignment>, remembered: Option<&LedgerTask>) -> Option<TimedFence> {
    match order {
        Some(order) => {
            let (after, grace) = (order.spec.fenced_after()?, order.spec.container.stop.grace);
            Some(TimedFence { after, grace })
        }
        None => remembered?.fence,
    }
}

/// A message with what the engine said last, where something went wrong.
fn with_last_words(message: &str, trouble: Option<&Trouble>) -> String {
    let last = trouble.map(|trouble| format!("; the engine said last: {}", trouble.message));
    format!("{message}{}", last.unwrap_or_default())
}

/// How a task ended whose process has ended.
fn ending(order: Option<&Assignment>, code: i32, out_of_memory: bool) -> (TaskState, End) {
    const SIGKILL: i32 = 128 + 9;
    const SIGTERM: i32 = 128 + 15;
    let told = order.is_some_and(|order| order.desired == Desired::Stopped);
    match code {
        _ if told => (TaskState::Stopped, End::exited(Reason::Stopped, code)),
        // The engine says so too when the kernel killed a child and the main process went on.
        0 if out_of_memory => {
            let end = End::exited(Reason::Exited, code);
            (TaskState::Complete, End { message: "one of its processes was killed for want of memory".into(), ..end })
        }
        0 => (TaskState::Complete, End::exited(Reason::Exited, code)),
        _ if out_of_memory => (TaskState::Failed, End::exited(Reason::OutOfMemory, code)),
        SIGKILL | SIGTERM => (TaskState::Failed, End::exited(Reason::Killed, code)),
        _ => (TaskState::Failed, End::exited(Reason::Exited, code)),
    }
}

fn published(&Port { container, protocol, host_ip, .. }: &Port, host: u16) -> Published {
    Published { container, host, protocol, host_ip }
}

/// What the engine calls the volumes of a task, in the order of its mounts.
fn volume_names(owner: &Owner, order: &Assignment) -> impl Iterator<Item = String> {
    let mounts = order.spec.container.setup.volumes.iter().zip(&order.volumes);
    mounts.map(|(mount, uid)| engine_name(owner.cluster, &mount.volume, *uid))
}

/// The container of a task, in full.
fn container_spec(owner: &Owner, order: &Assignment, made: &BTreeSet<String>) -> ContainerSpec {
    let container = &order.spec.container;
    let volume = |(mount, name): (&VolumeMount, String)| EngineVolume {
        is_made: made.contains(&name),
        name,
        volume: mount.volume.clone(),
        path: mount.path.clone(),
        read_only: mount.read_only,
    };
    let mut labels = vec![
        (LABEL_CLUSTER.to_string(), owner.cluster.to_string()),
        (LABEL_NODE.to_string(), owner.node.to_string()),
        (LABEL_TASK.to_string(), order.task.to_string()),
        (LABEL_SPEC.to_string(), format!("{:016x}", order.spec.fingerprint())),
        // For people only.
        ("orbit.name".to_string(), order.name.to_string()),
        ("orbit.kind".to_string(), order.kind.to_string()),
        ("orbit.slot".to_string(), order.slot.to_string()),
    ];
    labels.extend(container.setup.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    labels.sort();
    ContainerSpec {
        name: container_name(owner, order.task),
        image: order.image_reference(),
        command: container.command.clone(),
        args: container.args.clone(),
        env: container.env.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        resources: container.resources,
        limits: container.limits,
        pids_max: container.pids_max,
        stop_signal: container.stop.signal.clone(),
        ports: container.ports.iter().zip(&order.host_ports).map(|(port, host)| published(port, *host)).collect(),
        setup: Setup { labels: Default::default(), volumes: Vec::new(), ..container.setup.clone() },
        volumes: container.setup.volumes.iter().zip(volume_names(owner, order)).map(volume).collect(),
        labels,
    }
}

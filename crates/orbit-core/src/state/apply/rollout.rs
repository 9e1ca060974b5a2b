//! Rollouts: what people want of them, and how far they have come.

use super::*;

impl Cluster {
    /// Another version is the current one from now on. What kept the one before waiting says nothing about it.
    pub(super) fn turn_to(&mut self, uid: Uid, number: u32, rollout: Rollout) {
        let workload = self.workloads.get_mut(&uid).expect("the caller found it");
        workload.version = number;
        workload.rollout = workload.rollout.map(|_| rollout);
        workload.decision = None;
        for slot in &mut workload.slots {
            *slot = Slot::of(slot.newest);
        }
        self.spec_bytes -= drop_unused_versions(workload);
        self.changed_workload(uid);
    }

    /// How many canaries there are may have changed while a rollout waits for them. Without any, it goes on to all slots;
    /// where there are more than `before`, it goes on to those, and then waits again.
    pub(super) fn change_canaries(&mut self, uid: Uid, before: u32) {
        let workload = &self.workloads[&uid];
        let Some(rollout) = workload.rollout.filter(|it| !it.promoted) else { return };
        let waits = rollout.state == RolloutState::Canary;
        if workload.update.canary == 0 {
            let rollout = if waits { rollout.goes_on(self.at) } else { rollout };
            self.set_rollout(uid, What::Promoted, Rollout { promoted: true, ..rollout });
        } else if waits && workload.canaries() > before {
            self.set_rollout(uid, What::Resumed, rollout.goes_on(self.at));
        }
    }

    pub(super) fn apply_rollout(
        &mut self,
        name: &str,
        order: RolloutOrder,
        condition: Condition,
        touched: &mut Touched,
    ) -> Result<Answer, Rejection> {
        let uid = self.named(Kind::Service, name)?;
        self.check_condition(Kind::Service, name, condition)?;
        let conflict = |message: String| Err(Rejection::new(Code::Conflict, message));
        let (workload, at) = (&self.workloads[&uid], self.at);
        let rollout = workload.rollout.expect("a service has a rollout");
        let (version, state) = (workload.version, rollout.state);
        let (settled, canaries) = reconciler::canaries(self, workload, at);
        match (order, state) {
            (RolloutOrder::Undo { to }, _) => self.undo(uid, to)?,
            (_, RolloutState::Done) => {
                return conflict(format!("version {version} of service `{name}` is rolled out: nothing is under way"));
            }
            (RolloutOrder::Pause, RolloutState::Running | RolloutState::Canary) => {
                self.set_rollout(uid, What::Paused, Rollout { state: RolloutState::Paused, since: at, ..rollout });
            }
            // It stands still already.
            (RolloutOrder::Pause, _) | (RolloutOrder::Resume, RolloutState::Running) => {}
            (RolloutOrder::Resume, RolloutState::Canary) => {
                return conflict(format!("the rollout of service `{name}` waits for its canaries to be promoted"));
            }
            (RolloutOrder::Resume, RolloutState::Paused | RolloutState::Failed) => {
                self.set_rollout(uid, What::Resumed, rollout.goes_on(at));
            }
            (RolloutOrder::Promote, RolloutState::Canary) if settled == canaries => {
                self.set_rollout(uid, What::Promoted, Rollout { promoted: true, ..rollout.goes_on(at) });
            }
            (RolloutOrder::Promote, _) if rollout.promoted => {
                return conflict(format!("the rollout of service `{name}` has no canaries to promote"));
            }
            (RolloutOrder::Promote, RolloutState::Paused) => {
                return conflict(format!("the rollout of service `{name}` is paused: resume it first"));
            }
            // Also where they did and do not any more: that is what they are for.
            (RolloutOrder::Promote, _) => {
                return conflict(format!("the canaries of service `{name}` do not serve: {settled} of {canaries} do"));
            }
        }
        touched.workloads.push(uid);
        let (revision, version) = (self.workloads[&uid].revision, self.workloads[&uid].version);
        Ok(Answer::Workload { uid, revision, version, created: false, task: None })
    }

    fn undo(&mut self, uid: Uid, to: Option<u32>) -> Result<(), Rejection> {
        let workload = &self.workloads[&uid];
        let (name, version) = (&workload.name, workload.version);
        let kept = |but: Option<u32>| {
            let numbers = workload.versions.iter().map(|v| v.number).filter(|number| Some(*number) != but);
            numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
        };
        let Some(target) = to.or(workload.undo_target()) else {
            let mut message = format!("service `{name}` has no version before {version} that served in every slot");
            if workload.versions.len() > 1 {
                message += &format!(": choose one that is kept: {}", kept(Some(version)));
            }
            return Err(Rejection::new(Code::Conflict, message));
        };
        let Some(target) = workload.version(target).map(|v| v.number) else {
            let message = format!("version {target} of service `{name}` is not kept: {} are", kept(None));
            return Err(Rejection { code: Code::NotFound, field: "version".into(), message });
        };
        workload.spec(target).expect("just found").check_replicas(workload.replicas)?;
        if target == version {
            let message = format!("service `{name}` is at version {version} already");
            return Err(Rejection { code: Code::Conflict, field: "version".into(), message });
        }
        self.take_back(
            uid,
            What::Undone,
            target,
            Rollout::begun(self.at, true),
            format!("version {version} by version {target}"),
        );
        Ok(())
    }

    /// A version takes its place back: the definition has changed, as if somebody had written it again.
    fn take_back(&mut self, uid: Uid, what: What, target: u32, rollout: Rollout, message: String) {
        self.turn_to(uid, target, rollout);
        let index = self.index;
        self.workloads.get_mut(&uid).expect("the caller found it").revision = index;
        self.record_workload(what, uid, message);
    }

    fn set_rollout(&mut self, uid: Uid, what: What, rollout: Rollout) {
        let message = format!("version {}", self.workloads[&uid].version);
        self.set_rollout_for(uid, what, rollout, message);
    }

    fn set_rollout_for(&mut self, uid: Uid, what: What, rollout: Rollout, message: String) {
        self.workloads.get_mut(&uid).expect("the caller found it").rollout = Some(rollout);
        self.record_workload(what, uid, message);
        if rollout.is_held() {
            self.hold(uid);
        }
        self.changed_workload(uid);
    }

    /// The rollout stands still from now on: each slot keeps its version.
    fn hold(&mut self, uid: Uid) {
        let workload = &self.workloads[&uid];
        let own: Vec<u32> = workload.slots.iter().map(|slot| reconciler::own(self, workload, slot, self.at)).collect();
        let workload = self.workloads.get_mut(&uid).expect("just found");
        workload.slots.iter_mut().zip(own).for_each(|(slot, own)| slot.own = own);
    }

    /// Returns false where the plan has become stale.
    pub(super) fn apply_rollout_step(
        &mut self,
        uid: Uid,
        version: u32,
        step: RolloutStep,
        touched: &mut Touched,
    ) -> bool {
        let Some(workload) = self.workloads.get(&uid).filter(|workload| workload.version == version) else {
            return false;
        };
        if !reconciler::may_step(self, workload, step, self.at) {
            return false;
        }
        let (rollout, at) = (workload.rollout.expect("it has a next step"), self.at);
        touched.workloads.push(uid);
        match step {
            RolloutStep::Extend => {
                let settled = reconciler::settled(self, workload, workload.wanted(), at);
                let progress_at = reconciler::latest_settled_at(self, workload, at).expect("some have settled");
                let workload = self.workloads.get_mut(&uid).expect("just found");
                workload.rollout = Some(Rollout { progress_at, settled, ..rollout });
                self.changed_workload(uid);
            }
            RolloutStep::AwaitPromotion => {
                self.set_rollout(uid, What::Canary, Rollout { state: RolloutState::Canary, since: at, ..rollout });
            }
            RolloutStep::Finish => {
                let workload = self.workloads.get_mut(&uid).expect("just found");
                workload.stable = Some(version);
                workload.versions.iter_mut().filter(|v| v.number == version).for_each(|v| v.was_stable = true);
                self.spec_bytes -= drop_unused_versions(workload);
                self.set_rollout(uid, What::RolledOut, Rollout { state: RolloutState::Done, since: at, ..rollout });
            }
            RolloutStep::Fail => self.fail_rollout(uid, rollout),
        }
        true
    }

    /// What a person may have to mend where the current version does not come to serve, each with a `; ` before it.
    /// Nothing where its tasks only wait for their turn.
    fn obstacles(&self, workload: &Workload) -> String {
        let wanted = || workload.slots.iter().take(workload.wanted() as usize);
        let is_current = |task: &&Task| task.version == workload.version;
        let newest = || wanted().filter_map(|slot| self.attempts(slot).next());
        let mut obstacles = String::new();
        let pending = newest().filter(is_current).filter(|task| task.state == TaskState::Pending).count();
        if pending > 0 {
            let why = workload.decision.as_ref().map(Decision::why).unwrap_or_default();
            obstacles += &format!("; {pending} waiting for a node: {why}");
        }
        // Also of an older version: it is not followed before its node returns or is given up.
        let is_silent = |task: &&Task| self.node_of(task).is_some_and(|node| node.reach != Reach::Reachable);
        let silent = newest().filter(|task| !task.state.is_terminal()).filter(is_silent).count();
        if silent > 0 {
            obstacles += &format!("; {silent} on silent nodes");
        }
        let attempts = wanted().flat_map(|slot| self.attempts(slot)).filter(is_current);
        let failed = attempts.filter(|task| task.end.as_ref().is_some_and(|end| end.reason != Reason::Stopped));
        let last = failed.max_by_key(|task| (task.ended_at, task.id)).and_then(|task| task.end.as_ref());
        if let Some(end) = last {
            obstacles += &format!("; last attempt ended: {end}");
        }
        // No attempt says so: what serves was not stopped for one.
        let of_version = |event: &&HistoryEvent| event.subject == workload.subject() && event.what == What::ImageFailed;
        if last.is_none()
            && let Some(event) = self.history.after(workload.revision).rev().find(of_version)
        {
            obstacles += &format!("; on {}: {}", event.node_name, event.message);
        }
        let is_idle = |task: &&Task| task.state == TaskState::Running && !task.serves();
        let not_ready = newest().filter(is_current).filter(is_idle).count();
        if not_ready > 0 {
            obstacles += &format!("; {not_ready} not ready");
        }
        obstacles
    }

    /// An image cannot be had, and what serves was not stopped for it: that counts as a failed attempt of its version.
    pub(super) fn apply_prefetch_failed(
        &mut self,
        node: NodeId,
        uid: Uid,
        version: u32,
        end: &End,
        touched: &mut Touched,
    ) {
        let is_kept = |workload: &&mut Workload| workload.version(version).is_some();
        let Some(workload) = self.workloads.get_mut(&uid).filter(is_kept) else { return };
        let is_current = workload.version == version;
        let running = |rollout: &&mut Rollout| is_current && rollout.state == RolloutState::Running;
        if let Some(rollout) = workload.rollout.as_mut().filter(running) {
            rollout.failures = rollout.failures.saturating_add(1);
        }
        let subject = workload.subject();
        let message = format!("version {version}: {end}; what serves goes on");
        self.record(What::ImageFailed, subject, None, Some(node), message);
        self.changed_workload(uid);
        touched.workloads.push(uid);
    }

    /// A rollout has failed: back to the stable version, where there is another one and its user wants that. Where
    /// that one is what has just failed, there is nothing to go back to, and so no circle.
    fn fail_rollout(&mut self, uid: Uid, rollout: Rollout) {
        let workload = &self.workloads[&uid];
        let (version, wanted) = (workload.version, count(workload.wanted(), "replica"));
        let deadline = workload.update.deadline.unwrap_or_default();
        let settled = reconciler::settled(self, workload, workload.wanted(), self.at);
        let obstacles = self.obstacles(workload);
        let failed = cut(match reconciler::fails_fast(self, workload, &rollout, self.at) {
            true => format!(
                "{} attempts of version {version} failed, and none came to serve{obstacles}",
                workload.update.max_failures
            ),
            false => format!(
                "{settled} of {wanted} of version {version} serve, and no more came within {deadline}{obstacles}"
            ),
        });
        let other = workload.stable.filter(|stable| *stable != version);
        let back = other.filter(|_| workload.update.on_failure == OnFailure::Rollback);
        match back {
            Some(stable) => {
                let rollout = Rollout { failed: Some(version), ..Rollout::begun(self.at, true) };
                self.take_back(uid, What::RolledBack, stable, rollout, format!("to version {stable}: {failed}"));
            }
            None => {
                let rollout = Rollout { state: RolloutState::Failed, since: self.at, ..rollout };
                self.set_rollout_for(uid, What::RolloutFailed, rollout, failed);
            }
        }
    }
}

//! What the leader decided.

use super::*;
use crate::scheduler::filter;
use std::collections::BTreeSet;

impl Cluster {
    pub(super) fn apply_plan(&mut self, plan: &Plan, touched: &mut Touched) {
        // As the planner asked: what this plan itself forgets of others takes nobody's turn away.
        let early = self.early(plan);
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
            let is_early = create.target.is_some() && early.contains(&(create.workload, create.version));
            if is_early || !self.apply_create(ordinal, create, touched) {
                self.refuse(create.target.as_ref(), touched);
            }
        }
        for place in &plan.places {
            let task = self.task(place.task).map(|task| (task.workload, task.version));
            let is_early = task.is_some_and(|of| early.contains(&of));
            touched.workloads.extend(task.filter(|_| is_early).map(|(uid, _)| uid));
            if is_early || !self.apply_place(place, touched) {
                self.refuse(Some(&place.target), touched);
            }
        }
        for (uid, len) in &plan.trims {
            self.apply_trim(*uid, *len);
        }
        for uid in &plan.drops {
            self.apply_drop(*uid, touched);
        }
        // Before a rollout fails for what they say.
        for (uid, decision) in &plan.decisions {
            self.apply_decision(*uid, decision);
        }
        for (uid, version, step) in &plan.rollouts {
            if !self.apply_rollout_step(*uid, *version, *step, touched) {
                touched.workloads.push(*uid);
                self.refuse(None, touched);
            }
        }
    }

    /// Of which workloads and versions a plan would place tasks though others have not come so far (invariant I48).
    fn early(&self, plan: &Plan) -> BTreeSet<(Uid, u32)> {
        let created = plan.creates.iter().filter(|it| it.target.is_some()).map(|it| (it.workload, it.slot, it.version));
        let pending = plan.places.iter().filter_map(|place| self.task(place.task));
        let placed = pending.map(|task| (task.workload, task.slot, task.version));
        let (mut early, mut asked) = (BTreeSet::new(), BTreeSet::new());
        for (uid, slot, version) in created.chain(placed) {
            // What a version waits for is the same in all its slots.
            if !asked.insert((uid, version)) {
                continue;
            }
            let workload = self.workloads.get(&uid);
            if workload.is_some_and(|workload| self.unmet(self.waits_for(workload, slot, version)).is_some()) {
                early.insert((uid, version));
            }
        }
        early
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
        touched.forgetful.push(uid);
        self.remove_task(key);
        self.refresh_finished(uid);
    }

    /// Returns false where the plan has become stale.
    fn apply_create(&mut self, ordinal: u32, create: &Create, touched: &mut Touched) -> bool {
        let Some(workload) = self.workloads.get(&create.workload) else { return false };
        let slot = workload.slots.get(create.slot as usize).copied();
        let fresh = create.slot < workload.wanted()
            && reconciler::target(self, workload, create.slot) == create.version
            && slot.map_or(create.slot as usize == workload.slots.len(), |slot| {
                let newest = self.attempts(&slot).next();
                // It may have reported a good end, or been told to stop, since the plan was made.
                let follows = !newest.is_some_and(|task| workload.is_over(task));
                follows && self.at >= slot.not_before(create.version) && newest.map(|task| task.id) == create.after
            });
        let Some(spec) = workload.spec(create.version).filter(|_| fresh).cloned() else { return false };
        if slot.is_some_and(|slot| !self.may_stand_beside(&slot, &spec)) {
            return false;
        }
        if create.target.as_ref().is_some_and(|target| self.check_target(&spec, target).is_err()) {
            return false;
        }
        if slot.is_none() {
            let workload = self.workloads.get_mut(&create.workload).expect("just found");
            workload.slots.push(Slot::default());
        }
        if let Some(target) = &create.target {
            self.bind_volumes(&spec.container.setup.volume_uses(), target.node);
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

    /// Whether a task of this spec may be made in a slot though those before it are not known to have ended: where one of
    /// them is fenced, its node has not been heard for so long that it cannot run (invariant I7). It may have returned since
    /// the plan was made, and run what it had not begun before.
    fn may_stand_beside(&self, slot: &Slot, spec: &Spec) -> bool {
        let mut there = self.attempts(slot).filter(|task| !task.state.is_terminal() && task.node.is_some());
        there.all(|task| {
            let own = self.spec_of(task).disconnect;
            let silent_since = self.node_of(task).and_then(Node::silent_since);
            match (own.fence, silent_since) {
                (Fence::None, None) => spec.disconnect.fence == Fence::None,
                (Fence::None, Some(_)) => true,
                (Fence::Timed, since) => {
                    since.zip(own.replace_after).is_some_and(|(since, replace_after)| since + replace_after <= self.at)
                }
                (Fence::Confirmed, _) => false,
            }
        })
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
        self.bind_volumes(&spec.container.setup.volume_uses(), place.target.node);
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
    /// state as it is (invariants I1, I17, I18, I49).
    fn check_target(&self, spec: &Spec, target: &Target) -> Result<(), filter::Refusal> {
        let node = self.node(target.node).ok_or(filter::Refusal::NotReady)?;
        filter::check_worker(node, spec.level(), &spec.asks())?;
        filter::check_room(node, spec.container.resources, &spec.placement, &filter::Reserved::default())?;
        self.check_volumes(&spec.container.setup.volume_uses(), node, None)?;
        filter::check_ports(node, spec, &target.host_ports, self.at)
    }

    /// The next search for a port starts behind those that were chosen now.
    fn turn_ports(&mut self, spec: &Spec, target: &Target) {
        let node = &mut self.nodes[target.node];
        let mut chosen = spec.container.ports.iter().zip(&target.host_ports).filter(|(port, _)| port.host.is_none());
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
                workload.is_final(task) // an old result makes room for newer ones
            });
        let Some(tasks) = ended.filter(|_| finished) else { return };
        for id in tasks {
            let key = self.tasks.key(id).expect("just found");
            let task = self.tasks.at(key);
            touched.tasks.extend(task.node.map(|node| (node, id)));
            self.remove_task(key);
        }
        self.drop_workload(uid);
    }
}

//! What users ask for of services and tasks.

use super::*;
use std::sync::Arc;

impl Cluster {
    pub(super) fn apply_put(&mut self, put: &Put, touched: &mut Touched) -> Result<Answer, Rejection> {
        if let Some(answer) = self.answered(put) {
            return answer;
        }
        let answer = match self.check_put(put)? {
            None => self.create_workload(&put.definition, touched),
            Some(uid) => self.change_workload(uid, put, touched),
        };
        if let Some(key) = &put.idempotency_key {
            self.keys.insert(key, put.fingerprint(), answer.clone());
        }
        Ok(answer)
    }

    /// Which living workload a request would change; none where it would create one.
    fn check_put(&self, put: &Put) -> Result<Option<Uid>, Rejection> {
        let Definition { kind, ref name, .. } = put.definition;
        let existing = self.workload_named(kind, name);
        self.check_condition(kind, name, put.condition)?;
        let replicas = existing.map_or(put.definition.replicas, |workload| put.replicas_of(workload));
        put.definition.spec.check_replicas(replicas)?;
        self.check_slots(existing.map_or(0, |workload| workload.replicas), replicas)?;
        if existing.is_none_or(|workload| *workload.current().spec != put.definition.spec) {
            self.check_spec_bytes(&put.definition.spec)?;
            self.check_order(&put.definition)?;
        }
        if let Some(workload) = existing
            && !kind.rules().rolls_out
            && !workload.is_as(&put.definition)
        {
            let message = format!("another task named `{name}` exists: delete it or choose another name");
            return Err(Rejection { code: Code::NameInUse, field: "name".into(), message });
        }
        Ok(existing.map(|workload| workload.uid))
    }

    /// The living workload that a valid request would change, and whether it would change anything.
    pub(crate) fn preview(&self, put: &Put) -> Result<(Option<&Workload>, bool), Rejection> {
        let existing = self.check_put(put)?.map(|uid| &self.workloads[&uid]);
        let is_same = |workload: &Workload| {
            let same_number = workload.replicas == put.replicas_of(workload);
            workload.is_as(&put.definition) && same_number && workload.update == put.definition.update
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

    fn check_spec_bytes(&self, spec: &Spec) -> Result<(), Rejection> {
        let (bytes, kept) = (spec.bytes() as u64, self.spec_bytes);
        if kept + bytes > limits::SPECS_BYTES_MAX {
            let message = format!(
                "this spec takes {bytes} bytes, and of {} for all specs and their kept versions {kept} are taken: \
                 delete what is no longer needed",
                limits::SPECS_BYTES_MAX
            );
            return Err(Rejection::new(Code::LimitReached, message));
        }
        Ok(())
    }

    /// What a request gets whose idempotency key is remembered; nothing if it is not.
    pub(crate) fn answered(&self, put: &Put) -> Option<Result<Answer, Rejection>> {
        let (before, answer) = self.keys.get(put.idempotency_key.as_deref()?)?;
        Some(match *before == put.fingerprint() {
            true => Ok(answer.clone()),
            false => Err(Rejection::new(
                Code::KeyReused,
                "this idempotency key was used for another request: take a new one",
            )),
        })
    }

    pub(super) fn check_condition(&self, kind: Kind, name: &str, condition: Condition) -> Result<(), Rejection> {
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
        let rules = definition.kind.rules();
        let slots = if rules.runs_to_end { vec![Slot::default()] } else { Vec::new() };
        self.insert_workload(Workload {
            uid,
            kind: definition.kind,
            name: definition.name.as_str().into(),
            labels: definition.labels.clone(),
            replicas: definition.replicas,
            update: definition.update,
            revision: self.index,
            created_at: self.at,
            versions: vec![Version::bare(1, Arc::new(definition.spec.clone()), self.at)],
            version: 1,
            stable: None,
            // There is nothing yet that canaries could spare.
            rollout: rules.rolls_out.then(|| Rollout::begun(self.at, true)),
            deleting: false,
            decision: None,
            slots,
        });
        touched.workloads.push(uid);
        let Definition { replicas, spec, .. } = definition;
        self.record_workload(
            What::Created,
            uid,
            match rules.slot {
                SlotOf::Replica => format!("{} of {}", count(*replicas, "replica"), spec.container.image),
                SlotOf::Run => spec.container.image.clone(),
            },
        );
        // Who asks for a run is answered with its first attempt, so that is made in the same entry.
        let task = rules.runs_to_end.then(|| {
            let id = self.task_id(0);
            self.insert_task(Task::new(id, uid, 0, 1, self.at));
            id
        });
        Answer::Workload { uid, revision: self.index, version: 1, created: true, task }
    }

    fn change_workload(&mut self, uid: Uid, put: &Put, touched: &mut Touched) -> Answer {
        let (index, definition) = (self.index, &put.definition);
        let replicas = put.replicas_of(&self.workloads[&uid]);
        let workload = self.workloads.get_mut(&uid).expect("found by name");
        let canaries = workload.canaries();
        let new_spec = *workload.current().spec != definition.spec;
        let same_number = (workload.replicas, workload.update) == (replicas, definition.update);
        if new_spec || workload.labels != definition.labels || !same_number {
            workload.revision = index;
        }
        workload.labels.clone_from(&definition.labels);
        workload.update = definition.update;
        // What a failed version was taken back to is what its user wants by now.
        workload.rollout = workload.rollout.map(|rollout| Rollout { failed: None, ..rollout });
        if new_spec {
            let version = self.new_version(uid, Arc::new(definition.spec.clone()), false);
            self.record_workload(
                What::Changed,
                uid,
                format!("version {version} of {}", definition.spec.container.image),
            );
        }
        self.change_replicas(uid, replicas);
        self.change_canaries(uid, canaries);
        touched.workloads.push(uid);
        let workload = &self.workloads[&uid];
        let newest = workload.slots.first().and_then(|slot| self.attempts(slot).next());
        let task = newest.filter(|_| workload.kind.rules().runs_to_end).map(|task| task.id);
        let (revision, version) = (workload.revision, workload.current().number);
        Answer::Workload { uid, revision, version, created: false, task }
    }

    /// The slots are filled anew from this spec, one by one.
    fn new_version(&mut self, uid: Uid, spec: Arc<Spec>, is_restart: bool) -> u32 {
        let at = self.at;
        let workload = self.workloads.get_mut(&uid).expect("the caller found it");
        let number = workload.versions.last().expect("there is a current one").number + 1;
        self.spec_bytes += spec.bytes() as u64;
        workload.versions.push(Version { is_restart, ..Version::bare(number, spec, at) });
        // What runs already needs no canaries to be run again.
        let promoted = workload.update.canary == 0 || is_restart;
        self.turn_to(uid, number, Rollout::begun(at, promoted));
        number
    }

    fn change_replicas(&mut self, uid: Uid, replicas: u32) {
        let before = self.workloads[&uid].replicas;
        if replicas != before {
            self.keep_what_serves(uid, replicas as usize);
        }
        self.set_replicas(uid, replicas);
        // A rollout of no replicas stands by; its time begins with the first.
        if before == 0 && replicas > 0 {
            let at = self.at;
            let workload = self.workloads.get_mut(&uid).expect("the caller found it");
            workload.rollout =
                workload.rollout.map(|rollout| Rollout { progress_at: at.max(rollout.progress_at), ..rollout });
        }
        if before != replicas {
            self.record_workload(What::Scaled, uid, format!("from {before} to {}", count(replicas, "replica")));
        }
    }

    /// What users can reach stays where there are to be fewer. A slot that goes and serves changes places with one that stays and does
    /// not; its number only says when it has its turn.
    fn keep_what_serves(&mut self, uid: Uid, wanted: usize) {
        let workload = &self.workloads[&uid];
        let (kept, surplus) = workload.slots.split_at(wanted.min(workload.slots.len()));
        let is_reached = |task: &Task| self.node_of(task).is_some_and(Node::is_ready);
        let serves = |slot: &Slot| self.attempts(slot).any(|task| task.is_live() && task.serves() && is_reached(task));
        let idle = (0..).zip(kept).filter(|(_, slot)| !serves(slot)).map(|(number, _)| number);
        let serving = (kept.len()..).zip(surplus).filter(|(_, slot)| serves(slot)).map(|(number, _)| number);
        let pairs: Vec<(usize, usize)> = idle.zip(serving).collect();
        for (idle, serving) in pairs {
            let slots = &mut self.workloads.get_mut(&uid).expect("just found").slots;
            slots.swap(idle, serving);
            for (number, slot) in [(idle, slots[idle]), (serving, slots[serving])] {
                let mut next = slot.newest;
                while let Some(key) = next {
                    let task = self.tasks.at_mut(key);
                    task.slot = number as u32;
                    next = task.older;
                }
            }
        }
    }

    pub(super) fn named(&self, kind: Kind, name: &str) -> Result<Uid, Rejection> {
        let found = self.names.get(&(kind, Arc::from(name))).copied();
        found.ok_or_else(|| Rejection::new(Code::NotFound, format!("there is no {kind} `{name}`")))
    }

    pub(super) fn apply_scale(
        &mut self,
        name: &str,
        replicas: u32,
        condition: Condition,
        touched: &mut Touched,
    ) -> Result<Answer, Rejection> {
        let uid = self.named(Kind::Service, name)?;
        self.check_condition(Kind::Service, name, condition)?;
        self.workloads[&uid].current().spec.check_replicas(replicas)?;
        self.check_slots(self.workloads[&uid].replicas, replicas)?;
        let workload = self.workloads.get_mut(&uid).expect("found by name");
        if workload.replicas != replicas {
            workload.revision = self.index;
        }
        let (revision, version, canaries) = (workload.revision, workload.current().number, workload.canaries());
        self.change_replicas(uid, replicas);
        self.change_canaries(uid, canaries);
        touched.workloads.push(uid);
        Ok(Answer::Workload { uid, revision, version, created: false, task: None })
    }

    pub(super) fn apply_restart(
        &mut self,
        name: &str,
        condition: Condition,
        touched: &mut Touched,
    ) -> Result<Answer, Rejection> {
        let uid = self.named(Kind::Service, name)?;
        self.check_condition(Kind::Service, name, condition)?;
        let workload = &self.workloads[&uid];
        let stands_still = |it: Rollout| !it.promoted || it.state == RolloutState::Paused;
        if workload.rollout.is_some_and(stands_still) {
            let message = format!(
                "the rollout of version {} of service `{name}` has not reached every slot: promote, resume or undo it",
                workload.version
            );
            return Err(Rejection::new(Code::Conflict, message));
        }
        let spec = workload.current().spec.clone();
        self.check_spec_bytes(&spec)?;
        let version = self.new_version(uid, spec, true);
        self.record_workload(What::Restarted, uid, format!("as version {version}"));
        self.changed_workload(uid);
        let workload = self.workloads.get_mut(&uid).expect("found by name");
        workload.revision = self.index;
        touched.workloads.push(uid);
        Ok(Answer::Workload { uid, revision: self.index, version, created: false, task: None })
    }

    pub(super) fn apply_delete(
        &mut self,
        kind: Kind,
        name: &str,
        condition: Condition,
        touched: &mut Touched,
    ) -> Result<Answer, Rejection> {
        let uid = self.named(kind, name)?;
        self.check_condition(kind, name, condition)?;
        self.record_workload(What::Deleted, uid, "");
        self.mark_deleting(uid);
        touched.workloads.push(uid);
        Ok(Answer::Done)
    }

    pub(super) fn apply_stop_task(&mut self, id: TaskId, touched: &mut Touched) -> Result<Answer, Rejection> {
        let Some(key) = self.tasks.key(id) else {
            return Err(Rejection::new(Code::NotFound, format!("there is no task {id}")));
        };
        self.stop_task(key, touched);
        Ok(Answer::Done)
    }
}

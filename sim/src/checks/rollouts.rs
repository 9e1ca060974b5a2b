//! S: how rollouts go and how they end (I28), reckoned from the tasks and from what each version was first seen to be.

use super::{Check, is_silent};
use orbit_core::{model::*, state::Cluster};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The version that a slot shall be of: the current one, unless its rollout stands still or has only come to its
/// canaries; then the one that was its own when that began, or that it was given last, or, where it is new, the stable one.
pub(crate) fn shall_be(cluster: &Cluster, workload: &Workload, number: u32) -> u32 {
    let Some(rollout) = workload.rollout else { return workload.version };
    let is_canary = number < workload.update.canary;
    let reaches = match rollout.state {
        RolloutState::Running | RolloutState::Done => rollout.promoted || is_canary,
        RolloutState::Canary => is_canary,
        RolloutState::Paused | RolloutState::Failed => false,
    };
    if reaches {
        return workload.version;
    }
    let slot = workload.slots.get(number as usize);
    let own = slot.map(|slot| slot.own).filter(|own| is_held(&rollout) && workload.version(*own).is_some());
    let given = slot.and_then(|slot| cluster.attempts(slot).next()).map(|task| task.version);
    own.or(given).or(workload.stable).unwrap_or(workload.version)
}

/// Whether its rollout stands still.
fn is_held(rollout: &Rollout) -> bool {
    !matches!(rollout.state, RolloutState::Running | RolloutState::Done)
}

/// Whether two tasks may be kept from running in a slot at the same time, as far as that can be seen from outside: also by
/// one that may have stopped by itself already.
pub(super) fn may_stand_alone(cluster: &Cluster, workload: &Workload, number: u32) -> bool {
    let slot = workload.slots.get(number as usize);
    let mut there = slot.into_iter().flat_map(|slot| cluster.attempts(slot)).filter(|task| !task.state.is_terminal());
    stands_alone(cluster, workload, number) || there.any(|task| cluster.spec_of(task).disconnect.fence != Fence::None)
}

/// Whether no two tasks may run in a slot at the same time: a port is pinned, a volume is one task's alone, or one of them is
/// fenced.
pub(super) fn stands_alone(cluster: &Cluster, workload: &Workload, number: u32) -> bool {
    let shall_be = workload.spec(shall_be(cluster, workload, number));
    let is_fenced = |spec: &Spec| spec.disconnect.fence != Fence::None;
    let slot = workload.slots.get(number as usize);
    // One whose fence is timed has stopped by itself on a node that was given up.
    let is_over = |task: &Task| {
        task.state.is_terminal() || (is_silent(cluster, task) && cluster.spec_of(task).disconnect.fence == Fence::Timed)
    };
    let mut there = slot.into_iter().flat_map(|slot| cluster.attempts(slot)).filter(|task| !is_over(task));
    let has_own_volume =
        |spec: &Spec| spec.container.setup.volumes.iter().any(|mount| mount.access == Access::Exclusive);
    shall_be.is_some_and(|spec| spec.container.pins_host_port() || is_fenced(spec) || has_own_volume(spec))
        || there.any(|task| is_fenced(cluster.spec_of(task)))
}

/// What each wanted slot shall run; without slots, the current spec.
pub(crate) fn specs<'a>(cluster: &'a Cluster, workload: &'a Workload) -> impl Iterator<Item = &'a Arc<Spec>> {
    let slots = (0..workload.wanted()).map(|slot| shall_be(cluster, workload, slot));
    let mut versions: Vec<u32> = slots.chain([workload.version]).collect();
    versions.sort_unstable();
    versions.dedup();
    versions.into_iter().filter_map(|version| workload.spec(version))
}

/// Remembers what each version is, and which one served in every slot last.
#[derive(Debug, Default)]
pub(super) struct RolloutWatch {
    known: BTreeMap<Uid, Known>,
    specs: BTreeMap<(Uid, u32), Arc<Spec>>,
    failures: BTreeMap<Uid, Failures>,
}

/// Which attempts of a version have failed since its rollout began, or went on. At first of no version: those begin at 1.
#[derive(Debug, Default)]
struct Failures {
    version: u32,
    since: Time,
    /// Those that had failed before.
    before: BTreeSet<TaskId>,
    seen: BTreeSet<TaskId>,
    /// How often an image of it could not be had, before anything was stopped.
    images: usize,
    /// Entries were not looked at: there may have been more.
    unsure: bool,
}

impl Failures {
    /// After an entry: what has failed now is remembered, also when its slot is gone later.
    fn look(&mut self, cluster: &Cluster, workload: &Workload, rollout: &Rollout, gap: bool) {
        let attempts = workload.slots.iter().flat_map(|slot| cluster.attempts(slot));
        let of_it = attempts.filter(|task| task.version == workload.version);
        let failed = of_it.filter(|task| task.state.is_terminal() || task.is_unhealthy()).map(|task| task.id);
        if (self.version, self.since) != (workload.version, rollout.since) {
            let (version, since, before) = (workload.version, rollout.since, failed.collect());
            *self = Failures { version, since, before, seen: BTreeSet::new(), images: 0, unsure: gap };
        } else {
            self.seen.extend(failed.filter(|id| !self.before.contains(id)));
            let now = cluster.history().iter().rev().take_while(|event| event.index == cluster.index);
            let of_it = now.filter(|event| event.what == What::ImageFailed && is_of(event, workload));
            self.images += of_it.count();
            self.unsure |= gap;
        }
    }
    /// Whether there may have been so many.
    fn are(&self, most: u32) -> bool {
        self.unsure || self.seen.len() + self.images >= most as usize
    }
}

#[derive(Clone, Copy, Debug)]
struct Known {
    version: u32,
    stable: Option<u32>,
    rollout: Rollout,
    update: Update,
    replicas: u32,
}

impl RolloutWatch {
    /// Before the tasks are looked at: whether a workload is at another version since.
    pub fn has_turned(&self, workload: &Workload) -> bool {
        workload.rollout.is_some()
            && self.known.get(&workload.uid).is_some_and(|before| before.version != workload.version)
    }

    /// After every applied entry. `serving`: since when each task serves. `gap`: entries before it were replayed after a
    /// crash, and not looked at, so that what is found is only noted.
    pub fn look(&mut self, cluster: &Cluster, serving: &BTreeMap<TaskId, Time>, gap: bool) -> Check {
        for workload in cluster.workloads() {
            let Some(rollout) = workload.rollout else { continue };
            self.same_bytes(workload)?;
            let failures = self.failures.entry(workload.uid).or_default();
            if gap {
                failures.look(cluster, workload, &rollout, true);
                let (version, stable, update) = (workload.version, workload.stable, workload.update);
                self.known
                    .insert(workload.uid, Known { version, stable, rollout, update, replicas: workload.replicas });
                continue;
            }
            let before = self.known.get(&workload.uid).copied();
            let mut stable = before.and_then(|before| before.stable);
            if let Some(before) = before.filter(|before| before.version != workload.version) {
                turned(cluster, workload, &before, failures)?;
            } else if let Some(before) = before {
                went_on(cluster, workload, &before, failures)?;
            }
            failures.look(cluster, workload, &rollout, false);
            let is_new = before.is_none_or(|before| before.rollout.state != rollout.state);
            if is_held(&rollout) && is_new {
                held(cluster, workload, &rollout, serving)?;
            }
            let was_done =
                before.is_some_and(|it| it.version == workload.version && it.rollout.state == RolloutState::Done);
            if rollout.state == RolloutState::Done && !was_done {
                done(cluster, workload, serving)?;
                stable = Some(workload.version);
            }
            let name = &workload.name;
            if workload.stable != stable {
                let found =
                    format!("{:?} is said to be the stable version of {name}, it is {stable:?}", workload.stable);
                return Err(("I28", found));
            }
            let (version, update) = (workload.version, workload.update);
            self.known.insert(workload.uid, Known { version, stable, rollout, update, replicas: workload.replicas });
        }
        Ok(())
    }

    /// A version is what it was when it was made, byte for byte.
    fn same_bytes(&mut self, workload: &Workload) -> Check {
        for version in &workload.versions {
            let first = self.specs.entry((workload.uid, version.number)).or_insert_with(|| version.spec.clone());
            if **first != *version.spec {
                let found = format!("version {} of {} is not what it was", version.number, workload.name);
                return Err(("I28", found));
            }
        }
        Ok(())
    }
}

/// Whether something happened to this workload.
pub(super) fn is_of(event: &HistoryEvent, workload: &Workload) -> bool {
    matches!(&event.subject, Subject::Workload(_, uid, _) if *uid == workload.uid)
}

/// It is at another version: a new one, one that somebody wanted back, or the stable one where its rollout failed.
fn turned(cluster: &Cluster, workload: &Workload, before: &Known, failures: &Failures) -> Check {
    let (name, version) = (&workload.name, workload.version);
    let fail = |found: String| Err(("I28", format!("{name}: {found}")));
    let is_now = |it: &&HistoryEvent| it.index == cluster.index;
    let mut now = cluster.history().iter().rev().take_while(is_now);
    match workload.rollout.and_then(|rollout| rollout.failed) {
        Some(failed) if failed != before.version || Some(version) != before.stable => {
            fail(format!("version {failed} is taken back to {version}, the stable one is {:?}", before.stable))
        }
        Some(failed) => failed_enough(cluster, workload, failed, before, failures),
        None if version > before.version => Ok(()),
        None if now.any(|it| it.what == What::Undone) => Ok(()),
        None => fail(format!("went from version {} to {version}, and nobody wanted that", before.version)),
    }
}

/// A rollout fails only when its deadline has passed, or as many of its attempts have failed as its user allows and none
/// serves for long enough, and there is an older version.
fn failed_enough(cluster: &Cluster, workload: &Workload, failed: u32, before: &Known, failures: &Failures) -> Check {
    let of_it = || workload.slots.iter().flat_map(|slot| cluster.attempts(slot)).filter(|it| it.version == failed);
    let has_served = |task: &Task| {
        let wanted = task.slot < workload.wanted() && task.desired == Desired::Running;
        let since = task.serving_since.filter(|_| wanted && task.serves() && !is_silent(cluster, task));
        since.is_some_and(|since| since + workload.update.min_healthy <= cluster.at)
    };
    let most = before.update.max_failures;
    let returns = before.stable.is_some_and(|stable| stable != failed);
    if most > 0 && returns && failures.are(most) && before.rollout.settled == 0 && !of_it().any(has_served) {
        return Ok(());
    }
    let due = workload.update.deadline.map(|deadline| before.rollout.progress_at + deadline);
    match due {
        Some(due) if due <= cluster.at => Ok(()),
        due => {
            Err(("I28", format!("the rollout of {} failed at {}, it was due at {due:?}", workload.name, cluster.at)))
        }
    }
}

/// It is at the same version.
fn went_on(cluster: &Cluster, workload: &Workload, before: &Known, failures: &Failures) -> Check {
    let Some(rollout) = workload.rollout else { return Ok(()) };
    let runs = |rollout: &Rollout| rollout.state == RolloutState::Running;
    let went_on = runs(&rollout) && runs(&before.rollout) && rollout.since == before.rollout.since;
    // The first replica of a service that had none begins it anew.
    let had_any = before.replicas > 0;
    let moved = went_on && had_any && rollout.progress_at != before.rollout.progress_at;
    if moved && rollout.settled <= before.rollout.settled {
        let found = format!("the deadline of {} moved on, and no more have settled than ever before", workload.name);
        return Err(("I28", found));
    }
    if rollout.state == RolloutState::Failed && before.rollout.state != RolloutState::Failed {
        failed_enough(cluster, workload, workload.version, before, failures)?;
        let other = before.stable.filter(|stable| *stable != workload.version);
        if other.is_some() && before.update.on_failure == OnFailure::Rollback {
            return Err(("I28", format!("{} stands still and was to go back to {other:?}", workload.name)));
        }
    }
    Ok(())
}

/// A rollout is done only when every wanted slot has a task of its version that has served for long enough.
fn done(cluster: &Cluster, workload: &Workload, serving: &BTreeMap<TaskId, Time>) -> Check {
    let counts = |task: &Task| {
        let since = serving.get(&task.id).filter(|_| task.serves() && task.desired == Desired::Running);
        task.version == workload.version && since.is_some_and(|s| *s + workload.update.min_healthy <= cluster.at)
    };
    let has = |number: u32| workload.slots.get(number as usize).is_some_and(|slot| cluster.attempts(slot).any(counts));
    match (0..workload.wanted()).find(|number| !has(*number)) {
        Some(slot) => Err(("I28", format!("{} is said to be rolled out, and slot {slot} is not there", workload.name))),
        None => Ok(()),
    }
}

/// S: a slot is only given a task of the version that it shall be of. Asked when a plan is made, and when it has been
/// carried out.
pub(super) fn of_the_right_version<'a>(cluster: &Cluster, creates: impl Iterator<Item = &'a Create>) -> Check {
    for create in creates {
        let Some(workload) = cluster.workload(create.workload) else { continue };
        let right = shall_be(cluster, workload, create.slot);
        if create.version != right {
            let (name, slot, version) = (&workload.name, create.slot, create.version);
            return Err(("I28", format!("slot {slot} of {name} is given version {version}, it shall be of {right}")));
        }
    }
    Ok(())
}

/// I28: when it begins to stand still, each slot keeps the current version where that has served for long enough, or, where
/// somebody pauses it, has begun and did not fail yet; else what is there of another one.
fn held(cluster: &Cluster, workload: &Workload, rollout: &Rollout, serving: &BTreeMap<TaskId, Time>) -> Check {
    for (number, slot) in workload.slots.iter().enumerate() {
        let live = || cluster.attempts(slot).filter(|task| task.is_live());
        let is_current = |task: &&Task| task.version == workload.version;
        let counts = |task: &Task| {
            let since = serving.get(&task.id).filter(|_| task.serves() && !is_silent(cluster, task));
            since.is_some_and(|since| *since + workload.update.min_healthy <= cluster.at)
        };
        let given = cluster.attempts(slot).next().map(|task| task.version);
        let fails = |task: &Task| task.state.is_terminal() && task.desired == Desired::Running;
        let fails = rollout.state == RolloutState::Failed || cluster.attempts(slot).filter(is_current).any(fails);
        let begins = !fails && live().any(|task| is_current(&task));
        let expected = if begins || live().filter(is_current).any(counts) {
            workload.version
        } else if let Some(older) = live().find(|task| !is_current(task)) {
            older.version
        } else if rollout.state != RolloutState::Failed && live().next().is_some() {
            workload.version
        } else {
            workload.stable.or(given).unwrap_or(workload.version)
        };
        if slot.own != expected {
            let found = format!("slot {number} of {} keeps version {}, not {expected}", workload.name, slot.own);
            return Err(("I28", found));
        }
    }
    Ok(())
}

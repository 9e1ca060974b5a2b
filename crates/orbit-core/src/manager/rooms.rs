//! Rooms: where a plan's tasks may go, beside the places that are promised to the successors of tasks which were told to stop
//! for them.
//!
//! Between the order to stop and the successor's creation lie a grace period and a report. Without a promise, whoever came in
//! between could take the place, and the service would be down.

use super::prefetch::{Image, Prefetches};
use crate::{
    cost,
    model::*,
    reconciler::{self, Place, Places},
    scheduler::{Scheduler, filter::PlacementClass},
    state::Cluster,
};
use std::{cell::RefCell, collections::BTreeMap, collections::BTreeSet};

/// A place that is kept for the successor of a task. It is memory of the leader: an election forgets it, and the successor is
/// placed like any other then.
#[derive(Clone, Debug)]
pub struct Promise {
    old: TaskId,
    /// The slot's newest attempt when that was said.
    newest: Option<TaskId>,
    class: PlacementClass,
    node: NodeId,
}

impl Promise {
    /// The task that is followed, where it holds a part of the place.
    fn holder<'a>(&self, cluster: &'a Cluster) -> Option<&'a Task> {
        cluster.task(self.old).filter(|old| old.holds_resources() && old.node == Some(self.node))
    }
}

/// The promises that stand, by slot.
pub type Promises = BTreeMap<(Uid, u32), Promise>;

/// The scheduler of one plan, made when it is asked first: what that costs grows with the fleet.
pub struct Rooms<'a> {
    /// The state that is planned for.
    pub cluster: &'a Cluster,
    at: Time,
    inner: RefCell<Inner<'a>>,
}

struct Inner<'a> {
    scheduler: Option<Scheduler<'a>>,
    promises: Promises,
    prefetches: Prefetches,
    /// Nodes with room that was promised and is not any more.
    released: Vec<NodeId>,
    /// Classes for which no node was found, but for one on which a task gives something back.
    refused: BTreeSet<PlacementClass>,
}

impl<'a> Rooms<'a> {
    /// Rooms of a state, at a time, with the promises of earlier plans and what is known of images.
    pub fn new(cluster: &'a Cluster, at: Time, mut promises: Promises, prefetches: Prefetches) -> Self {
        cost::rows(promises.len());
        let is_over = |(uid, slot): &(Uid, u32), promise: &mut Promise| !is_owed(cluster, *uid, *slot, promise);
        let released = promises.extract_if(.., is_over).map(|(_, promise)| promise.node).collect();
        let inner = Inner { scheduler: None, promises, prefetches, released, refused: BTreeSet::new() };
        Rooms { cluster, at, inner: RefCell::new(inner) }
    }

    /// Asks the scheduler.
    pub fn with<R>(&self, ask: impl FnOnce(&mut Scheduler<'a>) -> R) -> R {
        let Inner { scheduler, promises, .. } = &mut *self.inner.borrow_mut();
        let scheduler = scheduler.get_or_insert_with(|| {
            let mut scheduler = Scheduler::new(self.cluster, self.at);
            for promise in promises.values() {
                scheduler.keep(&promise.class, promise.node, promise.holder(self.cluster));
            }
            scheduler
        });
        ask(scheduler)
    }

    /// The successor is placed now: on the node that was promised to it, whose image is there, and its room is needed for
    /// that. `None` where none was promised; otherwise the node.
    pub fn redeem(&self, uid: Uid, slot: u32) -> Option<NodeId> {
        self.inner.borrow().promises.get(&(uid, slot))?;
        self.with(|_| ()); // what is released was kept
        let Inner { scheduler, promises, released, .. } = &mut *self.inner.borrow_mut();
        let promise = promises.remove(&(uid, slot))?;
        if let Some(scheduler) = scheduler {
            scheduler.release(&promise.class, promise.node, promise.holder(self.cluster));
            released.push(promise.node);
        }
        Some(promise.node)
    }

    /// The nodes on which less is promised than before, since this was asked last.
    pub fn released(&self) -> Vec<NodeId> {
        std::mem::take(&mut self.inner.borrow_mut().released)
    }

    /// What is promised by now, and what is known of images.
    pub fn into_parts(self) -> (Promises, Prefetches) {
        let Inner { promises, prefetches, .. } = self.inner.into_inner();
        (promises, prefetches)
    }
}

impl Places for Rooms<'_> {
    fn find_for(&self, workload: &Workload, version: u32, old: &Task) -> Place {
        let class = class_of(self.cluster, workload, old.slot, version);
        let own = self.with(|scheduler| scheduler.place_instead(&class, old));
        let refused = own.is_none() && self.inner.borrow().refused.contains(&class);
        let is_good = |node: &NodeId| {
            let node = self.cluster.node(*node);
            node.is_some_and(|node| self.with(|scheduler| !scheduler.is_avoided(&class, node)))
        };
        let elsewhere = || {
            let others = match class.placement.strategy {
                Strategy::Spread => tasks_by_node(self.cluster, workload.uid, &[old.slot].into()),
                Strategy::Binpack => BTreeMap::new(),
            };
            self.with(|scheduler| scheduler.best_for(&class, &others))
        };
        let found = match own {
            Some(own) if is_good(&own) => Some(own),
            Some(own) => elsewhere().filter(is_good).or(Some(own)),
            None if refused => None,
            None => elsewhere(),
        };
        let Some(node) = found else {
            self.inner.borrow_mut().refused.insert(class);
            return Place::Nowhere;
        };
        match self.inner.borrow_mut().prefetches.ask(self.cluster, (node, workload.uid, version), self.at) {
            Image::There => {}
            Image::Awaited(until) => return Place::ImageAwaited(until),
            Image::Failed(until) => return Place::ImageFailed(until),
        }
        self.with(|scheduler| scheduler.keep(&class, node, (own == Some(node)).then_some(old)));
        let slot = workload.slots.get(old.slot as usize);
        let newest = slot.and_then(|slot| self.cluster.attempts(slot).next()).map(|newest| newest.id);
        let promise = Promise { old: old.id, newest, class, node };
        self.inner.borrow_mut().promises.insert((workload.uid, old.slot), promise);
        Place::Kept
    }
}

/// Whether a promise stands: the task was told to stop, somebody is there to stop it, and nothing has followed it yet. What
/// waits for a silent node may wait for ever, and keeps nobody from a place meanwhile.
fn is_owed(cluster: &Cluster, uid: Uid, slot: u32, promise: &Promise) -> bool {
    let Some(slot) = cluster.workload(uid).and_then(|workload| workload.slots.get(slot as usize)) else { return false };
    let goes = |old: &Task| {
        let is_heard = cluster.node_of(old).is_some_and(Node::is_ready);
        old.desired == Desired::Stopped && (old.state.is_terminal() || is_heard)
    };
    cluster.task(promise.old).is_none_or(goes)
        && cluster.attempts(slot).next().map(|newest| newest.id) == promise.newest
}

/// On which nodes the remembered attempts of a slot could not be started. It may be the node's fault, so the next one is
/// tried elsewhere.
pub fn failed_on(cluster: &Cluster, workload: &Workload, slot: u32, version: u32) -> BTreeSet<NodeId> {
    let slot = workload.slots.get(slot as usize);
    let attempts = slot.into_iter().flat_map(|slot| cluster.attempts(slot));
    let failed = attempts.filter(|task| task.version == version && task.could_not_start());
    failed.filter_map(|task| task.node).collect()
}

/// The placement class of the next attempt in a slot.
pub fn class_of(cluster: &Cluster, workload: &Workload, slot: u32, version: u32) -> PlacementClass {
    let spec = workload.spec(version).expect("a target is a version that is remembered");
    let after = cluster.waits_for(workload, slot, version).to_vec();
    PlacementClass { failed_on: failed_on(cluster, workload, slot, version), after, ..PlacementClass::of(spec) }
}

/// How many tasks of a workload are on each node to stay. Those of a slot that is being filled go, and so do those of another
/// version than their slot shall have: who counted them would spread a rollout around what is about to leave.
pub fn tasks_by_node(cluster: &Cluster, uid: Uid, filled: &BTreeSet<u32>) -> BTreeMap<NodeId, u32> {
    let mut counts = BTreeMap::new();
    let Some(workload) = cluster.workload(uid) else { return counts };
    for (number, slot) in (0..).zip(&workload.slots).filter(|(number, _)| !filled.contains(number)) {
        let version = reconciler::target(cluster, workload, number);
        for task in cluster.attempts(slot).filter(|task| task.is_live() && task.version == version) {
            if let Some(node) = task.node {
                *counts.entry(node).or_default() += 1;
            }
        }
    }
    counts
}

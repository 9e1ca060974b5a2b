//! Rooms: where a plan's tasks may go, beside the places that are promised to the successors of tasks which were told to stop
//! for them.
//!
//! Between the order to stop and the successor's creation lie a grace period and a report. Without a promise, whoever came in
//! between could take the place, and the service would be down.

use crate::{
    cost,
    model::*,
    reconciler::Places,
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
    /// Nodes with room that was promised and is not any more.
    released: Vec<NodeId>,
    /// Classes for which no node was found, but for one on which a task gives something back.
    refused: BTreeSet<PlacementClass>,
}

impl<'a> Rooms<'a> {
    /// Rooms of a state, at a time, with the promises of earlier plans.
    pub fn new(cluster: &'a Cluster, at: Time, mut promises: Promises) -> Self {
        cost::rows(promises.len());
        let is_over = |(uid, slot): &(Uid, u32), promise: &mut Promise| !is_owed(cluster, *uid, *slot, promise);
        let released = promises.extract_if(.., is_over).map(|(_, promise)| promise.node).collect();
        let inner = Inner { scheduler: None, promises, released, refused: BTreeSet::new() };
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

    /// The successor is placed now, and its room is needed for that. Whether one was promised to it.
    pub fn redeem(&self, uid: Uid, slot: u32) -> bool {
        if !self.inner.borrow().promises.contains_key(&(uid, slot)) {
            return false;
        }
        self.with(|_| ()); // what is released was kept
        let Inner { scheduler, promises, released, .. } = &mut *self.inner.borrow_mut();
        if let (Some(promise), Some(scheduler)) = (promises.remove(&(uid, slot)), scheduler) {
            scheduler.release(&promise.class, promise.node, promise.holder(self.cluster));
            released.push(promise.node);
        }
        true
    }

    /// The nodes on which less is promised than before, since this was asked last.
    pub fn released(&self) -> Vec<NodeId> {
        std::mem::take(&mut self.inner.borrow_mut().released)
    }

    /// What is promised by now.
    pub fn into_promises(self) -> Promises {
        self.inner.into_inner().promises
    }
}

impl Places for Rooms<'_> {
    fn is_there_for(&self, workload: &Workload, version: u32, old: &Task) -> bool {
        let class = class_of(self.cluster, workload, old.slot, version);
        let own = self.with(|scheduler| scheduler.place_instead(&class, old));
        let refused = own.is_none() && self.inner.borrow().refused.contains(&class);
        let elsewhere = || self.with(|scheduler| scheduler.place_anywhere(&class));
        let Some(node) = own.or_else(|| if refused { None } else { elsewhere() }) else {
            self.inner.borrow_mut().refused.insert(class);
            return false;
        };
        self.with(|scheduler| scheduler.keep(&class, node, own.and(Some(old))));
        let slot = workload.slots.get(old.slot as usize);
        let newest = slot.and_then(|slot| self.cluster.attempts(slot).next()).map(|newest| newest.id);
        let promise = Promise { old: old.id, newest, class, node };
        self.inner.borrow_mut().promises.insert((workload.uid, old.slot), promise);
        true
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
    PlacementClass { failed_on: failed_on(cluster, workload, slot, version), ..PlacementClass::of(spec) }
}

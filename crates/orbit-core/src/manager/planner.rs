//! The planner: which workloads to look at, and what to propose for them.
//!
//! It is memory of the leader; every election rebuilds it by looking at everything once. One plan is
//! outstanding at a time, and workloads that are touched meanwhile wait for the next plan. A placement class that
//! found no node is not tried again until a node has changed. So a full cluster costs nothing, and an unchanged
//! state never gives the same plan twice.

use super::{
    prefetch::Prefetches,
    rooms::{Promises, Rooms, class_of, failed_on, tasks_by_node},
};
use crate::{
    cost,
    model::*,
    reconciler::{self, Changes, Context, Outages},
    scheduler::{self, filter::PlacementClass},
    state::Cluster,
};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

/// At most so many tasks are created or placed by one plan, which bounds an entry.
pub const PLAN_TASKS_MAX: usize = 10_000;

/// A look at a workload costs all its slots, and each report about one of its tasks wants one. So many
/// slots are looked at in a millisecond at most: a service of 50,000 replicas at most every 50 ms, one
/// of less than 1,000 whenever something happens to it.
const SLOTS_PER_MS: u64 = 1_000;

/// So many finished task definitions are remembered; then the oldest make room.
pub const FINISHED_MAX: usize = 1_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Planner {
    dirty: BTreeSet<Uid>,
    changed_nodes: BTreeSet<NodeId>,
    /// A node came, went or returned: whatever waits for one has another reason now, even where it
    /// goes on waiting (invariant I30).
    nodes_differ: bool,
    /// Classes for which no node had room, with the workloads that wait.
    blocked: BTreeMap<PlacementClass, BTreeSet<Uid>>,
    timers: BTreeSet<(Time, Uid)>,
    timer_of: BTreeMap<Uid, Time>,
    /// Nodes with quarantined ports, by when the first of them is free again.
    quarantined: BTreeSet<(Time, NodeId)>,
    /// Large workloads that are not looked at again before this time.
    paced: BTreeMap<Uid, Time>,
    /// Workloads with tasks that are not stopped, because what follows them has no place.
    no_place: BTreeMap<Uid, NoPlace>,
    /// Objects that classes wait for which found no node, and workloads whose tasks are not stopped for what would wait.
    prerequisites: BTreeMap<(Kind, String), Awaiting>,
    /// Where the successors of tasks go that were told to stop for them, by slot.
    promises: Promises,
    /// The images that are waited for before what serves is stopped.
    pub prefetches: Prefetches,
}

/// What the successors of a workload's tasks wait for.
#[derive(Clone, Debug, Default)]
struct NoPlace {
    classes: BTreeSet<PlacementClass>,
    /// The tasks that they follow, by node: room on one of them may be enough beside what such a task gives back.
    olds: BTreeMap<NodeId, Vec<(PlacementClass, TaskId)>>,
}

/// Who waits for an object.
#[derive(Clone, Debug, Default)]
struct Awaiting {
    classes: BTreeSet<PlacementClass>,
    workloads: BTreeSet<Uid>,
}

/// A task that wants a node.
enum PlacementRequest {
    /// The n-th of the plan's creates.
    Create(usize),
    /// One that is pending already.
    Pending(TaskId),
}

/// The tasks of one workload that want a node.
struct PlacementRequests {
    uid: Uid,
    spec: Arc<Spec>,
    requests: Vec<PlacementRequest>,
}

impl Planner {
    /// Looks at everything at the next plan.
    pub fn look_at_all(&mut self, cluster: &Cluster) {
        *self = Planner { prefetches: std::mem::take(&mut self.prefetches), ..Planner::default() };
        self.dirty.extend(cluster.workloads().map(|workload| workload.uid));
        let first = |node: &Node| Some((*node.quarantined_ports.values().min()?, node.id));
        self.quarantined = cluster.nodes().filter_map(first).collect();
    }

    /// Looks at what is on silent nodes at the next plan: whether one of them is given up depends on how many others are
    /// silent, and since when the leader can vouch for that.
    pub fn look_at_silent(&mut self, cluster: &Cluster) {
        let silent = Vec::from_iter(cluster.silent().iter().map(|(_, node)| *node));
        self.look_at_nodes(cluster, &silent);
    }

    /// Looks at what is on these nodes at the next plan.
    pub fn look_at_nodes(&mut self, cluster: &Cluster, nodes: &[NodeId]) {
        let tasks = nodes.iter().filter_map(|id| cluster.node(*id)).flat_map(Node::tasks);
        for task in tasks.filter_map(|id| cluster.task(id)) {
            cost::rows(1);
            self.dirty.insert(task.workload);
        }
    }

    /// Something happened to these.
    pub fn touch(&mut self, cluster: &Cluster, touched: &Touched) {
        self.dirty.extend(&touched.workloads);
        self.wake_awaiting(cluster, touched.workloads.iter().chain(&touched.forgetful));
        self.changed_nodes.extend(&touched.nodes);
        if touched.reach_changed || touched.volumes_freed {
            self.nodes_differ = true;
        }
        for id in &touched.nodes {
            let first = cluster.node(*id).and_then(|node| node.quarantined_ports.values().min());
            self.quarantined.extend(first.map(|until| (*until, *id)));
        }
    }

    /// Looks again at who waits for these: they may have come far enough, or not be there any more.
    fn wake_awaiting<'a>(&mut self, cluster: &Cluster, touched: impl Iterator<Item = &'a Uid>) {
        if self.prerequisites.is_empty() {
            return;
        }
        for workload in touched.filter_map(|uid| cluster.workload(*uid)) {
            let waiting = self.prerequisites.remove(&(workload.kind, workload.name.to_string()));
            let Some(Awaiting { classes, workloads }) = waiting else { continue };
            self.dirty.extend(workloads);
            self.dirty.extend(classes.iter().filter_map(|class| self.blocked.remove(class)).flatten());
        }
    }

    /// Remembers what a class waits for that found no node, and whom to look at again then.
    fn remember_order(&mut self, class: &PlacementClass, workload: Option<Uid>) {
        for After { kind, name, .. } in &class.after {
            let awaiting = self.prerequisites.entry((*kind, name.clone())).or_default();
            match workload {
                Some(uid) => _ = awaiting.workloads.insert(uid),
                None => _ = awaiting.classes.insert(class.clone()),
            }
        }
    }

    /// What is known of an image of this workload has changed.
    pub fn look_at(&mut self, uid: Uid) {
        self.dirty.insert(uid);
    }

    /// Whether there is nothing to look at now.
    pub fn is_idle(&self, cluster: &Cluster, at: Time) -> bool {
        self.dirty.is_empty()
            && self.changed_nodes.is_empty()
            && (!self.nodes_differ || (self.blocked.is_empty() && self.no_place.is_empty()))
            && self.deadline().is_none_or(|due| due > at)
            && cluster.finished.len() <= FINISHED_MAX
    }

    /// When to plan next even if nothing happens.
    pub fn deadline(&self) -> Option<Time> {
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.quarantined.first().map(|(until, _)| *until)).min()
    }

    /// Decides what to do now. `None` when there is nothing to do.
    pub fn plan(&mut self, cluster: &Cluster, at: Time, outages: &dyn Outages, replace_after: Millis) -> Option<Plan> {
        self.wake_due(cluster, at);
        let (promises, prefetches) = (std::mem::take(&mut self.promises), std::mem::take(&mut self.prefetches));
        let rooms = Rooms::new(cluster, at, promises, prefetches);
        // What is promised no more is room for whoever found none.
        self.changed_nodes.extend(rooms.released());
        let context = &Context { at, outages, places: &rooms, replace_after, creates_max: PLAN_TASKS_MAX };
        self.unblock(&rooms);
        let mut plan = Plan { parent: cluster.index, ..Plan::default() };
        let mut requests: BTreeMap<(PlacementClass, Option<Uid>), Vec<PlacementRequests>> = BTreeMap::new();
        let (mut room, mut decisions) = (PLAN_TASKS_MAX, BTreeMap::new());
        while room > 0
            && let Some(uid) = self.dirty.pop_first()
        {
            if let Some(due) = self.paced.get(&uid).filter(|due| **due > at) {
                self.wake_by(uid, *due);
                continue;
            }
            self.plan_workload(&rooms, uid, context, &mut room, &mut plan, &mut requests, &mut decisions);
        }
        for ((class, _), requests) in requests {
            self.schedule(&rooms, &class, requests, &mut plan, &mut decisions);
        }
        self.changed_nodes.extend(rooms.released());
        (self.promises, self.prefetches) = rooms.into_parts();
        let before = |uid: &Uid| cluster.workload(*uid).and_then(|workload| workload.decision.as_ref());
        plan.decisions.extend(decisions.into_iter().filter(|(uid, decision)| is_news(decision, before(uid))));
        let surplus = cluster.finished.len().saturating_sub(FINISHED_MAX).min(PLAN_TASKS_MAX);
        plan.drops.extend(cluster.finished.iter().take(surplus).map(|(_, uid)| *uid));
        (!plan.is_empty()).then_some(plan)
    }

    /// What would be changed of a workload now, if that were planned.
    pub fn changes(
        &self,
        cluster: &Cluster,
        workload: &Workload,
        at: Time,
        outages: &dyn Outages,
        replace_after: Millis,
    ) -> Changes {
        let rooms = Rooms::new(cluster, at, self.promises.clone(), self.prefetches.clone());
        let context = Context { at, outages, places: &rooms, replace_after, creates_max: PLAN_TASKS_MAX };
        reconciler::reconcile(cluster, workload, &context)
    }

    fn wake_due(&mut self, cluster: &Cluster, at: Time) {
        while let Some(&(due, uid)) = self.timers.first()
            && due <= at
        {
            self.timers.pop_first();
            self.timer_of.remove(&uid);
            self.dirty.insert(uid);
        }
        while let Some(&(until, id)) = self.quarantined.first()
            && until <= at
        {
            self.quarantined.pop_first();
            self.changed_nodes.insert(id);
            let later = cluster.node(id).into_iter().flat_map(|node| node.quarantined_ports.values());
            self.quarantined.extend(later.filter(|until| **until > at).min().map(|until| (*until, id)));
        }
    }

    fn set_timer(&mut self, uid: Uid, at: Option<Time>) {
        if let Some(before) = self.timer_of.remove(&uid) {
            self.timers.remove(&(before, uid));
        }
        if let Some(at) = at {
            self.timer_of.insert(uid, at);
            self.timers.insert((at, uid));
        }
    }

    /// Looks at a workload at this time at the latest.
    fn wake_by(&mut self, uid: Uid, at: Time) {
        if self.timer_of.get(&uid).is_none_or(|due| *due > at) {
            self.set_timer(uid, Some(at));
        }
    }

    /// A class is tried again only on nodes that have changed since it was refused everywhere, or
    /// when there are others than then.
    fn unblock(&mut self, rooms: &Rooms) {
        let changed = std::mem::take(&mut self.changed_nodes);
        if std::mem::take(&mut self.nodes_differ) {
            self.dirty.extend(std::mem::take(&mut self.blocked).into_values().flatten());
            self.dirty.extend(self.no_place.keys());
            return;
        }
        if changed.is_empty() || (self.blocked.is_empty() && self.no_place.is_empty()) {
            return;
        }
        let fits =
            |class: &PlacementClass| rooms.with(|scheduler| changed.iter().any(|node| scheduler.fits(class, *node)));
        let fits_instead = |(class, old): &(PlacementClass, TaskId)| {
            let old = rooms.cluster.task(*old);
            old.is_some_and(|old| rooms.with(|scheduler| scheduler.place_instead(class, old)).is_some())
        };
        let may_go = |(uid, waits): (&Uid, &NoPlace)| {
            let mut olds = changed.iter().filter_map(|node| waits.olds.get(node)).flatten();
            (olds.any(fits_instead) || waits.classes.iter().any(fits)).then_some(*uid)
        };
        self.dirty.extend(self.no_place.iter().filter_map(may_go));
        let (free, blocked) = std::mem::take(&mut self.blocked).into_iter().partition(|(class, _)| fits(class));
        self.blocked = blocked;
        let free: BTreeMap<PlacementClass, BTreeSet<Uid>> = free;
        self.dirty.extend(free.into_values().flatten());
    }

    #[allow(clippy::too_many_arguments, reason = "one step of plan(), which owns them all")]
    fn plan_workload(
        &mut self,
        rooms: &Rooms,
        uid: Uid,
        context: &Context,
        room: &mut usize,
        plan: &mut Plan,
        requests: &mut BTreeMap<(PlacementClass, Option<Uid>), Vec<PlacementRequests>>,
        decisions: &mut BTreeMap<Uid, Decision>,
    ) {
        let cluster = rooms.cluster;
        let Some(workload) = cluster.workload(uid) else {
            self.set_timer(uid, None);
            self.paced.remove(&uid);
            self.no_place.remove(&uid);
            return;
        };
        let context = Context { creates_max: *room, ..*context };
        let Changes { creates, stops, no_place, removes, trim, drop, rollout, wake_at, more } =
            reconciler::reconcile(cluster, workload, &context);
        self.set_timer(uid, wake_at);
        let pause = Millis(workload.slots.len() as u64 / SLOTS_PER_MS);
        if more {
            self.dirty.insert(uid);
        } else if pause > Millis(0) {
            self.paced.insert(uid, context.at + pause);
        }
        // While a rollout is held, slots of one service are of several versions.
        let mut wanted: BTreeMap<(u32, BTreeSet<NodeId>), Vec<PlacementRequest>> = BTreeMap::new();
        for (slot, version, after) in creates {
            let failed_on = failed_on(cluster, workload, slot, version);
            wanted.entry((version, failed_on)).or_default().push(PlacementRequest::Create(plan.creates.len()));
            plan.creates.push(Create { workload: uid, version, slot, after, target: None });
        }
        // One that is told to stop in this plan does not get a node in it.
        let stopped: BTreeSet<TaskId> = stops.iter().copied().collect();
        let waiting = cluster.pending_of(uid).filter(|task| !stopped.contains(task));
        let waiting: Vec<TaskId> = waiting.take(PLAN_TASKS_MAX).collect();
        for task in waiting.into_iter().filter_map(|id| cluster.task(id)) {
            let failed_on = failed_on(cluster, workload, task.slot, task.version);
            wanted.entry((task.version, failed_on)).or_default().push(PlacementRequest::Pending(task.id));
        }
        let count: usize = wanted.values().map(Vec::len).sum();
        *room = if more { 0 } else { room.saturating_sub(count + 1) };
        decisions.extend(self.wait_for_places(rooms, workload, &no_place).map(|decision| (uid, decision)));
        plan.stops.extend(stops);
        plan.removes.extend(removes);
        plan.trims.extend(trim.map(|len| (uid, len)));
        plan.drops.extend(drop.then_some(uid));
        plan.rollouts.extend(rollout.map(|step| (uid, workload.version, step)));
        for ((version, failed_on), of_version) in wanted {
            let spec = workload.spec(version).expect("a target is a version that is remembered").clone();
            // What a version waits for is the same in all slots; and of what runs once there is one.
            let slot = of_version.first().and_then(|request| slot_of(cluster, plan, request)).unwrap_or_default();
            let after = cluster.waits_for(workload, slot, version).to_vec();
            let class = PlacementClass { failed_on, after, ..PlacementClass::of(&spec) };
            // Spreading counts the tasks of one service, so services are not mixed there.
            let scope = (class.placement.strategy == Strategy::Spread).then_some(uid);
            requests.entry((class, scope)).or_default().push(PlacementRequests { uid, spec, requests: of_version });
        }
    }

    /// Remembers what the successors of tasks wait for that serve and are not stopped; one of them says why. A decision is
    /// made where there are some, or were.
    fn wait_for_places(
        &mut self,
        rooms: &Rooms,
        workload: &Workload,
        no_place: &[(u32, u32, TaskId)],
    ) -> Option<Decision> {
        let waited = self.no_place.remove(&workload.uid).is_some();
        let mut waits = NoPlace::default();
        for (slot, version, old) in no_place {
            let class = class_of(rooms.cluster, workload, *slot, *version);
            if let Some(node) = rooms.cluster.task(*old).and_then(|old| old.node) {
                waits.olds.entry(node).or_default().push((class.clone(), *old));
            }
            waits.classes.insert(class);
        }
        waits.classes.iter().for_each(|class| self.remember_order(class, Some(workload.uid)));
        let refusals = waits.classes.first().map(|class| rooms.with(|scheduler| scheduler.refusals(class)));
        let unplaced = u32::from(refusals.is_some());
        if unplaced > 0 {
            self.no_place.insert(workload.uid, waits);
        }
        let refusals = refusals.unwrap_or_default();
        let decision = Decision { parent: rooms.cluster.index, placed: 0, unplaced, refusals, best: Vec::new() };
        (waited || unplaced > 0).then_some(decision)
    }

    fn schedule(
        &mut self,
        rooms: &Rooms,
        class: &PlacementClass,
        requests: Vec<PlacementRequests>,
        plan: &mut Plan,
        decisions: &mut BTreeMap<Uid, Decision>,
    ) {
        let cluster = rooms.cluster;
        // Those to whom a place was promised come first, and do not care that there is none for others.
        let (mut redeemed, mut kept) = (0, BTreeMap::new());
        let (first, others): (Vec<_>, Vec<_>) =
            requests.into_iter().partition(|PlacementRequests { uid, requests, .. }| {
                let slots = requests.iter().filter_map(|request| slot_of(cluster, plan, request));
                let promised: Vec<_> = slots.filter_map(|slot| Some((slot, rooms.redeem(*uid, slot)?))).collect();
                redeemed += promised.len();
                let place = |(slot, node)| Some(((*uid, slot), rooms.with(|it| it.place_on(class, node))?));
                let any = !promised.is_empty();
                kept.extend(promised.into_iter().filter_map(place));
                any
            });
        let requests: Vec<PlacementRequests> = first.into_iter().chain(others).collect();
        let count = requests.iter().map(|w| w.requests.len()).sum::<usize>() - kept.len();
        let tried = if self.blocked.contains_key(class) { redeemed - kept.len() } else { count };
        let own = match class.placement.strategy {
            Strategy::Spread => {
                let all = requests.iter().flat_map(|w| &w.requests);
                let filled = all.filter_map(|request| slot_of(cluster, plan, request));
                tasks_by_node(cluster, requests[0].uid, &filled.collect())
            }
            Strategy::Binpack => BTreeMap::new(),
        };
        let placed = (tried > 0).then(|| rooms.with(|scheduler| scheduler.place(class, tried, &own)));
        let (targets, best) = placed.map_or_else(Default::default, |placed| (placed.targets, placed.best));
        let unplaced = count - targets.len();
        let refusals = if unplaced > 0 { rooms.with(|scheduler| scheduler.refusals(class)) } else { Vec::new() };
        let mut targets = targets.into_iter();
        for PlacementRequests { uid, spec, requests } in requests {
            let mut counts = (0, 0);
            for request in requests {
                let promised = slot_of(cluster, plan, &request).and_then(|slot| kept.remove(&(uid, slot)));
                let Some(mut target) = promised.or_else(|| targets.next()) else {
                    counts.1 += 1;
                    continue;
                };
                counts.0 += 1;
                target.host_ports = scheduler::ports_in_order(&spec, &target.host_ports);
                match request {
                    PlacementRequest::Create(nth) => plan.creates[nth].target = Some(target),
                    PlacementRequest::Pending(task) => plan.places.push(Place { task, target }),
                }
            }
            if counts.1 > 0 {
                self.blocked.entry(class.clone()).or_default().insert(uid);
                self.remember_order(class, None);
            }
            let decision = Decision {
                parent: cluster.index,
                placed: counts.0,
                unplaced: counts.1,
                refusals: if counts.1 > 0 { refusals.clone() } else { Vec::new() },
                best: best.clone(),
            };
            // Two versions of one service are two classes, and one decision.
            match decisions.entry(uid) {
                Entry::Vacant(vacant) => _ = vacant.insert(decision),
                Entry::Occupied(occupied) => occupied.into_mut().add(decision),
            }
        }
    }
}

/// A decision is recorded when something was placed, or when it says something new of what was not:
/// writing again what is known already would never come to rest.
fn is_news(decision: &Decision, before: Option<&Decision>) -> bool {
    decision.placed > 0
        || before.is_none_or(|before| before.unplaced != decision.unplaced || before.refusals != decision.refusals)
}

/// The slot of a task that wants a node.
fn slot_of(cluster: &Cluster, plan: &Plan, request: &PlacementRequest) -> Option<u32> {
    match request {
        PlacementRequest::Create(nth) => Some(plan.creates[*nth].slot),
        PlacementRequest::Pending(task) => Some(cluster.task(*task)?.slot),
    }
}

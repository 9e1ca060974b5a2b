//! The scheduler: `filter → fit → score`, over nodes, for a placement class of interchangeable tasks.
//!
//! Order of calls: make a [`Scheduler`] over the state, call [`Scheduler::place`] for each placement class, and put
//! the targets into a plan. The scheduler takes its own earlier placements into account and never changes the
//! state. It computes with integers only, and every order ends in a node's ID, so the same state gives the same plan.

pub mod filter;

use crate::{cost, model::*, state::Cluster};
use filter::{PlacementClass, Refusal, Reserved};
use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

/// How many of the best scores a decision keeps.
const BEST_MAX: usize = 3;

/// The score of an empty node for [`Strategy::Spread`]: each task of the same service there costs
/// 10,000, each thousandth of fullness 1. For people: the choice itself compares without a cap.
const SPREAD_BEST: u64 = 1_000_000;

/// Places tasks on the nodes of one state.
pub struct Scheduler<'a> {
    cluster: &'a Cluster,
    at: Time,
    /// What this plan has reserved so far, by the node's place in the table.
    reserved: Vec<Reserved>,
    /// Whether there is something that is waited for, as far as that was asked: the state is the same for the whole plan.
    waits: RefCell<BTreeMap<Vec<After>, bool>>,
    /// The volumes that this plan has given and promised so far, by name.
    volumes: BTreeMap<String, Given>,
}

/// To how many tasks a plan has given or promised a volume, all of them on one node.
struct Given {
    node: NodeId,
    exclusive: u32,
    shared: u32,
}

impl Given {
    fn access(&self) -> Access {
        if self.exclusive > 0 { Access::Exclusive } else { Access::Shared }
    }
    fn of(&mut self, access: Access) -> &mut u32 {
        match access {
            Access::Exclusive => &mut self.exclusive,
            Access::Shared => &mut self.shared,
        }
    }
}

/// The result of placing tasks of one class.
pub struct Placed {
    /// A target for each task that found a node, in order.
    pub targets: Vec<Target>,
    /// The best few nodes with their scores before the first placement, best first.
    pub best: Vec<(NodeId, u64)>,
}

impl<'a> Scheduler<'a> {
    /// A scheduler over a state, at a time.
    pub fn new(cluster: &'a Cluster, at: Time) -> Self {
        cost::rows(cluster.nodes.len());
        Scheduler {
            cluster,
            at,
            reserved: vec![Reserved::default(); cluster.nodes.len()],
            waits: RefCell::default(),
            volumes: BTreeMap::new(),
        }
    }

    /// Places up to `count` tasks of a class. `own` counts the tasks that the same service has on
    /// each node already (used by [`Strategy::Spread`] only).
    pub fn place(&mut self, class: &PlacementClass, count: usize, own: &BTreeMap<NodeId, u32>) -> Placed {
        match class.placement.strategy {
            Strategy::Binpack => self.binpack(class, count),
            Strategy::Spread => self.spread(class, count, own),
        }
    }

    /// Whether one task of the class fits on the node now; false of a node that was forgotten.
    pub fn fits(&self, class: &PlacementClass, node: NodeId) -> bool {
        self.cluster.node(node).is_some_and(|node| self.takes(class, node)) && !self.waits(class)
    }

    /// Whether a task of the class fits on the node now, whatever it waits for.
    fn takes(&self, class: &PlacementClass, node: &Node) -> bool {
        let reserved = &self.reserved[self.node_place(node.id)];
        filter::check(node, class, reserved, self.at).is_ok() && self.check_volumes(class, node, None).is_ok()
    }

    /// Whether the node has what volumes a task of the class uses, beside what this plan has given already.
    fn check_volumes(&self, class: &PlacementClass, node: &Node, gone: Option<TaskId>) -> Result<(), Refusal> {
        self.cluster.check_volumes(&class.volumes, node, gone)?;
        for (volume, access) in class.volumes.iter() {
            let Some(given) = self.volumes.get(volume) else { continue };
            let volume = volume.to_string();
            if given.node != node.id {
                let node = self.cluster.node(given.node).map_or_else(String::new, |node| node.info.name.clone());
                return Err(Refusal::VolumeElsewhere { volume, node });
            }
            if given.access().keeps_out(access) {
                return Err(Refusal::VolumeHeld { volume, task: None });
            }
        }
        Ok(())
    }

    /// Whether tasks of the class wait for something that is not there yet.
    fn waits(&self, class: &PlacementClass) -> bool {
        if class.after.is_empty() {
            return false;
        }
        let known = self.waits.borrow().get(&class.after).copied();
        known.unwrap_or_else(|| {
            let waits = self.cluster.unmet(&class.after).is_some();
            self.waits.borrow_mut().insert(class.after.clone(), waits);
            waits
        })
    }

    /// The node of `old`, if a task of the class would fit on it with `old` gone.
    pub fn place_instead(&self, class: &PlacementClass, old: &Task) -> Option<NodeId> {
        let own = self.cluster.node_of(old).filter(|_| !self.waits(class)).filter(|own| {
            let given_back = filter::GivenBack {
                resources: self.cluster.spec_of(old).container.resources,
                ports: old.host_ports.clone(),
            };
            let reserved = self.reserved[self.node_place(own.id)].clone();
            let reserved = Reserved { given_back: Some(Box::new(given_back)), ..reserved };
            filter::check(own, class, &reserved, self.at).is_ok()
                && self.check_volumes(class, own, Some(old.id)).is_ok()
        });
        own.map(|own| own.id)
    }

    /// The node that the class's strategy would choose for one task now. `own` as for [`place`](Self::place).
    pub fn best_for(&self, class: &PlacementClass, own: &BTreeMap<NodeId, u32>) -> Option<NodeId> {
        let count = |node: &Node| own.get(&node.id).copied().unwrap_or(0);
        let best = match class.placement.strategy {
            Strategy::Binpack => self.candidates(class).max_by_key(|node| self.rank_to_pack(class, node)),
            Strategy::Spread => self.candidates(class).max_by_key(|node| self.rank_to_spread(class, node, count(node))),
        };
        best.map(|node| node.id)
    }

    /// Places one task of a class on this node, if it fits and is not avoided.
    pub fn place_on(&mut self, class: &PlacementClass, node: NodeId) -> Option<Target> {
        let is_good = self.fits(class, node) && !self.is_avoided(class, self.cluster.node(node)?);
        if is_good { self.take(class, node) } else { None }
    }

    /// Keeps room on a node for a task of the class, beside what `held` holds of it already.
    pub fn keep(&mut self, class: &PlacementClass, node: NodeId, held: Option<&Task>) {
        let Some(place) = self.cluster.nodes.place(node) else { return };
        let held = held.map_or(Resources::ZERO, |task| self.cluster.spec_of(task).container.resources);
        let reserved = &mut self.reserved[place];
        reserved.taken = reserved.taken.plus(class.request.minus(held));
        reserved.ports.extend(&class.pinned_ports);
        self.give_volumes(class, node);
    }

    /// Takes back what was [kept](Self::keep).
    pub fn release(&mut self, class: &PlacementClass, node: NodeId, held: Option<&Task>) {
        let Some(place) = self.cluster.nodes.place(node) else { return };
        let held = held.map_or(Resources::ZERO, |task| self.cluster.spec_of(task).container.resources);
        let reserved = &mut self.reserved[place];
        reserved.taken = reserved.taken.minus(class.request.minus(held));
        class.pinned_ports.iter().for_each(|port| _ = reserved.ports.remove(port));
        for (volume, access) in class.volumes.iter() {
            let Some(given) = self.volumes.get_mut(volume) else { continue };
            *given.of(access) -= 1;
            if given.exclusive + given.shared == 0 {
                self.volumes.remove(volume);
            }
        }
    }

    fn give_volumes(&mut self, class: &PlacementClass, node: NodeId) {
        for (volume, access) in class.volumes.iter() {
            let given = self.volumes.entry(volume.to_string()).or_insert(Given { node, exclusive: 0, shared: 0 });
            *given.of(access) += 1;
        }
    }

    fn node_place(&self, id: NodeId) -> usize {
        self.cluster.nodes.place(id).expect("what is asked for is a node of the cluster")
    }

    /// Why no node takes a task of the class: how many nodes each filter refused, and its explanation for the
    /// node that came nearest.
    pub fn refusals(&self, class: &PlacementClass) -> Vec<Refusals> {
        if let Some(unmet) = self.cluster.unmet(&class.after) {
            let nodes = u32::try_from(self.cluster.nodes().count()).unwrap_or(u32::MAX);
            return vec![Refusals { filter: "after".to_string(), nodes, example: self.cluster.why_not_come(unmet) }];
        }
        let mut by_filter: BTreeMap<&'static str, (u32, u64, String)> = BTreeMap::new();
        for node in self.cluster.nodes() {
            let reserved = &self.reserved[self.node_place(node.id)];
            let checked = filter::check(node, class, reserved, self.at);
            let Err(refusal) = checked.and_then(|()| self.check_volumes(class, node, None)) else { continue };
            let free = match &refusal {
                Refusal::Cpu { free, .. } | Refusal::Memory { free, .. } => *free,
                _ => 0,
            };
            let (nodes, nearest, example) =
                by_filter.entry(refusal.filter()).or_insert_with(|| (0, free, refusal.to_string()));
            *nodes += 1;
            if free > *nearest {
                (*nearest, *example) = (free, refusal.to_string());
            }
        }
        let refused = |(filter, (nodes, _, example)): (&str, (u32, u64, String))| Refusals {
            filter: filter.to_string(),
            nodes,
            example,
        };
        by_filter.into_iter().map(refused).collect()
    }

    fn candidates(&self, class: &PlacementClass) -> impl Iterator<Item = &'a Node> {
        let waits = self.waits(class);
        self.cluster.nodes().filter(move |node| !waits && self.takes(class, node))
    }

    /// Whether a node is taken only after all others: tasks could not be started on it lately, or those of this class.
    pub fn is_avoided(&self, class: &PlacementClass, node: &Node) -> bool {
        class.failed_on.contains(&node.id) || node.avoided_until(self.at).is_some()
    }

    /// How full the node would be with one more task: thousandths of its processors plus thousandths
    /// of its memory.
    fn fullness(&self, node: &Node, request: Resources) -> u64 {
        let would = node.used().plus(self.reserved[self.node_place(node.id)].taken).plus(request);
        let share = |used: u64, of: u64| used.saturating_mul(1000) / of.max(1);
        share(would.cpu_millis, node.info.allocatable.cpu_millis)
            + share(would.memory_bytes, node.info.allocatable.memory_bytes)
    }

    /// The best node to pack has the greatest: not avoided, the fullest, the first.
    fn rank_to_pack(&self, class: &PlacementClass, node: &Node) -> (Reverse<bool>, u64, Reverse<NodeId>) {
        (Reverse(self.is_avoided(class, node)), self.fullness(node, class.request), Reverse(node.id))
    }

    /// The best node to spread to has the greatest: not avoided, the fewest tasks of the service, the emptiest, the first.
    fn rank_to_spread(&self, class: &PlacementClass, node: &Node, own: u32) -> Reverse<(bool, u32, u64, NodeId)> {
        Reverse((self.is_avoided(class, node), own, self.fullness(node, class.request), node.id))
    }

    /// Best fit: the fullest node first, and those that are avoided last. Placing a task makes that node fuller still, so it stays
    /// the best until nothing more fits on it: one pass over the nodes in order.
    fn binpack(&mut self, class: &PlacementClass, count: usize) -> Placed {
        let mut heap: BinaryHeap<_> = self.candidates(class).map(|node| self.rank_to_pack(class, node)).collect();
        let (mut targets, mut best) = (Vec::new(), Vec::new());
        while targets.len() < count {
            let Some((_, score, Reverse(node))) = heap.pop() else { break };
            if best.len() < BEST_MAX {
                best.push((node, score));
            }
            while targets.len() < count
                && let Some(target) = self.take(class, node)
            {
                targets.push(target);
            }
        }
        while best.len() < BEST_MAX
            && let Some((_, score, Reverse(node))) = heap.pop()
        {
            best.push((node, score));
        }
        Placed { targets, best }
    }

    /// The node with the fewest tasks of the same service first, then the emptiest; those that are avoided last.
    fn spread(&mut self, class: &PlacementClass, count: usize, own: &BTreeMap<NodeId, u32>) -> Placed {
        let count_of = |node: &Node| own.get(&node.id).copied().unwrap_or(0);
        let mut heap: BinaryHeap<_> =
            self.candidates(class).map(|node| self.rank_to_spread(class, node, count_of(node))).collect();
        // A score is better when it is higher, so that of spreading counts down.
        let score = |own: u32, fullness: u64| SPREAD_BEST.saturating_sub(u64::from(own) * 10_000 + fullness);
        let mut in_order = heap.clone();
        let best = std::iter::from_fn(|| in_order.pop().map(|Reverse((_, own, full, node))| (node, score(own, full))));
        let best = best.take(BEST_MAX).collect();
        let mut targets = Vec::new();
        while targets.len() < count {
            let Some(Reverse((_, own, _, id))) = heap.pop() else { break };
            let Some(target) = self.take(class, id) else { continue };
            targets.push(target);
            heap.push(self.rank_to_spread(class, &self.cluster.nodes[id], own + 1));
        }
        Placed { targets, best }
    }

    /// Reserves room for one task on the node, if there is any.
    fn take(&mut self, class: &PlacementClass, id: NodeId) -> Option<Target> {
        let node = &self.cluster.nodes[id];
        self.check_volumes(class, node, None).ok()?;
        let place = self.node_place(id);
        let reserved = &mut self.reserved[place];
        let free = node.free().minus(reserved.taken);
        if !class.request.fits_in(free) {
            return None;
        }
        // Whether the node takes such tasks at all was asked before: only its room has changed.
        let host_ports = filter::ports(node, class, reserved, self.at).ok()?;
        reserved.ports.extend(host_ports.iter().chain(&class.pinned_ports));
        reserved.taken = reserved.taken.plus(class.request);
        self.give_volumes(class, id);
        Some(Target { node: id, host_ports: host_ports.into() })
    }
}

/// The host ports of one task in the order of its spec's: pinned ones where they are pinned, chosen
/// ones for the others.
pub fn ports_in_order(spec: &Spec, chosen: &[u16]) -> Box<[u16]> {
    let mut chosen = chosen.iter().copied();
    let host = |port: &Port| port.host.or_else(|| chosen.next()).expect("as many chosen as needed");
    spec.container.ports.iter().map(host).collect()
}

//! The dispatcher: tells each node its orders, and remembers what it has told.
//!
//! A session is a subscription to the orders of its node. The worker is first told everything, and then numbered
//! differences. Each heartbeat acknowledges the last number that the worker took up; if an assignment seems lost, the
//! worker is told everything again. Orders that do not fit into one message follow in further ones, so that a worker
//! never receives a message that it has to refuse.
//!
//! Cost: a step looks only at the subscriptions that have something to tell.

use super::{Action, SessionId};
use crate::{cost, model::*, state::Cluster};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// About how many bytes of orders go into one message. A worker takes many times as much.
pub const MESSAGE_BYTES: usize = 1 << 20;
/// What an order takes beside its spec.
const ORDER_BYTES: usize = 128;

/// What one node is told.
#[derive(Clone, Debug)]
struct Subscription {
    node: NodeId,
    /// Whether it takes everything in several messages.
    takes_parts: bool,
    /// Number of the last assignment that was sent.
    sent: u64,
    /// Number of the last one that the worker is known to have taken up.
    taken: u64,
    /// Since when it has taken up nothing although something was sent.
    waits_since: Time,
    /// Tasks of which the node has to be told.
    pending: BTreeSet<TaskId>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Dispatcher {
    subscriptions: BTreeMap<SessionId, Subscription>,
    by_node: BTreeMap<NodeId, SessionId>,
    /// The sessions that have something pending.
    dirty: BTreeSet<SessionId>,
}

impl Dispatcher {
    /// A session begins: what its worker is told first. What does not fit follows with the next
    /// [`tell`](Dispatcher::tell).
    pub fn subscribe(
        &mut self,
        cluster: &Cluster,
        session: SessionId,
        node: NodeId,
        takes_parts: bool,
        now: Time,
    ) -> Assigned {
        let subscription =
            Subscription { node, takes_parts, sent: 0, taken: 0, waits_since: now, pending: BTreeSet::new() };
        self.subscriptions.insert(session, subscription);
        self.by_node.insert(node, session);
        self.everything(cluster, session, now)
    }

    pub fn unsubscribe(&mut self, session: SessionId) {
        self.dirty.remove(&session);
        if let Some(subscription) = self.subscriptions.remove(&session)
            && self.by_node.get(&subscription.node) == Some(&session)
        {
            self.by_node.remove(&subscription.node);
        }
    }

    /// These tasks changed in a way that their nodes have to know.
    pub fn changed(&mut self, tasks: &[(NodeId, TaskId)]) {
        for (node, task) in tasks {
            if let Some(session) = self.by_node.get(node)
                && let Some(subscription) = self.subscriptions.get_mut(session)
            {
                cost::rows(1);
                subscription.pending.insert(*task);
                self.dirty.insert(*session);
            }
        }
    }

    /// Tells every node what it has to know.
    pub fn tell(&mut self, cluster: &Cluster, now: Time, actions: &mut Vec<Action>) {
        while let Some(session) = self.dirty.pop_first() {
            let subscription = self.subscriptions.get_mut(&session).expect("what is dirty is subscribed");
            let mut parts = Parts::default();
            for id in std::mem::take(&mut subscription.pending) {
                cost::rows(1);
                match cluster.task(id).filter(|task| task.node == Some(subscription.node)) {
                    Some(task) => {
                        if !parts.add(cluster, task) {
                            parts.begin();
                            parts.add(cluster, task);
                        }
                    }
                    // From before a restore, and left alone.
                    None if cluster.node(subscription.node).is_some_and(|node| node.unknown.contains(&id)) => {}
                    // Forgotten, or never this node's: nobody else is told what to run (I5).
                    None => parts.last().removed.push(id),
                }
            }
            for mut assigned in parts.done {
                if subscription.taken == subscription.sent {
                    subscription.waits_since = now;
                }
                subscription.sent += 1;
                assigned.seq = subscription.sent;
                actions.push(Action::Send { session, message: ToWorker::Assigned(assigned) });
            }
        }
    }

    /// A heartbeat says how far the worker is. If it gets no further although something was sent, an assignment is lost,
    /// and the worker is told everything. One that takes its time for many is left alone.
    pub fn acknowledged(
        &mut self,
        cluster: &Cluster,
        session: SessionId,
        assigned_seq: u64,
        now: Time,
        timing: &Timing,
    ) -> Option<Action> {
        let subscription = self.subscriptions.get_mut(&session)?;
        let taken = assigned_seq.min(subscription.sent);
        if taken > subscription.taken {
            (subscription.taken, subscription.waits_since) = (taken, now);
        }
        let patience = Millis(timing.heartbeat.0 * 2);
        if subscription.taken == subscription.sent || now.since(subscription.waits_since) < patience {
            return None;
        }
        let message = ToWorker::Assigned(self.everything(cluster, session, now));
        Some(Action::Send { session, message })
    }

    /// All that a node shall run or keep: the orders that fit into a message, and the names of those
    /// that follow, which are pending from now on.
    fn everything(&mut self, cluster: &Cluster, session: SessionId, now: Time) -> Assigned {
        let subscription = self.subscriptions.get_mut(&session).expect("the caller has looked");
        let ids = Vec::from_iter(cluster.node(subscription.node).into_iter().flat_map(Node::tasks));
        cost::rows(ids.len());
        let mut parts = Parts { whole: !subscription.takes_parts, ..Parts::default() };
        parts.last();
        let task = |id: &TaskId| cluster.task(*id).expect("a node's tasks are in the table");
        let told = ids.iter().take_while(|id| parts.add(cluster, task(id))).count();
        let mut follow = ids[told..].to_vec();
        subscription.pending = follow.iter().copied().collect();
        let has_pending = !follow.is_empty();
        // What is left alone since a restore is there as well, and no order about it ever follows.
        let unknown = cluster.node(subscription.node).into_iter().flat_map(|node| &node.unknown);
        follow.extend(unknown.copied());
        follow.sort_unstable();
        subscription.sent += 1;
        subscription.waits_since = now;
        match has_pending {
            false => self.dirty.remove(&session),
            true => self.dirty.insert(session),
        };
        let first = parts.done.swap_remove(0);
        Assigned { seq: subscription.sent, full: true, follow, ..first }
    }
}

/// Orders, in messages of bounded size. A spec is sent once in a message, however many tasks are of it.
#[derive(Default)]
struct Parts {
    done: Vec<Assigned>,
    /// All goes into one.
    whole: bool,
    bytes: usize,
    /// In the present message: by workload, version, and whether the task has ended.
    specs: BTreeMap<(Uid, u32, bool), Arc<Spec>>,
}

impl Parts {
    fn last(&mut self) -> &mut Assigned {
        if self.done.is_empty() {
            self.begin();
        }
        self.done.last_mut().expect("there is one now")
    }

    fn begin(&mut self) {
        (self.bytes, self.specs) = (0, BTreeMap::new());
        self.done.push(Assigned { seq: 0, full: false, tasks: vec![], follow: vec![], removed: vec![] });
    }

    /// Adds the order about a task to the present message. Returns false where that has no room for it.
    fn add(&mut self, cluster: &Cluster, task: &Task) -> bool {
        let workload = cluster.workload(task.workload).expect("a task's workload lives as long as it");
        let (spec, ended) = (cluster.spec_of(task), task.state.is_terminal());
        let key = (task.workload, task.version, ended);
        let is_new = !self.specs.contains_key(&key);
        let spec = match self.specs.get(&key) {
            Some(spec) => spec.clone(),
            None if ended => Arc::new(spec.without_contents()),
            None => spec.clone(),
        };
        let bytes = ORDER_BYTES + if is_new { spec.bytes() } else { 0 };
        if self.bytes > 0 && self.bytes + bytes > MESSAGE_BYTES && !self.whole {
            return false;
        }
        // Of one that has ended, nothing is mounted any more.
        let mounts = &spec.container.setup.volumes;
        let volumes = mounts.iter().filter_map(|mount| Some(cluster.volume(&mount.volume)?.uid)).collect();
        self.last().tasks.push(Assignment::of(task, workload, spec.clone(), volumes));
        self.bytes += bytes;
        self.specs.insert(key, spec);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(1);
    const NODE: NodeId = NodeId(0);

    /// A dispatcher with one subscription, and its clock. Its tasks are forgotten ones, of which there is always something
    /// to tell.
    struct Told {
        dispatcher: Dispatcher,
        now: Time,
    }

    impl Told {
        fn new() -> Told {
            let mut dispatcher = Dispatcher::default();
            dispatcher.subscribe(&Cluster::default(), SESSION, NODE, true, Time(0));
            Told { dispatcher, now: Time(0) }
        }
        /// One more difference: its number.
        fn tell(&mut self) -> u64 {
            let mut actions = Vec::new();
            self.dispatcher.changed(&[(NODE, TaskId { epoch: 1, index: 1, ordinal: 0 })]);
            self.dispatcher.tell(&Cluster::default(), self.now, &mut actions);
            let [Action::Send { message: ToWorker::Assigned(assigned), .. }] = &actions[..] else {
                panic!("{actions:?}")
            };
            assigned.seq
        }
        /// A second later a heartbeat says so. Whether everything is told again.
        fn heartbeat(&mut self, assigned_seq: u64) -> bool {
            self.now = self.now + Millis::secs(1);
            let (cluster, timing) = (Cluster::default(), Timing::default());
            self.dispatcher.acknowledged(&cluster, SESSION, assigned_seq, self.now, &timing).is_some()
        }
    }

    #[test]
    fn a_worker_that_takes_its_time_is_not_told_everything_again() {
        let mut told = Told::new();
        let last = (0..10).map(|_| told.tell()).last().expect("ten");
        assert!((1..=last).all(|seq| !told.heartbeat(seq)));
    }

    #[test]
    fn a_worker_that_gets_no_further_is_told_everything_however_much_follows() {
        let mut told = Told::new();
        let lost = told.tell();
        let again = (0..10).find(|_| {
            told.tell();
            told.heartbeat(lost - 1)
        });
        assert_eq!(again, Some(2), "after two heartbeats without progress, beside the one that made some");
    }

    #[test]
    fn nothing_is_told_again_of_what_was_taken_up_whatever_number_is_claimed() {
        let mut told = Told::new();
        assert!(!told.heartbeat(u64::MAX));
        let lost = told.tell();
        assert_eq!([(); 4].map(|_| told.heartbeat(lost - 1)), [false, true, false, true]);
    }
}

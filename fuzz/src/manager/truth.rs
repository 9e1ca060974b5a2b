//! What is remembered of the state, entry by entry, to compare the next one with: the invariants
//! that one state alone cannot show.

use orbit_core::{manager::Request, model::*, state::Cluster};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
struct Seen {
    state: TaskState,
    desired: Desired,
    generation: u32,
    node: Option<NodeId>,
}

/// What was seen so far.
#[derive(Default)]
pub struct Truth {
    tasks: BTreeMap<TaskId, Seen>,
    /// Every task that there ever was.
    ever: BTreeSet<TaskId>,
    revisions: BTreeMap<Uid, u64>,
    /// What each idempotency key was used for, and what was answered.
    answers: BTreeMap<String, (Put, Answer)>,
}

impl Truth {
    /// Everything that must hold after an entry.
    pub fn after(&mut self, entry: &Entry, cluster: &Cluster) {
        assert_eq!(cluster.check(), [], "after {entry:?}");
        let seen = |task: &Task| Seen {
            state: task.state,
            desired: task.desired,
            generation: task.generation,
            node: task.node,
        };
        let now: BTreeMap<TaskId, Seen> = cluster.tasks().map(|task| (task.id, seen(task))).collect();
        for (id, task) in &now {
            match self.tasks.get(id) {
                None => assert!(self.ever.insert(*id), "I5: {id} is given twice"),
                Some(before) => assert_follows(*id, before, task),
            }
        }
        for (id, before) in &self.tasks {
            assert!(now.contains_key(id) || before.state.is_terminal(), "{id} was forgotten while it was {before:?}");
        }
        self.tasks = now;
        for workload in cluster.workloads() {
            let before = self.revisions.insert(workload.uid, workload.revision).unwrap_or(0);
            assert!(before <= workload.revision && workload.revision <= entry.index, "I11: {}", workload.uid);
        }
    }

    /// I12: one key, one effect, the same answer.
    pub fn answered(&mut self, request: Request, result: Result<Answer, Rejection>) {
        let (Request::Put(put), Ok(answer)) = (request, result) else { return };
        let Some(key) = put.idempotency_key.clone() else { return };
        let (before, same) = self.answers.entry(key).or_insert_with(|| (put.clone(), answer.clone()));
        assert_eq!((&*before, &*same), (&put, &answer), "I12");
    }
}

fn assert_follows(id: TaskId, before: &Seen, now: &Seen) {
    let forward = before.state == now.state || before.state.may_become(now.state);
    assert!(forward && before.desired <= now.desired, "I6: {id} went from {before:?} to {now:?}");
    assert!(before.node.is_none() || before.node == now.node, "I5: {id} moved from {before:?} to {now:?}");
    assert!(before.generation <= now.generation, "I9: {id} went from {before:?} to {now:?}");
    let same_order = before.desired == now.desired;
    assert!(same_order || before.generation < now.generation, "I9: {id}: another order with the same generation");
}

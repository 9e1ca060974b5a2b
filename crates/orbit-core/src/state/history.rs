//! What was done and what happened, for people: written by `apply` in the entry that did it, so it
//! is as durable as its cause. Nothing is ever decided from it.

use crate::model::{Actor, HistoryEvent, Kind, NodeId, Subject, TaskId, Time, What};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// The newest events, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    kept: VecDeque<HistoryEvent>,
    /// How often each was seen in the entry that is being applied.
    counts: BTreeMap<(Subject, What), u32>,
}

impl History {
    /// So many are kept.
    pub const MAX: usize = 10_000;
    /// So many of one kind are written out for one object in one entry; the others are counted. A
    /// large plan does not push everything else out.
    pub const EACH_MAX: u32 = 8;

    /// Oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &HistoryEvent> {
        self.kept.iter()
    }
    /// Those of the entries after `index`, oldest first.
    pub fn after(&self, index: u64) -> impl DoubleEndedIterator<Item = &HistoryEvent> {
        self.kept.range(self.kept.partition_point(|event| event.index <= index)..)
    }
    /// Whether it may have forgotten something that happened after `index`.
    pub fn is_compacted(&self, index: u64) -> bool {
        self.kept.len() == Self::MAX && self.kept.front().is_some_and(|oldest| oldest.index > index.saturating_add(1))
    }

    pub(crate) fn record(&mut self, event: HistoryEvent) {
        let count = self.counts.entry((event.subject.clone(), event.what)).or_default();
        *count += 1;
        if *count <= Self::EACH_MAX {
            self.push(event);
        }
    }

    /// The entry is applied: what was only counted is written as one.
    pub(crate) fn finish_entry(&mut self, index: u64, at: Time, actor: Actor) {
        for ((subject, what), count) in std::mem::take(&mut self.counts) {
            if let Some(more @ 1..) = count.checked_sub(Self::EACH_MAX) {
                let message = format!("and {more} more");
                self.push(HistoryEvent {
                    index,
                    at,
                    actor,
                    what,
                    subject,
                    task: None,
                    node: None,
                    node_name: Arc::default(),
                    message,
                });
            }
        }
    }

    /// As a snapshot has it. Older ones than are kept are dropped.
    pub(crate) fn push(&mut self, event: HistoryEvent) {
        if self.kept.len() == Self::MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(event);
    }
}

/// What an entry changed that can be read: whoever watches is told of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A living workload with this name was made, changed or deleted, or a task of it changed.
    Workload(Kind, Arc<str>),
    /// A task was made, changed or forgotten.
    Task(TaskId),
    /// A node was made, changed or forgotten, or what runs on it changed.
    Node(NodeId),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Actor;

    fn at_index(index: u64) -> HistoryEvent {
        let (what, subject, message) = (What::Returned, Subject::Node, String::new());
        HistoryEvent {
            index,
            at: Time(0),
            actor: Actor::Worker,
            what,
            subject,
            task: None,
            node: None,
            node_name: Arc::default(),
            message,
        }
    }

    #[test]
    fn the_oldest_is_forgotten_first_and_a_reader_learns_what_may_be_missing() {
        let mut history = History::default();
        history.push(at_index(5));
        assert!(!history.is_compacted(0), "nothing was forgotten yet");
        for index in 6..=History::MAX as u64 + 5 {
            history.push(at_index(index));
        }
        let kept = |history: &History| (history.iter().next().map(|it| it.index), history.iter().count());
        assert_eq!(kept(&history), (Some(6), History::MAX));
        assert_eq!(history.iter().last().map(|it| it.index), Some(History::MAX as u64 + 5));
        assert!(history.is_compacted(4), "entry 5 is gone");
        assert!(!history.is_compacted(5), "all that followed entry 5 is there");
    }
}

//! The queue of what will happen: by time, then rank, then the order in which it was queued.

use crate::event::{Rank, WorldEvent};
use std::{cmp::Reverse, collections::BinaryHeap};

/// Keys in a heap, and what they stand for beside it: a event is large, and a heap moves what
/// it holds.
#[derive(Default)]
pub(crate) struct Queue {
    keys: BinaryHeap<Reverse<(u64, Rank, u64, usize)>>,
    places: Vec<Option<WorldEvent>>,
    free: Vec<usize>,
    sequence: u64,
}

impl Queue {
    /// Queues something for a virtual millisecond.
    pub fn push(&mut self, at: u64, event: WorldEvent) {
        self.sequence += 1;
        let rank = event.rank();
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(event);
        self.keys.push(Reverse((at, rank, self.sequence, place)));
    }

    /// The next thing that happens until then, and when.
    pub fn pop_until(&mut self, end: u64) -> Option<(u64, WorldEvent)> {
        let Reverse((at, _, _, place)) = *self.keys.peek().filter(|Reverse((at, ..))| *at <= end)?;
        self.keys.pop();
        self.free.push(place);
        Some((at, self.places[place].take().expect("queued once")))
    }
}

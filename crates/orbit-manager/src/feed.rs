//! What changed, for those who watch: the newest changes in memory, by revision. A watcher that was
//! away for longer than they reach back begins anew.

#![cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "the REST API reads it"))]

use orbit_core::state::Change;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Mutex,
};
use tokio::sync::watch;

/// So many changes are kept.
const CHANGES_MAX: usize = 100_000;

/// About so many are given at a time: whoever is far behind takes them in parts.
const GIVEN_MAX: usize = 5_000;

/// The newest changes.
pub(crate) struct Feed {
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
}

struct Kept {
    /// Everything after this revision is here.
    complete_after: u64,
    /// Ascending.
    changes: VecDeque<(u64, Change)>,
}

/// Some of the changes in question are no longer kept.
#[derive(Debug)]
pub(crate) struct Compacted {
    /// From here on all are.
    pub complete_after: u64,
}

impl Feed {
    /// Knows of nothing before `revision`.
    pub fn new(revision: u64) -> Feed {
        let kept = Kept { complete_after: revision, changes: VecDeque::new() };
        Feed { kept: Mutex::new(kept), newest: watch::channel(revision).0 }
    }

    /// Tells everybody what an entry has changed.
    pub fn publish(&self, revision: u64, changes: &[Change]) {
        let mut changes = changes.to_vec();
        changes.sort_unstable();
        changes.dedup();
        let mut kept = self.kept.lock().expect("nobody panics with it");
        kept.changes.extend(changes.into_iter().map(|change| (revision, change)));
        while kept.changes.len() > CHANGES_MAX {
            // An entry's changes go together.
            let oldest = kept.changes[0].0;
            kept.complete_after = oldest;
            let end = kept.changes.partition_point(|(revision, _)| *revision <= oldest);
            kept.changes.drain(..end);
        }
        drop(kept);
        self.newest.send_replace(revision);
    }

    /// The state was replaced by that of a revision: what happened until then is not known here.
    pub fn begin_anew(&self, revision: u64) {
        *self.kept.lock().expect("nobody panics with it") = Kept { complete_after: revision, changes: VecDeque::new() };
        self.newest.send_replace(revision);
    }

    /// Whether everything after a revision is kept.
    pub fn check(&self, revision: u64) -> Result<(), Compacted> {
        let complete_after = self.kept.lock().expect("nobody panics with it").complete_after;
        if revision < complete_after { Err(Compacted { complete_after }) } else { Ok(()) }
    }

    /// Waits until there is something after a revision; gives it, each change once, and the revision
    /// that it reaches to.
    pub async fn after(&self, revision: u64) -> Result<(u64, BTreeSet<Change>), Compacted> {
        let mut newest = self.newest.subscribe();
        loop {
            let reached = *newest.borrow_and_update();
            if reached > revision {
                let kept = self.kept.lock().expect("nobody panics with it");
                if revision < kept.complete_after {
                    return Err(Compacted { complete_after: kept.complete_after });
                }
                let from = kept.changes.partition_point(|(at, _)| *at <= revision);
                let mut until = kept.changes.partition_point(|(at, _)| *at <= reached);
                let mut reached = reached;
                if until - from > GIVEN_MAX {
                    // Whole revisions, and at least one.
                    reached = kept.changes[from + GIVEN_MAX].0;
                    until = kept.changes.partition_point(|(at, _)| *at <= reached);
                }
                return Ok((reached, kept.changes.range(from..until).map(|(_, change)| change.clone()).collect()));
            }
            // The sender lives in `self`.
            let _ = newest.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::model::NodeId;

    fn node(id: u32) -> Change {
        Change::Node(NodeId(id))
    }

    #[tokio::test]
    async fn what_came_after_a_revision_is_given_once_and_together() {
        let feed = Feed::new(5);
        feed.publish(6, &[node(1), node(2), node(1)]);
        feed.publish(7, &[]);
        feed.publish(8, &[node(2)]);
        assert_eq!(feed.after(5).await.unwrap(), (8, [node(1), node(2)].into()));
        assert_eq!(feed.after(6).await.unwrap(), (8, [node(2)].into()));
        assert_eq!(feed.check(4).unwrap_err().complete_after, 5);
    }

    #[tokio::test]
    async fn whoever_is_up_to_date_waits_for_the_next_entry() {
        let feed = Feed::new(5);
        let waits = feed.after(5);
        let (told, ()) = tokio::join!(waits, async { feed.publish(6, &[node(3)]) });
        assert_eq!(told.unwrap(), (6, [node(3)].into()));
    }

    #[tokio::test]
    async fn a_state_that_was_replaced_is_followed_from_there() {
        let feed = Feed::new(5);
        feed.publish(6, &[node(1)]);
        let waits = feed.after(6);
        let (told, ()) = tokio::join!(waits, async { feed.begin_anew(20) });
        assert_eq!(told.unwrap_err().complete_after, 20);
        feed.publish(21, &[node(2)]);
        assert_eq!(feed.after(20).await.unwrap(), (21, [node(2)].into()));
    }

    #[tokio::test]
    async fn what_is_no_longer_kept_is_said_to_be_missing() {
        let feed = Feed::new(0);
        for revision in 1..=3 {
            let many: Vec<Change> = (0..CHANGES_MAX as u32 / 2).map(node).collect();
            feed.publish(revision, &many);
        }
        assert_eq!(feed.after(0).await.unwrap_err().complete_after, 1);
        assert_eq!(feed.after(1).await.unwrap().0, 2, "in parts, each of whole revisions");
        assert_eq!(feed.after(2).await.unwrap().0, 3);
    }
}

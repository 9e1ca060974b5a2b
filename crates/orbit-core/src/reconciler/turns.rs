//! Whose turn it is to give up a task that serves: an update and a drain go from slot to slot, and no
//! faster than the service's [`Update`] allows (invariants I3, I4).

use super::Standing;
use crate::{
    model::*,
    planted::{Bug, planted},
};

/// How a slot comes to a task of the current version while an older one serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A new task is made beside the old one, which serves until the new one does.
    Beside,
    /// The old one goes, and then the new one is made.
    Instead,
    /// Not yet.
    Later,
}

/// How much of an update is under way, and what it leaves to the slots behind.
pub(super) struct Turns {
    update: Update,
    /// Slots that have a new task beside the one that serves, so far.
    surging: u32,
    /// Those of them whose new task waits for a node.
    stuck: u32,
    /// Slots whose turn has come, but whose new task has ended: they are the next to try. Those before this slot are
    /// counted as waiting, or as surging again.
    retrying: u32,
    /// Slots before this one that are tried beside what serves again, once their backoff is over.
    waiting: u32,
    /// Slots in which nothing serves, other than those that wait for a node.
    down: u32,
    /// Those of them that have a task of no good health, which runs still.
    sick: u32,
    /// Those of them that have failed, and are not tried again yet.
    backing_off: u32,
    /// Slots before this one that wait for a node. Those behind it do not count: a service that is too
    /// large for the cluster could not be updated at all.
    waiting_before: u32,
    /// Slots before this one in which nothing serves.
    down_before: u32,
}

impl Turns {
    /// Of all wanted slots of a workload.
    pub fn new<'a>(workload: &Workload, standings: impl Iterator<Item = &'a Standing<'a>>) -> Turns {
        let update = workload.update;
        let mut turns = Turns {
            update,
            surging: 0,
            stuck: 0,
            retrying: 0,
            waiting: 0,
            down: 0,
            sick: 0,
            backing_off: 0,
            waiting_before: 0,
            down_before: 0,
        };
        for standing in standings {
            turns.surging += u32::from(standing.is_surging());
            let waits = standing.candidate.is_some_and(|task| task.state == TaskState::Pending);
            turns.stuck += u32::from(standing.is_surging() && waits);
            turns.retrying += u32::from(standing.is_retrying());
            let is_down = !standing.serves() && !standing.waits_for_node();
            let uncounted = planted(Bug::BackoffUncounted) && !standing.leaving;
            turns.down += u32::from(is_down && !uncounted);
            turns.sick += u32::from(is_down && standing.is_sick());
            turns.backing_off += u32::from(is_down && standing.backs_off && !uncounted);
        }
        // Those that are made now serve no sooner than the others.
        turns.down += workload.wanted().saturating_sub(workload.slots.len() as u32);
        turns
    }

    /// The next slot's. To be asked of every wanted slot, in order.
    pub fn take(&mut self, standing: &Standing) -> Turn {
        // One that waits for a silent node says nothing about the new version.
        if !standing.serves() && !standing.unconfirmed {
            self.down_before += 1;
            self.waiting_before += u32::from(standing.waits_for_node());
        }
        let begun = standing.keeper.is_some() || standing.candidate.is_some();
        // What is sick where nobody hears of it is not made well by being told to stop.
        let unheard = standing.is_sick() && standing.unconfirmed;
        if standing.fallback.is_none() || begun || standing.rests_until.is_some() || unheard {
            return Turn::Later; // nothing is to be begun, or not yet
        }
        if planted(Bug::EverySlotAtOnce) || (planted(Bug::UnhealthyAtOnce) && standing.is_sick()) {
            return Turn::Beside;
        }
        let retries = standing.is_retrying();
        self.retrying -= u32::from(retries);
        // Another of the same version, for a drain or its health, proves nothing about a new one.
        let moves = standing.fallback.is_some_and(|fallback| fallback.version == standing.version);
        // What fails for ever keeps its turn, but not from the health of others.
        let first = moves && standing.is_sick() && !planted(Bug::MoveWaitsForRetries);
        if !standing.alone && self.may_surge(retries, moves, first) {
            match standing.is_retried_later {
                true => self.waiting += 1,
                false => self.surging += 1,
            }
            return Turn::Beside;
        }
        // One that was tried beside the old one goes on so, where it may.
        let begun_beside = retries && !standing.alone && self.update.max_surge > 0;
        // What does not serve is no loss; but not all of it goes at the same time. Slots that fail for ever do not
        // hold it up.
        let without = match standing.is_sick() {
            true => self.down - self.sick - self.backing_off,
            false => self.down + self.waiting_before,
        };
        // It may be what takes the room that the others wait for.
        let makes_room = standing.is_sick() && self.stuck > 0 && self.stuck == self.surging;
        let most = self.update.max_unavailable.max(u32::from(standing.alone || makes_room));
        if !begun_beside && without < most {
            match standing.is_sick() {
                true => self.sick -= 1,
                false => self.down += 1,
            }
            return Turn::Instead;
        }
        Turn::Later
    }

    fn may_surge(&self, retries: bool, moves: bool, first: bool) -> bool {
        let surging = if planted(Bug::SurgeUncounted) { 0 } else { self.surging };
        let reserved = if first {
            0
        } else if retries || planted(Bug::RetryNotReserved) {
            self.waiting
        } else {
            self.waiting + self.retrying
        };
        // A slot behind one that does not serve waits for it: a bad version gets no further.
        let in_order = retries || moves || self.down_before <= self.update.max_unavailable;
        in_order && surging.saturating_add(reserved) < self.update.max_surge
    }
}

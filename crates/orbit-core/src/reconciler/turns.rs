//! The update budget: which slot may give up its old task now. Updates, drains and replacements of unhealthy tasks go
//! from slot to slot, and no faster than the service's [`Update`] allows (invariants I3, I4).
//!
//! Order of calls: [`Turns::new`] with the views of all wanted slots, then [`Turns::take`] for each of them, in order.

use super::slot::Standing;
use crate::model::*;

/// How a slot gets a task of its target version while another task is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A new task is made beside the old one, which stays until the new one is stable.
    Beside,
    /// The old task is stopped first, and then the new one is made.
    Instead,
    /// The slot waits.
    Later,
}

/// How much of the budget is used, and what is left for the slots that follow.
pub(super) struct Turns {
    update: Update,
    /// Slots that have a new task beside the old one.
    surging: u32,
    /// Of those, slots whose new task waits for a node.
    stuck: u32,
    /// Slots that were given budget and whose new task has ended: they keep their budget. Those before this slot are
    /// counted as waiting, or as surging again.
    retrying: u32,
    /// Slots before this one that get another new task beside the old one after their backoff.
    waiting: u32,
    /// Slots in which no task serves, except those that wait for a node.
    down: u32,
    /// Of those, slots whose old task is unhealthy and still runs.
    sick: u32,
    /// Of those, slots whose tasks have failed and that wait for the backoff.
    backing_off: u32,
    /// Slots before this one that wait for a node. Later slots do not count, because otherwise a service that is too
    /// large for the cluster could never be updated.
    waiting_before: u32,
    /// Slots before this one in which no task serves.
    down_before: u32,
}

impl Turns {
    /// The budget of a workload, from the views of all its wanted slots.
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
            turns.down += u32::from(is_down);
            turns.sick += u32::from(is_down && standing.is_sick());
            turns.backing_off += u32::from(is_down && standing.backs_off);
        }
        // The slots that are made now do not serve yet.
        turns.down += workload.wanted().saturating_sub(workload.slots.len() as u32);
        turns
    }

    /// What the next slot may do. Call it for every wanted slot, in order.
    pub fn take(&mut self, standing: &Standing) -> Turn {
        // A slot that waits for an unreachable node says nothing about the new version.
        if !standing.serves() && !standing.unconfirmed {
            self.down_before += 1;
            self.waiting_before += u32::from(standing.waits_for_node());
        }
        let begun = standing.keeper.is_some() || standing.candidate.is_some();
        // An unhealthy task on an unreachable node receives no order, and a confirmed fence forbids its replacement.
        let unheard = standing.is_sick() && standing.unconfirmed;
        if standing.fallback.is_none() || begun || standing.rests_until.is_some() || unheard {
            return Turn::Later; // there is nothing to begin, or the slot has to wait
        }
        let retries = standing.is_retrying();
        self.retrying -= u32::from(retries);
        // A replacement of the same version, for a drain or for health, proves nothing about a new version.
        let moves = standing.fallback.is_some_and(|fallback| fallback.version == standing.version);
        // A slot that fails for ever keeps its budget, but unhealthy tasks of other slots do not wait for it.
        let first = moves && standing.is_sick();
        if !standing.alone && self.may_surge(retries, moves, first) {
            match standing.is_retried_later {
                true => self.waiting += 1,
                false => self.surging += 1,
            }
            return Turn::Beside;
        }
        // A slot whose new task ran beside the old one continues in this way if it may.
        let begun_beside = retries && !standing.alone && self.update.max_surge > 0;
        // Stopping an unhealthy task loses nothing, but not all unhealthy tasks may stop at the same time. Slots that
        // fail for ever do not delay them.
        let without = match standing.is_sick() {
            true => self.down - self.sick - self.backing_off,
            false => self.down + self.waiting_before,
        };
        // The unhealthy task may hold the capacity that the new tasks wait for.
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
        let reserved = if first {
            0
        } else if retries {
            self.waiting
        } else {
            self.waiting + self.retrying
        };
        // A slot waits for slots before it that do not serve, so that a bad version gets no further.
        let in_order = retries || moves || self.down_before <= self.update.max_unavailable;
        in_order && self.surging.saturating_add(reserved) < self.update.max_surge
    }
}

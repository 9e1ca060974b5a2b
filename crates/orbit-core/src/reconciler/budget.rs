//! The update budget: which slot may give up its old task now. Updates, drains and replacements of unhealthy tasks go
//! from slot to slot, and no faster than the service's [`Update`] allows (invariants I3, I4).
//!
//! Order of calls: [`UpdateBudget::new`] with the views of all wanted slots, then [`UpdateBudget::take`] for
//! each of them, in order.

use super::slot::{Replacement, SlotView};
use crate::model::*;

/// How much of the budget is used, and what is left for the slots that follow.
pub(super) struct UpdateBudget {
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
    /// Slots in which no task serves that users can reach, except those that wait for a node.
    down: u32,
    /// Of those, slots whose old task is unhealthy and still runs.
    unhealthy: u32,
    /// Of those, slots whose tasks have failed and that wait for the backoff.
    backing_off: u32,
    /// Slots before this one that wait for a node. Later slots do not count, because otherwise a service that is too
    /// large for the cluster could never be updated.
    waiting_before: u32,
    /// Slots before this one in which no task serves.
    down_before: u32,
}

impl UpdateBudget {
    /// The budget of a workload, from the views of all its wanted slots.
    pub fn new<'a>(workload: &Workload, views: impl Iterator<Item = &'a SlotView<'a>>) -> UpdateBudget {
        let update = workload.update;
        let mut budget = UpdateBudget {
            update,
            surging: 0,
            stuck: 0,
            retrying: 0,
            waiting: 0,
            down: 0,
            unhealthy: 0,
            backing_off: 0,
            waiting_before: 0,
            down_before: 0,
        };
        for view in views {
            budget.surging += u32::from(view.is_surging());
            let waits = view.candidate.is_some_and(|task| task.state == TaskState::Pending);
            budget.stuck += u32::from(view.is_surging() && waits);
            budget.retrying += u32::from(view.is_retrying());
            let is_down = view.out_of_reach || (!view.serves() && !view.waits_for_node());
            budget.down += u32::from(is_down);
            budget.unhealthy += u32::from(is_down && view.is_unhealthy());
            budget.backing_off += u32::from(is_down && view.backs_off);
        }
        // The slots that are made now do not serve yet.
        budget.down += workload.wanted().saturating_sub(workload.slots.len() as u32);
        budget
    }

    /// What the next slot may do. Call it for every wanted slot, in order.
    pub fn take(&mut self, view: &SlotView) -> Replacement {
        // A slot that waits for an unreachable node says nothing about the new version.
        if !view.serves() && !view.unconfirmed {
            self.down_before += 1;
            self.waiting_before += u32::from(view.waits_for_node());
        }
        let begun = view.keeper.is_some() || view.candidate.is_some();
        // An unhealthy task on an unreachable node receives no order, and a confirmed fence forbids its replacement.
        let unheard = view.is_unhealthy() && view.unconfirmed;
        if view.fallback.is_none() || begun || view.rests_until.is_some() || unheard {
            return Replacement::Later; // there is nothing to begin, or the slot has to wait
        }
        let retries = view.is_retrying();
        self.retrying -= u32::from(retries);
        // A replacement of the same version, for a drain or for health, proves nothing about a new version.
        let moves = view.fallback.is_some_and(|fallback| fallback.version == view.version);
        // A slot that fails for ever keeps its budget, but unhealthy tasks of other slots do not wait for it.
        let first = moves && view.is_unhealthy();
        if !view.alone && self.may_surge(retries, moves, first) {
            match view.is_retried_later {
                true => self.waiting += 1,
                false => self.surging += 1,
            }
            return Replacement::Beside;
        }
        // An order to stop reaches nobody there, and the slot counts as down already.
        if view.out_of_reach {
            return Replacement::Later;
        }
        // A slot whose new task ran beside the old one continues in this way if it may.
        let begun_beside = retries && !view.alone && self.update.max_surge > 0;
        // Stopping an unhealthy task loses nothing, but not all unhealthy tasks may stop at the same time. Slots that
        // fail for ever do not delay them.
        let without = match view.is_unhealthy() {
            true => self.down - self.unhealthy - self.backing_off,
            false => self.down + self.waiting_before,
        };
        // The unhealthy task may hold the capacity that the new tasks wait for.
        let makes_room = view.is_unhealthy() && self.stuck > 0 && self.stuck == self.surging;
        let most = self.update.max_unavailable.max(u32::from(view.alone || makes_room));
        if !begun_beside && without < most {
            match view.is_unhealthy() {
                true => self.unhealthy -= 1,
                false => self.down += 1,
            }
            return Replacement::Instead;
        }
        Replacement::Later
    }

    /// The slot that was just told to stop its task first keeps it, which serves.
    pub fn give_back(&mut self) {
        self.down -= 1;
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

//! Order: what the tasks of a workload wait for before they are placed.
//!
//! It holds for a version that is new: once it has been stable, or a run has begun, nothing that happens to others keeps a task
//! waiting that follows one of its own.

use super::Cluster;
use crate::{cost, model::*};
use std::collections::BTreeSet;

/// So many objects at most wait for each other in a row, or beside each other before one.
const ROW_MAX: usize = 10_000;

impl Cluster {
    /// What the next task of this version waits for in this slot; nothing where one has been so far already.
    pub fn waits_for<'a>(&self, workload: &'a Workload, slot: u32, version: u32) -> &'a [After] {
        let Some(spec) = workload.spec(version).filter(|spec| !spec.after.is_empty()) else { return &[] };
        let has_run = || {
            let slot = workload.slots.get(slot as usize);
            slot.is_some_and(|slot| self.attempts(slot).any(|task| task.running_at.is_some()))
        };
        let was_stable = workload.version(version).is_some_and(|it| it.was_stable);
        match was_stable || (workload.kind.rules().runs_to_end && has_run()) {
            true => &[],
            false => &spec.after,
        }
    }

    /// The first of these that has not come so far.
    pub fn unmet<'a>(&self, after: &'a [After]) -> Option<&'a After> {
        after.iter().find(|after| !self.has_come(after))
    }

    fn has_come(&self, after: &After) -> bool {
        cost::rows(1);
        let Some(workload) = self.workload_named(after.kind, &after.name) else { return false };
        let mut attempts = workload.slots.iter().flat_map(|slot| self.attempts(slot));
        match after.until {
            Until::Started => attempts.any(|task| task.running_at.is_some()),
            Until::Healthy => attempts.any(Task::serves),
            // Also of one that was given up and came to its end after all.
            Until::Complete => attempts.any(|task| task.state == TaskState::Complete),
        }
    }

    /// What is said of why something waits for it.
    pub fn why_not_come(&self, after: &After) -> String {
        match self.workload_named(after.kind, &after.name) {
            None => format!("waits until {after}: there is none"),
            Some(_) => format!("waits until {after}"),
        }
    }

    /// Refuses what would wait for itself, by way of others.
    pub(super) fn check_order(&self, definition: &Definition) -> Result<(), Rejection> {
        let own = (definition.kind, definition.name.as_str());
        let mut seen: BTreeSet<(Kind, &str)> = BTreeSet::new();
        for (i, first) in definition.spec.after.iter().enumerate() {
            let mut open = vec![(first.kind, first.name.as_str())];
            while let Some((kind, name)) = open.pop() {
                if (kind, name) == own {
                    let message =
                        format!("{} `{}` waits for this one, perhaps by way of others", first.kind, first.name);
                    return Err(Rejection::invalid(format!("after[{i}]"), message));
                }
                if !seen.insert((kind, name)) {
                    continue;
                }
                if seen.len() > ROW_MAX {
                    return Err(Rejection::invalid("after", format!("more than {ROW_MAX} objects in a row")));
                }
                let next = self.workload_named(kind, name).map(|workload| &workload.current().spec.after);
                open.extend(next.into_iter().flatten().map(|after| (after.kind, after.name.as_str())));
            }
        }
        Ok(())
    }
}

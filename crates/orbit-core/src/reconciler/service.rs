//! Services: a number of replicas, kept running, whose versions follow each other slot by slot.

use super::{
    Changes, Context, Place,
    budget::UpdateBudget,
    deadline, next_step,
    slot::{self, Replacement, SlotView},
    target,
};
use crate::{model::*, state::Cluster};

pub(super) fn reconcile(cluster: &Cluster, workload: &Workload, context: &Context) -> Changes {
    let mut changes = Changes::default();
    let wanted = workload.wanted();
    let (kept, surplus) = workload.slots.split_at(workload.slots.len().min(wanted as usize));
    let views: Vec<SlotView> = (0..).zip(kept).map(|slot| slot::classify(cluster, workload, slot, context)).collect();
    let mut budget = UpdateBudget::new(workload, views.iter());
    for ((number, slot), view) in (0..).zip(kept).zip(&views) {
        let mut replacement = budget.take(view);
        // Nothing that serves is stopped before its successor has a place and its image.
        if let Some(old) = view.fallback.filter(|old| replacement == Replacement::Instead && old.serves()) {
            let place = context.places.find_for(workload, view.version, old);
            if place != Place::Kept {
                replacement = Replacement::Later;
            }
            match place {
                Place::Kept => {}
                // Its turn is kept: not every node is asked at the same time.
                Place::ImageAwaited(until) => changes.wake(until),
                Place::ImageFailed(until) => {
                    budget.give_back();
                    changes.wake(until);
                }
                Place::Nowhere => {
                    budget.give_back();
                    changes.no_place.push((number, view.version, old.id));
                }
            }
        }
        slot::reconcile(cluster, workload, (number, slot), view, replacement, context, &mut changes);
    }
    surplus.iter().for_each(|slot| slot::empty(cluster, slot, &mut changes));
    for number in workload.slots.len() as u32..wanted {
        slot::create(&mut changes, context, number, target(cluster, workload, number), None);
    }
    slot::trim(cluster, workload, &mut changes);
    changes.rollout = next_step(cluster, workload, context.at);
    if changes.rollout.is_none() {
        deadline(workload).into_iter().for_each(|at| changes.wake(at));
    }
    changes
}

//! Services: a number of replicas, kept running, whose versions follow each other slot by slot.

use super::{
    Changes, Context, deadline, next_step,
    slot::{self, Standing},
    target,
    turns::Turns,
};
use crate::{model::*, state::Cluster};

pub(super) fn reconcile(cluster: &Cluster, workload: &Workload, context: &Context) -> Changes {
    let mut changes = Changes::default();
    let wanted = workload.wanted();
    let (kept, surplus) = workload.slots.split_at(workload.slots.len().min(wanted as usize));
    let standings: Vec<Standing> = (0..).zip(kept).map(|slot| slot::stand(cluster, workload, slot, context)).collect();
    let mut turns = Turns::new(workload, standings.iter());
    for ((number, slot), standing) in (0..).zip(kept).zip(&standings) {
        let turn = turns.take(standing);
        slot::reconcile(cluster, workload, (number, slot), standing, turn, context, &mut changes);
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

//! Task definitions: one run. There is no other version, and there is no update budget.

use super::{
    Changes, Context,
    slot::{self, Replacement},
};
use crate::{model::*, state::Cluster};

pub(super) fn reconcile(cluster: &Cluster, workload: &Workload, context: &Context) -> Changes {
    let mut changes = Changes::default();
    for (number, slot) in (0..).zip(&workload.slots) {
        if number < workload.wanted() {
            let view = slot::classify(cluster, workload, (number, slot), context);
            slot::reconcile(cluster, workload, (number, slot), &view, Replacement::Later, context, &mut changes);
        } else {
            slot::empty(cluster, slot, &mut changes);
        }
    }
    slot::trim(cluster, workload, &mut changes);
    changes
}

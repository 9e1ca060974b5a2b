//! From the replicated state to the API's objects.

mod events;
mod nodes;
mod services;
mod silence;
mod tasks;

pub use events::event;
pub use nodes::{availability, live_tasks, node};
use orbit_core::{manager::View, model::*};
pub use services::{counts, endpoints, rollout_state, service, versions};
use std::time::{Duration, SystemTime};
pub use tasks::{task, task_definition};

/// RFC 3339.
fn moment(state: View, at: Time) -> String {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(state.wall_ms(at));
    humantime::format_rfc3339_millis(wall).to_string()
}

/// What its user submitted, as it stands.
pub fn definition(workload: &Workload) -> Definition {
    Definition {
        kind: workload.kind,
        name: workload.name.to_string(),
        labels: workload.labels.clone(),
        replicas: workload.replicas,
        update: workload.update,
        spec: (*workload.current().spec).clone(),
    }
}

/// For people: whole seconds, rounded up.
fn seconds(span: Millis) -> String {
    format!("{} s", span.0.div_ceil(1000))
}

fn why_pending(workload: &Workload) -> String {
    workload.decision.as_ref().map_or_else(|| "not looked at yet".to_string(), Decision::why)
}

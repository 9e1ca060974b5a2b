//! Something that was done or happened.

use super::moment;
use orbit_api::view;
use orbit_core::{
    manager::View,
    model::{HistoryEvent, Subject},
};

/// Something that was done or happened.
pub fn event(state: View, event: &HistoryEvent) -> view::Event {
    let node = event.node.map(|_| event.node_name.to_string());
    let (kind, name) = match &event.subject {
        Subject::Workload(kind, _, name) => (kind.to_string(), name.to_string()),
        Subject::Node => ("node".to_string(), node.clone().unwrap_or_default()),
    };
    view::Event {
        revision: event.index,
        at: moment(state, event.at),
        actor: event.actor.to_string(),
        reason: event.what.to_string(),
        warning: event.what.is_warning(),
        kind,
        name,
        task: event.task.map(|task| task.to_string()),
        node,
        message: event.message.clone(),
    }
}

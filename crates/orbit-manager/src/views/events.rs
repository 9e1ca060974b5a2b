//! Something that was done or happened.

use super::moment;
use orbit_api::view;
use orbit_core::{
    manager::View,
    model::{HistoryEvent, Subject},
};

/// Something that was done or happened.
pub fn event(state: View, happening: &HistoryEvent) -> view::Event {
    let node = happening.node.and_then(|id| state.cluster().node(id)).map(|node| node.info.name.clone());
    let (kind, name) = match &happening.subject {
        Subject::Workload(kind, _, name) => (kind.to_string(), name.to_string()),
        Subject::Node => ("node".to_string(), node.clone().unwrap_or_default()),
    };
    view::Event {
        revision: happening.index,
        at: moment(state, happening.at),
        actor: happening.actor.to_string(),
        reason: happening.what.to_string(),
        warning: happening.what.is_warning(),
        kind,
        name,
        task: happening.task.map(|task| task.to_string()),
        node,
        message: happening.message.clone(),
    }
}

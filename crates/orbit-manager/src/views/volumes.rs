//! A volume, and where its data is.

use super::moment;
use orbit_api::view;
use orbit_core::{manager::View, model::Volume};

/// A volume, and where its data is.
pub fn volume(state: View, volume: &Volume) -> view::Volume {
    let cluster = state.cluster();
    let node = cluster.node_with_uid(volume.node);
    let message = match node {
        None => {
            "its node was forgotten: its data is where that node comes back, or `orbit volume rm` gives it up".into()
        }
        Some(node) => match node.silent_since() {
            Some(since) => format!("its node is silent since {}: what uses it waits", moment(state, since)),
            None => String::new(),
        },
    };
    view::Volume {
        name: volume.name.to_string(),
        uid: volume.uid.to_string(),
        node: node.map_or_else(|| volume.node_name.to_string(), |node| node.info.name.clone()),
        engine_name: cluster.id.map(|id| volume.engine_name(id)).unwrap_or_default(),
        tasks: volume.users().map(|task| task.to_string()).collect(),
        message,
        bound_at: moment(state, volume.bound_at),
    }
}

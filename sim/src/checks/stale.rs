//! What an older registration of a node says changes nothing.

use super::Check;
use orbit_core::{model::*, state::Cluster};

/// What an entry is about that comes from an older registration, as it is before that.
pub(crate) struct Stale {
    tasks: Vec<(TaskId, TaskState)>,
    nodes: Vec<(NodeId, Reach)>,
}

impl Stale {
    /// Before an entry is applied.
    pub fn before(cluster: &Cluster, entry: &Entry) -> Stale {
        let is_stale = |node: NodeId, incarnation| cluster.node(node).is_some_and(|n| n.incarnation != incarnation);
        let mut stale = Stale { tasks: Vec::new(), nodes: Vec::new() };
        match &entry.command {
            Command::Reports(nodes) => {
                let reports = nodes.iter().filter(|it| is_stale(it.node, it.incarnation)).flat_map(|it| &it.reports);
                let tasks = reports.filter_map(|report| cluster.task(report.task));
                stale.tasks.extend(tasks.map(|task| (task.id, task.state)));
            }
            Command::Reach(changes) => {
                let changes = changes.iter().filter(|change| is_stale(change.node, change.incarnation));
                stale.nodes.extend(changes.filter_map(|change| Some((change.node, cluster.node(change.node)?.reach))));
            }
            _ => {}
        }
        stale
    }

    /// I9: after it was applied.
    pub fn after(&self, cluster: &Cluster) -> Check {
        let task = |(id, state): &&(TaskId, TaskState)| cluster.task(*id).map(|task| task.state) != Some(*state);
        let node = |(id, reach): &&(NodeId, Reach)| cluster.node(*id).map(|node| node.reach) != Some(*reach);
        if let Some((id, state)) = self.tasks.iter().find(task) {
            return Err(("I9", format!("{id} was {state} until a report of an older registration came")));
        }
        if let Some((id, reach)) = self.nodes.iter().find(node) {
            return Err(("I9", format!("{id:?} was {reach:?} until word of an older registration came")));
        }
        Ok(())
    }
}

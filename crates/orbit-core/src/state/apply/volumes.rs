//! What operators say of volumes.

use super::*;

impl Cluster {
    /// Forgets where the data of a volume is. The data itself stays on its node, and nobody is given it again.
    pub(super) fn apply_remove_volume(&mut self, name: &str, touched: &mut Touched) -> Result<Answer, Rejection> {
        let Some(volume) = self.volumes.get(name) else {
            return Err(Rejection::new(Code::NotFound, format!("there is no volume `{name}`")));
        };
        if let Some(task) = volume.users().next() {
            let message = format!("task {task} uses volume `{name}`: it has to end first");
            return Err(Rejection::new(Code::Conflict, message));
        }
        let node = self.node_with_uid(volume.node).map(|node| node.id);
        let message = format!("volume {name}: its data stays on {}, and nobody is given it again", volume.node_name);
        self.volumes.remove(name);
        self.record(What::VolumeRemoved, Subject::Node, None, node, message);
        // Every node may take now who was kept from it.
        touched.volumes_freed = true;
        Ok(Answer::Done)
    }
}

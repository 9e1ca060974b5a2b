//! Where the data of each volume is, and who uses it.

use super::Cluster;
use crate::{model::*, scheduler::filter::Refusal};
use std::sync::Arc;

impl Cluster {
    /// Every volume that is bound, by name.
    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.values()
    }
    /// The volumes whose names come after `after`, by name.
    pub fn volumes_after(&self, after: Option<&str>) -> impl Iterator<Item = &Volume> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.volumes.range::<str, _>((from, std::ops::Bound::Unbounded)).map(|(_, volume)| volume)
    }
    /// A volume by name; `None` of one that no task was ever placed with.
    pub fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.get(name)
    }

    /// Whether the data that a task uses is on the node, or nowhere yet, and nobody else has it; the task follows `gone`,
    /// which does not count.
    ///
    /// # Errors
    /// The first volume that cannot be used there.
    pub fn check_volumes(&self, uses: &VolumeUses, node: &Node, gone: Option<TaskId>) -> Result<(), Refusal> {
        for (name, access) in uses.iter() {
            let Some(volume) = self.volume(name) else {
                // A spec has so few that the bound may be passed by those of one task.
                if self.volumes.len() >= limits::VOLUMES_MAX {
                    return Err(Refusal::VolumesFull);
                }
                continue;
            };
            if volume.node != node.info.uid {
                let (volume, node) = (name.to_string(), volume.node_name.to_string());
                return Err(Refusal::VolumeElsewhere { volume, node });
            }
            if let Some(task) = volume.holder(access, gone) {
                return Err(Refusal::VolumeHeld { volume: name.to_string(), task: Some(task) });
            }
        }
        Ok(())
    }

    /// A task that uses these is placed on the node: what is nowhere yet is there from now on.
    pub(crate) fn bind_volumes(&mut self, uses: &VolumeUses, node: NodeId) {
        let (uid, at) = (Uid { epoch: self.epoch, index: self.index }, self.at);
        let NodeInfo { uid: node, name: node_name, .. } = &self.nodes[node].info;
        for (name, _) in uses.iter() {
            if !self.volumes.contains_key(name) {
                let name: Arc<str> = name.into();
                self.volumes.insert(name.clone(), Volume::bare(name, uid, *node, node_name.as_str().into(), at));
            }
        }
    }

    /// A task that was placed has what it uses until it is known to have ended.
    pub(crate) fn hold_volumes(&mut self, key: TaskKey) {
        let task = self.tasks.at(key);
        let (id, uses) = (task.id, self.spec_of(task).container.setup.volume_uses());
        for (name, access) in uses.iter() {
            let volume = self.volumes.get_mut(name).expect("a task is placed where its volumes are bound");
            assert!(volume.holder(access, None).is_none(), "volume {name} is {id}'s alone or shared (I49)");
            volume.users.insert(id, access);
        }
    }

    pub(crate) fn release_volumes(&mut self, key: TaskKey) {
        let task = self.tasks.at(key);
        let (id, uses) = (task.id, self.spec_of(task).container.setup.volume_uses());
        for (name, _) in uses.iter() {
            if let Some(volume) = self.volumes.get_mut(name) {
                volume.users.remove(&id);
            }
        }
    }
}

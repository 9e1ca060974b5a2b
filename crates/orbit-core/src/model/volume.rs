//! Volumes: data that outlives the tasks that use it.
//!
//! The data of a volume has a place. The first task that is placed with a volume binds it to its node, and from then on
//! only that node takes tasks that use it: nothing is ever made anew, and empty, in its place without an operator's word.

use super::{
    ClusterId, NodeUid, Rejection, TaskId, Time, Uid,
    paths::{check_mount_path, is_same},
    validate::{check_count, check_name, excerpt},
};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// A volume in a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeMount {
    /// Its name, unique in the cluster.
    pub volume: String,
    /// Where it is in the container; absolute.
    pub path: String,
    /// The container cannot write there.
    pub read_only: bool,
    /// Who else may use it meanwhile.
    pub access: Access,
}

/// Who else may use a volume while a task does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Nobody, until the task is seen to have ended: what most databases need.
    #[default]
    Exclusive,
    /// Others that share it as well.
    Shared,
}

impl Access {
    /// All, in order.
    pub const ALL: [Access; 2] = [Access::Exclusive, Access::Shared];

    /// Whether two tasks that use a volume like this may not have it at the same time.
    pub fn keeps_out(self, other: Access) -> bool {
        (self, other) != (Access::Shared, Access::Shared)
    }

    /// As in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Exclusive => "exclusive",
            Access::Shared => "shared",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The volumes that a task uses, each once however often it is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeUses(BTreeMap<String, Access>);

impl VolumeUses {
    /// Of these mounts. What one of them wants for itself the task wants for itself.
    pub fn of(mounts: &[VolumeMount]) -> VolumeUses {
        let mut uses = BTreeMap::new();
        for mount in mounts {
            let access: &mut Access = uses.entry(mount.volume.clone()).or_insert(mount.access);
            *access = (*access).min(mount.access);
        }
        VolumeUses(uses)
    }
    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Access)> {
        self.0.iter().map(|(volume, access)| (volume.as_str(), *access))
    }
    /// Whether none is used.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// One that is wanted for the task alone.
    pub fn exclusive(&self) -> Option<&str> {
        self.iter().find(|(_, access)| *access == Access::Exclusive).map(|(volume, _)| volume)
    }
    /// One that two tasks cannot use at the same time.
    pub fn conflict<'a>(&'a self, other: &VolumeUses) -> Option<&'a str> {
        let is_kept_out =
            |(volume, access): &(&str, Access)| other.0.get(*volume).is_some_and(|its| its.keeps_out(*access));
        self.iter().find(is_kept_out).map(|(volume, _)| volume)
    }
}

/// A volume that is bound to its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Unique in the cluster.
    pub name: Arc<str>,
    /// What it is, whatever its name: one that was removed and is bound again is another, and empty.
    pub uid: Uid,
    /// Where its data is. A node that was forgotten and comes back has it still.
    pub node: NodeUid,
    /// What that node was called.
    pub node_name: Arc<str>,
    /// Since when.
    pub bound_at: Time,

    // An index: kept by `apply`, never in a snapshot, checked against a recomputation (I2).
    /// The tasks that use it and are not known to have ended.
    pub(crate) users: BTreeMap<TaskId, Access>,
}

impl Volume {
    /// One that nobody uses.
    pub fn bare(name: Arc<str>, uid: Uid, node: NodeUid, node_name: Arc<str>, bound_at: Time) -> Volume {
        Volume { name, uid, node, node_name, bound_at, users: BTreeMap::new() }
    }
    /// By which the engine of its node knows it.
    pub fn engine_name(&self, cluster: ClusterId) -> String {
        engine_name(cluster, &self.name, self.uid)
    }
    /// The tasks that use it and are not known to have ended.
    pub fn users(&self) -> impl Iterator<Item = TaskId> {
        self.users.keys().copied()
    }
    /// Who keeps another task, which follows `gone`, from using it like this.
    pub fn holder(&self, access: Access, gone: Option<TaskId>) -> Option<TaskId> {
        let keeps_out = |(task, its): &(&TaskId, &Access)| Some(**task) != gone && its.keeps_out(access);
        self.users.iter().find(keeps_out).map(|(task, _)| *task)
    }
}

/// By which engines know a volume.
pub fn engine_name(cluster: ClusterId, volume: &str, uid: Uid) -> String {
    format!("orbit-{cluster}-{volume}-{uid}")
}

pub(super) fn validate(mounts: &[VolumeMount]) -> Result<(), Rejection> {
    check_count("volumes", mounts.len())?;
    for (i, VolumeMount { volume, path, .. }) in mounts.iter().enumerate() {
        check_name("volumes", volume)?;
        check_mount_path("volumes", path)?;
        if mounts[..i].iter().any(|other| is_same(&other.path, path)) {
            return Err(Rejection::invalid("volumes", format!("two volumes are mounted at `{}`", excerpt(path))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(volume: &str, path: &str, access: Access) -> VolumeMount {
        VolumeMount { volume: volume.into(), path: path.into(), read_only: false, access }
    }

    #[test]
    fn only_those_that_share_a_volume_use_it_together() {
        let uses = |access| VolumeUses::of(&[mount("data", "/data", access), mount("other", "/other", Access::Shared)]);
        for (a, b, conflict) in [
            (Access::Exclusive, Access::Exclusive, Some("data")),
            (Access::Exclusive, Access::Shared, Some("data")),
            (Access::Shared, Access::Exclusive, Some("data")),
            (Access::Shared, Access::Shared, None),
        ] {
            assert_eq!(uses(a).conflict(&uses(b)), conflict, "{a} {b}");
        }
        let both = [mount("data", "/a", Access::Shared), mount("data", "/b", Access::Exclusive)];
        assert_eq!(VolumeUses::of(&both).exclusive(), Some("data"), "the stricter of two counts");
    }

    #[test]
    fn a_mount_has_a_name_and_a_place_of_its_own() {
        let refused = |mounts: &[VolumeMount]| validate(mounts).map_err(|rejection| rejection.message);
        assert_eq!(refused(&[mount("data", "/a", Access::Shared), mount("data", "/b", Access::Shared)]), Ok(()));
        assert!(refused(&[mount("Data", "/a", Access::Shared)]).is_err());
        assert!(refused(&[mount("data", "a", Access::Shared)]).is_err());
        assert!(refused(&[mount("data", "/", Access::Shared)]).is_err());
        assert!(refused(&[mount("data", "/a/../b", Access::Shared)]).is_err());
        let twice = [mount("a", "/x", Access::Shared), mount("b", "/x/", Access::Shared)];
        assert_eq!(refused(&twice), Err("two volumes are mounted at `/x/`".into()));
    }
}

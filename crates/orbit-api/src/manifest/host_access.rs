//! What of its node a container is given, which needs the word of the node's operator; and the volumes, which do not.

use super::{
    Manifest,
    setup::{ManifestSecurity, ManifestUnconfined, is_false},
};
use orbit_core::model::{Access, Device, HostAccess, HostMount, Network, Rejection, VolumeMount};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Data that outlives the container: a volume, or a folder or a file of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestVolume {
    /// The name of a volume. Its data is on the node of the first task that uses it, and from then on only that node takes
    /// tasks that do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Instead of a volume: where it is on the node; absolute. It has to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where it is in the container; absolute.
    pub path: String,
    /// The container cannot write there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// Of a volume: who else may use it meanwhile; nobody if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<ManifestAccess>,
}

/// Who else may use a volume while a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManifestAccess {
    /// Nobody, until the task is seen to have ended.
    Exclusive,
    /// Others that share it as well.
    Shared,
}

impl ManifestVolume {
    /// A folder or a file of the node.
    pub fn of_host(host: impl Into<String>, path: impl Into<String>, read_only: bool) -> ManifestVolume {
        ManifestVolume { host: Some(host.into()), path: path.into(), read_only, ..ManifestVolume::default() }
    }

    fn of_volume(VolumeMount { volume, path, read_only, access }: VolumeMount) -> ManifestVolume {
        let access = (access == Access::Shared).then_some(ManifestAccess::Shared);
        ManifestVolume { volume: Some(volume), path, read_only, access, host: None }
    }
}

/// A device of the node in the container, or a folder of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestDevice {
    /// On the node, below `/dev`.
    pub host: String,
    /// In the container; as on the node if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What may be done with it, letters of `rwm`: read, write, make. All if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
}

/// In which network a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManifestNetwork {
    /// In one of its engine.
    Bridge,
    /// In its node's: its ports are the node's.
    Host,
    /// In none.
    None,
}

impl Manifest {
    /// What it says of its node.
    pub(super) fn host_access(&self) -> HostAccess {
        let mount = |it: &ManifestVolume| {
            let host = it.host.clone()?;
            Some(HostMount { host, path: it.path.clone(), read_only: it.read_only })
        };
        let security = self.security.clone().unwrap_or_default();
        let is_unconfined = |said| said == Some(ManifestUnconfined::Unconfined);
        HostAccess {
            mounts: self.volumes.iter().filter_map(mount).collect(),
            devices: self.devices.iter().map(ManifestDevice::device).collect(),
            network: self.network.map_or(Network::Bridge, ManifestNetwork::network),
            privileged: security.privileged,
            seccomp_unconfined: is_unconfined(security.seccomp),
            apparmor_unconfined: is_unconfined(security.apparmor),
        }
    }

    /// The volumes that it uses.
    ///
    /// # Errors
    /// One that is neither a volume nor a path of the node, or both.
    pub(super) fn volume_mounts(&self) -> Result<Vec<VolumeMount>, Rejection> {
        let mut mounts = Vec::new();
        for (i, ManifestVolume { volume, host, path, read_only, access }) in self.volumes.iter().enumerate() {
            let access = access.map(|access| match access {
                ManifestAccess::Exclusive => Access::Exclusive,
                ManifestAccess::Shared => Access::Shared,
            });
            let field = |name: &str| format!("volumes[{i}]{name}");
            match (volume, host) {
                (Some(volume), None) => {
                    let (volume, path, access) = (volume.clone(), path.clone(), access.unwrap_or_default());
                    mounts.push(VolumeMount { volume, path, read_only: *read_only, access });
                }
                (None, Some(_)) if access.is_some() => {
                    let message = "what is the node's is everybody's there: only a volume has this";
                    return Err(Rejection::invalid(field(".access"), message));
                }
                (None, Some(_)) => {}
                (None, None) => {
                    let message = "needs `volume`, the name of one, or `host`, a path of the node";
                    return Err(Rejection::invalid(field(""), message));
                }
                (Some(_), Some(_)) => {
                    return Err(Rejection::invalid(field(""), "`volume` and `host`: give one of them"));
                }
            }
        }
        Ok(mounts)
    }

    /// The same with what is said of its node, and of volumes.
    pub(super) fn with_host_access(self, access: HostAccess, volumes: Vec<VolumeMount>) -> Manifest {
        let HostAccess { mounts, devices, network, privileged, seccomp_unconfined, apparmor_unconfined } = access;
        let of_host = |HostMount { host, path, read_only }| ManifestVolume::of_host(host, path, read_only);
        let volumes = volumes.into_iter().map(ManifestVolume::of_volume);
        let unconfined = |is_so: bool| is_so.then_some(ManifestUnconfined::Unconfined);
        let security = ManifestSecurity {
            privileged,
            seccomp: unconfined(seccomp_unconfined),
            apparmor: unconfined(apparmor_unconfined),
            ..self.security.unwrap_or_default()
        };
        Manifest {
            volumes: mounts.into_iter().map(of_host).chain(volumes).collect(),
            devices: devices.into_iter().map(ManifestDevice::of).collect(),
            network: ManifestNetwork::of(network),
            security: (security != ManifestSecurity::default()).then_some(security),
            ..self
        }
    }
}

impl ManifestDevice {
    fn device(&self) -> Device {
        Device {
            host: self.host.clone(),
            path: self.path.clone().unwrap_or_else(|| self.host.clone()),
            access: self.access.clone().unwrap_or_else(|| Device::ACCESS.to_string()),
        }
    }
    fn of(Device { host, path, access }: Device) -> ManifestDevice {
        let path = (path != host).then_some(path);
        ManifestDevice { host, path, access: (access != Device::ACCESS).then_some(access) }
    }
}

impl ManifestNetwork {
    fn network(self) -> Network {
        match self {
            ManifestNetwork::Bridge => Network::Bridge,
            ManifestNetwork::Host => Network::Host,
            ManifestNetwork::None => Network::None,
        }
    }
    /// Nothing where it is as most are.
    fn of(network: Network) -> Option<ManifestNetwork> {
        match network {
            Network::Bridge => None,
            Network::Host => Some(ManifestNetwork::Host),
            Network::None => Some(ManifestNetwork::None),
        }
    }
}

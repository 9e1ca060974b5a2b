//! What of its node a container is given. All but a network of its own needs the word of the node's operator.

use super::{
    Manifest,
    setup::{ManifestSecurity, ManifestUnconfined, is_false},
};
use orbit_core::model::{Device, HostAccess, HostMount, Network};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A folder or a file of the node in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestVolume {
    /// Where it is on the node; absolute. It has to be there.
    pub host: String,
    /// Where it is in the container; absolute.
    pub path: String,
    /// The container cannot write there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only: bool,
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
        let mount =
            |it: &ManifestVolume| HostMount { host: it.host.clone(), path: it.path.clone(), read_only: it.read_only };
        let security = self.security.clone().unwrap_or_default();
        let is_unconfined = |said| said == Some(ManifestUnconfined::Unconfined);
        HostAccess {
            mounts: self.volumes.iter().map(mount).collect(),
            devices: self.devices.iter().map(ManifestDevice::device).collect(),
            network: self.network.map_or(Network::Bridge, ManifestNetwork::network),
            privileged: security.privileged,
            seccomp_unconfined: is_unconfined(security.seccomp),
            apparmor_unconfined: is_unconfined(security.apparmor),
        }
    }

    /// The same with what is said of its node.
    pub(super) fn with_host_access(self, access: HostAccess) -> Manifest {
        let HostAccess { mounts, devices, network, privileged, seccomp_unconfined, apparmor_unconfined } = access;
        let volume = |HostMount { host, path, read_only }| ManifestVolume { host, path, read_only };
        let unconfined = |is_so: bool| is_so.then_some(ManifestUnconfined::Unconfined);
        let security = ManifestSecurity {
            privileged,
            seccomp: unconfined(seccomp_unconfined),
            apparmor: unconfined(apparmor_unconfined),
            ..self.security.unwrap_or_default()
        };
        Manifest {
            volumes: mounts.into_iter().map(volume).collect(),
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

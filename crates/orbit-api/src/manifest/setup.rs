//! How a container is set up beside its image and its command: the words of Docker and of compose files.

use super::{Manifest, ManifestResources};
use crate::quantity::{Cpu, Memory};
use orbit_core::model::{Container, Dns, HostAccess, Limits, Logging, Rejection, Security, Setup, Tmpfs, Ulimit};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};
use utoipa::ToSchema;

/// What a task may take at most. What is not said is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestLimits {
    /// So much of the processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// What needs more is ended by the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

/// A folder in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestTmpfs {
    /// Absolute.
    pub path: String,
    /// At most; half of the machine's memory if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Memory>,
}

/// What the processes of a container may do, and may not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestSecurity {
    /// The rights of root that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<ManifestCapabilities>,
    /// Nothing of its image can be changed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only_root: bool,
    /// No program gives more rights to who starts it, also not a setuid one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_new_privileges: bool,
    /// They may do all that root may on the node, where the node's operator allows it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub privileged: bool,
    /// The filter of system calls. Without one where the node's operator allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<ManifestUnconfined>,
    /// The profile of AppArmor. Without one where the node's operator allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<ManifestUnconfined>,
}

/// That something does not confine a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManifestUnconfined {
    /// As the engine does it.
    Default,
    /// Not at all.
    Unconfined,
}

/// The rights of root that a container has, by the names of Linux, with `CAP_` before them or without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestCapabilities {
    /// These it has, also where all are dropped. More than a container has anyway only where the node's operator allows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    /// These it has not; `ALL` are all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
}

/// A bound of the kernel on each process; -1 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a number, or both bounds: {soft: 1024, hard: 65536}")]
pub enum ManifestUlimit {
    /// The bound, which no process can raise.
    Both(i64),
    /// The bound, and up to which a process may raise it.
    Each(ManifestBounds),
}

/// The bound on a process, and up to which it may raise it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestBounds {
    /// The bound.
    pub soft: i64,
    /// Up to which a process may raise it.
    pub hard: i64,
}

/// Whom a container asks for names, instead of whom its node asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestDns {
    /// Addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// Domains in which a name is looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// For example `ndots:2`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// How the log of a container is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestLogging {
    /// `json-file`, for example; the engine's own if it does not say. `orbit logs` needs one that can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// As the driver has them: `{max-size: 10m, max-file: "3"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

impl ManifestResources {
    /// With every default written out.
    pub fn of(container: &Container) -> ManifestResources {
        ManifestResources {
            cpu: Some(Cpu { millis: container.resources.cpu_millis }),
            memory: Some(Memory { bytes: container.resources.memory_bytes }),
            pids: Some(container.pids_max),
            limits: ManifestLimits::of(container.limits),
        }
    }
    pub(super) fn limits(&self) -> Limits {
        let limits = self.limits.unwrap_or_default();
        Limits { cpu_millis: limits.cpu.map(|cpu| cpu.millis), memory_bytes: limits.memory.map(|memory| memory.bytes) }
    }
}

impl ManifestLimits {
    /// Nothing where nothing is limited.
    pub(super) fn of(Limits { cpu_millis, memory_bytes }: Limits) -> Option<ManifestLimits> {
        let cpu = cpu_millis.map(|millis| Cpu { millis });
        let memory = memory_bytes.map(|bytes| Memory { bytes });
        (cpu.is_some() || memory.is_some()).then_some(ManifestLimits { cpu, memory })
    }
}

impl Manifest {
    /// All but what it says of its node.
    ///
    /// # Errors
    /// What is written as no address.
    pub(super) fn setup(&self) -> Result<Setup, Rejection> {
        let tmpfs = |it: &ManifestTmpfs| Tmpfs { path: it.path.clone(), size_bytes: it.size.map(|size| size.bytes) };
        let logging = |it: &ManifestLogging| Logging { driver: it.driver.clone(), options: it.options.clone() };
        Ok(Setup {
            user: self.user.clone(),
            working_dir: self.working_dir.clone(),
            hostname: self.hostname.clone(),
            init: self.init,
            tty: self.tty,
            stdin: self.stdin,
            tmpfs: self.tmpfs.iter().map(tmpfs).collect(),
            shm_bytes: self.shm_size.map(|size| size.bytes),
            security: self.security.as_ref().map(ManifestSecurity::security).unwrap_or_default(),
            ulimits: self.ulimits.iter().map(|(name, bounds)| (name.clone(), bounds.ulimit())).collect(),
            sysctls: self.sysctls.clone(),
            extra_hosts: self.extra_hosts.clone(),
            dns: self.dns.as_ref().map(ManifestDns::dns).transpose()?.unwrap_or_default(),
            logging: self.logging.as_ref().map(logging),
            labels: self.container_labels.clone(),
            host: HostAccess::default(),
            volumes: self.volume_mounts()?,
        })
    }

    /// The same with what is said of how a container is set up.
    pub(super) fn with_setup(self, container: &Container) -> Manifest {
        let setup = container.setup.clone();
        let size = |bytes| Memory { bytes };
        let tmpfs = |it: Tmpfs| ManifestTmpfs { path: it.path, size: it.size_bytes.map(size) };
        Manifest {
            user: setup.user,
            working_dir: setup.working_dir,
            hostname: setup.hostname,
            init: setup.init,
            tty: setup.tty,
            stdin: setup.stdin,
            tmpfs: setup.tmpfs.into_iter().map(tmpfs).collect(),
            shm_size: setup.shm_bytes.map(size),
            security: ManifestSecurity::of(setup.security),
            ulimits: setup.ulimits.into_iter().map(|(name, it)| (name, ManifestUlimit::of(it))).collect(),
            sysctls: setup.sysctls,
            extra_hosts: setup.extra_hosts,
            dns: ManifestDns::of(setup.dns),
            logging: setup.logging.map(|it| ManifestLogging { driver: it.driver, options: it.options }),
            container_labels: setup.labels,
            ..self
        }
    }
}

impl ManifestSecurity {
    fn security(&self) -> Security {
        let ManifestCapabilities { add, drop } = self.capabilities.clone().unwrap_or_default();
        // Written both ways by people, and with small letters by some.
        let name = |name: String| {
            let name = name.to_ascii_uppercase();
            name.strip_prefix("CAP_").map(str::to_string).unwrap_or(name)
        };
        let names = |names: Vec<String>| names.into_iter().map(name).collect::<BTreeSet<String>>();
        Security {
            capabilities_added: names(add),
            capabilities_dropped: names(drop),
            read_only_root: self.read_only_root,
            no_new_privileges: self.no_new_privileges,
        }
    }

    fn of(security: Security) -> Option<ManifestSecurity> {
        if security == Security::default() {
            return None;
        }
        let Security { capabilities_added, capabilities_dropped, read_only_root, no_new_privileges } = security;
        let [add, drop] = [capabilities_added, capabilities_dropped].map(Vec::from_iter);
        let capabilities = (!add.is_empty() || !drop.is_empty()).then_some(ManifestCapabilities { add, drop });
        Some(ManifestSecurity { capabilities, read_only_root, no_new_privileges, ..ManifestSecurity::default() })
    }
}

impl ManifestUlimit {
    fn ulimit(self) -> Ulimit {
        match self {
            ManifestUlimit::Both(bound) => Ulimit { soft: bound, hard: bound },
            ManifestUlimit::Each(ManifestBounds { soft, hard }) => Ulimit { soft, hard },
        }
    }
    fn of(Ulimit { soft, hard }: Ulimit) -> ManifestUlimit {
        match soft == hard {
            true => ManifestUlimit::Both(soft),
            false => ManifestUlimit::Each(ManifestBounds { soft, hard }),
        }
    }
}

impl ManifestDns {
    fn dns(&self) -> Result<Dns, Rejection> {
        let server = |(i, text): (usize, &String)| {
            let wrong = |_| Rejection::invalid(format!("dns.servers[{i}]"), format!("`{text:.64}` is not an address"));
            text.parse::<IpAddr>().map_err(wrong)
        };
        let servers = self.servers.iter().enumerate().map(server).collect::<Result<_, _>>()?;
        Ok(Dns { servers, search: self.search.clone(), options: self.options.clone() })
    }
    fn of(dns: Dns) -> Option<ManifestDns> {
        let servers = dns.servers.iter().map(ToString::to_string).collect();
        (dns != Dns::default()).then_some(ManifestDns { servers, search: dns.search, options: dns.options })
    }
}

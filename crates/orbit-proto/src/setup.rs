//! Conversions of what a container may take, and of how it is set up.

use crate::{
    DecodeError,
    error::*,
    pairs::{map, pairs},
    v1,
};
use orbit_core::model::*;

/// As much as is requested is written as before it could be said otherwise.
pub(crate) fn limits_of(container: &Container) -> Option<v1::Limits> {
    let Limits { cpu_millis, memory_bytes } = container.limits;
    (container.limits != Limits::requested(container.resources)).then_some(v1::Limits { cpu_millis, memory_bytes })
}
/// The way back.
pub(crate) fn limits(limits: Option<v1::Limits>, requested: Resources) -> Limits {
    limits.map_or(Limits::requested(requested), |v1::Limits { cpu_millis, memory_bytes }| Limits {
        cpu_millis,
        memory_bytes,
    })
}

/// Nothing where nothing is said.
pub(crate) fn setup_of(setup: &Setup) -> Option<v1::Setup> {
    if *setup == Setup::default() {
        return None;
    }
    let Setup { user, working_dir, hostname, init, tty, stdin, tmpfs, shm_bytes, security, ulimits, .. } = setup;
    let Setup { sysctls, extra_hosts, dns, logging, labels, .. } = setup;
    Some(v1::Setup {
        user: user.clone(),
        working_dir: working_dir.clone(),
        hostname: hostname.clone(),
        init: *init,
        tty: *tty,
        stdin: *stdin,
        tmpfs: tmpfs.iter().map(|it| v1::Tmpfs { path: it.path.clone(), size_bytes: it.size_bytes }).collect(),
        shm_bytes: *shm_bytes,
        capabilities_added: security.capabilities_added.iter().cloned().collect(),
        capabilities_dropped: security.capabilities_dropped.iter().cloned().collect(),
        read_only_root: security.read_only_root,
        no_new_privileges: security.no_new_privileges,
        ulimits: ulimits.iter().map(|(name, &it)| ulimit_of(name, it)).collect(),
        sysctls: pairs(sysctls),
        extra_hosts: pairs(extra_hosts),
        dns_servers: dns.servers.iter().map(ToString::to_string).collect(),
        dns_search: dns.search.clone(),
        dns_options: dns.options.clone(),
        logging: logging.as_ref().map(|it| v1::Logging { driver: it.driver.clone(), options: pairs(&it.options) }),
        labels: pairs(labels),
        host: host_of(&setup.host),
        volumes: setup.volumes.iter().map(volume_of).collect(),
    })
}

fn volume_of(VolumeMount { volume, path, read_only, access }: &VolumeMount) -> v1::VolumeMount {
    let shared = *access == Access::Shared;
    v1::VolumeMount { volume: volume.clone(), path: path.clone(), read_only: *read_only, shared }
}

/// The way back.
fn volume(v1::VolumeMount { volume, path, read_only, shared }: v1::VolumeMount) -> VolumeMount {
    let access = if shared { Access::Shared } else { Access::Exclusive };
    VolumeMount { volume, path, read_only, access }
}

/// Nothing where nothing is given.
fn host_of(access: &HostAccess) -> Option<v1::HostAccess> {
    let HostAccess { mounts, devices, network, privileged, seccomp_unconfined, apparmor_unconfined } = access;
    let mount = |HostMount { host, path, read_only }: &HostMount| v1::HostMount {
        host: host.clone(),
        path: path.clone(),
        read_only: *read_only,
    };
    let device = |Device { host, path, access }: &Device| v1::Device {
        host: host.clone(),
        path: path.clone(),
        access: access.clone(),
    };
    let network = match network {
        Network::Bridge => v1::Network::Unspecified,
        Network::Host => v1::Network::Host,
        Network::None => v1::Network::None,
    };
    (*access != HostAccess::default()).then(|| v1::HostAccess {
        mounts: mounts.iter().map(mount).collect(),
        devices: devices.iter().map(device).collect(),
        network: network.into(),
        privileged: *privileged,
        seccomp_unconfined: *seccomp_unconfined,
        apparmor_unconfined: *apparmor_unconfined,
    })
}

/// The way back.
fn host(access: Option<v1::HostAccess>) -> Result<HostAccess> {
    let Some(it) = access else { return Ok(HostAccess::default()) };
    let mount = |v1::HostMount { host, path, read_only }| HostMount { host, path, read_only };
    let device = |v1::Device { host, path, access }| Device { host, path, access };
    Ok(HostAccess {
        mounts: it.mounts.into_iter().map(mount).collect(),
        devices: it.devices.into_iter().map(device).collect(),
        network: match v1::Network::try_from(it.network) {
            Ok(v1::Network::Unspecified) => Network::Bridge,
            Ok(v1::Network::Host) => Network::Host,
            Ok(v1::Network::None) => Network::None,
            Err(_) => return Err(DecodeError::new(format!("{} is not known", it.network)).within("network")),
        },
        privileged: it.privileged,
        seccomp_unconfined: it.seccomp_unconfined,
        apparmor_unconfined: it.apparmor_unconfined,
    })
}

fn ulimit_of(name: &str, Ulimit { soft, hard }: Ulimit) -> v1::Ulimit {
    v1::Ulimit { name: name.to_string(), soft, hard }
}

/// The way back.
///
/// # Errors
/// What is out of order, stands twice, or is no address.
pub(crate) fn setup(setup: Option<v1::Setup>) -> Result<Setup> {
    let Some(it) = setup else { return Ok(Setup::default()) };
    let servers = it.dns_servers.iter().map(|text| {
        text.parse().map_err(|_| DecodeError::new(format!("`{text}` is no address")).within("dns_servers"))
    });
    ascending("capabilities_added", &it.capabilities_added, String::clone)?;
    ascending("capabilities_dropped", &it.capabilities_dropped, String::clone)?;
    ascending("ulimits", &it.ulimits, |ulimit| ulimit.name.clone())?;
    let ulimit = |v1::Ulimit { name, soft, hard }| (name, Ulimit { soft, hard });
    let logging = |it: v1::Logging| Ok(Logging { driver: it.driver, options: map("options", it.options)? });
    Ok(Setup {
        user: it.user,
        working_dir: it.working_dir,
        hostname: it.hostname,
        init: it.init,
        tty: it.tty,
        stdin: it.stdin,
        tmpfs: it.tmpfs.into_iter().map(|it| Tmpfs { path: it.path, size_bytes: it.size_bytes }).collect(),
        shm_bytes: it.shm_bytes,
        security: Security {
            capabilities_added: it.capabilities_added.into_iter().collect(),
            capabilities_dropped: it.capabilities_dropped.into_iter().collect(),
            read_only_root: it.read_only_root,
            no_new_privileges: it.no_new_privileges,
        },
        ulimits: it.ulimits.into_iter().map(ulimit).collect(),
        sysctls: map("sysctls", it.sysctls)?,
        extra_hosts: map("extra_hosts", it.extra_hosts)?,
        dns: Dns { servers: servers.collect::<Result<_>>()?, search: it.dns_search, options: it.dns_options },
        logging: it.logging.map(logging).transpose().within("logging")?,
        labels: map("labels", it.labels)?,
        host: host(it.host).within("host")?,
        volumes: it.volumes.into_iter().map(volume).collect(),
    })
}

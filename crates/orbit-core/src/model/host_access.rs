//! What of its machine a container is given. All of it needs the word of the machine's operator.

use super::{
    Grant, Rejection,
    paths::{check_host_path, check_mount_path, is_same, is_within},
    validate::{check_count, excerpt},
};

/// What of its machine a container is given; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HostAccess {
    /// Files and folders.
    pub mounts: Vec<HostMount>,
    /// Devices.
    pub devices: Vec<Device>,
    /// In which network it is.
    pub network: Network,
    /// It may do all that root may on the machine.
    pub privileged: bool,
    /// It may make every system call.
    pub seccomp_unconfined: bool,
    /// No profile of AppArmor holds it.
    pub apparmor_unconfined: bool,
}

/// A file or a folder of the machine in a container. It has to be there: nothing is made in its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostMount {
    /// Where it is on the machine; absolute.
    pub host: String,
    /// Where it is in the container; absolute.
    pub path: String,
    /// The container cannot write there.
    pub read_only: bool,
}

/// A device of the machine in a container, or a folder of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Below `/dev`.
    pub host: String,
    /// Where it is in the container; absolute.
    pub path: String,
    /// What may be done with it: letters of [`Device::ACCESS`], which are read, write and make.
    pub access: String,
}

/// In which network a container is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// In one of its engine, with an address of its own there.
    #[default]
    Bridge,
    /// In the machine's: its ports are the machine's.
    Host,
    /// In none.
    None,
}

const DEVICES: &str = "/dev";

impl Network {
    /// All, in order.
    pub const ALL: [Network; 3] = [Network::Bridge, Network::Host, Network::None];
}

impl Device {
    /// Everything that may be done with a device.
    pub const ACCESS: &str = "rwm";
}

impl HostAccess {
    /// About how many bytes it takes in a message.
    pub(super) fn bytes(&self) -> usize {
        let mounts = self.mounts.iter().map(|it| it.host.len() + it.path.len() + 12);
        let devices = self.devices.iter().map(|it| it.host.len() + it.path.len() + 16);
        mounts.chain(devices).sum()
    }

    /// Everything that it asks of the machine's operator, in any order.
    pub(super) fn asks(&self) -> Vec<Grant> {
        let HostAccess { mounts, devices, network, privileged, seccomp_unconfined, apparmor_unconfined } = self;
        let mut asks: Vec<Grant> = mounts.iter().flat_map(|mount| Grant::of_path(&mount.host)).collect();
        if *network == Network::Host {
            asks.push(Grant::HostNetwork);
        }
        if *privileged {
            // That has every device, and nothing confines it.
            asks.push(Grant::Privileged);
            return asks;
        }
        if !devices.is_empty() {
            asks.push(Grant::Devices);
        }
        if *seccomp_unconfined || *apparmor_unconfined {
            asks.push(Grant::Unconfined);
        }
        asks
    }

    pub(super) fn validate(&self) -> Result<(), Rejection> {
        check_count("volumes", self.mounts.len())?;
        for (i, HostMount { host, path, .. }) in self.mounts.iter().enumerate() {
            check_host_path(&format!("volumes[{i}].host"), host)?;
            check_mount_path(&format!("volumes[{i}].path"), path)?;
            if let Some(j) = self.mounts[..i].iter().position(|other| is_same(&other.path, path)) {
                let message = format!("`{}` is mounted by volumes[{j}] already", excerpt(path));
                return Err(Rejection::invalid(format!("volumes[{i}].path"), message));
            }
        }
        check_count("devices", self.devices.len())?;
        for (i, Device { host, path, access }) in self.devices.iter().enumerate() {
            let field = format!("devices[{i}]");
            check_host_path(&format!("{field}.host"), host)?;
            if !is_within(host, DEVICES) || is_same(host, DEVICES) {
                let message = format!("`{}` is nothing below {DEVICES}", excerpt(host));
                return Err(Rejection::invalid(format!("{field}.host"), message));
            }
            check_mount_path(&format!("{field}.path"), path)?;
            let is_once = |(i, c): (usize, char)| Device::ACCESS.contains(c) && !access[..i].contains(c);
            if access.is_empty() || !access.char_indices().all(is_once) {
                let message = format!("`{}` is not made of the letters of `{}`", excerpt(access), Device::ACCESS);
                return Err(Rejection::invalid(format!("{field}.access"), message));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(host: &str, path: &str) -> HostAccess {
        let mounts = vec![HostMount { host: host.into(), path: path.into(), read_only: false }];
        HostAccess { mounts, ..HostAccess::default() }
    }
    fn device(host: &str, path: &str, access: &str) -> HostAccess {
        let devices = vec![Device { host: host.into(), path: path.into(), access: access.into() }];
        HostAccess { devices, ..HostAccess::default() }
    }

    #[test]
    fn what_people_mount_is_taken() {
        let taken = [
            mount("/srv/media", "/media"),
            mount("/", "/rootfs"),
            mount("/etc/localtime", "/etc/localtime"),
            device("/dev/dri", "/dev/dri", "rwm"),
            device("/dev/ttyUSB0", "/dev/serial", "r"),
        ];
        for access in taken {
            assert_eq!(access.validate(), Ok(()), "{access:?}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused_by_its_path() {
        let twice = [mount("/a", "/x").mounts, mount("/b", "/x/").mounts].concat();
        let refused = [
            (mount("srv", "/a"), "volumes[0].host", "absolute"),
            (mount("/srv/../etc", "/a"), "volumes[0].host", "`..`"),
            (mount("/srv/./x", "/a"), "volumes[0].host", "`.`"),
            (mount("/srv:ro", "/a"), "volumes[0].host", "`:`"),
            (mount("/srv\n", "/a"), "volumes[0].host", "control"),
            (mount("/srv", "a"), "volumes[0].path", "absolute"),
            (mount("/srv", "/"), "volumes[0].path", "root"),
            (mount("/srv", "/a/.."), "volumes[0].path", "`..`"),
            (HostAccess { mounts: twice, ..HostAccess::default() }, "volumes[1].path", "volumes[0]"),
            (device("/etc/shadow", "/dev/a", "rwm"), "devices[0].host", "below /dev"),
            (device("/dev/", "/dev/a", "rwm"), "devices[0].host", "below /dev"),
            (device("/dev/../etc/shadow", "/dev/a", "rwm"), "devices[0].host", "`..`"),
            (device("/dev/a", "a", "rwm"), "devices[0].path", "absolute"),
            (device("/dev/a", "/dev/a", ""), "devices[0].access", "`rwm`"),
            (device("/dev/a", "/dev/a", "rr"), "devices[0].access", "`rr`"),
            (device("/dev/a", "/dev/a", "x"), "devices[0].access", "`x`"),
        ];
        for (access, field, said) in refused {
            let refusal = access.validate().expect_err(field);
            assert_eq!(refusal.field, field, "{refusal:?}");
            assert!(refusal.message.contains(said), "{field}: {} says nothing of {said}", refusal.message);
        }
    }

    #[test]
    fn each_thing_asks_for_its_own_word_and_who_may_do_everything_for_one() {
        let asks = |access: HostAccess| access.asks().iter().map(ToString::to_string).collect::<Vec<_>>();
        let mounts = [mount("/srv/a", "/a").mounts, mount("/var/run/docker.sock", "/s").mounts].concat();
        assert_eq!(asks(HostAccess::default()), [""; 0]);
        assert_eq!(asks(HostAccess { mounts, ..HostAccess::default() }), ["host:/srv/a", "docker-socket"]);
        assert_eq!(asks(HostAccess { network: Network::None, ..HostAccess::default() }), [""; 0]);
        let network = Network::Host;
        let all = HostAccess { network, seccomp_unconfined: true, ..device("/dev/a", "/dev/a", "r") };
        assert_eq!(asks(all.clone()), ["host-network", "devices", "unconfined"]);
        assert_eq!(asks(HostAccess { privileged: true, ..all }), ["host-network", "privileged"]);
    }
}

//! How a container is set up beside its image and its command: what most leave as the image and the engine have it.
//!
//! The words are those of Docker and of compose files, because that is where people bring them from.

use super::{
    ALL_CAPABILITIES, Bytes, Grant, HostAccess, Network, Rejection, VolumeMount, VolumeUses,
    limits::{self, map_bytes, words_bytes},
    paths::{check_mount_path, check_path, is_same},
    validate::{check_count, check_labels, check_line, check_string, excerpt},
    volume,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Everything that is not said is as the image or the engine has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Setup {
    /// `user` or `user:group`, names of the image or numbers.
    pub user: Option<String>,
    /// An absolute path.
    pub working_dir: Option<String>,
    /// What the container takes itself for.
    pub hostname: Option<String>,
    /// A small first process reaps what its children leave behind, and hands signals on.
    pub init: bool,
    /// Its output is a terminal.
    pub tty: bool,
    /// Its input stays open.
    pub stdin: bool,
    /// Folders in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Size of `/dev/shm`, in bytes.
    pub shm_bytes: Option<u64>,
    /// What its processes may not do.
    pub security: Security,
    /// Bounds of the kernel on each of its processes, by their names without `RLIMIT_`.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Settings of the kernel that each container has for itself.
    pub sysctls: BTreeMap<String, String>,
    /// More lines of `/etc/hosts`: names, and the address of each or [`HOST_GATEWAY`].
    pub extra_hosts: BTreeMap<String, String>,
    /// Whom it asks for names.
    pub dns: Dns,
    /// How its log is kept, instead of as the worker is set.
    pub logging: Option<Logging>,
    /// Labels of the container, for other tools that look at the engine.
    pub labels: BTreeMap<String, String>,
    /// What of its machine it is given.
    pub host: HostAccess,
    /// Data that outlives it.
    pub volumes: Vec<VolumeMount>,
}

/// What a task may take at most. What is not said is not limited: a request says how much is set aside for a task, and no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limits {
    /// Thousandths of a processor.
    pub cpu_millis: Option<u64>,
    /// Bytes. What needs more is ended by the kernel.
    pub memory_bytes: Option<u64>,
}

impl Limits {
    /// What was requested and no more, as it was before limits could be said.
    pub const fn requested(super::Resources { cpu_millis, memory_bytes }: super::Resources) -> Limits {
        Limits { cpu_millis: Some(cpu_millis), memory_bytes: Some(memory_bytes) }
    }
}

/// A folder in memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tmpfs {
    /// Absolute.
    pub path: String,
    /// At most; half of the machine's memory if it is not said.
    pub size_bytes: Option<u64>,
}

/// What the processes of a container may not do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Security {
    /// Capabilities that it has beside those that are left, by their names without `CAP_`.
    pub capabilities_added: BTreeSet<String>,
    /// Capabilities that it has not; [`ALL_CAPABILITIES`] are all.
    pub capabilities_dropped: BTreeSet<String>,
    /// Nothing of its image can be changed.
    pub read_only_root: bool,
    /// No program gives more rights to who starts it, also not a setuid one.
    pub no_new_privileges: bool,
}

/// A bound of the kernel on each process, and up to which a process may raise it. [`UNLIMITED`] is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ulimit {
    /// In the unit of the bound.
    pub soft: i64,
    /// In the unit of the bound.
    pub hard: i64,
}

/// Whom a container asks for names, instead of whom its node asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dns {
    /// Addresses.
    pub servers: Vec<IpAddr>,
    /// Domains in which a name is looked for.
    pub search: Vec<String>,
    /// As `resolv.conf(5)` has them, for example `ndots:2`.
    pub options: Vec<String>,
}

/// How the log of a container is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Logging {
    /// The engine's name of it; `None` is the engine's own.
    pub driver: Option<String>,
    /// As the driver has them.
    pub options: BTreeMap<String, String>,
}

/// The address of the node, as containers see it.
pub const HOST_GATEWAY: &str = "host-gateway";
/// No bound at all.
pub const UNLIMITED: i64 = -1;

/// What a container has without a word about it (Docker's documentation, "Runtime privilege and Linux capabilities"). More than
/// that reaches beyond the container, and needs the word of its node's operator.
const CAPABILITIES_GIVEN: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// The others of Linux (`capabilities(7)`).
const CAPABILITIES_BEYOND: [&str; 27] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "DAC_READ_SEARCH",
    "IPC_LOCK",
    "IPC_OWNER",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "NET_ADMIN",
    "NET_BROADCAST",
    "PERFMON",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];
/// The bounds of `setrlimit(2)` that an engine takes.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];
/// Settings of the kernel that a container has for itself (`namespaces(7)`): names, or beginnings of names.
const SYSCTLS: [&str; 9] = [
    "fs.mqueue.",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "net.",
];
/// As Linux has it, without the byte at its end.
const HOSTNAME_BYTES_MAX: usize = 63;
/// `resolv.conf(5)`: more are not asked.
const DNS_SERVERS_MAX: usize = 3;
/// What is Orbit's own in the labels of a container.
const LABELS_OF_ORBIT: &str = "orbit.";

impl Setup {
    /// About how many bytes it takes in a message.
    pub(super) fn bytes(&self) -> usize {
        let option = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let tmpfs: usize = self.tmpfs.iter().map(|it| it.path.len() + 16).sum();
        let Security { capabilities_added, capabilities_dropped, .. } = &self.security;
        let capabilities: usize = capabilities_added.iter().chain(capabilities_dropped).map(|it| it.len() + 4).sum();
        let maps: usize = [&self.sysctls, &self.extra_hosts, &self.labels].into_iter().map(map_bytes).sum();
        let dns = self.dns.servers.len() * 48 + words_bytes(&self.dns.search) + words_bytes(&self.dns.options);
        let logging = self.logging.as_ref().map_or(0, |it| option(&it.driver) + map_bytes(&it.options));
        let ulimits: usize = self.ulimits.keys().map(|name| name.len() + 24).sum();
        let volumes: usize = self.volumes.iter().map(|it| it.volume.len() + it.path.len() + 40).sum();
        let texts = option(&self.user) + option(&self.working_dir) + option(&self.hostname);
        texts + tmpfs + capabilities + maps + dns + logging + ulimits + volumes + self.host.bytes()
    }

    /// Everything that it asks of the operator of its node, in order.
    pub fn asks(&self) -> Vec<Grant> {
        let mut asks = self.host.asks();
        // Who may do all that root may has each of them.
        if !self.host.privileged {
            asks.extend(self.capabilities_beyond().cloned().map(Grant::Capability));
        }
        asks.sort();
        asks.dedup();
        asks
    }

    /// The volumes that its tasks use.
    pub fn volume_uses(&self) -> VolumeUses {
        VolumeUses::of(&self.volumes)
    }

    /// The capabilities that a container has not anyway.
    pub(super) fn capabilities_beyond(&self) -> impl Iterator<Item = &String> {
        self.security.capabilities_added.iter().filter(|name| !CAPABILITIES_GIVEN.contains(&name.as_str()))
    }

    pub(super) fn validate(&self) -> Result<(), Rejection> {
        if let Some(user) = &self.user {
            check_string("user", user)?;
            if user.is_empty() || user.chars().any(|c| c.is_whitespace() || c.is_control()) {
                let message = format!("`{}` is not a user: `user` or `user:group`, names or numbers", excerpt(user));
                return Err(Rejection::invalid("user", message));
            }
        }
        self.working_dir.iter().try_for_each(|path| check_path("working_dir", path))?;
        self.hostname.iter().try_for_each(|name| check_hostname("hostname", name))?;
        self.validate_memory()?;
        volume::validate(&self.volumes)?;
        self.security.validate()?;
        self.validate_kernel()?;
        for (host, address) in &self.extra_hosts {
            check_hostname("extra_hosts", host)?;
            if address != HOST_GATEWAY && address.parse::<IpAddr>().is_err() {
                let message = format!("`{}` is neither an address nor `{HOST_GATEWAY}`", excerpt(address));
                return Err(Rejection::invalid(format!("extra_hosts.{}", excerpt(host)), message));
            }
        }
        check_count("extra_hosts", self.extra_hosts.len())?;
        self.dns.validate()?;
        self.validate_host_access()?;
        self.logging.iter().try_for_each(Logging::validate)?;
        check_labels("container_labels", &self.labels)?;
        match self.labels.keys().find(|key| key.starts_with(LABELS_OF_ORBIT)) {
            Some(key) => {
                let message = format!("`{}`: labels that begin with `{LABELS_OF_ORBIT}` are Orbit's own", excerpt(key));
                Err(Rejection::invalid("container_labels", message))
            }
            None => Ok(()),
        }
    }

    fn validate_memory(&self) -> Result<(), Rejection> {
        check_count("tmpfs", self.tmpfs.len())?;
        for (i, Tmpfs { path, size_bytes }) in self.tmpfs.iter().enumerate() {
            check_mount_path(&format!("tmpfs[{i}].path"), path)?;
            size_bytes.iter().try_for_each(|size| check_size(&format!("tmpfs[{i}].size"), *size))?;
            if let Some(j) = self.tmpfs[..i].iter().position(|other| other.path == *path) {
                let message = format!("`{}` is mounted by tmpfs[{j}] already", excerpt(path));
                return Err(Rejection::invalid(format!("tmpfs[{i}].path"), message));
            }
        }
        self.shm_bytes.iter().try_for_each(|size| check_size("shm_size", *size))
    }

    fn validate_host_access(&self) -> Result<(), Rejection> {
        self.host.validate()?;
        for (i, mount) in self.host.mounts.iter().enumerate() {
            if let Some(j) = self.tmpfs.iter().position(|folder| folder.path == mount.path) {
                let message = format!("`{}` is mounted by tmpfs[{j}] already", excerpt(&mount.path));
                return Err(Rejection::invalid(format!("volumes[{i}].path"), message));
            }
        }
        let places = |path: &str| {
            let of_host = self.host.mounts.iter().any(|mount| is_same(&mount.path, path));
            of_host || self.tmpfs.iter().any(|folder| is_same(&folder.path, path))
        };
        if let Some(mount) = self.volumes.iter().find(|mount| places(&mount.path)) {
            let message = format!("something else is mounted at `{}` already", excerpt(&mount.path));
            return Err(Rejection::invalid("volumes", message));
        }
        if self.host.network == Network::Host
            && let Some(name) = self.sysctls.keys().find(|name| name.starts_with("net."))
        {
            let message = format!("`{}` is the machine's own in its own network", excerpt(name));
            return Err(Rejection::invalid("sysctls", message));
        }
        Ok(())
    }

    fn validate_kernel(&self) -> Result<(), Rejection> {
        for (name, Ulimit { soft, hard }) in &self.ulimits {
            if !ULIMITS.contains(&name.as_str()) {
                let message = format!("`{}` is none of {}", excerpt(name), ULIMITS.join(", "));
                return Err(Rejection::invalid("ulimits", message));
            }
            let field = format!("ulimits.{name}");
            if let Some(bad) = [*soft, *hard].into_iter().find(|bound| *bound < UNLIMITED) {
                return Err(Rejection::invalid(field, format!("{bad} is less than nothing; {UNLIMITED} is no bound")));
            }
            if *hard != UNLIMITED && (*soft == UNLIMITED || soft > hard) {
                return Err(Rejection::invalid(
                    field,
                    format!("the soft bound, {soft}, is above the hard one, {hard}"),
                ));
            }
        }
        check_count("sysctls", self.sysctls.len())?;
        for (name, value) in &self.sysctls {
            let is_own = |own: &str| if own.ends_with('.') { name.starts_with(own) } else { name == own };
            let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(&b));
            if !is_name || !SYSCTLS.iter().any(|own| is_own(own)) {
                let message = format!(
                    "`{}` is no setting that a container has for itself: those are {}",
                    excerpt(name),
                    SYSCTLS.map(|own| if own.ends_with('.') { format!("{own}*") } else { own.to_string() }).join(", ")
                );
                return Err(Rejection::invalid("sysctls", message));
            }
            check_line(&format!("sysctls.{}", excerpt(name)), value)?;
        }
        Ok(())
    }
}

impl Security {
    fn validate(&self) -> Result<(), Rejection> {
        let (added, dropped) = (&self.capabilities_added, &self.capabilities_dropped);
        for (field, names) in [("add", added), ("drop", dropped)] {
            let field = format!("security.capabilities.{field}");
            let is_known = |name: &str| CAPABILITIES_GIVEN.contains(&name) || CAPABILITIES_BEYOND.contains(&name);
            if let Some(name) = names.iter().find(|name| !is_known(name) && *name != ALL_CAPABILITIES) {
                let message = format!("`{}` is not a capability of Linux, as `NET_BIND_SERVICE` is", excerpt(name));
                return Err(Rejection::invalid(field, message));
            }
            if let Some(name) = added.intersection(dropped).next() {
                return Err(Rejection::invalid(field, format!("`{name}` is both added and dropped")));
            }
        }
        Ok(())
    }
}

impl Dns {
    fn validate(&self) -> Result<(), Rejection> {
        if self.servers.len() > DNS_SERVERS_MAX {
            let message = format!("{} servers are more than {DNS_SERVERS_MAX}, which are asked", self.servers.len());
            return Err(Rejection::invalid("dns.servers", message));
        }
        check_count("dns.search", self.search.len())?;
        check_count("dns.options", self.options.len())?;
        for (i, domain) in self.search.iter().enumerate() {
            check_domain(&format!("dns.search[{i}]"), domain)?;
        }
        for (i, option) in self.options.iter().enumerate() {
            let field = format!("dns.options[{i}]");
            check_line(&field, option)?;
            if option.is_empty() || option.contains(char::is_whitespace) {
                return Err(Rejection::invalid(field, format!("`{}` is not an option", excerpt(option))));
            }
        }
        Ok(())
    }
}

impl Logging {
    fn validate(&self) -> Result<(), Rejection> {
        if let Some(driver) = &self.driver {
            // A plugin's name is an image's.
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b"._-/:".contains(&b);
            check_string("logging.driver", driver)?;
            if driver.is_empty() || !driver.bytes().all(is_name) {
                let message = format!("`{}` is not the name of a log driver", excerpt(driver));
                return Err(Rejection::invalid("logging.driver", message));
            }
        }
        check_count("logging.options", self.options.len())?;
        for (key, value) in &self.options {
            check_line("logging.options", key)?;
            check_line(&format!("logging.options.{}", excerpt(key)), value)?;
        }
        Ok(())
    }
}

fn check_size(field: &str, bytes: u64) -> Result<(), Rejection> {
    // A page: of less, nothing can be used.
    if !(4096..=limits::MEMORY_BYTES_MAX).contains(&bytes) {
        let message = format!("{} is not between 4Ki and {}", Bytes(bytes), Bytes(limits::MEMORY_BYTES_MAX));
        return Err(Rejection::invalid(field, message));
    }
    Ok(())
}

fn check_hostname(field: &str, name: &str) -> Result<(), Rejection> {
    if name.len() > HOSTNAME_BYTES_MAX {
        let message =
            format!("`{}…` has {} letters, and at most {HOSTNAME_BYTES_MAX} are taken", excerpt(name), name.len());
        return Err(Rejection::invalid(field, message));
    }
    check_domain(field, name)
}

/// Names with dots between them. An underscore is none of DNS, and stands in many names of compose files.
fn check_domain(field: &str, name: &str) -> Result<(), Rejection> {
    let is_label = |label: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !label.is_empty() && label.len() <= limits::NAME_BYTES_MAX && label.bytes().all(fits)
    };
    let without_hyphens = |label: &str| !label.starts_with('-') && !label.ends_with('-');
    match name.len() < 254 && name.split('.').all(|label| is_label(label) && without_hyphens(label)) {
        true => Ok(()),
        false => Err(Rejection::invalid(field, format!("`{}` is not a name of a host", excerpt(name)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
        texts.map(String::from).into()
    }
    fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        pairs.map(|(key, value)| (key.to_string(), value.to_string())).into()
    }
    fn tmpfs(path: &str, size_bytes: Option<u64>) -> Setup {
        Setup { tmpfs: vec![Tmpfs { path: path.into(), size_bytes }], ..Setup::default() }
    }
    fn ulimit(name: &str, soft: i64, hard: i64) -> Setup {
        Setup { ulimits: [(name.to_string(), Ulimit { soft, hard })].into(), ..Setup::default() }
    }
    fn capabilities<const A: usize, const D: usize>(add: [&str; A], drop: [&str; D]) -> Setup {
        let (capabilities_added, capabilities_dropped) = (texts(add), texts(drop));
        Setup {
            security: Security { capabilities_added, capabilities_dropped, ..Security::default() },
            ..Setup::default()
        }
    }

    #[test]
    fn what_compose_files_say_is_taken() {
        let taken = [
            Setup { user: Some("1000:1000".into()), ..Setup::default() },
            Setup { user: Some("www-data".into()), ..Setup::default() },
            Setup { working_dir: Some("/srv/app".into()), ..Setup::default() },
            Setup { hostname: Some("mail.example.org".into()), ..Setup::default() },
            tmpfs("/run/app", Some(64 << 20)),
            tmpfs("/tmp", None),
            Setup { shm_bytes: Some(256 << 20), ..Setup::default() },
            capabilities(["CHOWN", "NET_BIND_SERVICE"], ["ALL"]),
            capabilities([], ["NET_RAW"]),
            capabilities(["NET_ADMIN"], ["ALL"]),
            ulimit("nofile", 1024, 65_536),
            ulimit("memlock", -1, -1),
            ulimit("core", 0, -1),
            Setup { sysctls: map([("net.core.somaxconn", "1024"), ("kernel.shmmax", "1")]), ..Setup::default() },
            Setup { extra_hosts: map([("host.docker.internal", "host-gateway"), ("db_1", "::1")]), ..Setup::default() },
            Setup { labels: map([("traefik.enable", "true")]), ..Setup::default() },
        ];
        for setup in taken {
            assert_eq!(setup.validate(), Ok(()), "{setup:?}");
        }
    }

    #[test]
    fn what_is_beyond_a_limit_is_refused_by_its_path() {
        let long = "x".repeat(64);
        let servers = vec![IpAddr::from([127, 0, 0, 1]); 4];
        let refused = [
            (Setup { user: Some("a b".into()), ..Setup::default() }, "user", "`a b`"),
            (Setup { user: Some(String::new()), ..Setup::default() }, "user", "is not a user"),
            (Setup { working_dir: Some("srv".into()), ..Setup::default() }, "working_dir", "absolute"),
            (Setup { hostname: Some("a..b".into()), ..Setup::default() }, "hostname", "`a..b`"),
            (Setup { hostname: Some("-a".into()), ..Setup::default() }, "hostname", "`-a`"),
            (Setup { hostname: Some(long), ..Setup::default() }, "hostname", "64 letters"),
            (tmpfs("tmp", None), "tmpfs[0].path", "absolute"),
            (tmpfs("//", None), "tmpfs[0].path", "root"),
            (tmpfs("/a/../etc", None), "tmpfs[0].path", "`..`"),
            (tmpfs("/a:b", None), "tmpfs[0].path", "`:`"),
            (tmpfs("/a\nb", None), "tmpfs[0].path", "control"),
            (tmpfs("/a", Some(1)), "tmpfs[0].size", "4Ki"),
            (
                Setup { tmpfs: [tmpfs("/a", None).tmpfs, tmpfs("/a", None).tmpfs].concat(), ..Setup::default() },
                "tmpfs[1].path",
                "tmpfs[0]",
            ),
            (Setup { shm_bytes: Some(u64::MAX), ..Setup::default() }, "shm_size", "1024Ti"),
            (capabilities(["FLY"], []), "security.capabilities.add", "`FLY`"),
            (capabilities([], ["CAP_KILL"]), "security.capabilities.drop", "`CAP_KILL`"),
            (capabilities(["KILL"], ["KILL"]), "security.capabilities.add", "both"),
            (ulimit("files", 1, 1), "ulimits", "`files`"),
            (ulimit("nofile", 2, 1), "ulimits.nofile", "above"),
            (ulimit("nofile", -1, 1), "ulimits.nofile", "above"),
            (ulimit("nofile", -2, 1), "ulimits.nofile", "-2"),
            (Setup { sysctls: map([("vm.swappiness", "1")]), ..Setup::default() }, "sysctls", "`vm.swappiness`"),
            (Setup { sysctls: map([("net.a b", "1")]), ..Setup::default() }, "sysctls", "`net.a b`"),
            (Setup { sysctls: map([("net.a", "1\n2")]), ..Setup::default() }, "sysctls.net.a", "control"),
            (Setup { extra_hosts: map([("a", "b")]), ..Setup::default() }, "extra_hosts.a", "`b`"),
            (Setup { extra_hosts: map([("a b", "::1")]), ..Setup::default() }, "extra_hosts", "`a b`"),
            (Setup { dns: Dns { servers, ..Dns::default() }, ..Setup::default() }, "dns.servers", "4 servers"),
            (
                Setup { dns: Dns { search: vec!["a b".into()], ..Dns::default() }, ..Setup::default() },
                "dns.search[0]",
                "`a b`",
            ),
            (
                Setup { dns: Dns { options: vec!["a b".into()], ..Dns::default() }, ..Setup::default() },
                "dns.options[0]",
                "`a b`",
            ),
            (
                Setup {
                    logging: Some(Logging { driver: Some("a b".into()), ..Logging::default() }),
                    ..Setup::default()
                },
                "logging.driver",
                "`a b`",
            ),
            (Setup { labels: map([("orbit.task", "1")]), ..Setup::default() }, "container_labels", "Orbit's own"),
        ];
        for (setup, field, said) in refused {
            let refusal = setup.validate().expect_err(field);
            assert_eq!(refusal.field, field, "{refusal:?}");
            assert!(refusal.message.contains(said), "{field}: {} says nothing of {said}", refusal.message);
        }
    }
}

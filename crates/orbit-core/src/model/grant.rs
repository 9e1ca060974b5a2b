//! What reaches beyond a container, and needs the word of its node's operator.

use super::{
    limits,
    paths::{check_host_path, is_same, is_within},
    validate::excerpt,
};
use std::{fmt, str::FromStr};

/// Something beyond what every container has. A spec asks for it, and it is given only on a node whose operator allows it.
///
/// As text it is what an operator writes: `privileged`, `devices`, `host-network`, `docker-socket`, `unconfined`,
/// `capability:NET_ADMIN` or `host:/srv`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// All that root may do on the machine.
    Privileged,
    /// Devices of the machine.
    Devices,
    /// The network of the machine itself.
    HostNetwork,
    /// The socket of the container engine: whoever has it may do all that root may.
    DockerSocket,
    /// No filter of system calls, or no profile of AppArmor.
    Unconfined,
    /// A capability that a container has not anyway, by its name without `CAP_`; [`ALL_CAPABILITIES`] are all.
    Capability(String),
    /// A path of the machine, and everything below it.
    HostPath(String),
}

/// Each capability there is.
pub const ALL_CAPABILITIES: &str = "ALL";
/// Where engines listen. It is asked for by its own word, whatever paths are allowed.
const DOCKER_SOCKETS: [&str; 2] = ["/run/docker.sock", "/var/run/docker.sock"];
/// With one of these, a container is its machine's root, or can become it.
const ROOTS_CAPABILITIES: [&str; 8] =
    [ALL_CAPABILITIES, "BPF", "DAC_READ_SEARCH", "MAC_ADMIN", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO"];
/// And who may write in one of these.
const ROOTS_PATHS: [&str; 11] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sys", "/usr", "/var/lib/docker"];
const CAPABILITY: &str = "capability:";
const HOST_PATH: &str = "host:";
/// Those that are a word.
const WORDS: [(&str, Grant); 5] = [
    ("privileged", Grant::Privileged),
    ("devices", Grant::Devices),
    ("host-network", Grant::HostNetwork),
    ("docker-socket", Grant::DockerSocket),
    ("unconfined", Grant::Unconfined),
];

impl Grant {
    /// What a path of the machine takes to be given to a container: the engine's socket its own word, and a folder in which that
    /// is, both.
    pub fn of_path(path: &str) -> Vec<Grant> {
        let own = Grant::HostPath(path.to_string());
        match () {
            () if DOCKER_SOCKETS.iter().any(|socket| is_same(socket, path)) => vec![Grant::DockerSocket],
            () if DOCKER_SOCKETS.iter().any(|socket| is_within(socket, path)) => vec![Grant::DockerSocket, own],
            () => vec![own],
        }
    }

    /// Whether who may start containers may then do all that root may on the machine.
    pub fn is_root(&self) -> bool {
        match self {
            Grant::Privileged | Grant::Devices | Grant::DockerSocket => true,
            Grant::Capability(name) => ROOTS_CAPABILITIES.contains(&name.as_str()),
            Grant::HostPath(path) => ROOTS_PATHS.iter().any(|own| is_within(own, path) || is_within(path, own)),
            Grant::HostNetwork | Grant::Unconfined => false,
        }
    }

    /// Whether what is asked for is given by this.
    pub fn covers(&self, asked: &Grant) -> bool {
        match (self, asked) {
            (Grant::Capability(all), Grant::Capability(_)) if all == ALL_CAPABILITIES => true,
            (Grant::HostPath(root), Grant::HostPath(path)) => is_within(path, root),
            (allowed, asked) => allowed == asked,
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Grant::Capability(name) => write!(f, "{CAPABILITY}{name}"),
            Grant::HostPath(path) => write!(f, "{HOST_PATH}{path}"),
            word => f.write_str(WORDS.iter().find(|(_, grant)| grant == word).map_or("", |(word, _)| word)),
        }
    }
}

impl FromStr for Grant {
    type Err = String;

    /// What an operator wrote, or what another version of Orbit sent.
    fn from_str(text: &str) -> Result<Grant, String> {
        if let Some((_, grant)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(grant.clone());
        }
        if let Some(name) = text.strip_prefix(CAPABILITY) {
            let name = name.strip_prefix("CAP_").unwrap_or(name);
            let is_name = (1..=limits::NAME_BYTES_MAX).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            return match is_name {
                true => Ok(Grant::Capability(name.to_string())),
                false => Err(format!("`{}` is not a capability, as `capability:NET_ADMIN` is", excerpt(text))),
            };
        }
        if let Some(path) = text.strip_prefix(HOST_PATH) {
            check_host_path(HOST_PATH, path).map_err(|refusal| refusal.message)?;
            return Ok(Grant::HostPath(path.to_string()));
        }
        let words = WORDS.map(|(word, _)| word).join(", ");
        Err(format!("`{}` is none of {words}, capability:NAME and host:/PATH", excerpt(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(text: &str) -> Grant {
        text.parse().unwrap()
    }

    #[test]
    fn a_grant_is_read_as_it_is_written() {
        for text in ["privileged", "devices", "host-network", "docker-socket", "unconfined"] {
            assert_eq!(grant(text).to_string(), text);
        }
        for text in ["capability:NET_ADMIN", "capability:ALL", "host:/", "host:/srv/a b"] {
            assert_eq!(grant(text).to_string(), text);
        }
        assert_eq!(grant("capability:CAP_SYS_TIME"), Grant::Capability("SYS_TIME".into()));
        let wrong =
            ["", "root", "host", "host:", "host:srv", "host:/a/../b", "host:/a\nb", "capability:", "capability:a b"];
        for text in wrong {
            assert!(text.parse::<Grant>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_covers_itself_and_what_is_below_and_nothing_beside() {
        let covers = |allowed: &str, path: &str| grant(allowed).covers(&Grant::HostPath(path.to_string()));
        for path in ["/srv", "/srv/", "/srv/media", "//srv/media/x"] {
            assert!(covers("host:/srv", path) && covers("host:/srv/", path), "{path}");
        }
        for path in ["/", "/srvs", "/sr", "/etc", "/etc/srv"] {
            assert!(!covers("host:/srv", path), "{path}");
        }
        assert!(covers("host:/", "/etc/shadow") && covers("host:/", "/"));
    }

    #[test]
    fn the_engines_socket_is_given_by_its_own_word() {
        for socket in ["/run/docker.sock", "/var/run/docker.sock", "/var//run/docker.sock"] {
            assert_eq!(Grant::of_path(socket), [Grant::DockerSocket], "{socket}");
        }
        for folder in ["/", "/run", "/var/run/", "/var"] {
            let both = [Grant::DockerSocket, Grant::HostPath(folder.to_string())];
            assert_eq!(Grant::of_path(folder), both, "{folder}");
        }
        assert_eq!(Grant::of_path("/var/lib"), [Grant::HostPath("/var/lib".into())]);
        for (word, is_root) in [("host:/", true), ("host:/run", true), ("host:/etc/x", true), ("host:/srv", false)] {
            assert_eq!(grant(word).is_root(), is_root, "{word}");
        }
        assert!(grant("capability:SYS_MODULE").is_root() && !grant("capability:NET_ADMIN").is_root());
        assert!(!grant("host:/").covers(&Grant::DockerSocket));
        assert!(grant("docker-socket").covers(&Grant::DockerSocket));
    }

    #[test]
    fn one_word_does_not_stand_for_another() {
        let all =
            ["privileged", "devices", "host-network", "docker-socket", "unconfined", "capability:NET_ADMIN", "host:/a"];
        for (i, allowed) in all.iter().enumerate() {
            for (j, asked) in all.iter().enumerate() {
                assert_eq!(grant(allowed).covers(&grant(asked)), i == j, "{allowed} {asked}");
            }
        }
        assert!(grant("capability:ALL").covers(&grant("capability:NET_ADMIN")));
        assert!(!grant("capability:NET_ADMIN").covers(&grant("capability:ALL")));
    }
}

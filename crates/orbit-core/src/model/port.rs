//! Published ports.

use std::{fmt, net::IpAddr};

/// A port of the container that is published on the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Unique within the spec.
    pub name: String,
    /// The port inside the container.
    pub container: u16,
    /// The node's port; `None` lets the scheduler choose one from the node's range. A node gives each of its ports to one task,
    /// whatever the protocol.
    pub host: Option<u16>,
    /// What is published.
    pub protocol: Protocol,
    /// On which of the node's addresses; `None` is as the worker is set.
    pub host_ip: Option<IpAddr>,
}

/// Which protocol of a port is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// As most are.
    #[default]
    Tcp,
    /// Which no probe can ask.
    Udp,
    /// Both under one number, as DNS and HTTP/3 need them.
    Both,
}

impl Port {
    /// As most are.
    pub fn tcp(name: impl Into<String>, container: u16, host: Option<u16>) -> Port {
        Port { name: name.into(), container, host, protocol: Protocol::Tcp, host_ip: None }
    }
    /// Whether it says no more than could be said at first.
    pub(super) fn is_plain(&self) -> bool {
        self.protocol == Protocol::Tcp && self.host_ip.is_none()
    }
}

impl Protocol {
    /// All, in order.
    pub const ALL: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Both];

    /// As engines name them.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Protocol::Tcp => &["tcp"],
            Protocol::Udp => &["udp"],
            Protocol::Both => &["tcp", "udp"],
        }
    }
    /// Whether two of them cannot be published under one number.
    pub fn overlaps(self, other: Protocol) -> bool {
        self.names().iter().any(|name| other.names().contains(name))
    }
    /// Whether a connection can be opened to it.
    pub fn has_tcp(self) -> bool {
        self != Protocol::Udp
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.names().join("+"))
    }
}

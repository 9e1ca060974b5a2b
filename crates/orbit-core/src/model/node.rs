//! A node: a machine with a Docker engine and a worker.

use super::{Attribute, Constraint, Grant, NodeId, NodeUid, Resources, TaskId, Time, Uid};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// What a worker says of its machine when it registers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeInfo {
    /// Drawn at random when the worker's state directory was made.
    pub uid: NodeUid,
    /// Unique in the cluster.
    pub name: String,
    /// For constraints.
    pub labels: BTreeMap<String, String>,
    /// As Docker writes it: `amd64`, `arm64`.
    pub arch: String,
    /// As Docker writes it: `linux`.
    pub os: String,
    /// What tasks may use in all.
    pub allocatable: Resources,
    /// From which host ports are chosen, both ends included.
    pub port_range: (u16, u16),
    /// Where others reach the ports that its tasks publish, where that is known.
    pub address: Option<IpAddr>,
    /// Which ports beyond that range a spec may pin, in ranges with both ends included. `None`: any, as a worker that is
    /// older than the question had it.
    pub pinned_ports: Option<Box<[(u16, u16)]>>,
    /// What its operator allows beyond what every container has, in order. As the worker said: it holds to that itself, too.
    pub allowed: Box<[Grant]>,
    /// Which programs work there, for people.
    pub versions: Box<Versions>,
}

/// Versions of the programs of a node, as they name themselves; empty where they do not. And what its worker understands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Versions {
    /// The worker's.
    pub worker: String,
    /// The container engine's, with its name.
    pub engine: String,
    /// The highest [`SPEC_LEVEL`](super::SPEC_LEVEL) of a spec that its worker carries out in full: an older one would leave
    /// out, without a word, what it does not know.
    pub spec_level: u32,
}

impl NodeInfo {
    /// Whether a spec may pin this port there: its operator has said so, or it is one of those that are chosen from.
    pub fn may_pin(&self, port: u16) -> bool {
        let holds = |&(first, last): &(u16, u16)| (first..=last).contains(&port);
        self.pinned_ports.as_ref().is_none_or(|ranges| ranges.iter().any(holds)) || holds(&self.port_range)
    }
    /// The first thing that is asked for and that its operator does not allow.
    pub fn forbids<'a>(&self, asks: &'a [Grant]) -> Option<&'a Grant> {
        asks.iter().find(|asked| !self.allowed.iter().any(|allowed| allowed.covers(asked)))
    }
}

/// Whether a node is heard. An overlay: its tasks keep their states, because a node that is not
/// heard may well go on running them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Heard within its lease.
    Reachable,
    /// Not heard for longer.
    Unreachable {
        /// Its last heartbeat, or the last re-arming of its lease if that is later.
        silent_since: Time,
    },
}

/// What an operator wants of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Availability {
    /// It takes tasks.
    #[default]
    Active,
    /// It takes no more tasks; those that it has go on.
    Cordoned,
    /// It takes no more tasks, and those of services move elsewhere, one after the other. What runs once
    /// may come to its end.
    Draining {
        /// When that was said.
        since: Time,
        /// Whatever is left then is told to stop.
        deadline: Option<Time>,
    },
}

impl Availability {
    /// Whether its tasks shall go.
    pub fn is_draining(self) -> bool {
        matches!(self, Availability::Draining { .. })
    }
    /// When whatever is left is told to stop.
    pub fn deadline(self) -> Option<Time> {
        match self {
            Availability::Draining { deadline, .. } => deadline,
            Availability::Active | Availability::Cordoned => None,
        }
    }
}

/// Tasks that could not be started on a node since one ran there last: whether it is the node's fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailedStarts {
    /// How many, in a row.
    pub count: u32,
    /// Of which workloads; no more than two are remembered.
    pub workloads: BTreeSet<Uid>,
    /// Until when tasks are placed on it only where no other node takes them.
    pub avoided_until: Option<Time>,
}

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its place in the cluster's arena.
    pub id: NodeId,
    /// What it said of itself when it registered last.
    pub info: NodeInfo,
    /// Index of the log entry that registered it last.
    pub incarnation: u64,
    /// When it registered first.
    pub registered_at: Time,
    /// Whether it is heard.
    pub reach: Reach,
    /// What an operator wants of it.
    pub availability: Availability,
    /// Ports that were found to be held by a stranger, and until when they are left alone.
    pub quarantined_ports: BTreeMap<u16, Time>,
    /// Tasks that could not be started on it.
    pub failed_starts: FailedStarts,
    /// Since when its disk has been full, by its own word: it takes no more tasks until there is room.
    pub disk_full_since: Option<Time>,
    /// Tasks from before a restore that it has and the state does not know, where they are not to be removed.
    pub unknown: BTreeSet<TaskId>,
    /// From where the next host port is sought, so that one that was just given back is not
    /// given out at once.
    pub next_port: u16,

    // Indexes: kept by `apply`, never in a snapshot, checked against a recomputation (I2).
    /// What its tasks hold.
    pub(crate) used: Resources,
    /// What its tasks held when it registered last, or was restored: a machine may come back
    /// smaller than what runs on it, and that is not over-commitment by us.
    pub(crate) granted: Resources,
    /// Host ports that its tasks hold.
    pub(crate) held_ports: BTreeMap<u16, TaskId>,
    /// Every task that was placed on it and is not removed yet.
    pub(crate) tasks: BTreeSet<TaskId>,
}

impl Node {
    /// What its tasks hold: the sum of the requests of those not seen to have ended.
    pub fn used(&self) -> Resources {
        self.used
    }
    /// What can still be given.
    pub fn free(&self) -> Resources {
        self.info.allocatable.minus(self.used)
    }
    /// Every task that was placed on it and is not removed yet, ended ones included.
    pub fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.tasks.iter().copied()
    }
    /// Which task holds a host port.
    pub fn port_holder(&self, port: u16) -> Option<TaskId> {
        self.held_ports.get(&port).copied()
    }
    /// Whether it is heard, and does what it is told.
    pub fn is_ready(&self) -> bool {
        self.reach == Reach::Reachable
    }
    /// Since when it has been silent, if it is unreachable.
    pub fn silent_since(&self) -> Option<Time> {
        match self.reach {
            Reach::Reachable => None,
            Reach::Unreachable { silent_since } => Some(silent_since),
        }
    }
    /// Until when tasks are placed on it only where no other node takes them, because they could not be started on it.
    pub fn avoided_until(&self, at: Time) -> Option<Time> {
        self.failed_starts.avoided_until.filter(|until| *until > at)
    }
    /// Whether the node meets a constraint.
    pub fn meets(&self, constraint: &Constraint) -> bool {
        let value = match &constraint.attribute {
            Attribute::Name => Some(&self.info.name),
            Attribute::Arch => Some(&self.info.arch),
            Attribute::Os => Some(&self.info.os),
            Attribute::Label(key) => self.info.labels.get(key),
        };
        (value == Some(&constraint.value)) == constraint.equal
    }
}

impl Node {
    /// A node as it stands in a snapshot: without indexes.
    #[allow(clippy::too_many_arguments, reason = "each is a field")]
    pub fn bare(
        id: NodeId,
        info: NodeInfo,
        incarnation: u64,
        registered_at: Time,
        reach: Reach,
        availability: Availability,
        quarantined_ports: BTreeMap<u16, Time>,
        next_port: u16,
    ) -> Node {
        Node {
            id,
            info,
            incarnation,
            registered_at,
            reach,
            availability,
            quarantined_ports,
            failed_starts: FailedStarts::default(),
            disk_full_since: None,
            unknown: BTreeSet::new(),
            next_port,
            used: Resources::ZERO,
            granted: Resources::ZERO,
            held_ports: Default::default(),
            tasks: Default::default(),
        }
    }
}

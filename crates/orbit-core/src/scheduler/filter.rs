//! Filters: may a task of this class be placed on this node? Each can say why not, with numbers.
//!
//! The planner asks with what it has reserved for tasks that it placed and has not proposed yet; `apply`
//! asks again with none. It is the same code, so a plan is refused only for what has changed since.

use crate::model::*;
use std::{collections::BTreeSet, fmt};

/// What of a spec matters for placement: tasks of one class are interchangeable to the scheduler.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlacementClass {
    /// What each task requests.
    pub request: Resources,
    /// Host ports that each task needs.
    pub pinned_ports: Vec<u16>,
    /// How many further host ports each task needs from the node's range.
    pub chosen_ports: usize,
    /// What a worker has to understand ([`Spec::level`]).
    pub level: u32,
    /// What the node's operator has to allow ([`Spec::asks`]).
    pub asks: Vec<Grant>,
    /// Strategy and constraints.
    pub placement: Placement,
    /// The volumes that each task uses.
    pub volumes: VolumeUses,
    /// What has to be there before one is placed ([`Cluster::waits_for`](crate::state::Cluster::waits_for)).
    pub after: Vec<After>,
    /// Nodes on which the earlier attempts could not be started: they are taken last.
    pub failed_on: BTreeSet<NodeId>,
}

impl PlacementClass {
    /// The class of a spec's tasks, for the first attempt in a slot, where everything is there that they wait for.
    pub fn of(spec: &Spec) -> PlacementClass {
        PlacementClass {
            failed_on: BTreeSet::new(),
            request: spec.container.resources,
            pinned_ports: spec.container.ports.iter().filter_map(|port| port.host).collect(),
            chosen_ports: spec.container.ports.iter().filter(|port| port.host.is_none()).count(),
            level: spec.level(),
            asks: spec.asks(),
            volumes: spec.container.setup.volume_uses(),
            placement: spec.placement.clone(),
            after: Vec::new(),
        }
    }
}

/// What a plan in the making has taken from a node.
#[derive(Clone, Debug, Default)]
pub struct Reserved {
    /// Resources.
    pub taken: Resources,
    /// Host ports.
    pub ports: BTreeSet<u16>,
    /// What the end of a task of the node would give back: asked for its successor.
    pub given_back: Option<Box<GivenBack>>,
}

/// What a task holds of its node.
#[derive(Clone, Debug, Default)]
pub struct GivenBack {
    /// Resources.
    pub resources: Resources,
    /// Host ports.
    pub ports: Box<[u16]>,
}

/// Why a node was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is unreachable or forgotten.
    NotReady,
    /// An operator wants no more tasks on it.
    Cordoned,
    /// Its disk is full.
    DiskFull,
    /// Its worker would leave out some of what the spec says.
    WorkerTooOld,
    /// Its operator does not allow this.
    NotAllowed(Grant),
    /// It does not meet a constraint.
    Constraint(Constraint),
    /// Too little processor time is free.
    Cpu {
        /// Thousandths of a processor that the task requests.
        needs: u64,
        /// Thousandths that are free.
        free: u64,
    },
    /// Too little memory is free.
    Memory {
        /// Bytes that the task requests.
        needs: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A pinned host port is held by a task, or rests.
    Port(u16),
    /// The node's operator does not let this port be pinned.
    NotPinnable(u16),
    /// Too few ports of the node's range are free.
    PortRange {
        /// How many the task needs.
        needs: usize,
    },
    /// There are as many volumes as there may be.
    VolumesFull,
    /// The data of a volume is on another node.
    VolumeElsewhere {
        /// Its name.
        volume: String,
        /// That node's.
        node: String,
    },
    /// Another task has the volume, or is about to.
    VolumeHeld {
        /// Its name.
        volume: String,
        /// Who has it; none where it is promised.
        task: Option<TaskId>,
    },
    /// The ports of a plan are not those that the spec asks for. A planner never proposes that.
    WrongPorts,
}

impl Refusal {
    /// The name of the filter, for counts and for people.
    pub fn filter(&self) -> &'static str {
        match self {
            Refusal::NotReady => "ready",
            Refusal::Cordoned => "cordoned",
            Refusal::DiskFull => "disk",
            Refusal::WorkerTooOld => "worker",
            Refusal::NotAllowed(_) => "allow",
            Refusal::Constraint(_) => "constraint",
            Refusal::Cpu { .. } => "cpu",
            Refusal::Memory { .. } => "memory",
            Refusal::VolumesFull | Refusal::VolumeElsewhere { .. } | Refusal::VolumeHeld { .. } => "volume",
            Refusal::Port(_) | Refusal::NotPinnable(_) | Refusal::PortRange { .. } | Refusal::WrongPorts => "ports",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Refusal::NotReady => f.write_str("not reachable"),
            Refusal::Cordoned => f.write_str("cordoned or draining"),
            Refusal::DiskFull => f.write_str("its disk is full"),
            Refusal::WorkerTooOld => {
                f.write_str("its worker is of an older version, which does not know all that the spec says")
            }
            Refusal::NotAllowed(asked) => write!(f, "`{asked}` is not among what its operator allows"),
            Refusal::Constraint(constraint) => write!(f, "not {constraint}"),
            Refusal::Cpu { needs, free } => write!(f, "not enough cpu: needs {needs}m, {free}m free"),
            Refusal::Memory { needs, free } => {
                write!(f, "not enough memory: needs {}, {} free", Bytes(*needs), Bytes(*free))
            }
            Refusal::Port(port) => write!(f, "host port {port} is taken"),
            Refusal::NotPinnable(port) => write!(f, "host port {port} is not among the node's `pinned_ports`"),
            Refusal::PortRange { needs } => write!(f, "fewer than {needs} host ports free"),
            Refusal::VolumesFull => write!(f, "there are {} volumes already", limits::VOLUMES_MAX),
            Refusal::VolumeElsewhere { volume, node } => write!(f, "the data of volume `{volume}` is on {node}"),
            Refusal::VolumeHeld { volume, task: Some(task) } => write!(f, "volume `{volume}` is used by task {task}"),
            Refusal::VolumeHeld { volume, task: None } => write!(f, "volume `{volume}` is promised to another task"),
            Refusal::WrongPorts => f.write_str("the ports are not those of the spec"),
        }
    }
}

/// Whether one task of the class may be placed on the node, beside what `reserved` has taken.
///
/// # Errors
/// The first filter that refuses it.
pub fn check(node: &Node, class: &PlacementClass, reserved: &Reserved, at: Time) -> Result<(), Refusal> {
    check_worker(node, class.level, &class.asks)?;
    check_room(node, class.request, &class.placement, reserved)?;
    ports(node, class, reserved, at).map(|_| ())
}

/// Whether the node's worker understands what a spec of this level says, and its operator allows all that it asks for.
///
/// # Errors
/// The first thing that is not so.
pub fn check_worker(node: &Node, level: u32, asks: &[Grant]) -> Result<(), Refusal> {
    if level > node.info.versions.spec_level {
        return Err(Refusal::WorkerTooOld);
    }
    node.info.forbids(asks).map_or(Ok(()), |asked| Err(Refusal::NotAllowed(asked.clone())))
}

/// The same as [`check`] without ports and what a worker understands and may give.
///
/// # Errors
/// The first filter that refuses it.
pub fn check_room(node: &Node, needs: Resources, placement: &Placement, reserved: &Reserved) -> Result<(), Refusal> {
    if !node.is_ready() {
        return Err(Refusal::NotReady);
    }
    if node.availability != Availability::Active {
        return Err(Refusal::Cordoned);
    }
    if node.disk_full_since.is_some() {
        return Err(Refusal::DiskFull);
    }
    if let Some(constraint) = placement.constraints.iter().find(|c| !node.meets(c)) {
        return Err(Refusal::Constraint(constraint.clone()));
    }
    let given_back = reserved.given_back.as_ref().map_or(Resources::ZERO, |it| it.resources);
    let free = node.info.allocatable.minus(node.used().minus(given_back)).minus(reserved.taken);
    if needs.cpu_millis > free.cpu_millis {
        return Err(Refusal::Cpu { needs: needs.cpu_millis, free: free.cpu_millis });
    }
    if needs.memory_bytes > free.memory_bytes {
        return Err(Refusal::Memory { needs: needs.memory_bytes, free: free.memory_bytes });
    }
    Ok(())
}

/// Ports of the node's range for one task of the class, where those that it pins are free.
///
/// # Errors
/// Which are not to be had.
pub(super) fn ports(node: &Node, class: &PlacementClass, reserved: &Reserved, at: Time) -> Result<Vec<u16>, Refusal> {
    if let Some(port) = class.pinned_ports.iter().find(|port| !node.info.may_pin(**port)) {
        return Err(Refusal::NotPinnable(*port));
    }
    if let Some(port) = class.pinned_ports.iter().find(|port| !port_is_free(node, **port, reserved, at)) {
        return Err(Refusal::Port(*port));
    }
    if class.chosen_ports == 0 {
        return Ok(Vec::new());
    }
    choose_ports(node, class, reserved, at).ok_or(Refusal::PortRange { needs: class.chosen_ports })
}

/// Whether a host port is held by nobody and does not rest.
fn port_is_free(node: &Node, port: u16, reserved: &Reserved, at: Time) -> bool {
    (node.port_holder(port).is_none() || reserved.given_back.as_ref().is_some_and(|it| it.ports.contains(&port)))
        && !reserved.ports.contains(&port)
        && node.quarantined_ports.get(&port).is_none_or(|until| *until <= at)
}

/// Ports of the node's range for one task of the class, sought from `next_port` around.
fn choose_ports(node: &Node, class: &PlacementClass, reserved: &Reserved, at: Time) -> Option<Vec<u16>> {
    let (first, last) = node.info.port_range;
    let start = node.next_port.clamp(first, last.max(first));
    let around = (start..=last).chain(first..start);
    let free = around.filter(|port| !class.pinned_ports.contains(port) && port_is_free(node, *port, reserved, at));
    let chosen: Vec<u16> = free.take(class.chosen_ports).collect();
    (chosen.len() == class.chosen_ports).then_some(chosen)
}

/// Whether the ports of a plan are those that the spec asks for, and free.
///
/// # Errors
/// What is wrong with them.
pub fn check_ports(node: &Node, spec: &Spec, host_ports: &[u16], at: Time) -> Result<(), Refusal> {
    if host_ports.len() != spec.container.ports.len() {
        return Err(Refusal::WrongPorts);
    }
    let (first, last) = node.info.port_range;
    for (i, (port, &host)) in spec.container.ports.iter().zip(host_ports).enumerate() {
        let right = port.host.map_or((first..=last).contains(&host), |pinned| pinned == host);
        if !right || host_ports[..i].contains(&host) {
            return Err(Refusal::WrongPorts);
        }
        if port.host.is_some() && !node.info.may_pin(host) {
            return Err(Refusal::NotPinnable(host));
        }
        if !port_is_free(node, host, &Reserved::default(), at) {
            return Err(Refusal::Port(host));
        }
    }
    Ok(())
}

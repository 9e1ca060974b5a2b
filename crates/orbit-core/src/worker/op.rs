//! What the worker's machine asks of the container engine, and what it hears back.
//!
//! One operation at a time per container. The shell carries an [`Op`] out literally, through its
//! `ContainerRuntime`, and hands the result to the next `step`; it decides nothing.

use crate::model::{ClusterId, Limits, Millis, NodeUid, Protocol, Pull, Resources, Setup, TaskId};
use core::net::IpAddr;

/// The number of an operation, given by the machine; results name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// Which containers are ours: those that carry both labels. A worker sees and touches no others, so
/// that several workers can share an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Value of the label [`LABEL_CLUSTER`].
    pub cluster: ClusterId,
    /// Value of the label [`LABEL_NODE`].
    pub node: NodeUid,
}

/// The label that holds the cluster's ID.
pub const LABEL_CLUSTER: &str = "orbit.cluster";
/// The label that holds the node's own ID.
pub const LABEL_NODE: &str = "orbit.node";
/// The label that holds the task's ID.
pub const LABEL_TASK: &str = "orbit.task";
/// The label of an engine's volume that holds the name by which users know it. It has those of its owner, too.
pub const LABEL_VOLUME: &str = "orbit.volume";
/// The label that holds the fingerprint of the spec that the container was created from.
pub const LABEL_SPEC: &str = "orbit.spec";

/// An operation on the engine. Each may be repeated: the second time changes nothing.
///
/// What is said of one container names it by the ID that the engine gave it: a name can be given to another by anybody. Where
/// that is not known, because nobody heard the answer to its create, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// All containers of an owner, ended ones included.
    List(Owner),
    /// One container; none if it is not the owner's.
    Inspect {
        /// Whose it must be.
        owner: Owner,
        /// The container's ID or name.
        name: String,
    },
    /// Make sure that an image is there, as the policy says; give up after the deadline.
    EnsureImage {
        /// The image's reference.
        image: String,
        /// Whether to ask the registry.
        pull: Pull,
        /// How long it may take.
        deadline: Millis,
    },
    /// Remove a reference to an image, and the image with the last one; refused if there is a container of it then. Nothing is
    /// done, and that is no failure, if the reference is gone or means another image by now, or if it is a digest and the image
    /// has a tag: some engines remove all tags of a repository with a digest.
    RemoveImage {
        /// The image's reference.
        image: String,
        /// By which the engine knows it.
        id: String,
    },
    /// Create a container, without starting it.
    Create(Box<ContainerSpec>),
    /// Start a created container. One that was started already is left alone.
    Start(String),
    /// Send the stop signal, wait for the grace, then kill; returns when it has ended.
    Stop {
        /// The container's ID or name.
        name: String,
        /// How long to wait before the kill.
        grace: Millis,
    },
    /// Ask a running container something; a success is yes.
    Probe {
        /// The container's ID or name.
        name: String,
        /// What is asked.
        ask: ProbeOf,
        /// Without an answer for so long, it is no.
        timeout: Millis,
    },
    /// Remove an ended or merely created container. One that is gone already is a success.
    Remove(String),
}

/// The kinds of [`Op`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum OpKind {
    List,
    Inspect,
    EnsureImage,
    RemoveImage,
    Create,
    Start,
    Stop,
    Probe,
    Remove,
}

impl OpKind {
    /// All, in order.
    pub const ALL: [OpKind; 9] = [
        OpKind::List,
        OpKind::Inspect,
        OpKind::EnsureImage,
        OpKind::RemoveImage,
        OpKind::Create,
        OpKind::Start,
        OpKind::Stop,
        OpKind::Probe,
        OpKind::Remove,
    ];

    /// The kind of an operation.
    pub fn of(op: &Op) -> OpKind {
        match op {
            Op::List(_) => OpKind::List,
            Op::Inspect { .. } => OpKind::Inspect,
            Op::EnsureImage { .. } => OpKind::EnsureImage,
            Op::RemoveImage { .. } => OpKind::RemoveImage,
            Op::Create(_) => OpKind::Create,
            Op::Start(_) => OpKind::Start,
            Op::Stop { .. } => OpKind::Stop,
            Op::Probe { .. } => OpKind::Probe,
            Op::Remove(_) => OpKind::Remove,
        }
    }

    /// Stable text, as in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            OpKind::List => "list",
            OpKind::Inspect => "inspect",
            OpKind::EnsureImage => "ensure_image",
            OpKind::RemoveImage => "remove_image",
            OpKind::Create => "create",
            OpKind::Start => "start",
            OpKind::Stop => "stop",
            OpKind::Probe => "probe",
            OpKind::Remove => "remove",
        }
    }
}

/// What a container is asked, with the ports inside of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProbeOf {
    /// `GET path` at this port; a status below 400 is yes.
    Http(u16, String),
    /// A connection to this port.
    Tcp(u16),
    /// A command in the container; exit code 0 is yes.
    Command(Vec<String>),
}

/// A container to create, in full.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerSpec {
    /// `orbit-<cluster>-<task>`
    pub name: String,
    /// The image's reference.
    pub image: String,
    /// Overrides the image's entrypoint where it is not empty.
    pub command: Vec<String>,
    /// Overrides the image's arguments where it is not empty.
    pub args: Vec<String>,
    /// Sorted by name.
    pub env: Vec<(String, String)>,
    /// What is set aside for it.
    pub resources: Resources,
    /// What it may take at most.
    pub limits: Limits,
    /// Limit on processes and threads.
    pub pids_max: u32,
    /// Instead of the image's own.
    pub stop_signal: Option<String>,
    /// What is published.
    pub ports: Vec<Published>,
    /// What is not left as the image and the engine have it; without its labels.
    pub setup: Setup,
    /// The volumes that are mounted.
    pub volumes: Vec<EngineVolume>,
    /// Sorted by key; the four above are among them, and those of the user.
    pub labels: Vec<(String, String)>,
}

/// A volume of a container on its node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EngineVolume {
    /// By which the engine knows it.
    pub name: String,
    /// By which users know it: the value of its label [`LABEL_VOLUME`].
    pub volume: String,
    /// Where it is in the container.
    pub path: String,
    /// The container cannot write there.
    pub read_only: bool,
    /// It was made before. Where it is not there any more, the create fails: another in its place would be empty.
    pub is_made: bool,
}

/// A port of a container on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Published {
    /// The port inside the container.
    pub container: u16,
    /// The port of the node.
    pub host: u16,
    /// Which of its protocols.
    pub protocol: Protocol,
    /// On which of the node's addresses; `None` is as the worker is set.
    pub host_ip: Option<IpAddr>,
}

impl Published {
    /// As most are.
    pub fn tcp(container: u16, host: u16) -> Published {
        Published { container, host, protocol: Protocol::Tcp, host_ip: None }
    }
}

/// What an operation gave.
pub type OpResult = Result<OpOutput, OpError>;

/// What a successful operation gave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OpOutput {
    /// Of `List`. In any order.
    Containers(Vec<EngineContainer>),
    /// Of `Inspect`: `None` if there is no such container that is the owner's.
    Container(Option<EngineContainer>),
    /// Of `EnsureImage`.
    Image(ImageFound),
    /// Of `Create`: the ID of the container.
    Created(String),
    /// Of all others.
    Done,
}

/// An image that is on the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageFound {
    /// By which the image's registry knows it; `None` where no registry does.
    pub digest: Option<String>,
    /// By which the engine knows it: what is built again has another.
    pub id: String,
    /// Its reference meant no image here, or another one, and was pulled because it was asked for.
    pub was_pulled: bool,
    /// And the image itself was not here before, under any reference.
    pub was_new: bool,
}

/// A container as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineContainer {
    /// By which the engine knows it, whatever it is called.
    pub id: String,
    /// Its present name.
    pub name: String,
    /// From its label.
    pub task: TaskId,
    /// From its label.
    pub spec: u64,
    /// What it does.
    pub state: ContainerState,
    /// What the health check of its image says, if it has one that has answered.
    pub image_health: Option<bool>,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerState {
    /// Created, never started.
    Created,
    /// Its process runs (or is paused).
    Running,
    /// Its process has ended.
    Exited {
        /// The exit code; 128 + n when signal n ended it.
        code: i32,
        /// The kernel killed it for want of memory.
        out_of_memory: bool,
    },
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpError {
    /// What kind of trouble.
    pub kind: OpErrorKind,
    /// What the engine said.
    pub message: String,
}

/// What kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpErrorKind {
    /// The engine does not answer, or answered that it is out of order. Says nothing about the
    /// container; the operation may or may not have taken place.
    Engine,
    /// There is no such container.
    NotFound,
    /// Create: the name is held by a container that is not this task's with this spec.
    NameTaken,
    /// Create: the image is not there (any more).
    ImageMissing,
    /// Start: a host port is held by something else; which one, where the engine says so.
    PortTaken(Option<u16>),
    /// EnsureImage: it could not be had within the deadline.
    Timeout,
    /// Probe: the answer is no, or none came in time.
    Unwell,
    /// The engine understood and will not do it: trying again there would not help.
    Refused,
    /// The engine answered that it failed, and not whose fault that is. If it answers the next question, it is the
    /// container's.
    Unclear,
}

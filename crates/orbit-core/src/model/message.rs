//! What manager and worker say to each other. The wire format is `orbit-proto`'s business.

use super::*;
use std::{fmt, sync::Arc};

/// From a worker to the manager.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant, reason = "short-lived, one at a time")]
pub enum ToManager {
    /// The first message of a session.
    Register(Hello),
    /// The worker is there.
    Heartbeat {
        /// Counted from 1 within the session.
        seq: u64,
        /// The last assignment that was taken up.
        assigned_seq: u64,
        /// Its disk is full: nothing more can be started there.
        disk_full: bool,
    },
    /// What the worker observed and the manager has not confirmed yet. Repeated until it has.
    Report {
        /// Counted from 1 within the session, so that what was said later is known: what probes find goes to and fro, and
        /// the last word counts. 0 from workers that do not count.
        seq: u64,
        /// Sorted by task.
        reports: Vec<TaskReport>,
    },
    /// The answer to a probe.
    ProbeAck,
    /// The answer to a prefetch: the image is there, or cannot be had.
    Prefetched {
        /// Whose image.
        workload: Uid,
        /// Of which version.
        version: u32,
        /// Why it cannot be had; as a task that needed it would have ended.
        failure: Option<End>,
    },
}

/// What a worker says first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    /// The cluster that it belongs to, if it has ever been welcomed.
    pub cluster: Option<ClusterId>,
    /// The highest (epoch, term) that it has seen. A manager below it is an old world's.
    pub seen: (u32, u64),
    /// Drawn at random when the process started.
    pub nonce: u64,
    /// What it says of its machine.
    pub info: NodeInfo,
    /// What it knows of its tasks. Sorted by task.
    pub inventory: Vec<TaskReport>,
    /// It understands [`Assigned::follow`]. Older workers do not, and get everything in one message.
    pub takes_parts: bool,
    /// It understands [`ToWorker::Prefetch`].
    pub prefetches: bool,
}

impl Hello {
    /// The same, with nothing in its inventory.
    pub fn without_inventory(&self) -> Hello {
        let Hello { cluster, seen, nonce, info, inventory: _, takes_parts, prefetches } = self;
        let (cluster, seen, nonce, takes_parts, prefetches) = (*cluster, *seen, *nonce, *takes_parts, *prefetches);
        Hello { cluster, seen, nonce, info: info.clone(), inventory: Vec::new(), takes_parts, prefetches }
    }
}

/// From the manager to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ToWorker {
    /// The session stands; all orders within it count.
    Welcome(Welcome),
    /// The session will not be. The worker tries again later; the text is for its operator.
    Refused {
        /// What is wrong and what to do.
        message: String,
    },
    /// What the worker shall run: all of it, or what changed.
    Assigned(Assigned),
    /// The answer to a heartbeat.
    HeartbeatAck {
        /// The heartbeat's number.
        seq: u64,
    },
    /// These observations are committed.
    Committed {
        /// The number of the report that said so. The same may be said again after something else was, so a worker needs
        /// to know which time is meant.
        seq: u64,
        /// What was reported. Sorted by task.
        states: Vec<ReportKey>,
    },
    /// Are you there? Somebody else claims to be you.
    Probe,
    /// Have this image: a task that needs it may follow. Repeated until it is answered.
    Prefetch {
        /// Whose image.
        workload: Uid,
        /// Of which version.
        version: u32,
        /// What it is asked for by.
        image: String,
        /// Whether to ask the registry.
        pull: Pull,
        /// How long the manager may rely on it, once it is there: what is stopped for its task may take its time.
        keep: Millis,
    },
    /// Dial a stream of its own to something of a task's container.
    Open(StreamRequest),
}

/// The session stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Welcome {
    /// The cluster.
    pub cluster: ClusterId,
    /// Raised by every restore from a backup.
    pub epoch: u32,
    /// The leader's term.
    pub term: u64,
    /// The node's place in the arena.
    pub node: NodeId,
    /// The index of the entry that registered it.
    pub incarnation: u64,
    /// How often to send a heartbeat.
    pub heartbeat: Millis,
    /// After which silence of the manager to dial again.
    pub lease: Millis,
    /// Everything that the worker shall run.
    pub assigned: Assigned,
}

/// What a worker shall run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Assigned {
    /// Counted from 1 within the session. A difference counts only directly after the one before.
    pub seq: u64,
    /// Whether `tasks` and `follow` are everything: what is in neither shall be removed.
    pub full: bool,
    /// Orders. Sorted by task.
    pub tasks: Vec<Assignment>,
    /// Of a full one: tasks that are there as well, and whose orders follow in differences, because one
    /// message does not hold them all. Sorted.
    pub follow: Vec<TaskId>,
    /// Tasks that are no longer remembered: their containers shall be removed. Sorted.
    pub removed: Vec<TaskId>,
}

/// An order about one task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Assignment {
    /// The task.
    pub task: TaskId,
    /// Grows with every order about the task. An order with a lower one is refused.
    pub generation: u32,
    /// What is wanted.
    pub desired: Desired,
    /// Its end is committed already: nothing is to be started, stopped or reported.
    pub ended: bool,
    /// The kind of object it belongs to, for labels.
    pub kind: Kind,
    /// The name of that object, for labels.
    pub name: Arc<str>,
    /// The slot, for labels.
    pub slot: u32,
    /// What to run.
    pub spec: Arc<Spec>,
    /// The node's ports, in the order of the spec's.
    pub host_ports: Box<[u16]>,
    /// What its volumes are, in the order of the spec's mounts.
    pub volumes: Box<[Uid]>,
    /// What its image is asked for by.
    pub image: ImageBytes,
}

/// The reference that an image is asked for by.
pub fn image_reference(spec: &Spec, image: &ImageBytes) -> String {
    match image {
        ImageBytes::Digest(digest) => pinned(&spec.container.image, digest),
        ImageBytes::AsWritten | ImageBytes::Unresolved => spec.container.image.clone(),
    }
}

impl Assignment {
    /// The order about a task as it stands. `spec` is that of its version; of one that has ended, without
    /// what only a start needs.
    pub fn of(task: &Task, workload: &Workload, spec: Arc<Spec>, volumes: Box<[Uid]>) -> Assignment {
        Assignment {
            task: task.id,
            generation: task.generation,
            desired: task.desired,
            ended: task.state.is_terminal(),
            kind: workload.kind,
            name: workload.name.clone(),
            slot: task.slot,
            spec,
            host_ports: task.host_ports.clone(),
            volumes,
            image: workload.version(task.version).map(Version::image).unwrap_or_default(),
        }
    }
    /// The reference that its image is asked for by.
    pub fn image_reference(&self) -> String {
        image_reference(&self.spec, &self.image)
    }
}

/// Somebody wants a stream to something of a task's container. Its bytes bypass the machines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamRequest {
    /// Drawn by the manager's shell; the worker names it when it dials.
    pub token: StreamToken,
    /// The task.
    pub task: TaskId,
    /// What is wanted.
    pub what: StreamOf,
}

/// The name of a stream: random, and told to nobody but the session that shall dial it. Whoever knows it has the
/// stream, so it is never written to a log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamToken(pub [u8; 16]);

impl fmt::Debug for StreamToken {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("StreamToken(..)")
    }
}

/// What a stream carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StreamOf {
    /// What the container wrote.
    Logs(LogRange),
    /// A process that is started in the container, with its input and output.
    Exec(ExecRequest),
}

/// Which part of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogRange {
    /// Whether to go on when the end is reached.
    pub follow: bool,
    /// How many of the last lines; `None` is all.
    pub tail: Option<u32>,
    /// Only what was written since, in seconds since 1970; `None` is all.
    pub since_s: Option<u64>,
    /// With the time in front of each line (RFC 3339), and a space.
    pub timestamps: bool,
}

/// A process to start in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExecRequest {
    /// The program and its arguments. Not empty.
    pub command: Vec<String>,
    /// With a terminal, whose output is one stream.
    pub tty: bool,
    /// Whether anything will be written to its standard input.
    pub stdin: bool,
}

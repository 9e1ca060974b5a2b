//! What is written to the log, and what comes of it.

use super::*;

/// One entry of the log. Replaying the entries in order gives the state, on every machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its place in the log, from 1, without gaps. Also the cluster's revision.
    pub index: u64,
    /// The term of the leader that wrote it.
    pub term: u64,
    /// The cluster's clock, never before the entry before it.
    pub at: Time,
    /// The wall clock in milliseconds since 1970, for display only.
    pub wall_ms: u64,
    /// Who asked for it.
    pub actor: Actor,
    /// What shall change.
    pub command: Command,
}

/// A change of the replicated state. Whether it is accepted is decided in `apply`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant, reason = "short-lived, one at a time")]
pub enum Command {
    /// The first entry of every log: names the cluster.
    Init {
        /// The cluster's own ID.
        cluster: ClusterId,
    },
    /// The first entry of every term: everything before it is known to be committed.
    Barrier {
        /// Fresh randomness for the decisions of this term; never for secrets.
        seed: u64,
    },
    /// Create or change a workload.
    Put(Put),
    /// Change a service's number of replicas and nothing else.
    Scale {
        /// The service's name.
        name: String,
        /// The new number.
        replicas: u32,
        /// The condition of the request.
        condition: Condition,
    },
    /// Replace every task of a service, slot by slot, by one of the same spec.
    Restart {
        /// The service's name.
        name: String,
        /// The condition of the request.
        condition: Condition,
    },
    /// What somebody wants of a service's rollout.
    Rollout {
        /// The service's name.
        name: String,
        /// What is wanted.
        order: RolloutOrder,
        /// The condition of the request.
        condition: Condition,
    },
    /// What an operator wants of a node from now on.
    SetAvailability {
        /// The node's name.
        name: String,
        /// What is wanted.
        order: AvailabilityOrder,
    },
    /// Delete a workload: free its name, stop its tasks.
    Delete {
        /// Service or task definition.
        kind: Kind,
        /// Its name.
        name: String,
        /// The condition of the request.
        condition: Condition,
    },
    /// Stop one attempt. A service fills its slot again.
    StopTask {
        /// The attempt.
        task: TaskId,
    },
    /// A worker has connected and says what it has.
    Register(Registration),
    /// Nodes became unreachable or reachable.
    Reach(Vec<ReachabilityChange>),
    /// The disks of nodes became full, or have room again.
    Disks(Vec<DiskChange>),
    /// What workers observed of their tasks: of each node at most once.
    Reports(Vec<NodeReports>),
    /// An operator says that a node is gone for good.
    Forget {
        /// The node's name.
        name: String,
    },
    /// An operator says that nothing is wanted any more of a volume's data: who uses its name next has another volume.
    RemoveVolume {
        /// Its name.
        name: String,
    },
    /// An operator says what becomes of the tasks from before a restore that the state does not know.
    SettleUnknown {
        /// They are left alone for good, and not removed.
        adopt: bool,
    },
    /// A node cannot have an image that it was asked for before what serves is stopped: an attempt of that version has failed.
    PrefetchFailed {
        /// The node.
        node: NodeId,
        /// Whose image.
        workload: Uid,
        /// Of which version.
        version: u32,
        /// Why.
        end: End,
    },
    /// What the leader's reconciler and scheduler decided.
    Plan(Plan),
}

/// Create or change a workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Put {
    /// What the user submitted.
    pub definition: Definition,
    /// The condition of the request.
    pub condition: Condition,
    /// The user did not say how many replicas: a service that exists keeps its number.
    pub keeps_replicas: bool,
    /// A second command with the same key changes nothing and has the same answer.
    pub idempotency_key: Option<String>,
}

impl Put {
    /// How many replicas a workload has after this.
    pub fn replicas_of(&self, workload: &Workload) -> u32 {
        if self.keeps_replicas { workload.replicas } else { self.definition.replicas }
    }
}

/// Under which condition a request may change an object (HTTP's `If-Match` and `If-None-Match`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Always.
    None,
    /// Only if its revision is this one.
    Revision(u64),
    /// Only if it does not exist.
    Absent,
}

/// A worker's registration, as it enters the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Registration {
    /// What the worker says of its machine.
    pub info: NodeInfo,
    /// What it knows of its tasks.
    pub inventory: Vec<TaskReport>,
}

/// What one worker observed of its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeReports {
    /// Whose reports.
    pub node: NodeId,
    /// Under which registration. A report from an older one is ignored.
    pub incarnation: u64,
    /// The observations.
    pub reports: Vec<TaskReport>,
}

/// A node was lost from sight or came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReachabilityChange {
    /// The node.
    pub node: NodeId,
    /// Under which registration. An edge of an older one is stale.
    pub incarnation: u64,
    /// What it is now.
    pub reach: Reach,
}

/// A node's disk became full, or has room again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DiskChange {
    /// The node.
    pub node: NodeId,
    /// Under which registration. What an older one said is stale.
    pub incarnation: u64,
    /// What it is now.
    pub full: bool,
}

/// What a worker observed of one task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskReport {
    /// The task.
    pub task: TaskId,
    /// Its observed state, from `Preparing` on.
    pub state: TaskState,
    /// How it ended; present exactly when the state is terminal.
    pub end: Option<End>,
    /// How long before its end was seen the node was told of it; zero where it was not told.
    pub ended_ago: Millis,
    /// What its probes have found, while it runs.
    pub probed: Probed,
    /// Why the one that failed last did, for a person; at most [`End::MESSAGE_BYTES_MAX`] bytes; may be empty.
    pub why: String,
    /// What its image's reference means there; said until the manager has said what it means for all.
    pub digest: Option<String>,
    /// The engine's ID of its image, where no registry knows it; from `Starting` on.
    pub image_id: Option<String>,
}

/// What a report said, to confirm it.
pub type ReportKey = (TaskId, TaskState, Probed);

/// All of a report that makes it another one. The digest does, too: the first report of a state may have come before the
/// image was there.
pub type Statement = (ReportKey, Option<String>);

impl TaskReport {
    /// A report of what nobody told the node of before it looked.
    pub fn new(task: TaskId, state: TaskState, end: Option<End>) -> TaskReport {
        TaskReport {
            task,
            state,
            end,
            ended_ago: Millis(0),
            probed: Probed::default(),
            why: String::new(),
            digest: None,
            image_id: None,
        }
    }
    /// What it says, to tell whether it was said before.
    pub fn statement(&self) -> Statement {
        (self.key(), self.digest.clone())
    }
    /// What has to be confirmed.
    pub fn key(&self) -> ReportKey {
        (self.task, self.state, self.probed)
    }
}

/// What the leader decided, in full: applying it leaves no choices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Index of the last entry that the plan had seen.
    pub parent: u64,
    /// Slots that get a new task.
    pub creates: Vec<Create>,
    /// Pending tasks that get a node.
    pub places: Vec<Place>,
    /// Tasks that are told to stop.
    pub stops: Vec<TaskId>,
    /// Ended tasks that are no longer remembered.
    pub removes: Vec<TaskId>,
    /// Slots beyond the wanted number that are empty: the workload is cut to this length.
    pub trims: Vec<(Uid, u32)>,
    /// Deleted workloads of which nothing is left.
    pub drops: Vec<Uid>,
    /// What the scheduler found, by workload.
    pub decisions: Vec<(Uid, Decision)>,
    /// How far rollouts have come, with the version that each brings.
    pub rollouts: Vec<(Uid, u32, RolloutStep)>,
}

/// A slot gets a new task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Create {
    /// Whose slot.
    pub workload: Uid,
    /// From which version. A plan made before a newer version is stale.
    pub version: u32,
    /// Which slot.
    pub slot: u32,
    /// The newest attempt in the slot that the plan had seen. Another one makes it stale.
    pub after: Option<TaskId>,
    /// Where it runs; `None` leaves it pending.
    pub target: Option<Target>,
}

/// A pending task gets a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The task.
    pub task: TaskId,
    /// Where it runs.
    pub target: Target,
}

/// What an operator wants of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AvailabilityOrder {
    /// It takes tasks again.
    Uncordon,
    /// It takes no more tasks. Nothing changes where it is being drained.
    Cordon,
    /// Its tasks shall go, too. A second one sets the deadline anew.
    Drain {
        /// After which time whatever is left is told to stop.
        deadline: Option<Millis>,
    },
}

/// Where a task runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The node.
    pub node: NodeId,
    /// The node's ports, in the order of the spec's.
    pub host_ports: Box<[u16]>,
}

impl Plan {
    /// Whether the plan would change nothing.
    pub fn is_empty(&self) -> bool {
        self.creates.is_empty()
            && self.places.is_empty()
            && self.stops.is_empty()
            && self.removes.is_empty()
            && self.trims.is_empty()
            && self.drops.is_empty()
            && self.decisions.is_empty()
            && self.rollouts.is_empty()
    }
}

/// What came of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// The answer to whoever asked.
    pub answer: Result<Answer, Rejection>,
    /// What has to be looked at again.
    pub touched: Touched,
}

/// The answer to an accepted request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A workload stands as it was asked for.
    Workload {
        /// What it is.
        uid: Uid,
        /// The index of its last change: the ETag.
        revision: u64,
        /// The number of its current version.
        version: u32,
        /// It did not exist before.
        created: bool,
        /// The attempt that was made in the same entry (task definitions only).
        task: Option<TaskId>,
    },
    /// A node is registered.
    Node {
        /// Its place in the arena.
        node: NodeId,
        /// The index of the entry.
        incarnation: u64,
    },
    /// Done; there is nothing to say.
    Done,
}

/// What an entry changed, so that the leader looks at that and at nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Touched {
    /// Workloads whose slots may need work. Sorted, without repetition.
    pub workloads: Vec<Uid>,
    /// Workloads of which an attempt was forgotten: they may have come less far for who waits for them. Sorted, without repetition.
    pub forgetful: Vec<Uid>,
    /// Tasks of which a node has to be told, with the node. Sorted, without repetition.
    pub tasks: Vec<(NodeId, TaskId)>,
    /// Nodes that may now have room, or lost it from sight. Sorted, without repetition.
    pub nodes: Vec<NodeId>,
    /// A node came, went or came back.
    pub reach_changed: bool,
    /// The data of a volume is nowhere any more: any node may take who was kept from it.
    pub volumes_freed: bool,
    /// How many parts of a plan had become stale and were refused.
    pub refused: u32,
}

impl Touched {
    pub(crate) fn finish(mut self) -> Touched {
        self.workloads.sort_unstable();
        self.workloads.dedup();
        self.forgetful.sort_unstable();
        self.forgetful.dedup();
        self.tasks.sort_unstable();
        self.tasks.dedup();
        self.nodes.sort_unstable();
        self.nodes.dedup();
        self
    }
}

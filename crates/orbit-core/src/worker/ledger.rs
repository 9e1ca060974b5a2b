//! What a worker must remember across a crash because no label can say it.

use crate::model::{ClusterId, Millis, NodeUid, TaskId, TaskReport, Time};
use std::collections::{BTreeMap, BTreeSet};

/// The worker's durable memory. Small: the rest is read from the containers' labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The node's own ID, drawn when the ledger was made.
    pub node: NodeUid,
    /// The cluster that the node joined, once it has been welcomed.
    pub cluster: Option<ClusterId>,
    /// The highest (epoch, term) seen.
    pub seen: (u32, u64),
    /// When the manager is known to have heard of this node: a later process of the worker counts timed fences from there.
    pub heard_of: Option<HeardOf>,
    /// What was begun and what has ended, by task, until the manager forgets the task.
    pub tasks: BTreeMap<TaskId, LedgerTask>,
    /// The images that this worker pulled: by reference, the ID that the engine gave. No others are ever removed.
    pub images: BTreeMap<String, String>,
    /// The volumes that were made here, by the engine's names: one that is not there any more is not made again, because
    /// it would be empty.
    pub volumes: BTreeSet<String>,
}

/// What is remembered of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerTask {
    /// A create was attempted. Attempted and absent means vanished: it is never created again.
    pub attempted: bool,
    /// The ID of its container, once the engine has said so.
    pub container: Option<String>,
    /// It has ended, and nothing may start it again.
    pub end: Option<TaskReport>,
    /// When it is to be stopped without an order: a process that was restarted has none until it is welcomed.
    pub fence: Option<TimedFence>,
    /// Its node has begun to stop it by itself. That is brought to its end, whatever is heard meanwhile, and is why it ended.
    pub fenced: bool,
}

/// When a message was sent that the manager is known to have received. It may lag behind a little, because not each is
/// written down, and is never too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardOf {
    /// The machine had been started as this: of another boot, the time says nothing, and its containers ended with it.
    pub boot: BootId,
    /// On the clock of that boot.
    pub at: Time,
}

/// A boot of a machine: all processes from one start of the machine to the next see the same, and one clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootId(pub u64);

/// A task that its node stops by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedFence {
    /// After so long without an acknowledged heartbeat.
    pub after: Millis,
    /// Between the signal and the kill.
    pub grace: Millis,
}

impl TimedFence {
    /// When it is stopped, if nothing is heard after this.
    pub fn passes_at(self, heard_of_at: Time) -> Time {
        heard_of_at + self.after
    }
}

/// A change of the ledger. It is durable before any later action of the same step is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerWrite {
    /// The node was welcomed.
    Seen {
        /// By this cluster.
        cluster: ClusterId,
        /// At this (epoch, term).
        seen: (u32, u64),
    },
    /// The manager has heard of this node: written while the node has tasks with a timed fence.
    HeardOf(HeardOf),
    /// A container is about to be created for this task.
    Attempted(TaskId),
    /// This task has this container, by its ID.
    Created(TaskId, String),
    /// Its node stops this task by itself, should it hear of nobody.
    Fence(TaskId, TimedFence),
    /// It is about to.
    Fenced(TaskId),
    /// The task has ended.
    Ended(TaskReport),
    /// The manager has forgotten the task, and its container is gone.
    Forgotten(TaskId),
    /// An image was pulled.
    ImagePulled {
        /// By this reference.
        image: String,
        /// It has this ID.
        id: String,
    },
    /// It is gone.
    ImageForgotten(String),
    /// This volume is there, and something may be written to it.
    VolumeMade(String),
}

impl Ledger {
    /// An empty ledger of a node that has never been welcomed.
    pub fn new(node: NodeUid) -> Ledger {
        let (tasks, images, volumes) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Ledger { node, cluster: None, seen: (0, 0), heard_of: None, tasks, images, volumes }
    }

    /// How many tasks this node stops by itself, should it hear of nobody: as long as a worker runs.
    pub fn fences(&self) -> usize {
        self.open_fences().count()
    }

    /// The fences of tasks that have not ended.
    pub(super) fn open_fences(&self) -> impl Iterator<Item = TimedFence> {
        self.tasks.values().filter(|task| task.end.is_none()).filter_map(|task| task.fence)
    }

    /// Carries out one change. Applying it twice equals once.
    pub fn apply(&mut self, write: &LedgerWrite) {
        match write {
            LedgerWrite::Seen { cluster, seen } => {
                self.cluster = Some(*cluster);
                self.seen = self.seen.max(*seen);
            }
            LedgerWrite::HeardOf(heard_of) => self.heard_of = Some(*heard_of),
            LedgerWrite::Attempted(task) => self.tasks.entry(*task).or_default().attempted = true,
            LedgerWrite::Created(task, container) => {
                self.tasks.entry(*task).or_default().container = Some(container.clone());
            }
            LedgerWrite::Fence(task, fence) => self.tasks.entry(*task).or_default().fence = Some(*fence),
            LedgerWrite::Fenced(task) => self.tasks.entry(*task).or_default().fenced = true,
            LedgerWrite::Ended(report) => {
                self.tasks.entry(report.task).or_default().end.get_or_insert_with(|| report.clone());
            }
            LedgerWrite::Forgotten(task) => {
                self.tasks.remove(task);
            }
            LedgerWrite::ImagePulled { image, id } => {
                self.images.insert(image.clone(), id.clone());
            }
            LedgerWrite::ImageForgotten(image) => {
                self.images.remove(image);
            }
            LedgerWrite::VolumeMade(volume) => {
                self.volumes.insert(volume.clone());
            }
        }
    }
}

//! The objects that the REST API answers with.
//!
//! Desired state stands beside actual state in each of them.

use crate::{
    Manifest,
    manifest::{ManifestProtocol, ManifestResources},
    quantity::Span,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A page of a list, in key order. Pages are not one snapshot.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// The index of the last log entry that this page has seen.
    pub revision: u64,
    /// The objects.
    pub items: Vec<T>,
    /// Give this as `continue` to have the next page; absent on the last.
    #[serde(rename = "continue", default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A service.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// Unique among services.
    pub name: String,
    /// Another one for each creation under the same name.
    pub uid: String,
    /// The index of the log entry that changed the definition last: the ETag.
    pub revision: u64,
    /// Counts the changes of what runs.
    pub version: u32,
    /// When it was created (RFC 3339).
    pub created_at: String,
    /// Desired state: what was submitted, with every default written out.
    pub desired: Manifest,
    /// Actual state.
    pub actual: ServiceStatus,
    /// How the current version takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// A version of a service taking the place of another.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rollout {
    /// `running`, `paused`, `canary` (it waits to be promoted), `failed`, `done`; of one that takes the place back
    /// from a version that failed, `rolling_back` and `rolled_back`.
    pub state: String,
    /// Since when (RFC 3339).
    pub since: String,
    /// When it fails unless more replicas serve by then (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// The version that served in every replica last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<u32>,
    /// The version that failed, whose place the current one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<u32>,
    /// More, in one sentence; may be empty.
    pub message: String,
}

/// One version of a service that is remembered.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// Its number.
    pub version: u32,
    /// When it was made (RFC 3339).
    pub created_at: String,
    /// What runs now, or is to.
    pub current: bool,
    /// It has served in every replica.
    pub stable: bool,
    /// It is as the one before it: somebody wanted its tasks replaced.
    pub restart: bool,
    /// What its image means, once a node has had it: all its tasks run these bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Its spec, with the present labels, replicas and update.
    pub desired: Manifest,
}

/// What a rollout is undone to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    /// A version that is remembered; without one, the last one before the current one that served in every replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

/// What there is of a service.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ServiceStatus {
    /// Tasks that run, of any version. What runs on a node that is unreachable is not among them, nor among those below:
    /// nobody knows whether it does.
    pub running: u32,
    /// Of those, tasks that serve: all their probes pass. They are the endpoints of the service.
    #[serde(default)]
    pub ready: u32,
    /// Of those, tasks of the current version.
    #[serde(default)]
    pub updated: u32,
    /// Of those that are ready, tasks of any version that have been so for `update.min_healthy`.
    #[serde(default)]
    pub available: u32,
    /// Tasks that ran when their node was heard last, which is unreachable now.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unreachable: u32,
    /// Tasks on their way to running.
    pub starting: u32,
    /// Tasks that wait for a node.
    pub pending: u32,
    /// Tasks on their way out.
    pub stopping: u32,
    /// How often in a row tasks have ended by themselves, in the slot where that is highest.
    pub failures: u32,
    /// What stands between desired and actual, in one sentence; empty when they agree.
    pub message: String,
}

impl ServiceStatus {
    /// Tasks that run and do not serve.
    pub fn unready(&self) -> u32 {
        self.running.saturating_sub(self.ready)
    }
    /// Whether exactly the wanted replicas run, all in the current version, and all of them serve. Whether its rollout is
    /// done as well, which takes time, is for the core to say: [`Rollout::state`].
    pub fn is_settled(&self, wanted: u32) -> bool {
        self.updated == wanted && self.running == wanted
    }
}

/// A task definition: one run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskDefinition {
    /// Unique among task definitions.
    pub name: String,
    /// Another one for each creation under the same name.
    pub uid: String,
    /// The index of the log entry that changed the definition last.
    pub revision: u64,
    /// When it was created (RFC 3339).
    pub created_at: String,
    /// Desired state: what was submitted, with every default written out.
    pub desired: Manifest,
    /// The newest attempt.
    pub attempt: Option<Task>,
}

/// The answer to a submitted task definition.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The index of the log entry that created it.
    pub revision: u64,
    /// The ID of its first attempt.
    pub task: String,
    /// False if it stood already.
    pub created: bool,
}

/// The answer to a stored service.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The index of the log entry that changed the definition last: the ETag.
    pub revision: u64,
    /// The number of its current version.
    pub version: u32,
    /// It did not exist before.
    pub created: bool,
    /// The request changed something.
    pub changed: bool,
    /// What it changed, or would change, of an object that was there: at most 100 fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<crate::Difference>,
}

/// A task: one attempt to fill a slot.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// `epoch.index.ordinal`
    pub id: String,
    /// `service` or `task`: the kind of object it belongs to.
    pub kind: String,
    /// The name of that object.
    pub name: String,
    /// Which of its slots it fills.
    pub slot: u32,
    /// Of which version it is.
    pub version: u32,
    /// The image.
    pub image: String,
    /// The node's name, once it has one.
    pub node: Option<String>,
    /// Desired state: `running` or `stopped`.
    pub desired: String,
    /// Actual state, as last observed.
    pub actual: String,
    /// Its node is not heard: the actual state may be out of date.
    pub unreachable: bool,
    /// Why it ended, or why it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The process's exit code, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// More about the reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What is set aside for it on its node, and what it may take at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ManifestResources>,
    /// Published ports.
    pub ports: Vec<TaskPort>,
    /// When it was created (RFC 3339).
    pub created_at: String,
    /// When it was first seen running (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_at: Option<String>,
    /// Whether its probes pass, while it runs; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// When it was seen to have ended (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}

/// A published port of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskPort {
    /// Its name in the manifest.
    pub name: String,
    /// The port inside the container.
    pub container: u16,
    /// The port of the node, once the task has one.
    pub host: Option<u16>,
    /// Absent: TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ManifestProtocol>,
    /// On which of the node's addresses; absent: as its worker is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
}

/// Where a service is reached now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoints {
    /// The service's name.
    pub name: String,
    /// The index of the last log entry that this has seen.
    pub revision: u64,
    /// One for each task that runs, whose probes pass, that was not told to stop and has a node that is heard. By
    /// slot.
    pub items: Vec<Endpoint>,
}

/// A task that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// Its ID.
    pub task: String,
    /// Which of the service's slots it fills.
    pub slot: u32,
    /// Of which version it is.
    pub version: u32,
    /// The node's name.
    pub node: String,
    /// Where others reach the node's ports; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Published ports: reach `host` at the address.
    pub ports: Vec<TaskPort>,
}

/// A volume, and where its data is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Volume {
    /// Unique in the cluster.
    pub name: String,
    /// What it is, whatever its name: one that was given up and is used again is another.
    pub uid: String,
    /// The node on which its data is.
    pub node: String,
    /// What the engine of that node calls it.
    pub engine_name: String,
    /// The tasks that use it and were not seen to end.
    pub tasks: Vec<String>,
    /// What keeps tasks from using it; empty where nothing does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when its data is there.
    pub bound_at: String,
}

/// A node.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Unique in the cluster.
    pub name: String,
    /// The node's own ID.
    pub uid: String,
    /// `ready` or `unreachable`.
    pub state: String,
    /// What an operator wants of it: `active`, `cordoned` (no more tasks), `draining` (its tasks go), or
    /// `drained` (they are gone).
    #[serde(default = "active", skip_serializing_if = "is_active")]
    pub duty: String,
    /// When whatever is left on it is told to stop (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_deadline: Option<String>,
    /// What follows from its state, in one sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For constraints.
    pub labels: BTreeMap<String, String>,
    /// For example `amd64`.
    pub arch: String,
    /// For example `linux`.
    pub os: String,
    /// Of its worker; empty where that does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub worker_version: String,
    /// Of its container engine, for example `Docker 28.2.2`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub engine_version: String,
    /// What its operator allows beyond what every container has, for example `host:/srv`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// What tasks may use in all.
    pub allocatable: Amount,
    /// What its tasks hold.
    pub used: Amount,
    /// Its tasks that have not ended.
    pub tasks: u32,
    /// Where others reach the ports of its tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// When it registered first (RFC 3339).
    pub registered_at: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn active() -> String {
    "active".to_string()
}
fn is_active(duty: &String) -> bool {
    duty == "active"
}

/// How a node is drained.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// After which time whatever is left is told to stop, for example `5m`; without it, nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
}

/// An amount of resources.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Amount {
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Bytes.
    pub memory_bytes: u64,
}

/// The new number of replicas of a service.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// How many.
    pub replicas: u32,
}

/// Something that was done or happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// The index of the log entry that did it.
    pub revision: u64,
    /// When (RFC 3339).
    pub at: String,
    /// Who asked for it: `local` (whoever reaches the API), `worker` (what a node observed), `manager` (what the desired
    /// state asks for), or `unknown` where that was not recorded.
    #[serde(default)]
    pub actor: String,
    /// What: `created`, `placed`, `failed`, …; programs match on it.
    pub reason: String,
    /// Whether a person should look at it.
    pub warning: bool,
    /// `service`, `task` (a definition) or `node`.
    pub kind: String,
    /// The name of the object.
    pub name: String,
    /// The attempt that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// More, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What a watcher is told, one a message.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Change<T> {
    /// What became of the object.
    #[serde(rename = "type")]
    pub kind: ChangeKind,
    /// As it is now; of a deleted one only what names it.
    pub object: T,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new to the watcher.
    Added,
    /// It is not as it was.
    Modified,
    /// It is gone, or what the watcher asked for does not hold of it any more.
    Deleted,
}

/// Several objects, stored one after the other.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The objects.
    pub items: Vec<Manifest>,
}

/// What came of several objects: one for each, in order.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// Each with its answer.
    pub items: Vec<AppliedItem>,
}

/// What came of one of several objects.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AppliedItem {
    /// `service` or `task`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The index of the log entry that changed it last; 0 where it was refused, or would be new.
    pub revision: u64,
    /// It did not exist before.
    pub created: bool,
    /// The request changed something, or would.
    pub changed: bool,
    /// What it changed, or would change, of an object that was there: at most 100 fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<crate::Difference>,
    /// Why it was refused. The objects behind it were not tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<crate::Problem>,
}

/// What nodes have from before a restore that the backup did not know. Its specs are known to nobody any more.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UnknownTasks {
    /// What becomes of it: `held` (left alone until somebody decides), `adopted` (left alone for good) or `removed`.
    pub decision: String,
    /// How many tasks are left alone.
    pub count: u32,
    /// Where, by node.
    pub nodes: Vec<UnknownOnNode>,
}

/// What one node has that a restored manager does not know.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UnknownOnNode {
    /// The node.
    pub node: String,
    /// How many tasks.
    pub count: u32,
    /// Their IDs, which their containers' names end with. Of all nodes together, the first 1,000 are listed.
    pub tasks: Vec<String>,
}

/// What becomes of tasks that a restored manager does not know.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleUnknown {
    /// What is done with them.
    pub action: SettleAction,
}

/// What is done with tasks that a restored manager does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettleAction {
    /// They are left as they are, for good: nothing starts them again, and nothing removes them.
    Adopt,
    /// Their containers are stopped and removed.
    Remove,
}

//! The manifest: one YAML or JSON document per object, several in one file. Here: what may stand in it.
//!
//! Unknown keys are errors that name the key and its line; so are keys that are documented but not
//! built yet. [`read_all`] and its siblings read a text; [`Manifest::definition`] gives the core's own units, after its
//! validation, and [`Manifest::of`] the way back.

mod after;
mod definition;
mod host_access;
mod read;
mod setup;
mod strict;
#[cfg(test)]
mod tests;

use crate::quantity::{Cpu, Memory, Span};
pub use after::{ManifestAfter, ManifestUntil};
pub use host_access::{ManifestAccess, ManifestDevice, ManifestNetwork, ManifestVolume};
pub use read::{ReadError, read_all, read_documents, read_json};
use serde::{Deserialize, Serialize};
use setup::is_false;
pub use setup::{
    ManifestBounds, ManifestCapabilities, ManifestDns, ManifestLimits, ManifestLogging, ManifestSecurity,
    ManifestTmpfs, ManifestUlimit, ManifestUnconfined,
};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What a task gets when its manifest does not say: a tenth of a processor.
pub const DEFAULT_CPU: Cpu = Cpu { millis: 100 };
/// What a task gets when its manifest does not say.
pub const DEFAULT_MEMORY: Memory = Memory { bytes: 128 << 20 };
/// How many processes and threads a task may have when its manifest does not say.
pub const DEFAULT_PIDS: u32 = 512;
/// How long a container has between the stop signal and the kill when its manifest does not say.
pub const DEFAULT_GRACE: Span = Span { millis: 10_000 };
/// How long a new task of a service has to run before the next one's turn comes, when its manifest does not say.
pub const DEFAULT_MIN_HEALTHY: Span = Span { millis: 10_000 };
/// How long a rollout may go without another replica that serves, when its manifest does not say.
pub const DEFAULT_DEADLINE: Span = Span { millis: 600_000 };
/// How many attempts of a version that never came to serve may fail, when its manifest does not say.
pub const DEFAULT_MAX_FAILURES: u32 = 3;

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What it is.
    pub kind: ManifestKind,
    /// Unique among the objects of its kind: lower-case letters, digits and hyphens.
    pub name: String,
    /// For selection by people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How many replicas are kept running (services only). If it does not say: as many as before, and 1 of a new service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// The image's reference as Docker reads it.
    pub image: String,
    /// When it is pulled; `missing` if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<ManifestPull>,
    /// Overrides the image's entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Overrides the image's arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// `user` or `user:group`, names of the image or numbers; the image's own if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// An absolute path; the image's own if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// What the container takes itself for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// A small first process reaps what its children leave behind, and hands signals on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub init: bool,
    /// Its output is a terminal.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tty: bool,
    /// Its input stays open.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stdin: bool,
    /// What is set aside for it, and what it may take at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ManifestResources>,
    /// Data that outlives it: volumes; and folders and files of its node, where the node's operator allows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<ManifestVolume>,
    /// Folders in memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<ManifestTmpfs>,
    /// Size of `/dev/shm`; 64Mi if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<Memory>,
    /// What its processes may not do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<ManifestSecurity>,
    /// Devices of its node, where the node's operator allows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<ManifestDevice>,
    /// In which network it is; in one of its engine if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<ManifestNetwork>,
    /// Bounds of the kernel on each of its processes, for example `{nofile: 65536}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, ManifestUlimit>,
    /// Settings of the kernel that each container has for itself, for example `net.core.somaxconn`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// More names of hosts, and the address of each; `host-gateway` is the node's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_hosts: BTreeMap<String, String>,
    /// Whom it asks for names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<ManifestDns>,
    /// How its log is kept; as the worker is set if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<ManifestLogging>,
    /// Labels of the container, for other tools that look at the engine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub container_labels: BTreeMap<String, String>,
    /// Published ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ManifestPort>,
    /// What has to be there before its tasks are placed, as long as its version has not been stable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<ManifestAfter>,
    /// Where tasks may and should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<ManifestPlacement>,
    /// What follows when a task ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<ManifestRestart>,
    /// How a new version takes the place of the old one (services only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<ManifestUpdate>,
    /// How a running task is asked whether it is well (services only). Where it fails, the task is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<ManifestProbe>,
    /// How a running task is asked whether it is ready (services only). Where it fails, the task leaves the endpoints
    /// until it passes again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<ManifestProbe>,
    /// What follows when a task's node is not heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect: Option<ManifestDisconnect>,
    /// How a task is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<ManifestStop>,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ManifestKind {
    /// A number of replicas, kept running.
    Service,
    /// One run.
    Task,
}

/// When a task's image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManifestPull {
    /// When the node does not have it.
    #[default]
    Missing,
    /// Before every task, in case the registry has another one under the same tag.
    Always,
    /// Never: a node that does not have it cannot run the task.
    Never,
}

/// What is set aside for a task on its node, and what it may take at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestResources {
    /// 100m if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// 128Mi if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Processes and threads; 512 if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// What it may take at most. What is not said is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ManifestLimits>,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestPort {
    /// Unique within the object.
    pub name: String,
    /// The port inside the container.
    #[schema(minimum = 1, maximum = 65535)]
    pub container: u16,
    /// The node's port; one is chosen and reported if it does not say.
    #[schema(minimum = 1, maximum = 65535)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<u16>,
    /// `tcp` if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ManifestProtocol>,
    /// On which of the node's addresses; as the worker is set if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
}

/// Which protocol of a port is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManifestProtocol {
    /// TCP.
    Tcp,
    /// UDP, which no probe can ask.
    Udp,
    /// Both under one number, as DNS and HTTP/3 need them.
    Both,
}

/// Where tasks may and should run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestPlacement {
    /// `binpack` if it does not say.
    #[serde(default)]
    pub strategy: ManifestStrategy,
    /// For example `node.labels.disk == ssd`; all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<String>,
}

/// Which of the possible nodes is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManifestStrategy {
    /// The fullest node on which the task still fits.
    #[default]
    Binpack,
    /// The node with the fewest tasks of the same service, then the least loaded one.
    Spread,
}

/// What follows when a task ends by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestRestart {
    /// A service is always restarted; a task never, unless it says `on_failure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ManifestPolicy>,
    /// How long to wait before the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<ManifestBackoff>,
}

/// When another attempt follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManifestPolicy {
    /// Whatever the exit code.
    Always,
    /// After a failure.
    OnFailure,
    /// Never.
    Never,
}

/// How long to wait before the next attempt: doubled with every failure in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestBackoff {
    /// 1s if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Span>,
    /// 5m if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Span>,
    /// A task that ran this long starts the row again; 10m if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_after: Option<Span>,
    /// So many hundredths of the delay at most are added to it at random, 0 to 100; an eighth if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<u32>,
}

/// What becomes of a task whose node is not heard. It is part of what runs: a change replaces the tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestDisconnect {
    /// It is replaced when its node has been silent for so long; if it does not say, as the manager is set (10s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_after: Option<Span>,
    /// Which of the two stays when the node returns; replacement if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<ManifestKeep>,
    /// What keeps the two from running at the same time; none if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<ManifestFence>,
}

/// Which task stays when a silent node returns with one that was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManifestKeep {
    /// The one that took its place, if it serves.
    Replacement,
    /// The one that was there before, if it serves.
    Original,
}

/// What has to be known of a task before another takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManifestFence {
    /// Nothing: both may run while its node is silent.
    None,
    /// A node that does not hear of its manager stops it by itself, before it is replaced.
    Timed,
    /// It was seen to have ended, or its node was forgotten. Silence alone replaces nothing.
    Confirmed,
}

/// How a new version takes the place of the old one, slot by slot. A spec that pins a host port is
/// always replaced by stopping the old task first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestUpdate {
    /// So many replicas at a time have a new task beside the old one; 1 if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<u32>,
    /// So many replicas at a time may be without a task that serves; 0 if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<u32>,
    /// A new task counts once it has run for so long; 10s if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_healthy: Option<Span>,
    /// So many replicas come first, and the others follow once somebody has promoted them; 0 if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<u32>,
    /// The rollout fails when for so long no more replicas came to serve; 10m if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// The rollout fails, too, when so many attempts of its version have failed, none came to serve for `min_healthy`, and
    /// there is an older version to return to; 3 if it does not say, 0 is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failures: Option<u32>,
    /// What follows then; rollback if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<ManifestOnFailure>,
}

/// What becomes of a rollout that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManifestOnFailure {
    /// The last version that served in every replica takes its place back.
    Rollback,
    /// It stands still where it is.
    Pause,
}

/// A question that a running task is asked again and again: one of `http`, `tcp` and `command`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestProbe {
    /// A `GET` that has to be answered with a status below 400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<ManifestHttpProbe>,
    /// A connection that has to be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<ManifestTcpProbe>,
    /// A command in the container that has to end with exit code 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Between two questions; 5s if it does not say. A task that starts is asked more often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// How long an answer may take; 2s if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// So many failures in a row count; 3 if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Before the first success no failure counts for so long; 10s if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<Span>,
}

/// A `GET` that has to be answered with a status below 400.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestHttpProbe {
    /// One of the object's ports, by its name. It is asked inside the container.
    pub port: String,
    /// `/` if it does not say.
    #[serde(default = "root_path")]
    pub path: String,
}

fn root_path() -> String {
    "/".to_string()
}

/// A connection that has to be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestTcpProbe {
    /// One of the object's ports, by its name. It is asked inside the container.
    pub port: String,
}

/// How a task is stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestStop {
    /// Between leaving the endpoints and the stop signal; 0s if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// `SIGQUIT`, for example; the image's own if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Between the stop signal and the kill; 10s if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
}

//! The manifest: one YAML or JSON document per object, several in one file.
//!
//! Unknown keys are errors that name the key and its line; so are keys that are documented but not
//! built yet. [`Manifest::definition`] gives the core's own units, [`Manifest::of`] the way back.

use crate::quantity::{Cpu, Memory, Span};
use orbit_core::model::{
    Constraint, Definition, Disconnect, Fence, Keep, Kind, Millis, OnFailure, Placement, Port, Probe, ProbeAsk,
    ProbeKind, Probes, Pull, Rejection, Resources, Restart, RestartPolicy, Spec, Stop, Strategy, Update,
};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
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
    /// How many replicas are kept running (services only; 1 if it does not say).
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
    /// Requests, which are the limits as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ManifestResources>,
    /// Published ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ManifestPort>,
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

/// Requests, which are the limits as well.
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

impl ManifestProbe {
    fn probe(&self, kind: ProbeKind) -> Result<Box<Probe>, Rejection> {
        let ask = match (&self.http, &self.tcp, &self.command[..]) {
            (Some(http), None, []) => ProbeAsk::Http { port: http.port.clone(), path: http.path.clone() },
            (None, Some(tcp), []) => ProbeAsk::Tcp { port: tcp.port.clone() },
            (None, None, [_, ..]) => ProbeAsk::Command(self.command.clone()),
            (None, None, []) => {
                return Err(Rejection::invalid(kind.as_str(), "what is asked? One of http, tcp and command is needed"));
            }
            _ => return Err(Rejection::invalid(kind.as_str(), "only one of http, tcp and command is asked")),
        };
        let default = Probe::asking(ask);
        let or = |given: Option<Span>, default: Millis| given.map_or(default, |span| Millis(span.millis));
        Ok(Box::new(Probe {
            interval: or(self.interval, default.interval),
            timeout: or(self.timeout, default.timeout),
            retries: self.retries.unwrap_or(default.retries),
            start_period: or(self.start_period, default.start_period),
            ask: default.ask,
        }))
    }

    /// The manifest of a probe, with every default written out.
    fn of(probe: &Probe) -> ManifestProbe {
        let span = |millis: Millis| Some(Span { millis: millis.0 });
        let with_times = ManifestProbe {
            interval: span(probe.interval),
            timeout: span(probe.timeout),
            retries: Some(probe.retries),
            start_period: span(probe.start_period),
            ..ManifestProbe::default()
        };
        match &probe.ask {
            ProbeAsk::Http { port, path } => {
                let http = ManifestHttpProbe { port: port.clone(), path: path.clone() };
                ManifestProbe { http: Some(http), ..with_times }
            }
            ProbeAsk::Tcp { port } => {
                ManifestProbe { tcp: Some(ManifestTcpProbe { port: port.clone() }), ..with_times }
            }
            ProbeAsk::Command(command) => ManifestProbe { command: command.clone(), ..with_times },
        }
    }
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

/// Why a file is no list of manifests. One sentence, with the line where it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError(pub String);

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for ReadError {}

/// Reads all documents of a YAML (or JSON) text. Empty documents are passed over.
///
/// # Errors
/// The first thing that is wrong, with its line; also when there is no document at all.
pub fn read_all(text: &str) -> Result<Vec<Manifest>, ReadError> {
    let manifests: Vec<_> = read_documents(text).into_iter().map(|(_, manifest)| manifest).collect::<Result<_, _>>()?;
    if manifests.is_empty() {
        return Err(ReadError("no manifest in it".to_string()));
    }
    Ok(manifests)
}

/// Reads each document of a YAML (or JSON) text by itself, with its number in the text (from 1).
/// Empty documents are counted and passed over; what is no YAML ends the text.
pub fn read_documents(text: &str) -> Vec<(usize, Result<Manifest, ReadError>)> {
    let mut manifests = Vec::new();
    let documents = || serde_yaml_ng::Deserializer::from_str(text);
    for (number, (document, again)) in (1..).zip(documents().zip(documents())) {
        // The parser goes on after a document that it could not read to its end, and says so twice.
        if let Err(error) = IgnoredAny::deserialize(document) {
            manifests.push((number, Err(ReadError(error.to_string()))));
            break;
        }
        let manifest = Option::<Manifest>::deserialize(again);
        manifests.extend(manifest.transpose().map(|read| (number, read.map_err(|e| ReadError(e.to_string())))));
    }
    manifests
}

/// Reads one JSON document: a manifest, or what else a request may have for its body.
///
/// # Errors
/// A rejection with the path of the offending field.
pub fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Rejection> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        // `.` is the document itself, `?` a place in it that has no name yet.
        let path = error.path().to_string();
        let field = path.trim_end_matches(['.', '?']).to_string();
        Rejection::invalid(field, error.into_inner().to_string())
    })?;
    json.end().map_err(|error| Rejection::invalid("", error.to_string()))?;
    Ok(value)
}

impl Manifest {
    /// The core's own form.
    ///
    /// # Errors
    /// The first field that cannot be read or is outside its limits.
    pub fn definition(&self) -> Result<Definition, Rejection> {
        let kind = match self.kind {
            ManifestKind::Service => Kind::Service,
            ManifestKind::Task => Kind::Task,
        };
        if kind == Kind::Task && self.replicas.is_some() {
            return Err(Rejection::invalid("replicas", "a task runs once: it has no replicas (use kind: Service)"));
        }
        if kind == Kind::Task && self.update.is_some() {
            return Err(Rejection::invalid("update", "a task runs once: it is not updated (use kind: Service)"));
        }
        let resources = self.resources.clone().unwrap_or_default();
        let definition = Definition {
            kind,
            name: self.name.clone(),
            labels: self.labels.clone(),
            replicas: self.replicas.unwrap_or(1),
            update: self.update(kind),
            spec: Spec {
                image: self.image.clone(),
                pull: match self.pull.unwrap_or_default() {
                    ManifestPull::Missing => Pull::Missing,
                    ManifestPull::Always => Pull::Always,
                    ManifestPull::Never => Pull::Never,
                },
                command: self.command.clone(),
                args: self.args.clone(),
                env: self.env.clone(),
                resources: Resources {
                    cpu_millis: resources.cpu.unwrap_or(DEFAULT_CPU).millis,
                    memory_bytes: resources.memory.unwrap_or(DEFAULT_MEMORY).bytes,
                },
                pids_max: resources.pids.unwrap_or(DEFAULT_PIDS),
                ports: self
                    .ports
                    .iter()
                    .map(|p| Port { name: p.name.clone(), container: p.container, host: p.host })
                    .collect(),
                placement: self.placement()?,
                restart: self.restart(kind),
                stop: self.stop(),
                probes: self.probes()?,
                disconnect: self.disconnect(),
            },
        };
        definition.validate()?;
        Ok(definition)
    }

    fn placement(&self) -> Result<Placement, Rejection> {
        let placement = self.placement.clone().unwrap_or_default();
        let strategy = match placement.strategy {
            ManifestStrategy::Binpack => Strategy::Binpack,
            ManifestStrategy::Spread => Strategy::Spread,
        };
        let constraints = placement.constraints.iter().enumerate().map(|(i, text)| {
            Constraint::parse(text).map_err(|e| Rejection::invalid(format!("placement.constraints[{i}]"), e))
        });
        Ok(Placement { strategy, constraints: constraints.collect::<Result<_, _>>()? })
    }

    fn update(&self, kind: Kind) -> Update {
        if kind == Kind::Task {
            return Update::ONE_BY_ONE;
        }
        let given = self.update.clone().unwrap_or_default();
        let Update { max_surge, max_unavailable, .. } = Update::ONE_BY_ONE;
        Update {
            max_surge: given.max_surge.unwrap_or(max_surge),
            max_unavailable: given.max_unavailable.unwrap_or(max_unavailable),
            min_healthy: Millis(given.min_healthy.unwrap_or(DEFAULT_MIN_HEALTHY).millis),
            canary: given.canary.unwrap_or(0),
            deadline: Some(Millis(given.deadline.unwrap_or(DEFAULT_DEADLINE).millis)),
            on_failure: match given.on_failure {
                None | Some(ManifestOnFailure::Rollback) => OnFailure::Rollback,
                Some(ManifestOnFailure::Pause) => OnFailure::Pause,
            },
        }
    }

    fn probes(&self) -> Result<Probes, Rejection> {
        let read = |given: &Option<ManifestProbe>, kind| given.as_ref().map(|probe| probe.probe(kind)).transpose();
        Ok(Probes { health: read(&self.health, ProbeKind::Health)?, ready: read(&self.ready, ProbeKind::Ready)? })
    }

    fn disconnect(&self) -> Disconnect {
        let given = self.disconnect.clone().unwrap_or_default();
        Disconnect {
            replace_after: given.replace_after.map(|span| Millis(span.millis)),
            keep: match given.keep {
                None | Some(ManifestKeep::Replacement) => Keep::Replacement,
                Some(ManifestKeep::Original) => Keep::Original,
            },
            fence: match given.fence {
                None | Some(ManifestFence::None) => Fence::None,
                Some(ManifestFence::Timed) => Fence::Timed,
                Some(ManifestFence::Confirmed) => Fence::Confirmed,
            },
        }
    }

    fn stop(&self) -> Stop {
        let given = self.stop.clone().unwrap_or_default();
        let or = |given: Option<Span>, default: Span| Millis(given.unwrap_or(default).millis);
        Stop { delay: or(given.delay, Span { millis: 0 }), signal: given.signal, grace: or(given.grace, DEFAULT_GRACE) }
    }

    fn restart(&self, kind: Kind) -> Restart {
        let given = self.restart.clone().unwrap_or_default();
        let policy = match (given.policy, kind) {
            (Some(ManifestPolicy::Always), _) | (None, Kind::Service) => RestartPolicy::Always,
            (Some(ManifestPolicy::OnFailure), _) => RestartPolicy::OnFailure,
            (Some(ManifestPolicy::Never), _) | (None, Kind::Task) => RestartPolicy::Never,
        };
        let default = Restart::with_policy(policy);
        let backoff = given.backoff.unwrap_or_default();
        let or = |given: Option<Span>, default: Millis| given.map_or(default, |span| Millis(span.millis));
        Restart {
            policy,
            backoff_initial: or(backoff.initial, default.backoff_initial),
            backoff_max: or(backoff.max, default.backoff_max),
            reset_after: or(backoff.reset_after, default.reset_after),
            jitter_percent: backoff.jitter,
        }
    }

    /// The manifest of a definition, with every default written out.
    pub fn of(definition: &Definition) -> Manifest {
        let spec = &definition.spec;
        let span = |millis: Millis| Some(Span { millis: millis.0 });
        Manifest {
            kind: match definition.kind {
                Kind::Service => ManifestKind::Service,
                Kind::Task => ManifestKind::Task,
            },
            name: definition.name.clone(),
            labels: definition.labels.clone(),
            replicas: (definition.kind == Kind::Service).then_some(definition.replicas),
            image: spec.image.clone(),
            pull: Some(match spec.pull {
                Pull::Missing => ManifestPull::Missing,
                Pull::Always => ManifestPull::Always,
                Pull::Never => ManifestPull::Never,
            }),
            command: spec.command.clone(),
            args: spec.args.clone(),
            env: spec.env.clone(),
            resources: Some(ManifestResources {
                cpu: Some(Cpu { millis: spec.resources.cpu_millis }),
                memory: Some(Memory { bytes: spec.resources.memory_bytes }),
                pids: Some(spec.pids_max),
            }),
            ports: spec
                .ports
                .iter()
                .map(|p| ManifestPort { name: p.name.clone(), container: p.container, host: p.host })
                .collect(),
            placement: Some(ManifestPlacement {
                strategy: match spec.placement.strategy {
                    Strategy::Binpack => ManifestStrategy::Binpack,
                    Strategy::Spread => ManifestStrategy::Spread,
                },
                constraints: spec.placement.constraints.iter().map(|c| c.to_string()).collect(),
            }),
            restart: Some(ManifestRestart {
                policy: Some(match spec.restart.policy {
                    RestartPolicy::Always => ManifestPolicy::Always,
                    RestartPolicy::OnFailure => ManifestPolicy::OnFailure,
                    RestartPolicy::Never => ManifestPolicy::Never,
                }),
                backoff: Some(ManifestBackoff {
                    initial: span(spec.restart.backoff_initial),
                    max: span(spec.restart.backoff_max),
                    reset_after: span(spec.restart.reset_after),
                    jitter: spec.restart.jitter_percent,
                }),
            }),
            update: (definition.kind == Kind::Service).then(|| ManifestUpdate {
                max_surge: Some(definition.update.max_surge),
                max_unavailable: Some(definition.update.max_unavailable),
                min_healthy: span(definition.update.min_healthy),
                canary: Some(definition.update.canary),
                deadline: definition.update.deadline.and_then(span),
                on_failure: Some(match definition.update.on_failure {
                    OnFailure::Rollback => ManifestOnFailure::Rollback,
                    OnFailure::Pause => ManifestOnFailure::Pause,
                }),
            }),
            health: spec.probes.health.as_deref().map(ManifestProbe::of),
            ready: spec.probes.ready.as_deref().map(ManifestProbe::of),
            disconnect: Some(ManifestDisconnect {
                replace_after: spec.disconnect.replace_after.and_then(span),
                keep: Some(match spec.disconnect.keep {
                    Keep::Replacement => ManifestKeep::Replacement,
                    Keep::Original => ManifestKeep::Original,
                }),
                fence: Some(match spec.disconnect.fence {
                    Fence::None => ManifestFence::None,
                    Fence::Timed => ManifestFence::Timed,
                    Fence::Confirmed => ManifestFence::Confirmed,
                }),
            })
            .filter(|_| spec.disconnect != Disconnect::default()),
            stop: Some(ManifestStop {
                delay: span(spec.stop.delay),
                signal: spec.stop.signal.clone(),
                grace: span(spec.stop.grace),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "
kind: Service
name: web
replicas: 3
image: nginx:1.27
pull: always
env: { MODE: production }
labels: { team: shop }
resources: { cpu: 250m, memory: 128Mi }
ports: [{ name: http, container: 80 }]
placement: { strategy: spread, constraints: [\"node.labels.disk == ssd\"] }
restart: { policy: always, backoff: { initial: 1s, max: 5m, reset_after: 10m, jitter: 20 } }
update: { max_surge: 2, max_unavailable: 1, min_healthy: 30s, canary: 1, deadline: 5m, on_failure: pause }
health: { http: { port: http, path: /healthz }, interval: 5s, timeout: 2s, retries: 3, start_period: 10s }
ready: { tcp: { port: http } }
disconnect: { replace_after: 30s, keep: original, fence: timed }
stop: { delay: 5s, signal: SIGQUIT, grace: 10s }
";

    #[test]
    fn a_manifest_becomes_a_definition_and_reads_back() {
        let manifest = read_all(WEB).unwrap().remove(0);
        let definition = manifest.definition().unwrap();
        assert_eq!(definition.spec.resources, Resources { cpu_millis: 250, memory_bytes: 128 << 20 });
        assert_eq!(definition.spec.placement.strategy, Strategy::Spread);
        assert_eq!(Manifest::of(&definition).definition().unwrap(), definition);
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let task = read_all("kind: Task\nname: once\nimage: a").unwrap().remove(0).definition().unwrap();
        assert_eq!((task.replicas, task.spec.restart.policy), (1, RestartPolicy::Never));
        let service = read_all("kind: Service\nname: web\nimage: a").unwrap().remove(0).definition().unwrap();
        assert_eq!(service.spec.restart, Restart::with_policy(RestartPolicy::Always));
        let update = Update {
            min_healthy: Millis::secs(10),
            deadline: Some(Millis::secs(600)),
            on_failure: OnFailure::Rollback,
            ..Update::ONE_BY_ONE
        };
        assert_eq!((task.update, service.update), (Update::ONE_BY_ONE, update));
        assert_eq!(service.spec.resources, Resources { cpu_millis: 100, memory_bytes: 128 << 20 });
    }

    #[test]
    fn several_documents_in_one_file() {
        let two = "kind: Task\nname: a\nimage: x\n---\n---\nkind: Task\nname: b\nimage: x\n";
        let names: Vec<_> = read_all(two).unwrap().into_iter().map(|m| m.name).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn each_document_is_read_by_itself() {
        let text = "kind: Task\nname: a\nimage: x\n---\n---\nkind: Pod\n---\nkind: Task\nname: b\nimage: x\n";
        let read = read_documents(text);
        let numbers: Vec<_> = read.iter().map(|(number, manifest)| (*number, manifest.is_ok())).collect();
        assert_eq!(numbers, [(1, true), (3, false), (4, true)]);
        let broken = read_documents("kind: Task\nname: a\nimage: x\n---\nname: [web\n---\nkind: Task\n");
        let read: Vec<_> = broken.iter().map(|(number, manifest)| (*number, manifest.is_ok())).collect();
        assert_eq!(read, [(1, true), (2, false)], "said once");
        let last = broken.last().map(|(_, manifest)| manifest.clone().unwrap_err().to_string()).unwrap();
        assert!(last.contains("did not find expected"), "what is no YAML ends the text: {last}");
    }

    /// Bad input gets one clear sentence that says where.
    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let base = "kind: Service\nname: web\nimage: nginx\n";
        let cases = [
            ("", "empty"),
            ("kind: Service\n  name: [", "broken yaml"),
            ("kind: Pod\nname: a\nimage: b", "unknown kind"),
            ("kind: Service\nname: a\nimgae: b", "unknown key"),
            ("name: a\nimage: b", "no kind"),
            (&format!("{base}priority: 50"), "documented, not built yet"),
            (&format!("{base}health: {{}}"), "a probe that asks nothing"),
            (&format!("{base}ready: {{ command: [a], tcp: {{ port: http }} }}"), "a probe that asks twice"),
            (&format!("{base}ready: {{ tcp: {{ port: http }} }}"), "a probe of no port"),
            (&format!("{base}ready: {{ command: [a], interval: 1ms }}"), "a probe that asks too often"),
            (&format!("{base}ready: {{ command: [a], retries: 0 }}"), "a probe that never fails"),
            (&format!("{base}disconnect: {{ fence: timed }}"), "a fence without a time"),
            (&format!("{base}disconnect: {{ fence: maybe }}"), "an unknown fence"),
            (&format!("{base}disconnect: {{ keep: both }}"), "an unknown choice"),
            (&format!("{base}disconnect: {{ replace_after: 10ms }}"), "replaced at once"),
            (&format!("{base}restart: {{ backoff: {{ jitter: 101 }} }}"), "more jitter than delay"),
            (
                &format!("{base}ports: [{{ name: a, container: 80 }}]\nhealth: {{ http: {{ port: a, path: x }} }}"),
                "a path without a slash",
            ),
            ("kind: Task\nname: a\nimage: b\nhealth: { command: [a] }", "task with a probe"),
            (&format!("{base}replicas: -1"), "negative"),
            (&format!("{base}replicas: 1000000"), "absurd"),
            (&format!("{base}replicas: three"), "no number"),
            (&format!("{base}resources: {{ cpu: 250Mi }}"), "wrong unit"),
            (&format!("{base}resources: {{ cpu: -1 }}"), "negative cpu"),
            (&format!("{base}resources: {{ cpu: 0 }}"), "zero cpu"),
            (&format!("{base}resources: {{ memory: 0 }}"), "zero memory"),
            (&format!("{base}resources: {{ memory: 128Q }}"), "unknown unit"),
            (&format!("{base}resources: {{ memory: 99999Ti }}"), "absurd memory"),
            (&format!("{base}resources: {{ pids: 0 }}"), "zero pids"),
            (&format!("{base}stop: {{ grace: 10 }}"), "span without unit"),
            (&format!("{base}update: {{ max_surge: 0 }}"), "an update that could not begin"),
            (&format!("{base}update: {{ max_surge: 0, max_unavailable: 0 }}"), "the same in full"),
            (&format!("{base}update: {{ max_surge: -1 }}"), "negative surge"),
            (&format!("{base}update: {{ max_unavailable: 200000 }}"), "absurd number unavailable"),
            (&format!("{base}update: {{ min_healthy: 48h }}"), "longer than a day"),
            (&format!("{base}update: {{ deadline: 5s }}"), "a deadline before anything could count"),
            (&format!("{base}update: {{ on_failure: retry }}"), "an unknown policy"),
            (&format!("{base}update: {{ canary: -1 }}"), "negative canaries"),
            ("kind: Task\nname: a\nimage: b\nupdate: { max_surge: 1 }", "task with an update"),
            (&format!("{base}restart: {{ backoff: {{ initial: 10m, max: 1m }} }}"), "max below initial"),
            (&format!("{base}restart: {{ policy: never }}"), "service that is not restarted"),
            (&format!("{base}ports: [{{ name: a, container: 80 }}, {{ name: a, container: 81 }}]"), "port name twice"),
            (&format!("{base}ports: [{{ name: a, container: 80 }}, {{ name: b, container: 80 }}]"), "port twice"),
            (
                &format!(
                    "{base}ports: [{{ name: a, container: 80, host: 8080 }}, {{ name: b, container: 81, host: 8080 }}]"
                ),
                "host port twice",
            ),
            (&format!("{base}ports: [{{ name: a, container: 0 }}]"), "port zero"),
            (&format!("{base}ports: [{{ name: a, container: 70000 }}]"), "port beyond the last"),
            (&format!("{base}placement: {{ constraints: [\"disk == ssd\"] }}"), "constraint on nothing"),
            (&format!("{base}placement: {{ strategy: random }}"), "unknown strategy"),
            ("kind: Service\nname: Web_1\nimage: b", "bad name"),
            ("kind: Service\nname: web\nimage: \"\"", "no image"),
            ("kind: Task\nname: a\nimage: b\nreplicas: 2", "task with replicas"),
            (&format!("{base}name: again"), "key twice"),
        ];
        let mut table = String::new();
        for (text, case) in cases {
            let said = match read_all(text) {
                Err(error) => error.to_string(),
                Ok(manifests) => match manifests[0].definition() {
                    Err(rejection) => rejection.to_string(),
                    Ok(_) => panic!("{case} was accepted"),
                },
            };
            table += &format!("{case}: {said}\n");
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn json_says_the_path_of_what_is_wrong() {
        let said = |body: &str| read_json::<Manifest>(body.as_bytes()).unwrap_err();
        let rejection = said(r#"{"kind":"Service","name":"a","image":"b","ports":[{"name":"x","container":-1}]}"#);
        assert_eq!(rejection.field, "ports[0].container");
        assert_eq!(said(r#"{"kind":"Service","name":"a","image":"b"} x"#).field, "");
        assert_eq!(said(r#"{"kind":"Service","#).field, "");
        assert!(said(r#"{"kind":"Service","nmae":"a"}"#).message.contains("nmae"));
    }
}

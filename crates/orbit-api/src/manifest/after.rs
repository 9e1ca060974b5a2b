//! What has to be there before the tasks of an object are placed.

use orbit_core::model::{After, Kind, Rejection, Until};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Another object, and how far it has to have come: a service or a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestAfter {
    /// A service, by its name. It need not exist yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// A task, by the name of its definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// How far; of a service `healthy`, and of a task `complete` if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<ManifestUntil>,
}

/// How far an object has to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManifestUntil {
    /// One of its tasks has run.
    Started,
    /// One of its tasks serves: it runs, and its probes pass (services only).
    Healthy,
    /// Its run came to a good end (tasks only).
    Complete,
}

impl ManifestAfter {
    /// # Errors
    /// Not exactly one object is named.
    pub(super) fn after(&self, i: usize) -> Result<After, Rejection> {
        let (kind, name) = match (&self.service, &self.task) {
            (Some(service), None) => (Kind::Service, service),
            (None, Some(task)) => (Kind::Task, task),
            _ => return Err(Rejection::invalid(format!("after[{i}]"), "name one: a `service` or a `task`")),
        };
        let usual = if kind == Kind::Service { ManifestUntil::Healthy } else { ManifestUntil::Complete };
        let until = match self.until.unwrap_or(usual) {
            ManifestUntil::Started => Until::Started,
            ManifestUntil::Healthy => Until::Healthy,
            ManifestUntil::Complete => Until::Complete,
        };
        Ok(After { kind, name: name.clone(), until })
    }

    pub(super) fn of(After { kind, name, until }: &After) -> ManifestAfter {
        let (service, task) = match kind {
            Kind::Service => (Some(name.clone()), None),
            Kind::Task => (None, Some(name.clone())),
        };
        let until = match until {
            Until::Started => ManifestUntil::Started,
            Until::Healthy => ManifestUntil::Healthy,
            Until::Complete => ManifestUntil::Complete,
        };
        ManifestAfter { service, task, until: Some(until) }
    }
}

//! Errors as RFC 9457 problem documents.

use orbit_core::model::{Code, Rejection};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A problem document (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The HTTP status again.
    pub status: u16,
    /// Stable: programs match on it.
    pub code: String,
    /// What kind of problem, for a person.
    pub title: String,
    /// What is wrong here and what to do.
    pub detail: String,
    /// The path of the offending field, where one is to blame.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

impl Problem {
    /// A problem of the HTTP layer, before any object was concerned.
    pub fn new(status: u16, code: &str, detail: impl Into<String>) -> Problem {
        let title = code.replace('_', " ");
        Problem { status, code: code.to_string(), title, detail: detail.into(), field: String::new() }
    }
}

/// The HTTP status of each code.
fn status(code: Code) -> u16 {
    match code {
        Code::Invalid => 400,
        Code::NotFound => 404,
        Code::NameInUse | Code::Conflict => 409,
        Code::RevisionConflict => 412,
        Code::KeyReused => 422,
        Code::LimitReached => 429,
        Code::StorageFull => 507,
        Code::NodeUnreachable | Code::Unavailable => 503,
        Code::Internal => 500,
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Problem {
        let Rejection { code, field, message } = rejection;
        Problem { field, ..Problem::new(status(code), code.as_str(), message) }
    }
}

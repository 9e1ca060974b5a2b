//! A user's mistake, as a value.

use std::fmt;

/// What kind of mistake. The text of a code is stable: programs match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// A field's value is outside its limits.
    Invalid,
    /// No object of that kind has the name or ID.
    NotFound,
    /// The name is held by another living object.
    NameInUse,
    /// The condition `If-Match` or `If-None-Match` does not hold.
    RevisionConflict,
    /// The idempotency key was used before, with another request.
    KeyReused,
    /// The object is in a state in which this cannot be done.
    Conflict,
    /// A limit of the whole cluster is reached.
    LimitReached,
    /// The node that has to answer is not reachable now.
    NodeUnreachable,
    /// The manager's disk is full: nothing was tried.
    StorageFull,
    /// This manager does not lead, or lost the lead while the request was under way.
    Unavailable,
    /// A bug of ours, which ended the request and nothing else.
    Internal,
}

impl Code {
    /// The stable text of the code.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Invalid => "invalid",
            Code::NotFound => "not_found",
            Code::NameInUse => "name_in_use",
            Code::RevisionConflict => "revision_conflict",
            Code::KeyReused => "idempotency_key_reused",
            Code::Conflict => "conflict",
            Code::LimitReached => "limit_reached",
            Code::NodeUnreachable => "node_unreachable",
            Code::StorageFull => "storage_full",
            Code::Unavailable => "unavailable",
            Code::Internal => "internal",
        }
    }
}

/// Why a request was refused: nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rejection {
    /// What kind of mistake.
    pub code: Code,
    /// The path of the offending field in the manifest, for example `ports[1].container`; empty
    /// where no single field is to blame.
    pub field: String,
    /// One sentence for a person: what is wrong and what to do.
    pub message: String,
}

impl Rejection {
    /// A rejection without a field.
    pub fn new(code: Code, message: impl Into<String>) -> Rejection {
        Rejection { code, field: String::new(), message: message.into() }
    }
    /// A field's value is outside its limits.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Rejection {
        Rejection { code: Code::Invalid, field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}
impl std::error::Error for Rejection {}

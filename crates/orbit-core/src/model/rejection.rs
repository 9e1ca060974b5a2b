//! A user's mistake, as a value.

use std::fmt;

/// Declares the codes once: the enum, all of them, and their text.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// What kind of mistake. The text of a code is stable: programs match on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The stable text of the code.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// A field's value is outside its limits.
    Invalid => "invalid",
    /// No object of that kind has the name or ID.
    NotFound => "not_found",
    /// The name is held by another living object.
    NameInUse => "name_in_use",
    /// The condition `If-Match` or `If-None-Match` does not hold.
    RevisionConflict => "revision_conflict",
    /// The idempotency key was used before, with another request.
    KeyReused => "idempotency_key_reused",
    /// The object is in a state in which this cannot be done.
    Conflict => "conflict",
    /// A limit of the whole cluster is reached.
    LimitReached => "limit_reached",
    /// The node that has to answer is not reachable now.
    NodeUnreachable => "node_unreachable",
    /// The manager's disk is full: nothing was tried.
    StorageFull => "storage_full",
    /// This manager does not lead, or lost the lead while the request was under way.
    Unavailable => "unavailable",
    /// A bug of ours, which ended the request and nothing else.
    Internal => "internal",
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

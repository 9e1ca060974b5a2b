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

/// Declares the codes of the HTTP layer once: the enum, all of them, their status and their text.
macro_rules! http_codes {
    ($($(#[$doc:meta])* $name:ident => $status:literal $text:literal,)*) => {
        /// What can be wrong with a request before any object is concerned.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum HttpCode {
            $($(#[$doc])* $name,)*
        }

        impl HttpCode {
            /// Every code of the HTTP layer.
            pub const ALL: &[HttpCode] = &[$(HttpCode::$name,)*];

            /// The stable text of the code.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(HttpCode::$name => $text,)*
                }
            }
            /// Its HTTP status.
            pub fn status(self) -> u16 {
                match self {
                    $(HttpCode::$name => $status,)*
                }
            }
        }
    };
}

http_codes! {
    /// The request is not one that can be read: its query, a header, a path.
    Malformed => 400 "invalid",
    /// A web page of another origin made a browser send it.
    CrossOrigin => 403 "cross_origin",
    /// No such route.
    NoSuchRoute => 404 "no_such_route",
    /// The route does not take that method.
    MethodNotAllowed => 405 "method_not_allowed",
    /// The body did not come in time.
    BodyTimeout => 408 "body_timeout",
    /// What changed since then is not kept any more.
    Compacted => 410 "compacted",
    /// The body is larger than is read.
    BodyTooLarge => 413 "body_too_large",
    /// The body is not said to be JSON.
    UnsupportedMediaType => 415 "unsupported_media_type",
    /// `Host` names a machine that this manager is not.
    UnknownHost => 421 "unknown_host",
    /// The route speaks WebSocket only.
    WebsocketRequired => 426 "websocket_required",
}

impl Problem {
    /// A problem of the HTTP layer, before any object was concerned.
    pub fn new(code: HttpCode, detail: impl Into<String>) -> Problem {
        Problem::with(code.status(), code.as_str(), detail.into())
    }

    fn with(status: u16, code: &str, detail: String) -> Problem {
        Problem { status, code: code.to_string(), title: code.replace('_', " "), detail, field: String::new() }
    }
}

/// The HTTP status of each code.
pub fn status(code: Code) -> u16 {
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
        Problem { field, ..Problem::with(status(code), code.as_str(), message) }
    }
}

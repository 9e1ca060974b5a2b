//! What can go wrong, what is said of it, and the exit code.

use orbit_api::Problem;
use orbit_shell::plain;
use std::io;

/// The exit code after Ctrl-C.
pub const INTERRUPTED: u8 = 130;
/// The exit code of `run` where there is no container's code to end with.
pub const RUN_FAILED: u8 = 125;

/// A failure, and where it happened.
#[derive(Debug)]
pub struct Error {
    /// For example the file and the document.
    at: String,
    /// The path of the request that was refused, if one was.
    pub asked: Option<String>,
    pub kind: Kind,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Kind {
    #[error("{0}")]
    Usage(String),
    #[error("no manager answers at {addr}: {}", what_then(addr))]
    NoManager { addr: String },
    /// The connection stood, and no whole answer came.
    #[error("{0}")]
    Unanswered(String),
    #[error("{}", problem_text(.0))]
    Problem(Box<Problem>),
    #[error("{0}")]
    Unplaceable(String),
    /// What was applied ran, and failed.
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    TimedOut(String),
    #[error("writing the output: {0}")]
    Output(io::Error),
    #[error("")]
    Interrupted,
    /// Everything has been said.
    #[error("")]
    Said(u8),
    /// `run`: Orbit failed, not the container.
    #[error("{0}")]
    Run(String),
}

fn problem_text(problem: &Problem) -> String {
    let detail = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
    match problem.field.is_empty() {
        true => plain::line(detail).into_owned(),
        false => format!("{}: {}", plain::line(&problem.field), plain::line(detail)),
    }
}

impl Error {
    pub fn new(kind: Kind) -> Error {
        Error { at: String::new(), asked: None, kind }
    }
    pub fn usage(text: impl Into<String>) -> Error {
        Error::new(Kind::Usage(text.into()))
    }
    /// The same failure, with the path of the request that it is the answer to.
    pub fn of(self, path: &str) -> Error {
        Error { asked: Some(path.to_string()), ..self }
    }
    /// The same failure, with the place in front.
    pub fn at(self, place: &str) -> Error {
        // One line that says what to do needs no place.
        if place.is_empty() || matches!(self.kind, Kind::NoManager { .. }) {
            return self;
        }
        let at = if self.at.is_empty() { place.to_string() } else { format!("{place}: {}", self.at) };
        Error { at, ..self }
    }

    /// What is said on stderr, if anything.
    pub fn text(&self) -> Option<String> {
        match &self.kind {
            Kind::Interrupted | Kind::Said(_) => None,
            // The reader has what it wanted.
            Kind::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            kind if self.at.is_empty() => Some(kind.to_string()),
            kind => Some(format!("{}: {kind}", self.at)),
        }
    }

    pub fn exit_code(&self) -> u8 {
        match &self.kind {
            Kind::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Kind::Problem(problem) if problem.code == "revision_conflict" => 6,
            Kind::Usage(_) | Kind::NoManager { .. } | Kind::Unanswered(_) | Kind::Problem(_) | Kind::Output(_) => 2,
            Kind::Unplaceable(_) => 3,
            Kind::Failed(_) => 4,
            Kind::TimedOut(_) => 5,
            Kind::Interrupted => INTERRUPTED,
            Kind::Said(code) => *code,
            Kind::Run(_) => RUN_FAILED,
        }
    }

    pub fn is_not_found(&self) -> bool {
        matches!(&self.kind, Kind::Problem(problem) if problem.status == 404)
    }
    /// Whether what was asked for is not kept any more.
    pub fn is_gone(&self) -> bool {
        matches!(&self.kind, Kind::Problem(problem) if problem.status == 410)
    }
    /// Whether asking again later may help: no manager, or none that leads.
    pub fn may_pass(&self) -> bool {
        match &self.kind {
            Kind::NoManager { .. } | Kind::Unanswered(_) => true,
            Kind::Problem(problem) => problem.status == 503,
            _ => false,
        }
    }
}

impl From<io::Error> for Error {
    /// Only the output fails in this way: every other use of files says which file.
    fn from(error: io::Error) -> Error {
        Error::new(Kind::Output(error))
    }
}

/// Only on this machine can `orbit dev` be of use.
fn what_then(addr: &str) -> &'static str {
    let host = addr.parse::<hyper::Uri>().ok().and_then(|uri| uri.host().map(str::to_string)).unwrap_or_default();
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    match host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback()) {
        true => "start one with `orbit dev`, or set ORBIT_ADDR",
        false => {
            "is it running, and does it listen on an address that this machine reaches? ORBIT_ADDR and --addr name another"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_on_this_machine_somebody_is_told_to_start_a_manager() {
        for addr in ["http://127.0.0.1:7070", "http://localhost:7070", "http://[::1]:7070"] {
            assert!(what_then(addr).contains("orbit dev"), "{addr}");
        }
        for addr in ["http://10.0.0.5:7070", "http://orbit.example:7070", "nonsense"] {
            assert!(!what_then(addr).contains("orbit dev"), "{addr}");
        }
    }
}

//! What an engine's answer amounts to.
//!
//! The one question that matters: does it say something about the container, or about the engine?
//! The machine repeats an operation for as long as the engine is in trouble, and ends the task when
//! it is the container's. Docker answers both with a 500. Where its words do not tell them apart, the answer is
//! [`OpErrorKind::Unclear`], and the machine goes by whether the engine answers something else.

use crate::op_error;
use bollard::errors::Error;
use orbit_core::worker::{OpError, OpErrorKind};

/// What was asked when the answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum During {
    Info,
    List,
    Inspect,
    Image,
    Pull,
    Create,
    Start,
    Stop,
    Remove,
    Logs,
    Exec,
}

/// The engine cannot do anything for anyone now: it is going down, or has lost its own back end.
const ENGINE_TROUBLE: [&str; 7] = [
    "shutting down",
    "transport is closing",
    "containerd.sock",
    "context canceled",
    "context deadline exceeded",
    "connection error",
    "code = unavailable",
];

/// A host port is held by a container, or by a process.
const PORT_TROUBLE: [&str; 2] = ["port is already allocated", "address already in use"];

/// Words of a 500 that are about the container or the machine's room for it.
const CONTAINER_TROUBLE: [&str; 9] = [
    "oci runtime",
    "failed to create task",
    "failed to create shim",
    "failed to create endpoint",
    "failed programming external connectivity",
    "error while creating mount",
    "no space left on device",
    "cannot assign requested address",
    "range of cpus",
];

/// The kind of trouble that an error of the client stands for.
pub fn judge(during: During, error: &Error) -> OpError {
    op_error(kind(during, error), words(error))
}

/// What the engine said, without the client's frame around it.
pub fn words(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        Error::DockerStreamError { error } => error.clone(),
        Error::RequestTimeoutError => "the engine did not answer in time".to_owned(),
        other => {
            // What went wrong below is only in the sources.
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(cause) = source {
                let cause_text = cause.to_string();
                if !text.contains(&cause_text) {
                    text = format!("{text}: {cause_text}");
                }
                source = cause.source();
            }
            text
        }
    }
}

fn kind(during: During, error: &Error) -> OpErrorKind {
    use OpErrorKind::{Engine, ImageMissing, NotFound, PortTaken, Refused, Unclear};
    let (status, message) = match error {
        Error::DockerResponseServerError { status_code, message } => (*status_code, message.to_lowercase()),
        // The engine's own words in the middle of a pull.
        Error::DockerStreamError { .. } if during == During::Pull => return Refused,
        // Everything else happened on the way to the engine, or is not its language.
        _ => return Engine,
    };
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    match (during, status) {
        // Nothing was asked of a container: there is none to blame.
        (During::Info | During::List | During::Inspect, _) => Engine,
        // Trouble with the registry comes as a 404 or a 500 like any other.
        (During::Pull, _) => {
            if says(&["shutting down"]) {
                Engine
            } else {
                Refused
            }
        }
        (During::Create, 404) if message.contains("no such image") => ImageMissing,
        (During::Create, 404) => Refused,
        (_, 404) => NotFound,
        // Under removal by somebody else at this moment; soon it will be gone.
        (During::Remove, 409) if message.contains("already in progress") => Engine,
        (During::Start, _) if says(&PORT_TROUBLE) => PortTaken(port_in(&message)),
        // Another version of the interface: the engine was exchanged, so negotiate again.
        (_, 400) if says(&["client version"]) => Engine,
        (_, 400..500) => Refused,
        _ if says(&ENGINE_TROUBLE) => Engine,
        (During::Create | During::Start, _) if says(&CONTAINER_TROUBLE) => Refused,
        _ => Unclear,
    }
}

/// The port of the first address in a message: `Bind for 0.0.0.0:8080 failed`, `bind host port [::]:80/tcp`.
fn port_in(message: &str) -> Option<u16> {
    let numbers = message.split(':').skip(1).map(|behind| {
        let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        behind[..end].parse().ok().filter(|port| *port != 0)
    });
    numbers.into_iter().flatten().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use During::*;

    #[test]
    fn an_answer_is_about_the_container_or_about_the_engine() {
        use OpErrorKind as Kind;
        let answers = [
            (
                Start,
                500,
                "driver failed programming external connectivity on endpoint a (b): Bind for 127.0.0.1:8080 failed: port is already allocated",
                Kind::PortTaken(Some(8080)),
            ),
            (
                Start,
                500,
                "driver failed programming external connectivity on endpoint a (b): Error starting userland proxy: listen tcp4 127.0.0.1:80: bind: address already in use",
                Kind::PortTaken(Some(80)),
            ),
            (
                Start,
                400,
                "OCI runtime create failed: container_linux.go:380: exec: \"/nope\": stat /nope: no such file or directory: unknown",
                Kind::Refused,
            ),
            (Start, 500, "OCI runtime create failed: unable to apply cgroup configuration", Kind::Refused),
            (
                Start,
                500,
                "failed to create task for container: connection error: desc = \"transport: dial unix /run/containerd/containerd.sock: connect: connection refused\": unavailable",
                Kind::Engine,
            ),
            (Start, 500, "something nobody has seen before", Kind::Unclear),
            (Start, 500, "unable to find user nosuch: no matching entries in passwd file", Kind::Unclear),
            (Create, 500, "Cannot mkdir: /web is not a directory", Kind::Unclear),
            (Start, 404, "No such container: a", Kind::NotFound),
            (Start, 409, "container is marked for removal and cannot be started", Kind::Refused),
            (Create, 404, "No such image: a:latest", Kind::ImageMissing),
            (Create, 404, "network a not found", Kind::Refused),
            (Create, 400, "invalid environment variable: =", Kind::Refused),
            (Create, 500, "mkdir /var/lib/docker/overlay2/a: no space left on device", Kind::Refused),
            (Create, 400, "client version 1.53 is too new. Maximum supported API version is 1.41", Kind::Engine),
            (Pull, 404, "manifest for a:1 not found: manifest unknown", Kind::Refused),
            (
                Pull,
                500,
                "Get \"http://127.0.0.1:5000/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused",
                Kind::Refused,
            ),
            (Stop, 404, "No such container: a", Kind::NotFound),
            (
                Stop,
                500,
                "cannot stop container: a: tried to kill container, but did not receive an exit event",
                Kind::Unclear,
            ),
            (Remove, 409, "You cannot remove a running container", Kind::Refused),
            (Remove, 409, "removal of container a is already in progress", Kind::Engine),
            (List, 500, "anything", Kind::Engine),
            (Inspect, 400, "anything", Kind::Engine),
        ];
        for (during, status_code, message, expected) in answers {
            let error = Error::DockerResponseServerError { status_code, message: message.to_owned() };
            assert_eq!(judge(during, &error), op_error(expected, message), "{during:?} {status_code}");
        }
        assert_eq!(judge(Stop, &Error::RequestTimeoutError).kind, Kind::Engine);
        let torn = Error::DockerStreamError { error: "unexpected EOF".to_owned() };
        assert_eq!(judge(Pull, &torn), op_error(Kind::Refused, "unexpected EOF"));
    }
}

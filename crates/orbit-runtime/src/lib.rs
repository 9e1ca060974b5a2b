//! How Orbit speaks to a container engine.
//!
//! [`ContainerRuntime`] is what the worker's shell drives: it carries one [`Op`] of the worker's
//! machine out and hands back what came of it. [`docker`] speaks to a Docker engine;
//! [`fake`] is an engine as a plain value, for the simulator and for tests. Both pass the same
//! contract, `tests/contract.rs`.
//!
//! Nothing here decides anything: what to do about a failure is the machine's to say. The only
//! judgement made is which [`OpErrorKind`] an engine's answer amounts to.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(all(feature = "docker", not(madsim)))]
pub mod docker;
pub mod fake;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use orbit_core::model::{ClusterId, ExecRequest, LogRange, NodeUid, Resources, TaskId};
use orbit_core::worker::{
    LABEL_CLUSTER, LABEL_NODE, LABEL_SPEC, LABEL_TASK, Op, OpError, OpErrorKind, OpResult, Owner,
};

/// A container engine, as the worker's shell sees it.
///
/// Order of calls: [`info`](Self::info) once, for the registration; [`hints`](Self::hints) and only
/// then a first [`Op::List`], so that nothing that happens in between goes unnoticed; after that
/// operations, at most one at a time for one container, any number for different ones. When the
/// stream of hints ends, call `hints` again and list again: what happened meanwhile was not told.
///
/// Dropping a future or a stream at any point is allowed and says nothing about whether the
/// operation took place; each may be repeated.
#[async_trait]
pub trait ContainerRuntime: Send + Sync + 'static {
    /// Carries one operation out, as [`Op`] describes each. It takes as long as the operation
    /// says: a stop up to its grace, an image up to its deadline.
    async fn perform(&self, op: Op) -> OpResult;

    /// What the engine says of its machine.
    ///
    /// # Errors
    /// [`OpErrorKind::Engine`] when it does not answer.
    async fn info(&self) -> Result<EngineInfo, OpError>;

    /// Names tasks to whose containers something has just happened: the end of the process,
    /// removal, pause. What happened is not said, because it may already be otherwise: inspect.
    /// A hint may come twice, for what the worker did itself, and for what happened shortly before
    /// this call.
    ///
    /// Nothing that happens after this call is missed while the stream lasts, even if the stream is
    /// polled later. It ends after an `Err` ([`OpErrorKind::Engine`]), when the engine goes away.
    fn hints(&self, owner: Owner) -> BoxStream<'static, Result<TaskId, OpError>>;

    /// What a container wrote, oldest first: all of it or the last `tail` lines, and with `follow`
    /// what it writes from now on, until it has ended. Chunks need not end where lines end.
    ///
    /// The stream ends after an `Err`: [`OpErrorKind::NotFound`] for an absent container,
    /// [`OpErrorKind::Engine`] when the engine goes away.
    fn logs(&self, name: &str, range: LogRange) -> BoxStream<'static, Result<LogChunk, OpError>>;

    /// Starts a process in a running container, feeds it what comes from `input`, and gives what it
    /// writes. The last item is [`ExecOutput::Exited`] or an `Err`: [`OpErrorKind::NotFound`] for an
    /// absent container, [`OpErrorKind::Refused`] for one that does not run, [`OpErrorKind::Engine`] when the engine goes away. A program that the container has not ends with 126 or 127, after the
    /// engine's words among its output.
    ///
    /// The process ends with the stream: when that is dropped, its input is closed, and what has not ended a moment later
    /// is killed with all that descend from it, in the background. The end of `input` only ends the process's input.
    fn exec(
        &self,
        name: &str,
        request: ExecRequest,
        input: BoxStream<'static, ExecInput>,
    ) -> BoxStream<'static, Result<ExecOutput, OpError>>;
}

/// What goes to a process in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecInput {
    /// To its standard input.
    Stdin(Bytes),
    /// Its standard input ends.
    StdinEnd,
    /// Its terminal has another size now, in characters.
    Resize {
        /// The width.
        columns: u16,
        /// The height.
        rows: u16,
    },
}

/// What comes from a process in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecOutput {
    /// From its standard output, or its terminal.
    Stdout(Bytes),
    /// From its standard error.
    Stderr(Bytes),
    /// It has ended, with this exit code.
    Exited(i32),
}

/// What an engine says of its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// All of its processors and its memory, whatever is in use.
    pub capacity: Resources,
    /// As Go writes it: `amd64`, `arm64`.
    pub arch: String,
    /// As Go writes it: `linux`.
    pub os: String,
    /// For people: its name and version.
    pub version: String,
}

/// A piece of what a container wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// Written to standard error, not to standard output.
    pub stderr: bool,
    /// As written.
    pub bytes: Bytes,
}

/// What a container's labels say of it, where they can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whose it is.
    pub owner: Owner,
    /// Which task's.
    pub task: TaskId,
    /// The fingerprint of the spec that it was created from.
    pub spec: u64,
}

impl Identity {
    /// Reads the four labels; `label` looks one up. `None` if one is missing or cannot be read, so
    /// for every container that is not Orbit's.
    pub fn read<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Option<Identity> {
        Some(Identity {
            owner: Owner {
                cluster: label(LABEL_CLUSTER)?.parse::<ClusterId>().ok()?,
                node: label(LABEL_NODE)?.parse::<NodeUid>().ok()?,
            },
            task: label(LABEL_TASK)?.parse().ok()?,
            spec: read_fingerprint(label(LABEL_SPEC)?)?,
        })
    }

    /// The four labels, sorted by key: what [`read`](Self::read) reads back.
    pub fn labels(&self) -> Vec<(String, String)> {
        // In the order of their keys, which a test holds to.
        [
            (LABEL_CLUSTER, self.owner.cluster.to_string()),
            (LABEL_NODE, self.owner.node.to_string()),
            (LABEL_SPEC, format!("{:016x}", self.spec)),
            (LABEL_TASK, self.task.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

/// Sixteen hexadecimal digits, as the IDs beside it are written: one spelling only.
fn read_fingerprint(text: &str) -> Option<u64> {
    let number = u64::from_str_radix(text, 16).ok()?;
    (format!("{number:016x}") == text).then_some(number)
}

/// The identity in a spec's labels.
fn identity_of(labels: &[(String, String)]) -> Option<Identity> {
    Identity::read(|key| labels.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str()))
}

fn op_error(kind: OpErrorKind, message: impl Into<String>) -> OpError {
    OpError { kind, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_what_it_wrote_and_nothing_else() {
        let identity = Identity {
            owner: Owner { cluster: ClusterId(7), node: NodeUid(0xfeed) },
            task: TaskId { epoch: 1, index: 57, ordinal: 2 },
            spec: 0xabc,
        };
        let labels = identity.labels();
        assert!(labels.is_sorted());
        assert_eq!(identity_of(&labels), Some(identity));
        for (place, bad) in [(0, "7"), (1, ""), (2, "abc"), (2, "+000000000000abc"), (3, "web")] {
            let mut labels = labels.clone();
            labels[place].1 = bad.to_owned();
            assert_eq!(identity_of(&labels), None, "{:?}", labels[place]);
        }
        assert_eq!(identity_of(&labels[1..]), None);
    }
}

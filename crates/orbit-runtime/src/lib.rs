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
mod identity;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
pub use identity::Identity;
use orbit_core::model::{ExecRequest, LogRange, Resources, TaskId};
use orbit_core::worker::{Op, OpError, OpErrorKind, OpResult, Owner};
use std::path::PathBuf;

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
    /// Where it keeps images and containers, if it says so; on its own machine.
    pub root_dir: Option<PathBuf>,
}

/// A piece of what a container wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// Written to standard error, not to standard output.
    pub stderr: bool,
    /// As written.
    pub bytes: Bytes,
}

fn op_error(kind: OpErrorKind, message: impl Into<String>) -> OpError {
    OpError { kind, message: message.into() }
}

/// Not started, rather than started on an empty directory where its data was.
fn volume_gone(volume: &str) -> OpError {
    op_error(OpErrorKind::Refused, format!("the data of volume `{volume}` is not on this machine any more"))
}

//! A trouble that an operation of the fake engine meets.

use orbit_core::worker::{Op, OpError};

/// The kinds of [`Op`], to aim a [`Fault`] with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum OpName {
    List,
    Inspect,
    EnsureImage,
    Create,
    Start,
    Stop,
    Probe,
    Remove,
}

impl OpName {
    /// The kind of an operation.
    pub fn of(op: &Op) -> OpName {
        match op {
            Op::List(_) => OpName::List,
            Op::Inspect { .. } => OpName::Inspect,
            Op::EnsureImage { .. } => OpName::EnsureImage,
            Op::Create(_) => OpName::Create,
            Op::Start(_) => OpName::Start,
            Op::Stop { .. } => OpName::Stop,
            Op::Probe { .. } => OpName::Probe,
            Op::Remove(_) => OpName::Remove,
        }
    }
}

/// A trouble that the next operation of a kind meets, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which operations meet it.
    pub on: OpName,
    /// The operation takes place, and only its answer is replaced: a lost response.
    pub takes_place: bool,
    /// The answer.
    pub error: OpError,
}

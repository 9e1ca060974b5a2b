//! A trouble that an operation of the fake engine meets.

use orbit_core::worker::{OpError, OpKind};

/// A trouble that the next operation of a kind meets, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which operations meet it.
    pub on: OpKind,
    /// The operation takes place, and only its answer is replaced: a lost response.
    pub takes_place: bool,
    /// The answer.
    pub error: OpError,
}

//! The kinds of workloads, and what each means.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of object a manifest describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A number of replicas, kept running.
    Service,
    /// A task definition: one run.
    Task,
}

/// What a kind means. Code that serves all kinds asks for what it has to know, and never which kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindRules {
    /// What the number of a slot stands for.
    pub slot: SlotOf,
    /// Its tasks come to an end by themselves: after a good one, or one that was asked for, nothing follows, and none is
    /// run again elsewhere only because its node is wanted. Otherwise a slot is kept filled.
    pub runs_to_end: bool,
    /// A changed spec is a new version, which takes the place of the old one by a rollout. Otherwise an object keeps its
    /// spec for as long as it lives.
    pub rolls_out: bool,
}

/// What the number of a slot stands for. Whatever it is, a slot keeps what its one-shot tasks cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotOf {
    /// One of a number of equal replicas.
    Replica,
    /// The index of a run.
    Run,
}

impl Kind {
    /// What it means.
    pub const fn rules(self) -> KindRules {
        match self {
            Kind::Service => KindRules { slot: SlotOf::Replica, runs_to_end: false, rolls_out: true },
            Kind::Task => KindRules { slot: SlotOf::Run, runs_to_end: true, rolls_out: false },
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Kind::Service => "service",
            Kind::Task => "task",
        })
    }
}

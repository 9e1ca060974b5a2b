//! An image of the fake engine, and where it comes from.

use super::container::Program;
use orbit_core::model::{Millis, Pull};
use std::collections::BTreeSet;

/// An image that the engine has or could get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeImage {
    /// What its tag means in the registry by now; none of one that was made here.
    pub digest: Option<String>,
    /// What it ever meant there.
    pub pushed: BTreeSet<String>,
    /// What it means on the machine, once that has it.
    pub digest_here: Option<String>,
    /// What else of it the machine has, by digest.
    pub others_here: BTreeSet<String>,
    /// It brings a health check.
    pub health_check: bool,
    /// Whether the machine has it.
    pub here: bool,
    /// Where it came or would come from.
    pub place: ImagePlace,
    /// What its containers do.
    pub program: Program,
}

/// Where an image is. One that the engine was never told of is refused by the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagePlace {
    /// On the machine, and in a registry that answers at once.
    Present,
    /// In the registry: a pull takes this long.
    Pullable(Millis),
    /// In a registry that never answers: a pull lasts until its deadline.
    Hanging,
}

impl ImagePlace {
    /// How long a pull takes; `None` if it does not end.
    pub(super) fn takes(self) -> Option<Millis> {
        match self {
            ImagePlace::Present => Some(Millis(0)),
            ImagePlace::Pullable(span) => Some(span),
            ImagePlace::Hanging => None,
        }
    }
}

impl FakeImage {
    /// Whether its registry is asked for it.
    pub(super) fn is_asked_for(&self, reference: &str, pull: Pull) -> bool {
        pull == Pull::Always || (pull == Pull::Missing && !self.is_here(reference))
    }
    pub(super) fn is_here(&self, reference: &str) -> bool {
        match reference.split_once('@') {
            Some((_, digest)) => self.digest_here.as_deref() == Some(digest) || self.others_here.contains(digest),
            None => self.here,
        }
    }
}

//! An image of the fake engine, and where it comes from.

use super::container::Program;
use orbit_core::model::{Millis, Pull};
use std::collections::BTreeSet;

/// An image that the engine has or could get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeImage {
    /// What was built on the machine: two tags of one image have the same.
    pub content: String,
    /// What its tag means in the registry by now; none of one that was made here.
    pub digest: Option<String>,
    /// What it ever meant there.
    pub pushed: BTreeSet<String>,
    /// What it means on the machine, once that has it.
    pub digest_here: Option<String>,
    /// By which digests the machine has it: what the tag means, what it meant, and what was asked for by its digest.
    pub digests_here: BTreeSet<String>,
    /// It brings a health check.
    pub health_check: bool,
    /// How often it was built again on the machine.
    pub builds: u32,
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
    /// The engine's ID of what a reference means here; none where it is not here.
    pub(super) fn id_of(&self, reference: &str) -> Option<String> {
        let by_digest = reference.split_once('@').map(|(_, digest)| digest);
        self.is_here(reference).then(|| match by_digest.or(self.digest_here.as_deref()) {
            Some(digest) => id_of(digest),
            None => self.local_id(),
        })
    }
    /// The engine's IDs of all that is here of it.
    pub(super) fn ids(&self) -> impl Iterator<Item = String> {
        let tag = self.here.then(|| self.digest_here.as_deref().map_or_else(|| self.local_id(), id_of));
        tag.into_iter().chain(self.digests_here.iter().map(|digest| id_of(digest)))
    }
    fn local_id(&self) -> String {
        id_of(&format!("{}, build {}", self.content, self.builds))
    }
    pub(super) fn is_here(&self, reference: &str) -> bool {
        match reference.split_once('@') {
            Some((_, digest)) => self.digests_here.contains(digest),
            None => self.here,
        }
    }
}

/// The ID of an image with this content. (FNV-1a, drawn out to the length of a digest.)
fn id_of(content: &str) -> String {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let hash = content.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    format!("sha256:{}", format!("{hash:016x}").repeat(4))
}

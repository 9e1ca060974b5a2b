//! Prefetches: what serves is stopped for its successor only once the image of the successor is on its node.
//!
//! Otherwise a service would be down for as long as the image takes, and for good where it cannot be had. All of it is
//! memory of the leader: the next one asks again, and a node that has the image answers at once.

use crate::{model::*, state::Cluster};
use std::collections::{BTreeMap, BTreeSet};

/// The image of a version of a workload, on a node.
pub type Prefetch = (NodeId, Uid, u32);

/// A node that has not answered for so long is asked again.
const ASKED_AGAIN_AFTER: Millis = Millis::secs(10);
/// Somebody may remove an image that was there: it is relied on for so long.
const RELIED_ON_FOR: Millis = Millis::secs(60);

/// How long an image is kept that was asked for: until what is stopped for the successor has ended, whichever version that is of.
pub fn kept_for(workload: Option<&Workload>) -> Millis {
    let versions = workload.into_iter().flat_map(|workload| &workload.versions);
    let stop = versions.map(|version| &version.spec.container.stop).map(|stop| stop.delay.0 + stop.grace.0);
    Millis(RELIED_ON_FOR.0 + stop.max().unwrap_or(0))
}

/// How an image is on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// It is there.
    There,
    /// The node was asked for it: look again at this time.
    Awaited(Time),
    /// It could not be had there, and is tried again at this time.
    Failed(Time),
}

/// What was asked and answered.
#[derive(Clone, Debug, Default)]
pub struct Prefetches {
    known: BTreeMap<Prefetch, Known>,
    /// Of whom nobody was asked yet.
    wanted: BTreeSet<Prefetch>,
    /// Whether the workers of nodes that have registered can be asked. Those of earlier versions cannot, and are relied on.
    able: BTreeMap<NodeId, bool>,
    /// With so many known, those of versions that are gone are forgotten.
    tidy_at: usize,
}

#[derive(Clone, Debug)]
struct Known {
    image: Image,
    until: Time,
    /// What was asked for: meanwhile it may have been said what that means for all.
    bytes: ImageBytes,
    /// How often it could not be had, in a row.
    failures: u32,
}

impl Prefetches {
    /// A worker has registered. Gives the workloads that waited for its answer.
    pub fn registered(&mut self, node: NodeId, able: bool) -> Vec<Uid> {
        self.able.insert(node, able);
        // What its process before was asked is not answered any more.
        let of_node = self.known.range((node, Uid { epoch: 0, index: 0 }, 0)..).take_while(|((of, ..), _)| *of == node);
        let open = of_node.filter(|(_, known)| matches!(known.image, Image::Awaited(_)));
        let open: Vec<Prefetch> = open.map(|(prefetch, _)| *prefetch).collect();
        open.iter().for_each(|prefetch| _ = self.known.remove(prefetch));
        open.into_iter().map(|(_, uid, _)| uid).collect()
    }

    /// How the image is there. A node that nobody has asked is asked next.
    pub fn ask(&mut self, cluster: &Cluster, prefetch: Prefetch, at: Time) -> Image {
        let (node, uid, version) = prefetch;
        let able = self.able.get(&node).copied();
        if able == Some(false) || is_used(cluster, node, uid, version) {
            return Image::There;
        }
        let version = cluster.workload(uid).and_then(|workload| workload.version(version));
        let bytes = version.map(Version::image).unwrap_or_default();
        let known = self.known.get(&prefetch);
        // The answer to what it was asked for before would be taken for one to the next question.
        let is_open = |known: &&Known| matches!(known.image, Image::Awaited(_));
        if let Some(known) = known.filter(|known| at < known.until && (known.bytes == bytes || is_open(known))) {
            return known.image;
        }
        let known = known.filter(|known| known.bytes == bytes);
        let failures = known.map_or(0, |known| known.failures);
        self.tidy(cluster);
        let until = at + ASKED_AGAIN_AFTER;
        self.known.insert(prefetch, Known { image: Image::Awaited(until), until, bytes, failures });
        if able == Some(true) {
            self.wanted.insert(prefetch);
        }
        Image::Awaited(until)
    }

    /// Those to ask now.
    pub fn take_wanted(&mut self) -> BTreeSet<Prefetch> {
        std::mem::take(&mut self.wanted)
    }

    /// A node has it. Returns false where it was not asked.
    pub fn arrived(&mut self, prefetch: Prefetch, at: Time) -> bool {
        let Some(known) = self.asked(prefetch) else { return false };
        (known.image, known.until, known.failures) = (Image::There, at + RELIED_ON_FOR, 0);
        true
    }

    /// A node cannot have it: it is tried again after the delay of that many failures in a row. `None` where it was not
    /// asked; otherwise their number.
    pub fn failed(&mut self, prefetch: Prefetch, at: Time, delay: impl Fn(u32) -> Millis) -> Option<u32> {
        let known = self.asked(prefetch)?;
        let failures = known.failures.saturating_add(1);
        let until = at + delay(failures);
        (known.image, known.until, known.failures) = (Image::Failed(until), until, failures);
        Some(failures)
    }

    fn asked(&mut self, prefetch: Prefetch) -> Option<&mut Known> {
        self.known.get_mut(&prefetch).filter(|known| matches!(known.image, Image::Awaited(_)))
    }

    fn tidy(&mut self, cluster: &Cluster) {
        if self.known.len() >= self.tidy_at {
            let is_kept = |uid, version| cluster.workload(uid).is_some_and(|it| it.version(version).is_some());
            self.known.retain(|(_, uid, version), _| is_kept(*uid, *version));
            self.tidy_at = 2 * self.known.len() + 64;
        }
    }
}

/// Whether a task on the node has the same image.
fn is_used(cluster: &Cluster, node: NodeId, uid: Uid, version: u32) -> bool {
    let Some(workload) = cluster.workload(uid) else { return false };
    let image = |number: u32| {
        let version = workload.version(number)?;
        Some((&version.spec.container.image, version.spec.container.pull, version.image()))
    };
    let wanted = image(version);
    // What a registry is to be asked for may have changed there.
    let is_fixed =
        wanted.as_ref().is_some_and(|(_, pull, bytes)| *pull != Pull::Always || *bytes != ImageBytes::Unresolved);
    let is_same = |other: u32| other == version || (is_fixed && image(other) == wanted);
    let has_it = |task: &Task| (TaskState::Starting..=TaskState::Stopping).contains(&task.state);
    let tasks = cluster.node(node).into_iter().flat_map(Node::tasks).filter_map(|id| cluster.task(id));
    tasks.filter(|task| task.workload == uid && has_it(task)).any(|task| is_same(task.version))
}

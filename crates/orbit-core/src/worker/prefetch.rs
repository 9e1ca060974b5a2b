//! Images that the manager asks for before it stops what serves.

use super::*;

/// So many versions are waited for at a time; no manager asks for that many.
const PREFETCHES_MAX: usize = 1_000;

impl Worker {
    /// An image is wanted. One fetch serves all that wait for it, tasks and prefetches.
    pub(super) fn prefetch(&mut self, version: (Uid, u32), image: (String, Pull), actions: &mut Vec<Action>) {
        if self.prefetching.values().map(BTreeSet::len).sum::<usize>() >= PREFETCHES_MAX {
            return;
        }
        self.prefetching.entry(image.clone()).or_default().insert(version);
        if !self.fetching.contains_key(&image) {
            self.fetching.insert(image.clone(), BTreeSet::new());
            self.fetch(image, actions);
        }
    }

    /// A fetch has ended. Trouble of the engine says nothing of the image: the manager asks again.
    pub(super) fn prefetch_done(&mut self, image: &(String, Pull), result: &OpResult, actions: &mut Vec<Action>) {
        let asked = self.prefetching.remove(image).unwrap_or_default();
        let failure = match result {
            Ok(_) => None,
            Err(error) if error.kind == OpErrorKind::Engine => return,
            Err(error) => Some(End::new(fetch_failure(error.kind), error.message.clone())),
        };
        for (workload, version) in asked {
            let message = ToManager::Prefetched { workload, version, failure: failure.clone() };
            actions.extend(self.link.send(message));
        }
    }
}

/// Why a task ends whose image cannot be had.
pub(super) fn fetch_failure(kind: OpErrorKind) -> Reason {
    match kind {
        OpErrorKind::Timeout => Reason::PullTimeout,
        _ => Reason::PullFailed,
    }
}

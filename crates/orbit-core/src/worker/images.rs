//! Images are fetched here, and those go that were pulled for tasks and that nothing needs any more, once the disk gets full.
//!
//! Only an image that was not on the machine before this worker pulled it is ever removed, by the references that it was
//! pulled by, and only while they still mean that image: who builds another one under the same tag has made it a foreign
//! one. The rules of removing a reference, so that nothing else goes with it, are those of [`Op::RemoveImage`].

use super::*;

/// So many references are remembered. What is pulled beyond is never removed, because nobody knows by whom it was pulled.
const REMEMBERED_MAX: usize = 10_000;

/// What is being done about images, beside the fetches.
#[derive(Clone, Debug, Default)]
pub(super) struct Images {
    /// By the engine's ID: since when nothing was seen to need it, as long as there is little room.
    unneeded: BTreeMap<String, Time>,
    /// The reference that is being removed.
    removing: Option<String>,
    /// What is fetched after that: it might be found to be here, and be gone when it is wanted.
    waiting: BTreeSet<(String, Pull)>,
    /// References that the manager relies on, because it has asked for them ahead, and until when.
    promised: BTreeMap<String, Time>,
    /// A manager has welcomed this process: before that, nobody knows which images are needed.
    pub knows_orders: bool,
}

impl Worker {
    /// Begins to fetch an image, or does so as soon as none of its repository is being removed.
    pub(super) fn fetch(&mut self, image: (String, Pull), actions: &mut Vec<Action>) {
        if self.images.removing.as_ref().is_some_and(|removing| repository(removing) == repository(&image.0)) {
            self.images.waiting.insert(image);
            return;
        }
        let request = Op::EnsureImage { image: image.0.clone(), pull: image.1, deadline: self.config.pull_deadline };
        self.begin(InFlight::Fetch { image }, request, actions);
    }

    /// Nobody waits for a fetch any more. Returns the operation that is to be given up, if it has begun.
    pub(super) fn give_up_fetch(&mut self, unwanted: &(String, Pull)) -> Option<OpId> {
        if self.images.waiting.remove(unwanted) {
            return None;
        }
        let fetches = |op: &InFlight| matches!(op, InFlight::Fetch { image } if image == unwanted);
        let op = self.ops.iter().find(|(_, op)| fetches(op)).map(|(id, _)| *id);
        let op = op.expect("what is waited for is under way");
        self.ops.remove(&op);
        Some(op)
    }

    /// A fetch has ended: tasks and prefetches that waited for it hear of it.
    pub(super) fn fetched(&mut self, now: Time, image: &(String, Pull), result: &OpResult, actions: &mut Vec<Action>) {
        self.tick();
        if let Ok(OpOutput::Image(found)) = result {
            self.image_is_here(&image.0, found, actions);
        }
        self.prefetch_done(image, result, actions);
        for id in self.fetching.remove(image).unwrap_or_default() {
            self.fetch_done(now, id, &image.0, result.clone(), actions);
        }
    }

    /// An image is here. Somebody has just asked for it, so it is not one that has been of no use for long.
    fn image_is_here(&mut self, reference: &str, found: &ImageFound, actions: &mut Vec<Action>) {
        self.images.unneeded.remove(&found.id);
        let is_ours = found.was_new || self.ledger.images.values().any(|id| *id == found.id);
        if !found.was_pulled || !is_ours {
            return;
        }
        // The tag may mean another image tomorrow; this one is found by its digest then.
        let digest = found.digest.as_deref().filter(|_| !is_pinned(reference));
        let by_digest = digest.map(|digest| pinned(reference, digest));
        for image in [Some(reference.to_string()), by_digest].into_iter().flatten() {
            let is_known = self.ledger.images.get(&image) == Some(&found.id);
            if !is_known && self.ledger.images.len() < REMEMBERED_MAX {
                self.persist(LedgerWrite::ImagePulled { image, id: found.id.clone() }, actions);
            }
        }
    }

    /// The manager relies on an image until then.
    pub(super) fn promise_image(&mut self, now: Time, reference: &str, until: Time) {
        self.images.promised.retain(|_, until| *until > now);
        let promised = self.images.promised.entry(reference.to_string()).or_insert(until);
        *promised = until.max(*promised);
    }

    /// Somebody has looked how much room there is. With too little of it, one image goes at a time that nothing has needed
    /// for a while.
    pub(super) fn collect_images(&mut self, now: Time, free_bytes: u64, actions: &mut Vec<Action>) {
        let ImageCollection { below_bytes, unneeded_for } = self.config.image_collection;
        if free_bytes >= below_bytes || !self.images.knows_orders || self.ledger.images.is_empty() {
            self.images.unneeded.clear();
            return;
        }
        self.images.promised.retain(|_, until| *until > now);
        let needed = self.needed_images();
        let unneeded = self.ledger.images.values().filter(|id| !needed.contains(id.as_str()));
        let since = |id: &String| self.images.unneeded.get(id).copied().unwrap_or(now);
        self.images.unneeded = unneeded.map(|id| (id.clone(), since(id))).collect();
        if self.images.removing.is_some() || self.is_engine_down() {
            return;
        }
        // What has been of no use for longest goes first.
        let due = self.images.unneeded.iter().filter(|(_, since)| **since + unneeded_for <= now);
        let Some((_, id)) = due.map(|(id, since)| (*since, id.clone())).min() else { return };
        let image = self.ledger.images.iter().find(|(_, of)| **of == id).map(|(image, _)| image.clone());
        let image = image.expect("what is of no use was pulled");
        self.images.removing = Some(image.clone());
        self.begin(InFlight::RemoveImage { id: id.clone() }, Op::RemoveImage { image, id }, actions);
    }

    /// The IDs of the images, of those that this worker pulled, that a task, a fetch or the manager needs. What a reference means
    /// that has not been asked for yet, only the engine knows: it may be any image of its repository.
    fn needed_images(&self) -> BTreeSet<&str> {
        let waiting = self.tasks.values().filter(|task| task.wants_to_run() && task.fetched.is_none());
        let waiting = waiting.filter_map(|task| Some(task.order.as_ref()?.spec.container.image.as_str()));
        let fetching = self.fetching.keys().map(|(image, _)| image.as_str());
        let promised = self.images.promised.keys().map(String::as_str);
        let asked_for: BTreeSet<&str> = waiting.chain(fetching).chain(promised).map(repository).collect();
        let of_them = self.ledger.images.iter().filter(|(image, _)| asked_for.contains(repository(image)));
        let fetched = self.tasks.values().filter_map(|task| Some(task.fetched.as_ref()?.1.id.as_str()));
        let ordered = self.tasks.values().filter_map(|task| {
            let order = task.order.as_ref()?;
            self.ledger.images.get(&order.image_reference())
        });
        of_them.map(|(_, id)| id).chain(ordered).map(String::as_str).chain(fetched).collect()
    }

    /// An image has been removed, or cannot be: then it is left alone for as long as one that has just become of no use.
    pub(super) fn image_removed(&mut self, now: Time, id: &str, result: &OpResult, actions: &mut Vec<Action>) {
        let image = self.images.removing.take().expect("it was being removed");
        match result {
            Ok(_) => self.persist(LedgerWrite::ImageForgotten(image), actions),
            Err(_) => _ = self.images.unneeded.insert(id.to_string(), now),
        }
        for image in std::mem::take(&mut self.images.waiting) {
            match result {
                // Nothing is begun on an engine that is out of order.
                Err(error) if error.kind == OpErrorKind::Engine => self.fetched(now, &image, result, actions),
                _ => self.fetch(image, actions),
            }
        }
    }
}

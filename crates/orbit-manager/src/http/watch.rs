//! Lists that go on: every change as a server-sent event.
//!
//! A watch is level-triggered. It says what an object is now, so what changed twice in between is
//! told once.

use super::{
    sse::{self, Messages, News, Source},
    *,
};
use orbit_api::view::{Change, ChangeKind};
use orbit_core::{manager::View, model::Time, state::Change as Changed};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

/// So many objects are read at a time.
const PAGE: usize = 200;

/// What is watched.
pub(super) trait Watched: Send + Sync + 'static {
    /// The next ones that are chosen now, behind `after`, in order and at most `max`: what each is called
    /// among changes, and how it is shown.
    fn page(&self, state: View, now: Time, after: Option<&Changed>, max: usize) -> Vec<(Changed, Value)>;
    /// One of them: `None` where there is none, or it is not chosen.
    fn one(&self, state: View, now: Time, changed: &Changed) -> Option<Value>;
    /// What is said of one that is gone; `None` where such a change is nobody's here.
    fn gone(&self, changed: &Changed) -> Option<Value>;
    /// Whether one that is not chosen now may have been at that revision: a watch that goes on does not know
    /// what its reader has, and does not say that something is gone which was never shown.
    fn may_have_shown(&self, state: View, changed: &Changed, since: u64) -> bool;
}

/// Begins a watch: with everything that there is, or with what changed after a revision.
pub(super) async fn watch(handle: ManagerHandle, since: Option<u64>, watched: impl Watched) -> Answered<Response> {
    if let Some(since) = since {
        handle.feed.check(since).map_err(|error| sse::compacted(error.complete_after))?;
        let newest = handle.read(|state, _| state.cluster().index).await?;
        if since > newest {
            return Err(sse::ahead(since, newest));
        }
    }
    let has = since.map_or_else(|| Ok(BTreeSet::new()), Err);
    Ok(sse::stream(handle, Watch { watched: Arc::new(watched), has }))
}

/// One watch. It holds no more than a page at a time, and takes the next one when its reader has taken
/// the one before.
struct Watch<W> {
    watched: Arc<W>,
    /// What the reader has; where it comes back, what it had at that revision is not known.
    has: Result<BTreeSet<Changed>, u64>,
}

impl<W: Watched> Source for Watch<W> {
    async fn tell(&mut self, handle: &ManagerHandle, news: Option<News>, messages: &Messages) -> Option<u64> {
        let Some(news) = news else {
            return match self.has {
                Err(since) => Some(since),
                Ok(_) => self.list(handle, messages).await,
            };
        };
        // A reader that was too slow comes back, and is told so.
        let (revision, changes) = news.ok()?;
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            let part = Vec::from_iter(changes.by_ref().take(PAGE));
            let told = self.changes(handle, part).await?;
            // Only the last part ends the revision.
            let id = changes.peek().is_none().then_some(revision);
            messages.send(id, told).await?;
        }
        Some(revision)
    }
}

impl<W: Watched> Watch<W> {
    /// Everything, page by page. What changes meanwhile is told again, as a change: it ends at the
    /// revision of its first page.
    async fn list(&mut self, handle: &ManagerHandle, messages: &Messages) -> Option<u64> {
        let (mut revision, mut after) = (None, None);
        loop {
            let (watched, behind) = (self.watched.clone(), after.clone());
            let look = move |state: View, now| (state.cluster().index, watched.page(state, now, behind.as_ref(), PAGE));
            let (index, page) = handle.read(look).await.ok()?;
            let revision = *revision.get_or_insert(index);
            let is_last = page.len() < PAGE;
            after = page.last().map(|(changed, _)| changed.clone()).or(after);
            if let Ok(has) = &mut self.has {
                has.extend(page.iter().map(|(changed, _)| changed.clone()));
            }
            if is_last && page.is_empty() {
                messages.nothing_yet(revision).await?;
            }
            let added = page.into_iter().map(|(_, object)| json!(Change { kind: ChangeKind::Added, object }));
            messages.send(is_last.then_some(revision), added.collect()).await?;
            if is_last {
                return Some(revision);
            }
        }
    }

    /// What is to be said of these.
    async fn changes(&mut self, handle: &ManagerHandle, changes: Vec<Changed>) -> Option<Vec<Value>> {
        let (watched, since) = (self.watched.clone(), self.has.as_ref().err().copied());
        let look = move |state: View, now| {
            let look = |changed: Changed| {
                let object = watched.one(state, now, &changed);
                let shown =
                    object.is_some() || since.is_some_and(|since| watched.may_have_shown(state, &changed, since));
                (object, shown, changed)
            };
            changes.into_iter().map(look).collect::<Vec<_>>()
        };
        let mut told = Vec::new();
        for (object, shown, changed) in handle.read(look).await.ok()? {
            // Of a reader that came back: what it has not is new to it anyway.
            let had = self.has.as_ref().map_or(shown, |has| has.contains(&changed));
            let change = match object {
                Some(object) if had => Some(Change { kind: ChangeKind::Modified, object }),
                Some(object) => Some(Change { kind: ChangeKind::Added, object }),
                None if had => self.watched.gone(&changed).map(|object| Change { kind: ChangeKind::Deleted, object }),
                None => None,
            };
            if let Ok(has) = &mut self.has {
                match change.as_ref().map(|change| &change.kind) {
                    Some(ChangeKind::Deleted) => _ = has.remove(&changed),
                    Some(_) => _ = has.insert(changed),
                    None => {}
                }
            }
            told.extend(change.map(|change| json!(change)));
        }
        Some(told)
    }
}

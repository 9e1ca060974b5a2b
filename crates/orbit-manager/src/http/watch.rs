//! Lists that go on: every change as a server-sent event.
//!
//! A watch is level-triggered. It says what an object is now, so what changed twice in between is
//! told once. `id` is the revision up to which everything was told; it stands on the last message of
//! those that belong together, and given back as `Last-Event-ID` (or `since`) the watch goes on there.

use super::*;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt};
use orbit_api::view::{Change, ChangeKind};
use orbit_core::{manager::View, model::Time, state::Change as Changed};
use serde_json::{Value, json};
use std::{collections::BTreeSet, convert::Infallible, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// So many objects are read at a time.
const PAGE: usize = 200;
/// Messages that wait for a slow reader; then the watch waits too, and says less often more.
const MESSAGES_MAX: usize = 64;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

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

/// From which revision on: `Last-Event-ID` is newer than what the URL says.
pub(super) fn since(headers: &HeaderMap, query: Option<u64>) -> Answered<Option<u64>> {
    let Some(id) = extract::header(headers, "last-event-id")? else { return Ok(query) };
    extract::revision(id).map(Some).ok_or_else(|| Rejection::invalid("last-event-id", "is not a revision").into())
}

pub(super) fn compacted(complete_after: u64) -> Fault {
    let detail = format!("changes are known after revision {complete_after} only: list again, and watch from there");
    Fault(Problem::new(HttpCode::Compacted, detail))
}

pub(super) fn ahead(since: u64, newest: u64) -> Fault {
    Rejection::invalid("since", format!("{since} is ahead of the revision, {newest}")).into()
}

/// Begins a watch: with everything that there is, or with what changed after a revision.
pub(super) async fn watch(door: Door, since: Option<u64>, watched: impl Watched) -> Answered<Response> {
    if let Some(since) = since {
        door.feed.check(since).map_err(|error| compacted(error.complete_after))?;
        let newest = door.read(|state, _| state.cluster().index).await?;
        if since > newest {
            return Err(ahead(since, newest));
        }
    }
    let (sender, messages) = mpsc::channel(MESSAGES_MAX);
    tokio::spawn(tell(door, since, watched, sender));
    Ok(stream(ReceiverStream::new(messages).map(Ok)))
}

pub(super) fn stream(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// One watch. It holds no more than a page at a time, and takes the next one when its reader has taken
/// the one before.
struct Watch<W> {
    door: Door,
    watched: std::sync::Arc<W>,
    /// What the reader has; where it comes back, what it had at that revision is not known.
    has: Result<BTreeSet<Changed>, u64>,
    sender: mpsc::Sender<Event>,
}

/// Lives as long as the reader.
async fn tell(door: Door, since: Option<u64>, watched: impl Watched, sender: mpsc::Sender<Event>) {
    let has = since.map_or_else(|| Ok(BTreeSet::new()), Err);
    let watch = Watch { door, watched: std::sync::Arc::new(watched), has, sender };
    // Both end when the reader has gone, or the manager ends.
    let _ = watch.run(since).await;
}

impl<W: Watched> Watch<W> {
    async fn run(mut self, since: Option<u64>) -> Option<Infallible> {
        let mut seen = match since {
            Some(since) => since,
            None => self.list().await?,
        };
        loop {
            let (revision, changes) = tokio::select! { biased;
                () = self.sender.closed() => return None,
                // A reader that was too slow comes back, and is told so.
                after = self.door.feed.after(seen) => after.ok()?,
            };
            seen = revision;
            let mut changes = changes.into_iter().peekable();
            while changes.peek().is_some() {
                let part = Vec::from_iter(changes.by_ref().take(PAGE));
                let told = self.changes(part).await?;
                // Only the last part ends the revision.
                let id = changes.peek().is_none().then_some(revision);
                if !told.is_empty() {
                    send(&self.sender, id, told).await?;
                }
            }
        }
    }

    /// Everything, page by page. What changes meanwhile is told again, as a change: it ends at the
    /// revision of its first page.
    async fn list(&mut self) -> Option<u64> {
        let (mut revision, mut after) = (None, None);
        loop {
            let (watched, behind) = (self.watched.clone(), after.clone());
            let look = move |state: View, now| (state.cluster().index, watched.page(state, now, behind.as_ref(), PAGE));
            let (index, page) = self.door.read(look).await.ok()?;
            let revision = *revision.get_or_insert(index);
            let is_last = page.len() < PAGE;
            after = page.last().map(|(changed, _)| changed.clone()).or(after);
            if let Ok(has) = &mut self.has {
                has.extend(page.iter().map(|(changed, _)| changed.clone()));
            }
            let added = page.into_iter().map(|(_, object)| Change { kind: ChangeKind::Added, object });
            send(&self.sender, is_last.then_some(revision), added.collect()).await?;
            if is_last {
                return Some(revision);
            }
        }
    }

    /// What is to be said of these.
    async fn changes(&mut self, changes: Vec<Changed>) -> Option<Vec<Change<Value>>> {
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
        for (object, shown, changed) in self.door.read(look).await.ok()? {
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
            told.extend(change);
        }
        Some(told)
    }
}

/// Messages that belong together; the last carries the revision that ends with them, if one does. Where
/// there is none, an empty one does, so that the reader knows from where it watches. Nothing once the
/// reader has gone.
async fn send(sender: &mpsc::Sender<Event>, revision: Option<u64>, told: Vec<Change<Value>>) -> Option<()> {
    let ended = |event: Event| match revision {
        Some(revision) => event.id(revision.to_string()),
        None => event,
    };
    let count = told.len();
    if count == 0 && revision.is_some() {
        sender.send(ended(Event::default()).comment("nothing yet")).await.ok()?;
    }
    for (i, change) in (1..).zip(told) {
        let event = Event::default().data(json!(change).to_string());
        sender.send(if i == count { ended(event) } else { event }).await.ok()?;
    }
    Some(())
}

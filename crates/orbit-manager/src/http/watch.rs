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

/// Messages that wait for a slow reader; then the watch waits too, and says less often more.
const MESSAGES_MAX: usize = 64;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What is watched.
pub(super) trait Watched: Send + Sync + 'static {
    /// Everything that is chosen now: what it is called among changes, and how it is shown.
    fn all(&self, state: View, now: Time) -> Vec<(Changed, Value)>;
    /// One of them: `None` where there is none, or it is not chosen.
    fn one(&self, state: View, now: Time, changed: &Changed) -> Option<Value>;
    /// What is said of one that is gone; `None` where such a change is nobody's here.
    fn gone(&self, changed: &Changed) -> Option<Value>;
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

/// Lives as long as the reader.
async fn tell(door: Door, since: Option<u64>, watched: impl Watched, sender: mpsc::Sender<Event>) {
    let watched = std::sync::Arc::new(watched);
    // What the reader has; not known where it comes back.
    let mut has: Option<BTreeSet<Changed>> = None;
    let mut seen = match since {
        Some(since) => since,
        None => {
            let listing = watched.clone();
            let listed = door.read(move |state, now| (state.cluster().index, listing.all(state, now))).await;
            let Ok((revision, all)) = listed else { return };
            has = Some(all.iter().map(|(changed, _)| changed.clone()).collect());
            let added = all.into_iter().map(|(_, object)| Change { kind: ChangeKind::Added, object });
            if !send(&sender, revision, added.collect()).await {
                return;
            }
            revision
        }
    };
    loop {
        let (revision, changes) = tokio::select! { biased;
            () = sender.closed() => return,
            after = door.feed.after(seen) => match after {
                Ok(after) => after,
                Err(_) => return, // the reader was too slow: it comes back, and is told so
            },
        };
        seen = revision;
        let looking = watched.clone();
        let looked = door.read(move |state, now| {
            let look = |changed: Changed| (looking.one(state, now, &changed), changed);
            changes.into_iter().map(look).collect::<Vec<_>>()
        });
        let Ok(looked) = looked.await else { return };
        let mut told = Vec::new();
        for (object, changed) in looked {
            let had = has.as_ref().is_none_or(|has| has.contains(&changed));
            match object {
                Some(object) => {
                    // Of a reader that came back it is not known what it has: what it has not is new to it anyway.
                    told.push(Change { kind: if had { ChangeKind::Modified } else { ChangeKind::Added }, object });
                    if let Some(has) = &mut has {
                        has.insert(changed);
                    }
                }
                None if had => {
                    told.extend(watched.gone(&changed).map(|object| Change { kind: ChangeKind::Deleted, object }));
                    if let Some(has) = &mut has {
                        has.remove(&changed);
                    }
                }
                None => {}
            }
        }
        if !told.is_empty() && !send(&sender, revision, told).await {
            return;
        }
    }
}

/// The messages of one revision; the last carries its ID. Where there is none, an empty one does, so
/// that the reader knows from where it watches.
async fn send(sender: &mpsc::Sender<Event>, revision: u64, told: Vec<Change<Value>>) -> bool {
    let last = told.len().saturating_sub(1);
    if told.is_empty() {
        return sender.send(Event::default().id(revision.to_string()).comment("nothing yet")).await.is_ok();
    }
    for (i, change) in told.into_iter().enumerate() {
        let event = Event::default().data(json!(change).to_string());
        let event = if i == last { event.id(revision.to_string()) } else { event };
        if sender.send(event).await.is_err() {
            return false;
        }
    }
    true
}

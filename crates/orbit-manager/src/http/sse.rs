//! Server-sent events: the one loop behind everything that goes on.
//!
//! A [`Source`] looks at the state and says what is new; the loop waits for the next change, or for the reader to go.
//! `id` is the revision up to which everything was told. It stands on the last message of those that belong together, and
//! given back as `Last-Event-ID` (or `since`) the stream goes on there.

use super::{
    answer::{Answered, Fault, unbuffered},
    extract::{header, revision},
};
use crate::{feed::Compacted, handle::ManagerHandle};
use axum::{
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::StreamExt;
use orbit_api::{Problem, problem::HttpCode};
use orbit_core::{model::Rejection, state::Change};
use serde::Serialize;
use std::{collections::BTreeSet, convert::Infallible, future::Future, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What has changed since a source looked last, and up to which revision; or that it is no longer known.
pub(super) type News = Result<(u64, BTreeSet<Change>), Compacted>;

/// What is told, as long as somebody reads it.
pub(super) trait Source: Send + 'static {
    /// Messages that wait for a slow reader; then the source waits too, and says less often more.
    const MESSAGES_MAX: usize = 64;

    /// Tells what is new; `news` is nothing at the beginning. Returns the revision up to which everything is told, or
    /// nothing when this is over.
    fn tell(
        &mut self,
        handle: &ManagerHandle,
        news: Option<News>,
        messages: &Messages,
    ) -> impl Future<Output = Option<u64>> + Send;
}

/// Where messages go to.
pub(super) struct Messages(mpsc::Sender<Event>);

impl Messages {
    /// Sends what belongs together; the last carries the revision that ends with it, if one does. Nothing once the
    /// reader has gone.
    pub async fn send<T: Serialize>(&self, revision: Option<u64>, told: Vec<T>) -> Option<()> {
        let count = told.len();
        for (i, item) in (1..).zip(told) {
            let data = serde_json::to_string(&item).expect("an object is plain data");
            let event = Event::default().data(data);
            let event = match revision {
                Some(revision) if i == count => event.id(revision.to_string()),
                _ => event,
            };
            self.0.send(event).await.ok()?;
        }
        Some(())
    }

    /// There is nothing to tell so far: the reader knows from where it goes on.
    pub async fn nothing_yet(&self, revision: u64) -> Option<()> {
        self.0.send(Event::default().id(revision.to_string()).comment("nothing yet")).await.ok()
    }
}

/// The answer that tells what a source says. It ends with its reader, and with the manager.
pub(super) fn stream<S: Source>(handle: ManagerHandle, source: S) -> Response {
    let (sender, messages) = mpsc::channel(S::MESSAGES_MAX);
    tokio::spawn(run(handle, source, Messages(sender)));
    let events = ReceiverStream::new(messages).map(Ok::<_, Infallible>);
    unbuffered(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

async fn run(handle: ManagerHandle, mut source: impl Source, messages: Messages) -> Option<Infallible> {
    let mut seen = source.tell(&handle, None, &messages).await?;
    loop {
        let news = tokio::select! { biased;
            () = messages.0.closed() => return None,
            news = handle.feed.after(seen) => news,
        };
        seen = source.tell(&handle, Some(news), &messages).await?;
    }
}

/// From which revision on: `Last-Event-ID` is newer than what the URL says.
pub(super) fn since(headers: &HeaderMap, query: Option<u64>) -> Answered<Option<u64>> {
    let Some(id) = header(headers, "last-event-id")? else { return Ok(query) };
    revision(id).map(Some).ok_or_else(|| Rejection::invalid("last-event-id", "is not a revision").into())
}

pub(super) fn compacted(complete_after: u64) -> Fault {
    let detail = format!("changes are known after revision {complete_after} only: list again, and watch from there");
    Fault(Problem::new(HttpCode::Compacted, detail))
}

pub(super) fn ahead(since: u64, newest: u64) -> Fault {
    Rejection::invalid("since", format!("{since} is ahead of the revision, {newest}")).into()
}

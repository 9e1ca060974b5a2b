//! `/v1/events`: what was done and what happened.

use super::{
    cursor::Cursor,
    sse::{self, Messages, News, Source},
    *,
};
use crate::views;
use orbit_core::model::{HistoryEvent, Subject};
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<ManagerHandle> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    since: Option<u64>,
    kind: Option<String>,
    name: Option<String>,
    node: Option<String>,
    watch: Option<String>,
    limit: Option<usize>,
    #[serde(rename = "continue")]
    after: Option<String>,
}

impl Filter {
    fn matches(&self, happening: &HistoryEvent, event: &view::Event) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let about_node = matches!(happening.subject, Subject::Node);
        let node = self.node.as_deref().is_none_or(|node| event.node.as_deref() == Some(node));
        is(&self.kind, if about_node { "node" } else { &event.kind }) && is(&self.name, &event.name) && node
    }
}

/// What was done and what happened, oldest first: the newest 10,000.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "list_events",
    params(("since" = Option<u64>, Query, description = "only what came after this revision"),
        ("kind" = Option<String>, Query, description = "`service`, `task` or `node`: of the object"),
        ("name" = Option<String>, Query, description = "of the object"), ("node" = Option<String>, Query),
        ("watch" = Option<bool>, Query, description = "go on, as server-sent events"),
        ("limit" = Option<usize>, Query), ("continue" = Option<String>, Query, description = "from the page before"),
        ("Last-Event-ID" = Option<String>, Header, description = "as `since`, of a watch that goes on")),
    responses((status = 200, body = view::List<view::Event>), (status = 400, body = Problem),
        (status = 410, body = Problem, description = "not all of it is kept any more")))]
async fn list(
    State(handle): State<ManagerHandle>,
    headers: HeaderMap,
    Query(filter): Query<Filter>,
) -> Answered<Response> {
    let since = sse::since(&headers, filter.since)?;
    let limit = Page { limit: filter.limit, after: None }.limit()?;
    let from = match filter.after.as_deref() {
        None => Cursor::after(since.unwrap_or(0)),
        Some(cursor) => Cursor::parse(cursor)?,
    };
    let watched = flag("watch", filter.watch.as_deref())?;
    if let Some(since) = since {
        let looked = handle.read(move |state, _| {
            let history = state.cluster().history();
            let oldest = || history.iter().next().map_or(0, |oldest| oldest.index);
            (history.is_compacted(since).then(oldest), state.cluster().index)
        });
        let (oldest, newest) = looked.await?;
        if let Some(oldest) = oldest {
            return Err(sse::compacted(oldest));
        }
        if watched && since > newest {
            return Err(sse::ahead(since, newest));
        }
    }
    if watched {
        return Ok(sse::stream(handle, Story { seen: from.since(), filter }));
    }
    let listed = handle.read(move |state, _| {
        let mut place = (0, 0);
        let numbered = state.cluster().history().after(from.since()).map(|happening| {
            place = if place.0 == happening.index { (place.0, place.1 + 1) } else { (happening.index, 0) };
            (Cursor { revision: place.0, shown: place.1 }, happening)
        });
        let events = numbered.map(|(place, happening)| (place, happening, views::event(state, happening)));
        let chosen = events.filter(|(place, happening, event)| *place >= from && filter.matches(happening, event));
        let key = |(place, ..): &(Cursor, &HistoryEvent, view::Event)| {
            Cursor::behind(place.revision, place.shown).to_string()
        };
        page(state.cluster().index, limit, chosen, key, |(_, _, event)| event)
    });
    Ok(Json(listed.await?).into_response())
}

/// The history from a revision on.
struct Story {
    seen: u64,
    filter: Filter,
}

impl Source for Story {
    async fn tell(&mut self, handle: &ManagerHandle, _: Option<News>, messages: &Messages) -> Option<u64> {
        let (seen, filter) = (self.seen, self.filter.clone());
        let looked = handle.read(move |state, _| {
            let happened = state.cluster().history().after(seen);
            let events = happened.map(|happening| (happening, views::event(state, happening)));
            let chosen = events.filter(|(happening, event)| filter.matches(happening, event));
            (state.cluster().index, chosen.map(|(_, event)| event).collect::<Vec<_>>())
        });
        let (revision, events) = looked.await.ok()?;
        messages.send(Some(revision), events).await?;
        self.seen = revision;
        Some(revision)
    }
}

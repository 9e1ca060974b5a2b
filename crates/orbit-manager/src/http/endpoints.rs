//! `/v1/services/{name}/endpoints`: where a service is reached.

use super::{
    sse::{self, Messages, News, Source},
    *,
};
use crate::views;
use orbit_api::view::{Change, ChangeKind, Endpoints};
use orbit_core::model::Kind;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<ManagerHandle> {
    OpenApiRouter::new().routes(routes!(read))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct How {
    watch: Option<String>,
}

/// Where a service is reached now: the tasks that run and whose probes pass, were not told to stop, and have a reachable
/// node. A task leaves the list when it is told to stop, `stop.delay` before its stop signal.
#[utoipa::path(get, path = "/v1/services/{name}/endpoints", tag = "services", operation_id = "read_endpoints",
    params(("watch" = Option<bool>, Query,
        description = "keep sending server-sent events (Change), the first at once; each has all endpoints")),
    responses((status = 200, body = view::Endpoints), (status = 404, body = Problem)))]
async fn read(
    State(handle): State<ManagerHandle>,
    Path(name): Path<String>,
    Query(how): Query<How>,
) -> Answered<Response> {
    let (_, endpoints) = look(&handle, name.clone()).await?;
    let endpoints = endpoints.ok_or_else(|| services::no_service(&name))?;
    if !flag("watch", how.watch.as_deref())? {
        return Ok(Json(endpoints).into_response());
    }
    Ok(sse::stream(handle, Told { name, last: None }))
}

/// With the revision that was read; nothing where there is no such service.
async fn look(handle: &ManagerHandle, name: String) -> Answered<(u64, Option<Endpoints>)> {
    let looked = handle.read(move |state, _| {
        let cluster = state.cluster();
        let service = cluster.workload_named(Kind::Service, &name);
        (cluster.index, service.map(|service| views::endpoints(cluster, service)))
    });
    Ok(looked.await?)
}

/// The endpoints of a service, whenever they change; also while there is no such service.
struct Told {
    name: String,
    last: Option<Endpoints>,
}

impl Source for Told {
    /// A reader that is slow is told less often: what it misses is out of date by then.
    const MESSAGES_MAX: usize = 1;

    /// Whether or not the changes are still known: the endpoints are looked at as a whole.
    async fn tell(&mut self, handle: &ManagerHandle, _: Option<News>, messages: &Messages) -> Option<u64> {
        let (revision, now) = look(handle, self.name.clone()).await.ok()?;
        let kind = match (&self.last, &now) {
            (None, Some(_)) => Some(ChangeKind::Added),
            (Some(before), Some(now)) if before.items != now.items => Some(ChangeKind::Modified),
            (Some(_), None) => Some(ChangeKind::Deleted),
            _ => None,
        };
        if let Some(kind) = kind {
            let nothing = || Endpoints { name: self.name.clone(), revision, items: Vec::new() };
            let change = Change { kind, object: now.clone().unwrap_or_else(nothing) };
            messages.send(Some(revision), vec![change]).await?;
            self.last = now;
        }
        Some(revision)
    }
}

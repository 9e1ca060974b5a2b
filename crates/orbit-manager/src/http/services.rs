//! `/v1/services`

use super::{watch::Watched, *};
use crate::views;
use orbit_core::{
    manager::{Request as Ask, View},
    model::{Answer, Kind, Put, RolloutOrder, Time, Workload},
    state::Change as Changed,
};
use serde_json::{Value, json};
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<ManagerHandle> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read, store, delete))
        .routes(routes!(scale))
        .routes(routes!(restart))
        .routes(routes!(versions))
        .routes(routes!(rollout))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    selector: Option<String>,
    limit: Option<usize>,
    #[serde(rename = "continue")]
    after: Option<String>,
    watch: Option<String>,
    since: Option<u64>,
}

impl Watched for Selector {
    fn page(&self, state: View, now: Time, after: Option<&Changed>, max: usize) -> Vec<(Changed, Value)> {
        let after = after.and_then(|after| if let Changed::Workload(_, name) = after { Some(&**name) } else { None });
        let services = state.cluster().workloads_by_name(Kind::Service, after);
        let chosen = services.filter(|service| self.matches(&service.labels)).take(max);
        let show = |s: &Workload| (Changed::Workload(s.kind, s.name.clone()), json!(views::service(state, s, now)));
        chosen.map(show).collect()
    }
    fn one(&self, state: View, now: Time, changed: &Changed) -> Option<Value> {
        let Changed::Workload(Kind::Service, name) = changed else { return None };
        let service = state.cluster().workload_named(Kind::Service, name)?;
        self.matches(&service.labels).then(|| json!(views::service(state, service, now)))
    }
    fn gone(&self, changed: &Changed) -> Option<Value> {
        match changed {
            Changed::Workload(Kind::Service, name) => Some(json!({ "name": name })),
            _ => None,
        }
    }
    fn may_have_shown(&self, state: View, changed: &Changed, since: u64) -> bool {
        let Changed::Workload(kind, name) = changed else { return false };
        // Its labels are what they were, unless it was changed.
        state.cluster().workload_named(*kind, name).is_none_or(|service| service.revision > since)
    }
}

/// All services, by name.
#[utoipa::path(get, path = "/v1/services", tag = "services", operation_id = "list_services",
    params(("selector" = Option<String>, Query, description = "KEY=VALUE,…"), ("limit" = Option<usize>, Query),
        ("continue" = Option<String>, Query, description = "from the page before"),
        ("watch" = Option<bool>, Query, description = "go on, as server-sent events (Change)"),
        ("since" = Option<u64>, Query, description = "of a watch: only what changes after this revision"),
        ("Last-Event-ID" = Option<String>, Header, description = "as `since`, of a watch that goes on")),
    responses((status = 200, body = view::List<view::Service>), (status = 400, body = Problem),
        (status = 410, body = Problem, description = "what changed since is not known any more")))]
async fn list(
    State(handle): State<ManagerHandle>,
    headers: HeaderMap,
    Query(filter): Query<Filter>,
) -> Answered<Response> {
    let selector = Selector::parse(filter.selector.as_deref())?;
    if flag("watch", filter.watch.as_deref())? {
        return watch::watch(handle, sse::since(&headers, filter.since)?, selector).await;
    }
    let part = Page { limit: filter.limit, after: filter.after };
    let limit = part.limit()?;
    let listed = handle.read(move |state, now| {
        let cluster = state.cluster();
        let services = cluster.workloads_by_name(Kind::Service, part.after.as_deref());
        let chosen = services.filter(|service| selector.matches(&service.labels));
        page(cluster.index, limit, chosen, |s| s.name.to_string(), |s| views::service(state, s, now))
    });
    Ok(Json(listed.await?).into_response())
}

/// One service, desired beside actual. The ETag is the revision of its last change.
#[utoipa::path(get, path = "/v1/services/{name}", tag = "services", operation_id = "read_service",
    responses((status = 200, body = view::Service), (status = 404, body = Problem)))]
async fn read(State(handle): State<ManagerHandle>, Path(name): Path<String>) -> Answered<Response> {
    let found = handle.read(move |state, now| {
        let cluster = state.cluster();
        let service = cluster.workload_named(Kind::Service, &name);
        service.map(|service| views::service(state, service, now)).ok_or_else(|| no_service(&name))
    });
    let service = found.await??;
    Ok(tagged(StatusCode::OK, service.revision, service))
}

pub(super) fn no_service(name: &str) -> Rejection {
    Rejection::new(Code::NotFound, format!("there is no service `{name}`"))
}

/// Create or change a service.
#[utoipa::path(put, path = "/v1/services/{name}", tag = "services", operation_id = "store_service", request_body = Manifest,
    params(("If-Match" = Option<String>, Header, description = "only if it is at this revision"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if it does not exist"),
        ("Idempotency-Key" = Option<String>, Header, description = "a repetition changes nothing and has the same answer"),
        ("dry_run" = Option<bool>, Query, description = "say what would be done, and do nothing")),
    responses((status = 200, body = view::Stored), (status = 201, body = view::Stored),
        (status = 400, body = Problem), (status = 412, body = Problem), (status = 413, body = Problem)))]
async fn store(
    State(handle): State<ManagerHandle>,
    Path(name): Path<String>,
    Query(how): Query<How>,
    headers: HeaderMap,
    ManifestBody(manifest): ManifestBody,
) -> Answered<Response> {
    if manifest.kind != manifest::ManifestKind::Service {
        return Err(Rejection::invalid("kind", "this route stores services: POST tasks to /v1/tasks").into());
    }
    if manifest.name != name {
        let message = format!("`{}` is not the name in the path, `{name}`", manifest.name);
        return Err(Rejection::invalid("name", message).into());
    }
    let put = Put {
        definition: manifest.definition()?,
        keeps_replicas: manifest.keeps_replicas(),
        condition: condition(&headers)?,
        idempotency_key: idempotency_key(&headers)?,
    };
    match flag("dry_run", how.dry_run.as_deref())? {
        true => preview(&handle, name, put).await,
        false => {
            let changes = changes(&handle, &put).await?;
            stored(name, handle.request(Ask::Put(put)).await, changes)
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    pub dry_run: Option<String>,
}

/// What storing would do. What would be new has neither UID nor revision yet.
pub(super) async fn preview(handle: &ManagerHandle, name: String, put: Put) -> Answered<Response> {
    let changes = changes(handle, &put).await?;
    let looked = handle.read(move |state, _| {
        let (existing, changed) = state.preview(&put)?;
        Ok::<_, Rejection>(view::Stored {
            name,
            uid: existing.map(|service| service.uid.to_string()).unwrap_or_default(),
            revision: existing.map_or(0, |service| service.revision),
            version: existing.map_or(0, |service| service.current().number),
            created: existing.is_none(),
            changed,
            changes,
        })
    });
    Ok(Json(looked.await??).into_response())
}

/// What a request would change of the object that is there now. It is read before the request is carried out: somebody else
/// may change the object in between, and is answered with changes of his own.
pub(super) async fn changes(handle: &ManagerHandle, put: &Put) -> Answered<Vec<orbit_api::Difference>> {
    let (kind, name) = (put.definition.kind, put.definition.name.clone());
    let there = handle.read(move |state, _| state.cluster().workload_named(kind, &name).map(views::definition)).await?;
    let Some(before) = there else { return Ok(Vec::new()) };
    let replicas = if put.keeps_replicas { before.replicas } else { put.definition.replicas };
    let after = orbit_core::model::Definition { replicas, ..put.definition.clone() };
    Ok(orbit_api::differences(&Manifest::of(&before), &Manifest::of(&after)))
}

/// The key of a request that may be repeated.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Answered<Option<String>> {
    Ok(extract::header(headers, "idempotency-key")?.map(str::to_string))
}

fn stored(name: String, replied: crate::Replied, changes: Vec<orbit_api::Difference>) -> Answered<Response> {
    let Answer::Workload { uid, revision, version, created, .. } = replied.result? else {
        unreachable!("a stored service is answered as one");
    };
    let changed = revision == replied.revision;
    let changes = if changed && !created { changes } else { Vec::new() };
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(tagged(
        status,
        revision,
        view::Stored { name, uid: uid.to_string(), revision, version, created, changed, changes },
    ))
}

/// Delete a service: its name is free at once, its tasks are stopped.
#[utoipa::path(delete, path = "/v1/services/{name}", tag = "services", operation_id = "delete_service",
    params(("If-Match" = Option<String>, Header, description = "only if it is at this revision")),
    responses((status = 204), (status = 404, body = Problem), (status = 412, body = Problem)))]
async fn delete(
    State(handle): State<ManagerHandle>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answered<StatusCode> {
    let request = Ask::Delete { kind: Kind::Service, name, condition: condition(&headers)? };
    handle.request(request).await.result?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change the number of replicas and nothing else.
#[utoipa::path(post, path = "/v1/services/{name}/scale", tag = "services", operation_id = "scale_service", request_body = view::Scale,
    params(("If-Match" = Option<String>, Header, description = "only if it is at this revision")),
    responses((status = 200, body = view::Stored), (status = 400, body = Problem), (status = 404, body = Problem)))]
async fn scale(
    State(handle): State<ManagerHandle>,
    Path(name): Path<String>,
    headers: HeaderMap,
    BodyBytes(body): BodyBytes,
) -> Answered<Response> {
    let scale: view::Scale = manifest::read_json(&body)?;
    let request = Ask::Scale { name: name.clone(), replicas: scale.replicas, condition: condition(&headers)? };
    stored(name, handle.request(request).await, Vec::new())
}

/// Replace every task, slot by slot, by one of the same spec. What waits to be tried again is tried at
/// once.
#[utoipa::path(post, path = "/v1/services/{name}/restart", tag = "services", operation_id = "restart_service",
    params(("If-Match" = Option<String>, Header, description = "only if it is at this revision")),
    responses((status = 200, body = view::Stored), (status = 404, body = Problem), (status = 412, body = Problem)))]
async fn restart(
    State(handle): State<ManagerHandle>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answered<Response> {
    let request = Ask::Restart { name: name.clone(), condition: condition(&headers)? };
    stored(name, handle.request(request).await, Vec::new())
}

/// The versions of a service that are remembered, oldest first: what `undo` can go back to.
#[utoipa::path(get, path = "/v1/services/{name}/versions", tag = "services", operation_id = "list_versions",
    responses((status = 200, body = view::List<view::Version>), (status = 404, body = Problem)))]
async fn versions(State(handle): State<ManagerHandle>, Path(name): Path<String>) -> Answered<Response> {
    let found = handle.read(move |state, _| {
        let cluster = state.cluster();
        let service = cluster.workload_named(Kind::Service, &name).ok_or_else(|| no_service(&name))?;
        let (revision, items) = (cluster.index, views::versions(state, service));
        Ok::<_, Rejection>(view::List { revision, items, next: None })
    });
    Ok(Json(found.await??).into_response())
}

/// What somebody wants of a service's rollout: `pause`, `resume`, `promote` or `undo`.
#[utoipa::path(post, path = "/v1/services/{name}/rollout/{order}", tag = "services", operation_id = "order_rollout",
    request_body(content = view::Undo, description = "of `undo`; may be left out"),
    params(("order" = String, Path, description = "`pause`, `resume`, `promote` or `undo`"),
        ("If-Match" = Option<String>, Header, description = "only if the service is at this revision")),
    responses((status = 200, body = view::Stored), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "there is nothing to do that with"),
        (status = 412, body = Problem)))]
async fn rollout(
    State(handle): State<ManagerHandle>,
    Path((name, order)): Path<(String, String)>,
    headers: HeaderMap,
    BodyBytes(body): BodyBytes,
) -> Answered<Response> {
    let undo: view::Undo = if body.is_empty() { view::Undo::default() } else { manifest::read_json(&body)? };
    let order = match order.as_str() {
        "undo" => RolloutOrder::Undo { to: undo.version },
        _ if undo.version.is_some() => {
            return Err(Rejection::invalid("version", "only `undo` goes back to a version").into());
        }
        "pause" => RolloutOrder::Pause,
        "resume" => RolloutOrder::Resume,
        "promote" => RolloutOrder::Promote,
        _ => {
            let message = format!("a rollout cannot be `{order}`d: it is pause, resume, promote or undo");
            return Err(Rejection::new(Code::NotFound, message).into());
        }
    };
    let request = Ask::Rollout { name: name.clone(), order, condition: condition(&headers)? };
    stored(name, handle.request(request).await, Vec::new())
}

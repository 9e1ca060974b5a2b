//! `/v1/services`

use super::*;
use crate::views;
use axum::extract::Path;
use orbit_core::{
    manager::Request as Ask,
    model::{Answer, Kind, Put},
};
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read, store, delete)).routes(routes!(scale))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    selector: Option<String>,
    limit: Option<usize>,
    #[serde(rename = "continue")]
    after: Option<String>,
}

/// All services, by name.
#[utoipa::path(get, path = "/v1/services", tag = "services",
    params(("selector" = Option<String>, Query, description = "KEY=VALUE,…"), ("limit" = Option<usize>, Query),
        ("continue" = Option<String>, Query, description = "from the page before")),
    responses((status = 200, body = view::List<view::Service>), (status = 400, body = Problem)))]
async fn list(State(door): State<Door>, Query(filter): Query<Filter>) -> Answered<Json<view::List<view::Service>>> {
    let selector = Selector::parse(filter.selector.as_deref())?;
    let part = Page { limit: filter.limit, after: filter.after };
    let limit = part.limit()?;
    let listed = door.read(move |manager, _| {
        let cluster = manager.cluster();
        let services = cluster.workloads_by_name(Kind::Service, part.after.as_deref());
        let chosen = services.filter(|service| selector.matches(&service.labels));
        page(cluster.index, limit, chosen, |s| s.name.to_string(), |s| views::service(manager, s))
    });
    Ok(Json(listed.await?))
}

/// One service, desired beside actual. The ETag is the revision of its last change.
#[utoipa::path(get, path = "/v1/services/{name}", tag = "services",
    responses((status = 200, body = view::Service), (status = 404, body = Problem)))]
async fn read(State(door): State<Door>, Path(name): Path<String>) -> Answered<Response> {
    let found = door.read(move |manager, _| {
        let cluster = manager.cluster();
        let service = cluster.workload_named(Kind::Service, &name);
        service.map(|service| views::service(manager, service)).ok_or_else(|| no_service(&name))
    });
    let service = found.await??;
    Ok(tagged(StatusCode::OK, service.revision, service))
}

fn no_service(name: &str) -> Rejection {
    Rejection::new(Code::NotFound, format!("there is no service `{name}`"))
}

/// Create or change a service.
#[utoipa::path(put, path = "/v1/services/{name}", tag = "services", request_body = Manifest,
    params(("If-Match" = Option<String>, Header, description = "only if it is at this revision"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if it does not exist"),
        ("Idempotency-Key" = Option<String>, Header, description = "a repetition changes nothing and has the same answer")),
    responses((status = 200, body = view::Stored), (status = 201, body = view::Stored),
        (status = 400, body = Problem), (status = 412, body = Problem), (status = 413, body = Problem)))]
async fn store(
    State(door): State<Door>,
    Path(name): Path<String>,
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
        condition: condition(&headers)?,
        idempotency_key: idempotency_key(&headers)?,
    };
    stored(name, door.request(Ask::Put(put)).await)
}

/// The key of a request that may be repeated.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Answered<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) => Ok(Some(key.to_string())),
        Err(_) => Err(Rejection::new(Code::Invalid, "an idempotency key has 1 to 252 ASCII characters").into()),
    }
}

fn stored(name: String, replied: crate::Replied) -> Answered<Response> {
    let Answer::Workload { uid, revision, version, created, .. } = replied.result? else {
        unreachable!("a stored service is answered as one");
    };
    let changed = revision == replied.revision;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(tagged(status, revision, view::Stored { name, uid: uid.to_string(), revision, version, created, changed }))
}

/// Delete a service: its name is free at once, its tasks are stopped.
#[utoipa::path(delete, path = "/v1/services/{name}", tag = "services",
    params(("If-Match" = Option<String>, Header, description = "only if it is at this revision")),
    responses((status = 204), (status = 404, body = Problem), (status = 412, body = Problem)))]
async fn delete(State(door): State<Door>, Path(name): Path<String>, headers: HeaderMap) -> Answered<StatusCode> {
    let request = Ask::Delete { kind: Kind::Service, name, condition: condition(&headers)? };
    door.request(request).await.result?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change the number of replicas and nothing else.
#[utoipa::path(post, path = "/v1/services/{name}/scale", tag = "services", request_body = view::Scale,
    params(("If-Match" = Option<String>, Header, description = "only if it is at this revision")),
    responses((status = 200, body = view::Stored), (status = 400, body = Problem), (status = 404, body = Problem)))]
async fn scale(
    State(door): State<Door>,
    Path(name): Path<String>,
    headers: HeaderMap,
    BodyBytes(body): BodyBytes,
) -> Answered<Response> {
    let scale: view::Scale = manifest::read_json(&body)?;
    let request = Ask::Scale { name: name.clone(), replicas: scale.replicas, condition: condition(&headers)? };
    stored(name, door.request(request).await)
}

//! The REST API: JSON in, JSON out, problem documents for errors. The OpenAPI document is generated
//! from the handlers and the types.

mod apply;
pub mod browser;
pub mod connections;
mod cursor;
mod document;
mod endpoints;
mod events;
mod exec;
mod extract;
mod metrics;
mod nodes;
mod selector;
mod services;
mod tasks;
mod watch;

use crate::door::Door;
use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
};
use browser::Names;
use bytes::Bytes;
use connections::Limits;
pub use extract::BODY_BYTES_MAX;
use extract::{BodyBytes, ManifestBody, Path, Query, condition, flag};
use orbit_api::{Manifest, Problem, manifest, problem::HttpCode, view};
use orbit_core::model::{Code, Rejection};
use selector::Selector;
use serde::{Deserialize, Serialize};
use std::{future::Future, sync::LazyLock};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// The most objects on one page of a list.
const PAGE_MAX: usize = 1000;

/// What the document says of itself.
#[derive(OpenApi)]
#[openapi(
    info(title = "Orbit", description = "Desired state in, actual state out.", license(name = "Apache-2.0")),
    components(schemas(Problem, Manifest))
)]
struct Document;

/// All routes. There is no other way to one than with its documentation.
fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(services::routes())
        .merge(endpoints::routes())
        .merge(tasks::routes())
        .merge(nodes::routes())
        .merge(events::routes())
        .merge(apply::routes())
        .routes(routes!(openapi))
        .routes(routes!(schema))
        .routes(routes!(metrics::metrics))
        .routes(routes!(healthy))
        .routes(routes!(ready))
}

/// What is known of all routes.
static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(|| {
    let mut document = routes().split_for_parts().1;
    document::complete(&mut document);
    document
});

/// All routes, and what is said where there is none. Clients call the manager by one of the names.
pub fn router(door: Door, names: Names) -> Router {
    Router::from(routes())
        .fallback(|| async {
            Fault(Problem::new(HttpCode::NoSuchRoute, "there is no such route: see /v1/openapi.json"))
        })
        .method_not_allowed_fallback(|| async {
            let detail = "this route does not know that method: see /v1/openapi.json";
            Fault(Problem::new(HttpCode::MethodNotAllowed, detail))
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(names, browser::guard))
        .with_state(door)
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "about", operation_id = "read_openapi",
    responses((status = 200, content_type = "application/json", description = "OpenAPI 3.1")))]
async fn openapi() -> Response {
    json(DOCUMENT.to_pretty_json().expect("the document is plain data"))
}

/// What a manifest may hold, for editors.
#[utoipa::path(get, path = "/v1/manifest.schema.json", tag = "about", operation_id = "read_manifest_schema",
    responses((status = 200, content_type = "application/json", description = "JSON Schema, draft 2020-12")))]
async fn schema() -> Response {
    json(manifest_schema(&DOCUMENT))
}

/// Whether the manager lives.
#[utoipa::path(get, path = "/healthz", tag = "about", operation_id = "read_health", responses((status = 200, content_type = "text/plain")))]
async fn healthy() -> &'static str {
    "ok\n"
}

/// The JSON Schema of a manifest: the document's own, with the schemas that it refers to.
fn manifest_schema(document: &utoipa::openapi::OpenApi) -> String {
    let document = serde_json::to_value(document).expect("the document is plain data");
    let schema = serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Orbit manifest",
        "$ref": "#/$defs/Manifest",
        "$defs": document["components"]["schemas"],
    });
    let text = serde_json::to_string_pretty(&schema).expect("a schema is plain data");
    text.replace("#/components/schemas/", "#/$defs/")
}

/// Whether the manager leads and knows everything that was committed before.
#[utoipa::path(get, path = "/readyz", tag = "about", operation_id = "read_readiness",
    responses((status = 200, content_type = "text/plain"), (status = 503, content_type = "text/plain")))]
async fn ready(State(door): State<Door>) -> Response {
    match door.read(|state, _| state.is_ready()).await {
        Ok(true) => "ok\n".into_response(),
        Ok(false) => (StatusCode::SERVICE_UNAVAILABLE, "not leading yet\n").into_response(),
        Err(rejection) => Fault::from(rejection).into_response(),
    }
}

/// A problem document as a response.
pub(crate) struct Fault(pub Problem);

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Fault {
        Fault(rejection.into())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = HeaderValue::from_static("application/problem+json");
        let body = serde_json::to_string(&self.0).expect("a problem is plain data");
        (status, [(header::CONTENT_TYPE, json)], body).into_response()
    }
}

type Answered<T> = Result<T, Fault>;

/// An object with its revision as the ETag.
fn tagged<T: Serialize>(status: StatusCode, revision: u64, body: T) -> Response {
    let tag = [(header::ETAG, format!("\"{revision}\""))];
    (status, tag, Json(body)).into_response()
}

/// Which part of a list.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct Page {
    limit: Option<usize>,
    #[serde(rename = "continue")]
    after: Option<String>,
}

impl Page {
    fn limit(&self) -> Answered<usize> {
        match self.limit.unwrap_or(PAGE_MAX) {
            0 => Err(Fault(Rejection::invalid("limit", "0 is no page").into())),
            limit => Ok(limit.min(PAGE_MAX)),
        }
    }
}

/// One page of an ordered list: as many as the limit, and where the next begins.
fn page<T, V>(
    revision: u64,
    limit: usize,
    items: impl Iterator<Item = T>,
    key: impl Fn(&T) -> String,
    show: impl Fn(T) -> V,
) -> view::List<V> {
    let (mut shown, mut next, mut last) = (Vec::new(), None, None);
    for item in items {
        if shown.len() == limit {
            next = last;
            break;
        }
        last = Some(key(&item));
        shown.push(show(item));
    }
    view::List { revision, items: shown, next }
}

/// A body that is written as it comes.
fn streamed(chunks: impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(chunks)).into_response()
}

/// Serves the API until `closed` is ready, and then for as long as answers are under way.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(
    listener: std::net::TcpListener,
    router: Router,
    limits: Limits,
    closed: impl Future<Output = ()>,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    connections::serve(tokio::net::TcpListener::from_std(listener)?, router, limits, closed).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service(more: Value) -> Value {
        let mut manifest = json!({ "kind": "Service", "name": "web", "image": "nginx:1.27" });
        let all = manifest.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        manifest
    }

    /// Manifests, and whether their form is right. What the form cannot say (`resources.cpu: 0`) is not here.
    fn manifests() -> Vec<(Value, bool)> {
        let right = [
            json!({}),
            json!({ "replicas": 3, "command": [], "args": ["a"], "env": { "MODE": "production" } }),
            json!({ "labels": { "team": "shop" }, "resources": { "cpu": "250m", "memory": "128Mi", "pids": 100 } }),
            json!({ "ports": [{ "name": "http", "container": 80 }, { "name": "x", "container": 81, "host": 8081 }] }),
            json!({ "placement": { "strategy": "spread", "constraints": ["node.arch == amd64"] } }),
            json!({ "restart": { "policy": "on_failure", "backoff": { "initial": "1s", "max": "5m", "reset_after": "10m" } } }),
            json!({ "stop": { "grace": "10s" } }),
            json!({ "ready": { "command": ["well"], "interval": "5s", "timeout": "2s", "retries": 3, "start_period": "0s" } }),
            json!({ "kind": "Task" }),
        ];
        let wrong = [
            json!({ "imgae": "x" }),
            json!({ "health": { "udp": {} } }),
            json!({ "kind": "Pod" }),
            json!({ "name": 7 }),
            json!({ "image": null }),
            json!({ "replicas": -1 }),
            json!({ "replicas": "three" }),
            json!({ "resources": { "disk": "1Gi" } }),
            json!({ "resources": { "cpu": {} } }),
            json!({ "ports": [{ "container": 80 }] }),
            json!({ "ports": [{ "name": "http", "container": 70000 }] }),
            json!({ "ports": [{ "name": "http", "container": 80, "protocol": "udp" }] }),
            json!({ "placement": { "strategy": "random" } }),
            json!({ "restart": { "policy": "sometimes" } }),
            json!({ "restart": { "backoff": { "first": "1s" } } }),
            json!({ "stop": { "grace": [] } }),
            json!({ "env": { "A": {} } }),
        ];
        let right = right.into_iter().map(|more| (service(more), true));
        right.chain(wrong.into_iter().map(|more| (service(more), false))).collect()
    }

    #[test]
    fn the_schema_of_a_manifest_agrees_with_what_is_read() {
        let schema: Value = serde_json::from_str(&manifest_schema(&DOCUMENT)).unwrap();
        let schema = jsonschema::validator_for(&schema).unwrap();
        for (manifest, right) in manifests() {
            let read = manifest::read_json::<Manifest>(manifest.to_string().as_bytes());
            let errors: Vec<_> = schema.iter_errors(&manifest).map(|error| error.to_string()).collect();
            assert_eq!(read.is_ok(), right, "read: {manifest}: {:?}", read.err());
            assert_eq!(errors.is_empty(), right, "by the schema: {manifest}: {errors:?}");
        }
    }

    #[test]
    fn the_example_is_valid_by_the_schema() {
        let example = include_str!("../../../examples/web.yaml");
        let read = manifest::read_all(example).unwrap();
        let schema: Value = serde_json::from_str(&manifest_schema(&DOCUMENT)).unwrap();
        for manifest in read {
            // As it was written, and as it is given back.
            assert!(jsonschema::is_valid(&schema, &json!(manifest)), "{manifest:?}");
        }
    }
}

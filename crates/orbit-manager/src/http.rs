//! The REST API: JSON in, JSON out, problem documents for errors. The OpenAPI document is generated
//! from the handlers and the types.

mod apply;
mod events;
mod exec;
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
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use orbit_api::{Manifest, Problem, manifest, view};
use orbit_core::model::{Code, Condition, Rejection};
use selector::Selector;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;

/// The largest body that is read.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// The most objects on one page of a list.
const PAGE_MAX: usize = 1000;

/// What the document says of itself.
#[derive(OpenApi)]
#[openapi(
    info(title = "Orbit", description = "Desired state in, actual state out.", license(name = "Apache-2.0")),
    components(schemas(Problem, Manifest))
)]
struct Document;

/// All routes, with their document.
pub fn router(door: Door) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(services::routes())
        .merge(tasks::routes())
        .merge(nodes::routes())
        .merge(events::routes())
        .merge(apply::routes())
        .split_for_parts();
    let schema = manifest_schema(&document);
    let document = document.to_pretty_json().expect("the document is plain data");
    let json = |text: String| async move { ([(header::CONTENT_TYPE, "application/json")], text) };
    router
        .route("/v1/openapi.json", get(move || json(document)))
        .route("/v1/manifest.schema.json", get(move || json(schema)))
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(|| async {
            Fault(Problem::new(404, "no_such_route", "there is no such route: see /v1/openapi.json"))
        })
        .method_not_allowed_fallback(|| async {
            Fault(Problem::new(405, "method_not_allowed", "this route does not know that method: see /v1/openapi.json"))
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(door)
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

/// Ready once the manager leads and knows everything that was committed before.
async fn ready(State(door): State<Door>) -> Response {
    match door.read(|manager, _| manager.is_ready()).await {
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

/// A body up to the limit.
struct BodyBytes(Bytes);

impl<S: Send + Sync> FromRequest<S> for BodyBytes {
    type Rejection = Fault;
    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(BodyBytes(bytes)),
            Err(BytesRejection::FailedToBufferBody(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes");
                Err(Fault(Problem::new(413, "body_too_large", detail)))
            }
            Err(error) => Err(Fault(Problem::new(400, "invalid", error.body_text()))),
        }
    }
}

/// The manifest in a body.
struct ManifestBody(Manifest);

impl<S: Send + Sync> FromRequest<S> for ManifestBody {
    type Rejection = Fault;
    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let BodyBytes(bytes) = BodyBytes::from_request(request, state).await?;
        Ok(ManifestBody(manifest::read_json(&bytes)?))
    }
}

/// A query; what it does not know is an error.
struct Query<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Fault;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Query(query)),
            Err(error) => Err(Fault(Problem::new(400, "invalid", error.body_text()))),
        }
    }
}

/// `If-Match: "REV"` or `If-None-Match: *`.
fn condition(headers: &HeaderMap) -> Answered<Condition> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("").trim());
    let wrong = |what: &str| Fault(Rejection::new(Code::Invalid, what).into());
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Condition::None),
        (None, Some("*")) => Ok(Condition::Absent),
        (Some(tag), None) => match tag.trim_matches('"').parse() {
            Ok(revision) => Ok(Condition::Revision(revision)),
            Err(_) => Err(wrong("If-Match takes a revision, for example \"57\"")),
        },
        (None, Some(_)) => Err(wrong("If-None-Match takes * only: create, but do not change")),
        (Some(_), Some(_)) => Err(wrong("If-Match and If-None-Match exclude each other")),
    }
}

/// `1` or `0`; whether a query asks for something.
fn flag(field: &str, value: Option<&str>) -> Answered<bool> {
    match value {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true" | "") => Ok(true),
        Some(other) => Err(Rejection::invalid(field, format!("`{other}` is neither 1 nor 0")).into()),
    }
}

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
/// When the listener fails.
pub async fn serve(
    listener: std::net::TcpListener,
    door: Door,
    closed: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router(door)).with_graceful_shutdown(closed).await
}

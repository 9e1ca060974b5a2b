//! The REST API: JSON in, JSON out, problem documents for errors. The OpenAPI document is generated
//! from the handlers and the types.

mod about;
mod answer;
mod apply;
pub mod browser;
pub mod connections;
mod cursor;
mod document;
mod endpoints;
mod events;
mod exec;
mod extract;
mod log;
mod measured;
mod metrics;
mod nodes;
mod page;
mod selector;
mod series;
mod services;
mod snapshot;
mod sse;
mod tasks;
mod volumes;
mod watch;

use crate::handle::ManagerHandle;
use answer::{Answered, Fault, tagged};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
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
use page::{Page, page};
use selector::Selector;
use serde::{Deserialize, Serialize};
use std::future::Future;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;

/// What the document says of itself.
#[derive(OpenApi)]
#[openapi(
    info(title = "Orbit", description = "Desired state in, actual state out.", license(name = "Apache-2.0")),
    components(schemas(Problem, Manifest))
)]
struct Document;

/// All routes. There is no other way to one than with its documentation.
fn routes() -> OpenApiRouter<ManagerHandle> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(services::routes())
        .merge(endpoints::routes())
        .merge(tasks::routes())
        .merge(exec::routes())
        .merge(nodes::routes())
        .merge(volumes::routes())
        .merge(events::routes())
        .merge(apply::routes())
        .merge(snapshot::routes())
        .merge(about::routes())
        .merge(metrics::routes())
}

/// All routes, and what is said where there is none. Clients call the manager by one of the names.
pub fn router(handle: ManagerHandle, names: Names) -> Router {
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
        // Around everything else: what is refused is counted, too.
        .layer(middleware::from_fn_with_state(handle.clone(), measured::measure))
        .with_state(handle)
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

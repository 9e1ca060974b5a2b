//! Counts every request, and how long its answer took.

use super::ManagerHandle;
use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use tokio::time::Instant;

/// The outermost layer around all routes.
pub(super) async fn measure(State(handle): State<ManagerHandle>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    // The template, not the path: there are few of them, whatever is asked for.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map(MatchedPath::as_str);
    handle.metrics.answered(method.as_str(), route, response.status().as_u16(), begun.elapsed());
    response
}

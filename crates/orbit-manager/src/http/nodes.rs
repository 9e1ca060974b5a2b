//! `/v1/nodes`

use super::*;
use crate::views;
use axum::extract::Path;
use orbit_core::manager::Request as Ask;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read, forget))
}

/// All nodes, by ID.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes",
    params(("limit" = Option<usize>, Query), ("continue" = Option<String>, Query, description = "from the page before")),
    responses((status = 200, body = view::List<view::Node>)))]
async fn list(State(door): State<Door>, Query(part): Query<Page>) -> Answered<Json<view::List<view::Node>>> {
    let limit = part.limit()?;
    let listed = door.read(move |manager, now| {
        let cluster = manager.cluster();
        let mut nodes: Vec<_> = cluster.nodes().collect();
        nodes.sort_unstable_by(|a, b| a.info.name.cmp(&b.info.name));
        let after = |name: &str| part.after.as_deref().is_none_or(|after| name > after);
        let nodes = nodes.into_iter().filter(|node| after(&node.info.name));
        page(cluster.index, limit, nodes, |n| n.info.name.clone(), |n| views::node(manager, n, now))
    });
    Ok(Json(listed.await?))
}

/// One node.
#[utoipa::path(get, path = "/v1/nodes/{name}", tag = "nodes",
    responses((status = 200, body = view::Node), (status = 404, body = Problem)))]
async fn read(State(door): State<Door>, Path(name): Path<String>) -> Answered<Json<view::Node>> {
    let found = door.read(move |manager, now| {
        let node = manager.cluster().node_named(&name);
        let missing = || Rejection::new(Code::NotFound, format!("there is no node `{name}`"));
        node.map(|node| views::node(manager, node, now)).ok_or_else(missing)
    });
    Ok(Json(found.await??))
}

/// Forget a node that is gone for good: its tasks are lost, and run elsewhere.
#[utoipa::path(delete, path = "/v1/nodes/{name}", tag = "nodes",
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn forget(State(door): State<Door>, Path(name): Path<String>) -> Answered<StatusCode> {
    door.request(Ask::Forget { name }).await.result?;
    Ok(StatusCode::NO_CONTENT)
}

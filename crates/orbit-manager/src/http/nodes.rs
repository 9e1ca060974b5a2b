//! `/v1/nodes`

use super::{watch::Watched, *};
use crate::views;
use orbit_core::{
    manager::{Request as Ask, View},
    model::{AvailabilityOrder, Millis, NodeId, Time, What},
    state::Change as Changed,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<ManagerHandle> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read, forget))
        .routes(routes!(cordon))
        .routes(routes!(uncordon))
        .routes(routes!(drain))
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

/// Nodes with these labels. A forgotten one is told by its name, which another may have by then.
struct Nodes {
    selector: Selector,
    names: std::sync::Mutex<BTreeMap<NodeId, String>>,
}

impl Nodes {
    fn remember(&self, id: NodeId, name: &str) {
        self.names.lock().expect("nobody panics with it").insert(id, name.to_string());
    }
}

impl Watched for Nodes {
    fn page(&self, state: View, now: Time, after: Option<&Changed>, max: usize) -> Vec<(Changed, Value)> {
        let after = after.and_then(|after| if let Changed::Node(id) = after { Some(*id) } else { None });
        let chosen = state.cluster().nodes_after(after).filter(|node| self.selector.matches(&node.info.labels));
        let show = |node: &orbit_core::model::Node| {
            self.remember(node.id, &node.info.name);
            (Changed::Node(node.id), json!(views::node(state, node, now)))
        };
        chosen.take(max).map(show).collect()
    }
    fn one(&self, state: View, now: Time, changed: &Changed) -> Option<Value> {
        let Changed::Node(id) = changed else { return None };
        let Some(node) = state.cluster().node(*id) else {
            // Nothing is left of it but its name in the history.
            let mut events = state.cluster().history().iter().rev();
            if let Some(event) = events.find(|event| event.node == Some(*id) && event.what == What::Forgotten) {
                self.remember(*id, &event.node_name);
            }
            return None;
        };
        self.remember(*id, &node.info.name);
        let chosen = self.selector.matches(&node.info.labels);
        chosen.then(|| json!(views::node(state, node, now)))
    }
    fn may_have_shown(&self, state: View, changed: &Changed, since: u64) -> bool {
        let Changed::Node(id) = changed else { return false };
        // Its labels are what they were, unless it has registered again.
        state.cluster().node(*id).is_none_or(|node| node.incarnation > since)
    }
    fn gone(&self, changed: &Changed) -> Option<Value> {
        let Changed::Node(id) = changed else { return None };
        Some(json!({ "name": self.names.lock().expect("nobody panics with it").get(id)? }))
    }
}

/// All nodes, by name.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", operation_id = "list_nodes",
    params(("selector" = Option<String>, Query, description = "KEY=VALUE,…"), ("limit" = Option<usize>, Query),
        ("continue" = Option<String>, Query, description = "from the page before"),
        ("watch" = Option<bool>, Query, description = "go on, as server-sent events (Change)"),
        ("since" = Option<u64>, Query, description = "of a watch: only what changes after this revision"),
        ("Last-Event-ID" = Option<String>, Header, description = "as `since`, of a watch that goes on")),
    responses((status = 200, body = view::List<view::Node>), (status = 400, body = Problem),
        (status = 410, body = Problem, description = "what changed since is not known any more")))]
async fn list(
    State(handle): State<ManagerHandle>,
    headers: HeaderMap,
    Query(filter): Query<Filter>,
) -> Answered<Response> {
    let selector = Selector::parse(filter.selector.as_deref())?;
    if flag("watch", filter.watch.as_deref())? {
        let nodes = Nodes { selector, names: Default::default() };
        return watch::watch(handle, sse::since(&headers, filter.since)?, nodes).await;
    }
    let limit = Page { limit: filter.limit, after: None }.limit()?;
    let listed = handle.read(move |state, now| {
        let cluster = state.cluster();
        let nodes = cluster.nodes_by_name(filter.after.as_deref());
        let nodes = nodes.filter(|node| selector.matches(&node.info.labels));
        page(cluster.index, limit, nodes, |n| n.info.name.clone(), |n| views::node(state, n, now))
    });
    Ok(Json(listed.await?).into_response())
}

/// One node.
#[utoipa::path(get, path = "/v1/nodes/{name}", tag = "nodes", operation_id = "read_node",
    responses((status = 200, body = view::Node), (status = 404, body = Problem)))]
async fn read(State(handle): State<ManagerHandle>, Path(name): Path<String>) -> Answered<Json<view::Node>> {
    let found = handle.read(move |state, now| {
        let node = state.cluster().node_named(&name);
        let missing = || Rejection::new(Code::NotFound, format!("there is no node `{name}`"));
        node.map(|node| views::node(state, node, now)).ok_or_else(missing)
    });
    Ok(Json(found.await??))
}

/// Place no more tasks on a node. What runs there goes on.
#[utoipa::path(post, path = "/v1/nodes/{name}/cordon", tag = "nodes", operation_id = "cordon_node",
    responses((status = 200, body = view::Node), (status = 404, body = Problem)))]
async fn cordon(handle: State<ManagerHandle>, name: Path<String>) -> Answered<Json<view::Node>> {
    set_availability(handle, name, AvailabilityOrder::Cordon).await
}

/// Let a node take tasks again. This also ends a drain.
#[utoipa::path(post, path = "/v1/nodes/{name}/uncordon", tag = "nodes", operation_id = "uncordon_node",
    responses((status = 200, body = view::Node), (status = 404, body = Problem)))]
async fn uncordon(handle: State<ManagerHandle>, name: Path<String>) -> Answered<Json<view::Node>> {
    set_availability(handle, name, AvailabilityOrder::Uncordon).await
}

/// Drain a node. Tasks of services are replaced elsewhere, within the update budget of each service; a task that runs
/// once may come to its end. `availability` is `drained` when all tasks were seen to end. The tasks of an unreachable node are
/// replaced at once, unless a fence forbids it.
#[utoipa::path(post, path = "/v1/nodes/{name}/drain", tag = "nodes", operation_id = "drain_node", request_body = Option<view::Drain>,
    responses((status = 200, body = view::Node), (status = 400, body = Problem), (status = 404, body = Problem)))]
async fn drain(
    handle: State<ManagerHandle>,
    name: Path<String>,
    BodyBytes(body): BodyBytes,
) -> Answered<Json<view::Node>> {
    let view::Drain { deadline } = if body.is_empty() { view::Drain::default() } else { manifest::read_json(&body)? };
    let deadline = deadline.map(|span| Millis(span.millis));
    set_availability(handle, name, AvailabilityOrder::Drain { deadline }).await
}

async fn set_availability(
    State(handle): State<ManagerHandle>,
    Path(name): Path<String>,
    order: AvailabilityOrder,
) -> Answered<Json<view::Node>> {
    handle.request(Ask::SetAvailability { name: name.clone(), order }).await.result?;
    read(State(handle), Path(name)).await
}

/// Forget a node that is gone for good: its tasks are lost, and run elsewhere.
#[utoipa::path(delete, path = "/v1/nodes/{name}", tag = "nodes", operation_id = "forget_node",
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn forget(State(handle): State<ManagerHandle>, Path(name): Path<String>) -> Answered<StatusCode> {
    handle.request(Ask::Forget { name }).await.result?;
    Ok(StatusCode::NO_CONTENT)
}

//! `/v1/snapshot`: a backup of the state, and what becomes of what a restored one does not know.

use super::*;
use axum::{body::Body, http::header};
use orbit_core::{manager::Request as Ask, manager::View, model::UnknownTasks};
use orbit_proto::BackupWriter;
use std::convert::Infallible;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa_axum::routes;

/// Pieces of a backup, of about a mebibyte each, that are ahead of a slow reader.
const PIECES_MAX: usize = 2;
/// So many IDs of tasks are listed.
const LISTED_MAX: usize = 1000;

pub(super) fn routes() -> OpenApiRouter<ManagerHandle> {
    OpenApiRouter::new().routes(routes!(save)).routes(routes!(unknown, settle))
}

/// A backup of everything that the manager knows, as a file: services and tasks with their versions, nodes, attempts, the
/// newest events. Nothing waits for it. One at a time is taken.
#[utoipa::path(post, path = "/v1/snapshot", tag = "snapshot", operation_id = "save_snapshot",
    responses((status = 200, content_type = "application/octet-stream"), (status = 503, body = Problem)))]
async fn save(State(handle): State<ManagerHandle>) -> Answered<Response> {
    let another = |_| Rejection::new(Code::Unavailable, "another snapshot is being taken: ask again");
    let turn = handle.backups.clone().try_acquire_owned().map_err(another)?;
    let snapshot = handle.read(|state, _| state.cluster().snapshot()).await?;
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    // Ends with its reader, and with it the turn.
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let sent = |piece: Vec<u8>| sender.blocking_send(Ok::<_, Infallible>(Bytes::from(piece))).is_ok();
        BackupWriter::new(&snapshot).all(sent)
    });
    let body = Body::from_stream(ReceiverStream::new(pieces));
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// What nodes run from before a restore that the backup did not know.
#[utoipa::path(get, path = "/v1/snapshot/unknown", tag = "snapshot", operation_id = "read_unknown_tasks",
    responses((status = 200, body = view::UnknownTasks)))]
async fn unknown(State(handle): State<ManagerHandle>) -> Answered<Json<view::UnknownTasks>> {
    Ok(Json(handle.read(|state, _| shown(state)).await?))
}

/// Say what becomes of it.
#[utoipa::path(post, path = "/v1/snapshot/unknown", tag = "snapshot", operation_id = "settle_unknown_tasks",
    request_body = view::SettleUnknown,
    responses((status = 200, body = view::UnknownTasks), (status = 400, body = Problem),
        (status = 409, body = Problem, description = "nothing is held")))]
async fn settle(State(handle): State<ManagerHandle>, BodyBytes(body): BodyBytes) -> Answered<Json<view::UnknownTasks>> {
    let view::SettleUnknown { action } = manifest::read_json(&body)?;
    let adopt = matches!(action, view::SettleAction::Adopt);
    handle.request(Ask::SettleUnknown { adopt }).await.result?;
    unknown(State(handle)).await
}

fn shown(state: View) -> view::UnknownTasks {
    let cluster = state.cluster();
    let (mut room, mut count, mut nodes) = (LISTED_MAX, 0, Vec::new());
    // Only a restored state has any.
    let all = cluster.nodes().filter(|_| cluster.unknown != UnknownTasks::Removed);
    for node in all.filter(|node| !node.unknown.is_empty()) {
        count += node.unknown.len();
        let tasks: Vec<String> = node.unknown.iter().take(room).map(|task| task.to_string()).collect();
        room -= tasks.len();
        nodes.push(view::UnknownOnNode { node: node.info.name.clone(), count: node.unknown.len() as u32, tasks });
    }
    view::UnknownTasks { decision: cluster.unknown.as_str().to_string(), count: count as u32, nodes }
}

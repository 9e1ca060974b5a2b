//! `/v1/volumes`

use super::*;
use crate::views;
use orbit_core::manager::Request as Ask;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<ManagerHandle> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read, remove))
}

/// All volumes, by name: those that a task was placed with.
#[utoipa::path(get, path = "/v1/volumes", tag = "volumes", operation_id = "list_volumes",
    params(("limit" = Option<usize>, Query), ("continue" = Option<String>, Query, description = "from the page before")),
    responses((status = 200, body = view::List<view::Volume>), (status = 400, body = Problem)))]
async fn list(State(handle): State<ManagerHandle>, Query(at): Query<Page>) -> Answered<Json<view::List<view::Volume>>> {
    let limit = at.limit()?;
    let listed = handle.read(move |state, _| {
        let cluster = state.cluster();
        let volumes = cluster.volumes_after(at.after.as_deref());
        page(cluster.index, limit, volumes, |volume| volume.name.to_string(), |volume| views::volume(state, volume))
    });
    Ok(Json(listed.await?))
}

/// One volume.
#[utoipa::path(get, path = "/v1/volumes/{name}", tag = "volumes", operation_id = "read_volume",
    responses((status = 200, body = view::Volume), (status = 404, body = Problem)))]
async fn read(State(handle): State<ManagerHandle>, Path(name): Path<String>) -> Answered<Json<view::Volume>> {
    let found = handle.read(move |state, _| {
        let missing = || Rejection::new(Code::NotFound, format!("there is no volume `{name}`"));
        state.cluster().volume(&name).map(|volume| views::volume(state, volume)).ok_or_else(missing)
    });
    Ok(Json(found.await??))
}

/// Give a volume up that no task uses. Its data stays on its node, as a volume of the engine, and nobody is given it
/// again: who uses the name next has another volume, which is empty.
#[utoipa::path(delete, path = "/v1/volumes/{name}", tag = "volumes", operation_id = "remove_volume",
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn remove(State(handle): State<ManagerHandle>, Path(name): Path<String>) -> Answered<StatusCode> {
    handle.request(Ask::RemoveVolume { name }).await.result?;
    Ok(StatusCode::NO_CONTENT)
}

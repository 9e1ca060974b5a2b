//! `/v1/apply`: several objects in one request.

use super::*;
use orbit_core::{
    manager::Request as Ask,
    model::{Answer, Condition, Put},
};
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<ManagerHandle> {
    OpenApiRouter::new().routes(routes!(apply))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct How {
    dry_run: Option<String>,
}

/// Store several objects, one after the other. All are checked before the first is stored; the first
/// that is refused then ends it, and says so in its place.
#[utoipa::path(post, path = "/v1/apply", tag = "apply", operation_id = "apply", request_body = view::Apply,
    params(("dry_run" = Option<bool>, Query, description = "say what would be done, and do nothing")),
    responses((status = 200, body = view::Applied), (status = 400, body = Problem)))]
async fn apply(
    State(handle): State<ManagerHandle>,
    Query(how): Query<How>,
    BodyBytes(body): BodyBytes,
) -> Answered<Json<view::Applied>> {
    let dry_run = flag("dry_run", how.dry_run.as_deref())?;
    let view::Apply { items } = manifest::read_json(&body)?;
    let mut puts = Vec::new();
    for (i, manifest) in items.iter().enumerate() {
        let definition = manifest.definition().and_then(|definition| definition.validate().map(|()| definition));
        let within = |rejection: Rejection| Rejection { field: format!("items[{i}].{}", rejection.field), ..rejection };
        let definition = definition.map_err(within)?;
        let keeps_replicas = manifest.keeps_replicas();
        puts.push(Put { definition, condition: Condition::None, keeps_replicas, idempotency_key: None });
    }
    let mut applied = view::Applied { items: Vec::new() };
    for put in puts {
        let item = view::AppliedItem {
            kind: put.definition.kind.to_string(),
            name: put.definition.name.clone(),
            revision: 0,
            created: false,
            changed: false,
            changes: services::changes(&handle, &put).await?,
            problem: None,
        };
        let done = if dry_run { preview(&handle, put).await? } else { store(&handle, put).await };
        match done {
            Ok((revision, created, changed)) => {
                let changes = if changed { item.changes } else { Vec::new() };
                applied.items.push(view::AppliedItem { revision, created, changed, changes, ..item });
            }
            Err(rejection) => {
                applied.items.push(view::AppliedItem { changes: Vec::new(), problem: Some(rejection.into()), ..item });
                break;
            }
        }
    }
    Ok(Json(applied))
}

type Done = Result<(u64, bool, bool), Rejection>;

async fn store(handle: &ManagerHandle, put: Put) -> Done {
    let replied = handle.request(Ask::Put(put)).await;
    let Answer::Workload { revision, created, .. } = replied.result? else {
        unreachable!("a stored object is answered as one");
    };
    Ok((revision, created, revision == replied.revision))
}

async fn preview(handle: &ManagerHandle, put: Put) -> Answered<Done> {
    let looked = handle.read(move |state, _| {
        let (existing, changed) = state.preview(&put)?;
        Ok((existing.map_or(0, |workload| workload.revision), existing.is_none(), changed))
    });
    Ok(looked.await?)
}

//! `/v1/tasks`: definitions go in, attempts come out.
//!
//! `{id}` is an attempt's ID (it begins with a digit) or a definition's name (it does not).

use super::{
    services::{How, idempotency_key, preview},
    watch::Watched,
    *,
};
use crate::views;
use orbit_core::{
    manager::{Request as Ask, View},
    model::{Answer, Kind, LogRange, Put, Task, TaskId, TaskState, Time},
    state::{Change as Changed, Cluster},
};
use serde_json::{Value, json};
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<ManagerHandle> {
    OpenApiRouter::new().routes(routes!(list, submit)).routes(routes!(read, delete)).routes(routes!(logs))
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    kind: Option<String>,
    name: Option<String>,
    service: Option<String>,
    node: Option<String>,
    state: Option<String>,
    selector: Option<String>,
    limit: Option<usize>,
    #[serde(rename = "continue")]
    after: Option<String>,
    watch: Option<String>,
    since: Option<u64>,
}

/// Which attempts.
struct Tasks {
    filter: Filter,
    selector: Selector,
}

impl Watched for Tasks {
    fn page(&self, state: View, now: Time, after: Option<&Changed>, max: usize) -> Vec<(Changed, Value)> {
        let cluster = state.cluster();
        let after = after.and_then(|after| if let Changed::Task(id) = after { Some(*id) } else { None });
        let tasks = cluster.tasks_after(after.unwrap_or(TaskId::MIN));
        let chosen = tasks.filter(|task| self.filter.matches(cluster, task, &self.selector)).take(max);
        chosen.map(|task| (Changed::Task(task.id), json!(views::task(state, task, now)))).collect()
    }
    fn one(&self, state: View, now: Time, changed: &Changed) -> Option<Value> {
        let Changed::Task(id) = changed else { return None };
        let cluster = state.cluster();
        let task = cluster.task(*id).filter(|task| self.filter.matches(cluster, task, &self.selector))?;
        Some(json!(views::task(state, task, now)))
    }
    fn may_have_shown(&self, state: View, changed: &Changed, since: u64) -> bool {
        let Changed::Task(id) = changed else { return false };
        let cluster = state.cluster();
        let Some((task, workload)) = cluster.task(*id).and_then(|it| Some((it, cluster.workload(it.workload)?))) else {
            return true;
        };
        // Of what it is and where it runs, nothing changes; its state does, and so may labels.
        let unchanged = Filter { state: None, ..self.filter.clone() };
        let labelled = workload.revision > since || self.selector.matches(&workload.labels);
        labelled && id.index <= since && unchanged.matches(cluster, task, &Selector::default())
    }
    fn gone(&self, changed: &Changed) -> Option<Value> {
        match changed {
            Changed::Task(id) => Some(json!({ "id": id.to_string() })),
            _ => None,
        }
    }
}

impl Filter {
    fn matches(&self, cluster: &Cluster, task: &Task, selector: &Selector) -> bool {
        let Some(workload) = cluster.workload(task.workload) else { return false };
        let node = cluster.node_of(task).map(|node| node.info.name.as_str());
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let of_service = self.service.as_deref().is_none_or(|s| workload.kind == Kind::Service && s == &*workload.name);
        of_service
            && is(&self.kind, &workload.kind.to_string())
            && is(&self.name, &workload.name)
            && is(&self.state, task.state.as_str())
            && self.node.as_deref().is_none_or(|wanted| node == Some(wanted))
            && selector.matches(&workload.labels)
    }
}

/// All attempts, by ID, which is by age.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", operation_id = "list_tasks",
    params(("kind" = Option<String>, Query, description = "`service` or `task`"),
        ("name" = Option<String>, Query, description = "of the object they belong to"),
        ("service" = Option<String>, Query), ("node" = Option<String>, Query), ("state" = Option<String>, Query),
        ("selector" = Option<String>, Query, description = "KEY=VALUE,… of the object they belong to"),
        ("limit" = Option<usize>, Query), ("continue" = Option<String>, Query, description = "from the page before"),
        ("watch" = Option<bool>, Query, description = "go on, as server-sent events (Change)"),
        ("since" = Option<u64>, Query, description = "of a watch: only what changes after this revision"),
        ("Last-Event-ID" = Option<String>, Header, description = "as `since`, of a watch that goes on")),
    responses((status = 200, body = view::List<view::Task>), (status = 400, body = Problem),
        (status = 410, body = Problem, description = "what changed since is not known any more")))]
async fn list(
    State(handle): State<ManagerHandle>,
    headers: HeaderMap,
    Query(filter): Query<Filter>,
) -> Answered<Response> {
    let selector = Selector::parse(filter.selector.as_deref())?;
    let states = || TaskState::ALL.map(TaskState::as_str);
    if let Some(state) = filter.state.as_deref().filter(|state| !states().contains(state)) {
        let message = format!("`{state}` is no state of a task: {}", states().join(", "));
        return Err(Rejection::invalid("state", message).into());
    }
    if flag("watch", filter.watch.as_deref())? {
        let since = sse::since(&headers, filter.since)?;
        return watch::watch(handle, since, Tasks { filter, selector }).await;
    }
    let limit = Page { limit: filter.limit, after: None }.limit()?;
    let after = match filter.after.as_deref().map(str::parse::<TaskId>) {
        None => TaskId::MIN,
        Some(Ok(after)) => after,
        Some(Err(error)) => return Err(Rejection::invalid("continue", error.to_string()).into()),
    };
    let listed = handle.read(move |state, now| {
        let cluster = state.cluster();
        let tasks = cluster.tasks_after(after).filter(|task| filter.matches(cluster, task, &selector));
        page(cluster.index, limit, tasks, |task| task.id.to_string(), |task| views::task(state, task, now))
    });
    Ok(Json(listed.await?).into_response())
}

/// Submit a task definition: one run. Answers with its first attempt.
#[utoipa::path(post, path = "/v1/tasks", tag = "tasks", operation_id = "submit_task", request_body = Manifest,
    params(("Idempotency-Key" = Option<String>, Header, description = "a repetition changes nothing and has the same answer"),
        ("dry_run" = Option<bool>, Query, description = "say what would be done (Stored), and do nothing")),
    responses((status = 200, body = SubmittedOrStored, description = "it stood already (Submitted), or a dry run (Stored)"),
        (status = 201, body = view::Submitted),
        (status = 400, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn submit(
    State(handle): State<ManagerHandle>,
    Query(how): Query<How>,
    headers: HeaderMap,
    ManifestBody(manifest): ManifestBody,
) -> Answered<Response> {
    if manifest.kind != manifest::ManifestKind::Task {
        return Err(Rejection::invalid("kind", "this route takes tasks: PUT services to /v1/services/NAME").into());
    }
    let name = manifest.name.clone();
    let put = Put {
        definition: manifest.definition()?,
        keeps_replicas: manifest.keeps_replicas(),
        condition: condition(&headers)?,
        idempotency_key: idempotency_key(&headers)?,
    };
    if flag("dry_run", how.dry_run.as_deref())? {
        return preview(&handle, name, put).await;
    }
    let answer = handle.request(Ask::Put(put)).await.result?;
    let Answer::Workload { uid, revision, created, task, .. } = answer else {
        unreachable!("a submitted task is answered as one");
    };
    let task = task.map_or_else(String::new, |task| task.to_string());
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(tagged(status, revision, view::Submitted { name, uid: uid.to_string(), revision, task, created }))
}

/// Either of the two, as the document has it.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only its schema is used")]
enum SubmittedOrStored {
    Submitted(Box<view::Submitted>),
    Stored(Box<view::Stored>),
}

fn no_task(id: &str) -> Rejection {
    Rejection::new(Code::NotFound, format!("there is no task `{id}`"))
}

/// Either of the two, as the document has it.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only its schema is used")]
enum TaskOrDefinition {
    Task(Box<view::Task>),
    Definition(Box<view::TaskDefinition>),
}

/// An attempt by its ID, or a definition by its name.
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "tasks", operation_id = "read_task",
    responses((status = 200, body = TaskOrDefinition, description = "an attempt (Task) or a definition (TaskDefinition)"),
        (status = 404, body = Problem)))]
async fn read(State(handle): State<ManagerHandle>, Path(id): Path<String>) -> Answered<Response> {
    if let Ok(attempt) = id.parse::<TaskId>() {
        let found =
            handle.read(move |state, now| state.cluster().task(attempt).map(|task| views::task(state, task, now)));
        return Ok(Json(found.await?.ok_or_else(|| no_task(&id))?).into_response());
    }
    let found = handle.read(move |state, now| {
        let cluster = state.cluster();
        let definition = cluster.workload_named(Kind::Task, &id);
        definition.map(|definition| views::task_definition(state, definition, now)).ok_or_else(|| no_task(&id))
    });
    let definition = found.await??;
    Ok(tagged(StatusCode::OK, definition.revision, definition))
}

/// Stop an attempt (a service brings a new one), or delete a definition.
#[utoipa::path(delete, path = "/v1/tasks/{id}", tag = "tasks", operation_id = "delete_task",
    params(("If-Match" = Option<String>, Header, description = "only if the definition is at this revision")),
    responses((status = 204), (status = 404, body = Problem)))]
async fn delete(
    State(handle): State<ManagerHandle>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered<StatusCode> {
    let request = match id.parse::<TaskId>() {
        Ok(attempt) => Ask::StopTask(attempt),
        Err(_) => Ask::Delete { kind: Kind::Task, name: id, condition: condition(&headers)? },
    };
    handle.request(request).await.result?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    follow: Option<String>,
    tail: Option<u32>,
    since: Option<String>,
    timestamps: Option<String>,
}

/// What an attempt has written, standard output and standard error as they came.
#[utoipa::path(get, path = "/v1/tasks/{id}/logs", tag = "tasks", operation_id = "read_logs",
    params(("follow" = Option<bool>, Query, description = "go on until it has ended"),
        ("tail" = Option<u32>, Query, description = "only so many of the last lines"),
        ("since" = Option<String>, Query, description = "only what was written since (RFC 3339)"),
        ("timestamps" = Option<bool>, Query, description = "with the time in front of each line (RFC 3339) and a space"),
        ("TE" = Option<String>, Header, description = "`trailers`: why the log breaks off is said in the trailer `orbit-error`, and not in a last line")),
    responses((status = 200, content_type = "application/octet-stream"), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it has no node yet"), (status = 503, body = Problem)))]
async fn logs(
    State(handle): State<ManagerHandle>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Query(query): Query<Output>,
) -> Answered<Response> {
    let follow = flag("follow", query.follow.as_deref())?;
    let timestamps = flag("timestamps", query.timestamps.as_deref())?;
    let since_s = query.since.as_deref().map(seconds).transpose()?;
    let attempt = match id.parse::<TaskId>() {
        Ok(attempt) => attempt,
        Err(_) => newest_attempt(&handle, id).await?,
    };
    let pieces = handle.logs(attempt, LogRange { follow, tail: query.tail, since_s, timestamps }).await?;
    Ok(log::log(&headers, pieces))
}

pub(super) async fn newest_attempt(handle: &ManagerHandle, name: String) -> Answered<TaskId> {
    let found = handle.read(move |state, _| {
        let cluster = state.cluster();
        let definition = cluster.workload_named(Kind::Task, &name).ok_or_else(|| no_task(&name))?;
        let newest = definition.slots.first().and_then(|slot| cluster.attempts(slot).next());
        newest.map(|task| task.id).ok_or_else(|| no_task(&name))
    });
    Ok(found.await??)
}

/// Seconds since 1970.
fn seconds(text: &str) -> Answered<u64> {
    let wrong = |_| {
        Rejection::invalid(
            "since",
            format!("`{text}` is not a time such as 2026-01-31T12:00:00Z or 2026-01-31T13:00:00+01:00"),
        )
    };
    let time: jiff::Timestamp = text.parse().map_err(wrong)?;
    Ok(u64::try_from(time.as_second()).unwrap_or(0))
}

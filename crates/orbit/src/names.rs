//! Names that are not clear: several objects have one, or none has it and that of another comes close.

use crate::{
    client::{Client, path},
    error::{Error, Kind},
    session::Session,
    target::ObjectKind,
};
use orbit_api::{did_you_mean, view::List};
use orbit_core::model::TaskId;
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// The kinds of the objects that have a name.
pub async fn kinds(session: &Session<'_>, name: &str) -> Result<Vec<ObjectKind>, Error> {
    let mut found = Vec::new();
    for kind in ObjectKind::ALL {
        let there = session.client.find::<Value>(&path(&[kind.plural(), name], &[])).await?;
        found.extend(there.map(|_| kind));
    }
    Ok(found)
}

/// Objects of all these kinds have it.
pub fn ambiguous(name: &str, kinds: &[ObjectKind]) -> Error {
    let a: Vec<String> = kinds.iter().map(|kind| format!("a {}", kind.as_str())).collect();
    let full: Vec<String> = kinds.iter().map(|kind| format!("{}/{name}", kind.as_str())).collect();
    Error::usage(format!("{} are named {name}: write {}", a.join(" and "), full.join(" or ")))
}

/// No object of these kinds has it.
pub async fn unknown(client: &Client, name: &str, kinds: &[ObjectKind]) -> Error {
    let mut near = Vec::new();
    for kind in kinds {
        near.extend(names(client, *kind).await);
    }
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let kinds = match kinds.split_last() {
        Some((last, [])) => last.to_string(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    };
    let meant = did_you_mean(name, near.iter().map(String::as_str));
    Error::usage(format!("no {kinds} is named {name}{meant}"))
}

/// The same failure; where an object was not found, with the name that was probably meant.
pub async fn with_similar(client: &Client, mut error: Error) -> Error {
    let asked = error.asked.as_deref().and_then(object);
    let Kind::Problem(problem) = &mut error.kind else { return error };
    if let Some((kind, name)) = asked.filter(|_| problem.code == "not_found") {
        let near = names(client, kind).await;
        problem.detail += &did_you_mean(&name, near.iter().map(String::as_str));
    }
    error
}

/// The object that a path of the API is about. An attempt's ID resembles others without being meant for them.
fn object(asked: &str) -> Option<(ObjectKind, String)> {
    let mut segments = asked.split('?').next()?.strip_prefix("/v1/")?.split('/');
    let kind = ObjectKind::parse(segments.next()?)?;
    let name = percent_decode_str(segments.next()?).decode_utf8().ok()?.into_owned();
    let is_attempt = kind == ObjectKind::Task && name.parse::<TaskId>().is_ok();
    (!is_attempt).then_some((kind, name))
}

/// Names of a kind, as many as stand on one page. Who has to be told something else is not kept from it by a failure here.
async fn names(client: &Client, kind: ObjectKind) -> Vec<String> {
    let query: &[_] = if kind == ObjectKind::Task { &[("kind", "task")] } else { &[] };
    let page: Result<List<Value>, Error> = client.get(&path(&[kind.plural()], query)).await;
    let items = page.map(|page| page.items).unwrap_or_default();
    items.iter().filter_map(|item| item["name"].as_str().map(str::to_string)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_object() {
        let of = |path: &str| object(path).map(|(kind, name)| format!("{}/{name}", kind.as_str()));
        assert_eq!(of("/v1/services/wbe/rollout/undo?x=1").as_deref(), Some("service/wbe"));
        assert_eq!(of("/v1/nodes/worker%2D1").as_deref(), Some("node/worker-1"));
        assert_eq!(of("/v1/tasks/import/logs").as_deref(), Some("task/import"));
        assert_eq!((of("/v1/tasks/1.57.0"), of("/v1/services"), of("/v1/events")), (None, None, None));
    }
}

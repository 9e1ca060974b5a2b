//! `orbit get`, `orbit node ls`.

use super::one_name;
use crate::{
    Session,
    cli::{Format, Get, ObjectKind, Show},
    client::path,
    error::Error,
    settings, table,
};
use orbit_api::view::{self, List};
use orbit_core::model::TaskId;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub async fn get(session: &mut Session<'_>, args: Get) -> Result<u8, Error> {
    let kind = args.target.kind;
    let name = one_name(&args.target, args.name)?;
    let mut filters = Vec::new();
    if let Some(service) = &args.service {
        filters.extend([("kind", "service"), ("name", service)]);
    }
    filters.extend(args.node.as_deref().map(|node| ("node", node)));
    filters.extend(args.state.as_deref().map(|state| ("state", state)));
    if !filters.is_empty() && (kind != ObjectKind::Task || name.is_some()) {
        return Err(Error::usage(
            "--service, --node and --state choose among all tasks: use them with `orbit get tasks`",
        ));
    }
    match name {
        None => list(session, kind, &args.show, &filters).await,
        Some(_) if args.show.selector.is_some() => Err(Error::usage("a name and -l: give one of them")),
        Some(name) => one(session, kind, &name, &args.show).await,
    }
}

/// A list of objects.
pub async fn list(
    session: &mut Session<'_>,
    kind: ObjectKind,
    show: &Show,
    filters: &[(&str, &str)],
) -> Result<u8, Error> {
    let format = settings::format(show.output, session.env)?;
    let mut query = filters.to_vec();
    // The API selects among services and tasks; nodes are few, and are selected here.
    let local = if kind == ObjectKind::Node { show.selector.as_deref() } else { None };
    if local.is_none() {
        query.extend(show.selector.as_deref().map(|selector| ("selector", selector)));
    }
    let mut list: List<Value> = session.client.list(kind.plural(), &query).await?;
    if let Some(selector) = local {
        list.items.retain(|item| has_labels(&item["labels"], selector));
    }
    let text = match format {
        Format::Json => json(&list)?,
        Format::Yaml => yaml(&list)?,
        Format::Name => list.items.iter().map(|item| name_line(kind, item)).collect(),
        Format::Table | Format::Wide if list.items.is_empty() => {
            session.say(&format!("no {} found", kind.plural()));
            return Ok(0);
        }
        Format::Table | Format::Wide => table_of(session, kind, list.items, format == Format::Wide)?,
    };
    session.print(&text)?;
    Ok(0)
}

/// One object.
async fn one(session: &mut Session<'_>, kind: ObjectKind, name: &str, show: &Show) -> Result<u8, Error> {
    let format = settings::format(show.output, session.env)?;
    let object: Value = session.client.get(&path(&[kind.plural(), name], &[])).await?;
    let text = match format {
        Format::Json => json(&object)?,
        Format::Yaml => yaml(&object)?,
        Format::Name => name_line(kind, &object),
        Format::Table | Format::Wide => {
            // A task definition is shown as its attempts.
            let items = match kind == ObjectKind::Task && name.parse::<TaskId>().is_err() {
                true => session.client.list("tasks", &[("kind", "task"), ("name", name)]).await?.items,
                false => vec![object],
            };
            table_of(session, kind, items, format == Format::Wide)?
        }
    };
    session.print(&text)?;
    Ok(0)
}

fn table_of(session: &Session, kind: ObjectKind, items: Vec<Value>, wide: bool) -> Result<String, Error> {
    Ok(match kind {
        ObjectKind::Service => table::services(&typed::<view::Service>(items)?, wide, session.now),
        ObjectKind::Task => table::tasks(&typed::<view::Task>(items)?, wide, session.now),
        ObjectKind::Node => table::nodes(&typed::<view::Node>(items)?, wide, session.now),
    })
}

fn typed<T: DeserializeOwned>(items: Vec<Value>) -> Result<Vec<T>, Error> {
    items
        .into_iter()
        .map(serde_json::from_value)
        .collect::<Result<_, _>>()
        .map_err(|e| Error::usage(format!("an object in the answer is not of the expected form ({e}): try -o json")))
}

fn has_labels(labels: &Value, selector: &str) -> bool {
    let holds = |part: &str| part.split_once('=').is_some_and(|(key, value)| labels[key].as_str() == Some(value));
    selector.split(',').all(holds)
}

/// `task/1.57.0`, `service/web`.
fn name_line(kind: ObjectKind, item: &Value) -> String {
    let name = match kind {
        ObjectKind::Task => item["id"].as_str().or(item["name"].as_str()),
        _ => item["name"].as_str(),
    };
    format!("{}/{}\n", kind.as_str(), name.unwrap_or_default())
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::usage(e.to_string()))?;
    Ok(format!("{text}\n"))
}
fn yaml(value: &impl Serialize) -> Result<String, Error> {
    serde_yaml_ng::to_string(value).map_err(|e| Error::usage(e.to_string()))
}

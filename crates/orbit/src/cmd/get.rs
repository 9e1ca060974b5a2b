//! `orbit get`, `orbit node ls`.

use super::events;
use crate::{
    args::{Format, selector},
    client::path,
    error::Error,
    session::Session,
    settings, table,
    target::{ObjectKind, Target, TargetParser, unknown_kind},
};
use clap::{
    Args,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use orbit_api::view::{self, Change, ChangeKind, List};
use orbit_core::model::{TaskId, TaskState};
use orbit_shell::plain;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{collections::BTreeMap, ffi::OsStr};

/// Show objects
#[derive(Args)]
#[command(after_help = "\
Examples:
  orbit get services
  orbit get tasks -l team=shop -o wide
  orbit get tasks --service web --state running
  orbit get service web -o yaml
  orbit get all                                # services, tasks and nodes
  orbit get tasks -w                           # and every change from now on
  orbit get tasks -o name | head -1")]
pub struct Get {
    /// services, tasks, nodes, or all of these; KIND/NAME; or volumes, or events
    #[arg(value_name = "KIND", value_parser = WhatParser)]
    pub what: What,
    /// One object; of tasks: an attempt's ID or a definition's name
    pub name: Option<String>,
    #[command(flatten)]
    pub show: Show,
    /// Only tasks of this service
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Only tasks on this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Only tasks in this actual state, for example running
    #[arg(long, hide_possible_values = true, value_parser = PossibleValuesParser::new(TaskState::ALL.map(TaskState::as_str)))]
    pub state: Option<String>,
}

/// What is shown.
#[derive(Clone, Debug)]
pub enum What {
    Objects(Target),
    All,
    Volumes,
    Events,
}

/// Reads a [`What`], and tells completion the words.
#[derive(Clone)]
pub struct WhatParser;

impl TypedValueParser for WhatParser {
    type Value = What;

    fn parse_ref(&self, cmd: &clap::Command, arg: Option<&clap::Arg>, value: &OsStr) -> Result<What, clap::Error> {
        match &*value.to_string_lossy() {
            "all" => Ok(What::All),
            "events" | "event" => Ok(What::Events),
            "volumes" | "volume" => Ok(What::Volumes),
            text => Target::parse(text)
                .map(What::Objects)
                .ok_or_else(|| unknown_kind(cmd, arg, text, &["all", "volumes", "events"])),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let kinds = TargetParser.possible_values()?.collect::<Vec<_>>();
        let more = [
            PossibleValue::new("all"),
            PossibleValue::new("volumes").alias("volume"),
            PossibleValue::new("events").alias("event"),
        ];
        Some(Box::new(kinds.into_iter().chain(more)))
    }
}

/// Which objects of a list are shown, and in which format.
#[derive(Args)]
pub struct Show {
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "K=V[,K=V]", value_parser = selector)]
    pub selector: Option<String>,
    /// The output format [env: ORBIT_FORMAT] [default: table]
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Keep running and show every change
    #[arg(short, long)]
    pub watch: bool,
}

pub async fn get(session: &mut Session<'_>, args: Get) -> Result<u8, Error> {
    let mut filters = Vec::new();
    if let Some(service) = &args.service {
        filters.extend([("kind", "service"), ("name", service)]);
    }
    filters.extend(args.node.as_deref().map(|node| ("node", node)));
    filters.extend(args.state.as_deref().map(|state| ("state", state)));
    let is_of_tasks = matches!(&args.what, What::Objects(target) if target.kind == ObjectKind::Task);
    if !filters.is_empty() && (!is_of_tasks || args.name.is_some()) {
        return Err(Error::usage(
            "--service, --node and --state choose among all tasks: use them with `orbit get tasks`",
        ));
    }
    let target = match args.what {
        What::Objects(target) => target,
        What::All => return all(session, args.name, &args.show).await,
        What::Volumes if args.show.watch || args.show.selector.is_some() => {
            return Err(Error::usage("-w and -l are for services, tasks and nodes"));
        }
        What::Volumes => return volumes(session, args.show.output, args.name.as_deref()).await,
        What::Events => return story(session, args.name, args.show).await,
    };
    let (kind, name) = (target.kind, target.one_name(args.name)?);
    match name {
        None => list(session, kind, &args.show, &filters).await,
        Some(_) if args.show.selector.is_some() => Err(Error::usage("a name and -l: give one of them")),
        Some(_) if args.show.watch => Err(Error::usage("-w watches lists: choose with -l, or with --service")),
        Some(name) => one(session, kind, &name, &args.show).await,
    }
}

/// All volumes, or one of them.
pub async fn volumes(session: &mut Session<'_>, output: Option<Format>, name: Option<&str>) -> Result<u8, Error> {
    let format = settings::format(output, session.env, &session.context)?;
    let items = match name {
        Some(name) => vec![session.client.get::<view::Volume>(&path(&["volumes", name], &[])).await?],
        None => session.client.list::<view::Volume>("volumes", &[]).await?.items,
    };
    let text = match format {
        Format::Json if name.is_some() => json(&items[0])?,
        Format::Yaml if name.is_some() => yaml(&items[0])?,
        Format::Json => json(&items)?,
        Format::Yaml => yaml(&items)?,
        Format::Name => items.iter().map(|volume| format!("volume/{}\n", volume.name)).collect(),
        Format::Table | Format::Wide if items.is_empty() => {
            session.say("no volume is used yet");
            return Ok(0);
        }
        Format::Table | Format::Wide => table::volumes(&items, format == Format::Wide, session.now),
    };
    session.print(&text).map(|()| 0)
}

/// Services, tasks and nodes, one table below the other.
async fn all(session: &mut Session<'_>, name: Option<String>, show: &Show) -> Result<u8, Error> {
    let format = settings::format(show.output, session.env, &session.context)?;
    if show.watch {
        return Err(Error::usage("-w watches one kind: services, tasks or nodes"));
    }
    if let Some(name) = name {
        return Err(Error::usage(format!("one object is shown by `orbit describe {name}`")));
    }
    let query: Vec<_> = show.selector.as_deref().map(|selector| ("selector", selector)).into_iter().collect();
    if matches!(format, Format::Table | Format::Wide) {
        let mut tables = Vec::new();
        for kind in ObjectKind::ALL {
            tables.extend(table_of_all(session, kind, &query, format == Format::Wide).await?);
        }
        if tables.is_empty() {
            session.say("nothing found");
        }
        session.print(&tables.join("\n"))?;
        return Ok(0);
    }
    let mut lists: BTreeMap<&str, List<Value>> = BTreeMap::new();
    let mut names = String::new();
    for kind in ObjectKind::ALL {
        let list: List<Value> = session.client.list(kind.plural(), &query).await?;
        names.extend(list.items.iter().map(|item| name_line(kind, item)));
        lists.insert(kind.plural(), list);
    }
    let text = match format {
        Format::Json => json(&lists)?,
        Format::Yaml => yaml(&lists)?,
        Format::Name | Format::Table | Format::Wide => names,
    };
    session.print(&text)?;
    Ok(0)
}

/// As `orbit events`.
async fn story(session: &mut Session<'_>, name: Option<String>, show: Show) -> Result<u8, Error> {
    let object = name.as_deref().map(Target::parse);
    if matches!(object, Some(None)) || show.selector.is_some() {
        return Err(Error::usage("events are chosen by object: `orbit events KIND/NAME`"));
    }
    let Show { output, watch: follow, .. } = show;
    let args = events::Events { follow, since: None, warnings: false, output, target: object.flatten() };
    events::events(session, args).await
}

/// A list of objects.
pub async fn list(
    session: &mut Session<'_>,
    kind: ObjectKind,
    show: &Show,
    filters: &[(&str, &str)],
) -> Result<u8, Error> {
    let format = settings::format(show.output, session.env, &session.context)?;
    let mut query = filters.to_vec();
    query.extend(show.selector.as_deref().map(|selector| ("selector", selector)));
    if show.watch {
        return watch(session, kind, format, &query).await;
    }
    if matches!(format, Format::Table | Format::Wide) {
        return match table_of_all(session, kind, &query, format == Format::Wide).await? {
            Some(text) => session.print(&text).map(|()| 0),
            None => {
                session.say(&format!("no {} found", kind.plural()));
                Ok(0)
            }
        };
    }
    let list: List<Value> = session.client.list(kind.plural(), &query).await?;
    let text = match format {
        Format::Json => json(&list)?,
        Format::Yaml => yaml(&list)?,
        Format::Name | Format::Table | Format::Wide => list.items.iter().map(|item| name_line(kind, item)).collect(),
    };
    session.print(&text)?;
    Ok(0)
}

/// So many of the last rows decide how wide the columns are.
const ROWS_MAX: usize = 200;

/// Everything that there is, and every change from then on, until Ctrl-C.
async fn watch(
    session: &mut Session<'_>,
    kind: ObjectKind,
    format: Format,
    query: &[(&str, &str)],
) -> Result<u8, Error> {
    let query = [query, &[("watch", "1")]].concat();
    let at = path(&[kind.plural()], &query);
    let (mut last, mut rows): (Option<String>, Vec<Value>) = (None, Vec::new());
    loop {
        let mut events = match session.reconnect(&at, last.as_deref()).await {
            // What was missed is not known any more: begin anew.
            Err(error) if last.is_some() && error.is_gone() => {
                last = None;
                continue;
            }
            other => other?,
        };
        let mut look = tokio::time::interval(session.timing.poll);
        loop {
            let change: Change<Value> = tokio::select! { biased;
                data = events.next() => match data {
                    Some(data) => serde_json::from_str(&data).map_err(|e| Error::usage(e.to_string()))?,
                    None => break,
                },
                _ = look.tick(), if kind == ObjectKind::Node => match counted_down(session, &rows).await {
                    Some(object) => Change { kind: ChangeKind::Modified, object },
                    None => continue,
                },
            };
            session.now = std::time::SystemTime::now();
            let text = match (format, change.kind) {
                (Format::Json, _) => json_line(&change)?,
                (Format::Yaml, _) => format!("---\n{}", yaml(&change)?),
                (Format::Name, _) => name_line(kind, &change.object),
                (_, ChangeKind::Deleted) => {
                    rows.retain(|row| row["name"] != change.object["name"] || kind != ObjectKind::Node);
                    format!("{} deleted\n", name_line(kind, &change.object).trim_end())
                }
                (_, ChangeKind::Added | ChangeKind::Modified) => {
                    rows.push(change.object);
                    let surplus = rows.len().saturating_sub(ROWS_MAX);
                    rows.drain(..surplus);
                    let text = table_of(session, kind, rows.clone(), format == Format::Wide)?;
                    if rows.len() == 1 { text } else { table::last_line(&text) }
                }
            };
            session.print(&text)?;
        }
        last = events.seen.or(last);
    }
}

/// A node of which something else is to be said than was shown last, without that it has changed: how
/// long it still has. Only a table shows rows.
async fn counted_down(session: &Session<'_>, rows: &[Value]) -> Option<Value> {
    let newest = |i: &usize| rows[i + 1..].iter().all(|later| later["name"] != rows[*i]["name"]);
    for row in (0..rows.len()).filter(newest).map(|i| &rows[i]).filter(|row| row["state"] == "unreachable") {
        let node: Value = session.client.get(&path(&["nodes", row["name"].as_str()?], &[])).await.ok()?;
        // A change of its state is the watch's to tell.
        if node["state"] == row["state"] && node["message"] != row["message"] {
            return Some(node);
        }
    }
    None
}

/// One object.
async fn one(session: &mut Session<'_>, kind: ObjectKind, name: &str, show: &Show) -> Result<u8, Error> {
    let format = settings::format(show.output, session.env, &session.context)?;
    let object: Value = match session.client.get(&path(&[kind.plural(), name], &[])).await {
        Err(error) if error.is_not_found() && kind == ObjectKind::Task => {
            let service = session.client.find::<Value>(&path(&[ObjectKind::Service.plural(), name], &[])).await;
            if !matches!(service, Ok(Some(_))) {
                return Err(error);
            }
            let text = format!("{name} is a service; its tasks are shown by `orbit get tasks --service {name}`");
            return Err(Error::usage(text));
        }
        object => object?,
    };
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

/// A list's table; `None` where it is empty. The objects are read as what they are at once: there may be
/// ten thousand of them.
async fn table_of_all(
    session: &Session<'_>,
    kind: ObjectKind,
    query: &[(&str, &str)],
    wide: bool,
) -> Result<Option<String>, Error> {
    let (client, plural, now) = (&session.client, kind.plural(), session.now);
    Ok(match kind {
        ObjectKind::Service => {
            unless_empty(client.list(plural, query).await?, |items| table::services(items, wide, now))
        }
        ObjectKind::Task => unless_empty(client.list(plural, query).await?, |items| table::tasks(items, wide, now)),
        ObjectKind::Node => unless_empty(client.list(plural, query).await?, |items| table::nodes(items, wide, now)),
    })
}

fn unless_empty<T>(list: List<T>, table: impl FnOnce(&[T]) -> String) -> Option<String> {
    (!list.items.is_empty()).then(|| table(&list.items))
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

/// `task/1.57.0`, `service/web`.
fn name_line(kind: ObjectKind, item: &Value) -> String {
    let name = match kind {
        ObjectKind::Task => item["id"].as_str().or(item["name"].as_str()),
        _ => item["name"].as_str(),
    };
    format!("{}/{}\n", kind.as_str(), name.unwrap_or_default())
}

fn json_line(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map(|text| format!("{}\n", plain::json(text))).map_err(|e| Error::usage(e.to_string()))
}
pub(super) fn json(value: &impl Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::usage(e.to_string()))?;
    Ok(format!("{}\n", plain::json(text)))
}
pub(super) fn yaml(value: &impl Serialize) -> Result<String, Error> {
    serde_yaml_ng::to_string(value).map_err(|e| Error::usage(e.to_string()))
}

//! `orbit logs`: of a task as it is, of several with the task in front of each line.

use crate::{
    args::{Moment, moment, selector},
    client::{Client, path},
    error::{Error, Kind},
    format::{has_ended, has_run},
    lines::Lines,
    log::{self, Broken, Pieces},
    merge::merge,
    names,
    session::Session,
    target::ObjectKind,
};
use clap::Args;
use futures_util::{Stream, StreamExt, future, stream, stream::SelectAll};
use hyper::body::Bytes;
use orbit_api::view::{List, Service, Task, TaskDefinition};
use orbit_core::model::TaskId;
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    time::{Duration, SystemTime},
};

/// So many logs are merged at most: each takes a connection.
const MERGED_MAX: usize = 32;

/// A log that broke off is asked for again from so long before: clocks differ a little, and a line twice is better than
/// a line that nobody sees.
const OVERLAP: Duration = Duration::from_secs(5);

/// Which part of a log.
#[derive(Default)]
pub struct Part {
    tail: Option<u32>,
    /// RFC 3339.
    since: Option<String>,
    /// With the time in front of each line.
    timestamps: bool,
}

pub enum Source {
    Task(String),
    Service(String),
}

/// Show the log of a task, or of all tasks of a service, also of those that have ended
#[derive(Args)]
#[command(after_help = "\
Examples:
  orbit logs 1.57.0
  orbit logs --since 10m web
  orbit logs -f --tail 20 web
  orbit logs --timestamps web      # merged by time; with -f, as lines come
  orbit logs -f -l team=shop       # of all services and tasks with this label
  orbit logs --previous web        # of each slot, the attempt before the present one
  orbit logs task/import           # if a service and a task have the same name")]
pub struct Logs {
    /// Wait for more
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many of the last lines
    #[arg(long, value_name = "N")]
    pub tail: Option<u32>,
    /// Only what was written since: a span such as 10m, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "SPAN|TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// With the time in front of each line
    #[arg(short, long)]
    pub timestamps: bool,
    /// Of the attempt before the present one, in each slot
    #[arg(short, long, conflicts_with = "follow")]
    pub previous: bool,
    /// Of all services and tasks with these labels
    #[arg(short = 'l', long, value_name = "K=V[,K=V]", value_parser = selector, conflicts_with = "target")]
    pub selector: Option<String>,
    /// An attempt's ID, a task definition's name or a service's name
    #[arg(value_name = "TASK|SERVICE", required_unless_present = "selector")]
    pub target: Option<String>,
}

pub async fn logs(session: &mut Session<'_>, args: Logs) -> Result<u8, Error> {
    let since = args.since.map(|since| since.rfc3339(session.now));
    let part = Part { tail: args.tail, since, timestamps: args.timestamps };
    let group = match (args.selector, args.target) {
        (Some(selector), _) => Group::Selector(selector),
        (None, target) => match find(session, &target.unwrap_or_default()).await? {
            Source::Service(name) => Group::Service(name),
            Source::Task(id) => {
                let id = if args.previous { before(session, &id).await? } else { id };
                stream_one(session, &id, args.follow, &part).await?;
                return Ok(0);
            }
        },
    };
    if args.follow {
        follow_all(session, &group, &part).await?;
        return Ok(0);
    }
    let all = group.tasks(session).await?;
    let tasks = if args.previous { previous(all) } else { started(all) };
    if tasks.is_empty() {
        let what = if args.previous { "no earlier attempts that are remembered" } else { "no tasks that have run" };
        session.say(&format!("{} has {what}: `orbit get tasks {}` shows the others", group.name(), group.flag()));
    }
    print_all(session, &group, tasks, &part).await?;
    Ok(0)
}

/// The attempt before an attempt, in its slot.
async fn before(session: &Session<'_>, id: &str) -> Result<String, Error> {
    let task: Task = session.client.get(&path(&["tasks", id], &[])).await?;
    let query = [("kind", task.kind.as_str()), ("name", &task.name)];
    let all: List<Task> = session.client.list("tasks", &query).await?;
    let earlier = all.items.into_iter().take_while(|it| it.id != id).filter(|it| it.slot == task.slot && has_run(it));
    let none = || Error::usage(format!("no attempt before {id} is remembered that has run"));
    earlier.last().map(|task| task.id).ok_or_else(none)
}

/// Tasks whose logs are shown together.
enum Group {
    Service(String),
    Selector(String),
}

impl Group {
    /// All attempts that are remembered, by age.
    async fn tasks(&self, session: &Session<'_>) -> Result<Vec<Task>, Error> {
        let query: &[_] = match self {
            Group::Service(name) => &[("kind", "service"), ("name", name)],
            Group::Selector(selector) => &[("selector", selector)],
        };
        Ok(session.client.list("tasks", query).await?.items)
    }
    /// Whether there can be more tasks of it.
    async fn exists(&self, session: &Session<'_>) -> Result<bool, Error> {
        match self {
            Group::Service(name) => {
                Ok(session.client.find::<Service>(&path(&["services", name], &[])).await?.is_some())
            }
            Group::Selector(_) => Ok(true),
        }
    }
    /// What stands in front of a task's lines.
    fn label(&self, task: &Task) -> String {
        match self {
            Group::Service(_) => task.id.clone(),
            Group::Selector(_) => format!("{} {}", task.name, task.id),
        }
    }
    fn name(&self) -> String {
        match self {
            Group::Service(name) => format!("service/{name}"),
            Group::Selector(selector) => selector.clone(),
        }
    }
    /// The flag that lists the same tasks.
    fn flag(&self) -> String {
        match self {
            Group::Service(name) => format!("--service {name}"),
            Group::Selector(selector) => format!("-l {selector}"),
        }
    }
}

/// Of all attempts by age, those that run or have run: what crashes again and again is seen as well. Of a task definition,
/// which runs once, the newest.
fn started(all: Vec<Task>) -> Vec<Task> {
    let newest: BTreeMap<String, String> =
        all.iter().filter(|task| task.kind == "task").map(|task| (task.name.clone(), task.id.clone())).collect();
    let is_shown = |task: &Task| task.kind == "service" || newest.get(&task.name) == Some(&task.id);
    all.into_iter().filter(|task| has_run(task) && is_shown(task)).collect()
}

/// Of all attempts by age, the one before the newest in each slot, if it has run.
fn previous(all: Vec<Task>) -> Vec<Task> {
    let mut slots: BTreeMap<_, Vec<Task>> = BTreeMap::new();
    for task in all {
        slots.entry((task.kind.clone(), task.name.clone(), task.slot)).or_default().push(task);
    }
    let before_the_newest = |mut attempts: Vec<Task>| {
        attempts.pop();
        attempts.into_iter().rfind(has_run)
    };
    slots.into_values().filter_map(before_the_newest).collect()
}

/// What the word means: an attempt, the newest attempt of a task definition, or a service.
pub async fn find(session: &Session<'_>, word: &str) -> Result<Source, Error> {
    let (kind, name) = match word.split_once('/') {
        None => (None, word),
        Some((kind, name)) => match ObjectKind::parse(kind) {
            Some(kind @ (ObjectKind::Task | ObjectKind::Service)) => (Some(kind), name),
            _ => return Err(Error::usage(format!("`{word}`: only tasks and services have logs"))),
        },
    };
    if name.parse::<TaskId>().is_ok() && kind != Some(ObjectKind::Service) {
        return Ok(Source::Task(name.to_string()));
    }
    let task = match kind {
        Some(ObjectKind::Service) => None,
        _ => session.client.find::<TaskDefinition>(&path(&["tasks", name], &[])).await?,
    };
    let service = match kind {
        Some(ObjectKind::Task) => None,
        _ => session.client.find::<Service>(&path(&["services", name], &[])).await?,
    };
    match (task, service) {
        (Some(_), Some(_)) => Err(names::ambiguous(name, &[ObjectKind::Task, ObjectKind::Service])),
        (Some(task), None) => match task.attempt {
            Some(attempt) => Ok(Source::Task(attempt.id)),
            None => Err(Error::usage(format!("task/{name} has no attempt yet"))),
        },
        (None, Some(service)) => Ok(Source::Service(service.name)),
        (None, None) => {
            let kinds = kind.map_or(vec![ObjectKind::Task, ObjectKind::Service], |kind| vec![kind]);
            Err(names::unknown(&session.client, name, &kinds).await)
        }
    }
}

async fn open(client: &Client, id: &str, follow: bool, part: &Part) -> Result<Pieces, Error> {
    let tail = part.tail.map(|lines| lines.to_string());
    let mut query = Vec::new();
    if follow {
        query.push(("follow", "1"));
    }
    query.extend(tail.as_deref().map(|lines| ("tail", lines)));
    query.extend(part.since.as_deref().map(|since| ("since", since)));
    query.extend(part.timestamps.then_some(("timestamps", "1")));
    Ok(log::pieces(client.stream(&path(&["tasks", id, "logs"], &query)).await?))
}

/// The log of one task, byte for byte.
pub async fn stream_one(session: &mut Session<'_>, id: &str, follow: bool, part: &Part) -> Result<(), Error> {
    let mut chunks = open(&session.client, id, follow, part).await?;
    while let Some(chunk) = chunks.next().await {
        session.out.write_all(&chunk.map_err(|why| broken(id, &why))?)?;
        session.out.flush()?;
    }
    Ok(())
}

fn broken(id: &str, why: &str) -> Error {
    Error::new(Kind::Unanswered(format!("the log of task {id} broke off: {why}")))
}

/// Logs by the time of their lines. A node that does not answer does not keep the others' logs.
async fn print_all(session: &mut Session<'_>, group: &Group, tasks: Vec<Task>, part: &Part) -> Result<(), Error> {
    if tasks.len() > MERGED_MAX {
        let (all, name) = (tasks.len(), group.name());
        session.say(&format!("{name} has {all} logs: each {MERGED_MAX} are merged by time, in the order of the tasks"));
    }
    let mut failed = false;
    for tasks in tasks.chunks(MERGED_MAX) {
        failed |= print_merged(session, group, tasks, part).await?;
    }
    if failed { Err(Error::new(Kind::Said(2))) } else { Ok(()) }
}

/// Whether any log failed.
async fn print_merged(session: &mut Session<'_>, group: &Group, tasks: &[Task], part: &Part) -> Result<bool, Error> {
    let timed = Part { tail: part.tail, since: part.since.clone(), timestamps: true };
    let (mut shown, mut logs, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for task in tasks {
        match open(&session.client, &task.id, false, &timed).await {
            Ok(pieces) => {
                shown.push(task);
                logs.push(pieces);
            }
            Err(error) if matches!(error.kind, Kind::NoManager { .. }) => return Err(error),
            Err(error) => failures.push(error.at(&format!("task {}", task.id))),
        }
    }
    let labels: Vec<String> = shown.iter().map(|task| group.label(task)).collect();
    let out = &mut session.out;
    let broken_off = merge(logs, |place, time, text| {
        let time = if part.timestamps { time } else { "" };
        out.write_all(format!("{}  {time}", labels[place]).as_bytes())?;
        Ok(out.write_all(text)?)
    })
    .await?;
    session.out.flush()?;
    failures.extend(broken_off.into_iter().map(|(place, why)| broken(&shown[place].id, &why)));
    for error in &failures {
        session.say(&format!("orbit: {}", error.text().unwrap_or_default()));
    }
    Ok(!failures.is_empty())
}

/// A chunk of a task's log; `None` where it ends.
type Piece = (String, Option<Result<Bytes, Broken>>);

/// Logs as they come, also of tasks that begin meanwhile. Ends with the service.
async fn follow_all(session: &mut Session<'_>, group: &Group, part: &Part) -> Result<(), Error> {
    let mut pieces: SelectAll<Pin<Box<dyn Stream<Item = Piece>>>> = SelectAll::new();
    let mut lines: BTreeMap<String, Lines> = BTreeMap::new();
    let mut known = BTreeSet::new();
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    // Those that broke off, with the time since when they are asked for again.
    let mut broke_off: BTreeMap<String, String> = BTreeMap::new();
    // Why each broke off that has said nothing since.
    let mut reasons: BTreeMap<String, Broken> = BTreeMap::new();
    let mut ended = BTreeSet::new();
    let mut first = true;
    let mut look = tokio::time::interval(session.timing.poll);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut exists = true;
    // `lines` has the streams that have not ended; `pieces` lets go of an ended one only later.
    while exists || !lines.is_empty() || !broke_off.is_empty() {
        let piece = tokio::select! { biased;
            // Also after its service has gone: what broke off before is shown to its end.
            _ = look.tick(), if exists || !broke_off.is_empty() => None,
            // Without streams there is nothing to wait for here.
            piece = next(&mut pieces) => Some(piece),
        };
        match piece {
            None => {
                let new = match still_there(session, group, &mut exists).await {
                    Ok(tasks) => tasks,
                    Err(error) if error.may_pass() && !first => continue,
                    Err(error) => return Err(error),
                };
                labels.extend(new.iter().map(|task| (task.id.clone(), group.label(task))));
                ended.extend(new.iter().filter(|task| has_ended(&task.actual)).map(|task| task.id.clone()));
                // Also of a task that has ended since: nobody saw its last lines.
                let wanted: BTreeSet<String> =
                    new.into_iter().map(|it| it.id).chain(broke_off.keys().cloned()).collect();
                for id in wanted {
                    if !known.insert(id.clone()) {
                        continue;
                    }
                    // What began meanwhile is shown from its beginning.
                    let since = broke_off.get(&id).cloned();
                    let rest = Part { tail: None, since, timestamps: part.timestamps };
                    match open(&session.client, &id, true, if first { part } else { &rest }).await {
                        Ok(chunks) => {
                            broke_off.remove(&id);
                            lines.insert(id.clone(), Lines::default());
                            pieces.push(labelled(id, chunks));
                        }
                        // Asked for again at the next look.
                        Err(error) if error.may_pass() => {
                            known.remove(&id);
                        }
                        Err(error) => {
                            broke_off.remove(&id);
                            session.say(&format!("orbit: task {id}: {}", error.text().unwrap_or_default()));
                        }
                    }
                }
                first = false;
            }
            Some((id, Some(Ok(chunk)))) => {
                reasons.remove(&id);
                let whole = lines.get_mut(&id).map(|lines| lines.push(&chunk)).unwrap_or_default();
                print_lines(session, &labels[&id], whole)?;
            }
            Some((id, end)) => {
                if let Some(Err(why)) = end {
                    let words = broken(&id, &why).text().unwrap_or_default().to_string();
                    let is_same = reasons.insert(id.clone(), why.clone()) == Some(why);
                    // Of what has ended, nothing more will come: its container is gone, say.
                    if is_same && ended.contains(&id) {
                        session
                            .say(&format!("orbit: {words} again; it has ended, and its log is not asked for any more"));
                    } else {
                        session.say(&format!(
                            "orbit: {words}; it goes on when they are back, and the last lines may come twice"
                        ));
                        known.remove(&id);
                        broke_off.insert(id.clone(), Moment::Ago(OVERLAP).rfc3339(SystemTime::now()));
                    }
                }
                let rest = lines.remove(&id).and_then(|mut lines| lines.rest());
                print_lines(session, &labels[&id], rest)?;
            }
        }
    }
    Ok(())
}

fn print_lines(session: &mut Session<'_>, label: &str, lines: impl IntoIterator<Item = Vec<u8>>) -> Result<(), Error> {
    for line in lines {
        session.out.write_all(format!("{label}  ").as_bytes())?;
        session.out.write_all(&line)?;
    }
    Ok(session.out.flush()?)
}

/// The next piece; never, while there is no stream.
async fn next(pieces: &mut SelectAll<Pin<Box<dyn Stream<Item = Piece>>>>) -> Piece {
    match pieces.next().await {
        Some(piece) => piece,
        None => future::pending().await,
    }
}

/// Ends with the log, or with its failure: a piece behind that would be taken for one of the log that is asked for anew.
fn labelled(id: String, chunks: Pieces) -> Pin<Box<dyn Stream<Item = Piece>>> {
    let end = (id.clone(), None);
    let pieces = chunks.map(move |chunk| (id.clone(), Some(chunk)));
    let mut failed = false;
    let until_failure = move |piece: &Piece| {
        let goes_on = !failed;
        failed = matches!(piece, (_, Some(Err(_))));
        future::ready(goes_on)
    };
    Box::pin(pieces.chain(stream::once(future::ready(end))).take_while(until_failure))
}

async fn still_there(session: &Session<'_>, group: &Group, exists: &mut bool) -> Result<Vec<Task>, Error> {
    *exists = group.exists(session).await?;
    if *exists { Ok(started(group.tasks(session).await?)) } else { Ok(Vec::new()) }
}

//! `orbit describe`: everything about one object, desired beside actual.

use crate::{
    client::path,
    error::Error,
    format::{NOTHING, age, desired, node_cpu, node_memory, node_state, or_nothing, protocol, reason, version},
    names,
    session::Session,
    table::{self, pairs},
    target::{ObjectKind, Word, WordParser},
};
use clap::Args;
use orbit_api::{
    Manifest,
    manifest::{ManifestProbe, ManifestPull, ManifestStop, ManifestUpdate},
    view::{Event, List, Node, Service, Task, TaskDefinition},
};
use orbit_core::model::TaskId;
use orbit_shell::plain;
use serde::Serialize;
use serde_json::Value;

/// Show everything about one object
#[derive(Args)]
#[command(after_help = "\
Examples:
  orbit describe service web
  orbit describe web                           # if no task and no node has this name
  orbit describe task 1.57.0
  orbit describe node worker-1")]
pub struct Describe {
    /// service, task or node; or KIND/NAME, or a name alone
    #[arg(value_name = "KIND|NAME", value_parser = WordParser, hide_possible_values = true)]
    pub target: Word,
    /// Its name; of tasks: an attempt's ID or a definition's name
    pub name: Option<String>,
}

pub async fn describe(session: &mut Session<'_>, args: Describe) -> Result<u8, Error> {
    let (kind, name) = match (args.target, args.name) {
        (Word::Target(target), name) => {
            let which = || Error::usage(format!("which one? Write `orbit describe {} NAME`", target.kind.as_str()));
            (target.kind, target.one_name(name)?.ok_or_else(which)?)
        }
        (Word::Name(word), Some(_)) => return Err(ObjectKind::unknown(&word)),
        (Word::Name(name), None) => (kind_of(session, &name).await?, name),
    };
    let at = path(&[kind.plural(), &name], &[]);
    let mut page = Page::default();
    match kind {
        ObjectKind::Service => {
            let service: Service = session.client.get(&at).await?;
            page.service(session, &service);
            let tasks = session.client.list("tasks", &[("kind", "service"), ("name", &name)]).await?;
            page.tasks(session, &tasks);
            page.story(session, "service", &name).await?;
        }
        ObjectKind::Task if name.parse::<TaskId>().is_ok() => {
            let task: Task = session.client.get(&at).await?;
            page.task(session, &task);
        }
        ObjectKind::Task => {
            let definition: TaskDefinition = session.client.get(&at).await?;
            page.definition(session, &definition);
            let tasks = session.client.list("tasks", &[("kind", "task"), ("name", &name)]).await?;
            page.tasks(session, &tasks);
            page.story(session, "task", &name).await?;
        }
        ObjectKind::Node => {
            let node: Node = session.client.get(&at).await?;
            page.node(session, &node);
            let tasks = session.client.list("tasks", &[("node", &name)]).await?;
            page.tasks(session, &tasks);
            page.story(session, "node", &name).await?;
        }
    }
    session.print(&page.text)?;
    Ok(0)
}

/// What a name alone means.
async fn kind_of(session: &Session<'_>, name: &str) -> Result<ObjectKind, Error> {
    if name.parse::<TaskId>().is_ok() {
        return Ok(ObjectKind::Task);
    }
    match names::kinds(session, name).await?[..] {
        [kind] => Ok(kind),
        [] => Err(names::unknown(&session.client, name, &ObjectKind::ALL).await),
        ref several => Err(names::ambiguous(name, several)),
    }
}

/// Fields under one another, their values aligned, and tables below.
#[derive(Default)]
struct Page {
    text: String,
}

const VALUE_COLUMN: usize = 14;
/// So many events are shown; `orbit events` shows all.
const EVENTS_MAX: usize = 30;
/// Fields of a manifest of which most say nothing.
const SETUP: [(&str, &str); 19] = [
    ("After", "after"),
    ("User", "user"),
    ("Directory", "working_dir"),
    ("Hostname", "hostname"),
    ("Init", "init"),
    ("TTY", "tty"),
    ("Stdin", "stdin"),
    ("Volumes", "volumes"),
    ("Tmpfs", "tmpfs"),
    ("Shm size", "shm_size"),
    ("Security", "security"),
    ("Devices", "devices"),
    ("Network", "network"),
    ("Ulimits", "ulimits"),
    ("Sysctls", "sysctls"),
    ("Extra hosts", "extra_hosts"),
    ("DNS", "dns"),
    ("Logging", "logging"),
    ("Engine label", "container_labels"),
];

impl Page {
    fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        let value = or_nothing(&value.to_string());
        let label = format!("{name}:");
        self.text += &format!("{label:<VALUE_COLUMN$}{}\n", plain::line(&value));
    }
    /// A field that is left out where there is nothing.
    fn field_if_any(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.field(name, value);
        }
    }
    fn time(&mut self, session: &Session, name: &str, time: &str) {
        self.field(name, format!("{time} ({} ago)", age(time, session.now)));
    }

    fn service(&mut self, session: &Session, service: &Service) {
        let actual = &service.actual;
        self.field("Name", &service.name);
        self.field("Kind", "service");
        self.field("UID", &service.uid);
        self.field("Revision", service.revision);
        self.field("Version", version(service));
        self.time(session, "Created", &service.created_at);
        self.field("Desired", desired(service));
        self.field("Ready", actual.ready);
        self.field("Updated", actual.updated);
        self.field("Available", actual.available);
        self.field("Running", actual.running);
        if actual.unreachable > 0 {
            self.field("Unreachable", actual.unreachable);
        }
        self.field("Starting", actual.starting);
        self.field("Pending", actual.pending);
        self.field("Stopping", actual.stopping);
        if let Some(rollout) = &service.rollout {
            let instead = rollout.failed.map(|failed| format!(" (version {failed} failed)")).unwrap_or_default();
            let deadline = rollout.deadline.as_ref().map(|at| format!(", fails at {at} unless more replicas serve"));
            let state = rollout.state.replace('_', " ");
            self.field("Rollout", format!("{state}{instead}{}", deadline.unwrap_or_default()));
        }
        self.field("Failures", if actual.failures > 0 { format!("{} in a row", actual.failures) } else { "0".into() });
        self.field_if_any("Message", &actual.message);
        self.manifest(&service.desired);
    }

    fn definition(&mut self, session: &Session, definition: &TaskDefinition) {
        self.field("Name", &definition.name);
        self.field("Kind", "task");
        self.field("UID", &definition.uid);
        self.field("Revision", definition.revision);
        self.time(session, "Created", &definition.created_at);
        self.manifest(&definition.desired);
    }

    /// What most containers leave as the image and the engine have it.
    fn setup(&mut self, manifest: &Manifest) {
        let said = serde_json::to_value(manifest).unwrap_or_default();
        for (label, key) in SETUP {
            match said.get(key) {
                Some(Value::String(text)) => self.field(label, text),
                Some(value) => self.field(label, value),
                None => {}
            }
        }
    }

    fn manifest(&mut self, manifest: &Manifest) {
        self.field("Labels", pairs(&manifest.labels));
        self.field("Image", &manifest.image);
        self.field_if_any(
            "Pull",
            &manifest.pull.filter(|pull| *pull != ManifestPull::Missing).map(|pull| plain(&pull)).unwrap_or_default(),
        );
        self.field_if_any("Command", &words(&manifest.command));
        self.field_if_any("Args", &words(&manifest.args));
        let mut label = "Env";
        for (key, value) in &manifest.env {
            match label {
                "" => self.text += &format!("{:VALUE_COLUMN$}{key}={value}\n", ""),
                label => self.field(label, format!("{key}={value}")),
            }
            label = "";
        }
        if let Some(resources) = &manifest.resources {
            let or_default = |text: Option<String>| text.unwrap_or_else(|| "default".to_string());
            self.field("CPU", or_default(resources.cpu.map(|cpu| cpu.to_string())));
            self.field("Memory", or_default(resources.memory.map(|memory| memory.to_string())));
            self.field_if_any("Pids", &resources.pids.map(|pids| pids.to_string()).unwrap_or_default());
            let limits = resources.limits.unwrap_or_default();
            self.field_if_any("CPU limit", &limits.cpu.map(|cpu| cpu.to_string()).unwrap_or_default());
            self.field_if_any("Memory limit", &limits.memory.map(|memory| memory.to_string()).unwrap_or_default());
        }
        self.setup(manifest);
        for port in &manifest.ports {
            let host = port.host.map_or("any port of the node".to_string(), |host| format!("port {host} of the node"));
            self.field("Port", format!("{} {}{} on {host}", port.name, port.container, protocol(port.protocol)));
        }
        if let Some(placement) = &manifest.placement {
            self.field("Strategy", plain(&placement.strategy));
            placement.constraints.iter().for_each(|constraint| self.field("Constraint", constraint));
        }
        if let Some(restart) = &manifest.restart {
            let policy = restart.policy.as_ref().map(plain).unwrap_or_default();
            let span = |span: Option<orbit_api::quantity::Span>| span.map(|s| s.to_string());
            let mut text = policy;
            if let Some(backoff) = &restart.backoff {
                let range = span(backoff.initial).zip(span(backoff.max));
                text += &range.map(|(initial, max)| format!(", backoff {initial} to {max}")).unwrap_or_default();
                let jitter = backoff.jitter.filter(|percent| *percent > 0);
                text += &jitter.map(|percent| format!(", up to {percent} % later")).unwrap_or_default();
                text += &span(backoff.reset_after).map(|after| format!(", reset after {after}")).unwrap_or_default();
            }
            self.field("Restart", text);
        }
        if let Some(update) = &manifest.update {
            self.update(update);
        }
        for (name, probe) in [("Health", &manifest.health), ("Ready", &manifest.ready)] {
            self.field_if_any(name, &probe.as_ref().map(question).unwrap_or_default());
        }
        if let Some(disconnect) = &manifest.disconnect {
            let after = disconnect.replace_after.map(|span| format!("replaced after {span}"));
            let keep = disconnect.keep.as_ref().map(|keep| format!("keeps the {}", plain(keep)));
            let fence = disconnect.fence.as_ref().map(|fence| format!("fence {}", plain(fence)));
            let parts: Vec<String> = [after, keep, fence].into_iter().flatten().collect();
            self.field("Disconnect", parts.join(", "));
        }
        if let Some(stop) = &manifest.stop {
            self.stop(stop);
        }
    }

    fn update(&mut self, update: &ManifestUpdate) {
        let number = |number: Option<u32>| number.unwrap_or_default();
        let span = |span: Option<orbit_api::quantity::Span>| span.map(|s| s.to_string()).unwrap_or_default();
        let (surge, unavailable) = (number(update.max_surge), number(update.max_unavailable));
        let mut text = format!("surge {surge}, unavailable {unavailable}, counts after {}", span(update.min_healthy));
        if let Some(canaries) = update.canary.filter(|canaries| *canaries > 0) {
            text += &format!(", {canaries} first");
        }
        if let Some(on_failure) = update.on_failure.as_ref().filter(|_| update.deadline.is_some()) {
            text += &format!(", {} after {} without progress", plain(on_failure), span(update.deadline));
            if let Some(failures) = update.max_failures.filter(|failures| *failures > 0) {
                text += &format!(" or {failures} failures");
            }
        }
        self.field("Update", text);
    }

    fn stop(&mut self, stop: &ManifestStop) {
        if let Some(delay) = stop.delay.filter(|delay| delay.millis > 0) {
            self.field("Stop delay", delay);
        }
        if let Some(signal) = &stop.signal {
            self.field("Stop signal", signal);
        }
        if let Some(grace) = stop.grace {
            self.field("Stop grace", grace);
        }
    }

    fn task(&mut self, session: &Session, task: &Task) {
        self.field("ID", &task.id);
        self.field("Of", format!("{}/{}, slot {}, version {}", task.kind, task.name, task.slot, task.version));
        self.field("Image", &task.image);
        self.field("Node", task.node.as_deref().unwrap_or(NOTHING));
        self.field("Desired", &task.desired);
        self.field("Actual", &task.actual);
        self.field_if_any("Reason", &reason(task, true));
        for port in &task.ports {
            let host = port.host.map_or("not chosen yet".to_string(), |host| format!("port {host} of the node"));
            self.field("Port", format!("{} {}{} on {host}", port.name, port.container, protocol(port.protocol)));
        }
        self.time(session, "Created", &task.created_at);
        if let Some(time) = &task.running_at {
            self.time(session, "Running", time);
        }
        if let Some(time) = &task.ended_at {
            self.time(session, "Ended", time);
        }
    }

    fn node(&mut self, session: &Session, node: &Node) {
        self.field("Name", &node.name);
        self.field("UID", &node.uid);
        self.field("State", node_state(node));
        self.field_if_any("Deadline", node.drain_deadline.as_deref().unwrap_or_default());
        self.field_if_any("Message", &node.message);
        self.field("Labels", pairs(&node.labels));
        self.field("Platform", format!("{}/{}", node.os, node.arch));
        self.field_if_any("Worker", &node.worker_version);
        self.field_if_any("Engine", &node.engine_version);
        self.field_if_any("Allows", &node.allowed.join(", "));
        self.field("CPU", format!("{} used/allocatable", node_cpu(node)));
        self.field("Memory", format!("{} used/allocatable", node_memory(node)));
        self.field("Tasks", node.tasks);
        self.time(session, "Registered", &node.registered_at);
    }

    fn tasks(&mut self, session: &Session, tasks: &List<Task>) {
        match tasks.items.is_empty() {
            true => self.text += "\nNo tasks.\n",
            false => self.text += &format!("\n{}", table::tasks(&tasks.items, false, session.now)),
        }
        let mut messages = tasks.items.iter().filter(|task| !task.message.is_empty()).peekable();
        if messages.peek().is_some() {
            self.text += "\nMessages:\n";
        }
        for task in messages {
            self.text += &format!("  {}: {}\n", task.id, plain::line(&task.message));
        }
    }
}

impl Page {
    /// What happened to an object, in order: the newest of it.
    async fn story(&mut self, session: &Session<'_>, kind: &str, name: &str) -> Result<(), Error> {
        let all: List<Event> = match session.client.list("events", &[("kind", kind), ("name", name)]).await {
            // A manager that is older than this program has none.
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        let surplus = all.items.len().saturating_sub(EVENTS_MAX);
        if !all.items.is_empty() {
            let earlier = if surplus > 0 { format!(" (the newest {EVENTS_MAX})") } else { String::new() };
            self.text += &format!("\nEvents{earlier}:\n{}", table::events(&all.items[surplus..], true, session.now));
        }
        Ok(())
    }
}

/// The spelling of the manifest.
fn plain(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_string)).unwrap_or_default()
}

/// Words as they would be typed; those with blanks or quotes in them are quoted.
fn words(words: &[String]) -> String {
    let bare = |word: &str| !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "'\"\\$`".contains(c));
    let quote = |word: &String| if bare(word) { word.clone() } else { format!("{word:?}") };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// `GET /healthz of port http, every 5s, 3 failures count`
fn question(probe: &ManifestProbe) -> String {
    let what = match (&probe.http, &probe.tcp) {
        (Some(http), _) => format!("GET {} of port {}", http.path, http.port),
        (_, Some(tcp)) => format!("port {} takes a connection", tcp.port),
        _ => words(&probe.command),
    };
    let every = probe.interval.map(|span| format!(", every {span}")).unwrap_or_default();
    let within = probe.timeout.map(|span| format!(", within {span}")).unwrap_or_default();
    let spared = probe.start_period.filter(|span| span.millis > 0);
    let spared = spared.map(|span| format!(" after the first {span}")).unwrap_or_default();
    let count = match probe.retries {
        None => String::new(),
        Some(1) => ", 1 failure counts".to_string(),
        Some(count) => format!(", {count} failures count"),
    };
    format!("{what}{every}{within}{count}{spared}")
}

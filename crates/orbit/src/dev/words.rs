//! The words of `orbit dev`, and their colours.

use super::facts::{Engine, Facts};
use clap::builder::styling::{AnsiColor, Style};
use jiff::{Timestamp, tz::TimeZone};
use orbit_api::view::Event;
use orbit_runtime::EngineInfo;
use orbit_shell::plain;

/// Where a manager listens unless told otherwise, so that nobody has to say it.
const USUAL: &str = crate::settings::ADDR_DEFAULT;

/// Text of which parts have a style.
#[derive(Default)]
pub struct Styled(Vec<(Style, String)>);

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Yellow.on_default();

impl Styled {
    fn with(mut self, style: Style, text: impl Into<String>) -> Styled {
        self.0.push((style, text.into()));
        self
    }
    pub fn text(&self, colours: bool) -> String {
        let part = |(style, text): &(Style, String)| match colours && *style != PLAIN {
            true => format!("{style}{text}{style:#}"),
            false => text.clone(),
        };
        self.0.iter().map(part).collect()
    }
}

pub fn banner(facts: &Facts, engine: &Engine) -> Styled {
    let field = |shown: Styled, name: &str, value: &str| {
        shown.with(DIM, format!("  {name:<9}")).with(PLAIN, format!("{}\n", plain::line(value)))
    };
    let version = env!("CARGO_PKG_VERSION");
    let mut shown = Styled::default().with(BOLD, format!("Orbit {version}")).with(PLAIN, " runs on this machine.\n\n");
    shown = field(shown, "API", &facts.api);
    shown = field(shown, "Node", &facts.node);
    shown = match engine {
        Ok(engine) => field(shown, "Engine", &engine_words(engine)),
        Err(why) => shown
            .with(DIM, format!("  {:<9}", "Engine"))
            .with(BAD, format!("none answers: {}\n", plain::line(why)))
            .with(
                PLAIN,
                format!(
                    "  {:<9}Start Docker (systemctl start docker) or set DOCKER_HOST; Orbit goes on when it comes.\n",
                    ""
                ),
            ),
    };
    shown = field(shown, "State", &facts.state_dir.display().to_string());
    if let Some(port) = facts.workers {
        let command = format!("orbit-worker --manager http://THIS-MACHINE:{port} --publish 0.0.0.0");
        shown = field(shown, "Workers", &command);
        let warning = "There are no certificates yet: only for networks that you trust.";
        shown = shown.with(BAD, format!("  {:<9}{warning}\n", ""));
    }
    shown = shown.with(PLAIN, "\nIn another terminal:\n\n");
    if facts.api != USUAL {
        shown = shown.with(BOLD, format!("  export ORBIT_ADDR={}\n", facts.api));
    }
    let commands = "  orbit apply -f examples/web.yaml --wait\n  orbit get tasks\n  orbit --help\n";
    shown.with(BOLD, commands).with(PLAIN, "\nCtrl-C ends Orbit; containers go on running.\n\n")
}

fn engine_words(engine: &EngineInfo) -> String {
    let EngineInfo { capacity, arch, os, version, root_dir: _ } = engine;
    let cpus = crate::format::cpu(capacity.cpu_millis);
    format!("{version} ({os}/{arch}, {cpus} CPUs, {})", crate::format::memory(capacity.memory_bytes))
}

/// As on the wall.
fn hour(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned_datetime(zone.clone()).strftime("%H:%M:%S").to_string()
}

/// So wide is a name's column at least.
const NAME_COLUMNS: usize = 10;

fn told(hour: &str, name: &str, style: Style, text: &str) -> Styled {
    // A message is an engine's, and an engine's are anybody's: none breaks the line or the terminal.
    let text = plain::line(text);
    let shown = Styled::default().with(DIM, hour).with(BOLD, format!("  {:<NAME_COLUMNS$}", plain::line(name)));
    shown.with(style, format!("  {text}\n"))
}

/// `12:01:03  web         task 1.57.0 running on node-1`
pub fn line(event: &Event, zone: &TimeZone) -> Styled {
    let hour = event.at.parse().map_or_else(|_| event.at.clone(), |at| hour(at, zone));
    let subject = match &event.task {
        Some(task) => format!("task {task}"),
        None => event.kind.clone(),
    };
    let place = match &event.node {
        Some(node) if event.kind != "node" => format!(" on {node}"),
        _ => String::new(),
    };
    let message = if event.message.is_empty() { String::new() } else { format!(": {}", event.message) };
    let style = match event.reason.as_str() {
        _ if event.warning => BAD,
        "running" | "complete" | "joined" | "returned" => GOOD,
        "placed" | "stopping" | "stopped" => DIM,
        _ => PLAIN,
    };
    told(&hour, &event.name, style, &format!("{subject} {}{place}{message}", event.reason))
}

pub fn engine_line(engine: &Engine, zone: &TimeZone) -> Styled {
    let hour = hour(Timestamp::now(), zone);
    match engine {
        Ok(engine) => told(&hour, "engine", GOOD, &format!("{} answers: going on", engine_words(engine))),
        Err(why) => told(&hour, "engine", BAD, &format!("does not answer any more ({why}): waiting for it")),
    }
}

/// What was seen last: how many tasks run here, and the node's own ID.
pub fn farewell(seen: Option<(usize, String)>) -> Styled {
    let shown = Styled::default().with(PLAIN, "\n");
    match seen {
        Some((0, _)) => shown.with(PLAIN, "Orbit has ended. No container of it runs.\n"),
        Some((count, node)) => {
            let what = if count == 1 { "1 container goes".into() } else { format!("{count} containers go") };
            let next = "the next `orbit dev` takes up what runs.\nTo remove it instead:";
            let remove = format!("  docker rm -f $(docker ps -aq --filter label=orbit.node={node})\n");
            shown.with(PLAIN, format!("Orbit has ended. {what} on running; {next}\n\n")).with(BOLD, remove)
        }
        None => shown.with(PLAIN, "Orbit has ended. Containers go on running; the next `orbit dev` takes them up.\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::model::Resources;
    use orbit_runtime::docker::DockerRuntime;

    fn engine() -> EngineInfo {
        let capacity = Resources { cpu_millis: 4000, memory_bytes: 8 << 30 };
        let version = "Docker 28.2.2".into();
        EngineInfo { capacity, arch: "amd64".into(), os: "linux".into(), version, root_dir: None }
    }

    fn facts() -> Facts {
        Facts {
            api: USUAL.to_string(),
            node: "laptop".to_string(),
            state_dir: "/state/orbit/dev".into(),
            workers: None,
            engine: DockerRuntime::new("unix:///nowhere", std::net::Ipv4Addr::LOCALHOST.into()),
        }
    }

    fn event(reason: &str, kind: &str, name: &str, about_task: bool, message: &str) -> Event {
        Event {
            revision: 57,
            at: "2026-01-02T12:01:03.450Z".to_string(),
            actor: "manager".to_string(),
            reason: reason.to_string(),
            warning: ["failed", "unreachable"].contains(&reason),
            kind: kind.to_string(),
            name: name.to_string(),
            task: about_task.then(|| "1.57.0".to_string()),
            node: (about_task || kind == "node").then(|| "laptop".to_string()),
            message: message.to_string(),
        }
    }

    #[test]
    fn the_banner_says_where_everything_is_and_what_to_type_next() {
        insta::assert_snapshot!(banner(&facts(), &Ok(engine())).text(false));
    }

    #[test]
    fn without_an_engine_the_banner_says_what_to_do() {
        let facts = Facts { api: "http://127.0.0.1:8070".to_string(), workers: Some(8071), ..facts() };
        insta::assert_snapshot!(banner(&facts, &Err("connection refused".to_string())).text(false));
    }

    #[test]
    fn each_thing_that_happens_is_one_line() {
        let events = [
            event("joined", "node", "laptop", false, ""),
            event("created", "service", "web", false, "3 replicas of nginx:1.27"),
            event("placed", "service", "web", true, ""),
            event("running", "service", "web", true, ""),
            event("failed", "service", "a-longer-name", true, "exited (1)\n\u{1b}[31mred"),
            event("complete", "task", "import", true, ""),
            event("unreachable", "node", "laptop", false, ""),
        ];
        let lines: String = events.iter().map(|event| line(event, &TimeZone::UTC).text(false)).collect();
        insta::assert_snapshot!(lines);
        assert_eq!(lines.lines().count(), events.len());
    }

    #[test]
    fn the_hour_is_that_of_the_place() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert!(line(&event("joined", "node", "laptop", false, ""), &zone).text(false).starts_with("14:01:03"));
    }

    #[test]
    fn colours_mark_what_a_person_should_look_at_and_only_where_they_may() {
        let failed = line(&event("failed", "service", "web", true, ""), &TimeZone::UTC);
        assert!(failed.text(true).contains("\u{1b}[33m  task 1.57.0 failed on laptop"), "{:?}", failed.text(true));
        assert!(!failed.text(false).contains('\u{1b}'));
    }

    #[test]
    fn the_end_says_what_goes_on_and_how_to_remove_it() {
        let three = farewell(Some((3, "00000000000000ab".to_string()))).text(false);
        insta::assert_snapshot!(three);
        assert!(farewell(Some((0, String::new()))).text(false).contains("No container"));
        assert!(farewell(None).text(false).contains("go on running"));
    }
}

//! `orbit events`: what was done and what happened.

use crate::{
    args::{Format, Moment, moment},
    client::path,
    error::Error,
    session::Session,
    settings, table,
    target::{Target, TargetParser},
};
use clap::Args;
use orbit_api::view::Event;

/// Show what was done and what happened
#[derive(Args)]
#[command(after_help = "\
Examples:
  orbit events
  orbit events --since 2h service/web
  orbit events -f --warnings")]
pub struct Events {
    /// Keep running and show new events
    #[arg(short, long)]
    pub follow: bool,
    /// Only what happened since: a span such as 2h, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "SPAN|TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// Only events that need a person's attention
    #[arg(long)]
    pub warnings: bool,
    /// The output format [env: ORBIT_FORMAT] [default: table]
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Only the events of one object: KIND/NAME
    #[arg(value_name = "KIND/NAME", value_parser = TargetParser)]
    pub target: Option<Target>,
}

pub async fn events(session: &mut Session<'_>, args: Events) -> Result<u8, Error> {
    let format = settings::format(args.output, session.env, &session.context)?;
    let mut query = Vec::new();
    if let Some(target) = &args.target {
        query.push(("kind", target.kind.as_str()));
        query.extend(target.name.as_deref().map(|name| ("name", name)));
    }
    let since = args.since.map(|since| since.rfc3339(session.now));
    // Times of this form sort as they are.
    let chosen = |event: &Event| {
        (!args.warnings || event.warning) && since.as_deref().is_none_or(|since| event.at.as_str() >= since)
    };
    let mut list = session.client.list::<Event>("events", &query).await?;
    list.items.retain(chosen);
    let mut shown = Shown { format, events: Vec::new() };
    if list.items.is_empty() && !args.follow && format == Format::Table {
        session.say("no events found");
    }
    let revision = list.revision;
    session.print(&shown.all(list.items, session)?)?;
    if !args.follow {
        return Ok(0);
    }
    query.push(("watch", "1"));
    let since = revision.to_string();
    query.push(("since", &since));
    let at = path(&["events"], &query);
    let mut last = None;
    loop {
        let mut events = session.reconnect(&at, last.as_deref()).await?;
        while let Some(data) = events.next().await {
            let event: Event = serde_json::from_str(&data).map_err(|e| Error::usage(e.to_string()))?;
            if chosen(&event) {
                let text = shown.one(event, session)?;
                session.print(&text)?;
            }
        }
        // Also before the first of them: whoever was connected waits for the manager to come back.
        last = events.seen.or(last).or_else(|| Some(since.clone()));
    }
}

/// What is on the screen already, so that columns stay where they are.
struct Shown {
    format: Format,
    events: Vec<Event>,
}

/// So many of the last rows decide how wide the columns are.
const ROWS_MAX: usize = 200;

impl Shown {
    fn all(&mut self, events: Vec<Event>, session: &Session) -> Result<String, Error> {
        let text = match self.format {
            Format::Table | Format::Wide if events.is_empty() => String::new(),
            Format::Table | Format::Wide => table::events(&events, self.format == Format::Wide, session.now),
            Format::Name => events.iter().map(|event| format!("{}/{}\n", event.kind, event.name)).collect(),
            Format::Json | Format::Yaml => events.iter().map(|event| self.document(event)).collect::<Result<_, _>>()?,
        };
        self.events = events;
        Ok(text)
    }

    fn one(&mut self, event: Event, session: &mut Session) -> Result<String, Error> {
        if !matches!(self.format, Format::Table | Format::Wide) {
            return match self.format {
                Format::Name => Ok(format!("{}/{}\n", event.kind, event.name)),
                _ => self.document(&event),
            };
        }
        session.now = std::time::SystemTime::now();
        let first = self.events.is_empty();
        self.events.push(event);
        let surplus = self.events.len().saturating_sub(ROWS_MAX);
        self.events.drain(..surplus);
        let text = table::events(&self.events, self.format == Format::Wide, session.now);
        Ok(if first { text } else { table::last_line(&text) })
    }

    /// One line of JSON, or one YAML document.
    fn document(&self, event: &Event) -> Result<String, Error> {
        let text = match self.format {
            Format::Yaml => {
                serde_yaml_ng::to_string(event).map(|text| format!("---\n{text}")).map_err(|e| e.to_string())
            }
            _ => serde_json::to_string(event).map(|text| format!("{text}\n")).map_err(|e| e.to_string()),
        };
        text.map_err(Error::usage)
    }
}

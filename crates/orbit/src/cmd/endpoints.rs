//! `orbit endpoints`: where a service is reached.

use super::get::{json, yaml};
use crate::{
    args::{Format, service},
    client::path,
    error::Error,
    session::Session,
    settings,
    table::{self, endpoint_ports},
};
use clap::Args;
use orbit_api::view::{self, Change, ChangeKind};

/// Show where a service is reached now
#[derive(Args)]
#[command(after_help = "\
Lists the tasks that run and whose probes pass, were not told to stop, and have a reachable node. A
task that is told to stop leaves the list at once; its stop signal follows after stop.delay.

Examples:
  orbit endpoints web
  orbit endpoints web -w
  curl http://$(orbit endpoints web -o name | head -1)")]
pub struct Endpoints {
    /// The service
    #[arg(value_name = "NAME", value_parser = service)]
    pub name: String,
    /// Print them again whenever they change, until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,
    /// The output format; `name` is ADDRESS:PORT
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

pub async fn endpoints(session: &mut Session<'_>, args: Endpoints) -> Result<u8, Error> {
    let format = settings::format(args.output, session.env, &session.context)?;
    let at = ["services", &args.name, "endpoints"];
    if !args.watch {
        let endpoints: view::Endpoints = session.client.get(&path(&at, &[])).await?;
        if endpoints.items.is_empty() && matches!(format, Format::Table | Format::Wide) {
            session.say(&format!("service {} has no endpoints now", args.name));
            return Ok(0);
        }
        return session.print(&text(&endpoints, format)?).map(|()| 0);
    }
    let at = path(&at, &[("watch", "1")]);
    let mut last = None;
    loop {
        let mut events = session.reconnect(&at, last.as_deref()).await?;
        while let Some(data) = events.next().await {
            let change: Change<view::Endpoints> =
                serde_json::from_str(&data).map_err(|e| Error::usage(e.to_string()))?;
            let text = match format {
                Format::Json => format!("{data}\n"),
                Format::Yaml => format!("---\n{}", yaml(&change)?),
                // All of them, at every change.
                _ => format!("{}\n", text(&change.object, format)?),
            };
            session.print(&text)?;
            if change.kind == ChangeKind::Deleted && matches!(format, Format::Table | Format::Wide) {
                session.say(&format!("service {} was deleted; waiting for another of that name", args.name));
            }
        }
        last = events.seen.or(last);
    }
}

fn text(endpoints: &view::Endpoints, format: Format) -> Result<String, Error> {
    let named = |endpoint: &view::Endpoint| endpoint_ports(endpoint).into_iter().map(|(_, at)| format!("{at}\n"));
    Ok(match format {
        Format::Json => json(endpoints)?,
        Format::Yaml => yaml(endpoints)?,
        Format::Name => endpoints.items.iter().flat_map(named).collect(),
        Format::Table | Format::Wide => table::endpoints(&endpoints.items),
    })
}

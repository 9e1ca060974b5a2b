//! `orbit rollout`: follow, pause, resume, promote and undo the rollout of a service.

use super::get::{json, yaml};
use crate::{
    args::{Format, service, span},
    client::path,
    error::Error,
    session::Session,
    settings, table,
    wait::{self, Awaited},
};
use clap::Subcommand;
use hyper::Method;
use orbit_api::view::{List, Service, Stored, Undo, Version};
use std::time::Duration;
use tokio::time::Instant;

/// Follow, pause, resume, promote or undo the rollout of a new version
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  orbit rollout status web                     # follows it to its end
  orbit rollout history web
  orbit rollout undo web --to 3")]
pub enum Rollout {
    /// Follow a rollout to its end
    #[command(after_help = "\
Ends with exit code 4 if the rollout has failed or was rolled back. Also ends if the rollout is
paused, or waits for its canaries to be promoted.

Examples:
  orbit rollout status web
  orbit rollout status web --timeout 1s        # the present state: exit code 5 while it is under way")]
    Status {
        /// The service
        #[arg(value_parser = service)]
        name: String,
        /// How long to wait [default: for ever]
        #[arg(long, value_name = "SPAN", value_parser = span)]
        timeout: Option<Duration>,
    },
    /// Show the versions that are kept
    #[command(after_help = "\
Examples:
  orbit rollout history web
  orbit rollout history web -o yaml            # with the spec of each version")]
    History {
        /// The service
        #[arg(value_parser = service)]
        name: String,
        /// The output format
        #[arg(short, long, value_enum)]
        output: Option<Format>,
    },
    /// Pause a rollout: no further replica is replaced for it
    #[command(after_help = "\
A task that ends meanwhile is replaced by one of the same version.

Examples:
  orbit rollout pause web")]
    Pause {
        /// The service
        #[arg(value_parser = service)]
        name: String,
    },
    /// Resume a rollout; its deadline starts again
    #[command(after_help = "\
Examples:
  orbit rollout resume web")]
    Resume {
        /// The service
        #[arg(value_parser = service)]
        name: String,
    },
    /// Promote the canaries: the other replicas are updated, too
    #[command(after_help = "\
Examples:
  orbit rollout promote web")]
    Promote {
        /// The service
        #[arg(value_parser = service)]
        name: String,
    },
    /// Go back to an earlier version
    #[command(after_help = "\
An undo does not change your manifest. Put the earlier version into it before you apply it again.

Examples:
  orbit rollout undo web
  orbit rollout undo web --to 3")]
    Undo {
        /// The service
        #[arg(value_parser = service)]
        name: String,
        /// A version of `orbit rollout history` [default: the last version before it that was stable in every replica]
        #[arg(long, value_name = "VERSION")]
        to: Option<u32>,
    },
}

pub async fn rollout(session: &mut Session<'_>, command: Rollout) -> Result<u8, Error> {
    match command {
        Rollout::Status { name, timeout } => return status(session, &name, timeout).await,
        Rollout::History { name, output } => return history(session, &name, output).await,
        Rollout::Pause { name } => {
            order(session, &name, "pause", None).await?;
            session.print(&format!("service/{name} rollout paused\n"))?;
        }
        Rollout::Resume { name } => {
            let stored = order(session, &name, "resume", None).await?;
            session.print(&format!("service/{name} goes on to version {}\n", stored.version))?;
        }
        Rollout::Promote { name } => {
            let stored = order(session, &name, "promote", None).await?;
            session.print(&format!("service/{name} goes on to version {} in every replica\n", stored.version))?;
        }
        Rollout::Undo { name, to } => {
            let stored = order(session, &name, "undo", Some(&Undo { version: to })).await?;
            session.print(&format!("service/{name} goes back to version {}\n", stored.version))?;
        }
    }
    Ok(0)
}

async fn order(session: &Session<'_>, name: &str, order: &str, undo: Option<&Undo>) -> Result<Stored, Error> {
    session.client.ask(Method::POST, &path(&["services", name, "rollout", order], &[]), &[], undo).await
}

/// Prints the progress whenever it changes, and the outcome at the end.
async fn status(session: &mut Session<'_>, name: &str, timeout: Option<Duration>) -> Result<u8, Error> {
    let service: Service = session.client.get(&path(&["services", name], &[])).await?;
    *session.farewell.borrow_mut() = format!("the rollout of service/{name} goes on; only the waiting has ended");
    // For ever, as far as a clock can express it.
    let deadline = Instant::now() + timeout.unwrap_or(Duration::from_secs(10 * 365 * 86_400));
    wait::wait(session, vec![Awaited::rollout(name, &service.uid)], deadline).await?;
    let service: Service = session.client.get(&path(&["services", name], &[])).await?;
    let text = match &service.rollout {
        Some(rollout) if !rollout.message.is_empty() => rollout.message.clone(),
        Some(rollout) if rollout.state == "running" => format!("version {} has no replicas", service.version),
        _ => format!("version {} is rolled out", service.version),
    };
    session.print(&format!("service/{name}: {text}\n"))?;
    Ok(0)
}

async fn history(session: &mut Session<'_>, name: &str, output: Option<Format>) -> Result<u8, Error> {
    let versions: List<Version> = session.client.get(&path(&["services", name, "versions"], &[])).await?;
    let text = match settings::format(output, session.env, &session.context)? {
        Format::Json => json(&versions)?,
        Format::Yaml => yaml(&versions)?,
        Format::Name => versions.items.iter().map(|version| format!("{}\n", version.version)).collect(),
        Format::Table | Format::Wide => table::versions(&versions.items, session.now),
    };
    session.print(&text)?;
    Ok(0)
}

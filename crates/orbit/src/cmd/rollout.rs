//! `orbit rollout`: follow, pause, resume, promote and undo the rollout of a service.

use super::get::{json, yaml};
use crate::{
    Session,
    cli::{Format, Rollout},
    client::path,
    error::Error,
    settings, table,
    wait::{self, Awaited},
};
use hyper::Method;
use orbit_api::view::{List, Service, Stored, Undo, Version};
use std::time::Duration;
use tokio::time::Instant;

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

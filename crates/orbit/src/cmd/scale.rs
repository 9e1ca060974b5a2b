//! `orbit scale`: the number of replicas of a service.

use crate::{
    args::service,
    client::path,
    error::Error,
    session::Session,
    wait::{Awaited, Waiting},
};
use clap::Args;
use hyper::Method;
use orbit_api::view;

/// Change the number of replicas of a service
#[derive(Args)]
#[command(after_help = "\
Examples:
  orbit scale web=5
  orbit scale web=5 --wait --timeout 2m
  orbit scale web=0")]
pub struct Scale {
    /// The service and its new number of replicas
    #[arg(value_name = "NAME=N", value_parser = target)]
    pub target: (String, u32),
    #[command(flatten)]
    pub waiting: Waiting,
}

pub async fn scale(session: &mut Session<'_>, args: Scale) -> Result<u8, Error> {
    let (name, replicas) = args.target;
    let to = path(&["services", &name, "scale"], &[]);
    let stored: view::Stored = session.client.ask(Method::POST, &to, &[], Some(&view::Scale { replicas })).await?;
    let what = if stored.changed { format!("scaled to {replicas}") } else { "unchanged".to_string() };
    session.print(&format!("service/{name} {what}\n"))?;
    let done = format!("service/{name} stays {what}");
    args.waiting.wait(session, vec![Awaited::replicas(&name, &stored.uid)], &done).await?;
    Ok(0)
}

fn target(text: &str) -> Result<(String, u32), String> {
    let wrong = || "write NAME=N, for example web=3".to_string();
    let (name, number) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    Ok((service(name)?, number.parse().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_and_its_number_are_read_with_their_mistakes_named() {
        assert_eq!(target("web=3"), Ok(("web".into(), 3)));
        assert_eq!(target("service/web=3"), Ok(("web".into(), 3)));
        for bad in ["web", "=3", "web=", "web=-1", "web=three"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}

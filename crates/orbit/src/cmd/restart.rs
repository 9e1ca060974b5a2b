//! `orbit restart`: every task anew.

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

/// Replace every task of a service, one by one, by one of the same spec
#[derive(Args)]
#[command(after_help = "\
A slot that waits for its backoff after a failure is tried again at once.

Examples:
  orbit restart web
  orbit restart web --wait --timeout 2m        # exit code 4 if it failed or was rolled back")]
pub struct Restart {
    /// The service
    #[arg(value_name = "NAME", value_parser = service)]
    pub name: String,
    #[command(flatten)]
    pub waiting: Waiting,
}

pub async fn restart(session: &mut Session<'_>, args: Restart) -> Result<u8, Error> {
    let Restart { name, waiting } = args;
    let to = path(&["services", &name, "restart"], &[]);
    let stored: view::Stored = session.client.ask(Method::POST, &to, &[], None::<&()>).await?;
    session.print(&format!("service/{name} restarts as version {}\n", stored.version))?;
    let done = format!("the restart of service/{name} goes on");
    waiting.wait(session, vec![Awaited::service(&name, &stored.uid)], &done).await?;
    Ok(0)
}

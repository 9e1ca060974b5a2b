//! `orbit restart`: every task anew.

use crate::{args::service, client::path, error::Error, session::Session};
use clap::Args;
use hyper::Method;
use orbit_api::view;

/// Replace every task of a service, one by one, by one of the same spec
#[derive(Args)]
#[command(after_help = "\
A slot that waits for its backoff after a failure is tried again at once.

Examples:
  orbit restart web")]
pub struct Restart {
    /// The service
    #[arg(value_name = "NAME", value_parser = service)]
    pub name: String,
}

pub async fn restart(session: &mut Session<'_>, args: Restart) -> Result<u8, Error> {
    let name = args.name;
    let to = path(&["services", &name, "restart"], &[]);
    let stored: view::Stored = session.client.ask(Method::POST, &to, &[], None::<&()>).await?;
    session.print(&format!("service/{name} restarts as version {}\n", stored.version))?;
    Ok(0)
}

//! One module per command.

mod apply;
mod context;
mod delete;
mod describe;
mod endpoints;
pub mod errors;
mod events;
mod exec;
mod get;
mod logs;
mod node;
mod rollout;
mod run;

use crate::{
    Session,
    cli::{Cli, Command, Scale, Target},
    client::path,
    error::Error,
};
use clap::CommandFactory;
use hyper::Method;
use orbit_api::view;

/// Does what the line says. Returns the exit code.
pub async fn execute(command: Command, mut session: Session<'_>) -> Result<u8, Error> {
    let session = &mut session;
    match command {
        Command::Apply(args) => apply::apply(session, args).await,
        Command::Run(args) => run::run(session, args).await,
        Command::Get(args) => get::get(session, args).await,
        Command::Describe(args) => describe::describe(session, args).await,
        Command::Delete(args) => delete::delete(session, args).await,
        Command::Scale(args) => scale(session, args).await,
        Command::Restart { name } => restart(session, &name).await,
        Command::Rollout(command) => rollout::rollout(session, command).await,
        Command::Endpoints(args) => endpoints::endpoints(session, args).await,
        Command::Exec(args) => exec::exec(session, args).await,
        Command::Events(args) => events::events(session, args).await,
        Command::Context(command) => context::context(session, command),
        Command::Logs(args) => logs::logs(session, args).await,
        Command::Node(command) => node::node(session, command).await,
        Command::Dev(_) => unreachable!("the daemons are run without a session"),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "orbit", &mut script);
            session.print(&String::from_utf8_lossy(&script))?;
            Ok(0)
        }
    }
}

async fn scale(session: &mut Session<'_>, args: Scale) -> Result<u8, Error> {
    let (name, replicas) = args.target;
    let to = path(&["services", &name, "scale"], &[]);
    let stored: view::Stored = session.client.ask(Method::POST, &to, &[], Some(&view::Scale { replicas })).await?;
    let what = if stored.changed { format!("scaled to {replicas}") } else { "unchanged".to_string() };
    session.print(&format!("service/{name} {what}\n"))?;
    Ok(0)
}

async fn restart(session: &mut Session<'_>, name: &str) -> Result<u8, Error> {
    let to = path(&["services", name, "restart"], &[]);
    let stored: view::Stored = session.client.ask(Method::POST, &to, &[], None::<&()>).await?;
    session.print(&format!("service/{name} restarts as version {}\n", stored.version))?;
    Ok(0)
}

/// The name that may stand in the target or after it.
fn one_name(target: &Target, name: Option<String>) -> Result<Option<String>, Error> {
    match (&target.name, name) {
        (Some(first), Some(second)) => {
            Err(Error::usage(format!("{}/{first} names one object already: what is `{second}`?", target.kind.as_str())))
        }
        (Some(name), None) => Ok(Some(name.clone())),
        (None, name) => Ok(name),
    }
}

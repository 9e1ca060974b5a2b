//! `orbit node`: list, cordon, drain, uncordon and forget nodes.

use super::{delete, get};
use crate::{args::node as node_name, client::path, error::Error, session::Session, target::ObjectKind};
use clap::Subcommand;
use hyper::Method;
use orbit_api::{quantity::Span, view};

/// Show, cordon, drain and forget nodes
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  orbit node ls -o wide
  orbit node drain worker-1 --deadline 5m
  orbit node uncordon worker-1")]
pub enum Node {
    /// Show the nodes
    #[command(after_help = "\
Examples:
  orbit node ls
  orbit node ls -l zone=a -o wide
  orbit node ls -w                             # and every change from now on")]
    Ls(get::Show),
    /// Place no more tasks on a node; its tasks keep running
    #[command(after_help = "\
Examples:
  orbit node cordon worker-1")]
    Cordon {
        /// The node
        #[arg(value_parser = node_name)]
        name: String,
    },
    /// Let a node take tasks again; this also ends a drain
    #[command(after_help = "\
Examples:
  orbit node uncordon worker-1")]
    Uncordon {
        /// The node
        #[arg(value_parser = node_name)]
        name: String,
    },
    /// Move the tasks of a node elsewhere, and wait until they have ended
    #[command(after_help = "\
Tasks of services are replaced elsewhere, within the update budget of each service. A task that
runs once may come to its end. At the deadline the tasks that are left are told to stop. Ctrl-C
ends the waiting, but not the drain; `orbit node uncordon` ends the drain.

Examples:
  orbit node drain worker-1
  orbit node drain worker-1 --deadline 5m
  orbit node drain worker-1 --detach")]
    Drain {
        /// The node
        #[arg(value_parser = node_name)]
        name: String,
        /// The time after which the tasks that are left are told to stop [default: never]
        #[arg(long, value_name = "SPAN", value_parser = Span::parse)]
        deadline: Option<Span>,
        /// Do not wait
        #[arg(short, long)]
        detach: bool,
    },
    /// Give a node up: its tasks are lost and replaced elsewhere
    #[command(after_help = "\
Examples:
  orbit node forget worker-1")]
    Forget {
        /// The node
        #[arg(value_parser = node_name)]
        name: String,
    },
}

pub async fn node(session: &mut Session<'_>, command: Node) -> Result<u8, Error> {
    match command {
        Node::Ls(show) => get::list(session, ObjectKind::Node, &show, &[]).await,
        Node::Forget { name } => {
            delete::delete_and_say(session, ObjectKind::Node, &name).await?;
            Ok(0)
        }
        Node::Cordon { name } => {
            let node: view::Node = order(session, &name, "cordon", None).await?;
            let what = if node.duty == "cordoned" { "cordoned".to_string() } else { format!("is {}", node.duty) };
            session.print(&format!("node/{name} {what}\n"))?;
            Ok(0)
        }
        Node::Uncordon { name } => {
            order(session, &name, "uncordon", None).await?;
            session.print(&format!("node/{name} takes tasks\n"))?;
            Ok(0)
        }
        Node::Drain { name, deadline, detach } => drain(session, &name, deadline, detach).await,
    }
}

async fn order(session: &Session<'_>, name: &str, what: &str, body: Option<&view::Drain>) -> Result<view::Node, Error> {
    session.client.ask(Method::POST, &path(&["nodes", name, what], &[]), &[], body).await
}

/// Prints what blocks the drain whenever that changes. Reports `drained` only after every task was seen to end.
async fn drain(session: &mut Session<'_>, name: &str, deadline: Option<Span>, detach: bool) -> Result<u8, Error> {
    let mut node = order(session, name, "drain", Some(&view::Drain { deadline })).await?;
    if detach {
        session.print(&format!("node/{name} {}\n", node.duty))?;
        return Ok(0);
    }
    *session.farewell.borrow_mut() = format!("the drain of node/{name} goes on; `orbit node uncordon {name}` ends it");
    let mut said = String::new();
    while node.duty == "draining" {
        if node.message != said {
            session.say(&format!("node/{name}: {}", node.message));
            said.clone_from(&node.message);
        }
        tokio::time::sleep(session.timing.poll).await;
        node = session.client.get(&path(&["nodes", name], &[])).await?;
    }
    if node.duty != "drained" {
        return Err(Error::usage(format!("node/{name} is {} now: somebody has ended the drain", node.duty)));
    }
    session.print(&format!("node/{name} drained\n"))?;
    Ok(0)
}

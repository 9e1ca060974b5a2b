//! `orbit node`: list, cordon, drain, uncordon and forget nodes.

use super::{delete, get};
use crate::{
    Session,
    cli::{Node, ObjectKind},
    client::path,
    error::Error,
};
use hyper::Method;
use orbit_api::{quantity::Span, view};

pub async fn node(session: &mut Session<'_>, command: Node) -> Result<u8, Error> {
    match command {
        Node::Ls(show) => get::list(session, ObjectKind::Node, &show, &[]).await,
        Node::Forget { name } => {
            delete::delete_one(session, ObjectKind::Node, &name).await?;
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

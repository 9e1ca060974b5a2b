//! `orbit apply`.

use super::delete::delete_one;
use crate::{
    Session,
    cli::{Apply, ObjectKind},
    client::path,
    error::Error,
    files::{self, Document},
    wait::{self, Awaited},
};
use hyper::{
    Method,
    header::{HeaderName, IF_MATCH, IF_NONE_MATCH},
};
use orbit_api::{
    manifest::ManifestKind,
    view::{List, Service, Stored, Submitted},
};
use tokio::time::Instant;

pub async fn apply(session: &mut Session<'_>, args: Apply) -> Result<u8, Error> {
    let documents = files::read(session, &args.files)?;
    let condition = condition(&documents, args.if_revision)?;
    if args.prune && args.selector.is_none() && !args.all {
        return Err(Error::usage("--prune: of which services? Choose with -l KEY=VALUE, or say --all"));
    }
    if args.dry_run {
        return preview(session, &documents, &condition, &args).await;
    }
    let mut awaited = Vec::new();
    for document in &documents {
        let object = document.object();
        let place = format!("{}: {object}", document.place);
        let applied = match document.manifest.kind {
            ManifestKind::Service => put_service(session, document, &condition).await,
            ManifestKind::Task => post_task(session, document).await,
        };
        let (what, one) = applied.map_err(|e| e.at(&place))?;
        session.print(&format!("{object} {what}\n"))?;
        awaited.push(one);
    }
    if args.prune {
        for name in surplus(session, &documents, args.selector.as_deref()).await? {
            delete_one(session, ObjectKind::Service, &name).await?;
        }
    }
    if args.wait {
        "what was applied stays applied; only the waiting has ended".clone_into(&mut session.farewell.borrow_mut());
        wait::wait(session, awaited, Instant::now() + args.timeout).await?;
    }
    Ok(0)
}

/// The services that are not in the files, of those that the selector chooses.
async fn surplus(session: &Session<'_>, documents: &[Document], selector: Option<&str>) -> Result<Vec<String>, Error> {
    let query: Vec<_> = selector.map(|selector| ("selector", selector)).into_iter().collect();
    let there: List<Service> = session.client.list("services", &query).await?;
    let kept =
        |name: &str| documents.iter().any(|d| d.manifest.kind == ManifestKind::Service && d.manifest.name == name);
    Ok(there.items.into_iter().map(|service| service.name).filter(|name| !kept(name)).collect())
}

/// Says what would be done.
async fn preview(
    session: &mut Session<'_>,
    documents: &[Document],
    condition: &[(HeaderName, String)],
    args: &Apply,
) -> Result<u8, Error> {
    for document in documents {
        let (object, manifest) = (document.object(), &document.manifest);
        let place = format!("{}: {object}", document.place);
        let query = [("dry_run", "1")];
        let (method, to) = match manifest.kind {
            ManifestKind::Service => (Method::PUT, path(&["services", &manifest.name], &query)),
            ManifestKind::Task => (Method::POST, path(&["tasks"], &query)),
        };
        let stored: Stored =
            session.client.ask(method, &to, condition, Some(manifest)).await.map_err(|e| e.at(&place))?;
        session.print(&format!("{object} would be {}\n", what(&stored)))?;
    }
    if args.prune {
        for name in surplus(session, documents, args.selector.as_deref()).await? {
            session.print(&format!("service/{name} would be deleted\n"))?;
        }
    }
    Ok(0)
}

fn what(stored: &Stored) -> &'static str {
    match (stored.created, stored.changed) {
        (true, _) => "created",
        (false, true) => "changed",
        (false, false) => "unchanged",
    }
}

/// The header that lets the change happen only at the given revision.
fn condition(documents: &[Document], revision: Option<u64>) -> Result<Vec<(HeaderName, String)>, Error> {
    let Some(revision) = revision else { return Ok(Vec::new()) };
    match documents {
        [one] if one.manifest.kind == ManifestKind::Service => {}
        _ => {
            return Err(Error::usage(
                "--if-revision: the revision of one service, so one service must be in the files",
            ));
        }
    }
    Ok(vec![match revision {
        0 => (IF_NONE_MATCH, "*".to_string()),
        revision => (IF_MATCH, format!("\"{revision}\"")),
    }])
}

async fn put_service(
    session: &Session<'_>,
    document: &Document,
    condition: &[(HeaderName, String)],
) -> Result<(&'static str, Awaited), Error> {
    let to = path(&["services", &document.manifest.name], &[]);
    let stored: Stored = session.client.ask(Method::PUT, &to, condition, Some(&document.manifest)).await?;
    Ok((what(&stored), Awaited::service(&stored.name, &stored.uid)))
}

async fn post_task(session: &Session<'_>, document: &Document) -> Result<(&'static str, Awaited), Error> {
    let to = path(&["tasks"], &[]);
    let submitted: Submitted = session.client.ask(Method::POST, &to, &[], Some(&document.manifest)).await?;
    let what = if submitted.created { "created" } else { "unchanged" };
    Ok((what, Awaited::task(&submitted.name, &submitted.uid)))
}

//! `orbit apply`.

use super::delete::delete_one;
use crate::{
    args::{selector, span},
    client::path,
    error::Error,
    files::{self, Document},
    session::Session,
    target::ObjectKind,
    wait::{self, Awaited},
};
use clap::Args;
use hyper::{
    Method,
    header::{HeaderName, IF_MATCH, IF_NONE_MATCH},
};
use orbit_api::{
    Difference,
    manifest::ManifestKind,
    view::{List, Service, Stored, Submitted},
};
use std::time::Duration;
use tokio::time::Instant;

/// Create or change the objects that files describe
#[derive(Args)]
#[command(after_help = "\
Examples:
  orbit apply -f web.yaml
  orbit apply -f web.yaml -f jobs.yaml --wait --timeout 2m
  orbit apply -f shop/                         # every .yaml, .yml and .json file in it
  orbit apply -f shop/ --prune -l team=shop    # and delete the team's other services
  orbit apply -f web.yaml --dry-run            # say what would change, field by field
  orbit apply -f web.yaml --dry-run --exit-code > /dev/null || orbit apply -f web.yaml
  cat web.yaml | orbit apply -f -
  orbit apply -f web.yaml --if-revision 57     # only if nobody changed it since")]
pub struct Apply {
    /// A file with manifests in YAML or JSON, or a directory of such files; `-` is standard input
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<String>,
    /// Say what would change, field by field, and change nothing
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
    /// With --dry-run: exit with 1 if anything would change
    #[arg(long, requires = "dry_run")]
    pub exit_code: bool,
    /// Delete the services that are not in the files, among those that -l selects, or among all with --all
    #[arg(long)]
    pub prune: bool,
    /// With --prune: only services with these labels
    #[arg(short = 'l', long, value_name = "K=V[,K=V]", value_parser = selector, requires = "prune")]
    pub selector: Option<String>,
    /// With --prune: all services
    #[arg(long, requires = "prune", conflicts_with = "selector")]
    pub all: bool,
    /// Wait until every service runs as desired and every task has ended
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = span, requires = "wait")]
    pub timeout: Duration,
    /// Change the one service in the files only if this is its revision; 0: only if it does not exist
    #[arg(long, value_name = "N")]
    pub if_revision: Option<u64>,
}

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
        let (what, changes, one) = applied.map_err(|e| e.at(&place))?;
        let changes = if changes.is_empty() { String::new() } else { format!(": {}", summary(&changes)) };
        session.print(&format!("{object} {what}{changes}\n"))?;
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
    let mut differs = false;
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
        differs |= stored.created || stored.changed;
        session.print(&format!("{object} would be {}\n{}", what(&stored), in_full(&stored.changes)))?;
    }
    if args.prune {
        for name in surplus(session, documents, args.selector.as_deref()).await? {
            differs = true;
            session.print(&format!("service/{name} would be deleted\n"))?;
        }
    }
    Ok(u8::from(args.exit_code && differs))
}

/// `replicas 5 → 1, image web:1 → web:2, and 3 more fields`: the first few, shortly.
fn summary(changes: &[Difference]) -> String {
    const NAMED_MAX: usize = 4;
    const CHARS_MAX: usize = 40;
    let short = |value: &Option<String>| match value {
        None => "nothing".to_string(),
        Some(value) if value.chars().count() > CHARS_MAX => {
            format!("{}…", value.chars().take(CHARS_MAX).collect::<String>())
        }
        Some(value) => value.clone(),
    };
    let named = changes.iter().take(NAMED_MAX);
    let mut words: Vec<String> =
        named.map(|it| format!("{} {} → {}", it.field, short(&it.before), short(&it.after))).collect();
    let more = changes.len().saturating_sub(NAMED_MAX);
    words.extend((more > 0).then(|| format!("and {more} more fields")));
    words.join(", ")
}

/// Each field on lines of its own: what it is, and what it would be.
fn in_full(changes: &[Difference]) -> String {
    let line = |mark: char, field: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!("  {mark} {field}: {value}\n")).unwrap_or_default()
    };
    let both = changes.iter().map(|it| line('-', &it.field, &it.before) + &line('+', &it.field, &it.after));
    both.collect()
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
) -> Result<(&'static str, Vec<Difference>, Awaited), Error> {
    let to = path(&["services", &document.manifest.name], &[]);
    let stored: Stored = session.client.ask(Method::PUT, &to, condition, Some(&document.manifest)).await?;
    let awaited = Awaited::service(&stored.name, &stored.uid);
    Ok((what(&stored), stored.changes, awaited))
}

async fn post_task(
    session: &Session<'_>,
    document: &Document,
) -> Result<(&'static str, Vec<Difference>, Awaited), Error> {
    let to = path(&["tasks"], &[]);
    let submitted: Submitted = session.client.ask(Method::POST, &to, &[], Some(&document.manifest)).await?;
    let what = if submitted.created { "created" } else { "unchanged" };
    Ok((what, Vec::new(), Awaited::task(&submitted.name, &submitted.uid)))
}

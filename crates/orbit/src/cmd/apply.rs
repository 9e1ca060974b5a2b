//! `orbit apply`.

use super::{
    delete::delete_one,
    get::{json, yaml},
};
use crate::{
    args::{Format, selector},
    client::path,
    compose::ComposeArgs,
    error::{Error, Kind},
    files::{self, Document},
    session::Session,
    settings,
    target::ObjectKind,
    wait::{Awaited, Waiting},
};
use clap::Args;
use hyper::{
    Method,
    header::{HeaderName, IF_MATCH, IF_NONE_MATCH},
};
use orbit_api::{
    Difference,
    manifest::ManifestKind,
    view::{AppliedItem, List, Service, Stored, Submitted},
};
use orbit_compose::LABEL_PROJECT;
use serde::Serialize;

/// Create or change the objects that files describe
#[derive(Args)]
#[command(after_help = "\
Examples:
  orbit apply -f web.yaml
  orbit apply -f web.yaml -f jobs.yaml --wait --timeout 2m
  orbit apply -f shop/                         # every .yaml, .yml and .json file in it
  orbit apply -f shop/ --prune -l team=shop    # and delete the team's other services
  orbit apply -f compose.yaml --prune          # and delete the project's other services
  orbit apply -f web.yaml --dry-run            # say what would change, field by field
  orbit apply -f web.yaml --dry-run --exit-code > /dev/null || orbit apply -f web.yaml
  orbit apply -f shop/ -o json                 # one document: what came of each object
  orbit get service web -o yaml | orbit apply -f -
  cat web.yaml | orbit apply -f -
  orbit apply -f web.yaml --if-revision 57     # only if nobody changed it since")]
pub struct Apply {
    /// A file with manifests in YAML or JSON, a compose file, or a directory of such files; `-` is standard input
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<String>,
    /// Say what would change, field by field, and change nothing
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
    /// With --dry-run: exit with 1 if anything would change
    #[arg(long, requires = "dry_run")]
    pub exit_code: bool,
    /// Delete the services that are not in the files, among those that -l selects, among those of the compose file's project, or
    /// among all with --all
    #[arg(long)]
    pub prune: bool,
    /// With --prune: only services with these labels
    #[arg(short = 'l', long, value_name = "K=V[,K=V]", value_parser = selector, requires = "prune")]
    pub selector: Option<String>,
    /// With --prune: all services
    #[arg(long, requires = "prune", conflicts_with = "selector")]
    pub all: bool,
    #[command(flatten)]
    pub compose: ComposeArgs,
    #[command(flatten)]
    pub waiting: Waiting,
    /// Change the one service in the files only if this is its revision; 0: only if it does not exist
    #[arg(long, value_name = "N")]
    pub if_revision: Option<u64>,
    /// The output format: table, name, or one document as json or yaml [env: ORBIT_FORMAT] [default: table]
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    pub output: Option<Format>,
}

pub async fn apply(session: &mut Session<'_>, args: Apply) -> Result<u8, Error> {
    let format = settings::format(args.output, session.env, &session.context)?;
    let documents = files::read(session, &args.files, &args.compose)?;
    let condition = condition(&documents, args.if_revision)?;
    let of_project = project(&documents).map(|project| format!("{LABEL_PROJECT}={project}"));
    let args = match args.selector.is_none() && !args.all {
        true => Apply { selector: of_project, ..args },
        false => args,
    };
    if args.prune && args.selector.is_none() && !args.all {
        return Err(Error::usage("--prune: of which services? Choose with -l KEY=VALUE, or say --all"));
    }
    let mut outcome = Outcome { format, ..Outcome::default() };
    let done = apply_all(session, &documents, &condition, &args, &mut outcome).await;
    // What was done before a failure is told as well.
    if done.is_ok() || !outcome.items.is_empty() {
        outcome.print_document(session)?;
    }
    done?;
    let awaited = std::mem::take(&mut outcome.awaited);
    args.waiting.wait(session, awaited, "what was applied stays applied").await?;
    Ok(u8::from(args.exit_code && outcome.differs()))
}

/// Stores what the documents say, one after the other, and deletes the others if that is wanted; a dry run only asks
/// what would come of it.
async fn apply_all(
    session: &mut Session<'_>,
    documents: &[Document],
    condition: &[(HeaderName, String)],
    args: &Apply,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    for document in documents {
        let manifest = &document.manifest;
        let applied = match (args.dry_run, manifest.kind) {
            (true, _) => preview(session, document, condition).await.map(|item| (item, None)),
            (false, ManifestKind::Service) => {
                put_service(session, document, condition).await.map(|(item, one)| (item, Some(one)))
            }
            (false, ManifestKind::Task) => post_task(session, document).await.map(|(item, one)| (item, Some(one))),
        };
        match applied {
            Ok((item, awaited)) => {
                outcome.awaited.extend(awaited);
                outcome.tell(session, item, args.dry_run)?;
            }
            Err(error) => {
                if let Kind::Problem(problem) = &error.kind {
                    let problem = Some((**problem).clone());
                    outcome.items.push(AppliedItem { problem, ..item(document, 0, (false, false), Vec::new()) });
                }
                return Err(error.at(&format!("{}: {}", document.place, document.object())));
            }
        }
    }
    if args.prune {
        for name in surplus(session, documents, args.selector.as_deref()).await? {
            if !args.dry_run {
                delete_one(session, ObjectKind::Service, &name).await?;
            }
            let object = format!("service/{name}");
            let what = if args.dry_run { "would be deleted" } else { "deleted" };
            outcome.line(session, &object, what)?;
            outcome.deleted.push(object);
        }
    }
    Ok(())
}

/// What came of the objects, or would. As a document it is what `POST /v1/apply` answers, and what was deleted.
#[derive(Default, Serialize)]
struct Outcome {
    items: Vec<AppliedItem>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deleted: Vec<String>,
    #[serde(skip)]
    awaited: Vec<Awaited>,
    #[serde(skip)]
    format: Format,
}

impl Outcome {
    fn differs(&self) -> bool {
        !self.deleted.is_empty() || self.items.iter().any(|item| item.created || item.changed)
    }

    /// Keeps what came of one object, and says it at once where no document is wanted.
    fn tell(&mut self, session: &mut Session<'_>, item: AppliedItem, is_dry_run: bool) -> Result<(), Error> {
        let text = match is_dry_run {
            true => format!("would be {}\n{}", what(&item), in_full(&item.changes)),
            false if item.changes.is_empty() => what(&item).to_string(),
            false => format!("{}: {}", what(&item), summary(&item.changes)),
        };
        self.line(session, &format!("{}/{}", item.kind, item.name), text.trim_end())?;
        self.items.push(item);
        Ok(())
    }

    /// A line for people, or for programs that want names.
    fn line(&self, session: &mut Session<'_>, object: &str, what: &str) -> Result<(), Error> {
        match self.format {
            Format::Json | Format::Yaml => Ok(()),
            Format::Name => session.print(&format!("{object}\n")),
            Format::Table | Format::Wide => session.print(&format!("{object} {what}\n")),
        }
    }

    fn print_document(&self, session: &mut Session<'_>) -> Result<(), Error> {
        match self.format {
            Format::Json => session.print(&json(self)?),
            Format::Yaml => session.print(&yaml(self)?),
            Format::Name | Format::Table | Format::Wide => Ok(()),
        }
    }
}

/// The project of compose files, if there is nothing else in the files, and but one.
fn project(documents: &[Document]) -> Option<&String> {
    let first = documents.first()?.project.as_ref()?;
    documents.iter().all(|document| document.project.as_ref() == Some(first)).then_some(first)
}

/// The services that are not in the files, of those that the selector chooses.
async fn surplus(session: &Session<'_>, documents: &[Document], selector: Option<&str>) -> Result<Vec<String>, Error> {
    let query: Vec<_> = selector.map(|selector| ("selector", selector)).into_iter().collect();
    let there: List<Service> = session.client.list("services", &query).await?;
    let is_it = |d: &Document, name: &str| d.manifest.kind == ManifestKind::Service && d.manifest.name == name;
    let kept = |name: &str| documents.iter().any(|d| is_it(d, name) || d.services.iter().any(|it| it == name));
    Ok(there.items.into_iter().map(|service| service.name).filter(|name| !kept(name)).collect())
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

fn what(item: &AppliedItem) -> &'static str {
    match (item.created, item.changed) {
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

/// What came of a document, or would.
fn item(document: &Document, revision: u64, (created, changed): (bool, bool), changes: Vec<Difference>) -> AppliedItem {
    let (kind, name) = (document.kind().to_string(), document.manifest.name.clone());
    AppliedItem { kind, name, revision, created, changed, changes, problem: None }
}

async fn preview(
    session: &Session<'_>,
    document: &Document,
    condition: &[(HeaderName, String)],
) -> Result<AppliedItem, Error> {
    let query = [("dry_run", "true")];
    let (method, to) = match document.manifest.kind {
        ManifestKind::Service => (Method::PUT, path(&["services", &document.manifest.name], &query)),
        ManifestKind::Task => (Method::POST, path(&["tasks"], &query)),
    };
    let stored: Stored = session.client.ask(method, &to, condition, Some(&document.manifest)).await?;
    Ok(item(document, stored.revision, (stored.created, stored.changed), stored.changes))
}

async fn put_service(
    session: &Session<'_>,
    document: &Document,
    condition: &[(HeaderName, String)],
) -> Result<(AppliedItem, Awaited), Error> {
    let to = path(&["services", &document.manifest.name], &[]);
    let stored: Stored = session.client.ask(Method::PUT, &to, condition, Some(&document.manifest)).await?;
    let awaited = Awaited::service(&stored.name, &stored.uid);
    Ok((item(document, stored.revision, (stored.created, stored.changed), stored.changes), awaited))
}

async fn post_task(session: &Session<'_>, document: &Document) -> Result<(AppliedItem, Awaited), Error> {
    let to = path(&["tasks"], &[]);
    let submitted: Submitted = session.client.ask(Method::POST, &to, &[], Some(&document.manifest)).await?;
    let awaited = Awaited::task(&submitted.name, &submitted.uid);
    Ok((item(document, submitted.revision, (submitted.created, submitted.created), Vec::new()), awaited))
}

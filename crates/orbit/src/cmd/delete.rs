//! `orbit delete`, `orbit node forget`.

use crate::{
    client::path,
    compose::ComposeArgs,
    error::{Error, Kind},
    files, names,
    session::Session,
    target::{ObjectKind, Target, TargetParser},
};
use clap::Args;
use orbit_api::manifest::ManifestKind;

/// Delete objects and stop their tasks
#[derive(Args)]
#[command(after_help = "\
If you delete a task of a service, a new task replaces it; delete the service to stop it.

Examples:
  orbit delete service web
  orbit delete task import
  orbit delete task 1.57.0
  orbit delete -f web.yaml
  orbit delete -f compose.yaml                 # what a compose file says")]
pub struct Delete {
    /// service, task or node; or KIND/NAME
    #[arg(value_name = "KIND", value_parser = TargetParser, required_unless_present = "files")]
    pub target: Option<Target>,
    /// Their names; of tasks: attempts' IDs or definitions' names
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Delete what is described in a file; `-` is standard input
    #[arg(short, long = "file", value_name = "FILE", conflicts_with_all = ["target", "names"])]
    pub files: Vec<String>,
    #[command(flatten)]
    pub compose: ComposeArgs,
}

pub async fn delete(session: &mut Session<'_>, args: Delete) -> Result<u8, Error> {
    let mut objects = Vec::new();
    for document in files::read_if_any(session, &args.files, &args.compose)? {
        let kind = match document.manifest.kind {
            ManifestKind::Service => ObjectKind::Service,
            ManifestKind::Task => ObjectKind::Task,
        };
        objects.push((kind, document.manifest.name));
    }
    if let Some(target) = args.target {
        objects.extend(target.name.map(|name| (target.kind, name)));
        for name in args.names {
            // `orbit delete service/a service/b`, as `-o name` prints them.
            objects.push(match name.split_once('/') {
                Some((kind, name)) => {
                    (ObjectKind::parse(kind).ok_or_else(|| ObjectKind::unknown(kind))?, name.to_string())
                }
                None => (target.kind, name),
            });
        }
    }
    if objects.is_empty() {
        return Err(Error::usage("which one? Write `orbit delete KIND NAME`"));
    }
    // One that is not there does not keep the others.
    let mut failed = None;
    for (kind, name) in objects {
        match delete_and_say(session, kind, &name).await {
            Ok(()) => {}
            Err(error) if matches!(error.kind, Kind::Problem(_)) => {
                let error = names::with_similar(&session.client, error).await;
                session.say(&format!("orbit: {}", error.text().unwrap_or_default()));
                failed = Some(error.exit_code());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(failed.unwrap_or(0))
}

/// Deletes one object and says so.
pub async fn delete_and_say(session: &mut Session<'_>, kind: ObjectKind, name: &str) -> Result<(), Error> {
    delete_one(session, kind, name).await?;
    let done = if kind == ObjectKind::Node { "forgotten" } else { "deleted" };
    session.print(&format!("{}/{name} {done}\n", kind.as_str()))
}

/// Deletes one object.
pub async fn delete_one(session: &Session<'_>, kind: ObjectKind, name: &str) -> Result<(), Error> {
    let object = format!("{}/{name}", kind.as_str());
    session.client.delete(&path(&[kind.plural(), name], &[])).await.map_err(|e| e.at(&object))
}

//! `orbit compose`: what a compose file says, as manifests.

use super::get::yaml;
use crate::{
    compose::{ComposeArgs, manifests},
    error::Error,
    session::Session,
    text::{bounded, read_text},
};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// Read compose files
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  orbit compose convert > manifests.yaml")]
pub enum Compose {
    Convert(Convert),
}

/// Print what a compose file says, as manifests
#[derive(Args)]
#[command(after_help = "\
What a manifest cannot say is refused, with its line, all of it in one answer; nothing is printed then. With --lenient
it is left out, with a warning.

Examples:
  orbit compose convert                        # compose.yaml of this directory
  orbit compose convert -f shop/compose.yaml --profile debug
  orbit compose convert -f compose.yaml --env-file production.env --lenient > manifests.yaml
  orbit compose convert | orbit apply -f -")]
pub struct Convert {
    /// The compose file; `-` is standard input [default: compose.yaml, compose.yml, docker-compose.yaml or docker-compose.yml]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub reading: ComposeArgs,
}

const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
/// What Compose merges into those.
const OVERRIDES: [&str; 4] =
    ["compose.override.yaml", "compose.override.yml", "docker-compose.override.yaml", "docker-compose.override.yml"];

pub fn compose(session: &mut Session<'_>, command: Compose) -> Result<u8, Error> {
    match command {
        Compose::Convert(args) => print_converted(session, args),
    }
}

fn print_converted(session: &mut Session<'_>, args: Convert) -> Result<u8, Error> {
    let (name, text, folder) = compose_file(session, args.file.as_deref())?;
    if args.file.is_none()
        && let Some(other) = OVERRIDES.iter().find(|file| Path::new(file).is_file())
    {
        session.say(&format!("warning: {other} is here and is not read: files are not merged yet"));
    }
    let manifests = manifests(session, (&name, &text), &folder, &args.reading).map_err(Error::usage)?;
    for manifest in &manifests {
        session.print(&format!("---\n{}", yaml(manifest)?))?;
    }
    Ok(0)
}

/// The name of the compose file, its text, and the folder from which it names others.
fn compose_file(session: &mut Session<'_>, file: Option<&Path>) -> Result<(String, String, PathBuf), Error> {
    if file == Some(Path::new("-")) {
        let text = bounded(&mut *session.stdin).map_err(|error| Error::usage(format!("standard input: {error}")))?;
        return Ok(("-".to_string(), text, PathBuf::from(".")));
    }
    let found = || FILES.iter().map(PathBuf::from).find(|file| file.is_file());
    let file = file.map(Path::to_path_buf).or_else(found);
    let file = file.ok_or_else(|| Error::usage(format!("none of {} is here: name one with -f", FILES.join(", "))))?;
    let name = file.display().to_string();
    let text = read_text(&file).map_err(|error| Error::usage(format!("{name}: {error}")))?;
    let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok((name, text, folder))
}

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
  orbit compose convert -f compose.yaml -f production.yaml | orbit apply -f -
  orbit compose convert -f compose.yaml --env-file production.env --lenient > manifests.yaml")]
pub struct Convert {
    /// The compose file; `-` is standard input; several go over each other, in their order [default: compose.yaml, compose.yml,
    /// docker-compose.yaml or docker-compose.yml, and the file with `override` in its name beside it]
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
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
    let (files, folder) = compose_files(session, args.files)?;
    let (manifests, _) = manifests(session, &files, &folder, &args.reading).map_err(Error::usage)?;
    for manifest in &manifests {
        session.print(&format!("---\n{}", yaml(manifest)?))?;
    }
    Ok(0)
}

/// The compose files with their names, and the folder from which they name others: that of the first.
fn compose_files(session: &mut Session<'_>, files: Vec<PathBuf>) -> Result<(Vec<(String, String)>, PathBuf), Error> {
    let files = if files.is_empty() { here()? } else { files };
    let folder = files.first().and_then(|file| file.parent()).map(Path::to_path_buf).unwrap_or_default();
    let mut found = Vec::new();
    for file in &files {
        let name = file.display().to_string();
        found.push(match name.as_str() {
            "-" => {
                let text = bounded(&mut *session.stdin);
                (name, text.map_err(|error| Error::usage(format!("standard input: {error}")))?)
            }
            _ => {
                let text = read_text(file).map_err(|error| Error::usage(format!("{name}: {error}")))?;
                (name, text)
            }
        });
    }
    Ok((found, if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder }))
}

/// Those that Compose takes of a folder.
fn here() -> Result<Vec<PathBuf>, Error> {
    let there = |names: [&str; 4]| names.map(PathBuf::from).into_iter().find(|file| file.is_file());
    let first = there(FILES);
    let first = first.ok_or_else(|| Error::usage(format!("none of {} is here: name one with -f", FILES.join(", "))))?;
    Ok([first].into_iter().chain(there(OVERRIDES)).collect())
}

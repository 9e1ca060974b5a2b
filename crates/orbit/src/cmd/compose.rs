//! `orbit compose`: what a compose file says, as manifests.

use super::get::yaml;
use crate::{error::Error, session::Session};
use clap::{Args, Subcommand};
use orbit_compose::{Converted, Finding, Source, convert, read_env};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    path::{Path, PathBuf},
};

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
    /// Files of variables, of which later ones count more; those of the environment count most [default: .env]
    #[arg(long = "env-file", value_name = "FILE")]
    pub env_files: Vec<PathBuf>,
    /// Take the services of this profile, too; `*` is all
    #[arg(long = "profile", value_name = "NAME")]
    pub profiles: Vec<String>,
    /// The project's name, which becomes the label `project` [default: the file's `name`, or its directory's]
    #[arg(short, long, value_name = "NAME")]
    pub project: Option<String>,
    /// Leave out what a manifest cannot say, with a warning
    #[arg(long)]
    pub lenient: bool,
}

const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
/// What Compose merges into those.
const OVERRIDES: [&str; 4] =
    ["compose.override.yaml", "compose.override.yml", "docker-compose.override.yaml", "docker-compose.override.yml"];
/// So many bytes of a file are read at most.
const FILE_BYTES_MAX: u64 = 4 << 20;

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
    let variables = variables(&args.env_files, &folder, session.env)?;
    let source = Source {
        text: &text,
        project: args.project.as_deref(),
        folder: &project_of(&folder),
        profiles: &args.profiles.iter().cloned().collect::<BTreeSet<String>>(),
        variables: &|name: &str| variables.get(name).cloned(),
        read: &|file: &str| read(&folder.join(file)),
    };
    let Converted { manifests, findings } =
        convert(&source).map_err(|error| Error::usage(format!("{name}:{error}")))?;
    let said = |finding: &Finding| match finding.is_refused && !args.lenient {
        true => format!("{name}:{finding}"),
        false => format!("warning: {name}:{finding}"),
    };
    let refused = findings.iter().filter(|finding| finding.is_refused).count();
    findings.iter().for_each(|finding| session.say(&said(finding)));
    if refused > 0 && !args.lenient {
        let what = if refused == 1 { "1 thing" } else { &format!("{refused} things") };
        return Err(Error::usage(format!("{name}: {what} of it cannot be said; --lenient leaves them out")));
    }
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
    let text = read(&file).map_err(|error| Error::usage(format!("{name}: {error}")))?;
    let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok((name, text, folder))
}

fn read(file: &Path) -> Result<String, String> {
    bounded(fs::File::open(file).map_err(|error| error.to_string())?)
}

/// A text, up to a bound.
fn bounded(from: impl Read) -> Result<String, String> {
    let mut text = String::new();
    from.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(format!("larger than {FILE_BYTES_MAX} bytes")),
        false => Ok(text),
    }
}

/// The variables that a file may name.
fn variables(
    files: &[PathBuf],
    folder: &Path,
    env: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    let beside = folder.join(".env");
    let files = if files.is_empty() && beside.is_file() { vec![beside] } else { files.to_vec() };
    let mut known = env.clone();
    let mut found = BTreeMap::new();
    for file in files {
        let at = |error: String| Error::usage(format!("{}:{error}", file.display()));
        let text = read(&file).map_err(|error| at(format!(" {error}")))?;
        let read = read_env(&text, &|name| known.get(name).cloned()).map_err(|error| at(error.to_string()))?;
        found.extend(read.iter().cloned());
        for (name, value) in read {
            if !env.contains_key(&name) {
                known.insert(name, value);
            }
        }
    }
    found.extend(env.clone());
    Ok(found)
}

/// The name of the folder, as far as it is one.
fn project_of(folder: &Path) -> String {
    let whole = folder.canonicalize().or_else(|_| std::env::current_dir()).unwrap_or_default();
    let name = whole.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_').collect()
}

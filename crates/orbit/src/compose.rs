//! Compose files where manifests are expected: which variables they are read with, and what is said of what they cannot say here.

use crate::{session::Session, text::read_text};
use clap::Args;
use orbit_api::Manifest;
use orbit_compose::{Converted, Finding, Source, convert, read_env};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// How a compose file is read.
#[derive(Args, Clone, Debug, Default)]
pub struct ComposeArgs {
    /// Of a compose file: files of variables, of which later ones count more; those of the environment count most [default: .env]
    #[arg(long = "env-file", value_name = "FILE")]
    pub env_files: Vec<PathBuf>,
    /// Of a compose file: take the services of this profile, too; `*` is all
    #[arg(long = "profile", value_name = "NAME")]
    pub profiles: Vec<String>,
    /// Of a compose file: the project's name, which becomes the label `project` [default: the file's `name`, or its directory's]
    #[arg(short, long, value_name = "NAME")]
    pub project: Option<String>,
    /// Of a compose file: the absolute path at which the project's files are on the nodes; without it, what is mounted of them is refused
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    pub project_directory: Option<String>,
    /// Of a compose file: leave out what a manifest cannot say, with a warning
    #[arg(long)]
    pub lenient: bool,
}

/// The manifests of compose files, each with its name and its text; later ones go over the first. Whatever is found on the way is
/// said, by its line. With them come the names of all services of the files.
///
/// # Errors
/// How much of them cannot be said, or why one is none, with its name.
pub fn manifests(
    session: &mut Session<'_>,
    files: &[(String, String)],
    folder: &Path,
    args: &ComposeArgs,
) -> Result<(Vec<Manifest>, Vec<String>), String> {
    let variables = variables(&args.env_files, folder, session.env)?;
    let source = Source {
        files,
        project: args.project.as_deref(),
        folder: &project_of(folder),
        project_directory: args.project_directory.as_deref(),
        profiles: &args.profiles.iter().cloned().collect::<BTreeSet<String>>(),
        variables: &|name: &str| variables.get(name).cloned(),
        read: &|file: &str| read_text(&folder.join(file)),
    };
    let Converted { manifests, services, findings } = convert(&source).map_err(|error| error.to_string())?;
    let said = |finding: &Finding| match finding.is_refused && !args.lenient {
        true => finding.to_string(),
        false => format!("warning: {finding}"),
    };
    let name = files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let refused = findings.iter().filter(|finding| finding.is_refused).count();
    findings.iter().for_each(|finding| session.say(&said(finding)));
    match refused {
        0 => Ok((manifests, services)),
        _ if args.lenient => Ok((manifests, services)),
        1 => Err(format!("{name}: 1 thing of it cannot be said; --lenient leaves it out")),
        many => Err(format!("{name}: {many} things of it cannot be said; --lenient leaves them out")),
    }
}

fn absolute(text: &str) -> Result<String, String> {
    match text.starts_with('/') {
        true => Ok(text.to_string()),
        false => Err("an absolute path is expected, as it is on the nodes".to_string()),
    }
}

/// The variables that a file may name.
fn variables(
    files: &[PathBuf],
    folder: &Path,
    env: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, String> {
    let beside = folder.join(".env");
    let files = if files.is_empty() && beside.is_file() { vec![beside] } else { files.to_vec() };
    let mut known = env.clone();
    let mut found = BTreeMap::new();
    for file in files {
        let at = |error: String| format!("{}:{error}", file.display());
        let text = read_text(&file).map_err(|error| at(format!(" {error}")))?;
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

//! Manifests from files, also from compose files: all of them are read and checked before the first is sent.

use crate::{
    compose::{ComposeArgs, manifests},
    error::{Error, Kind},
    session::Session,
    text::{bounded, read_text},
};
use orbit_api::{
    Manifest,
    manifest::{ManifestKind, read_documents},
};
use orbit_compose::{LABEL_PROJECT, is_compose};
use std::{collections::BTreeMap, path::Path, rc::Rc};

/// A manifest and where it stands.
pub struct Document {
    pub manifest: Manifest,
    /// `web.yaml`, or `web.yaml: document 2` where there are several.
    pub place: String,
    /// The project of the compose file in which it stands.
    pub project: Option<String>,
    /// All services of that file, also those that are not chosen now.
    pub services: Rc<[String]>,
}

impl Document {
    /// `service/web`.
    pub fn object(&self) -> String {
        format!("{}/{}", self.kind(), self.manifest.name)
    }

    /// As the API names it.
    pub fn kind(&self) -> &'static str {
        match self.manifest.kind {
            ManifestKind::Service => "service",
            ManifestKind::Task => "task",
        }
    }
}

/// Reads all files; says everything that is wrong in them, not only the first.
pub fn read(session: &mut Session<'_>, files: &[String], compose: &ComposeArgs) -> Result<Vec<Document>, Error> {
    let mut documents = Vec::new();
    let mut wrong = Vec::new();
    let mut all = Vec::new();
    for file in files {
        match below(file) {
            Ok(below) => all.extend(below),
            Err(error) => wrong.push(error),
        }
    }
    for file in &all {
        match text_of(session, file) {
            Ok(text) if is_compose(&text) => convert(session, (file, &text), compose, &mut documents, &mut wrong),
            Ok(text) => parse(file, &text, &mut documents, &mut wrong),
            Err(error) => wrong.push(error),
        }
    }
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for document in &documents {
        if let Some(first) = seen.insert(document.object(), &document.place) {
            wrong.push(format!("{}: {} stands in {first} already", document.place, document.object()));
        }
    }
    if wrong.is_empty() {
        return Ok(documents);
    }
    for line in wrong {
        session.say(&format!("orbit: {line}"));
    }
    Err(Error::new(Kind::Said(2)))
}

/// A file itself; of a directory, the manifests in it, by name. Directories in it are left alone.
fn below(file: &str) -> Result<Vec<String>, String> {
    if file == "-" || !std::path::Path::new(file).is_dir() {
        return Ok(vec![file.to_string()]);
    }
    let is_manifest = |name: &str| [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end));
    let entries = std::fs::read_dir(file).map_err(|e| format!("{file}: {e}"))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file());
    let names = paths.filter_map(|path| path.to_str().map(str::to_string)).filter(|name| is_manifest(name));
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    if names.is_empty() { Err(format!("{file}: no .yaml, .yml or .json file in it")) } else { Ok(names) }
}

fn text_of(session: &mut Session, file: &str) -> Result<String, String> {
    let read = match file {
        "-" => bounded(&mut *session.stdin),
        file => read_text(Path::new(file)),
    };
    read.map_err(|e| format!("{}: {e}", shown(file)))
}

/// A compose file, whose services are manifests.
fn convert(
    session: &mut Session<'_>,
    (file, text): (&str, &str),
    args: &ComposeArgs,
    documents: &mut Vec<Document>,
    wrong: &mut Vec<String>,
) {
    let folder = if file == "-" { Path::new(".") } else { Path::new(file).parent().unwrap_or(Path::new("")) };
    match manifests(session, &[(shown(file).to_string(), text.to_string())], folder, args) {
        Ok((manifests, services)) => {
            let services: Rc<[String]> = services.into();
            for manifest in manifests {
                let place = shown(file).to_string();
                let project = manifest.labels.get(LABEL_PROJECT).cloned();
                match manifest.definition() {
                    Ok(_) => documents.push(Document { manifest, place, project, services: services.clone() }),
                    Err(rejection) => wrong.push(format!("{place}: {}: {rejection}", manifest.name)),
                }
            }
        }
        Err(what) => wrong.push(what),
    }
}

fn shown(file: &str) -> &str {
    if file == "-" { "standard input" } else { file }
}

fn parse(file: &str, text: &str, documents: &mut Vec<Document>, wrong: &mut Vec<String>) {
    let all = read_documents(text);
    if all.is_empty() {
        wrong.push(format!("{}: no manifest in it", shown(file)));
    }
    let several = all.len() > 1 || all.iter().any(|(number, _)| *number > 1);
    for (number, manifest) in all {
        let place = if several { format!("{}: document {number}", shown(file)) } else { shown(file).to_string() };
        let checked = manifest.map_err(|e| e.to_string()).and_then(|manifest| {
            manifest.definition().map_err(|rejection| rejection.to_string())?;
            Ok(manifest)
        });
        match checked {
            Ok(manifest) => documents.push(Document { manifest, place, project: None, services: [].into() }),
            Err(what) => wrong.push(format!("{place}: {what}")),
        }
    }
}

/// As [`read`]; without files, nothing.
pub fn read_if_any(session: &mut Session<'_>, files: &[String], compose: &ComposeArgs) -> Result<Vec<Document>, Error> {
    if files.is_empty() { Ok(Vec::new()) } else { read(session, files, compose) }
}

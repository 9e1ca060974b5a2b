//! Compose files as manifests: the tree that they are together, and then each service by itself.

mod fields;
mod health;
mod host;
mod order;
mod ports;
mod restart;
mod service;
mod units;
mod volumes;

use crate::{
    Converted, Error,
    findings::Findings,
    load::load,
    source::Source,
    yaml::{self, Key, Map, Node, Place, Value},
};
use fields::Fields;
use orbit_core::model::Grant;
use order::Order;
use std::collections::{BTreeMap, BTreeSet};
use volumes::Volumes;

/// Whether a text is a compose file rather than manifests: a map with `services` or what it includes, of no kind.
pub fn is_compose(text: &str) -> bool {
    // Manifests may be many and large, and are not read twice.
    let may_be = text.contains("services") || text.contains("include");
    let Ok(Some(Node { value: Value::Map(map), .. })) = (if may_be { yaml::parse(text, 0) } else { Ok(None) }) else {
        return false;
    };
    (map.get("services").is_some() || map.get("include").is_some()) && map.get("kind").is_none()
}

/// Reads compose files, and gives the manifests of the services that the profiles choose.
///
/// # Errors
/// The text is no compose file, or a variable that it needs has no value.
pub fn convert(source: &Source) -> Result<Converted, Error> {
    let mut findings = Findings::default();
    let (map, files) = load(source, &mut findings)?;
    let error = |at: Place, message: &str| Error {
        file: files.get(at.file).cloned(),
        line: at.line,
        message: message.to_string(),
    };
    let first = Place { file: 0, line: 1 };
    let mut top = Fields::of(&map, "", first);
    let Some(services) = top.take("services") else {
        return Err(error(first, "not a compose file: it has no `services`"));
    };
    let at = services.at;
    let Value::Map(Map(services)) = &services.value else {
        return Err(error(at, "`services` is a map of names"));
    };
    // What Compose itself does not read any more.
    let _ = top.take("version");
    let own = top.text("name", &mut findings);
    let named = source.project.map(str::to_string).or(own).unwrap_or_else(|| source.folder.to_string());
    refuse_objects(&mut top, &mut findings);
    let volumes = Volumes::declared(&mut top, services, &named, &mut findings);
    top.refuse_others(&mut findings);

    let mut names = BTreeMap::new();
    let mut manifests = Vec::new();
    let order = Order::of_services(services, source);
    for (key, node) in services {
        let Some(name) = name_of(key, &mut names, &mut findings) else { continue };
        let path = format!("services.{}", key.text);
        let Value::Map(map) = &node.value else {
            findings.refuse(node.at, &path, "a service is a map");
            continue;
        };
        let mut fields = Fields::of(map, &path, key.at);
        if !is_chosen(&mut fields, source.profiles, &mut findings) {
            continue;
        }
        let Some(manifest) = service::service(&name, &mut fields, (source, &order, &volumes), &mut findings) else {
            continue;
        };
        let manifest = orbit_api::Manifest { labels: with_project(manifest.labels, &named), ..manifest };
        match manifest.definition() {
            Ok(definition) => note_asks(&definition.spec.asks(), key.at, &path, &mut findings),
            Err(rejection) => findings.refuse(key.at, &path, rejection.to_string()),
        }
        manifests.push(manifest);
    }
    if manifests.len() > 1 {
        let message = "the services do not find each other by their names yet, as they do in a network of Compose";
        findings.note(at, "services", message);
    }
    let services = services.iter().map(|(key, _)| name_of_text(&key.text)).collect();
    Ok(Converted { manifests, services, findings: findings.sorted(&files) })
}

/// With Compose, whoever starts containers may do all that root may on his machine; here its operator says what.
fn note_asks(asks: &[Grant], at: Place, path: &str, findings: &mut Findings) {
    if !asks.is_empty() {
        let words = Vec::from_iter(asks.iter().map(|asked| format!("`{asked}`"))).join(", ");
        let message =
            format!("runs where the node's operator allows {words} (`allow` of the worker), and has it there");
        findings.note(at, path, message);
    }
}

/// The label by which the objects of a project are found.
pub const LABEL_PROJECT: &str = "project";

fn with_project(mut labels: BTreeMap<String, String>, project: &str) -> BTreeMap<String, String> {
    labels.entry(LABEL_PROJECT.to_string()).or_insert_with(|| project.to_string());
    labels
}

/// Objects beside the services.
fn refuse_objects(top: &mut Fields, findings: &mut Findings) {
    for (key, message) in [
        ("configs", "configs are not built yet"),
        ("secrets", "secrets are not built yet"),
        ("models", "models are not built"),
    ] {
        let Some(node) = top.take(key) else { continue };
        if !is_empty(&node.value) {
            findings.refuse(node.at, key, message);
        }
    }
    if let Some(node) = top.take("networks") {
        findings.note(node.at, "networks", "each task has the network of its node's engine; networks are not made");
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(_) => false,
        Value::List(items) => items.is_empty(),
        Value::Map(Map(pairs)) => pairs.is_empty(),
    }
}

fn name_of_text(text: &str) -> String {
    let name: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    name.trim_matches('-').to_string()
}

/// The name of an object: compose files have underscores, dots and capitals in theirs.
fn name_of(key: &Key, names: &mut BTreeMap<String, String>, findings: &mut Findings) -> Option<String> {
    let path = format!("services.{}", key.text);
    let name = name_of_text(&key.text);
    if let Err(rejection) = orbit_core::model::check_name("name", &name) {
        findings.refuse(key.at, &path, rejection.message);
        return None;
    }
    if let Some(other) = names.insert(name.clone(), key.text.clone()) {
        findings.refuse(key.at, &path, format!("`{other}` is called {name} already"));
        return None;
    }
    if name != key.text {
        findings.note(key.at, &path, format!("is called {name}: names are lower-case letters, digits and hyphens"));
    }
    Some(name)
}

fn is_chosen(fields: &mut Fields, profiles: &BTreeSet<String>, findings: &mut Findings) -> bool {
    let own = fields.texts("profiles", findings);
    own.is_empty() || profiles.contains("*") || own.iter().any(|profile| profiles.contains(profile))
}

#[cfg(test)]
mod tests;

//! A compose file as manifests: variables first, then each service by itself.

mod fields;
mod health;
mod host;
mod ports;
mod service;
mod units;

use crate::{
    Converted, Error, Finding,
    interpolate::{Variables, Wrong, interpolate},
    yaml::{self, Key, Map, Node, Value},
};
use fields::Fields;
use orbit_core::model::Grant;
use std::collections::{BTreeMap, BTreeSet};

/// What a compose file is read with.
pub struct Source<'a> {
    /// The compose file.
    pub text: &'a str,
    /// The project's name, whatever the file says.
    pub project: Option<&'a str>,
    /// The project's name, where nobody says.
    pub folder: &'a str,
    /// The profiles that are chosen; `*` is all of them.
    pub profiles: &'a BTreeSet<String>,
    /// The value of a variable: of the environment, or of `.env`.
    pub variables: &'a Variables<'a>,
    /// The text of a file that the compose file names; the error is for people.
    pub read: &'a dyn Fn(&str) -> Result<String, String>,
}

/// What is found on the way.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    /// Something that is not carried over.
    fn refuse(&mut self, line: usize, path: &str, message: impl Into<String>) {
        self.0.push(Finding { line, path: path.to_string(), is_refused: true, message: message.into() });
    }
    /// Something that is carried over in another way, or need not be.
    fn note(&mut self, line: usize, path: &str, message: impl Into<String>) {
        self.0.push(Finding { line, path: path.to_string(), is_refused: false, message: message.into() });
    }
}

/// Whether a text is a compose file rather than manifests: a map with `services`, of no kind.
pub fn is_compose(text: &str) -> bool {
    // Manifests may be many and large, and are not read twice.
    let Ok(Some(Node { value: Value::Map(map), .. })) =
        (if text.contains("services") { yaml::parse(text) } else { Ok(None) })
    else {
        return false;
    };
    map.get("services").is_some() && map.get("kind").is_none()
}

/// Reads a compose file, and gives the manifests of the services that the profiles choose.
///
/// # Errors
/// The text is no compose file, or a variable that it needs has no value.
pub fn convert(source: &Source) -> Result<Converted, Error> {
    let not_one = |line| Error { line, message: "not a compose file: it has no `services`".to_string() };
    let mut root = yaml::parse(source.text)?.ok_or_else(|| not_one(1))?;
    let mut findings = Findings::default();
    put_variables(&mut root, source.variables, &mut findings)?;
    let line = root.line;
    let Value::Map(map) = root.value else { return Err(not_one(line)) };
    let mut top = Fields::of(&map, "", line);
    let Some(services) = top.take("services") else { return Err(not_one(line)) };
    let line = services.line;
    let Value::Map(Map(services)) = &services.value else {
        return Err(Error { line, message: "`services` is a map of names".to_string() });
    };
    // What Compose itself does not read any more.
    let _ = top.take("version");
    let own = top.text("name", &mut findings);
    let named = source.project.map(str::to_string).or(own).unwrap_or_else(|| source.folder.to_string());
    refuse_objects(&mut top, &mut findings);
    top.refuse_others(&mut findings);

    let mut names = BTreeMap::new();
    let mut manifests = Vec::new();
    for (key, node) in services {
        let Some(name) = name_of(key, &mut names, &mut findings) else { continue };
        let path = format!("services.{}", key.text);
        let Value::Map(map) = &node.value else {
            findings.refuse(node.line, &path, "a service is a map");
            continue;
        };
        let mut fields = Fields::of(map, &path, key.line);
        if !is_chosen(&mut fields, source.profiles, &mut findings) {
            continue;
        }
        let Some(manifest) = service::service(&name, &mut fields, source, &mut findings) else { continue };
        let manifest = orbit_api::Manifest { labels: with_project(manifest.labels, &named), ..manifest };
        match manifest.definition() {
            Ok(definition) => note_asks(&definition.spec.asks(), key.line, &path, &mut findings),
            Err(rejection) => findings.refuse(key.line, &path, rejection.to_string()),
        }
        manifests.push(manifest);
    }
    if manifests.len() > 1 {
        let message = "the services do not find each other by their names yet, as they do in a network of Compose";
        findings.note(line, "services", message);
    }
    findings.0.sort();
    Ok(Converted { manifests, findings: findings.0 })
}

/// With Compose, whoever starts containers may do all that root may on his machine; here its operator says what.
fn note_asks(asks: &[Grant], line: usize, path: &str, findings: &mut Findings) {
    if !asks.is_empty() {
        let words = Vec::from_iter(asks.iter().map(|asked| format!("`{asked}`"))).join(", ");
        let message =
            format!("runs where the node's operator allows {words} (`allow` of the worker), and has it there");
        findings.note(line, path, message);
    }
}

/// The label by which the objects of a project are found.
const LABEL_PROJECT: &str = "project";

fn with_project(mut labels: BTreeMap<String, String>, project: &str) -> BTreeMap<String, String> {
    labels.entry(LABEL_PROJECT.to_string()).or_insert_with(|| project.to_string());
    labels
}

/// Objects beside the services.
fn refuse_objects(top: &mut Fields, findings: &mut Findings) {
    for (key, message) in [
        ("volumes", "named volumes are not built yet"),
        ("configs", "configs are not built yet"),
        ("secrets", "secrets are not built yet"),
        ("include", "name each file by itself: files are not merged yet"),
        ("models", "models are not built"),
    ] {
        let Some(node) = top.take(key) else { continue };
        if !is_empty(&node.value) {
            findings.refuse(node.line, key, message);
        }
    }
    if let Some(node) = top.take("networks") {
        findings.note(node.line, "networks", "each task has the network of its node's engine; networks are not made");
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

/// The name of an object: compose files have underscores, dots and capitals in theirs.
fn name_of(key: &Key, names: &mut BTreeMap<String, String>, findings: &mut Findings) -> Option<String> {
    let path = format!("services.{}", key.text);
    let name: String =
        key.text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let name = name.trim_matches('-').to_string();
    if let Err(rejection) = orbit_core::model::check_name("name", &name) {
        findings.refuse(key.line, &path, rejection.message);
        return None;
    }
    if let Some(other) = names.insert(name.clone(), key.text.clone()) {
        findings.refuse(key.line, &path, format!("`{other}` is called {name} already"));
        return None;
    }
    if name != key.text {
        findings.note(key.line, &path, format!("is called {name}: names are lower-case letters, digits and hyphens"));
    }
    Some(name)
}

fn is_chosen(fields: &mut Fields, profiles: &BTreeSet<String>, findings: &mut Findings) -> bool {
    let own = fields.texts("profiles", findings);
    own.is_empty() || profiles.contains("*") || own.iter().any(|profile| profiles.contains(profile))
}

/// Puts the values of variables into all values; keys have none.
fn put_variables(root: &mut Node, variables: &Variables, findings: &mut Findings) -> Result<(), Error> {
    let mut missing: BTreeMap<String, usize> = BTreeMap::new();
    let mut needed = Vec::new();
    let mut bytes = 0;
    walk(root, &mut |line, text| {
        if bytes > yaml::BYTES_MAX {
            return String::new();
        }
        let mut wrong = Vec::new();
        let put = interpolate(text, variables, &mut wrong);
        bytes += put.len();
        if bytes > yaml::BYTES_MAX {
            wrong.push(Wrong::Form(format!("with its variables, more than {} bytes", yaml::BYTES_MAX)));
        }
        for wrong in wrong {
            match wrong {
                Wrong::Missing(name) => {
                    missing.entry(name).or_insert(line);
                }
                wrong => needed.push((line, wrong.to_string())),
            }
        }
        put
    });
    if let Some((line, message)) = needed.into_iter().next() {
        return Err(Error { line, message });
    }
    if let Some(line) = missing.values().min() {
        let names = Vec::from_iter(missing.iter().map(|(name, line)| format!("{name} (line {line})")));
        let message = format!("without a value and a default, so empty: {}", names.join(", "));
        findings.refuse(*line, "variables", message);
    }
    Ok(())
}

fn walk(node: &mut Node, put: &mut impl FnMut(usize, &str) -> String) {
    let line = node.line;
    match &mut node.value {
        Value::Null => {}
        Value::Text(text) => {
            if text.contains('$') {
                *text = put(line, text);
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| walk(item, put)),
        Value::Map(Map(pairs)) => pairs.iter_mut().for_each(|(_, node)| walk(node, put)),
    }
}

#[cfg(test)]
mod tests;

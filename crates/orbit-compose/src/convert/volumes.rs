//! The named volumes of a project, and who uses each of them.

use super::{Findings, fields::Fields, is_empty, name_of_text};
use crate::yaml::{Key, Map, Node, Place, Value};
use orbit_api::manifest::ManifestAccess;
use orbit_core::model::check_name;
use std::collections::{BTreeMap, BTreeSet};

/// The named volumes, by what the file calls them; nothing of one that is refused.
#[derive(Default)]
pub struct Volumes(BTreeMap<String, Option<Volume>>);

struct Volume {
    /// What Orbit calls it.
    name: String,
    /// Several services of the project use it.
    is_shared: bool,
}

impl Volumes {
    /// What the section `volumes` declares. As with Compose, what has no name of its own has the project's before it.
    pub fn declared(top: &mut Fields, services: &[(Key, Node)], project: &str, findings: &mut Findings) -> Volumes {
        let Some(node) = top.take("volumes") else { return Volumes::default() };
        let Value::Map(Map(declared)) = &node.value else {
            if !is_empty(&node.value) {
                findings.refuse(node.at, "volumes", "a map of names is expected");
            }
            return Volumes::default();
        };
        let mut users: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, service) in services {
            named(service).into_iter().for_each(|volume| *users.entry(volume).or_default() += 1);
        }
        let mut volumes = BTreeMap::new();
        for (key, node) in declared {
            let is_shared = users.get(key.text.as_str()).is_some_and(|users| *users > 1);
            let volume = name(key, node, project, findings).map(|name| Volume { name, is_shared });
            volumes.insert(key.text.clone(), volume);
        }
        Volumes(volumes)
    }

    /// What Orbit calls a volume, and who else may use it meanwhile.
    ///
    /// # Errors
    /// Why there is no such volume.
    pub fn get(&self, volume: &str) -> Result<(String, Option<ManifestAccess>), String> {
        match self.0.get(volume) {
            Some(Some(Volume { name, is_shared })) => Ok((name.clone(), is_shared.then_some(ManifestAccess::Shared))),
            Some(None) => Err(format!("`{volume:.64}` cannot be had: see `volumes` of the file")),
            None => Err(format!("`{volume:.64}` is not declared under `volumes` of the file")),
        }
    }
}

fn name(key: &Key, node: &Node, project: &str, findings: &mut Findings) -> Option<String> {
    let path = format!("volumes.{}", key.text);
    let nothing = Map(Vec::new());
    let map = match &node.value {
        Value::Map(map) => map,
        Value::Null => &nothing,
        _ => {
            findings.refuse(node.at, &path, "a map is expected");
            return None;
        }
    };
    let mut fields = Fields::of(map, &path, key.at);
    let own = fields.text("name", findings);
    let is_external = fields.flag("external", findings);
    // Labels are for people here.
    let _ = fields.take("labels");
    let driver = fields.text("driver", findings).filter(|driver| driver != "local" && !driver.is_empty());
    let options = fields.take("driver_opts").filter(|options| !is_empty(&options.value));
    fields.refuse_others(findings);
    let refuse = |at: Place, field: &str, findings: &mut Findings| {
        findings.refuse(at, &format!("{path}.{field}"), "volumes of drivers are not built yet");
    };
    if driver.is_some() {
        refuse(key.at, "driver", findings);
        return None;
    }
    if let Some(options) = options {
        refuse(options.at, "driver_opts", findings);
        return None;
    }
    let is_of_project = own.is_none() && !is_external;
    let own = own.unwrap_or_else(|| key.text.clone());
    let name = name_of_text(&if is_of_project { format!("{project}-{own}") } else { own });
    match check_name("name", &name) {
        Ok(()) => Some(name),
        Err(rejection) => {
            findings.refuse(key.at, &path, rejection.message);
            None
        }
    }
}

/// The named volumes of a service, by what the file calls them.
fn named(service: &Node) -> BTreeSet<&str> {
    let Value::Map(map) = &service.value else { return BTreeSet::new() };
    let Some(Node { value: Value::List(items), .. }) = map.get("volumes") else { return BTreeSet::new() };
    items.iter().filter_map(source).collect()
}

/// What stands before the first `:`, or in `source`.
fn source(item: &Node) -> Option<&str> {
    match &item.value {
        Value::Text(text) => text.split_once(':').map(|(source, _)| source),
        Value::Map(map) => map.text("source"),
        _ => None,
    }
}

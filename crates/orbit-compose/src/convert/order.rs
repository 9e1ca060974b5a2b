//! What has to be there before a service: `depends_on`.

use super::{Findings, fields::Fields, is_chosen, name_of_text, restart::Restart};
use crate::{
    source::Source,
    yaml::{Key, Map, Node, Place, Value},
};
use orbit_api::manifest::{ManifestAfter, ManifestUntil};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of all services before each is read by itself.
#[derive(Debug, Default)]
pub struct Order {
    /// Those that are chosen, and whether each runs once.
    runs: BTreeMap<String, bool>,
    /// Those of which a file says how they are asked whether they are well.
    checked: BTreeSet<String>,
    /// Those that are there, and not chosen.
    others: BTreeSet<String>,
}

impl Order {
    /// Of the services of a file.
    pub fn of_services(services: &[(Key, Node)], source: &Source) -> Order {
        // What is found wrong here is said when each is read.
        let unsaid = &mut Findings::default();
        let mut order = Order::default();
        let mut awaited = BTreeSet::new();
        for (key, node) in services {
            let Value::Map(map) = &node.value else { continue };
            let mut fields = Fields::of(map, "", node.at);
            let name = name_of_text(&key.text);
            if !is_chosen(&mut fields, source.profiles, unsaid) {
                order.others.insert(name);
                continue;
            }
            if fields.below("healthcheck", unsaid).is_some_and(|mut check| !check.flag("disable", unsaid)) {
                order.checked.insert(name.clone());
            }
            let dependencies = dependencies(&mut fields, unsaid).into_iter();
            awaited.extend(dependencies.filter(|it| it.until == Until::Complete).map(|it| name_of_text(&it.name)));
            let mut deploy = fields.below("deploy", unsaid);
            let restart = Restart::of(&mut fields, deploy.as_mut(), unsaid);
            order.runs.insert(name, restart.is_no());
        }
        for name in awaited {
            order.runs.entry(name).and_modify(|runs_once| *runs_once = true);
        }
        order
    }

    /// Whether others wait for its good end, or it says itself that it runs once.
    pub fn is_run(&self, name: &str) -> bool {
        self.runs.get(name) == Some(&true)
    }

    /// What a service waits for.
    pub fn of(&self, name: &str, fields: &mut Fields, findings: &mut Findings) -> Vec<ManifestAfter> {
        let path = fields.path("depends_on");
        let mut after: Vec<ManifestAfter> = Vec::new();
        for Dependency { name: written, until, at, is_required } in dependencies(fields, findings) {
            let other = name_of_text(&written);
            let Some(&runs_once) = self.runs.get(&other) else {
                match (self.others.contains(&other), is_required) {
                    (_, false) => {}
                    (true, true) => {
                        findings.refuse(at, &path, format!("`{written:.64}` is in no profile that is chosen"))
                    }
                    (false, true) => findings.refuse(at, &path, format!("there is no service `{written:.64}`")),
                }
                continue;
            };
            if other == name {
                findings.refuse(at, &path, "it would wait for itself");
                continue;
            }
            if until == Until::Healthy && !self.checked.contains(&other) {
                let message = format!(
                    "`{written:.64}` has no `healthcheck` here, and its image's own is not waited for: it is healthy once it runs"
                );
                findings.note(at, &path, message);
            }
            let until = match (until, runs_once) {
                (Until::Started, _) => ManifestUntil::Started,
                (Until::Healthy, false) => ManifestUntil::Healthy,
                (Until::Complete, _) => ManifestUntil::Complete,
                (Until::Healthy, true) => {
                    findings.refuse(at, &path, format!("`{written:.64}` runs once, and is never healthy"));
                    continue;
                }
            };
            let (service, task) = if runs_once { (None, Some(other)) } else { (Some(other), None) };
            let one = ManifestAfter { service, task, until: Some(until) };
            if !after.contains(&one) {
                after.push(one);
            }
        }
        after
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Started,
    Healthy,
    Complete,
}

struct Dependency {
    /// As the file has it.
    name: String,
    until: Until,
    at: Place,
    is_required: bool,
}

/// A list of names, or a map of names with how far each has to be.
fn dependencies(fields: &mut Fields, findings: &mut Findings) -> Vec<Dependency> {
    let Some(node) = fields.said("depends_on") else { return Vec::new() };
    let path = fields.path("depends_on");
    match &node.value {
        Value::Map(Map(pairs)) => pairs.iter().map(|(key, node)| dependency(key, node, &path, findings)).collect(),
        _ => match fields.texts("depends_on", findings) {
            names if matches!(node.value, Value::List(_)) => {
                let started = |name| Dependency { name, until: Until::Started, at: node.at, is_required: true };
                names.into_iter().map(started).collect()
            }
            _ => {
                findings.refuse(node.at, &path, "a list of services, or a map, is expected");
                Vec::new()
            }
        },
    }
}

fn dependency(key: &Key, node: &Node, path: &str, findings: &mut Findings) -> Dependency {
    let path = format!("{path}.{}", key.text);
    let usual = Dependency { name: key.text.clone(), until: Until::Started, at: key.at, is_required: true };
    let Value::Map(map) = &node.value else {
        if node.value != Value::Null {
            findings.refuse(node.at, &path, "a map with its `condition` is expected");
        }
        return usual;
    };
    let mut fields = Fields::of(map, &path, node.at);
    let until = fields.parsed("condition", findings, |text| match text {
        "service_started" => Ok(Until::Started),
        "service_healthy" => Ok(Until::Healthy),
        "service_completed_successfully" => Ok(Until::Complete),
        other => Err(format!("`{other:.64}` is no condition")),
    });
    let is_required = fields.take("required").is_none() || fields.flag("required", findings);
    if fields.flag("restart", findings) {
        let message = "it is not started again with what it needs: that is reached again when it is back";
        findings.note(node.at, &path, message);
    }
    fields.refuse_others(findings);
    Dependency { until: until.unwrap_or(Until::Started), is_required, ..usual }
}

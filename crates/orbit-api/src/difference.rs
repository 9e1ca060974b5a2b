//! What differs between two manifests, field by field, for people.

use crate::Manifest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// So many differences are told; whoever changes more reads the manifest.
pub const DIFFERENCES_MAX: usize = 100;
/// So many bytes of a value are told.
const VALUE_BYTES_MAX: usize = 200;

/// One field that two manifests do not agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// Its path in the manifest, for example `ports[0].host` or `env.MODE`.
    pub field: String,
    /// Its value before; absent if it had none. A long one is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its value after; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// The fields in which two manifests differ, in the order of their paths, at most [`DIFFERENCES_MAX`]. Write every default
/// out on both sides ([`Manifest::of`]), or a default that was left out counts as a difference.
pub fn differences(before: &Manifest, after: &Manifest) -> Vec<Difference> {
    let value = |manifest| serde_json::to_value(manifest).unwrap_or(Value::Null);
    let mut found = Vec::new();
    compare("", Some(&value(before)), Some(&value(after)), &mut found);
    found
}

fn compare(field: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    if before == after || found.len() >= DIFFERENCES_MAX {
        return;
    }
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let path = if field.is_empty() { key.clone() } else { format!("{field}.{key}") };
                compare(&path, before.get(key), after.get(key), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for at in 0..before.len().max(after.len()) {
                compare(&format!("{field}[{at}]"), before.get(at), after.get(at), found);
            }
        }
        _ => found.push(Difference { field: field.to_owned(), before: before.map(text), after: after.map(text) }),
    }
}

fn text(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().find(|(at, _)| *at >= VALUE_BYTES_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::read_all;

    fn manifest(text: &str) -> Manifest {
        Manifest::of(&read_all(text).unwrap().remove(0).definition().unwrap())
    }

    #[test]
    fn each_field_that_differs_is_named_with_both_of_its_values() {
        let before = manifest("kind: Service\nname: web\nimage: web:1\nreplicas: 5\nenv: {A: one, B: two}");
        let after = manifest(
            "kind: Service\nname: web\nimage: web:2\nreplicas: 1\nenv: {A: one, C: three}\n\
             ports: [{name: http, container: 80}]",
        );
        let told = differences(&before, &after).into_iter().map(|it| {
            let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            format!("{}: {} -> {}", it.field, or_none(it.before), or_none(it.after))
        });
        let told: Vec<String> = told.collect();
        assert_eq!(
            told,
            [
                "env.B: two -> -",
                "env.C: - -> three",
                "image: web:1 -> web:2",
                "ports: - -> [{\"container\":80,\"name\":\"http\"}]",
                "replicas: 5 -> 1",
            ]
        );
        assert_eq!(differences(&before, &before), []);
    }

    #[test]
    fn what_is_told_is_bounded() {
        let env: String = (0..250).map(|n| format!("  K{n}: {}\n", "é".repeat(300))).collect();
        let before = manifest("kind: Service\nname: web\nimage: web:1");
        let after = manifest(&format!("kind: Service\nname: web\nimage: web:1\nenv:\n{env}"));
        let found = differences(&before, &after);
        assert_eq!(found.len(), 1, "{found:?}");
        let one = manifest("kind: Service\nname: web\nimage: web:1\nenv: {A: a}");
        let found = differences(&one, &after);
        assert_eq!(found.len(), DIFFERENCES_MAX);
        assert!(found.iter().flat_map(|it| &it.after).all(|value| value.len() < VALUE_BYTES_MAX + 8));
    }
}

//! Two trees as one: what the second says counts more.
//!
//! As the [Compose specification](https://github.com/compose-spec/compose-spec/blob/main/13-merge.md) has it: maps are merged
//! key by key, lists are joined, and some fields are taken whole. `!reset` takes a field away, `!override` takes it as it is.

use crate::yaml::{Key, Map, Node, Tag, Value};

/// Fields of a service that are taken whole.
const WHOLE: [&str; 3] = ["command", "entrypoint", "test"];
/// Fields that are a map or a list of `KEY=VALUE`.
const PAIRS: [&str; 8] =
    ["environment", "labels", "annotations", "sysctls", "extra_hosts", "args", "depends_on", "networks"];

/// The first tree with what the second says over it. `key` is that of the field.
pub fn merge(under: Node, over: Node, key: &str) -> Node {
    let at = over.at;
    let value = match (under.value, over.value) {
        (_, value) if over.tag == Some(Tag::Override) || WHOLE.contains(&key) => value,
        (under, Value::Null) => under,
        (Value::Map(Map(under)), Value::Map(Map(over))) => match key {
            "logging" if differs(&under, &over, "driver") => Value::Map(Map(over)),
            _ => Value::Map(merge_maps(under, over)),
        },
        (under, over) if PAIRS.contains(&key) => match (pairs(under, key), pairs(over, key)) {
            (Ok(under), Ok(over)) => Value::Map(merge_maps(under, over)),
            (_, Ok(over)) => Value::Map(Map(over)),
            (_, Err(over)) => over,
        },
        (Value::List(under), Value::List(over)) => Value::List(joined(under, over, key)),
        // One text is a list of one.
        (Value::List(under), text @ Value::Text(_)) if is_list(key) => {
            Value::List(joined(under, vec![Node { at, value: text, tag: None }], key))
        }
        (text @ Value::Text(_), Value::List(over)) if is_list(key) => {
            Value::List(joined(vec![Node { at: under.at, value: text, tag: None }], over, key))
        }
        (_, over) => over,
    };
    Node { at, value, tag: None }
}

/// Fields that may be a text or a list.
fn is_list(key: &str) -> bool {
    ["env_file", "dns", "dns_search", "tmpfs", "profiles"].contains(&key)
}

fn merge_maps(under: Vec<(Key, Node)>, over: Vec<(Key, Node)>) -> Map {
    let mut merged = under;
    for (key, node) in over {
        let place = merged.iter().position(|(it, _)| it.text == key.text);
        match (place, node.tag) {
            (Some(place), Some(Tag::Reset)) => drop(merged.remove(place)),
            (None, Some(Tag::Reset)) => {}
            (Some(place), _) => {
                let (_, under) = merged.remove(place);
                let node = merge(under, node, &key.text);
                merged.insert(place, (key, node));
            }
            (None, _) => merged.push((key, node)),
        }
    }
    Map(merged)
}

fn differs(under: &[(Key, Node)], over: &[(Key, Node)], key: &str) -> bool {
    let of = |pairs: &[(Key, Node)]| pairs.iter().find(|(it, _)| it.text == key).map(|(_, node)| node.value.clone());
    matches!((of(under), of(over)), (Some(under), Some(over)) if under != over)
}

/// A list of `KEY=VALUE` as a map; of hosts also of `HOST:ADDRESS`.
fn pairs(value: Value, key: &str) -> Result<Vec<(Key, Node)>, Value> {
    let separators: &[char] = if key == "extra_hosts" { &['=', ':'] } else { &['='] };
    match value {
        Value::Map(Map(pairs)) => Ok(pairs),
        Value::Null => Ok(Vec::new()),
        Value::List(items) if items.iter().all(|item| matches!(item.value, Value::Text(_))) => {
            let mut found: Vec<(Key, Node)> = Vec::new();
            for Node { at, value, .. } in items {
                let Value::Text(text) = value else { continue };
                let (key, value) = match text.split_once(separators) {
                    Some((key, value)) => (key.to_string(), Value::Text(value.to_string())),
                    None => (text, Value::Null),
                };
                found.retain(|(it, _)| it.text != key);
                found.push((Key { at, text: key }, Node { at, value, tag: None }));
            }
            Ok(found)
        }
        other => Err(other),
    }
}

/// Both lists; of what is mounted or published at the same place the second.
fn joined(under: Vec<Node>, over: Vec<Node>, key: &str) -> Vec<Node> {
    let mut all = under;
    for item in over {
        let identity = identity(&item, key);
        if let Some(identity) = &identity {
            all.retain(|it| self::identity(it, key).as_ref() != Some(identity));
        }
        if identity.is_some() || !all.iter().any(|it| it.value == item.value) {
            all.push(item);
        }
    }
    all
}

/// What an item of a list is told apart by, where that is not the whole of it.
fn identity(item: &Node, key: &str) -> Option<String> {
    let field = |map: &Map, key: &str| match map.get(key).map(|node| &node.value) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    match (key, &item.value) {
        ("volumes" | "configs" | "secrets" | "devices", Value::Map(map)) => {
            field(map, "target").or_else(|| field(map, "source"))
        }
        ("volumes" | "devices", Value::Text(text)) => {
            let mut parts = text.splitn(3, ':');
            let (first, second) = (parts.next(), parts.next());
            second.or(first).map(str::to_string)
        }
        ("configs" | "secrets", Value::Text(text)) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{parse, shown};

    fn merged(under: &str, over: &str) -> String {
        let tree = |text: &str, file| parse(text, file).expect("it is read").expect("something");
        shown(&merge(tree(under, 0), tree(over, 1), "web"))
    }

    #[test]
    fn maps_are_merged_and_lists_are_joined() {
        assert_eq!(merged("{a: 1, b: {c: 2}}", "{a: 3, b: {d: 4}, e: 5}"), r#"{a: "3", b: {c: "2", d: "4"}, e: "5"}"#);
        assert_eq!(merged("{ports: [80, 81]}", "{ports: [81, 82]}"), r#"{ports: ["80", "81", "82"]}"#);
        assert_eq!(merged("{dns: a}", "{dns: [b]}"), r#"{dns: ["a", "b"]}"#);
        assert_eq!(merged("{a: 1}", "{a: }"), r#"{a: "1"}"#);
    }

    #[test]
    fn variables_are_one_map_however_they_are_written() {
        let all = r#"{environment: {A: "1", B: "3", C: null}}"#;
        assert_eq!(merged("{environment: [A=1, B=2]}", "{environment: {B: 3, C: }}"), all);
        assert_eq!(merged("{environment: {A: 1, B: 2}}", "{environment: [B=3, C]}"), all);
    }

    #[test]
    fn hosts_are_one_map_however_they_are_written() {
        let all = r#"{extra_hosts: {a: "1.2.3.4", b: "::1", c: "::2"}}"#;
        assert_eq!(merged("{extra_hosts: ['a:1.2.3.4', 'b=::1']}", "{extra_hosts: {c: '::2'}}"), all);
    }

    #[test]
    fn a_command_is_taken_whole_and_what_is_mounted_by_its_place() {
        assert_eq!(merged("{command: [a, b]}", "{command: [c]}"), r#"{command: ["c"]}"#);
        assert_eq!(
            merged("{healthcheck: {test: [a], retries: 3}}", "{healthcheck: {test: b}}"),
            r#"{healthcheck: {test: "b", retries: "3"}}"#
        );
        assert_eq!(
            merged("{volumes: ['/a:/x', '/b:/y']}", "{volumes: ['/c:/x:ro']}"),
            r#"{volumes: ["/b:/y", "/c:/x:ro"]}"#
        );
        let long = "{volumes: [{type: bind, source: /d, target: /y}]}";
        assert_eq!(
            merged("{volumes: ['/a:/x', '/b:/y']}", long),
            r#"{volumes: ["/a:/x", {type: "bind", source: "/d", target: "/y"}]}"#
        );
    }

    #[test]
    fn a_tag_takes_a_field_away_or_takes_it_as_it_is() {
        assert_eq!(merged("{ports: [80], a: 1}", "{ports: !reset [], a: !reset null}"), "{}");
        assert_eq!(merged("{ports: [80]}", "{ports: !override [81]}"), r#"{ports: ["81"]}"#);
        assert_eq!(merged("{a: {b: 1}}", "{a: !override {c: 2}}"), r#"{a: {c: "2"}}"#);
    }

    #[test]
    fn options_of_another_driver_are_not_mixed() {
        let under = "{logging: {driver: a, options: {x: 1}}}";
        assert_eq!(
            merged(under, "{logging: {driver: b, options: {y: 2}}}"),
            r#"{logging: {driver: "b", options: {y: "2"}}}"#
        );
        assert_eq!(
            merged(under, "{logging: {options: {y: 2}}}"),
            r#"{logging: {driver: "a", options: {x: "1", y: "2"}}}"#
        );
    }
}

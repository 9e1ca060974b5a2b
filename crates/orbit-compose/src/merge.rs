//! Two trees as one: what the second says counts more.
//!
//! As the [Compose specification](https://github.com/compose-spec/compose-spec/blob/main/13-merge.md) has it: maps are merged
//! key by key, lists are joined, and some fields are taken whole. `!reset` takes a field away, `!override` takes it as it is.

use crate::yaml::{Key, Map, Node, Place, Tag, Value};

/// Fields of a service that are a map or a list of `KEY=VALUE`.
const PAIRS: [&str; 6] = ["environment", "labels", "annotations", "sysctls", "depends_on", "networks"];
/// Fields of a service that are a text or a list.
const LISTS: [&str; 4] = ["env_file", "dns", "dns_search", "tmpfs"];

/// The first tree with what the second says over it. `path` is where both stand in a compose file.
pub fn merge(under: Node, over: Node, path: &mut Vec<String>) -> Node {
    let (at, key) = (over.at, path.last().cloned().unwrap_or_default());
    let is_field = is_field(path);
    let one = |at, value| vec![Node { at, value, tag: None }];
    let (from, is_pairs, is_list) = (under.at, is_field && PAIRS.contains(&&*key), is_field && LISTS.contains(&&*key));
    let value = match (under.value, over.value) {
        (_, value) if over.tag == Some(Tag::Override) || is_whole(path) => value,
        // A variable without a value has that of whoever reads the file.
        (_, Value::Null) if path.len() == 4 && path[2] == "environment" => Value::Null,
        (under, Value::Null) => under,
        // A host may have several addresses.
        (under, over) if is_field && key == "extra_hosts" => {
            Value::List(joined(hosts(under, from), hosts(over, at), &key))
        }
        (Value::Map(Map(under)), Value::Map(Map(over))) => match is_field && key == "logging" {
            true if differs(&under, &over, "driver") => Value::Map(Map(over)),
            _ => Value::Map(merge_maps(under, over, path)),
        },
        (under, over) if is_pairs => match (pairs(under), pairs(over)) {
            (Ok(under), Ok(over)) => Value::Map(merge_maps(under, over, path)),
            (_, Ok(over)) => Value::Map(Map(over)),
            (_, Err(over)) => over,
        },
        (Value::List(under), Value::List(over)) => Value::List(joined(under, over, &key)),
        (Value::List(under), text @ Value::Text(_)) if is_list => Value::List(joined(under, one(at, text), &key)),
        (text @ Value::Text(_), Value::List(over)) if is_list => Value::List(joined(one(from, text), over, &key)),
        (first @ Value::Text(_), text @ Value::Text(_)) if is_list => {
            Value::List(joined(one(from, first), one(at, text), &key))
        }
        (_, over) => over,
    };
    Node { at, value, tag: None }
}

/// Whether it is a field of a service.
fn is_field(path: &[String]) -> bool {
    path.len() == 3 && path[0] == "services"
}

/// Whether it is taken whole: what a service runs, and how it is asked whether it is well.
fn is_whole(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(path[..], ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"])
}

/// Hosts with their addresses, as a list.
fn hosts(value: Value, at: Place) -> Vec<Node> {
    match value {
        Value::List(items) => items,
        Value::Map(Map(pairs)) => pairs
            .into_iter()
            .map(|(key, node)| match node.value {
                Value::Text(address) => {
                    Node { at: key.at, tag: None, value: Value::Text(format!("{}={address}", key.text)) }
                }
                _ => node,
            })
            .collect(),
        other => vec![Node { at, value: other, tag: None }],
    }
}

fn merge_maps(under: Vec<(Key, Node)>, over: Vec<(Key, Node)>, path: &mut Vec<String>) -> Map {
    let mut merged = under;
    for (key, node) in over {
        let place = merged.iter().position(|(it, _)| it.text == key.text);
        match (place, node.tag) {
            (Some(place), Some(Tag::Reset)) => drop(merged.remove(place)),
            (None, Some(Tag::Reset)) => {}
            (Some(place), _) => {
                let (_, under) = merged.remove(place);
                path.push(key.text.clone());
                let node = merge(under, node, path);
                path.pop();
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

/// A list of `KEY=VALUE` as a map.
fn pairs(value: Value) -> Result<Vec<(Key, Node)>, Value> {
    match value {
        Value::Map(Map(pairs)) => Ok(pairs),
        Value::Null => Ok(Vec::new()),
        Value::List(items) if items.iter().all(|item| matches!(item.value, Value::Text(_))) => {
            let mut found: Vec<(Key, Node)> = Vec::new();
            for Node { at, value, .. } in items {
                let Value::Text(text) = value else { continue };
                let (key, value) = match text.split_once('=') {
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
    match (key, &item.value) {
        ("volumes" | "configs" | "secrets" | "devices", Value::Map(map)) => {
            map.text("target").or_else(|| map.text("source")).map(str::to_string)
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
        let mut path = ["services", "test"].map(String::from).to_vec();
        shown(&merge(tree(under, 0), tree(over, 1), &mut path))
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
    fn one_text_is_a_list_of_one_and_both_are_read() {
        assert_eq!(merged("{env_file: a}", "{env_file: b}"), r#"{env_file: ["a", "b"]}"#);
        assert_eq!(merged("{tmpfs: [/a]}", "{tmpfs: /b}"), r#"{tmpfs: ["/a", "/b"]}"#);
    }

    #[test]
    fn a_variable_without_a_value_has_that_of_who_reads_the_file() {
        assert_eq!(merged("{environment: [A=1]}", "{environment: [A]}"), "{environment: {A: null}}");
        assert_eq!(merged("{environment: {A: 1}}", "{environment: {A: }}"), "{environment: {A: null}}");
    }

    #[test]
    fn each_address_of_a_host_stays() {
        let all = r#"{extra_hosts: ["a:1.2.3.4", "a=::1", "b=::2"]}"#;
        assert_eq!(merged("{extra_hosts: ['a:1.2.3.4']}", "{extra_hosts: {a: '::1', b: '::2'}}"), all);
    }

    #[test]
    fn only_a_field_of_a_service_is_taken_whole_and_no_service_of_its_name() {
        let (under, over) =
            ("{services: {command: {a: 1, command: [x]}}}", "{services: {command: {b: 2, command: [y]}}}");
        let tree = |text: &str, file| parse(text, file).expect("it is read").expect("something");
        let all = r#"{services: {command: {a: "1", command: ["y"], b: "2"}}}"#;
        assert_eq!(shown(&merge(tree(under, 0), tree(over, 1), &mut Vec::new())), all);
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

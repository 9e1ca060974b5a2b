//! The fields of a map, each taken once: what nobody takes is refused by its name.

use super::Findings;
use crate::yaml::{Map, Node, Place, Value, texts};
use std::collections::{BTreeMap, BTreeSet};

pub struct Fields<'a> {
    map: &'a Map,
    path: String,
    /// Where the map begins.
    pub at: Place,
    taken: BTreeSet<&'a str>,
}

impl<'a> Fields<'a> {
    pub fn of(map: &'a Map, path: &str, at: Place) -> Fields<'a> {
        Fields { map, path: path.to_string(), at, taken: BTreeSet::new() }
    }

    /// The path of a field.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    /// A field, if there is one.
    pub fn take(&mut self, key: &str) -> Option<&'a Node> {
        let (known, node) = self.map.0.iter().find(|(it, _)| it.text == key)?;
        self.taken.insert(&known.text);
        Some(node)
    }

    /// A field that says something.
    pub fn said(&mut self, key: &str) -> Option<&'a Node> {
        self.take(key).filter(|node| node.value != Value::Null)
    }

    pub fn text(&mut self, key: &str, findings: &mut Findings) -> Option<String> {
        let node = self.said(key)?;
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            _ => {
                findings.refuse(node.at, &self.path(key), "a text is expected");
                None
            }
        }
    }

    /// A text that is read by `parse`.
    pub fn parsed<T>(
        &mut self,
        key: &str,
        findings: &mut Findings,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let at = self.map.get(key)?.at;
        let text = self.text(key, findings)?;
        parse(&text).map_err(|message| findings.refuse(at, &self.path(key), message)).ok()
    }

    pub fn number<T: std::str::FromStr>(&mut self, key: &str, findings: &mut Findings) -> Option<T> {
        self.parsed(key, findings, |text| text.trim().parse().map_err(|_| format!("`{text:.64}` is no such number")))
    }

    pub fn flag(&mut self, key: &str, findings: &mut Findings) -> bool {
        let parse = |text: &str| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("`{other:.64}` is neither true nor false")),
        };
        self.parsed(key, findings, parse).unwrap_or_default()
    }

    /// One text, or a list of texts.
    pub fn texts(&mut self, key: &str, findings: &mut Findings) -> Vec<String> {
        let Some(node) = self.said(key) else { return Vec::new() };
        match texts(node) {
            Ok(texts) => texts,
            Err(at) => {
                findings.refuse(at, &self.path(key), "a text, or a list of texts, is expected");
                Vec::new()
            }
        }
    }

    /// A map of texts, or a list of `KEY=VALUE`; a key without a value has none.
    pub fn pairs(
        &mut self,
        key: &str,
        separators: &[char],
        findings: &mut Findings,
    ) -> BTreeMap<String, Option<String>> {
        let Some(node) = self.said(key) else { return BTreeMap::new() };
        let (path, are_hosts) = (self.path(key), key == "extra_hosts");
        let mut pairs = BTreeMap::new();
        match &node.value {
            Value::Map(Map(entries)) => {
                for (key, node) in entries {
                    match &node.value {
                        Value::Null => drop(pairs.insert(key.text.clone(), None)),
                        Value::Text(text) => drop(pairs.insert(key.text.clone(), Some(text.clone()))),
                        _ => findings.refuse(node.at, &format!("{path}.{}", key.text), "a text is expected"),
                    }
                }
            }
            Value::List(items) => {
                for item in items {
                    let Value::Text(text) = &item.value else {
                        findings.refuse(item.at, &path, "a text is expected");
                        continue;
                    };
                    // Quotes behind the sign belong to the value.
                    let (key, value) = match text.split_once(separators) {
                        Some((key, value)) => (key, Some(value.to_string())),
                        None => (&**text, None),
                    };
                    if let Some(before) = pairs.insert(key.to_string(), value.clone())
                        && before != value
                    {
                        let message = format!("`{key:.64}` stands twice, with another value");
                        match are_hosts {
                            // A host may have two addresses, and a manifest has one.
                            true => findings.refuse(item.at, &path, message),
                            false => findings.note(item.at, &path, format!("{message}: the last one counts")),
                        }
                    }
                }
            }
            _ => findings.refuse(node.at, &path, "a map, or a list of KEY=VALUE, is expected"),
        }
        pairs
    }

    /// The same, where a key without a value has an empty one.
    pub fn map(&mut self, key: &str, findings: &mut Findings) -> BTreeMap<String, String> {
        let pairs = self.pairs(key, &['='], findings);
        pairs.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect()
    }

    /// A map below a field.
    pub fn below(&mut self, key: &str, findings: &mut Findings) -> Option<Fields<'a>> {
        let node = self.said(key)?;
        match &node.value {
            Value::Map(map) => Some(Fields::of(map, &self.path(key), node.at)),
            _ => {
                findings.refuse(node.at, &self.path(key), "a map is expected");
                None
            }
        }
    }

    /// Refuses each field that nobody has taken; those that begin with `x-` are the user's own.
    pub fn refuse_others(&self, findings: &mut Findings) {
        for (key, _) in &self.map.0 {
            if !self.taken.contains(&*key.text) && !key.text.starts_with("x-") {
                findings.refuse(key.at, &self.path(&key.text), "is not carried over");
            }
        }
    }
}

//! A YAML document as a tree that knows its lines and keeps its scalars as they were written: `22:22` is no number, and `off`
//! no boolean. Anchors, aliases and merge keys (`<<`) are resolved; what they may become is bounded.

use crate::Error;
use saphyr_parser::{Event, Parser, ScalarStyle};
use std::collections::{BTreeMap, BTreeSet};

/// So many nodes and bytes of texts at most, aliases included: a few lines of aliases can stand for billions.
pub const NODES_MAX: usize = 100_000;
pub const BYTES_MAX: usize = 16 << 20;
const DEPTH_MAX: usize = 64;

/// Where something stands: in which of the files, and on which line of it, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: usize,
    pub line: usize,
}

/// A value, and where it begins. Two are equal that say the same, wherever they stand.
#[derive(Clone, Debug, Eq)]
pub struct Node {
    pub at: Place,
    pub tag: Option<Tag>,
    pub value: Value,
}

/// What becomes of what another file says of the same field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// It is taken away, and this with it.
    Reset,
    /// This is taken in its place, as it is.
    Override,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    /// Any scalar, as it was written.
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// In the order in which it was written; no key stands twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map(pub Vec<(Key, Node)>);

#[derive(Clone, Debug, Eq)]
pub struct Key {
    pub at: Place,
    pub text: String,
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.value == other.value
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.text == other.text
    }
}

impl Map {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.0.iter().find(|(it, _)| it.text == key).map(|(_, node)| node)
    }
    /// A field that is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// What has begun and not ended.
enum Open {
    List(Vec<Node>),
    /// Its pairs, and the key whose value comes next.
    Map(Vec<(Key, Node)>, Option<Key>),
}

struct Frame {
    at: Place,
    tag: Option<Tag>,
    anchor: usize,
    open: Open,
}

#[derive(Default)]
struct Builder {
    file: usize,
    frames: Vec<Frame>,
    /// What has an anchor, with its nodes and bytes.
    anchors: BTreeMap<usize, (Node, (usize, usize))>,
    nodes: usize,
    bytes: usize,
    root: Option<Node>,
}

/// The only document of a text; nothing, if there is none. `file` is the number of its file.
pub fn parse(text: &str, file: usize) -> Result<Option<Node>, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { file, ..Builder::default() };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| wrong(error.marker().line(), error.info()))?;
        let line = span.start.line();
        builder.take(event, line)?;
    }
    Ok(builder.root)
}

fn wrong(line: usize, message: impl Into<String>) -> Error {
    Error { file: None, line, message: message.into() }
}

/// The two that Compose knows; others are those of YAML, which change nothing here.
fn tag(tag: Option<&saphyr_parser::Tag>) -> Option<Tag> {
    match tag.filter(|tag| tag.handle == "!")?.suffix.as_str() {
        "reset" => Some(Tag::Reset),
        "override" => Some(Tag::Override),
        _ => None,
    }
}

impl Builder {
    fn take(&mut self, event: Event, line: usize) -> Result<(), Error> {
        match event {
            Event::Scalar(text, style, anchor, own) => {
                let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                self.count((1, text.len()), line)?;
                let value = if is_null { Value::Null } else { Value::Text(text.into_owned()) };
                self.end(Node { at: self.at(line), tag: tag(own.as_deref()), value }, anchor)
            }
            Event::SequenceStart(anchor, own) => self.begin(line, tag(own.as_deref()), anchor, Open::List(Vec::new())),
            Event::MappingStart(anchor, own) => {
                self.begin(line, tag(own.as_deref()), anchor, Open::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Frame { at, tag, anchor, open }) = self.frames.pop() else { return Ok(()) };
                let value = match open {
                    Open::List(items) => Value::List(items),
                    Open::Map(pairs, _) => Value::Map(merged(pairs)?),
                };
                self.end(Node { at, tag, value }, anchor)
            }
            Event::Alias(anchor) => {
                let Some((_, size)) = self.anchors.get(&anchor) else {
                    return Err(wrong(line, "an alias of what has not ended yet"));
                };
                self.count(*size, line)?;
                let node = self.anchors[&anchor].0.clone();
                self.end(node, 0)
            }
            Event::DocumentStart(_) if self.root.is_some() => Err(wrong(line, "a compose file has one document")),
            _ => Ok(()),
        }
    }

    fn at(&self, line: usize) -> Place {
        Place { file: self.file, line }
    }

    fn begin(&mut self, line: usize, tag: Option<Tag>, anchor: usize, open: Open) -> Result<(), Error> {
        if self.frames.len() >= DEPTH_MAX {
            return Err(wrong(line, format!("deeper than {DEPTH_MAX} levels")));
        }
        self.count((1, 0), line)?;
        let at = self.at(line);
        self.frames.push(Frame { at, tag, anchor, open });
        Ok(())
    }

    fn count(&mut self, (nodes, bytes): (usize, usize), line: usize) -> Result<(), Error> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > NODES_MAX {
            return Err(wrong(line, format!("more than {NODES_MAX} values")));
        }
        if self.bytes > BYTES_MAX { Err(wrong(line, format!("more than {BYTES_MAX} bytes"))) } else { Ok(()) }
    }

    fn end(&mut self, node: Node, anchor: usize) -> Result<(), Error> {
        if anchor > 0 {
            // What is kept for its aliases takes as much again.
            let size = size(&node);
            self.count(size, node.at.line)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.frames.last_mut().map(|frame| &mut frame.open) {
            None => self.root = Some(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Map(pairs, awaited)) => match awaited.take() {
                Some(key) => pairs.push((key, node)),
                None => {
                    let at = node.at;
                    let text = match node.value {
                        Value::Text(text) => text,
                        Value::Null => "null".to_string(),
                        _ => return Err(wrong(at.line, "a key is a text")),
                    };
                    *awaited = Some(Key { at, text });
                }
            },
        }
        Ok(())
    }
}

/// One text, or a list of them; else where what is none stands.
pub fn texts(node: &Node) -> Result<Vec<String>, Place> {
    let text = |node: &Node| match &node.value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err(node.at),
    };
    match &node.value {
        Value::List(items) => items.iter().map(text).collect(),
        _ => Ok(vec![text(node)?]),
    }
}

/// How many nodes it is, and how many bytes of texts, keys among them.
pub fn size(node: &Node) -> (usize, usize) {
    let plus = |(nodes, bytes): (usize, usize), more: (usize, usize)| (nodes + more.0, bytes + more.1);
    match &node.value {
        Value::Null => (1, 0),
        Value::Text(text) => (1, text.len()),
        Value::List(items) => items.iter().map(size).fold((1, 0), plus),
        Value::Map(Map(pairs)) => {
            pairs.iter().fold((1, 0), |sum, (key, node)| plus(plus(sum, size(node)), (0, key.text.len())))
        }
    }
}

/// Takes in what `<<` names: a map, or several, of which the first that has a key counts; what stands beside it counts more.
fn merged(pairs: Vec<(Key, Node)>) -> Result<Map, Error> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for (key, node) in pairs {
        if key.text == "<<" {
            others.push(node);
        } else if seen.insert(key.text.clone()) {
            own.push((key, node));
        } else {
            return Err(wrong(key.at.line, format!("`{:.64}` stands twice", key.text)));
        }
    }
    for Node { at, value, .. } in others {
        let maps = match value {
            Value::Map(map) => vec![map],
            Value::List(items) => items
                .into_iter()
                .map(|item| match item.value {
                    Value::Map(map) => Ok(map),
                    _ => Err(wrong(item.at.line, "`<<` takes maps")),
                })
                .collect::<Result<_, _>>()?,
            _ => return Err(wrong(at.line, "`<<` takes a map, or a list of maps")),
        };
        for (key, node) in maps.into_iter().flat_map(|Map(pairs)| pairs) {
            if seen.insert(key.text.clone()) {
                own.push((key, node));
            }
        }
    }
    Ok(Map(own))
}

/// A tree on one line.
#[cfg(test)]
pub fn shown(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".into(),
        Value::Text(text) => format!("{text:?}"),
        Value::List(items) => format!("[{}]", Vec::from_iter(items.iter().map(shown)).join(", ")),
        Value::Map(Map(pairs)) => {
            let pairs = pairs.iter().map(|(key, node)| format!("{}: {}", key.text, shown(node)));
            format!("{{{}}}", Vec::from_iter(pairs).join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        parse(text, 0).map_or_else(|error| error.to_string(), |node| node.map_or("nothing".into(), |node| shown(&node)))
    }

    #[test]
    fn a_scalar_is_what_was_written() {
        let text = "a: 22:22\nb: off\nc: 0.75\nd: 012\ne: ~\nf: 'null'\ng: \"x\\ty\"\nh: |\n  two\n  lines\n";
        let all = r#"{a: "22:22", b: "off", c: "0.75", d: "012", e: null, f: "null", g: "x\ty", h: "two\nlines\n"}"#;
        assert_eq!(read(text), all);
        assert_eq!(read("---\na:\n"), "{a: null}");
        assert_eq!(read(""), "nothing");
    }

    #[test]
    fn anchors_and_merges_are_resolved_and_what_stands_beside_counts_more() {
        let text = "x-a: &a {p: 1, q: 1}\nx-b: &b {q: 2, r: 2}\nc:\n  <<: [*a, *b]\n  p: 3\nd: *a\n";
        let all = r#"{x-a: {p: "1", q: "1"}, x-b: {q: "2", r: "2"}, c: {p: "3", q: "1", r: "2"}, d: {p: "1", q: "1"}}"#;
        assert_eq!(read(text), all);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(read("a: 1\na: 2"), "2: `a` stands twice");
        assert_eq!(read("a: 1\n---\nb: 2"), "2: a compose file has one document");
        assert_eq!(read("a:\n  <<: text"), "2: `<<` takes a map, or a list of maps");
        assert!(read("a: [1,\n").contains(": "), "{}", read("a: [1,\n"));
    }

    #[test]
    fn a_few_lines_do_not_become_billions_nor_a_deep_hole() {
        let bomb: String =
            (1..10).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "))).collect();
        assert!(read(&format!("a0: &a0 x\n{bomb}")).contains("more than 100000 values"));
        let texts = format!("a: &a {}\nb: [{}]", "x".repeat(100_000), vec!["*a"; 1000].join(", "));
        assert!(read(&texts).contains("more than 16777216 bytes"));
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(read(&nested(60)), nested(60));
        assert_eq!(read(&nested(70)), "1: deeper than 64 levels");
        // What the parser itself does not take is refused, too.
        assert!(read(&nested(100_000)).starts_with("1: "));
    }
}

//! The files of a project as one tree: those that are named, what they include, and what their services extend.
//!
//! As the Compose specification has it ([include](https://github.com/compose-spec/compose-spec/blob/main/14-include.md),
//! [extends](https://github.com/compose-spec/compose-spec/blob/main/05-services.md#extends)): variables are put into each file by
//! itself, then what it includes is taken in, then its services take over what they extend, and then the next file goes over it.

use crate::{
    Error,
    dotenv::read_env,
    findings::Findings,
    interpolate::{Wrong, interpolate},
    merge::merge,
    source::Source,
    yaml::{self, Key, Map, NODES_MAX, Node, Place, Tag, Value, texts},
};
use std::collections::BTreeMap;

/// So many files at most are read for a project.
const FILES_MAX: usize = 64;
/// What files share by names.
const SECTIONS: [&str; 5] = ["services", "volumes", "networks", "configs", "secrets"];

/// The tree, and the names of the files.
///
/// # Errors
/// A text is no compose file, or a variable that it needs has no value.
pub fn load(source: &Source, findings: &mut Findings) -> Result<(Map, Vec<String>), Error> {
    let mut loader = Loader {
        source,
        findings,
        names: Vec::new(),
        missing: BTreeMap::new(),
        open: Vec::new(),
        extended: BTreeMap::new(),
        nodes: 0,
        bytes: 0,
    };
    let mut whole: Option<Map> = None;
    for (name, text) in source.files {
        let own = loader.file(name, text, "", &BTreeMap::new())?;
        whole = Some(match whole {
            None => own,
            Some(under) => over(under, own),
        });
    }
    let Loader { names, missing, findings, .. } = loader;
    if let Some(first) = missing.values().min() {
        let named = missing.iter().map(|(name, at)| format!("{name} (line {})", at.line));
        let message = format!("without a value and a default, so empty: {}", Vec::from_iter(named).join(", "));
        findings.refuse(*first, "variables", message);
    }
    let whole = whole.ok_or_else(|| Error { file: None, line: 1, message: "no file".to_string() })?;
    Ok((without_resets(whole), names))
}

struct Loader<'a, 'b> {
    source: &'a Source<'a>,
    findings: &'b mut Findings,
    names: Vec<String>,
    /// Variables that have no value, and where each stands first.
    missing: BTreeMap<String, Place>,
    /// The files that are being read, each because of the one before.
    open: Vec<String>,
    /// Files of which services were extended, by their paths.
    extended: BTreeMap<String, Map>,
    /// Of all files, and what was taken over by name.
    nodes: usize,
    bytes: usize,
}

impl Loader<'_, '_> {
    /// One file and all that it needs. `folder` is where the paths in it begin, from that of the project; `own` are its variables,
    /// beside those of the project, which count more.
    fn file(&mut self, name: &str, text: &str, folder: &str, own: &BTreeMap<String, String>) -> Result<Map, Error> {
        let file = self.names.len();
        self.names.push(name.to_string());
        let first = Place { file, line: 1 };
        if self.open.iter().any(|open| open == name) {
            return Err(self.error(first, "it is read because of itself"));
        }
        if self.names.len() > FILES_MAX {
            return Err(self.error(first, format!("more than {FILES_MAX} files")));
        }
        let named = |error: Error| Error { file: Some(name.to_string()), ..error };
        let tree = yaml::parse(text, file).map_err(named)?;
        let Some(Node { at, value: Value::Map(mut map), .. }) = tree else {
            return Err(self.error(first, "not a compose file: it has no `services`"));
        };
        self.count(&map, at)?;
        for (_, node) in &mut map.0 {
            self.put_variables(node, own)?;
        }
        self.open.push(name.to_string());
        set_folder(&mut map, folder);
        self.include(&mut map, folder)?;
        self.extend(&mut map, folder)?;
        self.open.pop();
        Ok(map)
    }

    /// The text of a file that another names.
    fn read(&self, path: &str, at: Place) -> Result<String, Error> {
        (self.source.read)(path).map_err(|message| self.error(at, format!("{path}: {message}")))
    }

    fn error(&self, at: Place, message: impl Into<String>) -> Error {
        Error { file: self.names.get(at.file).cloned(), line: at.line, message: message.into() }
    }

    /// Counts what is taken in: a few lines may name a large thing again and again.
    fn count(&mut self, map: &Map, at: Place) -> Result<(), Error> {
        let nodes: usize = map.0.iter().map(|(_, node)| yaml::size(node).0).sum();
        self.nodes = self.nodes.saturating_add(nodes);
        match self.nodes > NODES_MAX {
            true => Err(self.error(at, format!("more than {NODES_MAX} values in all files"))),
            false => Ok(()),
        }
    }

    /// Puts the values of variables into all values; keys have none.
    fn put_variables(&mut self, node: &mut Node, own: &BTreeMap<String, String>) -> Result<(), Error> {
        let at = node.at;
        match &mut node.value {
            Value::Null => Ok(()),
            Value::Text(text) => self.put_into(text, at, own),
            Value::List(items) => items.iter_mut().try_for_each(|item| self.put_variables(item, own)),
            Value::Map(Map(pairs)) => pairs.iter_mut().try_for_each(|(_, node)| self.put_variables(node, own)),
        }
    }

    fn put_into(&mut self, text: &mut String, at: Place, own: &BTreeMap<String, String>) -> Result<(), Error> {
        if !text.contains('$') {
            return Ok(());
        }
        let mut wrong = Vec::new();
        let variables = |name: &str| (self.source.variables)(name).or_else(|| own.get(name).cloned());
        *text = interpolate(text, &variables, &mut wrong);
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > yaml::BYTES_MAX {
            return Err(self.error(at, format!("with its variables, more than {} bytes", yaml::BYTES_MAX)));
        }
        for wrong in wrong {
            match wrong {
                Wrong::Missing(name) => _ = self.missing.entry(name).or_insert(at),
                wrong => return Err(self.error(at, wrong.to_string())),
            }
        }
        Ok(())
    }

    /// Takes in what the file includes. What has a name in both is refused, as Compose does it.
    fn include(&mut self, map: &mut Map, folder: &str) -> Result<(), Error> {
        let Some(place) = map.0.iter().position(|(key, _)| key.text == "include") else { return Ok(()) };
        let (_, Node { at, value, .. }) = map.0.remove(place);
        let Value::List(items) = value else {
            self.findings.refuse(at, "include", "a list of files is expected");
            return Ok(());
        };
        for item in items {
            let mut included: Option<Map> = None;
            let paths: Vec<String> = self.included(&item).iter().map(|path| join(folder, path)).collect();
            // Of several, the first says where all are at home.
            let home = paths.first().map(|path| folder_of(path)).unwrap_or_default();
            let variables = self.variables_of(home, item.at)?;
            for path in &paths {
                let text = self.read(path, item.at)?;
                let own = self.file(path, &text, home, &variables)?;
                included = Some(match included {
                    None => own,
                    Some(under) => over(under, own),
                });
            }
            included.into_iter().for_each(|included| self.take_in(map, included));
        }
        Ok(())
    }

    /// What stands in `.env` beside a file that is included, if there is one.
    fn variables_of(&self, folder: &str, at: Place) -> Result<BTreeMap<String, String>, Error> {
        let path = join(folder, ".env");
        match (self.source.read)(&path) {
            Ok(text) if !folder.is_empty() => {
                let found = read_env(&text, self.source.variables);
                let found = found.map_err(|error| self.error(at, format!("{path}:{error}")))?;
                Ok(found.into_iter().collect())
            }
            _ => Ok(BTreeMap::new()),
        }
    }

    /// The files of one line: a text, or a map with one `path` or several, of which later ones go over the earlier.
    fn included(&mut self, item: &Node) -> Vec<String> {
        let paths = match &item.value {
            Value::Map(map) => {
                for (key, node) in map.0.iter().filter(|(key, _)| key.text != "path") {
                    let message =
                        "is not carried over: what is included has the folder and the variables of its own place";
                    self.findings.refuse(node.at, &format!("include.{}", key.text), message);
                }
                map.get("path").and_then(|node| texts(node).ok())
            }
            Value::Text(_) => texts(item).ok(),
            Value::Null | Value::List(_) => None,
        };
        paths.unwrap_or_else(|| {
            self.findings.refuse(item.at, "include", "a file, or a map with its `path`, is expected");
            Vec::new()
        })
    }

    fn take_in(&mut self, map: &mut Map, included: Map) {
        for (section, node) in included.0.into_iter().filter(|(key, _)| SECTIONS.contains(&key.text.as_str())) {
            let Value::Map(Map(pairs)) = node.value else { continue };
            let own = section_of(map, &section);
            for (key, node) in pairs {
                match own.iter().find(|(it, _)| it.text == key.text) {
                    // The same thing, included by two ways.
                    Some((_, other)) if other.value == node.value => {}
                    Some((other, _)) => {
                        let file = self.names.get(key.at.file).cloned().unwrap_or_default();
                        let message = format!("stands in {file}, which is included, too");
                        self.findings.refuse(other.at, &format!("{}.{}", section.text, key.text), message);
                    }
                    None => own.push((key, node)),
                }
            }
        }
    }

    /// Gives each service what it extends.
    fn extend(&mut self, map: &mut Map, folder: &str) -> Result<(), Error> {
        let names: Vec<String> = services(map).map(|(key, _)| key.text.clone()).collect();
        names.iter().try_for_each(|name| self.extend_one(map, name, folder, &mut Vec::new()))
    }

    fn extend_one(&mut self, map: &mut Map, name: &str, folder: &str, chain: &mut Vec<String>) -> Result<(), Error> {
        let Some(extends) = take_extends(map, name) else { return Ok(()) };
        let (at, path) = (extends.at, format!("services.{name}.extends"));
        if chain.len() > FILES_MAX {
            return Err(self.error(at, "it extends too long a row of services"));
        }
        let (file, base) = match &extends.value {
            Value::Text(base) => (None, Some(base.clone())),
            Value::Map(map) => (map.text("file"), map.text("service").map(str::to_string)),
            Value::Null | Value::List(_) => (None, None),
        };
        let Some(base) = base else {
            self.findings.refuse(at, &path, "the name of a service, or a map with its `service`, is expected");
            return Ok(());
        };
        let file = file.map(|file| join(folder, file)).filter(|file| self.open.last() != Some(file));
        let other = match file {
            // Of the same file, perhaps with another service under it.
            None => {
                chain.push(name.to_string());
                if chain.contains(&base) {
                    return Err(self.error(at, format!("`{base:.64}` extends itself")));
                }
                self.extend_one(map, &base, folder, chain)?;
                service(map, &base).cloned()
            }
            Some(file) => {
                if !self.extended.contains_key(&file) {
                    let text = self.read(&file, at)?;
                    let other = self.file(&file, &text, folder_of(&file), &BTreeMap::new())?;
                    self.extended.insert(file.clone(), other);
                }
                service(&self.extended[&file], &base).cloned()
            }
        };
        let Some(under) = other else {
            self.findings.refuse(at, &path, format!("there is no service `{base:.64}`"));
            return Ok(());
        };
        self.count(&Map(vec![(Key { at, text: base }, under.clone())]), at)?;
        if let Some(own) = services_mut(map).find(|(key, _)| key.text == name).map(|(_, node)| node) {
            let over = std::mem::replace(own, Node { at, tag: None, value: Value::Null });
            *own = merge(under, over, &mut vec!["services".to_string(), name.to_string()]);
        }
        Ok(())
    }
}

/// One file over another.
fn over(under: Map, over: Map) -> Map {
    let node = |map: Map| Node { at: Place::default(), tag: None, value: Value::Map(map) };
    match merge(node(under), node(over), &mut Vec::new()).value {
        Value::Map(map) => map,
        _ => Map::default(),
    }
}

/// Without what says that it is to be taken away, where there was nothing to take away.
fn without_resets(Map(pairs): Map) -> Map {
    let kept = pairs.into_iter().filter(|(_, node)| node.tag != Some(Tag::Reset));
    let inside = |(key, node): (Key, Node)| match node.value {
        Value::Map(map) => (key, Node { value: Value::Map(without_resets(map)), ..node }),
        value => (key, Node { value, ..node }),
    };
    Map(kept.map(inside).collect())
}

/// The pairs of a section, which is made where there is none.
fn section_of<'a>(map: &'a mut Map, section: &Key) -> &'a mut Vec<(Key, Node)> {
    let place = map.0.iter().position(|(key, _)| key.text == section.text).unwrap_or_else(|| {
        map.0.push((section.clone(), Node { at: section.at, tag: None, value: Value::Null }));
        map.0.len() - 1
    });
    let value = &mut map.0[place].1.value;
    if !matches!(value, Value::Map(_)) {
        *value = Value::Map(Map::default());
    }
    match value {
        Value::Map(Map(pairs)) => pairs,
        _ => unreachable!("it was just made a map"),
    }
}

fn services(map: &Map) -> impl Iterator<Item = &(Key, Node)> {
    let services = map.get("services").map(|node| &node.value);
    let pairs = if let Some(Value::Map(Map(pairs))) = services { pairs.as_slice() } else { &[] };
    pairs.iter()
}

fn services_mut(map: &mut Map) -> impl Iterator<Item = &mut (Key, Node)> {
    let services = map.0.iter_mut().find(|(key, _)| key.text == "services").map(|(_, node)| &mut node.value);
    let pairs = if let Some(Value::Map(Map(pairs))) = services { pairs.as_mut_slice() } else { &mut [] };
    pairs.iter_mut()
}

fn service<'a>(map: &'a Map, name: &str) -> Option<&'a Node> {
    services(map).find(|(key, _)| key.text == name).map(|(_, node)| node)
}

/// Takes the field out of a service that says what it extends.
fn take_extends(map: &mut Map, name: &str) -> Option<Node> {
    let (_, node) = services_mut(map).find(|(key, _)| key.text == name)?;
    let Value::Map(Map(pairs)) = &mut node.value else { return None };
    let place = pairs.iter().position(|(key, _)| key.text == "extends")?;
    Some(pairs.remove(place).1)
}

/// The files that a service names are beside the file in which it does.
fn set_folder(map: &mut Map, folder: &str) {
    if folder.is_empty() {
        return;
    }
    for (_, node) in services_mut(map) {
        let Value::Map(Map(pairs)) = &mut node.value else { continue };
        for (key, node) in pairs {
            match key.text.as_str() {
                "env_file" => move_files(node, folder, "path"),
                "volumes" => move_files(node, folder, "source"),
                _ => {}
            }
        }
    }
}

/// `field` is where a map has the path. What is mounted is a path only where it begins with a dot.
fn move_files(node: &mut Node, folder: &str, field: &str) {
    match &mut node.value {
        Value::Null => {}
        Value::Text(path) if field == "source" && !path.starts_with('.') => {}
        Value::Text(path) if field == "source" => {
            let joined = join(folder, path);
            *path = if joined.starts_with('/') { joined } else { format!("./{joined}") };
        }
        Value::Text(path) => *path = join(folder, path),
        Value::List(items) => items.iter_mut().for_each(|item| move_files(item, folder, field)),
        Value::Map(Map(pairs)) => {
            pairs.iter_mut().filter(|(key, _)| key.text == field).for_each(|(_, node)| move_files(node, folder, field));
        }
    }
}

fn join(folder: &str, path: &str) -> String {
    if folder.is_empty() || path.starts_with('/') { path.to_string() } else { format!("{folder}/{path}") }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| if folder.is_empty() { "/" } else { folder })
}

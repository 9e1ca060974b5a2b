//! No circles between the files of a crate.
//!
//! A file knows another if it names something that is declared there; a name that a third file passes on (`pub use`) leads
//! to the file that declares it. Two rules follow from how a module tree is read, where a parent branches and its children
//! compute:
//!
//! - A child may name what its parent declares: that is no edge. Only siblings, and files of other branches, are edges.
//! - A parent that names its child has an edge to it, so that a circle over the parent is one:
//!   `views` → `http` → `http/tasks` → `views`.
//!
//! Unit tests do not count: they may look at everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The path of a module in its crate: nothing for the root.
type Module = Vec<String>;

/// What one file says of others.
#[derive(Default)]
struct File {
    words: Vec<String>,
    /// Types, functions and the like that it declares.
    declares: BTreeSet<String>,
    /// Names that it takes from elsewhere, and may pass on.
    aliases: BTreeMap<String, Module>,
    /// `use …::*`.
    globs: Vec<Module>,
}

/// All files of a crate.
struct Crate {
    files: BTreeMap<Module, File>,
}

/// The circles between the files below a folder `src`: of each, its files in order, as paths in that folder.
pub fn circles(src: &Path) -> BTreeSet<Vec<String>> {
    let mut sources = Vec::new();
    let mut folders = vec![src.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(name) = path.strip_prefix(src).ok().and_then(|name| name.to_str()?.strip_suffix(".rs")) {
                sources.push((name.to_string(), fs::read_to_string(&path).expect("a source is text")));
            }
        }
    }
    circles_of(&sources)
}

/// The same of sources, each with its path in the folder, without `.rs`.
fn circles_of(sources: &[(String, String)]) -> BTreeSet<Vec<String>> {
    let mut names: BTreeMap<Module, String> = BTreeMap::new();
    let mut files: BTreeMap<Module, File> = BTreeMap::new();
    for (name, text) in sources {
        let mut module: Module = name.split('/').map(str::to_string).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        if module.last().is_some_and(|last| last == "tests") {
            continue;
        }
        // A library and its program have one root: nobody else can name the program's.
        files.entry(module.clone()).or_default().words.extend(without_tests(words(text)));
        names.insert(module, name.clone());
    }
    let modules: BTreeSet<Module> = files.keys().cloned().collect();
    for (module, file) in &mut files {
        file.look(module, &modules);
    }
    let tree = Crate { files };
    let edges = tree.files.keys().map(|module| (module.clone(), tree.known_by(module))).collect();
    let named = |circle: BTreeSet<Module>| circle.iter().map(|module| names[module].clone()).collect();
    strongly_connected(&edges).into_iter().map(named).collect()
}

/// The words and signs of a source, without comments and literals.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            quoted(rest)
        } else if let Some(raw) = raw(rest) {
            raw
        } else if first == '\'' {
            character(rest)
        } else {
            let taken = match is_word(first) {
                true => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                false if rest.starts_with("::") => 2,
                false => first.len_utf8(),
            };
            if !first.is_whitespace() {
                words.push(rest[..taken].to_string());
            }
            taken
        };
        rest = &rest[taken..];
    }
    words
}

/// The bytes of a string literal at the beginning of a text.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// The bytes of a raw string literal, if there is one.
fn raw(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let signs = after.len() - after.trim_start_matches('#').len();
    let opened = after[signs..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(signs));
    Some(text.len() - opened.len() + opened.find(&close).map_or(opened.len(), |end| end + close.len()))
}

/// The bytes of a character literal; of a lifetime, its sign alone.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((escaped, _))) => {
            text[escaped + 1..].find('\'').map_or(text.len(), |end| escaped + 1 + end + 1)
        }
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 1,
    }
}

/// Drops each item under a `cfg` that is for tests alone.
fn without_tests(words: Vec<String>) -> Vec<String> {
    let (mut kept, mut at) = (Vec::new(), 0);
    let is = |at: usize, signs: &[&str]| {
        signs.iter().enumerate().all(|(i, sign)| words.get(at + i).is_some_and(|w| w == sign))
    };
    while at < words.len() {
        let only_tests =
            is(at, &["#", "[", "cfg", "(", "test", ")"]) || is(at, &["#", "[", "cfg", "(", "all", "(", "test", ","]);
        if !only_tests {
            kept.push(words[at].clone());
            at += 1;
            continue;
        }
        // To the end of the item: of its block, or its semicolon.
        let (mut depth, mut block) = (0, false);
        while at < words.len() {
            match words[at].as_str() {
                "{" | "(" | "[" => {
                    block |= depth == 0 && words[at] == "{";
                    depth += 1;
                }
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            let ends = depth == 0 && (words[at] == ";" || (block && words[at] == "}"));
            at += 1;
            if ends {
                break;
            }
        }
    }
    kept
}

impl File {
    /// Notes what the file declares and what it takes from elsewhere.
    fn look(&mut self, module: &Module, modules: &BTreeSet<Module>) {
        const ITEMS: [&str; 8] = ["struct", "enum", "fn", "trait", "type", "const", "static", "union"];
        for pair in self.words.windows(2) {
            if ITEMS.contains(&pair[0].as_str()) {
                self.declares.insert(pair[1].clone());
            }
        }
        let uses = self.words.iter().enumerate().filter(|(_, word)| *word == "use").map(|(at, _)| at + 1);
        for (path, name) in uses.flat_map(|at| tree(&self.words[at..])).collect::<Vec<_>>() {
            let Some(path) = absolute(&path, module, modules) else { continue };
            match name {
                Some(name) => _ = self.aliases.insert(name, path),
                None => self.globs.push(path),
            }
        }
    }
}

/// The paths that begin here, as in `a::{b, c::*, d as e}`: each with the name that it is known by, or none for `*`.
fn tree(words: &[String]) -> Vec<(Vec<String>, Option<String>)> {
    fn one(words: &[String], at: &mut usize, before: &[String], found: &mut Vec<(Vec<String>, Option<String>)>) {
        let mut path = before.to_vec();
        loop {
            match words.get(*at).map(String::as_str) {
                Some("{") => {
                    *at += 1;
                    while !matches!(words.get(*at).map(String::as_str), Some("}") | None) {
                        one(words, at, &path, found);
                        *at += usize::from(words.get(*at).is_some_and(|word| word == ","));
                    }
                    *at += 1;
                    return;
                }
                Some("*") => {
                    *at += 1;
                    return found.push((path, None));
                }
                Some(word) if word.starts_with(|c: char| c.is_alphabetic() || c == '_') => path.push(word.to_string()),
                _ => {
                    // No path: what is not understood ends it.
                    *at += 1;
                    return;
                }
            }
            *at += 1;
            match words.get(*at).map(String::as_str) {
                Some("::") => *at += 1,
                Some("as") => {
                    found.push((path, words.get(*at + 1).cloned()));
                    *at += 2;
                    return;
                }
                _ => {
                    let itself = path.last().is_some_and(|last| last == "self");
                    if itself {
                        path.pop();
                    }
                    let name = path.last().cloned();
                    return found.push((path, name));
                }
            }
        }
    }
    let mut found = Vec::new();
    one(words, &mut 0, &[], &mut found);
    found
}

/// A path from the root of the crate; nothing if it leads out of it.
fn absolute(path: &[String], module: &Module, modules: &BTreeSet<Module>) -> Option<Module> {
    let (first, rest) = path.split_first()?;
    let base: &[String] = match first.as_str() {
        "crate" => &[],
        "self" => module,
        "super" => {
            let ups = path.iter().take_while(|word| *word == "super").count();
            return Some([&module[..module.len().checked_sub(ups)?], &path[ups..]].concat());
        }
        // A child by its name.
        _ if modules.contains(&child(module, first)) => return Some([module, path].concat()),
        _ => return None,
    };
    Some([base, rest].concat())
}

fn child(module: &[String], name: &str) -> Module {
    module.iter().cloned().chain([name.to_string()]).collect()
}

impl Crate {
    /// The files that a file knows.
    fn known_by(&self, module: &Module) -> BTreeSet<Module> {
        let modules = self.files.keys().cloned().collect();
        let File { words, globs, .. } = &self.files[module];
        let mut known = BTreeSet::new();
        for (at, word) in words.iter().enumerate() {
            if at > 0 && matches!(words[at - 1].as_str(), "::" | ".") {
                continue;
            }
            let goes_on = words.get(at + 1).is_some_and(|next| next == "::");
            // `use super::*` brings all of it here, and `super`'s own children.
            for glob in globs {
                let other = self.files.get(glob).filter(|_| glob != module);
                let is_there = |other: &File| other.aliases.contains_key(word) || other.declares.contains(word);
                if other.is_some_and(is_there) || (goes_on && self.files.contains_key(&child(glob, word))) {
                    known.extend(self.declared(&child(glob, word), 0));
                }
            }
            if !goes_on || words.get(at + 2).is_some_and(|next| next == "<") {
                continue;
            }
            let is_child = || self.files.contains_key(&child(module, word));
            if !matches!(word.as_str(), "crate" | "super" | "self") && !is_child() {
                continue;
            }
            for (path, _) in tree(&words[at..]) {
                known.extend(absolute(&path, module, &modules).and_then(|path| self.declared(&path, 0)));
            }
        }
        // What a child takes from its parent is the parent's own.
        known.retain(|other| !module.starts_with(other));
        known
    }

    /// The file in which a path ends.
    fn declared(&self, path: &[String], depth: usize) -> Option<Module> {
        const DEPTH_MAX: usize = 20;
        if depth > DEPTH_MAX {
            return None;
        }
        let length = (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        let file = &self.files[module];
        let Some(name) = rest.first() else { return Some(module.to_vec()) };
        if file.declares.contains(name) {
            return Some(module.to_vec());
        }
        if let Some(alias) = file.aliases.get(name) {
            return self.declared(&[alias, &rest[1..]].concat(), depth + 1);
        }
        let by_glob = file.globs.iter().filter(|glob| **glob != module);
        let by_glob = by_glob.filter_map(|glob| self.declared(&[glob, rest].concat(), depth + 1));
        let mut by_glob = by_glob.filter(|found| self.files[found].declares.contains(name));
        Some(by_glob.next().unwrap_or_else(|| module.to_vec()))
    }
}

/// The sets of modules in which each reaches each other (Warshall's closure: there are few modules).
fn strongly_connected(edges: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<BTreeSet<Module>> {
    let mut reached = edges.clone();
    for middle in edges.keys() {
        let beyond = reached[middle].clone();
        for known in reached.values_mut().filter(|known| known.contains(middle)) {
            known.extend(beyond.iter().cloned());
        }
    }
    let circle = |module: &Module| -> BTreeSet<Module> {
        reached[module].iter().filter(|other| reached[*other].contains(module)).cloned().collect()
    };
    edges.keys().map(circle).filter(|circle| circle.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sources: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> = sources.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        circles_of(&sources).into_iter().map(|circle| circle.join(" ")).collect()
    }

    #[test]
    fn a_circle_is_found_over_any_form_of_a_path() {
        for text in
            ["use crate::b::B;", "use crate::{c, b::{self, B as Other}};", "fn f() { crate::b::g() }", "use super::b;"]
        {
            let sources = [("lib", "mod a; mod b; mod c;"), ("a", text), ("b", "use crate::a;"), ("c", "")];
            assert_eq!(found(&sources), ["a b"], "{text}");
        }
        let three =
            [("a", "use crate::b::B;"), ("b", "use crate::c::C;"), ("c", "use crate::a::A;"), ("d", "use crate::a;")];
        assert_eq!(found(&three), ["a b c"]);
    }

    #[test]
    fn a_name_leads_to_the_file_that_declares_it() {
        for root in ["pub use b::B;", "mod b; pub use b::*;", "use b::B;"] {
            let sources = [("lib", root), ("a", "use crate::B;"), ("b", "pub struct B; use crate::a;")];
            assert_eq!(found(&sources), ["a b"], "{root}");
        }
        let by_glob = [
            ("m", "mod a; mod b; use b::B;"),
            ("m/a", "use super::*; type A = B;"),
            ("m/b", "use super::a; struct B;"),
        ];
        assert_eq!(found(&by_glob), ["m/a m/b"]);
    }

    #[test]
    fn a_parent_and_its_child_may_know_each_other_but_not_over_a_third_file() {
        let pair = [("http", "mod tasks; fn page() { tasks::list() }"), ("http/tasks", "use super::page;")];
        assert_eq!(found(&pair), [""; 0]);
        let third =
            [pair[0], ("http/tasks", "use super::page; use crate::views;"), ("views", "use crate::http::page;")];
        assert_eq!(found(&third), ["http http/tasks views"]);
    }

    #[test]
    fn comments_literals_and_unit_tests_do_not_count() {
        for text in [
            "// use crate::b;",
            "/* use crate::b; */",
            "const B: &str = \"use crate::b;\";",
            "const B: &str = r#\"\" use crate::b; \"#; const C: char = '\"';",
            "#[cfg(test)] mod tests { use crate::b; fn f() { { } } }",
            "#[cfg(all(test, not(madsim)))] mod tests { use crate::b; }",
        ] {
            assert_eq!(found(&[("a", text), ("b", "use crate::a;")]), [""; 0], "{text}");
        }
        let after = "#[cfg(test)] mod tests { fn f() {} } fn g(c: &'static str) -> char { '\\'' } use crate::b;";
        assert_eq!(found(&[("a", after), ("b", "use crate::a;")]), ["a b"]);
    }
}

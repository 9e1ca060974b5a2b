//! Rules of the house that no compiler knows.

#![forbid(unsafe_code)]

mod circles;

use orbit_tests::repository;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// All Rust sources below some folders of the tree, with their paths in it.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| repository().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the source tree can be read").flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(repository()).unwrap_or(&path).display().to_string();
                found.push((name, fs::read_to_string(&path).expect("a source is text")));
            }
        }
    }
    found.sort();
    assert!(found.len() > 10, "these are not the sources");
    found
}

/// The text without its comment lines, each line kept as a line.
fn code(text: &str) -> String {
    text.lines()
        .map(|line| if line.trim_start().starts_with("//") { "\n".into() } else { format!("{line}\n") })
        .collect()
}

/// `file:line` of each place in the code where `wrong` holds for what follows the words.
fn places(sources: &[(String, String)], words: &str, wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let mut places = Vec::new();
    for (name, text) in sources {
        let code = code(text);
        for (at, _) in code.match_indices(words) {
            if wrong(&code[at + words.len()..]) {
                places.push(format!("{name}:{}", code[..at].matches('\n').count() + 1));
            }
        }
    }
    places
}

/// Otherwise a tie is broken at random, and the simulation is no longer the same for the same seed.
#[test]
fn every_select_is_biased() {
    let unbiased = |rest: &str| {
        let body = rest.trim_start();
        body.strip_prefix(['{', '(', '[']).is_some_and(|body| !body.trim_start().starts_with("biased;"))
    };
    let found = places(&sources(&["crates", "sim"]), "select!", unbiased);
    assert!(found.is_empty(), "`biased;` does not come first in {found:#?}");
}

#[test]
fn nothing_is_left_to_be_written() {
    let sources = sources(&["crates", "sim", "examples"]);
    let found = ["todo!(", "unimplemented!("].map(|words| places(&sources, words, |_| true)).concat();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_source_knows_somebodys_home() {
    let crates = fs::read_dir(repository().join("crates")).expect("there are crates").flatten();
    let folders = crates.map(|entry| format!("crates/{}/src", entry.file_name().to_string_lossy()));
    let folders: Vec<String> = folders.filter(|folder| Path::new(repository()).join(folder).is_dir()).collect();
    let mut folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    folders.extend(["sim/src", "sim/daemons/src"]);
    let mut found = Vec::new();
    for (name, text) in sources(&folders) {
        // A unit test may make one up.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for home in ["/home/", "/root/", "/Users/"] {
            found.extend(text.contains(home).then(|| format!("{name}: {home}")));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// A mutation is a patch, applied to a copy: no source of a program has a switch for one, and no program is built
/// with what applies them.
#[test]
fn no_program_is_built_with_mutations() {
    let switches = |words: &str| places(&sources(&["crates"]), words, |_| true);
    assert_eq!([switches("planted"), switches("mutation")].concat(), [""; 0]);
    for program in ["orbit", "orbit-manager", "orbit-worker"] {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["tree", "--locked", "--offline", "-e", "normal,features", "-p", program]);
        let output = cargo.current_dir(repository()).output().expect("cargo runs, as it runs this test");
        let tree = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && tree.contains("orbit-core"), "{program}: {tree}");
        for tool in ["orbit-mutants", "orbit-sim", "planted", "orbit-core feature \"testing\""] {
            assert!(!tree.contains(tool), "{program} is built with {tool}:\n{tree}");
        }
    }
}

#[test]
fn the_files_of_a_crate_know_each_other_in_one_direction() {
    let crates = fs::read_dir(repository().join("crates")).expect("there are crates").flatten();
    let mut folders: Vec<String> =
        crates.map(|entry| format!("crates/{}", entry.file_name().to_string_lossy())).collect();
    folders.extend(["sim", "sim/daemons", "sim/mutants", "fuzz", "tests", "tests/bench"].map(str::to_string));
    folders.retain(|folder| repository().join(folder).join("src").is_dir());
    assert!(folders.len() > 10, "these are not the crates");
    folders.sort();
    let mut wrong = Vec::new();
    for folder in &folders {
        let found = circles::circles(&repository().join(folder).join("src"));
        wrong.extend(found.iter().map(|files| format!("{folder}: a circle of {}", files.join(", "))));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The map's index of decisions leads from a question to a file and a function: each file is there, and names what
/// stands behind it.
#[test]
fn what_the_map_names_is_where_it_says() {
    let map = fs::read_to_string(repository().join("crates/ARCHITECTURE.md")).expect("the map");
    let index = map.split("## Index of decisions").nth(1).and_then(|rest| rest.split("## Glossary").next());
    let (mut wrong, mut named) = (Vec::new(), 0);
    for row in index.expect("it has an index").lines().filter(|line| line.starts_with('|')) {
        let mut file = None;
        // Every second piece of a row stands between backticks.
        for word in row.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                let path = match word.split_once('/').expect("a file is in a folder") {
                    ("core", rest) => format!("orbit-core/src/{rest}"),
                    ("manager", rest) => format!("orbit-manager/src/{rest}"),
                    _ => word.to_string(),
                };
                file = fs::read_to_string(repository().join("crates").join(&path)).ok();
                if file.is_none() {
                    wrong.push(format!("there is no {path}"));
                }
            } else if let Some(source) = &file {
                let name = word.rsplit("::").next().expect("a word");
                let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
                named += usize::from(is_name);
                if is_name && !source.contains(name) {
                    wrong.push(format!("`{word}` is not in the file before it: {row}"));
                }
            }
        }
    }
    assert!(named > 60, "only {named} names were found: has the map another form?");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

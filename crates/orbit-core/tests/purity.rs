//! The core and consensus are pure: proved from what they depend on and from what their sources name.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The direct dependencies.
const DIRECT: [&str; 2] = ["rand_chacha", "serde"];

/// Everything they bring: number crunching, and procedural macros that run in the compiler only.
const ALLOWED: [&str; 13] = [
    "ppv-lite86",
    "proc-macro2",
    "quote",
    "rand_chacha",
    "rand_core",
    "serde",
    "serde_core",
    "serde_derive",
    "syn",
    "unicode-ident",
    "zerocopy",
    "zerocopy-derive",
    "orbit-core",
];

/// What no source of the core or of consensus may name: clocks, IO, threads, ambient randomness, and containers whose
/// order is not a function of their content.
const FORBIDDEN: [&str; 21] = [
    "tokio",
    "async fn",
    ".await",
    "std::net",
    "std::fs",
    "std::io",
    "std::env",
    "std::thread",
    "std::process",
    "std::os",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "RandomState",
    "thread_local",
    "Mutex",
    "Atomic",
    "println!",
    "f32",
    "f64",
];

fn dependencies(package: &str, depth: Option<&str>) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}"]);
    cargo.args(["--locked", "--offline"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if let Some(depth) = depth {
        cargo.args(["--depth", depth]);
    }
    let output = cargo.output().expect("cargo runs, as it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are text");
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_string).collect()
}

#[test]
fn the_core_depends_on_serde_and_chacha_and_on_nothing_else() {
    let mut direct = dependencies("orbit-core", Some("1"));
    assert!(direct.remove("orbit-core"), "the tree begins with the core itself");
    assert_eq!(direct, BTreeSet::from(DIRECT.map(str::to_string)));
}

#[test]
fn what_those_bring_can_do_no_io_either() {
    let allowed = BTreeSet::from(ALLOWED.map(str::to_string));
    let found = dependencies("orbit-core", None);
    let strange: Vec<&String> = found.difference(&allowed).collect();
    assert!(strange.is_empty(), "new in the core's tree: {strange:?}");
    assert!(DIRECT.iter().all(|name| found.contains(*name)));
}

#[test]
fn consensus_depends_on_the_core_and_on_nothing_else() {
    let direct = dependencies("orbit-consensus", Some("1"));
    assert_eq!(direct, BTreeSet::from(["orbit-consensus", "orbit-core"].map(str::to_string)));
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the sources are there") {
        let path = entry.expect("the sources are readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// A line without its comment. (No string of the core contains two slashes.)
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Forbidden words in a source, with their lines.
fn offences(text: &str) -> Vec<String> {
    let mut offences = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let named = FORBIDDEN.iter().filter(|word| code(line).contains(**word));
        offences.extend(named.map(|word| format!("line {number} names `{word}`")));
    }
    offences
}

#[test]
fn no_source_names_a_clock_io_threads_or_unordered_containers() {
    let mut files = Vec::new();
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    sources(&core.join("src"), &mut files);
    assert!(files.len() > 20, "the sources were found");
    let of_core = files.len();
    sources(&core.join("../orbit-consensus/src"), &mut files);
    assert!(files.len() > of_core, "those of consensus, too");
    // How much work was counted is one number, compiled for that purpose only, and nothing is decided from it.
    for file in files.iter().filter(|file| !file.ends_with("src/cost.rs")) {
        let text = fs::read_to_string(file).expect("a source is readable");
        let offences = offences(&text);
        assert!(offences.is_empty(), "{}: {offences:?}", file.display());
    }
}

#[test]
fn the_search_sees_code_and_passes_over_comments() {
    assert_eq!(offences("use std::fs; // tokio"), ["line 1 names `std::fs`"]);
    assert_eq!(offences("/// tokio\n\nlet now = Instant::now();"), ["line 3 names `Instant`"]);
    assert!(offences("//! Neither HashMap nor f64.").is_empty());
}

//! Compose files, which come from anywhere, with the variables and files that they name.

use orbit_compose::{Source, convert, read_env};
use std::collections::BTreeSet;

/// What stands before this line is a compose file, what stands behind it a file of variables.
const SECOND: &str = "\n#---\n";

/// Any text as a compose file. What is converted without a refusal is a manifest that Orbit takes, and the same every time.
pub fn compose(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, env) = text.split_once(SECOND).unwrap_or((text, ""));
    let outside = |name: &str| (name != "NONE").then(|| name.to_lowercase());
    let file = read_env(env, &outside).unwrap_or_default();
    let variables = |name: &str| {
        let found = file.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).or_else(|| outside(name))
    };
    let read = |file: &str| if file.len() < 8 { Ok(env.to_string()) } else { Err("there is none".to_string()) };
    let profiles = BTreeSet::from(["a".to_string()]);
    // Two lines of the same begin another file, which goes over the first.
    let files = text.splitn(2, "\n#--- next file\n").zip(["a", "b"]);
    let files: Vec<_> = files.map(|(text, name)| (name.to_string(), text.to_string())).collect();
    let (files, folder) = (files.as_slice(), "p");
    let project_directory = env.is_empty().then_some("/srv/p");
    let source = Source {
        files,
        project: None,
        folder,
        project_directory,
        profiles: &profiles,
        variables: &variables,
        read: &read,
    };
    let converted = convert(&source);
    let again = convert(&source);
    let (converted, again) = match (converted, again) {
        (Ok(converted), Ok(again)) => (converted, again),
        (first, second) => {
            assert_eq!(first.err(), second.err(), "the same is read in the same way");
            return;
        }
    };
    assert_eq!(converted.manifests, again.manifests, "the same is read in the same way");
    assert!(converted.findings.iter().map(|it| &it.file).all(|file| !file.is_empty()), "each has a file");
    if converted.findings.iter().any(|finding| finding.is_refused) {
        return;
    }
    for manifest in converted.manifests {
        assert_eq!(manifest.definition().map(drop), Ok(()), "what is not refused is taken");
    }
}

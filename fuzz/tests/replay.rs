//! Every input that is kept: what the fuzzer found interesting (`corpus`), and what once broke
//! something (`regressions`, each named after what broke).

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a directory's entry").path()).collect();
    files.sort();
    files
}

#[test]
fn nothing_that_was_kept_breaks_anything() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    for (target, body) in orbit_fuzz::TARGETS {
        let kept = files(&root.join("corpus").join(target));
        assert!(!kept.is_empty(), "{target} has no corpus");
        for file in kept.into_iter().chain(files(&root.join("regressions").join(target))) {
            let data = fs::read(&file).expect("a kept input is readable");
            if catch_unwind(|| body(&data)).is_err() {
                broken.push(format!("cargo run -p orbit-fuzz -- {target} {}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "see above, or one by one:\n{}", broken.join("\n"));
}

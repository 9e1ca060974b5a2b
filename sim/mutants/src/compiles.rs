//! Does each hand-made mutation compile? Many are tried together, because each compilation takes about as long as that of
//! all of them.

use crate::{copy::Copy, mutation::Mutation, process};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

/// What mutations change is in these.
const PACKAGES: [&str; 8] = ["-p", "orbit-core", "-p", "orbit-store", "-p", "orbit-manager", "-p", "orbit-worker"];

/// The files that some mutations change, with all of those changes in them.
type Texts = BTreeMap<String, String>;

/// Compiles all mutations; gives what the compiler says of each that it does not take.
///
/// # Errors
/// The copy of the tree cannot be made, the tree does not compile without a mutation, or cargo cannot be started.
pub fn broken(repository: &Path, mutations: &[Mutation]) -> Result<Vec<String>, String> {
    let shared = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let target = repository.join(shared);
    let copy = Copy::of(repository, &target.join("mutants/check"))?;
    let check = |texts: &Texts| {
        let texts: Vec<(String, String)> = texts.clone().into_iter().collect();
        copy.changed(&texts, || compile(copy.root(), &target))?
    };
    if let Some(said) = check(&Texts::new())? {
        return Err(format!("without a mutation: {said}"));
    }
    let mut broken = Vec::new();
    for (batch, texts) in batches(mutations, |path| copy.read(path).map_err(|error| format!("{path}: {error}")))? {
        find(&batch, &texts, &copy, &check, &mut broken)?;
    }
    Ok(broken)
}

/// Halves a batch that does not compile until each is alone that does not: two may only be at odds with each other.
fn find(
    batch: &[&Mutation],
    texts: &Texts,
    copy: &Copy,
    check: &impl Fn(&Texts) -> Result<Option<String>, String>,
    broken: &mut Vec<String>,
) -> Result<(), String> {
    let Some(said) = check(texts)? else { return Ok(()) };
    if let [alone] = batch {
        broken.push(format!("sim/mutations/{}.patch: {said}", alone.name));
        return Ok(());
    }
    let (first, second) = batch.split_at(batch.len() / 2);
    for half in [first, second] {
        let mut texts = Texts::new();
        half.iter()
            .try_for_each(|mutation| add(mutation, &mut texts, &|path| copy.read(path).map_err(|e| e.to_string())))?;
        find(half, &texts, copy, check, broken)?;
    }
    Ok(())
}

/// Puts mutations together that leave each other's lines alone.
fn batches(
    mutations: &[Mutation],
    read: impl Fn(&str) -> Result<String, String>,
) -> Result<Vec<(Vec<&Mutation>, Texts)>, String> {
    let mut batches: Vec<(Vec<&Mutation>, Texts)> = Vec::new();
    for mutation in mutations {
        let fits = batches.iter_mut().find_map(|(batch, texts)| add(mutation, texts, &read).is_ok().then_some(batch));
        match fits {
            Some(batch) => batch.push(mutation),
            None => {
                let mut texts = Texts::new();
                add(mutation, &mut texts, &read)?;
                batches.push((vec![mutation], texts));
            }
        }
    }
    Ok(batches)
}

/// Adds a mutation to those that are in these texts, or leaves them as they are.
fn add(mutation: &Mutation, texts: &mut Texts, read: &impl Fn(&str) -> Result<String, String>) -> Result<(), String> {
    let present = |path: &str| texts.get(path).cloned().map_or_else(|| read(path).map_err(std::io::Error::other), Ok);
    let changed = mutation.patch.apply(present)?;
    texts.extend(changed);
    Ok(())
}

/// What the compiler says, if it does not take what is in the copy.
fn compile(root: &Path, target: &Path) -> Result<Option<String>, String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(["check", "--locked", "--quiet"]).args(PACKAGES).arg("--target-dir").arg(target);
    let ended = process::run(&mut command)?;
    Ok((!ended.well()).then_some(ended.stderr))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutation(name: &str, diff: &str) -> Mutation {
        let head = "about: It is wrong.\nplace: store\nlevel: pure\n\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n";
        Mutation::parse(name.into(), &format!("{head}{diff}")).expect("it is one")
    }

    #[test]
    fn those_that_change_the_same_lines_are_not_tried_together() {
        let all = [
            mutation("a", "@@ -1,2 +1,2 @@\n-1\n+one\n 2\n"),
            mutation("b", "@@ -1,2 +1,2 @@\n 1\n-2\n+two\n"),
            mutation("c", "@@ -3,1 +3,1 @@\n-3\n+three\n"),
        ];
        let batches = batches(&all, |_| Ok("1\n2\n3\n".into())).expect("each applies");
        let seen =
            batches.iter().map(|(batch, texts)| (Vec::from_iter(batch.iter().map(|it| &*it.name)), &*texts["f"]));
        assert_eq!(Vec::from_iter(seen), [(vec!["a", "c"], "one\n2\nthree\n"), (vec!["b"], "1\ntwo\n3\n")]);
    }
}

//! The hand-made mutations: `sim/mutations/NAME.patch`, each a bug that somebody could write and a reviewer could miss.

use crate::patch::Patch;
use std::{fmt, fs, path::Path};

/// One of them.
pub struct Mutation {
    /// The name of its file.
    pub name: String,
    /// What is wrong then, in one sentence.
    pub about: String,
    /// The part of the code that it changes.
    pub place: String,
    pub level: Level,
    pub patch: Patch,
}

/// Which simulator has to find a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Level {
    /// The pure world.
    Pure,
    /// The daemons under madsim: the shells and the store are in no other simulator.
    Daemons,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Pure => "pure",
            Level::Daemons => "daemons",
        })
    }
}

impl Mutation {
    /// All mutations of the repository, by level, place and name.
    ///
    /// # Errors
    /// A file that is none.
    pub fn all(repository: &Path) -> Result<Vec<Mutation>, String> {
        let folder = repository.join("sim/mutations");
        let files = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut mutations = Vec::new();
        for path in
            files.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|it| it == "patch"))
        {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            mutations.push(Mutation::parse(name, &text).map_err(|error| format!("{}: {error}", path.display()))?);
        }
        mutations.sort_by(|a, b| (a.level, &a.place, &a.name).cmp(&(b.level, &b.place, &b.name)));
        Ok(mutations)
    }

    pub fn parse(name: String, text: &str) -> Result<Mutation, String> {
        let header = |key: &str| {
            let head = text.lines().take_while(|line| !line.is_empty());
            let mut values = head.filter_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            values.next().map(str::to_string).ok_or_else(|| format!("no line `{key}: …` at its head"))
        };
        let level = match header("level")?.as_str() {
            "pure" => Level::Pure,
            "daemons" => Level::Daemons,
            other => return Err(format!("no level `{other}`: pure or daemons")),
        };
        let about = header("about")?;
        if !about.ends_with('.') {
            return Err("`about` is no sentence".into());
        }
        Ok(Mutation { name, about, place: header("place")?, level, patch: Patch::parse(text)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutation_says_what_is_wrong_where_and_who_has_to_find_it() {
        let diff = "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n";
        let parse = |head: &str| Mutation::parse("x".into(), &format!("{head}\n{diff}")).map(|it| (it.about, it.level));
        let whole = "about: It is wrong.\nplace: store\nlevel: daemons\n";
        assert_eq!(parse(whole), Ok(("It is wrong.".into(), Level::Daemons)));
        for line in whole.lines() {
            assert!(parse(&whole.replace(&format!("{line}\n"), "")).is_err(), "{line}");
        }
        assert!(parse(&whole.replace("daemons", "both")).is_err());
    }
}

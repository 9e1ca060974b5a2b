//! The copy of the tree in which mutants are built. It stays, with what was built in it, so that only what a mutation
//! touches is compiled again.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The tracked files of the repository, as they are in its working tree.
pub struct Copy {
    root: PathBuf,
    /// Two runs in one copy would judge each other's mutants.
    _lock: fs::File,
}

impl Copy {
    /// Brings the copy below `target` up to date. A file is only written if it differs, because cargo looks at times.
    ///
    /// # Errors
    /// A file cannot be read or written, or git does not know the repository.
    pub fn of(repository: &Path, target: &Path) -> Result<Copy, String> {
        let copy = Copy { root: target.join("tree"), _lock: lock(target)? };
        let listed = Command::new("git").current_dir(repository).args(["ls-files", "-z"]).output();
        let listed = listed.map_err(|error| format!("git ls-files: {error}"))?;
        if !listed.status.success() {
            return Err(format!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr)));
        }
        let names = String::from_utf8_lossy(&listed.stdout);
        // What is deleted and not yet committed is still listed.
        let there = |name: &&str| !name.is_empty() && repository.join(name).is_file();
        let names: BTreeSet<&str> = names.split('\0').filter(there).collect();
        let in_copy = |name: &str| copy.root.join(name);
        for name in &names {
            bring(&repository.join(name), &in_copy(name)).map_err(|error| format!("{name}: {error}"))?;
        }
        let kept: BTreeSet<PathBuf> = names.iter().map(|name| in_copy(name)).collect();
        remove_others(&copy.root, &kept).map_err(|error| format!("{}: {error}", copy.root.display()))?;
        Ok(copy)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file of the copy.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, path: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join(path))
    }

    /// Does something while some files of the copy have another text.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn changed<T>(&self, texts: &[(String, String)], then: impl FnOnce() -> T) -> Result<T, String> {
        let write = |(path, text): &(String, String)| {
            fs::write(self.root.join(path), text).map_err(|error| format!("{path}: {error}"))
        };
        let original = |(path, _): &(String, String)| {
            self.read(path).map(|text| (path.clone(), text)).map_err(|error| format!("{path}: {error}"))
        };
        let originals: Vec<(String, String)> = texts.iter().map(original).collect::<Result<_, _>>()?;
        texts.iter().try_for_each(write)?;
        let result = then();
        originals.iter().try_for_each(write)?;
        Ok(result)
    }
}

fn lock(target: &Path) -> Result<fs::File, String> {
    let path = target.join("lock");
    let locked = || {
        fs::create_dir_all(target)?;
        let file = fs::File::options().create(true).truncate(false).write(true).open(&path)?;
        file.try_lock()?;
        Ok(file)
    };
    locked().map_err(|error: io::Error| format!("{}: {error}; another run may be using it", path.display()))
}

fn bring(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::create_dir_all(to.parent().expect("a file is in a folder"))?;
    fs::copy(from, to).map(drop)?;
    // A copy may keep the time of its original: what was built from another text would count as newer.
    fs::File::options().write(true).open(to)?.set_modified(std::time::SystemTime::now())
}

fn remove_others(folder: &Path, kept: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, kept)?;
        } else if !kept.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_follows_the_tree_and_a_change_of_it_is_taken_back() {
        let folder = std::env::temp_dir().join(format!("orbit-mutants-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let (tree, target) = (folder.join("repository"), folder.join("target"));
        fs::create_dir_all(tree.join("in")).expect("a folder");
        let git = |args: &[&str]| {
            assert!(Command::new("git").current_dir(&tree).args(args).output().expect("git").status.success());
        };
        for (file, text) in [("a", "a\n"), ("in/b", "b\n"), ("loose", "x\n")] {
            fs::write(tree.join(file), text).expect("a file");
        }
        git(&["init", "-q"]);
        git(&["add", "a", "in/b"]);
        let copy = Copy::of(&tree, &target).expect("a copy");
        let seen = |copy: &Copy| ["a", "in/b", "loose"].map(|file| copy.read(file).ok());
        assert_eq!(seen(&copy), [Some("a\n".into()), Some("b\n".into()), None]);
        let during = copy.changed(&[("a".into(), "other\n".into())], || copy.read("a").expect("a file"));
        assert_eq!((during, copy.read("a").ok()), (Ok("other\n".into()), Some("a\n".into())));

        // What was left behind, and what is gone.
        fs::write(copy.root().join("a"), "left\n").expect("a file");
        assert!(Copy::of(&tree, &target).is_err_and(|error| error.contains("another run")), "one at a time");
        drop(copy);
        fs::remove_file(tree.join("in/b")).expect("it was there");
        let copy = Copy::of(&tree, &target).expect("a copy");
        assert_eq!(seen(&copy), [Some("a\n".into()), None, None]);
        fs::remove_dir_all(&folder).expect("it is there");
    }
}

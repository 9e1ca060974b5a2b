//! The machine-made mutants of the core, and which of them a seed draws.

use crate::operators::{Change, Operator, changes};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// What is mutated.
const SOURCES: &str = "crates/orbit-core/src";
/// Counts work for tests, and decides nothing.
const LEFT_OUT: &str = "cost.rs";
/// So many characters of a replaced text are shown.
const SHOWN_MAX: usize = 60;

/// One change of one file.
#[derive(Clone, Debug)]
pub struct Mutant {
    pub key: Key,
    pub change: Change,
}

/// What a mutant is known by. Its line is not part of it, so that it stays the same when code above it changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Below `crates/orbit-core/src`.
    pub file: String,
    pub function: String,
    pub operator: String,
    /// What is replaced by what, shortened; with a number where a function has the same change twice.
    pub change: String,
}

impl Mutant {
    /// Its file, from the root of the repository.
    pub fn path(&self) -> String {
        format!("{SOURCES}/{}", self.key.file)
    }
}

/// All mutants, by file.
pub struct Catalog(BTreeMap<String, Vec<Mutant>>);

impl Catalog {
    /// # Errors
    /// A source cannot be read, or is not Rust.
    pub fn of(repository: &Path) -> Result<Catalog, String> {
        let root = repository.join(SOURCES);
        let (mut files, mut folders) = (BTreeMap::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            for path in entries.flatten().map(|entry| entry.path()) {
                let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
                // Tests of a module may be a file of their own.
                let is_source = name.ends_with(".rs") && name != LEFT_OUT && !name.ends_with("tests.rs");
                if path.is_dir() && !path.ends_with("tests") {
                    folders.push(path);
                } else if is_source {
                    let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
                    files.insert(name.clone(), mutants(&name, &text)?);
                }
            }
        }
        files.retain(|_, mutants| !mutants.is_empty());
        Ok(Catalog(files))
    }

    pub fn has(&self, key: &Key) -> bool {
        self.0.get(&key.file).is_some_and(|mutants| mutants.iter().any(|mutant| mutant.key == *key))
    }

    /// Draws without end, each mutant once at most: first a file, then an operator, then a place, so that neither large
    /// files nor frequent operators are drawn more often than others.
    pub fn draw(&self, seed: u64) -> impl Iterator<Item = &Mutant> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut drawn = BTreeSet::new();
        let mut below = move |n: usize| (random.next_u64() % n as u64) as usize;
        let files = Vec::from_iter(self.0.values());
        let total: usize = files.iter().map(|mutants| mutants.len()).sum();
        std::iter::from_fn(move || {
            while drawn.len() < total {
                let mutants = files[below(files.len())];
                let operators: BTreeSet<Operator> = mutants.iter().map(|mutant| mutant.change.operator).collect();
                let operator = operators.iter().nth(below(operators.len())).copied();
                let of_it = Vec::from_iter(mutants.iter().filter(|mutant| Some(mutant.change.operator) == operator));
                let mutant = of_it[below(of_it.len())];
                if drawn.insert(&mutant.key) {
                    return Some(mutant);
                }
            }
            None
        })
    }
}

/// The mutants of one file.
fn mutants(file: &str, text: &str) -> Result<Vec<Mutant>, String> {
    let mut seen: BTreeMap<Key, usize> = BTreeMap::new();
    let mutant = |change: Change| {
        let mut key = Key {
            file: file.into(),
            function: change.function.clone(),
            operator: change.operator.to_string(),
            change: format!("{} → {}", shown(&text[change.range.clone()]), shown(&change.by)),
        };
        let count = seen.entry(key.clone()).or_default();
        *count += 1;
        if *count > 1 {
            key.change += &format!(" #{count}");
        }
        Mutant { key, change }
    };
    Ok(changes(text).map_err(|error| format!("{file}: {error}"))?.into_iter().map(mutant).collect())
}

/// Some code in one line, shortened in its middle.
fn shown(code: &str) -> String {
    let line: Vec<char> = code.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect();
    match line.len() {
        0 => "nothing".into(),
        long if long > SHOWN_MAX => {
            let ends = [&line[..SHOWN_MAX / 2], &line[long - SHOWN_MAX / 2..]].map(String::from_iter);
            format!("`{}…{}`", ends[0], ends[1])
        }
        _ => format!("`{}`", String::from_iter(line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let file = |name: &str, text: &str| (name.to_string(), mutants(name, text).expect("it is Rust"));
        Catalog(BTreeMap::from([
            file("a.rs", "fn f() { g(1, 1); h(2, 3, 4, 5, 6, 7, 8) }"),
            file("b.rs", "impl B { fn f(&self) -> bool { self.a < self.b } }"),
        ]))
    }

    #[test]
    fn a_mutant_is_known_by_its_change_and_not_by_its_line() {
        let keys = |text: &str| mutants("a.rs", text).expect("it is Rust").into_iter().map(|mutant| mutant.key);
        let text = "fn f() { g(1, 1); }";
        assert!(keys(text).eq(keys(&format!("// above\n{text}"))));
        let changes = Vec::from_iter(keys(text).map(|key| key.change));
        assert!(changes.contains(&"`1` → `2`".into()) && changes.contains(&"`1` → `2` #2".into()), "{changes:?}");
        assert!(changes.contains(&"`g(1, 1);` → nothing".into()), "{changes:?}");
    }

    #[test]
    fn a_long_text_is_shortened_in_its_middle() {
        let long = shown(&format!("begin {} end", "x ".repeat(100)));
        assert!(long.starts_with("`begin x") && long.ends_with("x end`") && long.chars().count() == SHOWN_MAX + 3);
    }

    #[test]
    fn a_seed_draws_the_same_mutants_every_time_and_none_twice() {
        let catalog = catalog();
        let drawn = |seed| Vec::from_iter(catalog.draw(seed).map(|mutant| mutant.key.clone()));
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        let all = catalog.0.values().map(Vec::len).sum::<usize>();
        assert_eq!((drawn(1).len(), BTreeSet::from_iter(drawn(1)).len()), (all, all));
        assert!(drawn(1).iter().all(|key| catalog.has(key)));
    }

    #[test]
    fn a_small_file_is_drawn_as_often_as_a_large_one() {
        let catalog = catalog();
        let first = |seed| catalog.draw(seed).next().expect("there are mutants").key.file.clone();
        let of_b = (0..1000).filter(|seed| first(*seed) == "b.rs").count();
        assert!((400..600).contains(&of_b), "{of_b}");
    }
}

//! Many mutants in one build. A function that some of them change has its body once for each, and a number in the
//! environment says whose bodies are in force (the "schemata" of Untch, Offutt and Harrold, 1993). One build of all
//! takes about as long as the build of one.
//!
//! What is in no body of a function (a constant, a type, an attribute) cannot be chosen while the program runs, nor can a
//! body whose type nobody names: such mutants are built each by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
};
use syn::{spanned::Spanned, visit::Visit, *};

/// The variable with the number of the mutant that is in force.
pub const VARIABLE: &str = "ORBIT_MUTANT";
/// The number of none.
pub const NONE: u32 = 0;

/// Mutants that one build holds, by number.
#[derive(Default)]
pub struct Together {
    files: BTreeMap<String, File>,
}

/// A file that some of them change.
struct File {
    text: String,
    bodies: Vec<Range<usize>>,
    /// What stands in a body instead, by the place of the body and by mutant.
    others: BTreeMap<usize, BTreeMap<u32, String>>,
}

/// The texts of what is built.
#[derive(Debug, PartialEq, Eq)]
pub struct Texts {
    /// By path from the root of the repository.
    pub files: Vec<(String, String)>,
    /// Which lines are whose, counted from 1.
    owners: Vec<(String, Range<usize>, u32)>,
}

impl Texts {
    /// Whose line this is, if it is one mutant's alone.
    pub fn owner(&self, path: &str, line: usize) -> Option<u32> {
        let owns = |(file, lines, _): &&(String, Range<usize>, u32)| file == path && lines.contains(&line);
        self.owners.iter().find(owns).map(|(_, _, number)| *number)
    }
}

impl Together {
    /// Takes in a mutant, given as the new texts of some files. False if it has to be built by itself.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn add(
        &mut self,
        number: u32,
        changed: &[(String, String)],
        read: impl Fn(&str) -> io::Result<String>,
    ) -> std::result::Result<bool, String> {
        let mut other_bodies = Vec::new();
        for (path, text) in changed {
            if !self.files.contains_key(path) {
                let text = read(path).map_err(|error| format!("{path}: {error}"))?;
                let bodies = bodies(&text).map_err(|error| format!("{path}: {error}"))?;
                self.files.insert(path.clone(), File { text, bodies, others: BTreeMap::new() });
            }
            let file = &self.files[path];
            // What is not Rust any more is refused by the compiler, with its words.
            let Some(others) = bodies(text).ok().and_then(|bodies| file.differing(text, &bodies)) else {
                return Ok(false);
            };
            other_bodies.extend(others.into_iter().map(|(at, body)| (path.clone(), at, body)));
        }
        for (path, at, body) in other_bodies {
            self.files.entry(path).and_modify(|file| {
                file.others.entry(at).or_default().insert(number, body);
            });
        }
        Ok(true)
    }

    /// Takes a mutant out again.
    pub fn remove(&mut self, number: u32) {
        for others in self.files.values_mut().flat_map(|file| file.others.values_mut()) {
            others.remove(&number);
        }
    }

    /// Those that are in it.
    pub fn numbers(&self) -> BTreeSet<u32> {
        self.files.values().flat_map(|file| file.others.values()).flat_map(|others| others.keys().copied()).collect()
    }

    /// What is to be built.
    ///
    /// # Errors
    /// The root of a crate cannot be read.
    pub fn texts(&self, read: impl Fn(&str) -> io::Result<String>) -> std::result::Result<Texts, String> {
        let (mut files, mut owners, mut roots) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        for (path, file) in &self.files {
            files.insert(path.clone(), file.written(path, &mut owners));
            roots.extend(path.split_once("/src/").map(|(package, _)| format!("{package}/src/lib.rs")));
        }
        for root in roots {
            let text = files.remove(&root).map_or_else(|| read(&root), Ok);
            let text = text.map_err(|error| format!("{root}: {error}"))?;
            // At its end, so that no line has another number.
            files.insert(root, text + &switch());
        }
        Ok(Texts { files: files.into_iter().collect(), owners })
    }
}

impl File {
    /// The bodies that are others in a text; none if anything else is.
    fn differing(&self, text: &str, bodies: &[Range<usize>]) -> Option<Vec<(usize, String)>> {
        if bodies.len() != self.bodies.len() || !gaps(text, bodies).eq(gaps(&self.text, &self.bodies)) {
            return None;
        }
        let pairs = self.bodies.iter().zip(bodies).enumerate();
        let other = |(at, (here, there)): (usize, (&Range<usize>, &Range<usize>))| {
            (self.text[here.clone()] != text[there.clone()]).then(|| (at, text[there.clone()].to_string()))
        };
        Some(pairs.filter_map(other).collect())
    }

    /// The text in which each body is chosen.
    fn written(&self, path: &str, owners: &mut Vec<(String, Range<usize>, u32)>) -> String {
        let (mut written, mut end) = (String::new(), 0);
        for (at, others) in self.others.iter().filter(|(_, others)| !others.is_empty()) {
            let body = &self.bodies[*at];
            written += &self.text[end..body.start];
            written += "{ match crate::mutant_in_force() {\n";
            for (number, other) in others {
                let first = written.lines().count() + 1;
                written += &format!("{number} => {other}\n");
                owners.push((path.into(), first..written.lines().count() + 1, *number));
            }
            written += &format!("_ => {}\n}} }}", &self.text[body.clone()]);
            end = body.end;
        }
        written + &self.text[end..]
    }
}

/// What stands between the bodies.
fn gaps<'t>(text: &'t str, bodies: &[Range<usize>]) -> impl Iterator<Item = &'t str> {
    let starts = [0].into_iter().chain(bodies.iter().map(|body| body.end)).collect::<Vec<_>>();
    let ends = bodies.iter().map(|body| body.start).chain([text.len()]).collect::<Vec<_>>();
    starts.into_iter().zip(ends).map(|(start, end)| &text[start..end])
}

/// What asks for the number, once.
fn switch() -> String {
    format!(
        "\n/// The number of the mutant that is in force.\npub(crate) fn mutant_in_force() -> u32 {{\n\
         static NUMBER: std::sync::LazyLock<u32> = std::sync::LazyLock::new(|| {{\n\
         std::env::var(\"{VARIABLE}\").ok().and_then(|number| number.parse().ok()).unwrap_or({NONE})\n\
         }});\n*NUMBER\n}}\n"
    )
}

/// The bodies of the functions that can have several, in the order of the text.
fn bodies(text: &str) -> Result<Vec<Range<usize>>> {
    struct Bodies(Vec<Range<usize>>);
    impl Bodies {
        fn function(&mut self, signature: &Signature, body: &Block) {
            if signature.constness.is_none() && names_its_type(&signature.output) {
                self.0.push(body.span().byte_range());
            }
        }
    }
    // What stands in a body is part of it, so nothing is visited there.
    impl<'ast> Visit<'ast> for Bodies {
        fn visit_item_fn(&mut self, item: &'ast ItemFn) {
            self.function(&item.sig, &item.block);
        }
        fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
            self.function(&item.sig, &item.block);
        }
        fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
            item.default.iter().for_each(|block| self.function(&item.sig, block));
        }
    }
    let mut found = Bodies(Vec::new());
    found.visit_file(&parse_file(text)?);
    Ok(found.0)
}

/// Whether what a function returns has a name: two bodies of `impl Trait` would be two types.
fn names_its_type(output: &ReturnType) -> bool {
    struct Unnamed(bool);
    impl<'ast> Visit<'ast> for Unnamed {
        fn visit_type_impl_trait(&mut self, _: &'ast TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut unnamed = Unnamed(false);
    unnamed.visit_return_type(output);
    !unnamed.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "const A: u8 = 1;\nfn f() -> u8 {\n    A + 1\n}\nimpl B {\n    const fn g() {}\n    fn h(&self) { f(); }\n    fn i() -> impl C { c() }\n}\n";

    fn read(path: &str) -> io::Result<String> {
        Ok(if path == "p/src/lib.rs" { "mod a;\n".into() } else { TEXT.into() })
    }

    fn add(together: &mut Together, number: u32, old: &str, new: &str) -> bool {
        assert!(TEXT.contains(old), "{old}");
        let changed = [("p/src/a.rs".to_string(), TEXT.replace(old, new))];
        together.add(number, &changed, read).expect("it is read")
    }

    #[test]
    fn a_function_has_its_body_once_for_each_mutant_and_its_own() {
        let mut together = Together::default();
        assert!(add(&mut together, 1, "A + 1", "A - 1"));
        assert!(add(&mut together, 2, "A + 1", "return 2;\n    A + 1"));
        assert!(add(&mut together, 3, "f();", ""));
        let texts = together.texts(read).expect("they are read");
        let [(_, a), (root, switch)] = &*texts.files else { panic!("{texts:?}") };
        let expected = "const A: u8 = 1;\nfn f() -> u8 { match crate::mutant_in_force() {\n1 => {\n    A - 1\n}\n\
                        2 => {\n    return 2;\n    A + 1\n}\n_ => {\n    A + 1\n}\n} }\nimpl B {\n    const fn g() {}\n    \
                        fn h(&self) { match crate::mutant_in_force() {\n3 => {  }\n_ => { f(); }\n} }\n    \
                        fn i() -> impl C { c() }\n}\n";
        assert_eq!(a, expected);
        assert_eq!(root, "p/src/lib.rs");
        assert!(switch.starts_with("mod a;\n") && parse_file(switch).is_ok() && parse_file(a).is_ok());
        let owners = (1..=a.lines().count()).map(|line| texts.owner("p/src/a.rs", line).unwrap_or_default());
        let owned = owners.map(|number| number.to_string()).collect::<String>();
        assert_eq!(owned, "001112222000000030000");
        together.remove(2);
        assert_eq!(together.numbers(), [1, 3].into());
        assert!(!together.texts(read).expect("they are read").files[0].1.contains("return 2"));
    }

    #[test]
    fn what_cannot_be_chosen_while_a_program_runs_is_built_by_itself() {
        let mut together = Together::default();
        assert!(!add(&mut together, 1, "u8 = 1", "u8 = 2"), "a constant");
        assert!(!add(&mut together, 2, "fn g() {}", "fn g() { f(); }"), "a constant function");
        assert!(!add(&mut together, 3, "c()", "d()"), "a type without a name");
        assert!(!add(&mut together, 4, "f();", "f("), "no Rust");
        assert!(!add(&mut together, 5, "f() -> u8", "f() -> u16"), "a signature");
        assert_eq!(together.numbers(), [].into());
    }
}

//! A unified diff, as `git diff` writes it, applied to texts. Context has to match exactly; a hunk may have moved.

use std::{collections::BTreeMap, io};

/// The changes to some files.
#[derive(Debug)]
pub struct Patch {
    /// By path from the root of the repository.
    files: BTreeMap<String, Vec<Hunk>>,
}

#[derive(Debug, Default)]
struct Hunk {
    /// Where it was when the patch was written, counted from 0.
    line: usize,
    /// The lines that it expects, and those that it leaves, each with its line feed.
    old: Vec<String>,
    new: Vec<String>,
}

impl Patch {
    /// # Errors
    /// The line that is no part of a unified diff.
    pub fn parse(text: &str) -> Result<Patch, String> {
        let mut files: BTreeMap<String, Vec<Hunk>> = BTreeMap::new();
        let mut file = None;
        for line in text.lines() {
            if let Some(path) = line.strip_prefix("+++ b/") {
                file = Some(files.entry(path.to_string()).or_default());
            } else if line.starts_with("diff ") || line.starts_with("--- ") {
                file = None;
            } else if let Some(hunks) = &mut file {
                if let Some(range) = line.strip_prefix("@@ -") {
                    let number = range.split([',', ' ']).next().and_then(|number| number.parse::<usize>().ok());
                    let line = number.ok_or_else(|| format!("`{line}` names no line"))?.saturating_sub(1);
                    hunks.push(Hunk { line, ..Hunk::default() });
                    continue;
                }
                let hunk = hunks.last_mut().ok_or_else(|| format!("`{line}` stands before the first hunk"))?;
                let (kind, rest) = line.split_at_checked(1).unwrap_or((" ", ""));
                let rest = format!("{rest}\n");
                match kind {
                    " " => {
                        hunk.old.push(rest.clone());
                        hunk.new.push(rest);
                    }
                    "-" => hunk.old.push(rest),
                    "+" => hunk.new.push(rest),
                    _ => return Err(format!("`{line}` is no line of a unified diff")),
                }
            }
        }
        if files.values().all(Vec::is_empty) {
            return Err("it changes nothing".into());
        }
        Ok(Patch { files })
    }

    /// The new text of each file that changes.
    ///
    /// # Errors
    /// The hunk that no longer applies, or a file that cannot be read.
    pub fn apply(&self, read: impl Fn(&str) -> io::Result<String>) -> Result<Vec<(String, String)>, String> {
        let changed = |(path, hunks): (&String, &Vec<Hunk>)| {
            let text = read(path).map_err(|error| format!("{path}: {error}"))?;
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            let mut moved = 0;
            for hunk in hunks {
                let expected = hunk.line.saturating_add_signed(moved);
                let at = find(&lines, &hunk.old, expected)
                    .ok_or_else(|| format!("{path}: the hunk of line {} no longer applies", hunk.line + 1))?;
                moved = at as isize - hunk.line as isize + hunk.new.len() as isize - hunk.old.len() as isize;
                lines.splice(at..at + hunk.old.len(), hunk.new.iter().map(String::as_str));
            }
            Ok((path.clone(), lines.concat()))
        };
        self.files.iter().map(changed).collect()
    }
}

/// Where these lines stand, nearest to where they are expected.
fn find(lines: &[&str], wanted: &[String], expected: usize) -> Option<usize> {
    let stands = |at: &usize| lines[*at..].iter().zip(wanted).all(|(line, wanted)| line == wanted);
    let places = (lines.len() + 1).checked_sub(wanted.len())?;
    (0..places).filter(stands).min_by_key(|at| at.abs_diff(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "about: x\n\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -2,3 +2,2 @@ fn\n b\n-c\n d\n@@ -6,2 +5,3 @@\n \n+new\n g\n";

    fn applied(text: &str) -> Result<Vec<(String, String)>, String> {
        Patch::parse(PATCH).expect("it is a patch").apply(|_| Ok(text.to_string()))
    }

    #[test]
    fn a_patch_applies_where_its_lines_have_moved() {
        let expected = |text: &str| Ok(vec![("f".to_string(), text.to_string())]);
        assert_eq!(applied("a\nb\nc\nd\ne\n\ng\n"), expected("a\nb\nd\ne\n\nnew\ng\n"));
        assert_eq!(applied("0\n1\na\nb\nc\nd\n\ng\n"), expected("0\n1\na\nb\nd\n\nnew\ng\n"));
    }

    #[test]
    fn a_patch_whose_lines_are_gone_says_which() {
        assert_eq!(applied("a\nb\nX\nd\ne\n\ng\n"), Err("f: the hunk of line 2 no longer applies".into()));
        assert_eq!(applied(""), Err("f: the hunk of line 2 no longer applies".into()));
    }

    #[test]
    fn text_that_is_no_patch_is_refused() {
        assert_eq!(Patch::parse("about: nothing\n").map(drop), Err("it changes nothing".into()));
        assert!(Patch::parse("+++ b/f\nloose\n").is_err());
    }
}

//! What is found on the way from files to manifests.

use crate::{Finding, yaml::Place};

/// In any order.
#[derive(Default)]
pub struct Findings(Vec<(Place, Finding)>);

impl Findings {
    /// Something that is not carried over.
    pub fn refuse(&mut self, at: Place, path: &str, message: impl Into<String>) {
        self.push(at, path, true, message.into());
    }

    /// Something that is carried over in another way, or need not be.
    pub fn note(&mut self, at: Place, path: &str, message: impl Into<String>) {
        self.push(at, path, false, message.into());
    }

    fn push(&mut self, at: Place, path: &str, is_refused: bool, message: String) {
        let finding = Finding { file: String::new(), line: at.line, path: path.to_string(), is_refused, message };
        self.0.push((at, finding));
    }

    /// All, in the order of the files and their lines, with the names of the files.
    pub fn sorted(mut self, files: &[String]) -> Vec<Finding> {
        self.0.sort();
        let name = |at: Place| files.get(at.file).cloned().unwrap_or_default();
        self.0.into_iter().map(|(at, finding)| Finding { file: name(at), ..finding }).collect()
    }
}

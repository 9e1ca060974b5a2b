//! What compose files are read with.

use crate::interpolate::Variables;
use std::collections::BTreeSet;

/// Compose files, and what is known beside them.
pub struct Source<'a> {
    /// The compose files, each with its name; what a later one says counts more.
    pub files: &'a [(String, String)],
    /// The project's name, whatever the file says.
    pub project: Option<&'a str>,
    /// The project's name, where nobody says.
    pub folder: &'a str,
    /// Where the files of the project are on the nodes, an absolute path; nothing where they are not there.
    pub project_directory: Option<&'a str>,
    /// The profiles that are chosen; `*` is all of them.
    pub profiles: &'a BTreeSet<String>,
    /// The value of a variable: of the environment, or of `.env`.
    pub variables: &'a Variables<'a>,
    /// The text of a file that a compose file names, from the folder of the first; the error is for people.
    pub read: &'a dyn Fn(&str) -> Result<String, String>,
}

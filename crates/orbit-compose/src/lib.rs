//! Compose files, as Orbit's manifests. Nothing is dropped without a word: what is not carried over is a [`Finding`] with its
//! line, and all of them come in one answer.
//!
//! A pure function of texts: who calls it reads the files and knows the variables. What a compose file means is said by the
//! [Compose specification](https://github.com/compose-spec/compose-spec/blob/main/spec.md).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod convert;
mod dotenv;
mod findings;
mod interpolate;
mod load;
mod merge;
mod source;
mod yaml;

pub use convert::{LABEL_PROJECT, convert, is_compose};
pub use dotenv::read_env;
use orbit_api::Manifest;
pub use source::Source;
use std::fmt;

/// A compose file that was read.
#[derive(Debug)]
pub struct Converted {
    /// One for each service that is chosen, in the order of the file.
    pub manifests: Vec<Manifest>,
    /// The names of all services of the files as objects, also of those that are not chosen or cannot be said.
    pub services: Vec<String>,
    /// What differs, in the order of the lines.
    pub findings: Vec<Finding>,
}

/// Something of a compose file that a manifest does not say, or says in another way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// In which file it stands, by its name.
    pub file: String,
    /// On which line of it, from 1.
    pub line: usize,
    /// Its path, for example `services.web.volumes`.
    pub path: String,
    /// Whether the service would be another one without it.
    pub is_refused: bool,
    /// What becomes of it, and the way out.
    pub message: String,
}

/// A text that is no compose file: nothing can be said about its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// In which file, by its name; nothing where a text has none.
    pub file: Option<String>,
    /// Where, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.path, self.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}:{}: {}", self.line, self.message),
            None => write!(f, "{}: {}", self.line, self.message),
        }
    }
}

impl std::error::Error for Error {}

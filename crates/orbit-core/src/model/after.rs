//! What has to be there before the tasks of a workload are placed.

use super::{
    Kind, Rejection,
    validate::{check_name, excerpt},
};
use std::fmt;

/// Another object, and how far it has to have come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct After {
    /// Whether it is a service or a task definition.
    pub kind: Kind,
    /// Its name. It need not exist yet.
    pub name: String,
    /// How far it has to have come.
    pub until: Until,
}

/// How far an object has to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Until {
    /// One of its tasks has run.
    Started,
    /// One of its tasks serves: it runs, and its probes pass.
    Healthy,
    /// Its run came to a good end.
    Complete,
}

impl Until {
    /// All, in order.
    pub const ALL: [Until; 3] = [Until::Started, Until::Healthy, Until::Complete];

    /// As a manifest has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Until::Started => "started",
            Until::Healthy => "healthy",
            Until::Complete => "complete",
        }
    }
    /// Whether an object of this kind can come so far.
    pub fn is_of(self, kind: Kind) -> bool {
        match self {
            Until::Started => true,
            Until::Healthy => !kind.rules().runs_to_end,
            Until::Complete => kind.rules().runs_to_end,
        }
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} `{}` is {}", self.kind, self.name, self.until.as_str())
    }
}

impl After {
    /// Checks the i-th of those that an object of this kind and name waits for, behind those before it.
    pub(super) fn validate(&self, i: usize, before: &[After], kind: Kind, name: &str) -> Result<(), Rejection> {
        let field = format!("after[{i}].{}", self.kind);
        check_name(&field, &self.name)?;
        if !self.until.is_of(self.kind) {
            let message = format!("a {} is never {}", self.kind, self.until.as_str());
            return Err(Rejection::invalid(format!("after[{i}].until"), message));
        }
        if (self.kind, self.name.as_str()) == (kind, name) {
            return Err(Rejection::invalid(field, "it would wait for itself"));
        }
        match before.iter().position(|other| (other.kind, &other.name) == (self.kind, &self.name)) {
            Some(j) => {
                let message = format!("`{}` stands in after[{j}] already", excerpt(&self.name));
                Err(Rejection::invalid(field, message))
            }
            None => Ok(()),
        }
    }
}

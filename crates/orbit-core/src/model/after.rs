//! What has to be there before the tasks of a workload are placed.

use super::{
    Kind, Rejection,
    validate::{check_count, check_name, excerpt},
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

/// Checks what an object of this kind and name waits for.
pub(super) fn check_after(after: &[After], kind: Kind, name: &str) -> Result<(), Rejection> {
    check_count("after", after.len())?;
    for (i, it) in after.iter().enumerate() {
        let field = format!("after[{i}].{}", it.kind);
        check_name(&field, &it.name)?;
        if !it.until.is_of(it.kind) {
            let message = format!("a {} is never {}", it.kind, it.until.as_str());
            return Err(Rejection::invalid(format!("after[{i}].until"), message));
        }
        if (it.kind, it.name.as_str()) == (kind, name) {
            return Err(Rejection::invalid(field, "it would wait for itself"));
        }
        if let Some(j) = after[..i].iter().position(|other| (other.kind, &other.name) == (it.kind, &it.name)) {
            let message = format!("`{}` stands in after[{j}] already", excerpt(&it.name));
            return Err(Rejection::invalid(field, message));
        }
    }
    Ok(())
}

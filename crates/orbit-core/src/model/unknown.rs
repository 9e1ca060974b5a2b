//! Tasks that nodes have and a restored state does not know, because the backup is older than they are.

/// What becomes of the tasks from before a restore that the state does not know.
///
/// Their specs are known to nobody any more: such a task is left as it is or removed, and cannot be started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnknownTasks {
    /// They are removed, as whatever else a node has that the state does not know.
    #[default]
    Removed,
    /// They are left alone until an operator has said which of the two others it shall be.
    Held,
    /// They are left alone for good.
    Adopted,
}

impl UnknownTasks {
    /// Stable text, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            UnknownTasks::Removed => "removed",
            UnknownTasks::Held => "held",
            UnknownTasks::Adopted => "adopted",
        }
    }
}

//! Identity. Every ID is given in `apply` from the log, except the two that exist before the log
//! knows of them: the cluster's and the node's own, which the shells draw at random.

use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, fmt, num::NonZeroU32, str::FromStr};

/// One attempt to fill a slot: (epoch, index of the log entry that created it, ordinal within it).
///
/// Ordered by creation. Written `epoch.index.ordinal`, for example `1.57.0`; as names begin with a
/// letter, an ID is never mistaken for one. An ID is never given twice, not even by a manager that
/// was restored from a backup: that raises the epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaskId {
    // Not in order of significance: this order keeps the struct at 16 bytes.
    /// Index of the log entry that created the task.
    pub index: u64,
    /// The cluster's epoch when it was created.
    pub epoch: u32,
    /// Place among the tasks that the same entry created.
    pub ordinal: u32,
}

impl TaskId {
    /// The smallest ID, below every real one (log indices begin at 1).
    pub const MIN: TaskId = TaskId { index: 0, epoch: 0, ordinal: 0 };
    fn key(&self) -> (u32, u64, u32) {
        (self.epoch, self.index, self.ordinal)
    }
}

impl Ord for TaskId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
impl PartialOrd for TaskId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}.{}.{}", self.epoch, self.index, self.ordinal)
    }
}
impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for TaskId {
    type Err = BadId;
    fn from_str(s: &str) -> Result<Self, BadId> {
        let mut parts = s.split('.');
        let (Some(epoch), Some(index), Some(ordinal), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadId);
        };
        Ok(TaskId { epoch: number(epoch)?, index: number(index)?, ordinal: number(ordinal)? })
    }
}

/// What an object is, whatever its name: (epoch, index of the log entry that created it).
///
/// An object that was deleted and created again under the same name has another UID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Uid {
    /// The cluster's epoch when the object was created.
    pub epoch: u32,
    /// Index of the log entry that created the object.
    pub index: u64,
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.index)
    }
}
impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A decimal number without sign or leading zeros, so that an ID has one spelling only.
fn number<N: FromStr + ToString>(s: &str) -> Result<N, BadId> {
    let n: N = s.parse().map_err(|_| BadId)?;
    if n.to_string() == s { Ok(n) } else { Err(BadId) }
}

/// A text that is no ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadId;

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("not a task ID (epoch.index.ordinal, for example 1.57.0)")
    }
}

/// A node, numbered from 0 at its first registration; a number is never given again.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The node's index in the arena.
    pub fn slot(self) -> usize {
        self.0 as usize
    }
}
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}
impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A cluster's own ID: 64 random bits, drawn once when its state directory is made. Written as 16
/// hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

/// A node's own ID: 64 random bits, drawn once when the worker's state directory is made. Written
/// as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeUid(pub u64);

macro_rules! hex_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(s: &str) -> Result<Self, BadId> {
                if s.len() != 16 || s.bytes().any(|b| !b.is_ascii_hexdigit() || b.is_ascii_uppercase()) {
                    return Err(BadId);
                }
                u64::from_str_radix(s, 16).map($name).map_err(|_| BadId)
            }
        }
    };
}
hex_id!(ClusterId);
hex_id!(NodeUid);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_ordered_by_creation_and_reads_back_what_it_wrote() {
        let id = |epoch, index, ordinal| TaskId { index, epoch, ordinal };
        assert!(id(1, 9, 5) < id(1, 10, 0) && id(1, 10, 0) < id(2, 1, 0));
        assert_eq!("1.57.0".parse(), Ok(id(1, 57, 0)));
        assert_eq!(id(1, 57, 3).to_string(), "1.57.3");
        for bad in ["", "1.2", "1.2.3.4", "01.2.3", "1.-2.3", "web", "1..3", "+1.2.3"] {
            assert_eq!(bad.parse::<TaskId>(), Err(BadId), "{bad}");
        }
        assert_eq!("00000000000000ff".parse(), Ok(NodeUid(255)));
        assert_eq!("00000000000000FF".parse::<NodeUid>(), Err(BadId));
    }

    #[test]
    fn a_task_id_takes_sixteen_bytes() {
        assert_eq!(size_of::<TaskId>(), 16);
    }
}

/// A task's place in the table. Valid until the task is removed; never stored outside of the
/// cluster. Counted from 1, so that whether there is one takes no room of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey(NonZeroU32);

impl TaskKey {
    pub(crate) fn of_place(place: usize) -> TaskKey {
        let count = u32::try_from(place + 1).expect("fewer than four thousand million tasks");
        TaskKey(NonZeroU32::new(count).expect("one more than a place"))
    }
    pub(crate) fn place(self) -> usize {
        self.0.get() as usize - 1
    }
}

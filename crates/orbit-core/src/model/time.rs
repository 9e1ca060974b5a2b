//! Time as the core knows it: an argument, in milliseconds.

use std::{fmt, ops};

/// A point on the cluster's own clock, in milliseconds since the cluster was made.
///
/// It never goes back: an entry's time is the later of the clock and the entry before it, and at an
/// election the new leader continues from the last entry (see `Manager`).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

/// A span of time in milliseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Time {
    /// The time from `earlier` to `self`, zero if `earlier` is later.
    pub fn since(self, earlier: Time) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
    /// So long before `self`, but not before the clock began.
    pub fn before(self, span: Millis) -> Time {
        Time(self.0.saturating_sub(span.0))
    }
}

impl Millis {
    /// A span of whole seconds.
    pub const fn secs(secs: u64) -> Millis {
        Millis(secs * 1000)
    }
}

impl ops::Add<Millis> for Time {
    type Output = Time;
    fn add(self, span: Millis) -> Time {
        Time(self.0.saturating_add(span.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}
impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            ms if ms % 1000 != 0 => write!(f, "{ms}ms"),
            ms => write!(f, "{}s", ms / 1000),
        }
    }
}
impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The manager's timing, in one place. The defaults are those of the documentation; tests and the
/// simulator pass their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a worker says that it is there.
    pub heartbeat: Millis,
    /// How long a silent node counts as reachable.
    pub lease: Millis,
    /// How long after its last heartbeat a silent node's tasks are replaced.
    pub replace_after: Millis,
    /// How long a worker's old session has to answer before another process may take it over.
    pub probe: Millis,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            heartbeat: Millis::secs(1),
            lease: Millis::secs(5),
            replace_after: Millis::secs(10),
            probe: Millis::secs(2),
        }
    }
}

//! Counts the work of the machines: rows of the state that were looked at.
//!
//! A manager of a large fleet fails not by a wrong decision but by one that costs too much, again and
//! again. So cost is part of what tests and the simulator see: a test holds how it grows with the
//! fleet, and the simulated world charges virtual time for it. Without the feature `cost` nothing of
//! it is compiled.

#[cfg(feature = "cost")]
mod counted {
    use std::cell::Cell;

    thread_local! {
        /// Of this thread: worlds that run side by side do not see each other's work.
        static ROWS: Cell<u64> = const { Cell::new(0) };
    }

    /// So many rows were looked at.
    pub fn rows(count: usize) {
        ROWS.set(ROWS.get() + count as u64);
    }

    /// The rows that this thread has looked at since it asked last.
    pub fn take() -> u64 {
        ROWS.replace(0)
    }
}

#[cfg(feature = "cost")]
pub use counted::{rows, take};

/// Nothing is counted.
#[cfg(not(feature = "cost"))]
#[inline(always)]
pub(crate) fn rows(_: usize) {}

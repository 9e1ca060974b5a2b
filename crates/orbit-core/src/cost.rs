//! Counts the work of the machines: the rows of the state that they look at.
//!
//! A manager of a large fleet may fail because its decisions cost too much, and not because one of them is wrong. So
//! the tests count the cost: `sim/tests/cost.rs` holds that an event costs no more in a larger fleet. Without the
//! feature `cost` nothing of it is compiled.

#[cfg(feature = "cost")]
mod counted {
    use std::cell::Cell;

    thread_local! {
        /// One count per thread, so that worlds that run in parallel do not see each other's work.
        static ROWS: Cell<u64> = const { Cell::new(0) };
    }

    /// Adds rows that were looked at.
    pub fn rows(count: usize) {
        ROWS.set(ROWS.get() + count as u64);
    }

    /// The rows that this thread has looked at since the last call.
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

//! The clock of a state machine, whose times are milliseconds since its shell began.

use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A monotonic clock. Copies have the same zero.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: Instant,
}

impl Clock {
    /// A clock whose zero is now.
    pub fn start() -> Clock {
        Clock { zero: Instant::now() }
    }

    /// Milliseconds since the zero.
    ///
    /// # Panics
    /// After half a thousand million years.
    pub fn ms(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_millis()).expect("fewer milliseconds than that")
    }

    /// Waits for the time at which a machine wants to be woken: for ever, if there is none.
    pub async fn reaches(self, due_ms: Option<u64>) {
        match due_ms {
            Some(due) => sleep_until(self.zero + Duration::from_millis(due)).await,
            None => std::future::pending().await,
        }
    }
}

//! The clock of a state machine, in milliseconds.

use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A monotonic clock. Copies have the same zero.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: Instant,
    /// What it showed then.
    zero_ms: u64,
}

impl Clock {
    /// A clock whose zero is now.
    pub fn start() -> Clock {
        Clock { zero: Instant::now(), zero_ms: 0 }
    }

    /// The clock of this machine: processes from one start of the machine to the next read the same, also after the
    /// machine slept between them.
    pub fn of_this_machine() -> Clock {
        Clock { zero: Instant::now(), zero_ms: uptime_ms().unwrap_or_default() }
    }

    /// Milliseconds since the zero, or since the machine was started.
    ///
    /// # Panics
    /// After half a thousand million years.
    pub fn ms(&self) -> u64 {
        self.zero_ms + u64::try_from(self.zero.elapsed().as_millis()).expect("fewer milliseconds than that")
    }

    /// Waits for the time at which a machine wants to be woken: for ever, if there is none.
    pub async fn reaches(self, due_ms: Option<u64>) {
        match due_ms {
            Some(due) => sleep_until(self.zero + Duration::from_millis(due.saturating_sub(self.zero_ms))).await,
            None => std::future::pending().await,
        }
    }
}

/// Which start of this machine this is: in another, [`Clock::of_this_machine`] showed other times. Where the system does not
/// say, no two processes agree on it.
pub fn boot() -> u64 {
    boot_id().unwrap_or_else(crate::random)
}

#[cfg(not(madsim))]
fn uptime_ms() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1000 + hundredths.parse::<u64>().ok()? * 10)
}

#[cfg(not(madsim))]
fn boot_id() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&digits, 16).ok()
}

/// A simulated machine is started once.
#[cfg(madsim)]
fn uptime_ms() -> Option<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.ok()?.as_millis()).ok()
}

#[cfg(madsim)]
fn boot_id() -> Option<u64> {
    Some(1)
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_processes_on_one_machine_read_one_clock() {
        let (earlier, later) = (Clock::of_this_machine(), Clock::of_this_machine());
        let apart = later.ms().abs_diff(earlier.ms());
        assert!(earlier.ms() > 0 && apart <= 1000, "{earlier:?} and {later:?} are {apart} ms apart");
        assert_eq!(boot(), boot(), "and agree on which start of the machine they read it in");
        // What is due already is not waited for.
        later.reaches(Some(earlier.ms())).await;
    }
}

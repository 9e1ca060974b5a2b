//! What follows when a task ends by itself.

use super::Millis;

/// When a task that ended by itself is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestartPolicy {
    /// Whatever its exit code. The only policy of a service.
    Always,
    /// When it failed.
    OnFailure,
    /// Never. The default of a task definition.
    Never,
}

/// What follows when a task ends by itself: the n-th failure in a row is followed after
/// `initial × 2^(n-1)`, at most `max`, plus jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Restart {
    /// When another attempt follows at all.
    pub policy: RestartPolicy,
    /// The first delay.
    pub backoff_initial: Millis,
    /// The longest delay.
    pub backoff_max: Millis,
    /// A task that ran this long before it ended starts the row again.
    pub reset_after: Millis,
    /// At most so many hundredths of the delay are added to it at random; `None`: an eighth.
    pub jitter_percent: Option<u32>,
}

impl Restart {
    /// The documented defaults with the given policy.
    pub fn with_policy(policy: RestartPolicy) -> Restart {
        Restart {
            policy,
            backoff_initial: Millis::secs(1),
            backoff_max: Millis::secs(300),
            reset_after: Millis::secs(600),
            jitter_percent: None,
        }
    }
    /// The most that is added at random to a delay.
    pub fn jitter_max(&self, delay: Millis) -> Millis {
        Millis(self.jitter_percent.map_or(delay.0 / 8, |percent| delay.0.saturating_mul(percent.into()) / 100))
    }
    /// The delay after `failures` in a row (at least one), without jitter.
    pub fn delay(&self, failures: u32) -> Millis {
        let doubled = 1u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
        Millis(self.backoff_initial.0.saturating_mul(doubled).min(self.backoff_max.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_never_overflow() {
        let restart = Restart::with_policy(RestartPolicy::Always);
        let delays: Vec<u64> = [1, 2, 3, 9, 10, 64, 65, u32::MAX].map(|n| restart.delay(n).0 / 1000).to_vec();
        assert_eq!(delays, [1, 2, 4, 256, 300, 300, 300, 300]);
    }
}

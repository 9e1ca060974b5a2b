//! Resources in whole units: thousandths of a processor and bytes.

use std::fmt;

/// An amount of processor time and memory: what a task requests or a node can give.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resources {
    /// Thousandths of a processor (`250m` is 250).
    pub cpu_millis: u64,
    /// Bytes.
    pub memory_bytes: u64,
}

impl Resources {
    /// Nothing.
    pub const ZERO: Resources = Resources { cpu_millis: 0, memory_bytes: 0 };

    /// Whether `self` is at most `other` in every resource.
    pub fn fits_in(self, other: Resources) -> bool {
        self.cpu_millis <= other.cpu_millis && self.memory_bytes <= other.memory_bytes
    }
    /// The sum, capped at the largest number.
    pub fn plus(self, other: Resources) -> Resources {
        Resources {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }
    /// What remains of `self` without `other`, zero where `other` is larger.
    pub fn minus(self, other: Resources) -> Resources {
        Resources {
            cpu_millis: self.cpu_millis.saturating_sub(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
        }
    }
    /// The larger of both, resource by resource.
    pub fn max_of(self, other: Resources) -> Resources {
        Resources {
            cpu_millis: self.cpu_millis.max(other.cpu_millis),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
        }
    }
    /// `self` without `other`; asserts that `other` is contained in it.
    ///
    /// # Panics
    /// If more is given back than was taken: our own bug, never a user's.
    pub fn release(self, other: Resources) -> Resources {
        assert!(other.fits_in(self), "released {other} of {self}");
        self.minus(other)
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}m/{}", self.cpu_millis, Bytes(self.memory_bytes))
    }
}
impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes as a person writes them in a manifest: `128Mi`, `1Gi`, `1000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (shift, suffix) in [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")] {
            if self.0 >= 1 << shift && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{suffix}", self.0 >> shift);
            }
        }
        // Not a whole number of any unit: in mebibytes where that is near enough to read.
        if self.0 >= 1 << 30 { write!(f, "{}Mi", self.0 >> 20) } else { write!(f, "{}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_as_a_person_wrote_them() {
        let text = |n| Bytes(n).to_string();
        assert_eq!(text(128 << 20), "128Mi");
        assert_eq!(text(1 << 30), "1Gi");
        assert_eq!(text(1000), "1000");
        assert_eq!(text((25 << 30) + 1), "25600Mi");
    }

    #[test]
    #[should_panic(expected = "released")]
    fn giving_back_more_than_was_taken_is_our_bug() {
        Resources::ZERO.release(Resources { cpu_millis: 1, memory_bytes: 0 });
    }
}

//! What the shells of manager and worker share. Nothing here knows of clusters, tasks or nodes.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod blocking;
mod buggify;
mod clock;
mod owned;
pub mod plain;
#[cfg(all(feature = "program", not(madsim)))]
pub mod program;
pub mod supervisor;

pub use blocking::{BlockingExecutor, TokioBlocking, call};
pub use buggify::buggify;
pub use clock::{Clock, boot};
pub use owned::Owned;

use std::hash::{BuildHasher, RandomState};

/// 64 bits that no other process draws: the standard library seeds its hash tables from the
/// system's randomness. Not for secrets.
pub fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// 128 bits that nobody guesses.
///
/// # Panics
/// When the system has no randomness to give: nothing that is to be kept from others can be done then.
pub fn secret() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system gives randomness");
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn no_secret_is_drawn_twice_nor_follows_from_another() {
        let drawn: BTreeSet<u128> = (0..1000).map(|_| u128::from_le_bytes(super::secret())).collect();
        assert_eq!(drawn.len(), 1000);
        // All bits are random: none is the same in all of them.
        let (all, any) = drawn.iter().fold((u128::MAX, 0), |(all, any), it| (all & it, any | it));
        assert_eq!((all, any), (0, u128::MAX));
    }
}

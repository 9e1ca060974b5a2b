//! What the shells of manager and worker share. Nothing here knows of clusters, tasks or nodes.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod blocking;
mod buggify;
pub mod plain;
#[cfg(all(feature = "program", not(madsim)))]
pub mod program;
pub mod supervisor;

pub use blocking::{BlockingExecutor, TokioBlocking, call};
pub use buggify::buggify;

use std::hash::{BuildHasher, RandomState};

/// 64 bits that no other process draws: the standard library seeds its hash tables from the
/// system's randomness. Not for secrets.
pub fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

//! The manager's shell: it carries out what the core's manager machine decides.
//!
//! It holds no branch on the state of a task or a node: every decision, retry and timer is the
//! machine's. What differs between production and simulation comes from outside, in [`Parts`]: the
//! storage, the executor for blocking work, the seeds. Requests come in through the [`ManagerHandle`], of
//! which the REST API is one user; workers come in through [`sessions`].
//!
//! Storage and consensus are apart: `orbit-consensus` says what is to be written and what is committed, and
//! [`consensus`] is the shell around it. There is one manager, so it elects itself at start, and everything
//! durable is committed.

#![forbid(unsafe_code)]

#[cfg(all(feature = "daemon", not(madsim)))]
pub mod backup;
mod compaction;
pub mod consensus;
#[cfg(all(feature = "daemon", not(madsim)))]
pub mod daemon;
mod driver;
mod feed;
mod handle;
#[cfg(all(feature = "daemon", not(madsim)))]
pub mod http;
mod input;
mod metrics;
mod notice;
mod reader;
pub mod sessions;
mod tally;
pub mod views;

pub use driver::{Error, Parts, start};
pub use handle::{ANSWER_MAX, Exec, LogPiece, ManagerHandle};
pub use input::Replied;

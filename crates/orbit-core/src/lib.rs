//! Orbit's pure core: it decides, and never carries out what it decides.
//!
//! It holds two state machines, [`manager::Manager`] and [`worker::Worker`]. Each is a function of
//! its inputs: `step(now, event) -> actions`. Neither reads a clock, touches a disk or a socket, or
//! draws ambient randomness, so the same events give the same bytes in any process. The shells
//! (`orbit-manager`, `orbit-worker`) drive the machines with real adapters; `sim` drives them with a seed.
//!
//! The two machines never call each other. They share the types of [`model`] and exchange messages.
//!
//! [`state`] is the replicated state machine, which each replica of the log applies. [`manager`] is what
//! only the leader remembers. `crates/ARCHITECTURE.md` is the map, with a glossary of the words used here.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![deny(clippy::float_arithmetic, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod cost;
pub mod manager;
pub mod model;
pub mod reconciler;
pub mod scheduler;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod worker;

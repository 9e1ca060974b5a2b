//! Orbit's pure core: what the control plane decides, and nothing of how it is carried out.
//!
//! Two state machines live here, [`manager::Manager`] and [`worker::Worker`]. Each is a function of
//! its inputs: `step(now, event) -> actions`. Neither reads a clock, touches a disk or a socket, or
//! draws ambient randomness; the same events give the same bytes in any process. The shells
//! (`orbit-manager`, `orbit-worker`) drive them with real adapters, `sim` drives them with a seed.
//!
//! The two machines never call each other: they share [`model`] and meet on the wire.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![deny(clippy::float_arithmetic, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod cost;
pub mod manager;
pub mod model;
pub mod planted;
pub mod reconciler;
pub mod scheduler;
pub mod state;
pub mod worker;

//! A container engine that is nothing but a value.
//!
//! [`FakeEngine`] knows neither clock nor randomness nor threads, so a simulated world can own it
//! and ask it afterwards what really ran. [`FakeRuntime`] puts it behind
//! [`ContainerRuntime`](crate::ContainerRuntime), with latencies on tokio's clock, the real one or
//! the simulated one.

mod engine;
mod runtime;

pub use engine::*;
pub use runtime::*;

//! A container engine that is nothing but a value.
//!
//! [`FakeEngine`] knows neither clock nor randomness nor threads, so a simulated world can own it
//! and ask it afterwards what really ran. [`FakeRuntime`] puts it behind
//! [`ContainerRuntime`](crate::ContainerRuntime), with latencies on tokio's clock, the real one or
//! the simulated one.

mod container;
mod engine;
mod fault;
mod image;
mod runtime;

pub use container::{FakeContainer, Lives, Program};
pub use engine::{FakeEngine, MEMORY_LIMIT_MIN_BYTES};
pub use fault::Fault;
pub use image::{FakeImage, ImagePlace};
pub use runtime::{FakeRuntime, Latency};

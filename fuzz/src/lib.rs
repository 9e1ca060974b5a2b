//! What is done with a fuzzer's bytes. Each function takes any bytes at all and panics only where
//! Orbit has a bug.
//!
//! The bodies live in this library and not in the fuzzer's programs (`fuzz/targets`), so that every
//! compiler can replay what the fuzzer has found: `tests/replay.rs` runs the whole kept corpus, and
//! `cargo run -p orbit-fuzz -- TARGET FILE` one input.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod bytes;
mod compose;
mod draws;
mod entries;
mod http;
mod manager;
mod manifest;
mod session;
mod wire;
mod worker;

pub use compose::compose;
pub use entries::entries;
pub use http::http;
pub use manager::manager;
pub use manifest::manifest;
pub use session::session;
pub use wire::wire;
pub use worker::worker;

/// A target's body.
pub type Body = fn(&[u8]);

/// Every target, by name.
pub const TARGETS: [(&str, Body); 8] = [
    ("manager", manager),
    ("worker", worker),
    ("entries", entries),
    ("manifest", manifest),
    ("wire", wire),
    ("session", session),
    ("http", http),
    ("compose", compose),
];

//! Properties over random streams of events, each checked after every step against a model that
//! recomputes everything from scratch. Names are those of the invariants.

mod managing;
mod working;

use proptest::test_runner::Config;

fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// A random deed: what it is, and what it draws from.
type Deed = (u8, u8, u8, u8);

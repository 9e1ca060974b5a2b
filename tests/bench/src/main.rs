//! `make bench`: each figure with its goal, and with what it was measured against in the same run.
//! Nothing is asserted: a machine's speed is not a property of the code.
//!
//! `orbit-bench [core|submit|start|idle]…`; without a name, all of them.

#![forbid(unsafe_code)]

mod core;
mod daemons;
mod idle;
mod report;
mod start;
mod submit;

fn main() {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|n| n == name);
    report::head();
    if wanted("core") {
        core::run();
    }
    if wanted("submit") {
        submit::run();
    }
    if wanted("idle") {
        idle::run();
    }
    if wanted("start") {
        start::run();
    }
}

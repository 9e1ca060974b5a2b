//! The shipped binaries as a user has them: the manager, workers and the command line as processes,
//! on a real Docker engine.
//!
//! What a test claims of containers it has from the engine itself. Conditions are waited for, never
//! times. Without an engine, what needs one says so and passes (`ORBIT_REQUIRE_ENGINE=1`: fails).

#![forbid(unsafe_code)]

mod allow;
mod cli;
mod daemons;
mod dev;
mod disconnect;
mod endpoints;
mod failure;
mod health;
mod input;
mod machine;
mod monitoring;
mod openapi;
mod order;
mod person;
mod pull;
mod rest;
mod rollout;
mod service;
mod snapshot;
mod state_dir;
mod task;
mod undo;
mod upgrade;
mod volumes;

use orbit_tests::{Container, IMAGE};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A service of the example web server, small enough that many fit.
fn web(name: &str, replicas: u32) -> Value {
    json!({
        "kind": "Service", "name": name, "replicas": replicas, "image": IMAGE,
        "resources": { "cpu": "50m", "memory": "32Mi" },
        "ports": [{ "name": "http", "container": 80 }],
        "restart": { "backoff": { "initial": "100ms", "max": "1s" } },
        "update": { "min_healthy": "0s" },
        "stop": { "grace": "2s" },
    })
}

/// A task that runs a sub-command of the example.
fn task(name: &str, args: &[&str]) -> Value {
    json!({
        "kind": "Task", "name": name, "image": IMAGE, "args": args,
        "resources": { "cpu": "50m", "memory": "32Mi" }, "stop": { "grace": "2s" },
    })
}

/// What makes a container the same one, by name.
fn identities(containers: &[Container]) -> BTreeMap<String, (String, i64, String, i64)> {
    let identity = |c: &Container| (c.id.clone(), c.pid, c.started_at.clone(), c.restart_count);
    containers.iter().map(|c| (c.name.clone(), identity(c))).collect()
}

/// Objects without their times: those are reckoned back from the newest entry's clocks, and are off
/// by a millisecond at times.
fn timeless(mut items: Value) -> Value {
    for item in items.as_array_mut().expect("a list has items").iter_mut() {
        item.as_object_mut().expect("an item is an object").retain(|key, _| !key.ends_with("_at"));
    }
    items
}

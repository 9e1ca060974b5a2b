//! The shipped binaries on several hosts, each with an engine of its own: what happens when an engine
//! dies, a cable is pulled, a machine is copied.
//!
//! What a test claims of containers it has from the engines themselves. Conditions are waited for, never
//! times. Where hosts cannot be made (no root), a test says so and passes (`ORBIT_REQUIRE_ENGINE=1`: fails).

#![forbid(unsafe_code)]

mod drain;
mod engines;
mod network;
mod twins;

use orbit_tests::{Cluster, Container, IMAGE};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A service of the example web server, the same number on each host.
fn web(replicas: u32) -> Value {
    json!({
        "kind": "Service", "name": "web", "replicas": replicas, "image": IMAGE,
        "resources": { "cpu": "50m", "memory": "32Mi" },
        "ports": [{ "name": "http", "container": 80 }],
        "placement": { "strategy": "spread" },
        "restart": { "backoff": { "initial": "100ms", "max": "1s" } },
        "update": { "min_healthy": "0s" },
        "stop": { "grace": "2s" },
    })
}

/// What makes a container the same one that was never started again.
fn lives(containers: &[Container]) -> BTreeSet<(String, i64, String)> {
    containers.iter().map(|c| (c.id.clone(), c.pid, c.started_at.clone())).collect()
}

/// The ID that a node's containers carry.
fn on(cluster: &Cluster, node: &str) -> String {
    cluster.nodes().into_iter().find(|n| n.name == node).expect("it has registered").uid
}

//! A rolling update of twenty replicas, five at a time, against the engine alone that makes the same
//! stops and starts, five at a time.

use crate::{
    report::{line, median, scaled, seconds_until},
    tiny,
    visitor::Visitor,
};
use orbit_tests::{Cluster, Engine};
use serde_json::json;
use std::time::{Duration, Instant};

const REPLICAS: usize = 20;
const AT_A_TIME: usize = 5;
const ROUNDS: usize = 3;

pub fn run(engine: &Engine) {
    let cluster = Cluster::start(engine, 1);
    let mut version = 0;
    let mut roll = |update: serde_json::Value| {
        version += 1;
        let mut service = tiny::service("rolled", scaled(REPLICAS));
        service["env"] = json!({ "VERSION": version.to_string() });
        service["update"] = update;
        let begun = Instant::now();
        cluster.apply(&service);
        seconds_until("every replica is of the new version", begun, Duration::from_millis(20), || {
            let actual = cluster.service("rolled").map(|service| service.actual);
            actual.is_some_and(|it| [it.updated, it.running] == [scaled(REPLICAS) as u32; 2] && it.stopping == 0)
        })
    };
    let stop_first = json!({ "max_surge": 0, "max_unavailable": AT_A_TIME, "min_healthy": "0s" });
    let start_first = json!({ "max_surge": AT_A_TIME, "max_unavailable": 0, "min_healthy": "0s" });
    roll(start_first.clone());
    let (mut stopping, mut starting, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scaled(ROUNDS) {
        alone.push(tiny::replaced_alone(engine, scaled(REPLICAS), AT_A_TIME));
        stopping.push(roll(stop_first.clone()));
        starting.push(roll(start_first.clone()));
    }
    let alone = median(alone);
    for (name, seconds) in [("stop first", median(stopping)), ("start first", median(starting))] {
        line(
            &format!("rolling update of {REPLICAS}, {AT_A_TIME} at a time, {name}"),
            format!("{seconds:.2} s"),
            &format!("{:.2} s", 1.15 * alone),
            &format!("the engine alone, the same stops and starts: {alone:.2} s; ratio {:.2}", seconds / alone),
        );
    }
    visited(engine);
}

/// A start-first update under the eyes of somebody who uses the service. A task is listed once it answers, and one
/// that is told to stop serves for `stop.delay` longer, so that whoever was just sent to it is served.
fn visited(engine: &Engine) {
    let cluster = Cluster::start(engine, 1);
    let mut service = tiny::service("visited", scaled(REPLICAS));
    service["args"] = json!([]);
    service["ports"] = json!([{ "name": "http", "container": 80 }]);
    service["ready"] = json!({ "http": { "port": "http", "path": "/healthz" } });
    service["update"] = json!({ "max_surge": AT_A_TIME, "min_healthy": "0s" });
    service["stop"] = json!({ "delay": "500ms", "grace": "2s" });
    let mut roll = |version: u32| {
        service["env"] = json!({ "VERSION": version.to_string() });
        cluster.apply(&service);
        seconds_until("every replica is of the new version", Instant::now(), Duration::from_millis(20), || {
            let actual = cluster.service("visited").map(|service| service.actual);
            actual.is_some_and(|it| [it.updated, it.running] == [scaled(REPLICAS) as u32; 2] && it.stopping == 0)
        })
    };
    roll(1);
    let visitor = Visitor::of(&cluster, "visited");
    let seconds = roll(2);
    let visits = visitor.end();
    let why = if visits.failed > 0 { format!("; the first: {}", visits.why) } else { String::new() };
    line(
        "requests that failed during a start-first one",
        visits.failed.to_string(),
        "0",
        &format!("of {} through the listed endpoints in {seconds:.2} s{why}", visits.made),
    );
}

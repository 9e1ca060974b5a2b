//! A rolling update of twenty replicas, five at a time, against the engine alone that makes the same
//! stops and starts, five at a time.

use crate::{
    report::{line, median, seconds_until},
    tiny,
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
        let mut service = tiny::service("rolled", REPLICAS);
        service["env"] = json!({ "VERSION": version.to_string() });
        service["update"] = update;
        let begun = Instant::now();
        cluster.apply(&service);
        seconds_until("every replica is of the new version", begun, Duration::from_millis(20), || {
            let actual = cluster.service("rolled").map(|service| service.actual);
            actual.is_some_and(|it| [it.current, it.running] == [REPLICAS as u32; 2] && it.stopping == 0)
        })
    };
    let stop_first = json!({ "max_surge": 0, "max_unavailable": AT_A_TIME, "min_healthy": "0s" });
    let start_first = json!({ "max_surge": AT_A_TIME, "max_unavailable": 0, "min_healthy": "0s" });
    roll(start_first.clone());
    let (mut stopping, mut starting, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(tiny::replaced_alone(engine, REPLICAS, AT_A_TIME));
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
}

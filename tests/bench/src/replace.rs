//! A container is killed: how soon its replacement runs.

use crate::{
    report::{line, median, scaled},
    tiny,
};
use bollard::{models::EventMessage, query_parameters::EventsOptionsBuilder};
use futures_util::StreamExt;
use orbit_tests::{Cluster, Engine, block_on};
use serde_json::json;
use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

const ROUNDS: usize = 7;
const NAME: &str = "bench-replace";
/// The shortest that may be asked for.
const BACKOFF: Duration = Duration::from_millis(100);

/// From the engine's `die` to the `start` of the replacement, both by the engine's own clock, less the
/// backoff. What the backoff is lengthened by at random, up to an eighth, is not taken off.
pub fn run(engine: &Engine) {
    let cluster = Cluster::start(engine, 1);
    let mut service = tiny::service(NAME, 1);
    let backoff = format!("{}ms", BACKOFF.as_millis());
    service["restart"] = json!({ "policy": "always", "backoff": { "initial": backoff, "max": backoff } });
    cluster.apply(&service);
    cluster.wait_running(NAME, 1);
    let (mut ours, mut engines, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scaled(ROUNDS) {
        let alone = tiny::alone(engine, 1);
        let orbit = replaced(&cluster, engine) - BACKOFF.as_secs_f64();
        ours.push(orbit * 1000.0);
        engines.push(alone * 1000.0);
        ratios.push(orbit / alone);
    }
    let against = format!(
        "{:.0} ms less the backoff of {backoff}, the engine's own create + start {:.0} ms; from its events; median of {ROUNDS} pairs",
        median(ours),
        median(engines)
    );
    line("die to the replacement running, of a start", format!("{:.2} x", median(ratios)), "1.2 x", &against);
}

/// Seconds from a container's end to the start of the next.
fn replaced(cluster: &Cluster, engine: &Engine) -> f64 {
    let since = SystemTime::now();
    let old = &cluster.running_containers(NAME)[0];
    engine.kill(&old.id);
    cluster.wait_for("another runs", || {
        let found = cluster.running_containers(NAME);
        if found.iter().any(|new| new.id != old.id) { Ok(()) } else { Err(format!("{found:?}")) }
    });
    let events = events_of(engine, old.label("orbit.node"), since);
    let at = |action: &str, of_old: bool| {
        let is = |event: &&EventMessage| {
            event.action.as_deref() == Some(action)
                && (event.actor.as_ref().and_then(|actor| actor.id.as_ref()) == Some(&old.id)) == of_old
        };
        events.iter().find(is).and_then(|event| event.time_nano).expect("the engine told it")
    };
    (at("start", false) - at("die", true)) as f64 / 1e9
}

/// What happened on a node since.
fn events_of(engine: &Engine, node: &str, since: SystemTime) -> Vec<EventMessage> {
    let seconds = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).expect("it is later than that");
        format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
    };
    let filters = HashMap::from([
        ("type", vec!["container".to_string()]),
        ("label", vec![format!("orbit.node={node}")]),
        ("event", vec!["die".to_string(), "start".to_string()]),
    ]);
    let options = EventsOptionsBuilder::default().since(&seconds(since)).until(&seconds(SystemTime::now()));
    let events = engine.docker.events(Some(options.filters(&filters).build()));
    block_on(events.filter_map(|event| async { event.ok() }).collect())
}

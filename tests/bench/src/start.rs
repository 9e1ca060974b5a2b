//! Fifty and a hundred tiny containers, through Orbit and through the engine's own API, in turn.

use crate::{
    report::{line, median, scaled, seconds_until},
    tiny,
};
use orbit_tests::{Cluster, Engine};
use std::time::{Duration, Instant};

const PAIRS: usize = 5;
const NAME: &str = "bench-start";

/// Five interleaved pairs of each, on the engine's default network.
pub fn run(engine: &Engine) {
    let cluster = Cluster::start(engine, 1);
    for containers in [50, 100].map(scaled) {
        let (mut ours, mut engines, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..scaled(PAIRS) {
            let alone = tiny::alone(engine, containers);
            let orbit = through_orbit(&cluster, containers);
            ours.push(containers as f64 / orbit);
            engines.push(containers as f64 / alone);
            ratios.push(alone / orbit);
        }
        let against = format!(
            "{:.1}/s, the engine's own API {:.1}/s; median of {PAIRS} interleaved pairs",
            median(ours),
            median(engines)
        );
        let figure = format!("{containers} tiny containers running, of the engine's rate");
        line(&figure, format!("{:.2}", median(ratios)), "0.97", &against);
    }
}

/// Seconds from the submission until all are seen running; then all are removed.
fn through_orbit(cluster: &Cluster, containers: usize) -> f64 {
    let begun = Instant::now();
    cluster.apply(&tiny::service(NAME, containers));
    let running = || cluster.service(NAME).is_some_and(|service| service.actual.running as usize == containers);
    let seconds = seconds_until("all run", begun, Duration::from_millis(20), running);
    cluster.delete(&format!("/v1/services/{NAME}"));
    seconds_until("all are gone", Instant::now(), Duration::from_millis(100), || cluster.containers().is_empty());
    seconds
}

//! A node falls silent: how soon what it ran runs elsewhere, with the default timing.

use crate::{
    report::{line, scaled, seconds_until},
    tiny,
};
use orbit_core::model::Timing;
use orbit_tests::{Cluster, Engine};
use serde_json::json;
use std::time::{Duration, Instant};

const NODES: usize = 3;
const TASKS_PER_NODE: usize = 9;
const NAME: &str = "bench-cut";
const LOOK: Duration = Duration::from_millis(20);

/// Three nodes on one engine. One is a third of them, so the brake does not hold.
pub fn run(engine: &Engine) {
    let cluster = Cluster::start(engine, NODES);
    let tasks = NODES * scaled(TASKS_PER_NODE);
    let mut service = tiny::service(NAME, tasks);
    service["placement"] = json!({ "strategy": "spread" });
    cluster.apply(&service);
    cluster.wait_running(NAME, tasks);
    let cut = &cluster.workers[0];
    let on_cut = |node: &Option<String>| node.as_deref() == Some(cut.name.as_str());
    let lost = cluster.running(NAME).iter().filter(|task| on_cut(&task.node)).count();

    let begun = Instant::now();
    fall_silent(&cluster);
    let elsewhere = || cluster.running(NAME).iter().filter(|task| !on_cut(&task.node)).count() == tasks;
    let seconds = seconds_until("all run elsewhere", begun, LOOK, elsewhere);

    let begun = Instant::now();
    come_back(&cluster);
    let stale_gone = || cluster.running_containers(NAME).len() == tasks;
    let healed = seconds_until("what was replaced is gone", begun, LOOK, stale_gone);

    let alone = tiny::alone(engine, lost);
    let waited = Timing::default().replace_after.0 as f64 / 1000.0;
    let against = format!(
        "{waited:.0} s after the last heartbeat by default; the engine starts {lost} in {alone:.2} s, {:.2} x that; stale ones gone {healed:.1} s after the heal",
        (seconds - waited) / alone
    );
    line(&format!("node silent, its {lost} tasks run elsewhere"), format!("{seconds:.2} s"), "12 s", &against);
}

/// Its process stands still and its connection stays open: what a cut cable looks like from the manager.
fn fall_silent(cluster: &Cluster) {
    cluster.workers[0].daemon.suspend();
}

fn come_back(cluster: &Cluster) {
    cluster.workers[0].daemon.resume();
}

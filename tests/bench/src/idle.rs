//! What the daemons cost when nothing happens.

use crate::report::{lasting, line, median, resident_bytes, scaled, seconds_until};
use orbit_tests::{Cluster, Engine};
use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

const STARTS: usize = 5;

/// Time to readiness, and resident memory.
pub fn run(engine: &Engine) {
    let mut cluster = Cluster::without_engine();
    let ready: Vec<f64> = (0..scaled(STARTS)).map(|_| start_anew(&mut cluster) * 1000.0).collect();
    drop(cluster);
    let cluster = Cluster::start(engine, 1);
    sleep(lasting(Duration::from_secs(5)));
    let mib = |pid| format!("{:.1} MB", resident_bytes(pid) as f64 / 1e6);
    line(
        "manager, from exec to /readyz",
        format!("{:.1} ms", median(ready)),
        "50 ms",
        &format!("median of {STARTS} starts with an empty log"),
    );
    line(
        "manager, resident memory idle",
        mib(cluster.manager.pid()),
        "30 MB",
        "after five idle seconds with one worker",
    );
    line("worker, resident memory idle", mib(cluster.workers[0].daemon.pid()), "20 MB", "the same");
}

/// Seconds from the manager's exec with an empty log to its `/readyz`.
fn start_anew(cluster: &mut Cluster) -> f64 {
    cluster.manager.kill();
    fs::remove_dir_all(cluster.manager_dir()).expect("the state can be removed");
    let begun = Instant::now();
    cluster.manager.start();
    let ready = || cluster.ask("GET", "/readyz", "").is_ok_and(|answer| answer.status == 200);
    seconds_until("the manager is ready", begun, Duration::from_micros(500), ready)
}

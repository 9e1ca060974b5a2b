//! What the daemons cost when nothing happens.

use crate::{
    daemons::Daemons,
    report::{line, median, resident_bytes},
};
use std::{thread::sleep, time::Duration};

/// Time to readiness, and resident memory.
pub fn run() {
    let ready: Vec<f64> = (0..5).map(|_| Daemons::manager().ready_after.as_secs_f64() * 1000.0).collect();
    let mut daemons = Daemons::manager();
    daemons.add_worker();
    sleep(Duration::from_secs(5));
    let mib = |pid| format!("{:.1} MB", resident_bytes(pid) as f64 / 1e6);
    let worker = daemons.worker.as_ref().map_or(0, |worker| worker.id());
    line(
        "manager, from exec to /readyz",
        format!("{:.1} ms", median(ready)),
        "50 ms",
        "median of five starts with an empty log",
    );
    line(
        "manager, resident memory idle",
        mib(daemons.manager.id()),
        "30 MB",
        "after five idle seconds with one worker",
    );
    line("worker, resident memory idle", mib(worker), "20 MB", "the same");
}

//! A daemon is killed and started again: how soon it serves, and whether anything that ran was touched.

use crate::{
    report::{line, seconds_until},
    tiny,
};
use orbit_tests::{Cluster, Container, Engine};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

const TASKS: usize = 20;
const NAME: &str = "bench-restart";
const LOOK: Duration = Duration::from_millis(1);
/// Time to do something rash, after all is well again.
const SETTLES: Duration = Duration::from_secs(3);

/// The manager, then the worker, by SIGKILL and with its tasks running.
pub fn run(engine: &Engine) {
    let mut cluster = Cluster::start(engine, 1);
    cluster.apply(&tiny::service(NAME, TASKS));
    let before = cluster.wait_running(NAME, TASKS);
    let anew = tiny::alone(engine, TASKS);

    let registered = registered_at(&cluster);
    let begun = Instant::now();
    cluster.manager.kill();
    cluster.manager.start();
    let ready = || cluster.ask("GET", "/readyz", "").is_ok_and(|answer| answer.status == 200);
    let seconds = seconds_until("the manager serves", begun, LOOK, ready);
    let registers = || registered_at(&cluster).is_some_and(|at| Some(at) != registered);
    seconds_until("the worker is back", begun, LOOK, registers);
    tell("manager killed, serving again", seconds, anew, &before, &cluster);

    let registered = registered_at(&cluster);
    let begun = Instant::now();
    cluster.workers[0].daemon.kill();
    cluster.workers[0].daemon.start();
    let registers = || registered_at(&cluster).is_some_and(|at| Some(at) != registered);
    let seconds = seconds_until("the worker is back", begun, LOOK, registers);
    tell("worker killed, registered again", seconds, anew, &before, &cluster);
}

fn registered_at(cluster: &Cluster) -> Option<String> {
    let ready = cluster.nodes().into_iter().find(|node| node.state == "ready");
    ready.map(|node| node.registered_at)
}

fn tell(figure: &str, seconds: f64, anew: f64, before: &[Container], cluster: &Cluster) {
    sleep(SETTLES);
    let after = cluster.containers();
    let kept = before.iter().filter(|container| after.contains(container)).count();
    let replaced = after.len() - kept;
    let against = format!(
        "since the kill; {kept} of {TASKS} containers as they were, {replaced} new; to start them anew takes the engine {anew:.2} s ({:.0} x)",
        anew / seconds
    );
    line(figure, format!("{seconds:.3} s"), "1 s", &against);
}

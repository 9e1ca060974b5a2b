//! A daemon is killed and started again: how soon it serves, and whether anything that ran was touched.

use crate::{
    report::{lasting, line, scaled, seconds_until},
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
    let tasks = scaled(TASKS);
    cluster.apply(&tiny::service(NAME, tasks));
    let before = cluster.wait_running(NAME, tasks);
    let anew = tiny::alone(engine, tasks);

    let heard = times_welcome(&cluster);
    let begun = Instant::now();
    cluster.manager.kill();
    cluster.manager.start();
    let ready = || cluster.ask("GET", "/readyz", "").is_ok_and(|answer| answer.status == 200);
    let seconds = seconds_until("the manager serves", begun, LOOK, ready);
    let registers = || times_welcome(&cluster) > heard;
    seconds_until("the worker is back", begun, LOOK, registers);
    tell("manager killed, serving again", seconds, anew, &before, &cluster);

    let heard = times_welcome(&cluster);
    let begun = Instant::now();
    cluster.workers[0].daemon.kill();
    cluster.workers[0].daemon.start();
    let registers = || times_welcome(&cluster) > heard;
    let seconds = seconds_until("the worker is back", begun, LOOK, registers);
    tell("worker killed, registered again", seconds, anew, &before, &cluster);
}

/// How often the worker said that it has a session.
fn times_welcome(cluster: &Cluster) -> usize {
    cluster.workers[0].daemon.log().matches("works for the manager").count()
}

fn tell(figure: &str, seconds: f64, anew: f64, before: &[Container], cluster: &Cluster) {
    sleep(lasting(SETTLES));
    let after = cluster.containers();
    let kept = before.iter().filter(|container| after.contains(container)).count();
    let replaced = after.len() - kept;
    let against = format!(
        "since the kill; {kept} of {} containers as they were, {replaced} new; to start them anew takes the engine {anew:.2} s ({:.0} x)",
        before.len(),
        anew / seconds
    );
    line(figure, format!("{seconds:.3} s"), "1 s", &against);
}

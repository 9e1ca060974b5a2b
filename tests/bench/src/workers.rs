//! A thousand real workers with fake engines, over real gRPC, against the real manager, whose `/metrics` are scraped
//! every second meanwhile: how soon fifty thousand tasks run, and how soon the fleet is back after it was cut off.

use crate::{
    fake,
    report::{SMOKE, cpu_seconds, lasting, line, scaled, seconds_until},
    tiny,
};
use futures_util::future::join_all;
use orbit_tests::{Cluster, Daemon, block_on};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const WORKERS: usize = 1000;
const TASKS_PER_WORKER: usize = 50;
const NAME: &str = "bench-workers";
const CUT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);
/// The argument with which this program is its own fleet.
pub const FLEET: &str = "--fleet";

/// The workers are one process of their own, which can be stopped as a whole: the manager sees a cut cable.
pub fn run() {
    let (cluster, workers) = (Cluster::without_engine(), scaled(WORKERS));
    let tasks = workers * TASKS_PER_WORKER;
    let begun = Instant::now();
    let program = std::env::current_exe().expect("this program has a path");
    let mut args = vec![FLEET.to_string(), cluster.workers_url()];
    args.extend((workers < WORKERS).then(|| SMOKE.to_string()));
    let mut fleet = Daemon::new(&program, args, cluster.scratch().join("fleet.log"));
    fleet.start();
    let registered = seconds_until("the fleet registers", begun, LOOK, || ready(&cluster) == workers);
    let scraping = Scraping::start(&cluster);

    let mut service = tiny::service(NAME, tasks);
    service["resources"] = json!({ "cpu": "10m", "memory": "16Mi" });
    service["placement"] = json!({ "strategy": "spread" });
    let cpu = || (cpu_seconds(cluster.manager.pid()), cpu_seconds(fleet.pid()));
    let (begun, before) = (Instant::now(), cpu());
    cluster.apply(&service);
    let seconds = seconds_until("all run", begun, LOOK, || running(&cluster) == tasks);
    let after = cpu();
    let against = format!(
        "{:.0} tasks/s; of that {:.1} s of a core in the manager and {:.1} s in the workers; {workers} workers register in {registered:.2} s",
        tasks as f64 / seconds,
        after.0 - before.0,
        after.1 - before.1,
    );
    line("1,000 workers, 50,000 tasks, until all run", format!("{seconds:.2} s"), "5 s", &against);

    fleet.suspend();
    thread::sleep(lasting(CUT));
    let lost = workers - ready(&cluster);
    fleet.resume();
    let begun = Instant::now();
    let seconds = seconds_until("the fleet is back", begun, LOOK, || ready(&cluster) == workers);
    let replaced = metric(&cluster, "orbit_task_restarts_total", "");
    let slowest = scraping.stop();
    let against = format!(
        "{lost} were unreachable; {replaced} tasks were replaced; slowest scrape of {} {:.0} ms",
        slowest.0,
        slowest.1 * 1000.0
    );
    line("all cut off for 20 s, until all are reachable", format!("{seconds:.2} s"), "10 s", &against);
}

/// The sum of a metric over those of its labels that hold `label`. Cheaper for the manager than any list.
fn metric(cluster: &Cluster, name: &str, label: &str) -> usize {
    let text = cluster.ask("GET", "/metrics", "").map_or_else(|_| String::new(), |answer| answer.text());
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
}

fn ready(cluster: &Cluster) -> usize {
    metric(cluster, "orbit_nodes{", "ready")
}

fn running(cluster: &Cluster) -> usize {
    metric(cluster, "orbit_tasks{", "\"running\"")
}

/// `/metrics`, once a second, as Prometheus would.
struct Scraping(Arc<AtomicBool>, thread::JoinHandle<(usize, f64)>);

impl Scraping {
    fn start(cluster: &Cluster) -> Scraping {
        let (stop, url) = (Arc::new(AtomicBool::new(false)), format!("{}/metrics", cluster.url()));
        let stopped = stop.clone();
        let scrape = move || {
            let (mut scrapes, mut slowest) = (0, 0.0f64);
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let answer = orbit_tests::ask("GET", &url, Vec::new()).expect("the metrics are answered");
                assert_eq!(answer.status, 200);
                (scrapes, slowest) = (scrapes + 1, slowest.max(begun.elapsed().as_secs_f64()));
                thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
            }
            (scrapes, slowest)
        };
        Scraping(stop, thread::spawn(scrape))
    }

    /// How many scrapes there were, and the seconds of the slowest.
    fn stop(self) -> (usize, f64) {
        self.0.store(true, Ordering::Relaxed);
        self.1.join().expect("scraping does not panic")
    }
}

/// What the process of the workers does, until it is killed.
pub fn fleet(manager: &str) {
    let worker = |n| fake::worker(format!("fake-{n}"), manager.to_string(), |fake| fake);
    block_on(async {
        let workers = (0..scaled(WORKERS)).map(|n| orbit_worker::run(worker(n), std::future::pending()));
        let ended = join_all(workers.map(tokio::spawn)).await;
        panic!("a worker ended: {:?}", ended.into_iter().flatten().find_map(Result::err));
    });
}

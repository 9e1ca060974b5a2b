//! All of ten thousand tasks, through the API and through the command line.

use crate::{
    report::{line, median, scaled, seconds_until},
    tiny,
};
use orbit_api::view::{List, Task};
use orbit_tests::Cluster;
use serde::{Deserialize, de::IgnoredAny};
use std::time::{Duration, Instant};

const TASKS: usize = 10_000;
const PAGE: usize = 1000;
const ROUNDS: usize = 9;
const NAME: &str = "bench-list";

/// Without a node all of them wait, and are listed like any others.
pub fn run() {
    let (cluster, tasks) = (Cluster::without_engine(), scaled(TASKS));
    cluster.apply(&tiny::service(NAME, tasks));
    let listed = || cluster.service(NAME).is_some_and(|service| service.actual.pending as usize == tasks);
    seconds_until("all are there", Instant::now(), Duration::from_millis(50), listed);

    let pages = all_pages(&cluster);
    let bytes: usize = pages.iter().map(Vec::len).sum();
    let parsed: Vec<List<Task>> =
        pages.iter().map(|page| serde_json::from_slice(page).expect("a page is a list")).collect();
    let write =
        || parsed.iter().map(|page| serde_json::to_vec(page).expect("a list is plain data").len()).sum::<usize>();
    let rounds = |work: &dyn Fn()| median((0..ROUNDS).map(|_| milliseconds(work)).collect());
    let api = rounds(&|| drop(all_pages(&cluster)));
    let written = rounds(&|| assert_eq!(write(), bytes, "what is read is written again"));
    let against = format!(
        "{:.1} MB, {:.1} x writing the same JSON in memory ({written:.1} ms); median of {ROUNDS}",
        bytes as f64 / 1e6,
        api / written
    );
    line("GET /v1/tasks of 10,000, in pages of 1,000", format!("{api:.1} ms"), "100 ms", &against);

    let table = rounds(&|| {
        let output = cluster.orbit(&["get", "tasks"], "");
        assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), tasks + 1, "a line each");
    });
    let against = format!("from exec to exit; {:.1} x those pages; median of {ROUNDS}", table / api);
    line("orbit get tasks of 10,000", format!("{table:.1} ms"), "100 ms", &against);
}

fn milliseconds(work: &dyn Fn()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1000.0
}

/// What of a page says where the next begins.
#[derive(Deserialize)]
struct Page {
    #[serde(rename = "items")]
    _items: IgnoredAny,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// The pages as they come, one after the other as the command line asks for them.
fn all_pages(cluster: &Cluster) -> Vec<Vec<u8>> {
    let (mut pages, mut from) = (Vec::new(), String::new());
    loop {
        let answer = cluster.ask("GET", &format!("/v1/tasks?limit={PAGE}{from}"), "").expect("the manager answers");
        let page: Page = serde_json::from_slice(&answer.body).expect("a page is a list");
        pages.push(answer.body);
        match page.next {
            Some(next) => from = format!("&continue={next}"),
            None => return pages,
        }
    }
}

//! A change is answered: how soon those who watch are told.

use crate::{
    report::{line, percentile, scaled},
    tiny,
};
use futures_util::StreamExt;
use orbit_tests::{Cluster, block_on, stream};
use std::time::Instant;
use tokio::{sync::oneshot, task::JoinHandle};

const CHANGES: usize = 500;
const WATCHERS: usize = 8;
const NAME: &str = "bench-watch";

/// When a watcher had been told everything up to each revision.
type Told = Vec<(u64, Instant)>;

/// One change after the other, and several watchers of the list that it is in.
pub fn run() {
    let cluster = Cluster::without_engine();
    cluster.apply(&tiny::service(NAME, 1));
    let watchers: Vec<_> = (0..WATCHERS).map(|_| watch(&cluster)).collect();
    let changes: Vec<_> = (0..scaled(CHANGES)).map(|n| change(&cluster, n)).collect();
    let last = changes.last().expect("there are some").revision;
    let told = watchers.into_iter().map(|(until, told)| {
        let _ = until.send(last);
        block_on(told).expect("a watcher neither panics nor is cancelled")
    });
    let told: Vec<Told> = told.collect();
    let milliseconds = |since: fn(&Change) -> Instant| {
        let late = |change: &Change| {
            let at = |told: &Told| told[told.partition_point(|(revision, _)| *revision < change.revision)].1;
            told.iter()
                .map(|told| at(told).saturating_duration_since(since(change)).as_secs_f64() * 1e3)
                .collect::<Vec<_>>()
        };
        changes.iter().flat_map(late).collect::<Vec<f64>>()
    };
    let answers = changes.iter().map(|change| (change.answered - change.asked).as_secs_f64() * 1e3).collect();
    let after_answer = percentile(milliseconds(|change| change.answered), 99);
    let after_request = percentile(milliseconds(|change| change.asked), 99);
    let answer = percentile(answers, 99);
    let against = format!(
        "p99 of {CHANGES} changes and {WATCHERS} watchers; from the request {after_request:.1} ms, {:.1} x its answer ({answer:.1} ms)",
        after_request / answer
    );
    line("watch, from the answer to the event", format!("{after_answer:.1} ms"), "20 ms", &against);
}

struct Change {
    asked: Instant,
    answered: Instant,
    revision: u64,
}

fn change(cluster: &Cluster, n: usize) -> Change {
    let (asked, body) = (Instant::now(), format!(r#"{{"replicas":{}}}"#, 2 + n % 2));
    let answer = cluster.ask("POST", &format!("/v1/services/{NAME}/scale"), &body).expect("the manager answers");
    let answered = Instant::now();
    let revision = answer.json()["revision"].as_u64().expect("a stored object has a revision");
    Change { asked, answered, revision }
}

/// Watches until it has been told of a revision that is named later.
fn watch(cluster: &Cluster) -> (oneshot::Sender<u64>, JoinHandle<Told>) {
    let (until, mut named) = oneshot::channel();
    let url = format!("{}/v1/services?watch=1", cluster.url());
    let mut events = block_on(stream(&url)).expect("the manager answers");
    let watching = async move {
        let (mut told, mut last, mut partial) = (Told::new(), None, Vec::new());
        while last.is_none_or(|last| told.last().is_none_or(|(revision, _)| *revision < last)) {
            tokio::select! { biased;
                chunk = events.next() => {
                    let chunk = chunk.expect("a watch does not end").expect("nor does it break");
                    let now = Instant::now();
                    partial.extend_from_slice(&chunk);
                    while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
                        let line: Vec<u8> = partial.drain(..=end).collect();
                        let id = line.strip_prefix(b"id: ").and_then(|id| std::str::from_utf8(id).ok()?.trim().parse().ok());
                        told.extend(id.map(|revision| (revision, now)));
                    }
                }
                revision = &mut named, if last.is_none() => last = Some(revision.expect("it is named")),
            }
        }
        told
    };
    let runtime = block_on(async { tokio::runtime::Handle::current() });
    (until, runtime.spawn(watching))
}

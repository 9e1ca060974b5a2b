//! A long log, read through manager and worker, and from the engine itself.

use crate::report::{line, median, scaled, seconds_until};
use futures_util::StreamExt;
use orbit_tests::{Cluster, Engine, IMAGE, block_on, stream};
use serde_json::json;
use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

const PAIRS: usize = 5;
const MEBIBYTES: usize = 128;

/// A container prints, and ends; then its log is read in turn.
pub fn run(engine: &Engine) {
    let cluster = Cluster::start(engine, 1);
    let submitted = cluster.apply(&json!({
        "kind": "Task", "name": "bench-logs", "image": IMAGE, "args": ["flood", scaled(MEBIBYTES).to_string()],
        "resources": { "cpu": "1", "memory": "64Mi" },
    }));
    let task = submitted["task"].as_str().expect("a submitted task has an attempt");
    let ended = || cluster.task(task).is_some_and(|task| task.ended_at.is_some());
    seconds_until("all is printed", Instant::now(), Duration::from_millis(50), ended);
    let container = cluster.containers().remove(0).id;
    // An engine keeps so much of a log as it was configured to.
    let bytes = payload(&from_engine(&container));
    let rate = |begun: Instant| bytes as f64 / 1e6 / begun.elapsed().as_secs_f64();
    let (mut ours, mut engines, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scaled(PAIRS) {
        let begun = Instant::now();
        let read = from_engine(&container);
        let alone = rate(begun);
        assert_eq!(payload(&read), bytes, "the whole log is read");
        let begun = Instant::now();
        let read = block_on(through_orbit(&cluster, task));
        let orbit = rate(begun);
        assert_eq!(read, bytes, "the whole log is read");
        ours.push(orbit);
        engines.push(alone);
        ratios.push(orbit / alone);
    }
    let against = format!(
        "{:.0} MB/s of a log of {:.0} MB, from the engine itself {:.0} MB/s; median of {PAIRS} interleaved pairs",
        median(ours),
        bytes as f64 / 1e6,
        median(engines)
    );
    line("logs, of reading them from the engine", format!("{:.2}", median(ratios)), "0.80", &against);
}

/// The engine's answer as it comes off its socket: nobody reads faster.
fn from_engine(container: &str) -> Vec<u8> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let path = host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock");
    let mut stream = UnixStream::connect(path).expect("the engine listens on a socket of this machine");
    // In the older version an answer ends with its connection, and is not cut into chunks.
    let request = format!("GET /containers/{container}/logs?stdout=1&stderr=1 HTTP/1.0\r\nHost: engine\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the engine listens");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the engine answers");
    answer
}

/// How many bytes of a log are in the engine's answer: each piece has a head of eight bytes, the last four
/// of which say how long it is.
fn payload(answer: &[u8]) -> usize {
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("an answer has a head");
    assert!(answer.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&answer[..head]));
    let (mut rest, mut bytes) = (&answer[head + 4..], 0);
    while let [_, _, _, _, a, b, c, d, after @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        bytes += length;
        rest = &after[length..];
    }
    bytes
}

async fn through_orbit(cluster: &Cluster, task: &str) -> usize {
    let mut chunks = stream(&format!("{}/v1/tasks/{task}/logs", cluster.url())).await.expect("a log");
    let mut bytes = 0;
    while let Some(chunk) = chunks.next().await {
        bytes += chunk.expect("the log does not break").len();
    }
    bytes
}

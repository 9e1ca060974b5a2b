//! A log without end, from a fake engine that gives it line by line as fast as it is taken, through a
//! real worker and a real manager; and whether heartbeats are heard meanwhile.

use crate::{
    fake,
    probe::Probe,
    report::{lasting, line, percentile, scaled},
    tiny,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use orbit_core::{
    model::{ExecRequest, LogRange, TaskId, Timing},
    worker::{Op, OpError, OpResult, Owner},
};
use orbit_runtime::{ContainerRuntime, EngineInfo, ExecInput, ExecOutput, LogChunk, fake::FakeRuntime};
use orbit_tests::{Cluster, block_on};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

const LASTS: Duration = Duration::from_secs(5);
const NAME: &str = "bench-flood";
const LINE: &[u8; 128] = &{
    let mut line = [b'x'; 128];
    line[127] = b'\n';
    line
};

/// Reads for some seconds; the manager is a process, the worker runs beside the reader.
pub fn run() {
    let cluster = Cluster::without_engine();
    let worker = spawn_worker(&cluster);
    cluster.wait_ready(1);
    cluster.apply(&tiny::service(NAME, 1));
    let task = cluster.wait_for("it runs", || cluster.running(NAME).pop().ok_or_else(|| "nothing".to_string())).id;
    let mut probe = block_on(Probe::connect(cluster.workers_url()));
    let quiet = block_on(probe.beat_for(lasting(LASTS)));
    let url = format!("{}/v1/tasks/{task}/logs", cluster.url());
    let (rate, loud) = block_on(async {
        let reading = tokio::spawn(async move { read_for(&url, lasting(LASTS)).await });
        let loud = probe.beat_for(lasting(LASTS)).await;
        (reading.await.expect("a reader neither panics nor is cancelled"), loud)
    });
    let unreachable = times_unreachable(&cluster);
    worker.abort();

    let bare = bare_rate();
    let against =
        format!("in lines of {} bytes; {:.2} x a bare loopback connection ({bare:.0} MB/s)", LINE.len(), rate / bare);
    line("logs, from the fake engine to the reader", format!("{rate:.0} MB/s"), "100 MB/s", &against);
    let heartbeat = Timing::default().heartbeat.0;
    let p99 = |times: &[f64]| percentile(times.to_vec(), 99);
    let against = format!(
        "p99 of {}, longest {:.1} ms, a node unreachable {unreachable} times; {:.1} x without logs ({:.2} ms)",
        loud.len(),
        percentile(loud.clone(), 100),
        p99(&loud) / p99(&quiet),
        p99(&quiet)
    );
    line(
        "heartbeat there and back while logs flow",
        format!("{:.1} ms", p99(&loud)),
        &format!("{heartbeat} ms"),
        &against,
    );
}

/// How often a node was taken for unreachable.
fn times_unreachable(cluster: &Cluster) -> usize {
    let events = cluster.ask("GET", "/v1/events?kind=node", "").expect("the manager answers").json();
    let events = events["items"].as_array().expect("a list has items").clone();
    events.iter().filter(|event| event["reason"] == "unreachable").count()
}

/// Megabytes a second.
async fn read_for(url: &str, span: Duration) -> f64 {
    let mut chunks = orbit_tests::stream(url).await.expect("a log");
    let (begun, mut bytes) = (Instant::now(), 0);
    while begun.elapsed() < span {
        bytes += chunks.next().await.expect("the log has no end").expect("nor does it break").len();
    }
    bytes as f64 / 1e6 / begun.elapsed().as_secs_f64()
}

fn spawn_worker(cluster: &Cluster) -> tokio::task::JoinHandle<Result<(), orbit_worker::Error>> {
    let parts = fake::worker("fake".to_string(), cluster.workers_url(), Flooding);
    let runtime = block_on(async { tokio::runtime::Handle::current() });
    runtime.spawn(orbit_worker::run(parts, std::future::pending()))
}

/// A fake whose containers never stop printing.
struct Flooding(FakeRuntime);

#[async_trait]
impl ContainerRuntime for Flooding {
    async fn perform(&self, op: Op) -> OpResult {
        self.0.perform(op).await
    }
    async fn info(&self) -> Result<EngineInfo, OpError> {
        self.0.info().await
    }
    fn hints(&self, owner: Owner) -> BoxStream<'static, Result<TaskId, OpError>> {
        self.0.hints(owner)
    }
    fn logs(&self, _: &str, _: LogRange) -> BoxStream<'static, Result<LogChunk, OpError>> {
        stream::repeat_with(|| Ok(LogChunk { stderr: false, bytes: Bytes::from_static(LINE) })).boxed()
    }
    fn exec(
        &self,
        name: &str,
        request: ExecRequest,
        input: BoxStream<'static, ExecInput>,
    ) -> BoxStream<'static, Result<ExecOutput, OpError>> {
        self.0.exec(name, request, input)
    }
}

/// Megabytes a second through one connection of this machine, with nothing at either end.
fn bare_rate() -> f64 {
    const PIECE: usize = 1 << 16;
    let total = scaled(1 << 30) / PIECE * PIECE;
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has ports");
    let address = listener.local_addr().expect("bound");
    let begun = Instant::now();
    let writer = thread::spawn(move || {
        let (mut stream, piece) = (TcpStream::connect(address).expect("it listens"), vec![b'x'; PIECE]);
        (0..total / PIECE).for_each(|_| stream.write_all(&piece).expect("it is read"));
    });
    let (mut stream, mut buffer, mut bytes) = (listener.accept().expect("it connects").0, vec![0; 1 << 16], 0);
    while bytes < total {
        bytes += stream.read(&mut buffer).expect("it is written");
    }
    writer.join().expect("it does not panic");
    bytes as f64 / 1e6 / begun.elapsed().as_secs_f64()
}

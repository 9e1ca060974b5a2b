//! Single submissions through REST, each answered only when it is durable.

use crate::report::{lasting, line};
use orbit_tests::Cluster;
use std::{
    fs::OpenOptions,
    io::Write,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const CONNECTIONS: usize = 64;
const LASTS: Duration = Duration::from_secs(5);

/// From 64 connections, one submission at a time on each.
pub fn run() {
    let cluster = Cluster::without_engine();
    let sync = sync_seconds(cluster.scratch());
    let address = cluster.address();
    // One thread: the processors are the manager's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (count, seconds) = runtime.block_on(async {
        let begun = Instant::now();
        let clients: Vec<_> = (0..CONNECTIONS).map(|n| tokio::spawn(submit(address, n))).collect();
        let mut count = 0;
        for client in clients {
            count += client.await.expect("a client neither panics nor is cancelled");
        }
        (count, begun.elapsed().as_secs_f64())
    });
    let rate = f64::from(count) / seconds;
    let against = format!(
        "{:.1} x one at a time at this disk's fdatasync of {:.2} ms ({:.0}/s)",
        rate * sync,
        sync * 1000.0,
        1.0 / sync
    );
    line("submissions, 64 connections, each durable", format!("{rate:.0}/s"), "10,000/s", &against);
}

/// Submits until the time is up; how many were accepted.
async fn submit(address: SocketAddr, client: usize) -> u32 {
    let mut stream = TcpStream::connect(address).await.expect("the manager listens");
    stream.set_nodelay(true).expect("a socket");
    let begun = Instant::now();
    let mut count = 0;
    let mut buffer = vec![0; 4096];
    while begun.elapsed() < lasting(LASTS) {
        let body = format!(r#"{{"kind":"Task","name":"bench-{client}-{count}","image":"web:1","args":["sleep"]}}"#);
        let request = format!(
            "POST /v1/tasks HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("the manager listens");
        let mut filled = 0;
        // An answer is one small JSON object: it ends with its closing brace.
        while filled == 0 || buffer[filled - 1] != b'}' {
            let read = stream.read(&mut buffer[filled..]).await.expect("the manager answers");
            assert!(read > 0, "the manager closed the connection");
            filled += read;
        }
        assert!(buffer.starts_with(b"HTTP/1.1 201"), "{}", String::from_utf8_lossy(&buffer[..filled]));
        count += 1;
    }
    count
}

/// What a small write and fdatasync take here: median of 200.
fn sync_seconds(dir: &Path) -> f64 {
    let mut file = OpenOptions::new().create(true).append(true).open(dir.join("sync")).expect("the state is writable");
    let times = (0..200).map(|_| {
        let begun = Instant::now();
        file.write_all(&[7; 4096]).and_then(|()| file.sync_data()).expect("the disk takes it");
        begun.elapsed().as_secs_f64()
    });
    crate::report::median(times.collect())
}

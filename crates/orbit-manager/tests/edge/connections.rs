//! Connections that say too little, and too many of them, on real sockets.

use crate::manager::Manager;
use orbit_manager::http::{self, connections::Limits};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

/// How long a condition is waited for before the test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

struct Served {
    manager: Manager,
    address: SocketAddr,
    close: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

async fn serve(limits: Limits) -> Served {
    let manager = Manager::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (close, closed) = oneshot::channel::<()>();
    let router = manager.router.clone();
    let served = tokio::spawn(http::serve(listener, router, limits, async { drop(closed.await) }));
    Served { manager, address, close, served }
}

fn limits(connections_max: usize, head_max: Duration) -> Limits {
    Limits { connections_max, of_a_peer_max: connections_max, head_max, stall_max: Duration::from_secs(3600) }
}

/// Writes, and reads until the other end closes.
async fn until_closed(address: SocketAddr, text: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut said)).await;
    // Reset is closed, too.
    let _ = read.expect("the manager closes it");
    String::from_utf8_lossy(&said).into_owned()
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

async fn healthy(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(HEALTH.as_bytes()).await.unwrap();
    wait_for(&mut socket, "200 OK").await;
    socket
}

/// Reads until something is said.
async fn wait_for(socket: &mut TcpStream, wanted: &str) {
    let mut said = String::new();
    while !said.contains(wanted) {
        let mut buffer = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, socket.read(&mut buffer)).await.expect("it comes in time").unwrap();
        assert!(read > 0, "it was closed after {said}");
        said += &String::from_utf8_lossy(&buffer[..read]);
    }
}

#[tokio::test]
async fn who_says_nothing_or_half_a_head_is_cut() {
    let served = serve(limits(100, Duration::from_millis(200))).await;
    assert_eq!(until_closed(served.address, "").await, "");
    until_closed(served.address, "GET /healthz HT").await;
    until_closed(served.address, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ").await;
    let kept = until_closed(served.address, HEALTH).await;
    assert!(kept.contains("200 OK"), "answered, kept for a while, and closed: {kept}");
}

#[tokio::test]
async fn silent_connections_keep_nobody_out_and_a_stream_is_not_cut_for_them() {
    let served = serve(limits(16, Duration::from_secs(3600))).await;
    let mut watching = TcpStream::connect(served.address).await.unwrap();
    watching.write_all(b"GET /v1/services?watch=1 HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    wait_for(&mut watching, "added").await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    let mut first = silent.remove(0);
    let mut nothing = [0; 1];
    let read = tokio::time::timeout(PATIENCE, first.read(&mut nothing)).await.expect("the oldest makes room");
    assert!(read.is_err() || read.is_ok_and(|read| read == 0));
    let kept = healthy(served.address).await;
    let scale = serde_json::json!({ "replicas": 2 });
    assert_eq!(served.manager.send("POST", "/v1/services/web/scale", &scale).await.status, 200);
    wait_for(&mut watching, "modified").await;
    drop((kept, silent));
}

#[tokio::test]
async fn a_stream_outlasts_the_time_for_a_head() {
    let head_max = Duration::from_millis(100);
    let served = serve(limits(16, head_max)).await;
    let mut watching = TcpStream::connect(served.address).await.unwrap();
    watching.write_all(b"GET /v1/services?watch=1 HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    wait_for(&mut watching, "added").await;
    // Three that begin later are cut one after the other.
    for _ in 0..3 {
        until_closed(served.address, "").await;
    }
    let scale = serde_json::json!({ "replicas": 2 });
    assert_eq!(served.manager.send("POST", "/v1/services/web/scale", &scale).await.status, 200);
    wait_for(&mut watching, "modified").await;
}

#[tokio::test]
async fn the_end_waits_for_answers_and_not_for_idle_connections() {
    let served = serve(limits(16, Duration::from_secs(3600))).await;
    let idle = healthy(served.address).await;
    let mut watching = TcpStream::connect(served.address).await.unwrap();
    watching.write_all(b"GET /v1/services?watch=1 HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    wait_for(&mut watching, "added").await;
    served.close.send(()).unwrap();
    let mut idle = idle;
    let read = tokio::time::timeout(PATIENCE, idle.read(&mut [0; 64])).await.expect("an idle one is closed at once");
    assert_eq!(read.unwrap(), 0);
    assert!(!served.served.is_finished(), "a watch is under way");
    drop(watching);
    tokio::time::timeout(PATIENCE, served.served).await.expect("then it ends").unwrap().unwrap();
}

/// A list of far more bytes than the sockets of both ends hold.
async fn ask_for_much(served: &Served) -> TcpStream {
    for n in 0..40 {
        let args = vec!["x".repeat(4000); 12];
        let web =
            serde_json::json!({ "kind": "Service", "name": format!("large-{n}"), "image": "web:1", "args": args });
        assert_eq!(served.manager.send("PUT", &format!("/v1/services/large-{n}"), &web).await.status, 201);
    }
    let mut socket = TcpStream::connect(served.address).await.unwrap();
    for _ in 0..20 {
        socket.write_all(b"GET /v1/services HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    }
    socket
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_cut_and_who_is_slow_is_not() {
    let stall_max = Duration::from_millis(300);
    let served = serve(Limits { stall_max, ..limits(16, Duration::from_secs(3600)) }).await;
    let mut gone = ask_for_much(&served).await;
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    slow.write_all(b"GET /v1/services HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    // It reads a little several times within that time, and for longer than that in all.
    let (mut taken, mut buffer, begun) = (0, vec![0; 4096], tokio::time::Instant::now());
    while begun.elapsed() < 3 * stall_max {
        taken += slow.read(&mut buffer).await.unwrap();
        tokio::time::sleep(stall_max / 10).await;
    }
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.expect("it was not cut");
    assert!(taken + rest.len() > 1_900_000, "the whole list");
    // By now the other end has given up: what the sockets hold comes, and then the end, long before twenty lists.
    let mut held = Vec::new();
    let read = tokio::time::timeout(PATIENCE, gone.read_to_end(&mut held)).await.expect("it was cut");
    assert!(held.len() < 20 * 1_900_000, "{read:?} after {} bytes", held.len());
}

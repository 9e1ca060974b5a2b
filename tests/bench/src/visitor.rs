//! Somebody who uses a service through its listed endpoints while it is updated.

use orbit_api::view::{Change, Endpoints};
use orbit_tests::{Cluster, Watch, addresses, block_on};
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, sleep, spawn},
    time::Duration,
};

/// Requests, one after the other, each over a connection of its own, to one endpoint after the other.
pub struct Visitor {
    stop: Arc<AtomicBool>,
    requests: JoinHandle<Visits>,
}

/// What came of them.
#[derive(Debug, Default)]
pub struct Visits {
    pub made: usize,
    pub failed: usize,
    /// Why the first one failed.
    pub why: String,
}

impl Visitor {
    /// Begins, once there is an endpoint.
    pub fn of(cluster: &Cluster, service: &str) -> Visitor {
        let url = format!("{}/v1/services/{service}/endpoints?watch=1", cluster.url());
        let (known, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (told, ended) = (known.clone(), stop.clone());
        spawn(move || {
            block_on(async {
                let mut watch = Watch::of(&url).await.expect("the endpoints are watched");
                while let Some(change) = watch.next::<Change<Endpoints>>().await {
                    *told.lock().expect("nobody panics with it") = addresses(&change.object);
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        });
        let ended = stop.clone();
        let requests = spawn(move || {
            let mut visits = Visits::default();
            while !ended.load(Ordering::Relaxed) {
                let known = known.lock().expect("nobody panics with it").clone();
                let Some(at) = known.get(visits.made % known.len().max(1)) else {
                    sleep(Duration::from_millis(1));
                    continue;
                };
                visits.made += 1;
                if let Err(error) = visit(at) {
                    visits.failed += 1;
                    visits.why = if visits.failed == 1 { format!("{at}: {error}") } else { visits.why };
                }
                sleep(Duration::from_millis(1));
            }
            visits
        });
        Visitor { stop, requests }
    }

    pub fn end(self) -> Visits {
        self.stop.store(true, Ordering::Relaxed);
        self.requests.join().expect("the visitor does not panic")
    }
}

fn visit(at: &str) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut connection = TcpStream::connect(at).map_err(text)?;
    connection.set_read_timeout(Some(Duration::from_secs(5))).map_err(text)?;
    connection.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").map_err(text)?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).map_err(text)?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(format!("{:?}", answer.lines().next())) }
}

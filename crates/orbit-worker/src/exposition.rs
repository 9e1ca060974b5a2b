//! The worker's `/metrics`: one page of text, at an address of its own.
//!
//! What comes in is bounded: there are few connections at a time, each has one request, and each ends soon, whatever its
//! peer does. Nothing can be changed here, and a web page that made up a name for this machine is not answered.

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HOST},
    http::uri::Authority,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use orbit_shell::program::metrics;
use std::{convert::Infallible, io, net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

/// So many connections at a time; others wait until one has ended.
const CONNECTIONS_MAX: usize = 16;
/// So long a connection lasts.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// Between two attempts to accept where that fails.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Makes the page.
type Page = Arc<dyn Fn() -> String + Send + Sync>;

/// Serves for as long as it is not dropped. `page` may read files.
///
/// # Errors
/// When the listener cannot be used.
pub(crate) async fn serve(listener: std::net::TcpListener, page: Page) -> io::Result<()> {
    serve_within(listener, page, CONNECTION_MAX).await
}

async fn serve_within(listener: std::net::TcpListener, page: Page, most: Duration) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let is_loopback = listener.local_addr()?.ip().to_canonical().is_loopback();
    // They end with this.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(timeout(most, connection(stream, page.clone(), is_loopback)));
            }
            Err(_) => sleep(ACCEPT_AGAIN).await,
        }
    }
}

async fn connection(stream: TcpStream, page: Page, is_loopback: bool) {
    let answer = service_fn(move |request| {
        let page = page.clone();
        async move { Ok::<_, Infallible>(answer(&request, page, is_loopback).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).keep_alive(false);
    // What a client does wrong is its own affair.
    let _ = server.serve_connection(TokioIo::new(stream), answer).await;
}

async fn answer(request: &Request<Incoming>, page: Page, is_loopback: bool) -> Response<String> {
    let refused = |status, why: &str| {
        let mut response = Response::new(format!("{why}\n"));
        *response.status_mut() = status;
        response
    };
    if is_loopback && !names_loopback(request) {
        return refused(
            StatusCode::MISDIRECTED_REQUEST,
            "this listens on a loopback address: use localhost or 127.0.0.1",
        );
    }
    if request.uri().path() != "/metrics" {
        return refused(StatusCode::NOT_FOUND, "there is /metrics");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "there is GET");
    }
    match spawn_blocking(move || page()).await {
        Ok(text) => {
            let mut response = Response::new(text);
            response.headers_mut().insert(CONTENT_TYPE, metrics::CONTENT_TYPE.parse().expect("it is plain"));
            response
        }
        Err(_) => refused(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written: see the worker's log"),
    }
}

/// A web page can give this machine a name of its own and ask as its own origin; a loopback name it cannot take.
fn names_loopback(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let is_loopback = |authority: &Authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let address = host.parse::<IpAddr>();
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|it| it.to_canonical().is_loopback())
    };
    host.as_ref().is_some_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_shell::Owned;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn listen(most: Duration) -> (SocketAddr, Owned) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let page: Page = Arc::new(|| "orbit_answer 42\n# EOF\n".to_string());
        (address, Owned::spawn(async move { serve_within(listener, page, most).await.expect("it can be used") }))
    }

    /// What is answered to these bytes, to its end.
    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        timeout(Duration::from_secs(20), read).await.expect("it ends").unwrap();
        answer
    }

    #[tokio::test]
    async fn there_is_one_page_and_nothing_else() {
        let (address, _serving) = listen(CONNECTION_MAX).await;
        let page = ask(address, "GET /metrics HTTP/1.1\r\nhost: localhost:7072\r\n\r\n").await;
        assert!(page.starts_with("HTTP/1.1 200 ") && page.ends_with("orbit_answer 42\n# EOF\n"), "{page}");
        assert!(page.contains("content-type: application/openmetrics-text; version=1.0.0"), "{page}");
        for (request, status) in [
            ("GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", 404),
            ("POST /metrics HTTP/1.1\r\nhost: [::1]:7072\r\ncontent-length: 0\r\n\r\n", 405),
            ("GET /metrics HTTP/1.1\r\nhost: rebound.example\r\n\r\n", 421),
            ("GET /metrics HTTP/1.1\r\n\r\n", 421),
            ("nonsense\r\n\r\n", 400),
        ] {
            let answer = ask(address, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        }
    }

    #[tokio::test]
    async fn connections_that_say_nothing_keep_nobody_out_for_long() {
        let (address, _serving) = listen(Duration::from_secs(1)).await;
        let mut silent = Vec::new();
        for _ in 0..2 * CONNECTIONS_MAX {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let page = ask(address, "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    }
}

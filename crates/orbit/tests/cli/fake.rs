//! A manager that answers as it is told, on a port of its own, and remembers what it was asked.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::Response,
};
use futures_util::stream::{self, StreamExt};
use orbit_api::Problem;
use serde_json::Value;
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};
use tokio::sync::oneshot;

/// What is answered.
#[derive(Clone)]
pub struct Reply {
    status: u16,
    content_type: &'static str,
    chunks: Vec<Bytes>,
    end: End,
}

/// How an answer ends.
#[derive(Clone, Copy)]
pub enum End {
    Whole,
    /// The connection is closed in the middle of it.
    Broken,
    /// Never.
    Open,
}

pub fn json(status: u16, body: impl serde::Serialize) -> Reply {
    let body = serde_json::to_vec(&body).unwrap();
    Reply { status, content_type: "application/json", chunks: vec![body.into()], end: End::Whole }
}
pub fn ok(body: impl serde::Serialize) -> Reply {
    json(200, body)
}
pub fn no_content() -> Reply {
    Reply { status: 204, content_type: "text/plain", chunks: Vec::new(), end: End::Whole }
}
pub fn problem(status: u16, code: &str, field: &str, detail: &str) -> Reply {
    let (code, detail, field) = (code.to_string(), detail.to_string(), field.to_string());
    let problem = Problem { status, title: code.replace('_', " "), code, detail, field };
    Reply { content_type: "application/problem+json", ..json(status, problem) }
}
pub fn text(status: u16, body: &str) -> Reply {
    log(&[body], End::Whole).with_status(status)
}
pub fn log(chunks: &[&str], end: End) -> Reply {
    let chunks = chunks.iter().map(|chunk| Bytes::copy_from_slice(chunk.as_bytes())).collect();
    Reply { status: 200, content_type: "application/octet-stream", chunks, end }
}

/// Server-sent events, with the ID of the last one.
pub fn events(data: &[Value], id: u64, end: End) -> Reply {
    let chunks: Vec<String> = data.iter().map(|data| format!("data: {data}\n\n")).collect();
    let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    let id = format!("id: {id}\n: alive\n\n");
    log(&[&chunks[..], &[&id]].concat(), end)
}

impl Reply {
    pub fn with_status(self, status: u16) -> Reply {
        Reply { status, ..self }
    }
    fn response(self) -> Response {
        let chunks = stream::iter(self.chunks).map(Ok::<_, io::Error>);
        let body = match self.end {
            End::Whole => Body::from_stream(chunks),
            // The head and the chunks go out before the connection breaks.
            End::Broken => {
                let broken = stream::once(async {
                    tokio::task::yield_now().await;
                    Err(io::Error::other("broken"))
                });
                Body::from_stream(chunks.chain(broken))
            }
            End::Open => Body::from_stream(chunks.chain(stream::pending())),
        };
        Response::builder().status(self.status).header("content-type", self.content_type).body(body).unwrap()
    }
}

/// A request that was made.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET /v1/services`
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

#[derive(Default)]
struct Script {
    replies: BTreeMap<String, VecDeque<Reply>>,
    asked: Vec<Asked>,
}

/// The manager. Ends when it is dropped.
pub struct Fake {
    pub addr: String,
    script: Arc<Mutex<Script>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// To each request line its answers in turn; the last of them from then on. A line that ends with `*` stands for all
    /// that begin so.
    pub fn new<'a>(replies: impl IntoIterator<Item = (&'a str, Vec<Reply>)>) -> Fake {
        let replies = replies.into_iter().map(|(line, replies)| (line.to_string(), replies.into())).collect();
        let script = Arc::new(Mutex::new(Script { replies, asked: Vec::new() }));
        let (stop, stopped) = oneshot::channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(script.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! { biased;
                    served = std::future::IntoFuture::into_future(axum::serve(listener, router)) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Fake { addr, script, stop: Some(stop), thread: Some(thread) }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.script.lock().unwrap().asked.clone()
    }
    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the fake manager failed");
        }
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let line = format!("{} {}", head.method, head.uri);
    let header = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_string())
    };
    let headers = head.headers.iter().map(header).collect();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut script = script.lock().unwrap();
    script.asked.push(Asked { line: line.clone(), headers, body });
    let found = match script.replies.contains_key(&line) {
        true => Some(line.clone()),
        false => {
            script.replies.keys().find(|key| key.strip_suffix('*').is_some_and(|it| line.starts_with(it))).cloned()
        }
    };
    let reply = match found.and_then(|key| script.replies.get_mut(&key)) {
        Some(replies) if replies.len() > 1 => replies.pop_front(),
        Some(replies) => replies.front().cloned(),
        None => None,
    };
    let missing = || problem(404, "not_found", "", &format!("nothing answers {line}"));
    reply.unwrap_or_else(missing).response()
}

//! The REST API: any requests, one after the other, to a manager on a log in memory, without a socket.

use crate::draws::Draws;
use axum::{
    Router,
    body::Body,
    http::{Request, Response},
};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use orbit_core::model::{ClusterId, Timing};
use orbit_manager::{
    ManagerHandle, Parts,
    http::{self, browser::Names},
    start,
};
use orbit_shell::BlockingExecutor;
use orbit_store::{MemoryDisk, MemoryStorage};
use serde_json::{Map, Value, json};
use std::{
    cell::Cell,
    pin::Pin,
    sync::{Arc, Once, OnceLock},
};
use tower::ServiceExt;

/// Beyond this an input only takes time.
const REQUESTS_MAX: usize = 24;

thread_local! {
    /// Panics of this thread, on which everything runs: that of a task which nobody waits for would go unseen.
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// A stream of requests. None of them makes the manager panic, or answers that it is at fault; each answer is one
/// that the document has; and at the end the manager still answers.
pub fn http(data: &[u8]) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
    PANICS.set(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut draws = Draws::new(data);
    runtime.block_on(async {
        let world = World::new().await;
        for _ in 0..REQUESTS_MAX {
            if draws.is_over() {
                break;
            }
            world.request(&mut draws).await;
        }
        world.comes_to_rest().await;
    });
    assert_eq!(PANICS.get(), 0, "also where nobody waits for it");
}

/// What would block is done at once: memory does not block.
struct Inline;

impl BlockingExecutor for Inline {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        work();
        Box::pin(std::future::ready(()))
    }
}

struct World {
    handle: ManagerHandle,
    router: Router,
    routes: &'static [Route],
    manager: tokio::task::JoinHandle<Result<(), orbit_manager::Error>>,
}

/// A route, as the document has it.
struct Route {
    method: String,
    path: String,
    /// Where it stands (`path`, `query` or `header`), and its name.
    parameters: Vec<(String, String)>,
    statuses: Vec<u16>,
}

impl World {
    async fn new() -> World {
        let parts = Parts {
            timing: Timing::default(),
            storage: Box::new(MemoryStorage::open(&MemoryDisk::default())),
            blocking: Arc::new(Inline),
            compact_every: 16,
            seed: 1,
            cluster: ClusterId(1),
        };
        let (handle, manager) = start(parts, std::future::pending()).expect("memory takes everything");
        let router = http::router(handle.clone(), Names::of([127, 0, 0, 1].into(), &[]));
        let manager = tokio::spawn(manager);
        while !handle.read(|manager, _| manager.is_ready()).await.expect("it goes on") {
            tokio::task::yield_now().await;
        }
        let routes = routes(&router).await;
        World { handle, router, routes, manager }
    }

    async fn request(&self, draws: &mut Draws<'_>) {
        let (request, route) = match draws.one_in(8) {
            true => (anything(draws), None),
            false => {
                let route = &self.routes[draws.below(self.routes.len())];
                (of_route(route, draws), Some(route))
            }
        };
        let Some(request) = request else { return };
        let Ok(answer) = self.router.clone().oneshot(request).await;
        let status = answer.status().as_u16();
        assert!(status < 500, "the manager is not at fault: {status}");
        if let Some(route) = route {
            // An empty or a longer path is another route's.
            let known = route.statuses.contains(&status) || matches!(status, 404 | 405);
            assert!(known, "{} {}: {status} is not in the document", route.method, route.path);
        }
        read(answer).await;
    }

    async fn comes_to_rest(self) {
        let violations = self.handle.read(|manager, _| manager.cluster().check()).await.expect("it goes on");
        assert_eq!(violations, [], "the state is one that a cluster can have");
        let ready = Request::get("/readyz").header("host", "localhost").body(Body::empty()).expect("a request");
        let Ok(ready) = self.router.oneshot(ready).await;
        assert!(ready.status() == 200 && !self.manager.is_finished(), "the manager goes on");
    }
}

/// A problem is a problem document; what goes on for ever is left after what there is.
async fn read(mut answer: Response<Body>) {
    let of = |kind: &str| answer.headers().get("content-type").is_some_and(|value| value == kind);
    let (is_problem, goes_on) = (of("application/problem+json"), of("text/event-stream"));
    let (head, status) = (answer.status().is_client_error(), answer.status().as_u16());
    if goes_on {
        for _ in 0..4 {
            tokio::task::yield_now().await;
            let _ = answer.frame().now_or_never();
        }
        return;
    }
    let body = answer.into_body().collect().await.expect("it has no end of its own").to_bytes();
    if head && !body.is_empty() {
        assert!(is_problem, "{status}: {}", String::from_utf8_lossy(&body));
        let problem: orbit_api::Problem = serde_json::from_slice(&body).expect("a problem document");
        assert!(problem.status == status && !problem.code.is_empty() && !problem.detail.is_empty(), "{problem:?}");
    }
}

async fn routes(router: &Router) -> &'static [Route] {
    static ROUTES: OnceLock<Vec<Route>> = OnceLock::new();
    if let Some(routes) = ROUTES.get() {
        return routes;
    }
    let ask = Request::get("/v1/openapi.json").header("host", "localhost").body(Body::empty()).expect("a request");
    let Ok(answer) = router.clone().oneshot(ask).await;
    let body = answer.into_body().collect().await.expect("it is whole").to_bytes();
    let document: Value = serde_json::from_slice(&body).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_string();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let responses = operation["responses"].as_object().expect("responses");
            routes.push(Route {
                method: method.to_uppercase(),
                path: path.clone(),
                parameters: parameters.map(|it| (text(&it["in"]), text(&it["name"]))).collect(),
                statuses: responses.keys().map(|status| status.parse().expect("a status")).collect(),
            });
        }
    }
    ROUTES.get_or_init(|| routes)
}

fn of_route(route: &Route, draws: &mut Draws) -> Option<Request<Body>> {
    let (mut path, mut query) = (route.path.clone(), String::new());
    let mut headers = vec![("host".to_string(), b"localhost".to_vec())];
    for (place, name) in &route.parameters {
        match place.as_str() {
            "path" => path = path.replace(&format!("{{{name}}}"), &encoded(&value(draws, name))),
            "query" if draws.one_in(3) => {
                for _ in 0..=usize::from(draws.one_in(8)) {
                    let mark = if query.is_empty() { '?' } else { '&' };
                    query += &format!("{mark}{name}={}", encoded(&value(draws, name)));
                }
            }
            "header" if draws.one_in(3) => {
                for _ in 0..=usize::from(draws.one_in(8)) {
                    headers.push((name.clone(), value(draws, name)));
                }
            }
            _ => {}
        }
    }
    let body = if draws.bool() { body(draws) } else { Vec::new() };
    let kinds: [&[u8]; 4] = [b"application/json", b"application/json", b"text/plain", b"\xff"];
    if draws.one_in(16) || !body.is_empty() {
        headers.push(("content-type".to_string(), draws.of(&kinds).to_vec()));
    }
    build(&route.method, &format!("{path}{query}"), headers, body, draws)
}

/// A request of which nothing is as it should be.
fn anything(draws: &mut Draws) -> Option<Request<Body>> {
    let methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "X"];
    let names = ["host", "origin", "sec-fetch-site", "connection", "upgrade", "content-length", "expect", "accept"];
    let mut headers = Vec::new();
    for _ in 0..draws.below(6) {
        headers.push((draws.of(&names).to_string(), value(draws, "host")));
    }
    let path = String::from_utf8_lossy(&draws.raw(64)).into_owned();
    let path = if draws.bool() { format!("/v1/{path}") } else { path };
    let body = draws.raw(64);
    build(draws.of(&methods), &path, headers, body, draws)
}

fn build(
    method: &str,
    uri: &str,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    draws: &mut Draws,
) -> Option<Request<Body>> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let chunked = draws.one_in(8);
    let body = match chunked {
        true => Body::from_stream(futures_util::stream::iter(
            body.chunks(7).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>(),
        )),
        false => Body::from(body),
    };
    request.body(body).ok()
}

/// Something for a parameter: what may stand there, a number at an edge, or anything.
fn value(draws: &mut Draws, name: &str) -> Vec<u8> {
    let usual: &[&str] = match name {
        "name" | "service" | "node" => &["web", "api", "n0", "none"],
        "id" => &["once", "1.3.0", "1.2.0", "9.9.9"],
        "order" => &["pause", "resume", "promote", "undo"],
        "continue" => &["1.0", "0.0", "0.5", "web", "1.2.0", "18446744073709551615.18446744073709551615"],
        "state" => &["running", "pending", "walking"],
        "kind" => &["service", "task", "node"],
        "selector" => &["team=shop", "!team", "a!=b,c", "=="],
        "since" => &["0", "1", "2026-01-31T12:00:00Z", "9999-12-31T23:59:59Z", "1960-01-01T00:00:00Z"],
        "host" => &["localhost", "localhost:7070", "http://localhost", "elsewhere", "[::1]", "websocket", "upgrade"],
        "If-Match" => &["\"1\"", "\"2\"", "\"3\"", "*", "W/\"1\""],
        "If-None-Match" => &["*", "\"1\""],
        "command" => &["sh", "", "-c"],
        _ => &["1", "0", "true", ""],
    };
    match draws.below(8) {
        0..=3 => draws.of(usual).into(),
        4 => draws.number().to_string().into(),
        5 => format!("{}.{}.{}", draws.number(), draws.number(), draws.number()).into(),
        6 => format!("{}.{}", draws.number(), draws.number()).into(),
        _ => draws.raw(16),
    }
}

fn encoded(value: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!,".contains(byte);
    value.iter().map(|byte| if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// JSON of the form that some route takes, or of another; or anything.
fn body(draws: &mut Draws) -> Vec<u8> {
    match draws.below(8) {
        0 => draws.raw(64),
        1 => json!({ "replicas": number(draws) }).to_string().into(),
        2 => json!({ "version": number(draws) }).to_string().into(),
        3 => json!({ "deadline": span(draws) }).to_string().into(),
        4 => json!({ "items": (0..draws.below(4)).map(|_| manifest(draws)).collect::<Vec<_>>() }).to_string().into(),
        _ => manifest(draws).to_string().into(),
    }
}

fn number(draws: &mut Draws) -> Value {
    match draws.below(8) {
        0 => json!(-1),
        1 => json!(1.5),
        2 => json!("1"),
        3 => json!(draws.number()),
        _ => json!(draws.below(4)),
    }
}

fn span(draws: &mut Draws) -> Value {
    let units = ["ms", "s", "m", "h", "d", "y", "", "Ti"];
    json!(format!("{}{}", draws.number(), draws.of(&units)))
}

fn manifest(draws: &mut Draws) -> Value {
    let mut manifest = Map::new();
    let mut set = |key: &str, value: Value| {
        manifest.insert(key.to_string(), value);
    };
    set("kind", json!(draws.of(&["Service", "Service", "Task", "Pod"])));
    set("name", json!(draws.of(&["web", "api", "once", "", "UP"])));
    set("image", json!(draws.of(&["web:1", "web:2", ""])));
    for _ in 0..draws.below(5) {
        match draws.below(10) {
            0 => set("replicas", number(draws)),
            1 => set("resources", json!({ "cpu": span(draws), "memory": span(draws) })),
            2 => set("ports", json!([{ "name": "http", "container": number(draws), "host": number(draws) }])),
            3 => set("stop", json!({ "grace": span(draws), "delay": span(draws) })),
            4 => {
                set("restart", json!({ "policy": "always", "backoff": { "initial": span(draws), "max": span(draws) } }))
            }
            5 => set("labels", json!({ "team": draws.of(&["shop", ""]) })),
            6 => set("update", json!({ "max_surge": number(draws), "deadline": span(draws), "canary": number(draws) })),
            7 => set("health", json!({ "command": ["well"], "interval": span(draws), "retries": number(draws) })),
            8 => set("placement", json!({ "constraints": [draws.of(&["node.arch == amd64", "x", ""])] })),
            _ => set(draws.of(&["x", "priority", "volumes"]), number(draws)),
        }
    }
    Value::Object(manifest)
}

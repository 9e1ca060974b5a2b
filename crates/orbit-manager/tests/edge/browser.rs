//! A browser is not a user.

use crate::manager::{Manager, request};
use axum::{
    body::Body,
    http::{Request, Version},
};

const TASK: &str = r#"{"kind":"Task","name":"mine","image":"x"}"#;

fn with(method: &str, path: &str, headers: &[(&str, &str)], body: &'static str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body)).unwrap()
}

const HOST: (&str, &str) = ("host", "localhost:7070");
const JSON: (&str, &str) = ("content-type", "application/json");
const WEBSOCKET: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[tokio::test]
async fn a_page_of_another_origin_is_refused_at_every_route() {
    let manager = Manager::new().await;
    let document = manager.get("/v1/openapi.json").await.json();
    let foreign: &[&[(&str, &str)]] = &[
        &[("origin", "http://elsewhere")],
        &[("origin", "http://localhost:7071")],
        &[("origin", "null")],
        &[("origin", "http://localhost:7070"), ("origin", "http://elsewhere")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
    ];
    let mut routes = vec![("GET".to_string(), "/v1/none".to_string())];
    for (path, methods) in document["paths"].as_object().unwrap() {
        routes.extend(methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    for (method, path) in routes {
        for headers in foreign {
            let headers = [&[HOST, JSON], &WEBSOCKET[..], *headers].concat();
            let path = path.replace("{name}", "web").replace("{id}", "once").replace("{order}", "pause");
            let answer = manager.ask(with(&method, &path, &headers, TASK)).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "cross_origin"), "{method} {path} {headers:?}");
        }
    }
    assert_eq!(manager.get("/v1/tasks/mine").await.status, 404, "nothing was done");
    for own in [("origin", "http://localhost:7070"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")] {
        assert_eq!(manager.ask(with("GET", "/v1/tasks", &[HOST, own], "")).await.status, 200, "{own:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_pointed_at_the_loopback_is_not_answered() {
    let manager = Manager::new().await;
    for host in ["rebound.example", "rebound.example:7070", "10.0.0.1", "localhost.example"] {
        for own in [vec![("host", host)], vec![("host", host), ("origin", "http://rebound.example")]] {
            let answer = manager.ask(with("GET", "/healthz", &own, "")).await;
            assert_eq!((answer.status, answer.code().as_str()), (421, "unknown_host"), "{own:?}");
        }
    }
    let target = with("GET", "http://rebound.example/healthz", &[HOST], "");
    assert_eq!(manager.ask(target).await.status, 421, "a target in absolute form is stronger than the header");
    for host in ["localhost", "127.0.0.1:1", "[::1]:7070", "LocalHost:7070"] {
        assert_eq!(manager.ask(with("GET", "/healthz", &[("host", host)], "")).await.status, 200, "{host}");
    }
    for hosts in [&[][..], &[HOST, HOST], &[("host", "a b")], &[("host", "me@localhost")], &[("host", "localhost:x")]] {
        let answer = manager.ask(with("GET", "/healthz", hosts, "")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid"), "{hosts:?}");
    }
    let mut old = with("GET", "/healthz", &[], "");
    *old.version_mut() = Version::HTTP_10;
    assert_eq!(manager.ask(old).await.status, 200, "HTTP/1.0 knows no Host");
}

#[tokio::test]
async fn a_body_is_named_as_json() {
    let manager = Manager::new().await;
    let post = |kind: Option<&str>, body: Body| {
        let mut request = request("POST", "/v1/tasks");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        request.body(body).unwrap()
    };
    let kinds =
        [None, Some("text/plain"), Some(""), Some("application/x-www-form-urlencoded"), Some("application/jsonx")];
    let streamed = || Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(TASK)]));
    for kind in kinds {
        for body in [Body::from(TASK), streamed()] {
            let answer = manager.ask(post(kind, body)).await;
            assert_eq!((answer.status, answer.code().as_str()), (415, "unsupported_media_type"), "{kind:?}");
        }
    }
    assert_eq!(manager.get("/v1/tasks/mine").await.status, 404, "nothing was done");
    for (path, body) in [("/v1/services/web/restart", "x"), ("/v1/nodes/none/cordon", "x")] {
        let answer =
            manager.ask(request("POST", path).header("content-type", "text/plain").body(Body::from(body)).unwrap());
        assert_eq!(answer.await.status, 415, "{path}: also where nobody reads the body");
    }
    let restarted = manager.ask(request("POST", "/v1/services/web/restart").body(Body::empty()).unwrap()).await;
    assert_eq!(restarted.status, 200, "an empty body is of no kind");
    let created = manager.ask(post(Some("application/json; charset=utf-8"), Body::from(TASK))).await;
    assert_eq!(created.status, 201);
}

//! A manager on a log in memory, and its router, without a socket.

use axum::{Router, body::Body, http::Request, response::Response};
use http_body_util::BodyExt;
use orbit_core::model::{ClusterId, Timing};
use orbit_manager::{
    ManagerHandle, Parts,
    http::{self, browser::Names},
    start,
};
use orbit_shell::TokioBlocking;
use orbit_store::{MemoryDisk, MemoryStorage};
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

pub struct Manager {
    pub router: Router,
    pub handle: ManagerHandle,
    loops: tokio::task::JoinHandle<Result<(), orbit_manager::Error>>,
}

/// An answer in full.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_string()
    }
}

impl Manager {
    /// Leads, and has a service `web` and a task `once`.
    pub async fn new() -> Manager {
        let manager = Manager::on(&MemoryDisk::default()).await;
        let web = json!({ "kind": "Service", "name": "web", "image": "web:1", "replicas": 1 });
        assert_eq!(manager.send("PUT", "/v1/services/web", &web).await.status, 201);
        let once = json!({ "kind": "Task", "name": "once", "image": "once:1" });
        assert_eq!(manager.send("POST", "/v1/tasks", &once).await.status, 201);
        manager
    }

    /// Leads, and has what is on the disk.
    pub async fn on(disk: &MemoryDisk) -> Manager {
        let parts = Parts {
            timing: Timing::default(),
            storage: Box::new(MemoryStorage::open(disk)),
            blocking: Arc::new(TokioBlocking),
            compact_every: 1000,
            seed: 1,
            cluster: ClusterId(1),
        };
        let (handle, manager) = start(parts, std::future::pending()).expect("memory takes everything");
        let router = http::router(handle.clone(), Names::of([127, 0, 0, 1].into(), &[]));
        let manager = Manager { router, handle, loops: tokio::spawn(manager) };
        while manager.get("/readyz").await.status != 200 {
            tokio::task::yield_now().await;
        }
        manager
    }

    /// The head of an answer, and its body as it comes.
    pub async fn begin(&self, request: Request<Body>) -> Response {
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }

    pub async fn ask(&self, request: Request<Body>) -> Answer {
        whole(self.begin(request).await).await
    }

    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let request = request(method, path).header("content-type", "application/json");
        self.ask(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(request("GET", path).body(Body::empty()).unwrap()).await
    }

    /// That it leads and answers.
    pub async fn lives(&self) {
        assert!(!self.loops.is_finished(), "the manager goes on");
        assert_eq!(self.get("/readyz").await.status, 200);
    }
}

/// One that names its host, as every client does.
pub fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "localhost:7070")
}

pub async fn whole(response: Response) -> Answer {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    Answer { status, body }
}

//! Objects as a manager answers with them.

use serde_json::{Value, json};

/// Every age is counted to here.
pub const NOW: &str = "2026-03-01T12:00:00Z";

pub fn service(name: &str, replicas: u32, running: u32, message: &str) -> Value {
    json!({
        "name": name, "uid": "1.40", "revision": 57, "version": 2, "created_at": "2026-03-01T11:15:00Z",
        "desired": {
            "kind": "Service", "name": name, "labels": { "team": "shop" }, "replicas": replicas,
            "image": "nginx:1.27", "args": ["nginx", "-g", "daemon off;"], "env": { "A": "1", "MODE": "production" },
            "resources": { "cpu": "250m", "memory": "128Mi", "pids": 512 },
            "ports": [{ "name": "http", "container": 80 }],
            "placement": { "strategy": "spread", "constraints": ["node.labels.disk == ssd"] },
            "restart": { "policy": "always", "backoff": { "initial": "1s", "max": "300s", "reset_after": "600s" } },
            "stop": { "grace": "10s" }
        },
        "actual": {
            "running": running, "ready": running, "updated": running, "available": running, "starting": 0, "pending": replicas - running, "stopping": 0,
            "failures": 0, "message": message
        }
    })
}

/// A task of the service `web`.
pub fn task(id: &str, actual: &str) -> Value {
    let mut task = json!({
        "id": id, "kind": "service", "name": "web", "slot": 0, "version": 2, "image": "nginx:1.27",
        "node": "worker-1", "desired": "running", "actual": actual, "unreachable": false,
        "resources": { "cpu": "100m", "memory": "128Mi", "pids": 512, "limits": { "memory": "1Gi" } },
        "ports": [{ "name": "http", "container": 80, "host": 31234 }], "created_at": "2026-03-01T11:57:00Z"
    });
    if actual == "running" {
        task["running_at"] = json!("2026-03-01T11:57:02Z");
    }
    task
}

pub fn pending(id: &str) -> Value {
    let mut task = task(id, "pending");
    task["node"] = Value::Null;
    task["slot"] = json!(1);
    task["ports"] = json!([{ "name": "http", "container": 80, "host": null }]);
    task["message"] = json!("3 nodes: not enough memory");
    task
}

/// An attempt of the task definition `once`, ended with this code.
pub fn ended(id: &str, code: i32) -> Value {
    let mut task = once(id, if code == 0 { "complete" } else { "failed" });
    task["reason"] = json!("exited");
    task["exit_code"] = json!(code);
    task["running_at"] = json!("2026-03-01T11:57:02Z");
    task["ended_at"] = json!("2026-03-01T11:58:00Z");
    task
}

/// An attempt of the task definition `once`.
pub fn once(id: &str, actual: &str) -> Value {
    let mut task = task(id, actual);
    task["kind"] = json!("task");
    task["name"] = json!("once");
    task["image"] = json!("alpine:3.20");
    task["version"] = json!(1);
    task["ports"] = json!([]);
    task
}

pub fn definition(name: &str, policy: &str, attempt: Value) -> Value {
    json!({
        "name": name, "uid": "1.70", "revision": 70, "created_at": "2026-03-01T11:57:00Z",
        "desired": {
            "kind": "Task", "name": name, "image": "alpine:3.20", "args": ["echo", "hello"],
            "restart": { "policy": policy }
        },
        "attempt": attempt
    })
}

pub fn node(name: &str, state: &str, zone: &str) -> Value {
    let message = if state == "ready" { "" } else { "not heard for 12s; its tasks are replaced in 3s" };
    json!({
        "name": name, "uid": "00000000000000ff", "state": state, "message": message,
        "labels": { "zone": zone }, "arch": "amd64", "os": "linux",
        "worker_version": "0.1.0", "engine_version": "Docker 28.2.2", "allowed": ["capability:NET_ADMIN", "host:/srv"],
        "allocatable": { "cpu_millis": 4000, "memory_bytes": 8589934592u64 },
        "used": { "cpu_millis": 250, "memory_bytes": 134217728 },
        "tasks": 1, "registered_at": "2026-02-27T12:00:00Z"
    })
}

pub fn list(items: Vec<Value>) -> Value {
    json!({ "revision": 99, "items": items })
}

pub fn stored(name: &str, created: bool, changed: bool) -> Value {
    json!({ "name": name, "uid": "1.40", "revision": 57, "version": 2, "created": created, "changed": changed })
}

pub fn submitted(name: &str, created: bool) -> Value {
    json!({ "name": name, "uid": "1.70", "revision": 70, "task": "1.70.0", "created": created })
}

//! What the manager says of itself: the document of all routes, the schema of a manifest, whether it lives and leads.

use super::*;
use axum::http::header;
use std::sync::LazyLock;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<ManagerHandle> {
    OpenApiRouter::new()
        .routes(routes!(openapi))
        .routes(routes!(schema))
        .routes(routes!(healthy))
        .routes(routes!(ready))
}

/// What is known of all routes.
static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(|| {
    let mut document = super::routes().split_for_parts().1;
    document::complete(&mut document);
    document
});

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "about", operation_id = "read_openapi",
    responses((status = 200, content_type = "application/json", description = "OpenAPI 3.1")))]
async fn openapi() -> Response {
    json(DOCUMENT.to_pretty_json().expect("the document is plain data"))
}

/// What a manifest may hold, for editors.
#[utoipa::path(get, path = "/v1/manifest.schema.json", tag = "about", operation_id = "read_manifest_schema",
    responses((status = 200, content_type = "application/json", description = "JSON Schema, draft 2020-12")))]
async fn schema() -> Response {
    json(manifest_schema(&DOCUMENT))
}

/// Whether the manager lives.
#[utoipa::path(get, path = "/healthz", tag = "about", operation_id = "read_health", responses((status = 200, content_type = "text/plain")))]
async fn healthy() -> &'static str {
    "ok\n"
}

/// The JSON Schema of a manifest: the document's own, with the schemas that it refers to.
fn manifest_schema(document: &utoipa::openapi::OpenApi) -> String {
    let document = serde_json::to_value(document).expect("the document is plain data");
    let schema = serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Orbit manifest",
        "$ref": "#/$defs/Manifest",
        "$defs": document["components"]["schemas"],
    });
    let text = serde_json::to_string_pretty(&schema).expect("a schema is plain data");
    text.replace("#/components/schemas/", "#/$defs/")
}

/// Whether the manager leads and knows everything that was committed before; and whether its disk is full, so that it answers
/// reads and refuses what would be written.
#[utoipa::path(get, path = "/readyz", tag = "about", operation_id = "read_readiness",
    responses((status = 200, content_type = "text/plain"), (status = 503, content_type = "text/plain")))]
async fn ready(State(handle): State<ManagerHandle>) -> Response {
    let full = handle.metrics.is_disk_full();
    match handle.read(|state, _| state.is_ready()).await {
        Ok(true) if full => "storage_full: the disk is full, and what users write is refused\n".into_response(),
        Ok(true) => "ok\n".into_response(),
        Ok(false) if full => {
            let body = "storage_full: not leading yet, the disk is full; free some space\n";
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
        Ok(false) => (StatusCode::SERVICE_UNAVAILABLE, "not leading yet\n").into_response(),
        Err(rejection) => Fault::from(rejection).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service(more: Value) -> Value {
        let mut manifest = json!({ "kind": "Service", "name": "web", "image": "nginx:1.27" });
        let all = manifest.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        manifest
    }

    /// Manifests, and whether their form is right. What the form cannot say (`resources.cpu: 0`) is not here.
    fn manifests() -> Vec<(Value, bool)> {
        let right = [
            json!({}),
            json!({ "replicas": 3, "command": [], "args": ["a"], "env": { "MODE": "production" } }),
            json!({ "labels": { "team": "shop" }, "resources": { "cpu": "250m", "memory": "128Mi", "pids": 100 } }),
            json!({ "ports": [{ "name": "http", "container": 80 }, { "name": "x", "container": 81, "host": 8081 }] }),
            json!({ "placement": { "strategy": "spread", "constraints": ["node.arch == amd64"] } }),
            json!({ "restart": { "policy": "on_failure", "backoff": { "initial": "1s", "max": "5m", "reset_after": "10m" } } }),
            json!({ "stop": { "grace": "10s" } }),
            json!({ "ports": [{ "name": "dns", "container": 53, "protocol": "both", "host_ip": "127.0.0.1" }] }),
            json!({ "resources": { "limits": { "memory": "1Gi" } }, "ulimits": { "nofile": 9, "core": { "soft": 0, "hard": -1 } } }),
            json!({ "ready": { "command": ["well"], "interval": "5s", "timeout": "2s", "retries": 3, "start_period": "0s" } }),
            json!({ "kind": "Task" }),
        ];
        let wrong = [
            json!({ "imgae": "x" }),
            json!({ "health": { "udp": {} } }),
            json!({ "kind": "Pod" }),
            json!({ "name": 7 }),
            json!({ "image": null }),
            json!({ "replicas": -1 }),
            json!({ "replicas": "three" }),
            json!({ "resources": { "disk": "1Gi" } }),
            json!({ "resources": { "cpu": {} } }),
            json!({ "ports": [{ "container": 80 }] }),
            json!({ "ports": [{ "name": "http", "container": 70000 }] }),
            json!({ "ports": [{ "name": "http", "container": 80, "protocol": "sctp" }] }),
            json!({ "placement": { "strategy": "random" } }),
            json!({ "restart": { "policy": "sometimes" } }),
            json!({ "restart": { "backoff": { "first": "1s" } } }),
            json!({ "stop": { "grace": [] } }),
            json!({ "env": { "A": {} } }),
        ];
        let right = right.into_iter().map(|more| (service(more), true));
        right.chain(wrong.into_iter().map(|more| (service(more), false))).collect()
    }

    #[test]
    fn the_schema_of_a_manifest_agrees_with_what_is_read() {
        let schema: Value = serde_json::from_str(&manifest_schema(&DOCUMENT)).unwrap();
        let schema = jsonschema::validator_for(&schema).unwrap();
        for (manifest, right) in manifests() {
            let read = manifest::read_json::<Manifest>(manifest.to_string().as_bytes());
            let errors: Vec<_> = schema.iter_errors(&manifest).map(|error| error.to_string()).collect();
            assert_eq!(read.is_ok(), right, "read: {manifest}: {:?}", read.err());
            assert_eq!(errors.is_empty(), right, "by the schema: {manifest}: {errors:?}");
        }
    }

    #[test]
    fn the_example_is_valid_by_the_schema() {
        let example = include_str!("../../../../examples/web.yaml");
        let read = manifest::read_all(example).unwrap();
        let schema: Value = serde_json::from_str(&manifest_schema(&DOCUMENT)).unwrap();
        for manifest in read {
            // As it was written, and as it is given back.
            assert!(jsonschema::is_valid(&schema, &json!(manifest)), "{manifest:?}");
        }
    }
}

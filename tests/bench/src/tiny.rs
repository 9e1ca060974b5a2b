//! The smallest container, as Orbit is asked for it and as the engine's own API is: what everything
//! that starts containers is measured against.

use bollard::{
    Docker,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder},
};
use futures_util::{StreamExt, stream};
use orbit_tests::{Engine, IMAGE, block_on};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Instant};

/// With how many at once the engine alone is fastest on two processors.
const AT_A_TIME: usize = 8;
const LABEL: &str = "orbit.bench";

/// So many of them as a service.
pub fn service(name: &str, replicas: usize) -> Value {
    json!({
        "kind": "Service", "name": name, "replicas": replicas, "image": IMAGE, "args": ["sleep"],
        "resources": { "cpu": "100m", "memory": "16Mi" }, "stop": { "grace": "0s" },
    })
}

/// Seconds in which the engine by itself creates and starts so many, eight at a time; then they are
/// removed.
pub fn alone(engine: &Engine, count: usize) -> f64 {
    block_on(async {
        let begun = Instant::now();
        let starts = stream::iter(0..count).map(|n| start(&engine.docker, n));
        starts.buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
        let seconds = begun.elapsed().as_secs_f64();
        let removals = stream::iter(0..count).map(|n| remove(&engine.docker, n));
        removals.buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
        seconds
    })
}

/// Seconds in which the engine by itself stops so many, each followed by the start of another, and so
/// many at a time; then they are removed.
pub fn replaced_alone(engine: &Engine, count: usize, at_a_time: usize) -> f64 {
    block_on(async {
        let starts = stream::iter(0..count).map(|n| start(&engine.docker, n));
        starts.buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
        let begun = Instant::now();
        let replacements = stream::iter(0..count).map(|n| async move {
            let options = StopContainerOptionsBuilder::default().t(0).build();
            engine.docker.stop_container(&name(n), Some(options)).await.expect("the engine stops");
            start(&engine.docker, count + n).await;
        });
        replacements.buffer_unordered(at_a_time).collect::<Vec<()>>().await;
        let seconds = begun.elapsed().as_secs_f64();
        let removals = stream::iter(0..2 * count).map(|n| remove(&engine.docker, n));
        removals.buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
        seconds
    })
}

fn name(n: usize) -> String {
    format!("orbit-bench-{}-{n}", std::process::id())
}

async fn start(docker: &Docker, n: usize) {
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_string()),
        cmd: Some(vec!["sleep".to_string()]),
        labels: Some(HashMap::from([(LABEL.to_string(), n.to_string())])),
        host_config: Some(HostConfig {
            memory: Some(16 << 20),
            memory_swap: Some(16 << 20),
            nano_cpus: Some(100_000_000),
            pids_limit: Some(512),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(&name(n)).build();
    docker.create_container(Some(options), body).await.expect("the engine creates");
    docker.start_container(&name(n), None).await.expect("the engine starts");
}

async fn remove(docker: &Docker, n: usize) {
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    docker.remove_container(&name(n), Some(options)).await.expect("the engine removes");
}

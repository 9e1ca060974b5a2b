//! A hundred tiny containers, through Orbit and through the engine's own API, in turn.

use crate::{
    daemons::{Daemons, call, get},
    report::{line, median},
};
use bollard::{
    Docker,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder},
};
use futures_util::{StreamExt, stream};
use std::{collections::HashMap, time::Instant};

const CONTAINERS: usize = 100;
/// With how many at once the engine alone is fastest on two processors.
const AT_A_TIME: usize = 8;
const PAIRS: usize = 5;
const IMAGE: &str = "orbit-web:1";
const LABEL: &str = "orbit.bench";

/// Five interleaved pairs, on the engine's default network.
pub fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let docker = runtime.block_on(async {
        let docker = Docker::connect_with_defaults().ok()?.negotiate_version().await.ok()?;
        docker.inspect_image(IMAGE).await.is_ok().then_some(docker)
    });
    let Some(docker) = docker else {
        println!("100 tiny containers: skipped, no Docker engine with the image {IMAGE}");
        return;
    };
    let mut daemons = Daemons::manager();
    daemons.add_worker();
    let (mut ours, mut engines, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let engine = runtime.block_on(alone(&docker));
        let orbit = through_orbit(&daemons);
        ours.push(CONTAINERS as f64 / orbit);
        engines.push(CONTAINERS as f64 / engine);
        ratios.push(engine / orbit);
    }
    let measured = format!("{:.2}", median(ratios));
    let against = format!(
        "{:.1}/s, the engine's own API {:.1}/s; median of {PAIRS} interleaved pairs",
        median(ours),
        median(engines)
    );
    line("100 tiny containers running, of the engine's rate", measured, "0.95", &against);
}

/// Seconds until all were started, eight at a time.
async fn alone(docker: &Docker) -> f64 {
    let begun = Instant::now();
    let starts = stream::iter(0..CONTAINERS).map(|n| async move {
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
        let name = format!("orbit-bench-{n}");
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        docker.create_container(Some(options), body).await.expect("the engine creates");
        docker.start_container(&name, None).await.expect("the engine starts");
    });
    starts.buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
    let seconds = begun.elapsed().as_secs_f64();
    remove_all(docker).await;
    seconds
}

async fn remove_all(docker: &Docker) {
    let filters = HashMap::from([("label", vec![LABEL.to_string()])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let left = docker.list_containers(Some(options)).await.expect("the engine lists");
    let removals = stream::iter(left.into_iter().filter_map(|container| container.id)).map(|id| async move {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        docker.remove_container(&id, Some(options)).await.expect("the engine removes");
    });
    removals.buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
}

/// Seconds from the submission until all are seen running; then all are removed.
fn through_orbit(daemons: &Daemons) -> f64 {
    let body = format!(
        r#"{{"kind":"Service","name":"bench","replicas":{CONTAINERS},"image":"{IMAGE}","args":["sleep"],
            "resources":{{"cpu":"100m","memory":"16Mi"}},"stop":{{"grace":"0s"}}}}"#
    );
    let begun = Instant::now();
    let (status, answer) = call(daemons.address, "PUT", "/v1/services/bench", &body).expect("the manager answers");
    assert_eq!(status, 201, "{answer}");
    let running = format!("\"running\":{CONTAINERS},");
    daemons.wait("all run", || {
        get(daemons.address, "/v1/services/bench").is_some_and(|(_, body)| body.contains(&running))
    });
    let seconds = begun.elapsed().as_secs_f64();
    call(daemons.address, "DELETE", "/v1/services/bench", "").expect("the manager answers");
    daemons.wait("all are gone", || {
        get(daemons.address, "/v1/tasks").is_some_and(|(_, body)| body.contains("\"items\":[]"))
    });
    // The manager forgets a task when its end is committed; its container goes right after.
    let output =
        || std::process::Command::new("docker").args(["ps", "-aq", "--filter", "label=orbit.name=bench"]).output();
    daemons.wait("the engine has none left", || output().is_ok_and(|output| output.stdout.is_empty()));
    seconds
}

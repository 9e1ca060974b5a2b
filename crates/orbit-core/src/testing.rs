//! Builders for tests: the plainest of each thing. A test changes what it has something to say about.

use crate::{model::*, worker::ContainerSpec};

/// A container of an image, with nothing special about it.
pub fn container(image: impl Into<String>) -> Container {
    Container {
        image: image.into(),
        pull: Pull::Missing,
        command: vec![],
        args: vec![],
        env: Default::default(),
        resources: Resources { cpu_millis: 100, memory_bytes: 64 << 20 },
        limits: Limits::default(),
        pids_max: 64,
        ports: vec![],
        stop: Stop::within(Millis::secs(10)),
        probes: Probes::default(),
        setup: Setup::default(),
    }
}

/// One such container that is always followed by another, anywhere.
pub fn spec(image: impl Into<String>) -> Spec {
    Spec {
        container: container(image),
        placement: Placement::default(),
        restart: Restart::with_policy(RestartPolicy::Always),
        disconnect: Disconnect::default(),
        after: vec![],
    }
}

/// A service of one replica.
pub fn service(name: impl Into<String>, spec: Spec) -> Definition {
    Definition {
        kind: Kind::Service,
        name: name.into(),
        labels: Default::default(),
        replicas: 1,
        update: Update::ONE_BY_ONE,
        spec,
    }
}

/// A Linux machine of 4 processors and 8 GiB.
pub fn node(uid: NodeUid, name: impl Into<String>) -> NodeInfo {
    NodeInfo {
        uid,
        name: name.into(),
        labels: Default::default(),
        arch: "amd64".to_string(),
        os: "linux".to_string(),
        allocatable: Resources { cpu_millis: 4000, memory_bytes: 8 << 30 },
        port_range: (20_000, 20_099),
        address: None,
        pinned_ports: None,
        allowed: [].into(),
        versions: Default::default(),
    }
}

/// What the worker of a machine says first that has never been welcomed, and has nothing.
pub fn hello(info: NodeInfo) -> Hello {
    Hello { cluster: None, seen: (0, 0), nonce: 1, info, inventory: Vec::new(), takes_parts: true, prefetches: true }
}

/// What an engine is asked to create, with no labels: nobody's.
pub fn container_spec(name: impl Into<String>, image: impl Into<String>) -> ContainerSpec {
    ContainerSpec {
        name: name.into(),
        image: image.into(),
        command: vec![],
        args: vec![],
        env: vec![],
        resources: Resources { cpu_millis: 100, memory_bytes: 16 << 20 },
        limits: Limits { memory_bytes: Some(16 << 20), ..Limits::default() },
        pids_max: 64,
        stop_signal: None,
        setup: Setup::default(),
        ports: vec![],
        volumes: vec![],
        labels: vec![],
    }
}

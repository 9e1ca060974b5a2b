//! The daemons as they are shipped, in a simulated world: madsim's network and clock, the fake
//! engine, a log in memory that outlives its manager.
//!
//! The pure world (`sim/`) finds wrong decisions in thousands of seeds; this one finds what only the
//! shells can get wrong: cancellation, lost wake-ups, order of actions, reconnecting.

#![forbid(unsafe_code)]

#[cfg(not(madsim))]
compile_error!("run cargo in sim/daemons, where .cargo/config.toml sets --cfg madsim");

use madsim::runtime::{Handle, NodeHandle};
use orbit_core::{
    model::{ClusterId, Millis, NodeInfo, NodeUid, Resources, Timing},
    worker::Config,
};
use orbit_manager::{Door, sessions::Workers};
use orbit_proto::v1::worker_server::WorkerServer;
use orbit_runtime::fake::{FakeEngine, FakeRuntime, ImagePlace, Program};
use orbit_shell::TokioBlocking;
use orbit_store::{LedgerDisk, MemoryDisk, MemoryLedger, MemoryStorage};
use std::{
    future::pending,
    sync::{Arc, Mutex},
};

const MANAGER_IP: &str = "10.0.0.1";
const WORKERS_PORT: u16 = 7071;

/// A manager's machine: its disk outlives its process.
pub struct ManagerHost {
    /// To kill and restart it by.
    pub node: NodeHandle,
    door: Arc<Mutex<Option<Door>>>,
}

/// A worker's machine: its disk and its engine outlive its process.
pub struct WorkerHost {
    /// To kill and restart it by.
    pub node: NodeHandle,
    /// Its containers.
    pub runtime: FakeRuntime,
}

impl ManagerHost {
    /// Boots a manager; it starts again whenever its machine is restarted.
    pub fn boot() -> ManagerHost {
        let disk = MemoryDisk::default();
        let door: Arc<Mutex<Option<Door>>> = Arc::default();
        let hall = door.clone();
        let process = move || {
            let (disk, hall) = (disk.clone(), hall.clone());
            async move {
                let parts = orbit_manager::Parts {
                    timing: Timing::default(),
                    storage: Box::new(MemoryStorage::open(&disk)),
                    blocking: Arc::new(TokioBlocking),
                    seed: madsim::rand::random(),
                    cluster: ClusterId(madsim::rand::random()),
                };
                let (door, manager) = orbit_manager::start(parts, pending()).expect("the log in memory is readable");
                *hall.lock().unwrap() = Some(door.clone());
                let workers = tonic::transport::Server::builder()
                    .add_service(WorkerServer::new(Workers::new(door)))
                    .serve(format!("0.0.0.0:{WORKERS_PORT}").parse().unwrap());
                tokio::select! { biased;
                    ended = manager => panic!("the manager ended: {ended:?}"),
                    served = workers => panic!("the listener ended: {served:?}"),
                }
            }
        };
        let node =
            Handle::current().create_node().name("manager").ip(MANAGER_IP.parse().unwrap()).init(process).build();
        ManagerHost { node, door }
    }

    /// The door of the present process.
    pub fn door(&self) -> Option<Door> {
        self.door.lock().unwrap().clone()
    }
}

impl WorkerHost {
    /// Boots the n-th worker (from 1); it starts again whenever its machine is restarted.
    pub fn boot(n: u8) -> WorkerHost {
        let mut engine = FakeEngine::default();
        engine.add_image("web:1", ImagePlace::Pullable(Millis(300)), Program::Run);
        let runtime = FakeRuntime::new(engine);
        let (disk, inside) = (LedgerDisk::default(), runtime.clone());
        let process = move || {
            let (disk, runtime) = (disk.clone(), inside.clone());
            async move {
                let config = Config {
                    info: NodeInfo {
                        uid: NodeUid(madsim::rand::random()),
                        name: format!("node-{n}"),
                        labels: Default::default(),
                        arch: "amd64".into(),
                        os: "linux".into(),
                        allocatable: Resources { cpu_millis: 4000, memory_bytes: 8 << 30 },
                        port_range: (20_000, 20_999),
                    },
                    pull_deadline: Millis::secs(60),
                    starts_max: 8,
                    resync_every: Millis::secs(30),
                };
                let parts = orbit_worker::Parts {
                    config,
                    manager: format!("http://{MANAGER_IP}:{WORKERS_PORT}"),
                    runtime: Arc::new(runtime),
                    ledger: Box::new(MemoryLedger::open(&disk)),
                    blocking: Arc::new(TokioBlocking),
                    nonce: madsim::rand::random(),
                };
                orbit_worker::run(parts, pending()).await.expect("the ledger in memory is writable");
            }
        };
        let ip = format!("10.0.1.{n}").parse().unwrap();
        let node = Handle::current().create_node().name(format!("worker-{n}")).ip(ip).init(process).build();
        WorkerHost { node, runtime }
    }

    /// The names of the containers that run.
    pub fn running(&self) -> Vec<String> {
        self.runtime.with(|engine| {
            engine.containers().filter(|container| container.is_running()).map(|c| c.spec.name.clone()).collect()
        })
    }
}

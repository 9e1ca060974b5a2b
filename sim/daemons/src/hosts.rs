//! The machines: a manager and its disk, a worker with its disk and its engine, each running the
//! daemon as it is shipped.

use crate::{
    engine::Engine,
    executor::SimulatedBlocking,
    machine::{End, Machine},
    options::Options,
    record::Record,
    shadow::{Shadow, Shadowed},
};
use madsim::runtime::{Handle, NodeHandle};
use orbit_core::{
    model::{ClusterId, Millis, NodeInfo, NodeUid, Resources, SPEC_LEVEL, Timing, Versions},
    worker::{Config, FreeSpace, ImageCollection},
};
use orbit_manager::{ManagerHandle, sessions::Workers};
use orbit_proto::v1::worker_server::WorkerServer;
use orbit_sim::Random;
use orbit_store::{Options as StoreOptions, RedbLedger, RedbStorage, StoreError, simulated::SimulatedDisk};
use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex},
};
use tokio::sync::mpsc::{self, UnboundedSender};

const MANAGER_IP: &str = "10.0.0.1";
const WORKERS_PORT: u16 = 7071;

/// A manager's machine: its disk outlives its process.
pub struct ManagerHost {
    /// To kill and restart it by.
    pub node: NodeHandle,
    pub(crate) machine: Arc<Machine>,
    handle: Arc<Mutex<Option<ManagerHandle>>>,
}

/// A worker's machine: its disk and its engine outlive its process.
pub struct WorkerHost {
    /// To kill and restart it by.
    pub node: NodeHandle,
    /// Its containers.
    pub runtime: Engine,
    pub(crate) machine: Arc<Machine>,
}

fn store_options(reserve: bool) -> StoreOptions {
    StoreOptions { cache_bytes: 1 << 20, reserve_bytes: u64::from(reserve) }
}

/// Opens the log on a machine's disk.
pub(crate) fn open_log(disk: &SimulatedDisk, reserve: bool) -> Result<RedbStorage, StoreError> {
    let free = disk.clone();
    RedbStorage::create_with_backend(disk.open(), store_options(reserve), move || Ok(free.free_bytes()))
}

/// Opens the ledger on a machine's disk.
fn open_ledger(disk: &SimulatedDisk, reserve: bool) -> Result<RedbLedger, StoreError> {
    let free = disk.clone();
    RedbLedger::create_with_backend(disk.open(), store_options(reserve), move || Ok(free.free_bytes()))
}

impl ManagerHost {
    /// Boots a manager in a calm world; it starts again whenever its machine is restarted.
    pub fn boot() -> ManagerHost {
        let shadow = Shadow::new(mpsc::unbounded_channel().0);
        ManagerHost::with(&Options::calm(), Random::new(0, 1), Record::new(false), mpsc::unbounded_channel().0, shadow)
    }

    pub(crate) fn with(
        options: &Options,
        random: Random,
        record: Record,
        ends: UnboundedSender<End>,
        shadow: Arc<Mutex<Shadow>>,
    ) -> ManagerHost {
        let machine = Arc::new(Machine::new("manager".into(), random, options, record, ends));
        // The file is made whole or not at all, by a rename that this disk does not know.
        drop(open_log(&machine.disk, false).expect("an empty disk can be written"));
        let handle: Arc<Mutex<Option<ManagerHandle>>> = Arc::default();
        let (inside, hall, options) = (machine.clone(), handle.clone(), options.clone());
        let process = move || {
            let (machine, hall, options, shadow) = (inside.clone(), hall.clone(), options.clone(), shadow.clone());
            async move {
                machine.begins();
                let Err(error) = manage(&machine, &hall, &options, shadow).await;
                machine.ended(Some(error));
            }
        };
        let node =
            Handle::current().create_node().name("manager").ip(MANAGER_IP.parse().unwrap()).init(process).build();
        machine.booted(node.id());
        ManagerHost { node, machine, handle }
    }

    /// Its disk, to break and to fill.
    pub fn disk(&self) -> &SimulatedDisk {
        &self.machine.disk
    }

    /// The handle of the present process.
    pub fn handle(&self) -> Option<ManagerHandle> {
        self.handle.lock().unwrap().clone()
    }
}

/// The manager's process.
async fn manage(
    machine: &Arc<Machine>,
    hall: &Mutex<Option<ManagerHandle>>,
    options: &Options,
    shadow: Arc<Mutex<Shadow>>,
) -> Result<Infallible, StoreError> {
    let parts = orbit_manager::Parts {
        timing: Timing::default(),
        storage: Box::new(Shadowed { log: open_log(&machine.disk, options.reserve)?, shadow }),
        blocking: Arc::new(SimulatedBlocking(machine.clone())),
        compact_every: options.compact_every,
        seed: madsim::rand::random(),
        cluster: ClusterId(madsim::rand::random()),
    };
    let store_error = |orbit_manager::Error::Store(error)| error;
    let (handle, manager) = orbit_manager::start(parts, pending()).map_err(store_error)?;
    *hall.lock().unwrap() = Some(handle.clone());
    let workers = tonic::transport::Server::builder()
        .add_service(WorkerServer::new(Workers::new(handle)))
        .serve(format!("0.0.0.0:{WORKERS_PORT}").parse().unwrap());
    tokio::select! { biased;
        ended = manager => match ended {
            Ok(()) => panic!("the manager ended and nobody had asked it to"),
            Err(error) => Err(store_error(error)),
        },
        served = workers => panic!("the listener ended: {served:?}"),
    }
}

impl WorkerHost {
    /// Boots the n-th worker (from 1) in a calm world; it starts again whenever its machine is
    /// restarted.
    pub fn boot(n: u8) -> WorkerHost {
        let (ends, _) = mpsc::unbounded_channel();
        WorkerHost::with(n, &Options::calm(), Random::new(0, 100 + u64::from(n)), Record::new(false), ends)
    }

    pub(crate) fn with(
        n: u8,
        options: &Options,
        mut random: Random,
        record: Record,
        ends: UnboundedSender<End>,
    ) -> WorkerHost {
        let name = format!("node-{n}");
        let engine = Engine::boot(format!("engine-{n}"), Random::new(random.bits(), 0), options, record.clone());
        let machine = Arc::new(Machine::new(name, random, options, record, ends));
        drop(open_ledger(&machine.disk, false).expect("an empty disk"));
        let (inside, runtime, options) = (machine.clone(), engine.clone(), options.clone());
        let process = move || {
            let (machine, runtime, options) = (inside.clone(), runtime.clone(), options.clone());
            async move {
                machine.begins();
                let Err(error) = work(&machine, n, runtime, &options).await;
                machine.ended(Some(error));
            }
        };
        let ip = format!("10.0.1.{n}").parse().unwrap();
        let node = Handle::current().create_node().name(&machine.name).ip(ip).init(process).build();
        machine.booted(node.id());
        WorkerHost { node, runtime: engine, machine }
    }

    /// The names of our containers that run.
    pub fn running(&self) -> Vec<String> {
        self.runtime.with(|engine| {
            let ours = engine.containers().filter(|container| container.identity.is_some());
            ours.filter(|container| container.is_running()).map(|c| c.spec.name.clone()).collect()
        })
    }
}

/// The worker's process.
async fn work(machine: &Arc<Machine>, n: u8, runtime: Engine, options: &Options) -> Result<Infallible, StoreError> {
    let config = Config {
        info: NodeInfo {
            uid: NodeUid(madsim::rand::random()),
            name: machine.name.clone(),
            labels: [("zone".to_string(), ["a", "b"][usize::from(n % 2)].to_string())].into(),
            arch: "amd64".into(),
            os: "linux".into(),
            allocatable: Resources { cpu_millis: options.cpu_millis, memory_bytes: 8 << 30 },
            port_range: (20_000, 20_099),
            address: None,
            pinned_ports: None,
            allowed: [].into(),
            versions: Versions { spec_level: SPEC_LEVEL, ..Versions::default() }.into(),
        },
        pull_deadline: Millis::secs(20),
        starts_max: 3,
        resync_every: Millis::secs(30),
        disk_reserve_bytes: 64 << 20,
        image_collection: ImageCollection::NEVER,
    };
    let disk = machine.disk.clone();
    let parts = orbit_worker::Parts {
        config,
        managers: vec![format!("http://{MANAGER_IP}:{WORKERS_PORT}")],
        runtime: Arc::new(runtime),
        ledger: Box::new(open_ledger(&machine.disk, options.reserve)?),
        free_space: Arc::new(move || Ok(FreeSpace::of(disk.free_bytes()))),
        blocking: Arc::new(SimulatedBlocking(machine.clone())),
        nonce: madsim::rand::random(),
    };
    match orbit_worker::run(parts, pending()).await {
        Ok(()) => panic!("the worker ended and nobody had asked it to"),
        Err(orbit_worker::Error::Store(error)) => Err(error),
    }
}

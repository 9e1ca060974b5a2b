//! A real worker whose engine is a fake.

use orbit_core::{
    model::{Millis, NodeInfo, NodeUid, Resources},
    worker::{Config, FreeSpace, ImageCollection},
};
use orbit_runtime::{
    ContainerRuntime,
    fake::{FakeEngine, FakeRuntime, ImagePlace, Program},
};
use orbit_store::{LedgerDisk, MemoryLedger};
use orbit_tests::IMAGE;
use std::{collections::BTreeMap, sync::Arc};

/// All that such a worker is made of; it has the example's image. `engine` says what the fake is behind.
pub fn worker<R: ContainerRuntime + 'static>(
    name: String,
    manager: String,
    engine: impl FnOnce(FakeRuntime) -> R,
) -> orbit_worker::Parts {
    let capacity = Resources { cpu_millis: 4000, memory_bytes: 8 << 30 };
    let mut fake = FakeEngine::new(capacity);
    fake.add_image(IMAGE, ImagePlace::Present, Program::Run);
    orbit_worker::Parts {
        config: Config {
            info: NodeInfo {
                uid: NodeUid(orbit_shell::random()),
                name,
                labels: BTreeMap::new(),
                arch: "amd64".to_string(),
                os: "linux".to_string(),
                allocatable: capacity,
                port_range: (20_000, 20_100),
                address: None,
                pinned_ports: None,
                allowed: [].into(),
                versions: Default::default(),
            },
            pull_deadline: Millis::secs(10),
            starts_max: 12,
            resync_every: Millis::secs(30),
            disk_reserve_bytes: 0,
            image_collection: ImageCollection::NEVER,
        },
        managers: vec![manager],
        runtime: Arc::new(engine(FakeRuntime::new(fake))),
        ledger: Box::new(MemoryLedger::open(&LedgerDisk::default())),
        free_space: Arc::new(|| Ok(FreeSpace::of(u64::MAX))),
        blocking: Arc::new(orbit_shell::TokioBlocking),
        nonce: orbit_shell::random(),
    }
}

//! Things of the machine that tests share, in one process or in several: each is a lock file, and
//! the system lets go of it when its holder ends, however that happens.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::PathBuf,
    thread::sleep,
    time::Duration,
};

/// So many clusters use the engine at once: it is the engine that is slow, not the tests.
const ON_ENGINE_MAX: u16 = 3;
/// Below the range from which Linux gives ports to outgoing connections, so that a port stays free
/// while its daemon is dead. Below the worker's own default, too.
const PORTS_FIRST: u16 = 10_000;
const PORTS_PER_CLUSTER: u16 = 200;
const CLUSTERS_MAX: u16 = 50;

/// Held as long as it lives.
pub struct Claim {
    _file: File,
}

fn try_claim(name: &str) -> Option<Claim> {
    let dir: PathBuf = std::env::temp_dir().join(format!("orbit-tests-{}", rustix::process::getuid().as_raw()));
    fs::create_dir_all(&dir).expect("the temporary folder can be written");
    let file = File::create(dir.join(name)).expect("the temporary folder can be written");
    file.try_lock().ok().map(|()| Claim { _file: file })
}

/// Waits for a turn on the engine.
pub fn engine_turn() -> Claim {
    wait_for(|| (0..ON_ENGINE_MAX).find_map(|n| try_claim(&format!("engine-{n}"))))
}

/// Waits for what only one has at a time.
pub fn wait_for_claim(name: &str) -> Claim {
    wait_for(|| try_claim(name))
}

fn wait_for(claim: impl Fn() -> Option<Claim>) -> Claim {
    loop {
        if let Some(claim) = claim() {
            return claim;
        }
        sleep(Duration::from_millis(20));
    }
}

/// A block of ports of this machine for one cluster.
pub struct Ports {
    first: u16,
    _claim: Claim,
}

impl Ports {
    /// # Panics
    /// If all are taken.
    pub fn claim() -> Ports {
        let block = |n: u16| {
            let ports = Ports { first: PORTS_FIRST + n * PORTS_PER_CLUSTER, _claim: try_claim(&format!("ports-{n}"))? };
            let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
            (free(ports.users()) && free(ports.workers())).then_some(ports)
        };
        (0..CLUSTERS_MAX).find_map(block).expect("there are enough ports for all tests at once")
    }
    /// Where the manager listens for users.
    pub fn users(&self) -> u16 {
        self.first
    }
    /// Where the manager listens for workers.
    pub fn workers(&self) -> u16 {
        self.first + 1
    }
    /// Free for whatever else the test starts, by number.
    pub fn spare(&self, number: u16) -> u16 {
        const SPARE: u16 = 8;
        assert!(number < SPARE, "a cluster has {SPARE} ports to spare");
        self.first + 2 + number
    }
    /// What the worker of this number publishes on.
    pub fn published(&self, worker: u16) -> (u16, u16) {
        const PER_WORKER: u16 = 45;
        let first = self.first + 10 + worker * PER_WORKER;
        assert!(first + PER_WORKER <= self.first + PORTS_PER_CLUSTER, "a cluster here has at most four workers");
        (first, first + PER_WORKER - 1)
    }
}

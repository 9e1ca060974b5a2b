//! What `orbit dev` knows of itself.

use orbit_runtime::{ContainerRuntime, EngineInfo, docker::DockerRuntime};
use std::path::{Path, PathBuf};

/// What the banner has to tell.
pub struct Facts {
    /// The API's address.
    pub api: String,
    pub node: String,
    pub state_dir: PathBuf,
    /// Where workers of other machines come in, if they may.
    pub workers: Option<u16>,
    pub engine: DockerRuntime,
}

impl Facts {
    pub fn new(
        manager: &orbit_manager::daemon::Config,
        worker: &orbit_worker::daemon::Config,
        state_dir: &Path,
    ) -> Facts {
        let from_outside = !manager.listen_workers.ip().is_loopback();
        Facts {
            api: super::url(manager.listen),
            node: worker.node_name(),
            state_dir: state_dir.to_path_buf(),
            workers: from_outside.then_some(manager.listen_workers.port()),
            engine: DockerRuntime::from_env(worker.publish),
        }
    }

    /// Asks the engine what it is.
    pub async fn look(&self) -> Engine {
        self.engine.info().await.map_err(|error| error.message)
    }
}

/// What an engine is, or why there is none.
pub type Engine = Result<EngineInfo, String>;

//! A real Prometheus: as installed, or as the distribution packs it.

use crate::{engine::skip, repository};
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

/// Where its programs are.
#[derive(Clone, Debug)]
pub struct Prometheus {
    dir: PathBuf,
}

/// The one that `.ci/prometheus` finds or fetches; `None`, and a line that says so, where none can be had: the test then
/// passes without having tested.
///
/// # Panics
/// Where none can be had and `ORBIT_REQUIRE_ENGINE=1`.
pub fn prometheus() -> Option<Prometheus> {
    static FOUND: OnceLock<Result<Prometheus, String>> = OnceLock::new();
    let find = || {
        let found = Command::new(repository().join(".ci/prometheus")).output().map_err(|error| error.to_string())?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
        match found.status.success() {
            true => Ok(Prometheus { dir: said(&found.stdout).into() }),
            false => Err(said(&found.stderr)),
        }
    };
    match FOUND.get_or_init(find) {
        Ok(prometheus) => Some(prometheus.clone()),
        Err(error) => {
            skip(error);
            None
        }
    }
}

impl Prometheus {
    /// The program itself.
    pub fn program(&self) -> PathBuf {
        self.dir.join("prometheus")
    }

    /// Its tool, run in a folder.
    ///
    /// # Panics
    /// If it cannot be run.
    pub fn promtool(&self, dir: &Path, args: &[&str]) -> Output {
        let tool = self.dir.join("promtool");
        Command::new(tool).current_dir(dir).args(args).output().expect("it was found just now")
    }
}

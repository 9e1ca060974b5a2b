//! A wall clock that is handed to a daemon and can be set; the machine's own is left alone. It is
//! libfaketime's (<https://github.com/wolfcw/libfaketime>), and monotonic time stays true.

use crate::engine;
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// Held as long as a daemon has it.
pub struct WallClock {
    library: PathBuf,
    dir: TempDir,
}

impl WallClock {
    /// The machine's time at first; `None`, and a line that says so, where libfaketime is missing: the
    /// test then passes without having tested.
    ///
    /// # Panics
    /// Where it is missing and `ORBIT_REQUIRE_ENGINE=1`.
    pub fn new() -> Option<WallClock> {
        let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let library =
            folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
        let Some(library) = library else {
            engine::skip("no clock of one's own: libfaketime is missing");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("orbit-clock-").tempdir().expect("a temporary folder");
        let clock = WallClock { library, dir };
        clock.set("+0");
        Some(clock)
    }
    /// What a daemon needs in its environment to have this clock.
    pub fn env(&self) -> Vec<(String, String)> {
        let file = self.dir.path().join("time");
        let variables = [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_string()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_string()),
        ];
        variables.map(|(name, value)| (name.to_string(), value)).into()
    }
    /// Sets it back by so much, for example `1h`.
    pub fn set_back(&self, span: &str) {
        self.set(&format!("-{span}"));
    }
    fn set(&self, offset: &str) {
        fs::write(self.dir.path().join("time"), format!("{offset}\n")).expect("the temporary folder can be written");
    }
}

//! A small disk that can be full.

use crate::engine;
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

/// A file system of its own, in memory. It goes when it is dropped; whatever is still used of it
/// goes with its last user.
pub struct Disk {
    dir: TempDir,
}

impl Disk {
    /// Of so many MiB; `None`, and a line that says so, where none can be mounted: the test then
    /// passes without having tested.
    ///
    /// # Panics
    /// Where none can be and `ORBIT_REQUIRE_ENGINE=1`.
    pub fn of_mib(size: u32) -> Option<Disk> {
        let dir = tempfile::Builder::new().prefix("orbit-disk-").tempdir().expect("a temporary folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}m,mode=0700"), "tmpfs"]).arg(dir.path());
        match mount.output() {
            Ok(output) if output.status.success() => Some(Disk { dir }),
            other => {
                engine::skip(&format!("no disk of one's own: {other:?}"));
                None
            }
        }
    }
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
    /// Takes so many MiB.
    ///
    /// # Panics
    /// If there is no room for them.
    pub fn fill_mib(&self, size: usize) {
        fs::write(self.dir.path().join("fill"), vec![1; size << 20]).expect("there is room");
    }
    /// Gives back what was taken.
    ///
    /// # Panics
    /// If nothing was.
    pub fn empty(&self) {
        fs::remove_file(self.dir.path().join("fill")).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).output();
    }
}

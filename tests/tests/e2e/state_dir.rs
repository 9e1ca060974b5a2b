//! State directories that cannot be used are refused at once, in one line.

use orbit_tests::{Cluster, binaries};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// Starts a daemon that is to refuse. Nobody listens where it would connect to.
fn start(program: &Path, dir: &Path) -> Output {
    let addresses: &[&str] = match program.ends_with("orbit-manager") {
        true => &["--listen=127.0.0.1:0", "--listen-workers=127.0.0.1:0"],
        false => &["--manager=http://127.0.0.1:9", "--name=other"],
    };
    let state = format!("--state-dir={}", dir.display());
    Command::new(program).args(addresses).arg(state).output().expect("the daemon can be run")
}

fn refused(output: &Output, says: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(says), "{stderr}");
}

#[test]
fn a_directory_has_one_manager() {
    let cluster = Cluster::without_engine();
    let pid = cluster.manager.pid();
    refused(&start(&binaries().manager, &cluster.manager_dir()), &format!("in use by another process (PID {pid})"));
    cluster.wait_manager();
}

#[test]
fn a_file_that_is_not_orbits_is_refused_and_left_alone() {
    let mut cluster = Cluster::without_engine();
    cluster.add_worker(&[]);
    let worker_dir = cluster.scratch().join("worker-0");
    cluster.wait_for("the worker has its ledger", || match files(&worker_dir) {
        files if files.iter().any(|(_, bytes)| *bytes > 0) => Ok(()),
        files => Err(format!("{files:?}")),
    });
    refused(&start(&binaries().worker, &worker_dir), "in use by another process");
    cluster.workers[0].daemon.kill();
    cluster.manager.kill();
    for (program, dir) in [(&binaries().manager, cluster.manager_dir()), (&binaries().worker, worker_dir)] {
        let largest = files(&dir).into_iter().max_by_key(|(_, bytes)| *bytes).expect("a state directory has a file").0;
        for garbage in [&b"this is not what you are looking for\n"[..], &[0xa5; 1 << 16]] {
            fs::write(&largest, garbage).expect("the test's own file");
            refused(&start(program, &dir), "damaged or not Orbit's");
            assert_eq!(fs::read(&largest).expect("it is still there"), garbage);
        }
    }
}

fn files(dir: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().map(|entry| (entry.path(), entry.metadata().map_or(0, |meta| meta.len()))).collect()
}

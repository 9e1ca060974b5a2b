//! A rolling upgrade: daemons of an earlier commit beside those of this source, in both directions, and each upgraded in place.
//!
//! `make upgrade` builds the earlier ones, and runs these.

use crate::{identities, web};
use orbit_tests::{Cluster, Setup, binaries, engine};
use std::path::PathBuf;

/// The programs of the earlier commit.
fn previous(name: &str) -> PathBuf {
    let dir = std::env::var_os("ORBIT_PREVIOUS").expect("the folder with the programs of an earlier commit");
    let path = PathBuf::from(dir).join(name);
    assert!(path.is_file(), "{} is not there", path.display());
    path
}

#[test]
#[ignore = "needs the programs of an earlier commit: make upgrade"]
fn an_earlier_worker_works_for_this_manager_and_is_upgraded_with_its_containers_running() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 0);
    cluster.add_worker_as(&previous("orbit-worker"));
    cluster.wait_ready(1);
    cluster.apply(&web("web", 2));
    let before = cluster.wait_running("web", 2);
    // What it does: start, stop, replace, and show logs.
    cluster.scale("web", 3);
    cluster.wait_running("web", 3);
    cluster.scale("web", 2);
    engine.kill(&before[0].id);
    let before = cluster.wait_replaced("web", 2, &before[0]);
    let logs = cluster.orbit(&["logs", "web"], "");
    assert!(logs.status.success() && String::from_utf8_lossy(&logs.stdout).contains("listening"), "{logs:?}");

    let worker = &mut cluster.workers[0].daemon;
    assert_eq!(worker.terminate().code(), Some(0));
    worker.becomes(&binaries().worker);
    worker.start();
    cluster.wait_ready(1);
    let versions = cluster.wait_for("it is this version's", || match cluster.nodes().remove(0).worker_version {
        version if version.is_empty() => Err("it does not say".to_string()),
        version => Ok(version),
    });
    assert_eq!(versions, env!("CARGO_PKG_VERSION"));
    assert_eq!(identities(&cluster.wait_running("web", 2)), identities(&before), "nothing was restarted");
    cluster.scale("web", 4);
    cluster.wait_running("web", 4);
}

#[test]
#[ignore = "needs the programs of an earlier commit: make upgrade"]
fn this_worker_works_for_an_earlier_manager_which_is_upgraded_on_its_own_state() {
    let Some(engine) = engine() else { return };
    let setup = Setup { program: Some(previous("orbit-manager")), ..Setup::default() };
    let mut cluster = Cluster::start_as(&engine, 1, setup);
    cluster.apply(&web("web", 2));
    let before = cluster.wait_running("web", 2);
    let revision = cluster.service("web").expect("it is there").revision;

    assert_eq!(cluster.manager.terminate().code(), Some(0));
    cluster.manager.becomes(&binaries().manager);
    cluster.manager.start();
    cluster.wait_manager();
    cluster.wait_ready(1);
    let service = cluster.service("web").expect("it is still there");
    assert_eq!((service.revision, service.version), (revision, 1));
    assert_eq!(identities(&cluster.wait_running("web", 2)), identities(&before), "nothing was restarted");
    engine.kill(&before[1].id);
    cluster.wait_replaced("web", 2, &before[1]);
    let saved = cluster.orbit(&["snapshot", "save", cluster.scratch().join("a.backup").to_str().expect("text")], "");
    assert!(saved.status.success(), "{saved:?}");
}

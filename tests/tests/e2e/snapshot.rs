//! Backups: taken hot, and a manager that is restored from one.

use crate::{identities, web};
use orbit_tests::{Cluster, engine};
use std::{fs, os::unix::fs::PermissionsExt};

#[test]
fn a_restored_manager_takes_over_what_it_knows_and_asks_about_the_rest() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 1);
    cluster.apply(&web("old", 2));
    let old = cluster.wait_running("old", 2);
    let backup = cluster.scratch().join("orbit.backup");
    let (file, state_dir) = (backup.to_str().expect("it is text"), cluster.manager_dir());
    let orbit = |cluster: &Cluster, args: &[&str]| {
        let output = cluster.orbit(args, "");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = orbit(&cluster, &["snapshot", "save", file]);
    assert!(code == Some(0) && out.contains("1 service, 0 task definitions, 2 living tasks, 1 node"), "{out}{err}");
    assert_eq!(fs::metadata(&backup).expect("it is there").permissions().mode() & 0o777, 0o600);
    // Two services that are younger than the backup.
    cluster.apply(&web("later", 1));
    cluster.apply(&web("latest", 1));
    let younger = [cluster.wait_running("later", 1), cluster.wait_running("latest", 1)].concat();

    // Onto what is there already nothing is restored.
    assert_eq!(cluster.manager.terminate().code(), Some(0));
    let dir = state_dir.to_str().expect("it is text").to_string();
    let restore = ["snapshot", "restore", file, "--state-dir", &dir];
    let (code, _, err) = orbit(&cluster, &restore);
    assert!(code == Some(2) && err.contains("has the state of a manager already"), "{err}");
    fs::rename(&state_dir, cluster.scratch().join("before")).expect("it is moved away");
    let (code, out, err) = orbit(&cluster, &restore);
    assert!(code == Some(0) && out.contains("epoch 2"), "{out}{err}");
    cluster.manager.start();
    cluster.wait_manager();
    cluster.wait_ready(1);

    // What it knows goes on as it is. The rest does, too, until somebody has said what becomes of it.
    assert_eq!(identities(&cluster.wait_running("old", 2)), identities(&old));
    let message = cluster.wait_for("the node says so", || match cluster.nodes().remove(0).message {
        message if message.is_empty() => Err("it says nothing".to_string()),
        message => Ok(message),
    });
    assert!(message.starts_with("has 2 tasks from before the restore"), "{message}");
    let (code, out, err) = orbit(&cluster, &["snapshot", "settle"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(younger.iter().all(|container| out.contains(container.task())), "{out}");
    assert!(err.contains("--adopt-unknown") && err.contains("--remove-unknown"), "{err}");
    let all = [old, younger.clone()].concat();
    let there = |cluster: &Cluster| identities(&cluster.containers());
    assert_eq!(there(&cluster), identities(&all), "nothing was touched");
    // Also over a restart of the worker.
    cluster.workers[0].daemon.kill();
    cluster.workers[0].daemon.start();
    cluster.wait_ready(1);
    cluster.apply(&web("new", 1));
    let new = cluster.wait_running("new", 1);
    assert!(new[0].task().starts_with("2."), "it is of another epoch: {}", new[0].task());
    assert_eq!(there(&cluster), identities(&[all, new.clone()].concat()), "nothing was touched");

    let (code, out, err) = orbit(&cluster, &["snapshot", "settle", "--remove-unknown"]);
    assert_eq!((code, out.as_str()), (Some(0), "2 tasks from before the restore: told to go\n"), "{err}");
    cluster.wait_for("they go", || {
        let left = cluster.containers();
        let gone = younger.iter().all(|gone| left.iter().all(|container| container.id != gone.id));
        if gone { Ok(()) } else { Err(format!("{} containers", left.len())) }
    });
    assert_eq!(cluster.wait_running("old", 2).len() + cluster.wait_running("new", 1).len(), 3);
    let (code, _, err) = orbit(&cluster, &["snapshot", "settle", "--remove-unknown"]);
    assert!(code == Some(2) && err.contains("nothing is held"), "{err}");
}

#[test]
fn a_file_that_is_no_backup_is_named() {
    let cluster = Cluster::without_engine();
    let verify = |file: &str| {
        let output = cluster.orbit(&["snapshot", "verify", file], "");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let none = cluster.file("none.backup", "kind: Service\nname: web\n");
    assert!(matches!(verify(&none), (Some(2), said) if said.contains("it is no backup of Orbit's")));
    let file = cluster.scratch().join("orbit.backup");
    let saved = cluster.orbit(&["snapshot", "save", file.to_str().expect("it is text")], "");
    assert_eq!(saved.status.code(), Some(0));
    let mut bytes = fs::read(&file).expect("it was saved");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).expect("it is written");
    assert!(matches!(verify(file.to_str().expect("it is text")), (Some(2), said) if said.contains("it is damaged")));
    assert!(matches!(verify("nowhere.backup"), (Some(2), said) if said.contains("nowhere.backup")));
}

//! Machines that are mistaken for one another.

use crate::{lives, web};
use orbit_tests::{Cluster, Lab};
use std::{fs, path::Path};

#[test]
fn a_second_worker_of_the_same_name_is_refused_and_harms_nobody() {
    let Some(lab) = Lab::start(2) else { return };
    let mut cluster = Cluster::manager_of(&lab);
    cluster.add_worker_on(&lab.hosts[0], &["--name=same"]);
    cluster.wait_ready(1);
    cluster.apply(&web(2));
    let before = cluster.wait_running("web", 2);
    cluster.add_worker_on(&lab.hosts[1], &["--name=same"]);
    cluster.wait_for("the second is told why not", || {
        let log = cluster.workers[1].daemon.log();
        if log.contains("same") && log.contains("name") && log.contains("WARN") { Ok(()) } else { Err(log) }
    });
    assert_eq!(cluster.nodes().len(), 1);
    assert_eq!(lives(&cluster.wait_running("web", 2)), lives(&before));
    // The name is free when its first bearer is given up.
    cluster.workers[0].daemon.kill();
    cluster.wait_for("its silence is noticed", || match &cluster.nodes()[..] {
        [node] if node.state == "unreachable" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    cluster.delete("/v1/nodes/same");
    cluster.wait_ready(1);
    let after = cluster.wait_for("both run on the other machine", || {
        let tasks = cluster.running("web");
        let now = cluster.running_containers("web");
        let others = now.into_iter().filter(|c| before.iter().all(|b| b.id != c.id)).count();
        if tasks.len() == 2 && others == 2 { Ok(tasks) } else { Err(format!("{tasks:?}")) }
    });
    assert!(after.iter().all(|task| task.node.as_deref() == Some("same")));
}

#[test]
fn a_state_directory_that_was_copied_to_another_machine_is_refused_there() {
    let Some(lab) = Lab::start(2) else { return };
    let mut cluster = Cluster::manager_of(&lab);
    cluster.add_worker_on(&lab.hosts[0], &[]);
    cluster.wait_ready(1);
    cluster.apply(&web(2));
    let before = cluster.wait_running("web", 2);
    let copy = cluster.scratch().join("copy");
    copy_dir(&cluster.worker_dir(0), &copy);
    let state = format!("--state-dir={}", copy.display());
    cluster.add_worker_on(&lab.hosts[1], &[&state, "--name=worker-0"]);
    cluster.wait_for("the copy is told why not", || {
        let log = cluster.workers[1].daemon.log();
        if log.contains("another worker with this node's state directory is connected") { Ok(()) } else { Err(log) }
    });
    assert_eq!(lives(&cluster.wait_running("web", 2)), lives(&before));
    assert!(lab.hosts[1].engine().all().is_empty(), "it runs nothing");
    assert_eq!(cluster.tasks("service=web").len(), 2);
    assert!(cluster.nodes().iter().all(|node| node.state == "ready"));
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the test's own folder");
    for entry in fs::read_dir(from).expect("a worker has a state directory").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("the test's own folder");
    }
}

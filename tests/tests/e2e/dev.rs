//! `orbit dev`: what a newcomer sees.

use crate::daemons::messages;
use orbit_tests::{Cluster, Daemon, binaries, engine};

/// On the ports of a cluster whose daemons do not run.
fn dev(cluster: &mut Cluster, name: &str, more: &[&str]) -> Daemon {
    cluster.manager.kill();
    let mut args = vec![
        "dev".to_string(),
        format!("--state-dir={}", cluster.scratch().join(name).display()),
        format!("--listen={}", cluster.url().replace("http://", "")),
        format!("--listen-workers=127.0.0.1:{}", cluster.workers_port()),
    ];
    args.extend(more.iter().map(|arg| arg.to_string()));
    let mut dev = Daemon::new(&binaries().orbit, args, cluster.scratch().join(format!("{name}.log")));
    dev.env("DOCKER_HOST", &format!("unix://{}", cluster.scratch().join("docker.sock").display()));
    dev
}

fn wait_output(cluster: &Cluster, dev: &Daemon, words: &str) {
    cluster.wait_for(&format!("`{words}` is shown"), || match dev.output() {
        shown if shown.contains(words) => Ok(()),
        shown => Err(format!("{shown}\n{}", dev.log())),
    });
}

#[test]
fn it_says_that_no_engine_answers_and_goes_on_when_one_comes() {
    let Some(_engine) = engine() else { return };
    let mut cluster = Cluster::without_engine();
    let mut dev = dev(&mut cluster, "dev", &[]);
    dev.start();
    wait_output(&cluster, &dev, "none answers");
    for words in ["API      http://127.0.0.1:", "systemctl start docker", "export ORBIT_ADDR=", "orbit apply -f"] {
        wait_output(&cluster, &dev, words);
    }
    assert!(cluster.nodes().is_empty());
    std::os::unix::fs::symlink("/var/run/docker.sock", cluster.scratch().join("docker.sock")).expect("our own folder");
    wait_output(&cluster, &dev, "answers: going on");
    wait_output(&cluster, &dev, "node joined");
    cluster.wait_ready(1);
    assert_eq!(dev.terminate().code(), Some(0));
    assert!(dev.output().contains("Orbit has ended. No container of it runs."), "{}", dev.output());
    assert!(!dev.output().contains('\u{1b}'), "no colours where no terminal is");
    assert_eq!(dev.log(), "", "what went well is not logged unless it is asked for");
}

#[test]
fn what_happens_is_one_line_each() {
    let mut cluster = Cluster::without_engine();
    let mut dev = dev(&mut cluster, "dev", &[]);
    dev.start();
    wait_output(&cluster, &dev, "In another terminal");
    cluster.apply(&crate::web("web", 2));
    wait_output(&cluster, &dev, "web         service created: ");
    wait_output(&cluster, &dev, "web         service unplaced: ");
    cluster.delete("/v1/services/web");
    wait_output(&cluster, &dev, "web         service deleted\n");
}

#[test]
fn a_port_that_is_taken_is_one_line_that_says_what_to_do() {
    let mut cluster = Cluster::without_engine();
    let mut second = dev(&mut cluster, "second", &[]);
    cluster.manager.start();
    cluster.wait_manager();
    second.start();
    assert_eq!(second.wait_end().code(), Some(2));
    let said = second.log();
    assert_eq!(said.lines().count(), 1, "{said}");
    let address = cluster.url().replace("http://", "");
    for words in [format!("orbit: cannot listen on {address}: "), "in use".into(), "another with --listen".into()] {
        assert!(said.contains(&words), "{words}: {said}");
    }
}

#[test]
fn its_daemons_log_in_json_where_they_are_told_to() {
    let mut cluster = Cluster::without_engine();
    let mut dev = dev(&mut cluster, "dev", &["--verbose", "--log-format=json"]);
    dev.start();
    wait_output(&cluster, &dev, "In another terminal");
    assert_eq!(dev.terminate().code(), Some(0));
    let said = messages(&dev.log());
    assert!(said.iter().any(|message| message == "listening"), "{said:?}");
}

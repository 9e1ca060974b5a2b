//! Whatever a manager says of how often something is to be done, a worker does not do it without a pause.

use orbit_core::{model::*, worker::*};
use std::collections::BTreeMap;

fn config() -> Config {
    let info = NodeInfo {
        uid: NodeUid(1),
        name: "n0".into(),
        labels: BTreeMap::new(),
        arch: "amd64".into(),
        os: "linux".into(),
        allocatable: Resources { cpu_millis: 4000, memory_bytes: 1 << 30 },
        port_range: (20_000, 20_099),
        address: None,
        pinned_ports: None,
        allowed: [].into(),
        versions: Default::default(),
    };
    let (pull_deadline, resync_every) = (Millis::secs(20), Millis::secs(30));
    Config {
        info,
        pull_deadline,
        starts_max: 2,
        resync_every,
        disk_reserve_bytes: 0,
        image_collection: ImageCollection::NEVER,
    }
}

fn order(probe: Probe) -> Assignment {
    let spec = Spec {
        container: Container {
            pids_max: 10,
            stop: Stop::within(Millis::secs(1)),
            probes: Probes { health: Some(probe.clone().into()), ready: Some(probe.into()) },
            ..orbit_core::testing::container("web")
        },
        placement: Placement::default(),
        restart: Restart::with_policy(RestartPolicy::Always),
        disconnect: Disconnect::default(),
        after: vec![],
    };
    Assignment {
        task: TaskId { epoch: 1, index: 1, ordinal: 0 },
        generation: 1,
        desired: Desired::Running,
        ended: false,
        kind: Kind::Service,
        name: "web".into(),
        slot: 0,
        spec: spec.into(),
        host_ports: [].into(),
        volumes: [].into(),
        image: ImageBytes::AsWritten,
    }
}

/// How many steps a worker takes in ten seconds under such a manager, whose every heartbeat is acknowledged at once; and
/// how many of its probes are answered at once.
fn steps(heartbeat: Millis, lease: Millis, probe: Probe, answer: OpResult) -> (usize, usize) {
    let mut worker = Worker::restore(config(), Ledger::new(NodeUid(1)), BootId(1), 1);
    let (mut now, mut steps, mut probes) = (Time(0), 0, 0);
    let mut events = vec![Event::Wake];
    while now < Time(10_000) && steps < 20_000 {
        let Some(event) = events.pop() else {
            now = now.max(worker.deadline().expect("a connected worker has something to do"));
            events.push(Event::Wake);
            continue;
        };
        steps += 1;
        for action in worker.step(now, event) {
            match action {
                Action::Connect(link) => events.push(Event::LinkUp(link)),
                Action::Send { link, message } => {
                    let message = match message {
                        ToManager::Register(_) => ToWorker::Welcome(Welcome {
                            cluster: ClusterId(1),
                            epoch: 1,
                            term: 1,
                            node: NodeId(0),
                            incarnation: 1,
                            heartbeat,
                            lease,
                            assigned: Assigned {
                                seq: 1,
                                full: true,
                                tasks: vec![order(probe.clone())],
                                follow: vec![],
                                removed: vec![],
                            },
                        }),
                        ToManager::Heartbeat { seq, .. } => ToWorker::HeartbeatAck { seq },
                        ToManager::Report { .. } | ToManager::ProbeAck | ToManager::Prefetched { .. } => continue,
                    };
                    events.push(Event::Message { link, message });
                }
                Action::Runtime { op, request } => {
                    let result = match request {
                        Op::List(_) => Ok(OpOutput::Containers(vec![])),
                        Op::EnsureImage { .. } => Ok(OpOutput::Image(ImageFound {
                            digest: None,
                            id: "an-id".into(),
                            was_pulled: false,
                            was_new: false,
                        })),
                        Op::Probe { timeout, .. } => {
                            assert!(timeout >= Millis(limits::PROBE_SPAN_MS_MIN), "there is time to answer: {timeout}");
                            probes += 1;
                            answer.clone()
                        }
                        Op::Create(spec) => Ok(OpOutput::Created(spec.name.clone())),
                        _ => Ok(OpOutput::Done),
                    };
                    events.insert(0, Event::Done { op, result });
                }
                _ => {}
            }
        }
    }
    (steps, probes)
}

#[test]
fn a_span_of_no_time_does_not_make_a_worker_spin() {
    let probe = |interval, start_period| Probe {
        interval: Millis(interval),
        timeout: Millis(0),
        retries: 0,
        start_period: Millis(start_period),
        ..Probe::asking(ProbeAsk::Command(vec!["well".into()]))
    };
    let no = || Err(OpError { kind: OpErrorKind::Unwell, message: "no".into() });
    for (heartbeat, lease, probe, answer) in [
        (Millis(0), Millis::secs(5), probe(1000, 0), Ok(OpOutput::Done)),
        (Millis::secs(1), Millis(0), probe(1000, 0), Ok(OpOutput::Done)),
        (Millis::secs(1), Millis::secs(5), probe(0, 0), Ok(OpOutput::Done)),
        (Millis::secs(1), Millis::secs(5), probe(0, 0), no()),
        (Millis::secs(1), Millis::secs(5), probe(0, 60_000), no()),
    ] {
        let told = format!("heartbeat {heartbeat}, lease {lease}, {probe:?}");
        let (steps, probes) = steps(heartbeat, lease, probe, answer);
        assert!(steps < 5000, "{steps} steps in ten seconds: {told}");
        assert!((2..=2 * 101).contains(&probes), "{probes} probes in ten seconds: {told}");
    }
}

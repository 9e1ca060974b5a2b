//! What manager and worker say to each other, one file per direction. A manager and a worker of two versions work together
//! during an upgrade: what one of them wrote is read by the other for ever (I35).
//!
//! `UPDATE_GOLDEN=1` writes the files of the present version; a file that was released is never written again.

use super::golden::{end, golden, id, info, probes, shown, spec, uid};
use orbit_core::model::*;
use orbit_proto::v1;
use prost::Message;
use std::sync::Arc;

const PROBED: Probed = Probed { health: Some(true), ready: Some(false), image: Some(true) };

fn running() -> TaskReport {
    let digest = Some("sha256:0123".to_string());
    TaskReport {
        probed: PROBED,
        why: "ready: no".into(),
        digest,
        ..TaskReport::new(id(5, 0), TaskState::Running, None)
    }
}

fn failed() -> TaskReport {
    TaskReport { ended_ago: Millis(20), ..TaskReport::new(id(5, 1), TaskState::Failed, Some(end())) }
}

/// One of each that a worker says.
fn to_manager() -> Vec<ToManager> {
    let versions = Versions { worker: "0.1.0".into(), engine: "Docker 28.2.2".into(), spec_level: 0 }.into();
    let pinned_ports = Some([(80, 80), (8000, 8999)].into());
    let address = Some("10.0.0.7".parse().unwrap());
    let hello = Hello {
        cluster: Some(ClusterId(0xfeed_f00d)),
        seen: (1, 7),
        nonce: u64::MAX,
        info: NodeInfo { versions, pinned_ports, address, ..info() },
        inventory: vec![running(), failed()],
        takes_parts: true,
        prefetches: true,
    };
    let failure = Some(End::new(Reason::PullFailed, "no such image"));
    vec![
        ToManager::Register(Hello {
            cluster: None,
            seen: (0, 0),
            takes_parts: false,
            prefetches: false,
            ..hello.clone()
        }),
        ToManager::Register(hello),
        ToManager::Heartbeat { seq: 3, assigned_seq: 2, disk_full: false },
        ToManager::Heartbeat { seq: 4, assigned_seq: 2, disk_full: true },
        ToManager::Report { seq: 9, reports: vec![running(), failed()] },
        ToManager::ProbeAck,
        ToManager::Prefetched { workload: uid(3), version: 2, failure: None },
        ToManager::Prefetched { workload: uid(3), version: 2, failure },
    ]
}

/// One of each that a manager says.
fn to_worker() -> Vec<ToWorker> {
    let order = |task: TaskId, desired, image| Assignment {
        task,
        generation: 2,
        desired,
        ended: false,
        kind: Kind::Service,
        name: "web".into(),
        slot: 1,
        spec: Arc::new(Spec { container: Container { probes: probes(), ..spec().container }, ..spec() }),
        host_ports: [20_000, 9090].into(),
        volumes: [].into(),
        image,
    };
    let assigned = Assigned {
        seq: 1,
        full: true,
        tasks: vec![
            order(id(5, 0), Desired::Running, ImageBytes::Digest("sha256:0123".into())),
            order(id(5, 1), Desired::Stopped, ImageBytes::AsWritten),
            order(id(5, 2), Desired::Running, ImageBytes::Unresolved),
        ],
        follow: vec![id(6, 0)],
        removed: vec![],
    };
    let difference = Assigned { seq: 2, full: false, tasks: vec![], follow: vec![], removed: vec![id(5, 1)] };
    let stream = |what| ToWorker::Open(StreamRequest { token: StreamToken([7; 16]), task: id(5, 0), what });
    vec![
        ToWorker::Welcome(Welcome {
            cluster: ClusterId(0xfeed_f00d),
            epoch: 1,
            term: 7,
            node: NodeId(3),
            incarnation: 12,
            heartbeat: Millis::secs(1),
            lease: Millis::secs(5),
            assigned,
        }),
        ToWorker::Refused { message: "this manager does not lead yet".into() },
        ToWorker::Assigned(difference),
        ToWorker::HeartbeatAck { seq: 3 },
        ToWorker::Committed { seq: 9, states: vec![running().key(), failed().key()] },
        ToWorker::Probe,
        ToWorker::Prefetch { workload: uid(3), version: 2, image: "web:2".into(), pull: Pull::Always, keep: Millis(0) },
        stream(StreamOf::Logs(LogRange {
            follow: true,
            tail: Some(10),
            since_s: Some(1_700_000_000),
            timestamps: true,
        })),
        stream(StreamOf::Exec(ExecRequest { command: vec!["sh".into()], tty: true, stdin: true })),
    ]
}

/// How long an image is kept that is asked for ahead.
fn kept_image() -> Vec<ToWorker> {
    let (workload, image, pull, keep) = (uid(3), "web:2".into(), Pull::Missing, Millis::secs(65));
    vec![ToWorker::Prefetch { workload, version: 2, image, pull, keep }]
}

fn messages_are_kept<M, P>(name: &str, messages: Vec<M>)
where
    M: Clone + PartialEq + std::fmt::Debug + TryFrom<P, Error = orbit_proto::DecodeError>,
    P: Message + Default + std::fmt::Debug + for<'a> From<&'a M>,
{
    let records: Vec<Vec<u8>> = messages.iter().map(|message| P::from(message).encode_to_vec()).collect();
    let stored = golden(name, &records, &shown::<P>(&records));
    let read = |record: &Vec<u8>| M::try_from(P::decode(&record[..]).unwrap()).unwrap();
    assert_eq!(stored.iter().map(read).collect::<Vec<M>>(), messages);
    assert_eq!(records, stored);
}

#[test]
fn messages_of_version_1_are_read_and_written_byte_for_byte() {
    messages_are_kept::<_, v1::ToManager>("messages-to-manager", to_manager());
    messages_are_kept::<_, v1::ToWorker>("messages-to-worker", to_worker());
    messages_are_kept::<_, v1::ToWorker>("messages-to-worker-kept-images", kept_image());
}

//! What is encoded is read back; what is not ours is refused; what was written once is read for ever.

mod arbitrary;
mod golden;
mod messages;

use orbit_core::{model::*, state::Snapshot, worker::LedgerTask};
use orbit_proto::*;
use proptest::{collection::vec, prelude::*};
use prost::Message;
use std::sync::Arc;

fn over_the_wire<C, P>(value: &C) -> C
where
    P: Message + Default + for<'a> From<&'a C>,
    C: TryFrom<P, Error = DecodeError>,
{
    let bytes = P::from(value).encode_to_vec();
    P::decode(&bytes[..]).expect("our own bytes").try_into().expect("our own message")
}

/// Tries every decoder. That it comes back at all is what is tested; a value must be stable.
fn decode_all(bytes: &[u8]) {
    if let Ok(entry) = decode_entry(bytes) {
        assert_eq!(decode_entry(&encode_entry(&entry)), Ok(entry));
    }
    if let Ok(snapshot) = decode_snapshot([bytes]) {
        assert_eq!(decode_snapshot(encode_snapshot(&snapshot)), Ok(snapshot));
    }
    if let Ok(task) = decode_ledger_task(bytes) {
        assert_eq!(decode_ledger_task(&encode_ledger_task(&task)), Ok(task));
    }
    if let Ok(Ok(message)) = v1::ToManager::decode(bytes).map(ToManager::try_from) {
        assert_eq!(over_the_wire::<_, v1::ToManager>(&message), message);
    }
    if let Ok(Ok(message)) = v1::ToWorker::decode(bytes).map(ToWorker::try_from) {
        assert_eq!(over_the_wire::<_, v1::ToWorker>(&message), message);
    }
}

/// Flips, inserts and cuts: bytes that are almost ours go deeper than noise.
fn damaged(mut bytes: Vec<u8>, damage: &[(usize, u8)]) -> Vec<u8> {
    for &(at, value) in damage {
        match (bytes.len(), value % 3) {
            (0, _) => bytes.push(value),
            (len, 0) => bytes[at % len] = value,
            (len, 1) => bytes.insert(at % len, value),
            (len, _) => {
                bytes.remove(at % len);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn entries_are_read_back(entry in arbitrary::entry()) {
        prop_assert_eq!(decode_entry(&encode_entry(&entry)), Ok(entry));
    }

    #[test]
    fn snapshots_are_read_back(snapshot in arbitrary::snapshot()) {
        prop_assert_eq!(decode_snapshot(encode_snapshot(&snapshot)), Ok(snapshot));
    }

    #[test]
    fn ledger_tasks_are_read_back(task in arbitrary::ledger_task()) {
        prop_assert_eq!(decode_ledger_task(&encode_ledger_task(&task)), Ok::<LedgerTask, _>(task));
    }

    #[test]
    fn messages_to_the_manager_are_read_back(message in arbitrary::to_manager()) {
        prop_assert_eq!(over_the_wire::<_, v1::ToManager>(&message), message);
    }

    #[test]
    fn messages_to_a_worker_are_read_back(message in arbitrary::to_worker()) {
        prop_assert_eq!(over_the_wire::<_, v1::ToWorker>(&message), message);
    }

    #[test]
    fn a_heartbeat_or_a_lease_of_no_time_is_refused(message in arbitrary::to_worker(), no_heartbeat in any::<bool>()) {
        let mut wire = v1::ToWorker::from(&message);
        if let Some(v1::to_worker::Message::Welcome(welcome)) = &mut wire.message {
            *(if no_heartbeat { &mut welcome.heartbeat_ms } else { &mut welcome.lease_ms }) = 0;
            prop_assert!(ToWorker::try_from(wire).is_err());
        }
    }

    #[test]
    fn noise_is_refused_or_read(bytes in vec(any::<u8>(), 0..200)) {
        decode_all(&bytes);
    }

    #[test]
    fn damaged_entries_are_refused_or_read(
        entry in arbitrary::entry(),
        damage in vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        decode_all(&damaged(encode_entry(&entry), &damage));
    }

    #[test]
    fn damaged_snapshots_are_refused_or_read(
        snapshot in arbitrary::snapshot(),
        damage in vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        decode_all(&damaged(encode_snapshot(&snapshot).remove(0), &damage));
    }

    #[test]
    fn damaged_messages_are_refused_or_read(
        message in arbitrary::to_worker(),
        answer in arbitrary::to_manager(),
        damage in vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        decode_all(&damaged(v1::ToWorker::from(&message).encode_to_vec(), &damage));
        decode_all(&damaged(v1::ToManager::from(&answer).encode_to_vec(), &damage));
    }
}

#[test]
fn a_large_plan_takes_few_bytes_a_create() {
    let create = |slot: u32| Create {
        workload: Uid { epoch: 1, index: 7 },
        version: 1,
        slot,
        after: None,
        target: Some(Target { node: NodeId(slot % 6100), host_ports: Box::default() }),
    };
    let plan = Plan { parent: 7, creates: (0..100_000).map(create).collect(), ..Plan::default() };
    let entry = Entry { index: 8, term: 1, at: Time(1), wall_ms: 1, actor: Actor::Local, command: Command::Plan(plan) };
    let bytes = encode_entry(&entry);
    assert!(bytes.len() < 400_000, "{} bytes", bytes.len());
    assert_eq!(decode_entry(&bytes), Ok(entry));
}

#[test]
fn a_large_snapshot_comes_in_bounded_chunks() {
    let uid = Uid { epoch: 1, index: 2 };
    let spec = Arc::new(golden::spec());
    let task = |ordinal: u32| {
        let mut task = Task::new(TaskId { epoch: 1, index: 3, ordinal }, uid, ordinal, 1, Time(99_000));
        task.node = Some(NodeId(ordinal % 6100));
        task.generation = 1;
        task.state = TaskState::Running;
        task.running_at = Some(Time(100_000));
        task.serving_since = task.running_at;
        task
    };
    let snapshot = Snapshot {
        workloads: vec![Workload {
            uid,
            kind: Kind::Service,
            name: "web".into(),
            labels: Default::default(),
            replicas: 100_000,
            update: Update::ONE_BY_ONE,
            revision: 2,
            created_at: Time(1),
            versions: vec![Version::bare(1, spec, Time(1))],
            version: 1,
            stable: None,
            rollout: Some(Rollout::begun(Time(1), true)),
            deleting: false,
            decision: None,
            slots: vec![Slot::bare(u32::MAX, u32::MAX, Time(u64::MAX), u32::MAX); 100_000],
        }],
        tasks: (0..100_000).map(task).collect(),
        ..golden::snapshot()
    };
    let chunks = encode_snapshot(&snapshot);
    let bytes: usize = chunks.iter().map(Vec::len).sum();
    assert!(chunks.len() > 3, "{} chunks", chunks.len());
    assert!(chunks.iter().all(|chunk| chunk.len() < CHUNK_BYTES + (256 << 10)), "a chunk is too large");
    assert!(bytes < 6_000_000, "{bytes} bytes");
    assert_eq!(decode_snapshot(&chunks), Ok(snapshot));

    let missing = decode_snapshot(&chunks[..2]).unwrap_err();
    assert!(missing.to_string().contains("ends after 2 chunks"), "{missing}");
    let gap = decode_snapshot([&chunks[0], &chunks[2]]).unwrap_err();
    assert_eq!(gap.path, "chunk[1].sequence");
}

#[test]
fn a_spec_crosses_the_wire_once() {
    let spec = Arc::new(golden::spec());
    let other =
        Arc::new(Spec { container: Container { image: "other".into(), ..golden::spec().container }, ..golden::spec() });
    let task = |ordinal: u32| Assignment {
        task: TaskId { epoch: 1, index: 3, ordinal },
        generation: 1,
        desired: Desired::Running,
        ended: false,
        kind: Kind::Service,
        name: "web".into(),
        slot: ordinal,
        spec: match ordinal % 3 {
            0 => spec.clone(),
            1 => Arc::new(golden::spec()),
            _ => other.clone(),
        },
        host_ports: Box::default(),
        volumes: Box::default(),
        image: ImageBytes::AsWritten,
    };
    let assigned = Assigned { seq: 1, full: true, tasks: (0..2).map(task).collect(), follow: vec![], removed: vec![] };
    assert_eq!(v1::Assigned::from(&assigned).specs.len(), 1, "equal neighbours are one");
    let assigned = Assigned { tasks: [0, 2, 3, 5, 6].map(task).to_vec(), ..assigned };
    let message = v1::Assigned::from(&assigned);
    assert_eq!(message.specs.len(), 2, "the same address is one");
    let read = Assigned::try_from(message).unwrap();
    assert!(Arc::ptr_eq(&read.tasks[0].spec, &read.tasks[4].spec), "and stays one");
    assert_eq!(read, assigned);
}

#[test]
fn what_no_honest_peer_sends_is_refused_by_its_path() {
    let report = |ordinal, state, end| TaskReport::new(TaskId { epoch: 1, index: 1, ordinal }, state, end);
    let refuse = |reports| {
        let message = v1::ToManager::from(&ToManager::Report { seq: 1, reports });
        ToManager::try_from(message).unwrap_err().to_string()
    };
    let running = |ordinal| report(ordinal, TaskState::Running, None);
    assert_eq!(refuse(vec![running(2), running(1)]), "report.reports[1]: is out of order");
    assert!(refuse(vec![report(1, TaskState::Failed, None)]).starts_with("report.reports[0].end: "));
    let long = End { reason: Reason::Exited, exit_code: None, port: None, message: "x".repeat(513) };
    assert!(refuse(vec![report(1, TaskState::Failed, Some(long))]).ends_with("too long a message"));

    let mut message = v1::Spec::from(&golden::spec());
    message.env.reverse();
    assert_eq!(Spec::try_from(message).unwrap_err().path, "env[1]");
    let mut message = v1::Spec::from(&golden::spec());
    message.ports[0].container = 65_536;
    assert_eq!(Spec::try_from(message).unwrap_err().to_string(), "ports[0].container: 65536 is not a port");
    let mut message = v1::Spec::from(&golden::spec());
    message.restart.as_mut().unwrap().policy = 99;
    assert_eq!(Spec::try_from(message).unwrap_err().to_string(), "restart.policy: 99 is unknown");
}

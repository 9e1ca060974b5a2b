use super::*;
use orbit_core::worker::{BootId, HeardOf, Ledger, LedgerWrite};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

fn some_write(rng: &mut ChaCha8Rng) -> LedgerWrite {
    let task = TaskId { epoch: 1, index: rng.next_u64() % 3, ordinal: rng.next_u32() % 3 };
    match rng.next_u32() % 6 {
        0 => LedgerWrite::Seen { cluster: ClusterId(5), seen: (1, rng.next_u64() % 9) },
        1 => LedgerWrite::Attempted(task),
        2 => {
            let end = Some(End::exited(Reason::Exited, (rng.next_u32() % 3) as i32));
            LedgerWrite::Ended(TaskReport::new(task, TaskState::Failed, end))
        }
        3 => LedgerWrite::HeardOf(HeardOf { boot: BootId(rng.next_u64()), at: Time(rng.next_u64() % 9) }),
        4 => LedgerWrite::Created(task, format!("{:x}", rng.next_u64())),
        5 => LedgerWrite::ImagePulled {
            image: format!("web:{}", rng.next_u64() % 3),
            id: format!("{:x}", rng.next_u64()),
        },
        6 => LedgerWrite::ImageForgotten(format!("web:{}", rng.next_u64() % 3)),
        _ => LedgerWrite::Forgotten(task),
    }
}

#[test]
fn both_ledgers_remember_what_the_core_says() {
    let dir = tempfile::tempdir().unwrap();
    let disk = LedgerDisk::default();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut expected = Ledger::new(NodeUid(u64::MAX));
    {
        let mut redb = RedbLedger::open(dir.path(), OPTIONS).unwrap();
        let mut memory = MemoryLedger::open(&disk);
        assert_eq!((redb.load().unwrap(), memory.load().unwrap()), (None, None));
        redb.create(&expected).unwrap();
        memory.create(&expected).unwrap();
    }
    for _ in 0..60 {
        let writes: Vec<LedgerWrite> = (0..rng.next_u32() % 5).map(|_| some_write(&mut rng)).collect();
        writes.iter().for_each(|write| expected.apply(write));
        // Opened again each time: every life is a crash.
        let mut redb = RedbLedger::open(dir.path(), OPTIONS).unwrap();
        let mut memory = MemoryLedger::open(&disk);
        redb.persist(&writes).unwrap();
        memory.persist(&writes).unwrap();
        assert_eq!(redb.load().unwrap().as_ref(), Some(&expected));
        assert_eq!(memory.load().unwrap().as_ref(), Some(&expected));
    }
    assert!(expected.tasks.len() > 2 && expected.cluster.is_some(), "the writes did something");

    disk.fail_next_persist();
    let mut memory = MemoryLedger::open(&disk);
    assert!(memory.persist(&[LedgerWrite::Seen { cluster: ClusterId(5), seen: (9, 9) }]).is_err());
    assert_eq!(memory.load().unwrap(), Some(expected));
}

#[test]
fn one_process_has_a_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let _ledger = RedbLedger::open(dir.path(), OPTIONS).unwrap();
    assert!(matches!(RedbLedger::open(dir.path(), OPTIONS), Err(StoreError::InUse { .. })));
}

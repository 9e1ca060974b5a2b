use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

fn both(test: impl Fn(&mut dyn Storage)) {
    test(&mut on_redb());
    test(&mut MemoryStorage::open(&MemoryDisk::default()));
}

#[test]
fn a_new_log_is_empty_and_keeps_what_is_appended() {
    both(|log| {
        assert_eq!(log.load().unwrap(), Recovered::default());
        log.append(&entries(1..=3)).unwrap();
        log.append(&[]).unwrap();
        log.append(&entries(4..=4)).unwrap();
        for state in [HardState { term: 3, vote: Some(1) }, HardState { term: 4, vote: None }] {
            log.set_hard_state(state).unwrap();
            assert_eq!(log.load().unwrap().hard_state, state);
        }
        let kept = log.load().unwrap();
        assert_eq!((kept.snapshot, kept.entries), (None, entries(1..=4)));
    });
}

#[test]
fn a_truncated_log_goes_on_where_it_was_cut() {
    both(|log| {
        log.append(&entries(1..=5)).unwrap();
        log.truncate_from(4).unwrap();
        log.truncate_from(9).unwrap();
        log.append(&[entry(4, 2)]).unwrap();
        let expected = [entries(1..=3), vec![entry(4, 2)]].concat();
        assert_eq!(log.load().unwrap().entries, expected);
    });
}

#[test]
#[should_panic(expected = "the log has no gaps")]
fn a_gap_is_our_bug() {
    on_redb().append(&entries(2..=2)).unwrap();
}

#[test]
#[should_panic(expected = "is committed")]
fn what_the_snapshot_contains_is_never_cut() {
    let mut log = on_redb();
    log.install(&state_at(5)).unwrap();
    log.truncate_from(5).unwrap_or_default();
}

#[test]
fn an_installed_snapshot_keeps_only_a_log_that_agrees_with_it() {
    both(|log| {
        log.append(&entries(1..=8)).unwrap();
        log.install(&state_at(5)).unwrap();
        let kept = log.load().unwrap();
        assert_eq!((kept.snapshot, kept.entries), (Some(state_at(5)), entries(6..=8)), "it agrees");

        log.install(&state_at(4)).unwrap();
        assert_eq!(log.load().unwrap().snapshot, Some(state_at(5)), "an older one changes nothing");

        let other = Snapshot { term: 2, ..state_at(7) };
        log.install(&other).unwrap();
        let kept = log.load().unwrap();
        assert_eq!((kept.snapshot, kept.entries), (Some(other), vec![]), "it does not agree");
        log.append(&entries(8..=9)).unwrap();

        let beyond = state_at(20);
        log.install(&beyond).unwrap();
        log.append(&entries(21..=21)).unwrap();
        let kept = log.load().unwrap();
        assert_eq!((kept.snapshot, kept.entries), (Some(beyond), entries(21..=21)), "it lies beyond");
    });
}

#[test]
fn compaction_changes_the_form_and_not_the_state() {
    both(|log| {
        log.append(&entries(1..=300)).unwrap();
        let compactor = log.compactor();
        assert_eq!(compactor.compact(&state_at(301)).unwrap(), Compacted::Nothing, "the log does not reach that far");
        for up_to in [100, 290] {
            assert_eq!(compactor.compact(&state_at(up_to)).unwrap(), Compacted::Done { index: up_to });
            assert_eq!(compactor.compact(&state_at(up_to)).unwrap(), Compacted::Nothing);
            let kept = log.load().unwrap();
            assert_eq!(kept.snapshot, Some(state_at(up_to)));
            assert_eq!(kept.entries, entries(up_to + 1..=300));
            assert_eq!(replayed(kept), state_at(300));
        }
        log.append(&entries(301..=301)).unwrap();
    });
}

#[test]
fn a_crash_at_any_step_of_a_compaction_leaves_what_can_be_loaded() {
    let mut log = on_redb();
    log.append(&entries(1..=4500)).unwrap();
    let compactor = log.redb_compactor();
    let mut crashes = 0;
    for (round, up_to) in [(1, 2100u64), (2, 4400)] {
        let full = state_at(4500);
        for transactions in 0.. {
            *compactor.transactions_left.lock().unwrap() = Some(transactions);
            let done = compactor.compact(&state_at(up_to));
            assert_eq!(replayed(log.load().unwrap()), full, "round {round}, after {transactions} transactions");
            match done {
                Ok(Compacted::Done { .. }) => break,
                // It stood already; only remains were left.
                Ok(Compacted::Nothing) => break,
                Err(StoreError::Io { .. }) => crashes += 1,
                Err(e) => panic!("{e}"),
            }
        }
    }
    *compactor.transactions_left.lock().unwrap() = None;
    assert!(crashes >= 6, "only {crashes} crashes");
    assert_eq!(compactor.compact(&state_at(4450)).unwrap(), Compacted::Done { index: 4450 });
    let (rows, generations) = remains(&log);
    assert_eq!((rows, generations), (50, 1), "what crashes left is swept up");
}

/// Rows of the log, and generations of chunks, that are in the file.
fn remains(log: &RedbStorage) -> (u64, usize) {
    use redb::{ReadableTable, ReadableTableMetadata};
    let look = |txn: &redb::ReadTransaction| {
        let rows = txn.open_table(crate::tables::LOG)?.len()?;
        let mut generations = std::collections::BTreeSet::new();
        for row in txn.open_table(crate::tables::CHUNKS)?.iter()? {
            generations.insert(row?.0.value().0);
        }
        Ok((rows, generations.len()))
    };
    log.db().read(look).unwrap()
}

#[test]
fn appends_go_on_while_a_compaction_runs() {
    let mut log = on_redb();
    log.append(&entries(1..=2000)).unwrap();
    let compactor = log.compactor();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for up_to in [500, 1000, 1500, 2000] {
                assert_eq!(compactor.compact(&state_at(up_to)).unwrap(), Compacted::Done { index: up_to });
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut next = 2001;
        while !done.load(Ordering::SeqCst) || next == 2001 {
            log.append(&entries(next..=next)).unwrap();
            next += 1;
        }
        let kept = log.load().unwrap();
        assert_eq!(kept.entries, entries(2001..=next - 1));
        assert_eq!(kept.snapshot, Some(state_at(2000)));
    });
}

#[test]
fn below_the_reserve_nothing_is_tried() {
    let free = || Ok(1000);
    let options = Options { reserve_bytes: 1001, ..OPTIONS };
    let backend = redb::backends::InMemoryBackend::new();
    let mut log = RedbStorage::create_with_backend(backend, options, free).unwrap();
    let refused = log.append(&entries(1..=1)).unwrap_err();
    assert!(matches!(refused, StoreError::Full { free_bytes: 1000, reserve_bytes: 1001, .. }), "{refused}");
    assert_eq!(log.load().unwrap().entries, vec![]);
}

#[test]
fn the_memory_disk_outlives_its_storage_and_fails_when_told() {
    let disk = MemoryDisk::default();
    MemoryStorage::open(&disk).append(&entries(1..=2)).unwrap();
    let mut log = MemoryStorage::open(&disk);
    for (fault, kept) in [(Fault::Full, 2), (Fault::Lost, 2), (Fault::Kept, 3)] {
        disk.fail_next_append(fault);
        let e = log.append(&entries(3..=3)).unwrap_err();
        assert_eq!(matches!(e, StoreError::Full { .. }), fault == Fault::Full);
        assert_eq!(log.load().unwrap().entries, entries(1..=kept), "{fault:?}");
    }
    disk.set_free_bytes(5);
    assert_eq!(log.free_bytes().unwrap(), 5);
}

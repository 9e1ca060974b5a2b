use super::*;
use std::{fs, os::unix::fs::PermissionsExt};

#[test]
fn a_state_directory_is_made_for_its_owner_and_read_again() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a/state");
    let mut log = RedbStorage::open(&dir, OPTIONS).unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(log.free_bytes().unwrap() > 0);
    log.append(&entries(1..=3)).unwrap();
    drop(log);
    assert_eq!(RedbStorage::open(&dir, OPTIONS).unwrap().load().unwrap().entries, entries(1..=3));
}

#[test]
fn a_store_is_its_owners_alone_whatever_the_directory_was_before() {
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let open_to_all =
        |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let check = |dir: &std::path::Path| {
        assert_eq!(mode(dir), 0o700, "{}", dir.display());
        let files: Vec<_> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(files.len() >= 4, "two stores and their locks: {files:?}");
        files.iter().for_each(|file| assert_eq!(mode(file), 0o600, "{}", file.display()));
        files
    };
    for before in [0o777, 0o1777, 0o755, 0o750] {
        let dir = tempfile::tempdir().unwrap();
        open_to_all(dir.path(), before);
        let open = || (RedbStorage::open(dir.path(), OPTIONS).unwrap(), RedbLedger::open(dir.path(), OPTIONS).unwrap());
        drop(open());
        let files = check(dir.path());
        // As an older Orbit, or a copy from a backup, may have left them.
        files.iter().for_each(|file| open_to_all(file, 0o666));
        open_to_all(dir.path(), before);
        drop(open());
        check(dir.path());
    }
}

#[test]
fn a_directory_that_others_use_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("theirs"), "").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let refused = RedbStorage::open(dir.path(), OPTIONS).err().unwrap().to_string();
    assert!(refused.contains("`theirs`") && refused.contains("chmod 700"), "{refused}");
    assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o777);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    RedbStorage::open(dir.path(), OPTIONS).unwrap();
}

#[test]
fn one_process_has_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let log = RedbStorage::open(dir.path(), OPTIONS).unwrap();
    let refused = RedbStorage::open(dir.path(), OPTIONS).err().unwrap();
    let text = refused.to_string();
    assert!(matches!(refused, StoreError::InUse { .. }) && text.contains(&dir.path().display().to_string()), "{text}");
    assert!(text.contains(&format!("(PID {})", std::process::id())), "it says which process: {text}");
    // A compaction that still runs has it as well.
    let compactor = log.compactor();
    drop(log);
    assert!(matches!(RedbStorage::open(dir.path(), OPTIONS), Err(StoreError::InUse { .. })));
    drop(compactor);
    RedbStorage::open(dir.path(), OPTIONS).unwrap();
}

#[test]
fn a_lock_without_a_pid_is_a_lock() {
    let dir = tempfile::tempdir().unwrap();
    let _log = RedbStorage::open(dir.path(), OPTIONS).unwrap();
    for text in ["", "no number", "99999999999999999999\n"] {
        // As an older Orbit leaves it, or a disk that was full.
        fs::write(dir.path().join("log.redb.lock"), text).unwrap();
        let refused = RedbStorage::open(dir.path(), OPTIONS).err().unwrap();
        assert!(matches!(refused, StoreError::InUse { pid: None, .. }), "{refused:?}");
        assert!(refused.to_string().contains("in use by another process: stop"), "{refused}");
    }
}

#[test]
fn a_crash_in_the_first_creation_is_made_good() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("log.redb.new"), b"half a fi").unwrap();
    let mut log = RedbStorage::open(dir.path(), OPTIONS).unwrap();
    log.append(&entries(1..=1)).unwrap();
    assert!(!dir.path().join("log.redb.new").exists());
}

#[test]
fn another_format_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let log = RedbStorage::open(dir.path(), OPTIONS).unwrap();
    log.db()
        .write(|txn| {
            txn.open_table(crate::database::META)?.insert("format", 99)?;
            Ok(())
        })
        .unwrap();
    drop(log);
    let refused = RedbStorage::open(dir.path(), OPTIONS).err().unwrap();
    assert!(matches!(refused, StoreError::WrongVersion { found: 99, known: 1, .. }));
    assert!(refused.to_string().contains("run the version of Orbit that wrote it"), "{refused}");
}

#[test]
fn a_foreign_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.redb");
    for foreign in [&b""[..], b"#!/bin/sh\n", &[0; 8192]] {
        fs::write(&path, foreign).unwrap();
        let refused = RedbStorage::open(dir.path(), OPTIONS).err().unwrap();
        assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused:?}");
        assert_eq!(fs::read(&path).unwrap(), foreign, "and left as it was");
    }
    // A worker's ledger under the log's name.
    fs::remove_file(&path).unwrap();
    drop(RedbLedger::open(dir.path(), OPTIONS).unwrap());
    fs::rename(dir.path().join("ledger.redb"), &path).unwrap();
    assert!(matches!(RedbStorage::open(dir.path(), OPTIONS), Err(StoreError::Corrupt { .. })));
}

#[test]
fn a_torn_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.redb");
    let mut log = RedbStorage::open(dir.path(), OPTIONS).unwrap();
    log.append(&entries(1..=200)).unwrap();
    drop(log);
    let whole = fs::read(&path).unwrap();
    for len in [100, 4096, whole.len() / 2] {
        fs::write(&path, &whole[..len]).unwrap();
        let refused = RedbStorage::open(dir.path(), OPTIONS).err().unwrap();
        assert!(matches!(refused, StoreError::Corrupt { .. }), "cut at {len}: {refused:?}");
    }
    let mut log = {
        fs::write(&path, &whole).unwrap();
        RedbStorage::open(dir.path(), OPTIONS).unwrap()
    };
    assert_eq!(log.load().unwrap().entries, entries(1..=200));
}

#[test]
fn a_damaged_entry_is_refused_with_its_name() {
    let mut log = on_redb();
    log.append(&entries(1..=3)).unwrap();
    log.db()
        .write(|txn| {
            txn.open_table(crate::tables::LOG)?.remove(2)?;
            Ok(())
        })
        .unwrap();
    let refused = log.load().unwrap_err();
    assert!(refused.to_string().contains("no entry 2"), "{refused}");
}

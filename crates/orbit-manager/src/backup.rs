//! Backups in files: what stands in one, and a state directory that is made of one.

use orbit_core::state::{Cluster, Snapshot};
use orbit_proto::{BackupError, read_backup};
use orbit_store::{HardState, Options, RedbStorage, Storage, StoreError};
use std::{
    fs::{self, DirBuilder, File},
    io::{self, BufReader},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The manager's log in its state directory.
const LOG: &str = "log.redb";

/// What stands in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The cluster's ID, as text; empty of one that never was.
    pub cluster: String,
    /// How often it was restored, and one.
    pub epoch: u32,
    /// The revision at which it was taken.
    pub revision: u64,
    /// When, in milliseconds since 1970: the wall clock at the last entry.
    pub wall_ms: u64,
    /// How many services it has.
    pub services: usize,
    /// How many task definitions.
    pub tasks: usize,
    /// How many attempts that have not ended.
    pub attempts: usize,
    /// How many nodes.
    pub nodes: usize,
}

/// Why a backup cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file.
    #[error("{}: {error}", .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        error: BackupError,
    },
    /// It is whole, and no manager can have written it.
    #[error("{}: no state is restored from it: {why}", .file.display())]
    Wrong {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is something in the directory already.
    #[error(
        "{} has the state of a manager already: choose another directory, or move that one away", .dir.display()
    )]
    NotEmpty {
        /// Which directory.
        dir: PathBuf,
    },
    /// The epoch that was asked for.
    #[error("the backup is of epoch {of}: --epoch has to be above that")]
    Epoch {
        /// That of the backup.
        of: u32,
    },
    /// The new state.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads a backup, and restores a state from it in memory: what is wrong with it is found here.
///
/// # Errors
/// What is wrong with it.
pub fn verify(file: &Path) -> Result<Summary, Fault> {
    read(file).map(|(_, summary)| summary)
}

/// Makes the state directory of a manager from a backup. It is another epoch then, by default the backup's next: a manager of
/// the world before cannot speak any more, and what nodes run that the backup does not know is left alone until an operator
/// has said what becomes of it.
///
/// # Errors
/// What is wrong with the backup or the directory. Nothing is there then that a manager would start from.
pub fn restore(file: &Path, dir: &Path, epoch: Option<u32>) -> Result<Summary, Fault> {
    let (snapshot, summary) = read(file)?;
    let of = snapshot.epoch;
    let epoch = epoch.unwrap_or(of.saturating_add(1));
    if epoch <= of {
        return Err(Fault::Epoch { of });
    }
    let not_empty = || Fault::NotEmpty { dir: dir.to_path_buf() };
    if fs::exists(dir.join(LOG)).map_err(|error| unreadable(dir, error))? {
        return Err(not_empty());
    }
    // Made beside it, and put into its place when it is whole: a manager that finds half of one would begin a new cluster.
    let part = dir.with_added_extension("part");
    let made = write(&part, &snapshot.for_restore(epoch)).and_then(|()| put(&part, dir));
    let removed = fs::remove_dir_all(&part);
    made?;
    removed.map_err(|error| unreadable(&part, error))?;
    Ok(Summary { epoch, ..summary })
}

/// A state directory that holds a snapshot and nothing else.
fn write(dir: &Path, snapshot: &Snapshot) -> Result<(), Fault> {
    if fs::exists(dir).map_err(|error| unreadable(dir, error))? {
        fs::remove_dir_all(dir).map_err(|error| unreadable(dir, error))?;
    }
    let mut storage = RedbStorage::open(dir, Options::default())?;
    storage.set_hard_state(HardState { term: snapshot.term, vote: None })?;
    Ok(storage.install(snapshot)?)
}

fn put(part: &Path, dir: &Path) -> Result<(), Fault> {
    let fail = |error| unreadable(dir, error);
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fail)?;
    fs::rename(part.join(LOG), dir.join(LOG)).map_err(fail)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail)
}

fn read(file: &Path) -> Result<(Snapshot, Summary), Fault> {
    let opened = File::open(file).map_err(|error| unreadable(file, error))?;
    let unusable = |error| Fault::Unreadable { file: file.to_path_buf(), error };
    let snapshot = read_backup(BufReader::new(opened)).map_err(unusable)?;
    let wrong = |why| Fault::Wrong { file: file.to_path_buf(), why };
    let cluster = Cluster::restore(snapshot.clone()).map_err(wrong)?;
    if let Some(violation) = cluster.check().first() {
        return Err(wrong(violation.to_string()));
    }
    if cluster.id.is_none() {
        return Err(wrong("it was taken before there was a cluster".to_string()));
    }
    let summary = summary(&cluster);
    Ok((snapshot, summary))
}

fn unreadable(file: &Path, error: io::Error) -> Fault {
    Fault::Unreadable { file: file.to_path_buf(), error: error.into() }
}

fn summary(cluster: &Cluster) -> Summary {
    use orbit_core::model::Kind;
    Summary {
        cluster: cluster.id.map(|id| id.to_string()).unwrap_or_default(),
        epoch: cluster.epoch,
        revision: cluster.index,
        wall_ms: cluster.wall_ms,
        services: cluster.workload_count(Kind::Service),
        tasks: cluster.workload_count(Kind::Task),
        attempts: cluster.tasks().filter(|task| !task.state.is_terminal()).count(),
        nodes: cluster.node_count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::model::{Actor, ClusterId, Command, Entry, Time};
    use orbit_proto::BackupWriter;

    fn snapshot() -> Snapshot {
        let mut cluster = Cluster::default();
        let command = Command::Init { cluster: ClusterId(1) };
        cluster.apply(&Entry { index: 1, term: 1, at: Time(1), wall_ms: 1, actor: Actor::Manager, command });
        cluster.snapshot()
    }

    fn backup(dir: &Path, snapshot: &Snapshot) -> PathBuf {
        let file = dir.join("a.backup");
        let bytes: Vec<u8> = BackupWriter::new(snapshot).flatten().collect();
        fs::write(&file, bytes).unwrap();
        file
    }

    #[test]
    fn a_backup_of_nothing_is_none() {
        let scratch = tempfile::tempdir().unwrap();
        let file = backup(scratch.path(), &Cluster::default().snapshot());
        assert!(matches!(verify(&file), Err(Fault::Wrong { .. })));
    }

    #[test]
    fn a_directory_is_made_whole_or_not_at_all() {
        let scratch = tempfile::tempdir().unwrap();
        let (file, dir) = (backup(scratch.path(), &snapshot()), scratch.path().join("manager"));
        // What another attempt left behind is in nobody's way.
        fs::create_dir(scratch.path().join("manager.part")).unwrap();
        assert_eq!(restore(&file, &dir, None).unwrap().epoch, 2);
        let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [LOG]);
        assert!(!scratch.path().join("manager.part").exists());
        let kept = RedbStorage::open(&dir, Options::default()).unwrap().load().unwrap();
        assert_eq!(kept.snapshot, Some(snapshot().for_restore(2)));
        assert!(matches!(restore(&file, &dir, None), Err(Fault::NotEmpty { .. })));
    }

    #[test]
    fn no_epoch_begins_twice() {
        let scratch = tempfile::tempdir().unwrap();
        let (file, dir) = (backup(scratch.path(), &snapshot()), scratch.path().join("manager"));
        assert!(matches!(restore(&file, &dir, Some(1)), Err(Fault::Epoch { of: 1 })));
        assert!(!dir.exists());
        assert_eq!(restore(&file, &dir, Some(7)).unwrap().epoch, 7);
    }
}

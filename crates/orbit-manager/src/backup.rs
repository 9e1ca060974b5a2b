//! Backups in files: what stands in one, and a state directory that is made of one.

use orbit_core::state::{Cluster, Snapshot};
use orbit_proto::{BackupError, read_backup};
use orbit_store::{HardState, Options, RedbStorage, StoreError};
use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

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
    let restored = snapshot.for_restore(epoch);
    let hard_state = HardState { term: restored.term, vote: None };
    RedbStorage::create(dir, Options::default(), hard_state, &restored)?;
    Ok(Summary { epoch, ..summary })
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
    use orbit_store::Storage;
    use std::fs;

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
        // What another attempt left behind is in nobody's way, and what is somebody else's stays.
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("log.redb.new"), "half a log").unwrap();
        fs::create_dir(scratch.path().join("manager.part")).unwrap();
        assert_eq!(restore(&file, &dir, None).unwrap().epoch, 2);
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["log.redb", "log.redb.lock"]);
        assert!(scratch.path().join("manager.part").exists());
        let kept = RedbStorage::open(&dir, Options::default()).unwrap().load().unwrap();
        assert_eq!(kept.snapshot, Some(snapshot().for_restore(2)));
        let again = restore(&file, &dir, None);
        assert!(matches!(again, Err(Fault::Store(StoreError::Exists { .. }))), "{again:?}");
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

//! The worker's ledger.

use crate::{
    Options, Result, StoreError,
    database::{Content, Db, META},
    error::Trouble,
};
use orbit_core::{
    model::{ClusterId, NodeUid, TaskId, Time},
    worker::{BootId, HeardOf, Ledger, LedgerTask, LedgerWrite},
};
use orbit_proto::{decode_ledger_task, encode_ledger_task};
use redb::{ReadableTable, StorageBackend, Table, TableDefinition, TableError, WriteTransaction};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// A worker's durable memory.
///
/// Call [`load`](LedgerStore::load) first; where there is nothing, [`create`](LedgerStore::create) once;
/// then [`persist`](LedgerStore::persist) with each step's writes, before its later actions.
pub trait LedgerStore: Send {
    /// The ledger; `None` before the first `create`.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written.
    fn load(&mut self) -> Result<Option<Ledger>>;

    /// Writes the first ledger.
    ///
    /// # Errors
    /// When it cannot be written.
    ///
    /// # Panics
    /// If there is one already: a node has one identity for ever.
    fn create(&mut self, ledger: &Ledger) -> Result<()>;

    /// Carries out changes, all of them or none; durable on return.
    ///
    /// # Errors
    /// When they cannot be written. [`Full`](crate::StoreError::Full) when free space is below the reserve: nothing was
    /// tried.
    ///
    /// # Panics
    /// If there is no ledger yet.
    fn persist(&mut self, writes: &[LedgerWrite]) -> Result<()>;
}

/// What is remembered of a task, by (epoch, index, ordinal).
const TASKS: TableDefinition<(u32, u64, u32), &[u8]> = TableDefinition::new("tasks");

/// The images that the worker pulled: by reference, the engine's ID.
const IMAGES: TableDefinition<&str, &str> = TableDefinition::new("images");

/// The volumes that were made, by the engine's names.
const VOLUMES: TableDefinition<&str, ()> = TableDefinition::new("volumes");

/// A ledger in the file `ledger.redb` of a state directory, or on a simulated disk.
pub struct RedbLedger {
    db: Db,
}

fn tables(txn: &WriteTransaction) -> std::result::Result<(), TableError> {
    txn.open_table(TASKS)?;
    txn.open_table(IMAGES)?;
    txn.open_table(VOLUMES).map(drop)
}

fn key(id: TaskId) -> (u32, u64, u32) {
    (id.epoch, id.index, id.ordinal)
}

impl RedbLedger {
    /// Opens the ledger in a state directory, which is made (for its owner alone) if it is not there.
    ///
    /// # Errors
    /// As [`RedbStorage::open`](crate::RedbStorage::open).
    pub fn open(dir: &Path, options: Options) -> Result<RedbLedger> {
        Ok(RedbLedger { db: Db::open(dir, "ledger.redb", Content::Ledger, options, tables)? })
    }

    /// The same on a simulated disk; `free` says how many bytes are free there.
    ///
    /// # Errors
    /// As [`RedbLedger::open`].
    pub fn create_with_backend(
        backend: impl StorageBackend,
        options: Options,
        free: impl Fn() -> std::io::Result<u64> + Send + Sync + 'static,
    ) -> Result<RedbLedger> {
        Ok(RedbLedger { db: Db::with_backend(backend, Content::Ledger, options, tables, Box::new(free))? })
    }
}

/// The ledger without its tasks; `None` before the first `create`.
fn head(meta: &impl ReadableTable<&'static str, u64>) -> std::result::Result<Option<Ledger>, Trouble> {
    let get = |key| Ok::<_, Trouble>(meta.get(key)?.map(|v| v.value()));
    let Some(node) = get("node")? else { return Ok(None) };
    let epoch = u32::try_from(get("seen.epoch")?.unwrap_or(0));
    let epoch = epoch.map_err(|_| Trouble::Corrupt("the epoch is too large".into()))?;
    Ok(Some(Ledger {
        node: NodeUid(node),
        cluster: get("cluster")?.map(ClusterId),
        seen: (epoch, get("seen.term")?.unwrap_or(0)),
        heard_of: get("heard_of.boot")?
            .zip(get("heard_of.at_ms")?)
            .map(|(boot, at)| HeardOf { boot: BootId(boot), at: Time(at) }),
        tasks: BTreeMap::new(),
        images: BTreeMap::new(),
        volumes: BTreeSet::new(),
    }))
}

fn set_head(meta: &mut Table<'_, &'static str, u64>, ledger: &Ledger) -> std::result::Result<(), Trouble> {
    meta.insert("node", ledger.node.0)?;
    meta.insert("seen.epoch", u64::from(ledger.seen.0))?;
    meta.insert("seen.term", ledger.seen.1)?;
    if let Some(cluster) = ledger.cluster {
        meta.insert("cluster", cluster.0)?;
    }
    if let Some(HeardOf { boot, at }) = ledger.heard_of {
        meta.insert("heard_of.boot", boot.0)?;
        meta.insert("heard_of.at_ms", at.0)?;
    }
    Ok(())
}

impl LedgerStore for RedbLedger {
    fn load(&mut self) -> Result<Option<Ledger>> {
        self.db.read(|txn| {
            let Some(mut ledger) = head(&txn.open_table(META)?)? else { return Ok(None) };
            for row in txn.open_table(TASKS)?.iter()? {
                let (key, bytes) = row?;
                let (epoch, index, ordinal) = key.value();
                ledger.tasks.insert(TaskId { epoch, index, ordinal }, decode_ledger_task(bytes.value())?);
            }
            for row in txn.open_table(IMAGES)?.iter()? {
                let (image, id) = row?;
                ledger.images.insert(image.value().to_owned(), id.value().to_owned());
            }
            for row in txn.open_table(VOLUMES)?.iter()? {
                ledger.volumes.insert(row?.0.value().to_owned());
            }
            Ok(Some(ledger))
        })
    }

    fn create(&mut self, ledger: &Ledger) -> Result<()> {
        self.db.write(|txn| {
            let mut meta = txn.open_table(META)?;
            assert!(meta.get("node")?.is_none(), "a node has one identity for ever");
            set_head(&mut meta, ledger)?;
            let mut table = txn.open_table(TASKS)?;
            for (id, task) in &ledger.tasks {
                table.insert(key(*id), encode_ledger_task(task).as_slice())?;
            }
            let mut images = txn.open_table(IMAGES)?;
            for (image, id) in &ledger.images {
                images.insert(image.as_str(), id.as_str())?;
            }
            let mut volumes = txn.open_table(VOLUMES)?;
            for volume in &ledger.volumes {
                volumes.insert(volume.as_str(), ())?;
            }
            Ok(())
        })
    }

    fn persist(&mut self, writes: &[LedgerWrite]) -> Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        self.db.check_reserve()?;
        self.db.write(|txn| {
            let mut meta = txn.open_table(META)?;
            let mut table = txn.open_table(TASKS)?;
            let mut images = txn.open_table(IMAGES)?;
            let mut volumes = txn.open_table(VOLUMES)?;
            let mut ledger = head(&meta)?.expect("a ledger is created before it is written to");
            for write in writes {
                // What the write means is the core's business: the one row goes through `Ledger::apply`.
                let id = match write {
                    LedgerWrite::Seen { .. } | LedgerWrite::HeardOf(_) => {
                        ledger.apply(write);
                        set_head(&mut meta, &ledger)?;
                        continue;
                    }
                    LedgerWrite::ImagePulled { image, id } => {
                        images.insert(image.as_str(), id.as_str())?;
                        continue;
                    }
                    LedgerWrite::ImageForgotten(image) => {
                        images.remove(image.as_str())?;
                        continue;
                    }
                    LedgerWrite::VolumeMade(volume) => {
                        volumes.insert(volume.as_str(), ())?;
                        continue;
                    }
                    LedgerWrite::Attempted(id)
                    | LedgerWrite::Created(id, _)
                    | LedgerWrite::Fence(id, _)
                    | LedgerWrite::Fenced(id)
                    | LedgerWrite::Forgotten(id) => *id,
                    LedgerWrite::Ended(report) => report.task,
                };
                let before: Option<LedgerTask> =
                    table.get(key(id))?.map(|bytes| decode_ledger_task(bytes.value())).transpose()?;
                ledger.tasks.extend(before.map(|task| (id, task)));
                ledger.apply(write);
                match ledger.tasks.remove(&id) {
                    Some(task) => table.insert(key(id), encode_ledger_task(&task).as_slice())?,
                    None => table.remove(key(id))?,
                };
            }
            Ok(())
        })
    }
}

/// Where a [`MemoryLedger`] keeps its content. Clones are the same disk, which survives the ledger.
#[derive(Clone, Debug, Default)]
pub struct LedgerDisk(Arc<Mutex<(Option<Ledger>, bool)>>);

impl LedgerDisk {
    /// Makes the next `persist` fail, once, with nothing written.
    pub fn fail_next_persist(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
    }
}

/// A ledger in memory.
#[derive(Debug)]
pub struct MemoryLedger(LedgerDisk);

impl MemoryLedger {
    /// Opens what is on a disk.
    pub fn open(disk: &LedgerDisk) -> MemoryLedger {
        MemoryLedger(disk.clone())
    }
}

impl LedgerStore for MemoryLedger {
    fn load(&mut self) -> Result<Option<Ledger>> {
        Ok(self.0.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone())
    }
    fn create(&mut self, ledger: &Ledger) -> Result<()> {
        let before = self.0.0.lock().unwrap_or_else(PoisonError::into_inner).0.replace(ledger.clone());
        assert!(before.is_none(), "a node has one identity for ever");
        Ok(())
    }
    fn persist(&mut self, writes: &[LedgerWrite]) -> Result<()> {
        let (ledger, fail) = &mut *self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(fail) {
            return Err(StoreError::io("the disk in memory", io::Error::other("the write failed")));
        }
        let ledger = ledger.as_mut().expect("a ledger is created before it is written to");
        writes.iter().for_each(|write| ledger.apply(write));
        Ok(())
    }
}

//! One redb file in a state directory: made whole or not at all, opened by one process at a time.

use crate::error::*;
use redb::{
    Builder, Database, ReadTransaction, ReadableDatabase, StorageBackend, TableDefinition, TableError, WriteTransaction,
};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// How a store uses memory and disk.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The most memory, in bytes, that redb keeps pages in.
    pub cache_bytes: usize,
    /// Below so many free bytes on the file system, appends are refused before they are tried: a
    /// transaction that runs out of room half-way ends the process.
    pub reserve_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { cache_bytes: 8 << 20, reserve_bytes: 16 << 20 }
    }
}

/// Small facts, by name.
pub(crate) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// The format that this program writes, and the newest that it reads.
pub(crate) const FORMAT: u64 = 1;

/// What kind of store a file is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    Log = 1,
    Ledger = 2,
}

/// Says how many bytes are free.
type FreeBytes = Box<dyn Fn() -> io::Result<u64> + Send + Sync>;

/// An open file.
pub(crate) struct Db {
    redb: Database,
    free: FreeBytes,
    pub place: String,
    pub options: Options,
    /// Held as long as the file is open.
    _lock: Option<File>,
}

impl Db {
    /// Opens `dir/<name>`, which is made first if it is not there; so is `dir`. Both are their owner's alone, whatever
    /// they were before: what users submit is in there, and who may write there decides what runs.
    ///
    /// A crash during the first creation would leave a file that redb cannot open. So the file is made
    /// under another name, and gets its own when it is whole and durable.
    pub fn open(
        dir: &Path,
        name: &str,
        content: Content,
        options: Options,
        tables: fn(&WriteTransaction) -> std::result::Result<(), TableError>,
    ) -> Result<Db> {
        make_dir(dir)?;
        close_dir(dir)?;
        let lock = lock(dir, name)?;
        let path = dir.join(name);
        let place = path.display().to_string();
        let fail = |e| StoreError::io(&place, e);
        if fs::exists(&path).map_err(fail)? {
            only_for_owner(&path, 0o600)?;
        }
        if !fs::exists(&path).map_err(fail)? {
            Self::make_whole(dir, name, content, options, tables, |_| Ok(()))?;
        }
        let redb = builder(options).open(&path).map_err(|e| Trouble::from(e).at(&place))?;
        let db = Db { redb, free: free_of(dir), place, options, _lock: Some(lock) };
        db.check(content)?;
        Ok(db)
    }

    /// Makes `dir/<name>` with what `fill` writes; it is there whole, or not at all.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when it is there already, and otherwise as [`open`](Self::open).
    pub fn create(
        dir: &Path,
        name: &str,
        content: Content,
        options: Options,
        tables: fn(&WriteTransaction) -> std::result::Result<(), TableError>,
        fill: impl FnOnce(Db) -> Result<()>,
    ) -> Result<()> {
        make_dir(dir)?;
        close_dir(dir)?;
        let _lock = lock(dir, name)?;
        let path = dir.join(name);
        if fs::exists(&path).map_err(|e| StoreError::io(path.display(), e))? {
            return Err(StoreError::Exists { place: dir.display().to_string() });
        }
        Self::make_whole(dir, name, content, options, tables, fill)
    }

    /// The file has another name until it is whole and durable. The caller has the lock.
    fn make_whole(
        dir: &Path,
        name: &str,
        content: Content,
        options: Options,
        tables: fn(&WriteTransaction) -> std::result::Result<(), TableError>,
        fill: impl FnOnce(Db) -> Result<()>,
    ) -> Result<()> {
        let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
        let place = path.display().to_string();
        let fail = |e| StoreError::io(&place, e);
        if fs::exists(&new).map_err(fail)? {
            fs::remove_file(&new).map_err(fail)?;
        }
        make_private(&new).map_err(fail)?;
        let redb = builder(options).create(&new).map_err(|e| Trouble::from(e).at(&place))?;
        first_transaction(&redb, content, tables).map_err(|e| e.at(&place))?;
        fill(Db { redb, free: free_of(dir), place: place.clone(), options, _lock: None })?;
        sync(&new).map_err(fail)?;
        fs::rename(&new, &path).map_err(fail)?;
        sync(dir).map_err(fail)
    }

    /// Opens what is on a simulated disk, or makes it there if the disk is empty. A power loss in the
    /// first creation is not survived: a simulation counts from its end, or begins with an empty disk.
    pub fn with_backend(
        backend: impl StorageBackend,
        content: Content,
        options: Options,
        tables: fn(&WriteTransaction) -> std::result::Result<(), TableError>,
        free: FreeBytes,
    ) -> Result<Db> {
        let place = "the simulated disk".to_string();
        let new = backend.len().map_err(|e| StoreError::io(&place, e))? == 0;
        let redb = builder(options).create_with_backend(backend).map_err(|e| Trouble::from(e).at(&place))?;
        if new {
            first_transaction(&redb, content, tables).map_err(|e| e.at(&place))?;
        }
        let db = Db { redb, free, place, options, _lock: None };
        db.check(content)?;
        Ok(db)
    }

    /// Bytes free on the file system.
    pub fn free_bytes(&self) -> Result<u64> {
        (self.free)().map_err(|e| StoreError::io(&self.place, e))
    }

    /// Refuses when the reserve is touched.
    pub fn check_reserve(&self) -> Result<()> {
        let (free_bytes, reserve_bytes) = (self.free_bytes()?, self.options.reserve_bytes);
        if free_bytes < reserve_bytes {
            return Err(StoreError::Full { place: self.place.clone(), free_bytes, reserve_bytes });
        }
        Ok(())
    }

    /// One look at the file, at one moment.
    pub fn read<T>(&self, f: impl FnOnce(&ReadTransaction) -> std::result::Result<T, Trouble>) -> Result<T> {
        let read = || f(&self.redb.begin_read()?);
        read().map_err(|e| e.at(&self.place))
    }

    /// One transaction, durable on return.
    pub fn write<T>(&self, f: impl FnOnce(&WriteTransaction) -> std::result::Result<T, Trouble>) -> Result<T> {
        let write = || write(&self.redb, f);
        write().map_err(|e| e.at(&self.place))
    }

    fn check(&self, content: Content) -> Result<()> {
        let (found, kind) = self.read(|txn| {
            let meta = txn.open_table(META)?;
            let get = |key| Ok::<_, Trouble>(meta.get(key)?.map(|v| v.value()));
            Ok((get("format")?, get("content")?))
        })?;
        match (found, kind) {
            (Some(FORMAT), Some(kind)) if kind == content as u64 => Ok(()),
            (Some(found), _) if found != FORMAT => {
                Err(StoreError::WrongVersion { place: self.place.clone(), found, known: FORMAT })
            }
            _ => Err(StoreError::corrupt(&self.place, "it holds something else")),
        }
    }
}

/// Says how many bytes are free on the file system of a directory.
fn free_of(dir: &Path) -> FreeBytes {
    let dir = dir.to_path_buf();
    Box::new(move || {
        let stat = rustix::fs::statvfs(&dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    })
}

fn builder(options: Options) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(options.cache_bytes);
    builder
}

/// Two-phase: what users submit is in the pages, and one phase would trust a checksum that is no
/// cryptographic one.
fn write<T>(
    redb: &Database,
    f: impl FnOnce(&WriteTransaction) -> std::result::Result<T, Trouble>,
) -> std::result::Result<T, Trouble> {
    let mut txn = redb.begin_write()?;
    txn.set_two_phase_commit(true);
    let value = f(&txn)?;
    txn.commit()?;
    Ok(value)
}

fn first_transaction(
    redb: &Database,
    content: Content,
    tables: fn(&WriteTransaction) -> std::result::Result<(), TableError>,
) -> std::result::Result<(), Trouble> {
    write(redb, |txn| {
        let mut meta = txn.open_table(META)?;
        meta.insert("format", FORMAT)?;
        meta.insert("content", content as u64)?;
        tables(txn)?;
        Ok(())
    })
}

fn make_dir(dir: &Path) -> Result<()> {
    let fail = |e| StoreError::io(dir.display(), e);
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(fail)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => sync(parent).map_err(fail),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(fail(e)),
    }
}

/// A new, empty file that its owner alone ever sees, whatever the process's mask is.
fn make_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).map(drop)
}

/// A directory in which others have things is not closed to them, because it was named by mistake (`/tmp`, `/var/lib`):
/// it is refused.
fn close_dir(dir: &Path) -> Result<()> {
    let fail = |e| StoreError::io(dir.display(), e);
    let mode = fs::metadata(dir).map_err(fail)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        for entry in fs::read_dir(dir).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name().display().to_string();
            if !name.contains(".redb") {
                let message = format!(
                    "others may enter it (mode {mode:o}), and it holds `{name}`, which is not Orbit's: give Orbit a \
                     directory of its own, or close this one with `chmod 700`"
                );
                return Err(fail(io::Error::other(message)));
            }
        }
    }
    only_for_owner(dir, 0o700)
}

/// Takes from all others what they may do with this.
fn only_for_owner(path: &Path, mode: u32) -> Result<()> {
    let fail = |e| StoreError::io(path.display(), e);
    let permissions = fs::metadata(path).map_err(fail)?.permissions();
    if permissions.mode() & 0o777 & !mode == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(fail)
}

/// The lock is a file of its own, because the file itself does not exist yet when it is first made. In it is the PID of
/// the process that has it, for people.
fn lock(dir: &Path, name: &str) -> Result<File> {
    let path = dir.join(format!("{name}.lock"));
    let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
    let mut file = open.map_err(|e| StoreError::io(path.display(), e))?;
    only_for_owner(&path, 0o600)?;
    match file.try_lock() {
        Ok(()) => {
            // Whether it can be written is of no importance: the disk may be full.
            let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::InUse { place: dir.display().to_string(), pid: pid_in(&file) })
        }
        Err(TryLockError::Error(e)) => Err(StoreError::io(path.display(), e)),
    }
}

/// A lock of an older Orbit is empty.
fn pid_in(file: &File) -> Option<u32> {
    const PID_BYTES_MAX: u64 = 16;
    let mut text = String::new();
    file.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

//! A disk in memory on which everything can go wrong that a store has to survive.
//!
//! What was written is *seen* by whoever reads; it is *durable* once it was synced. The end of a
//! process takes nothing that was written. A power loss keeps any part of what was not synced, torn at
//! sectors.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use redb::StorageBackend;
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const SECTOR_BYTES: usize = 512;

/// A disk with one file. Clones are the same disk: keep one, give its [`open`](Self::open) file to a
/// store, and let the power fail.
#[derive(Clone, Debug)]
pub struct SimulatedDisk(Arc<Mutex<Disk>>);

/// The file as one process has it open. It is dead once the process is: when another opens the file,
/// or after a crash.
#[derive(Debug)]
pub struct SimulatedFile {
    disk: SimulatedDisk,
    process: u64,
}

#[derive(Debug)]
struct Disk {
    /// What is there after a power loss, at the least.
    durable: Vec<u8>,
    /// What the system reads.
    seen: Vec<u8>,
    unsynced: Vec<Change>,
    rng: ChaCha8Rng,
    /// Counts the processes that opened the file; those before the last are dead.
    process: u64,
    /// Writes, resizes and syncs until the process ends in the middle of one.
    operations_left: Option<u64>,
    cut: bool,
    fail_next_sync: bool,
    /// A sync has failed: what was not synced then never will be, whatever later syncs say.
    sync_failed: bool,
    full: bool,
    low: bool,
    errors: u64,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

impl SimulatedDisk {
    /// An empty disk; what a power loss keeps is drawn from the seed.
    pub fn new(seed: u64) -> SimulatedDisk {
        SimulatedDisk(Arc::new(Mutex::new(Disk {
            durable: Vec::new(),
            seen: Vec::new(),
            unsynced: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            process: 0,
            operations_left: None,
            cut: false,
            fail_next_sync: false,
            sync_failed: false,
            full: false,
            low: false,
            errors: 0,
        })))
    }

    /// The file, for one process. Whoever had it open before is dead from now on.
    pub fn open(&self) -> SimulatedFile {
        let mut disk = self.lock();
        disk.process += 1;
        SimulatedFile { disk: self.clone(), process: disk.process }
    }

    /// Another disk with the same content, for a look at it that changes nothing.
    pub fn copy(&self) -> SimulatedDisk {
        let copy = SimulatedDisk::new(0);
        let content = self.lock().seen.clone();
        let mut disk = copy.lock();
        disk.durable.clone_from(&content);
        disk.seen = content;
        drop(disk);
        copy
    }

    /// The process ends after so many more operations, in the middle of what it does. Its file then
    /// answers nothing but errors, and writes nothing.
    pub fn cut_after(&self, operations: u64) {
        self.lock().operations_left = Some(operations);
    }

    /// Whether the process has ended so. [`crash`](Self::crash) or [`lose_power`](Self::lose_power)
    /// comes next.
    pub fn is_cut(&self) -> bool {
        self.lock().cut
    }

    /// The process ends; what it wrote is in the system's hands.
    pub fn crash(&self) {
        let mut disk = self.lock();
        disk.end_process();
        if disk.sync_failed {
            // What could not be written is dropped from the system's memory, too.
            disk.lose_unsynced();
        }
    }

    /// The process ends, and of what it did not sync any part is there.
    pub fn lose_power(&self) {
        let mut disk = self.lock();
        disk.end_process();
        disk.lose_unsynced();
    }

    /// Makes the next sync fail, once. What was to be synced may be lost from then on.
    pub fn fail_next_sync(&self) {
        self.lock().fail_next_sync = true;
    }

    /// From now on there is no room, or there is again. Without room nothing can grow, and what is
    /// written into the file as it is may be refused.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// From now on little room is left, and everything still succeeds; or there is enough again.
    pub fn set_low(&self, low: bool) {
        self.lock().low = low;
    }

    /// What the file system says.
    pub fn free_bytes(&self) -> u64 {
        let disk = self.lock();
        match (disk.full, disk.low) {
            (true, _) => 0,
            (false, true) => 1 << 20,
            (false, false) => u64::MAX,
        }
    }

    /// How many operations were refused so far by a full or a broken disk.
    pub fn errors(&self) -> u64 {
        self.lock().errors
    }

    /// Every fault ends that was asked for and has not been met.
    pub fn heal(&self) {
        let mut disk = self.lock();
        disk.fail_next_sync = false;
        disk.full = false;
        disk.low = false;
        disk.operations_left = None;
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        // Every change is whole before a panic could come.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn end_process(&mut self) {
        self.process += 1;
        self.operations_left = None;
        self.cut = false;
    }

    /// Mostly any part of what was not synced is there, sector by sector; now and then all of it, or
    /// all up to a torn last one.
    fn lose_unsynced(&mut self) {
        self.sync_failed = false;
        let changes = std::mem::take(&mut self.unsynced);
        let ordered = self.rng.next_u32().is_multiple_of(4);
        let whole = if ordered { self.rng.next_u64() as usize % (changes.len() + 1) } else { 0 };
        for (place, change) in changes.into_iter().enumerate() {
            if ordered && place > whole {
                break;
            }
            let certain = ordered && place < whole;
            let mut kept = || certain || self.rng.next_u32().is_multiple_of(2);
            match change {
                Change::SetLen(len) if kept() => self.durable.resize(len, 0),
                Change::SetLen(_) => {}
                Change::Write(offset, data) => {
                    for (at, sector) in (offset..).step_by(SECTOR_BYTES).zip(data.chunks(SECTOR_BYTES)) {
                        if kept() && at + sector.len() <= self.durable.len() {
                            self.durable[at..at + sector.len()].copy_from_slice(sector);
                        }
                    }
                }
            }
        }
        self.seen.clone_from(&self.durable);
    }

    fn operation(&mut self, process: u64) -> io::Result<()> {
        self.alive(process)?;
        if let Some(left) = &mut self.operations_left {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => {
                    self.end_process();
                    self.cut = true;
                    return Err(dead());
                }
            }
        }
        Ok(())
    }

    fn alive(&self, process: u64) -> io::Result<()> {
        if self.process == process { Ok(()) } else { Err(dead()) }
    }

    fn refuse<T>(&mut self, kind: io::ErrorKind) -> io::Result<T> {
        self.errors += 1;
        Err(kind.into())
    }
}

fn dead() -> io::Error {
    io::Error::other("the process has ended")
}

impl StorageBackend for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        disk.alive(self.process)?;
        Ok(disk.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.disk.lock();
        disk.alive(self.process)?;
        let from = disk.seen.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(from.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.operation(self.process)?;
        let len = len as usize;
        if disk.full && len > disk.seen.len() {
            return disk.refuse(io::ErrorKind::StorageFull);
        }
        disk.seen.resize(len, 0);
        disk.unsynced.push(Change::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.operation(self.process)?;
        if std::mem::take(&mut disk.fail_next_sync) {
            disk.sync_failed = true;
            // EIO has no kind of its own.
            disk.errors += 1;
            return Err(io::Error::other("input/output error"));
        }
        if disk.sync_failed {
            return Ok(());
        }
        for change in std::mem::take(&mut disk.unsynced) {
            match change {
                Change::SetLen(len) => disk.durable.resize(len, 0),
                Change::Write(at, data) => disk.durable[at..at + data.len()].copy_from_slice(&data),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.operation(self.process)?;
        // A file with holes needs room for what is written into them.
        if disk.full && disk.rng.next_u32().is_multiple_of(8) {
            return disk.refuse(io::ErrorKind::StorageFull);
        }
        let at = offset as usize;
        disk.seen[at..at + data.len()].copy_from_slice(data);
        disk.unsynced.push(Change::Write(at, data.to_vec()));
        Ok(())
    }
}

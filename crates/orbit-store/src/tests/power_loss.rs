//! Power fails at random operations: of the writes since the last sync a random part is there, torn at
//! sectors. No acknowledged entry may be missing, and nothing may be there that was never written.

use super::*;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use std::{
    io,
    sync::{Arc, Mutex},
};

const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
struct Disk {
    /// What is there after a power loss, at the least.
    durable: Vec<u8>,
    /// What the system reads.
    seen: Vec<u8>,
    unsynced: Vec<Op>,
    /// Until the power fails.
    operations_left: u64,
}

#[derive(Debug)]
enum Op {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Clone, Debug, Default)]
struct PowerLossDisk(Arc<Mutex<Disk>>);

impl Disk {
    fn operation(&mut self) -> io::Result<()> {
        self.operations_left =
            self.operations_left.checked_sub(1).ok_or_else(|| io::Error::other("the power failed"))?;
        Ok(())
    }

    fn lose_power(&mut self, rng: &mut ChaCha8Rng) {
        let lossy = !rng.next_u32().is_multiple_of(4);
        for op in std::mem::take(&mut self.unsynced) {
            match op {
                Op::SetLen(len) if !lossy || rng.next_u32().is_multiple_of(2) => self.durable.resize(len as usize, 0),
                Op::SetLen(_) => {}
                Op::Write(offset, data) => {
                    for (i, sector) in data.chunks(SECTOR_BYTES).enumerate() {
                        let at = offset as usize + i * SECTOR_BYTES;
                        if at + sector.len() <= self.durable.len() && (!lossy || rng.next_u32().is_multiple_of(2)) {
                            self.durable[at..at + sector.len()].copy_from_slice(sector);
                        }
                    }
                }
            }
        }
        self.seen = self.durable.clone();
    }
}

impl redb::StorageBackend for PowerLossDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        let from = disk.seen.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(from.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.operation()?;
        disk.seen.resize(len as usize, 0);
        disk.unsynced.push(Op::SetLen(len));
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.operation()?;
        disk.durable = disk.seen.clone();
        disk.unsynced.clear();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.operation()?;
        let at = offset as usize;
        disk.seen[at..at + data.len()].copy_from_slice(data);
        disk.unsynced.push(Op::Write(offset, data.to_vec()));
        Ok(())
    }
}

fn open(disk: &PowerLossDisk, operations: u64) -> Result<RedbStorage> {
    disk.0.lock().unwrap().operations_left = operations;
    RedbStorage::create_with_backend(disk.clone(), OPTIONS, || Ok(u64::MAX))
}

/// What must be there, and what may be.
#[derive(Default)]
struct Promise {
    acknowledged: u64,
    tried: u64,
    term: u64,
    term_tried: u64,
}

fn live(log: &mut RedbStorage, promise: &mut Promise, rng: &mut ChaCha8Rng) -> Result<()> {
    loop {
        match rng.next_u32() % 8 {
            0 => {
                promise.term_tried = promise.term + 1;
                log.set_hard_state(HardState { term: promise.term_tried, vote: None })?;
                promise.term = promise.term_tried;
            }
            1 if promise.acknowledged > 3 => {
                log.compactor().compact(1 + rng.next_u64() % promise.acknowledged)?;
            }
            _ => {
                promise.tried = promise.acknowledged + 1 + rng.next_u64() % 4;
                log.append(&entries(promise.acknowledged + 1..=promise.tried))?;
                promise.acknowledged = promise.tried;
            }
        }
    }
}

#[test]
fn no_acknowledged_entry_is_lost_with_the_power() {
    let (mut lives, mut lost_unacknowledged, mut compacted) = (0, 0, 0);
    for seed in 0..12 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let disk = PowerLossDisk::default();
        drop(open(&disk, u64::MAX).unwrap());
        let mut promise = Promise::default();
        for life in 0..30 {
            lives += 1;
            let at = format!("seed {seed}, life {life}");
            // Now and then the power fails while the file is being opened or repaired.
            let operations = if rng.next_u32().is_multiple_of(4) { rng.next_u64() % 12 } else { rng.next_u64() % 400 };
            if let Ok(mut log) = open(&disk, operations) {
                let kept = log.load().unwrap_or_else(|e| panic!("{at}: {e}"));
                let last = kept.entries.last().map(|e| e.index);
                let last = last.or(kept.snapshot.as_ref().map(|s| s.index)).unwrap_or(0);
                assert!((promise.acknowledged..=promise.tried).contains(&last), "{at}: kept up to {last}");
                assert!((promise.term..=promise.term_tried).contains(&kept.hard_state.term), "{at}");
                promise.term = kept.hard_state.term;
                promise.term_tried = promise.term;
                lost_unacknowledged += u32::from(last < promise.tried);
                compacted += u32::from(kept.snapshot.is_some());
                promise.acknowledged = last;
                promise.tried = last;
                assert_eq!(replayed(kept), state_at(last), "{at}");
                live(&mut log, &mut promise, &mut rng).unwrap_err();
            }
            disk.0.lock().unwrap().lose_power(&mut rng);
        }
    }
    assert_eq!(lives, 360);
    assert!(lost_unacknowledged > 10 && compacted > 100, "{lost_unacknowledged} lost, {compacted} compacted");
}

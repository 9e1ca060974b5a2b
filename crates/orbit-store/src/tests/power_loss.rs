//! Power fails at random operations: of the writes since the last sync a random part is there, torn at
//! sectors. No acknowledged entry may be missing, and nothing may be there that was never written.

use super::*;
use crate::simulated::SimulatedDisk;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
fn open(disk: &SimulatedDisk, operations: u64) -> Result<RedbStorage> {
    disk.cut_after(operations);
    RedbStorage::create_with_backend(disk.open(), OPTIONS, || Ok(u64::MAX))
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
                log.compactor().compact(&state_at(1 + rng.next_u64() % promise.acknowledged))?;
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
        let disk = SimulatedDisk::new(seed);
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
            disk.lose_power();
        }
    }
    assert_eq!(lives, 360);
    assert!(lost_unacknowledged > 10 && compacted > 100, "{lost_unacknowledged} lost, {compacted} compacted");
}

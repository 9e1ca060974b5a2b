//! Compaction of the log on redb, beside the appends.

use crate::{
    Compacted, Compactor, Result,
    database::{Db, META},
    redb_storage::*,
};
use orbit_core::state::{Cluster, Snapshot};
use std::sync::{Arc, Mutex, PoisonError};

/// So many entries are read at a time.
const READ_ENTRIES: usize = 256;

/// Compacts the log of one [`RedbStorage`](crate::RedbStorage).
pub struct RedbCompactor {
    db: Arc<Db>,
    /// One compaction at a time.
    turn: Mutex<()>,
    /// Transactions until a simulated crash.
    #[cfg(test)]
    pub(crate) transactions_left: Mutex<Option<u32>>,
}

impl RedbCompactor {
    pub(crate) fn new(db: Arc<Db>) -> RedbCompactor {
        RedbCompactor {
            db,
            turn: Mutex::new(()),
            #[cfg(test)]
            transactions_left: Mutex::new(None),
        }
    }

    fn write(&self, f: &mut WriteFn<'_>) -> Result<()> {
        #[cfg(test)]
        if let Some(left) = &mut *self.transactions_left.lock().unwrap() {
            if *left == 0 {
                return Err(crate::StoreError::io("a test", std::io::Error::other("crashed here")));
            }
            *left -= 1;
        }
        self.db.write(f)
    }

    /// The state at `up_to`, as a snapshot; none if another snapshot was installed meanwhile, or if
    /// the log does not reach that far.
    fn replay(&self, before: Pointer, up_to: u64) -> Result<Option<Snapshot>> {
        let snapshot = self.db.read(|txn| read_snapshot(txn, before));
        let moved = || Ok::<_, crate::StoreError>(self.db.read(pointer)? != before);
        let mut cluster = match snapshot {
            Ok(None) => Cluster::default(),
            Ok(Some(snapshot)) => Cluster::restore(snapshot).map_err(|what| corrupt(&self.db, what))?,
            Err(e) => return if moved()? { Ok(None) } else { Err(e) },
        };
        while cluster.index < up_to {
            let from = cluster.index + 1;
            let entries = match self.db.read(|txn| read_entries(txn, from, up_to, READ_ENTRIES)) {
                Ok(entries) if !entries.is_empty() => entries,
                Ok(_) => return Ok(None),
                Err(e) => return if moved()? { Ok(None) } else { Err(e) },
            };
            for entry in &entries {
                cluster.apply(entry);
            }
        }
        Ok(Some(cluster.snapshot()))
    }
}

impl Compactor for RedbCompactor {
    fn compact(&self, up_to: u64) -> Result<Compacted> {
        // A compaction that panicked left nothing that counts.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.db.read(pointer)?;
        if up_to <= before.index {
            return Ok(Compacted::Nothing);
        }
        let Some(snapshot) = self.replay(before, up_to)? else { return Ok(Compacted::Nothing) };
        let write = |f: &mut WriteFn<'_>| self.write(f);
        let new = write_chunks(&write, &snapshot)?;
        drop(snapshot);
        let mut counts = before;
        write(&mut |txn| {
            counts = pointer_in(&txn.open_table(META)?)?;
            if counts == before {
                point(txn, new)?;
            }
            Ok(())
        })?;
        if counts != before {
            drop_remains(&write, counts)?;
            return Ok(Compacted::Nothing);
        }
        drop_remains(&write, new)?;
        Ok(Compacted::Done { index: new.index })
    }
}

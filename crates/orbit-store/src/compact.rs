//! Compaction of the log on redb, beside the appends.

use crate::{
    Compacted, Compactor, Result,
    database::{Db, META},
    tables::*,
};
use orbit_core::state::Snapshot;
use std::sync::{Arc, Mutex, PoisonError};

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
}

impl Compactor for RedbCompactor {
    fn compact(&self, snapshot: &Snapshot) -> Result<Compacted> {
        // A compaction that panicked left nothing that counts.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.db.read(pointer)?;
        if snapshot.index <= before.index || snapshot.index > self.db.read(last_index)? {
            return Ok(Compacted::Nothing);
        }
        let write = |f: &mut WriteFn<'_>| self.write(f);
        let new = write_chunks(&write, snapshot)?;
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

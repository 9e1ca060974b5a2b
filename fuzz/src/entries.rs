//! What lies on disk: entries of the log, chunks of a snapshot, records of a worker's ledger.

use crate::bytes;
use orbit_core::{
    model::*,
    state::{Cluster, Snapshot},
};
use orbit_proto::*;

/// Any bytes, as records, in every format that is stored. What can be read is written and read back
/// as the same value; an entry can be applied, and a snapshot that restores is a cluster.
pub fn entries(data: &[u8]) {
    let records = bytes::records(data);
    let mut cluster = Cluster::default();
    for record in &records {
        if let Ok(entry) = decode_entry(record) {
            bytes::entry(&entry);
            apply(&mut cluster, entry);
        }
        if let Ok(task) = decode_ledger_task(record) {
            assert_eq!(decode_ledger_task(&encode_ledger_task(&task)), Ok(task), "a ledger's record is read back");
        }
    }
    restores(&cluster.snapshot());
    if let Ok(snapshot) = decode_snapshot(&records) {
        bytes::snapshot(&snapshot);
        if let Ok(mut cluster) = Cluster::restore(snapshot) {
            // What an older Orbit wrote is brought up to date once; from then on it is what is written.
            let restored = cluster.snapshot();
            let again = Cluster::restore(restored.clone()).expect("I33: a snapshot loads");
            assert_eq!(again.snapshot(), restored, "I14: what was restored is what was written");
            if cluster.check().is_empty() {
                records.iter().filter_map(|record| decode_entry(record).ok()).for_each(|e| apply(&mut cluster, e));
            }
        }
    }
}

/// `apply` is total: of the entry that is next, it believes nothing.
fn apply(cluster: &mut Cluster, entry: Entry) {
    let Some(index) = cluster.index.checked_add(1) else { return };
    cluster.apply(&Entry { index, ..entry });
    assert_eq!(cluster.check(), [], "after an entry");
}

/// I14, I33: whatever state was reached, its snapshot loads.
fn restores(snapshot: &Snapshot) {
    let restored = Cluster::restore(bytes::snapshot(snapshot)).expect("I33: a snapshot loads");
    assert_eq!(restored.check(), [], "restored");
    assert_eq!(restored.snapshot(), *snapshot, "I14");
}

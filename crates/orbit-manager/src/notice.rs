//! What reaches the driver from the log: from consensus, and from the compaction beside it.

use orbit_consensus::Event;
use orbit_store::StoreError;

/// One message to the driver.
#[derive(Debug)]
pub(crate) enum Notice {
    /// In order.
    Events(Vec<Event>),
    /// The store cannot go on, and so neither can the process.
    Failed(StoreError),
}

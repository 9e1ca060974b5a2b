//! The replicated state machine: what every replica of the log holds and applies.
//!
//! Nothing of a leader is in it, so followers, the reader, the compactor and `plan` use it alone:
//! [`Cluster::restore`], then [`Cluster::apply`] with every entry. The same entries give the same
//! state in any process. What only a leader remembers is in [`crate::manager`].

mod apply;
mod check;
mod cluster;
mod history;
mod keys;
mod snapshot;
mod tasks;

pub use apply::PORT_REST;
pub use check::Violation;
pub use cluster::{Cluster, SCHEMA};
pub use history::{Change, History};
pub use snapshot::{KeyRecord, Snapshot};

use keys::IdempotencyKeys;
use tasks::TaskTable;

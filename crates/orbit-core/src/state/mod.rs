//! The replicated state machine: each replica of the log holds this state and applies the same entries.
//!
//! Order of calls: [`Cluster::restore`], then [`Cluster::apply`] with every entry, in order. The same
//! entries give the same state in any process. The state knows nothing of who leads, so a follower, the
//! reader and a recovery need nothing else. What only the leader remembers is in [`crate::manager`].

mod apply;
mod check;
mod cluster;
mod history;
mod keys;
mod nodes;
mod order;
mod snapshot;
mod tasks;
mod volumes;

pub use apply::PORT_REST;
pub use check::Violation;
pub use cluster::{Cluster, SCHEMA};
pub use history::{Change, History};
pub use keys::KeyRecord;
pub use snapshot::Snapshot;

use keys::IdempotencyKeys;
use nodes::NodeTable;
use tasks::TaskTable;

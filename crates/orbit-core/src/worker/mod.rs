//! The worker's own pure machine.

mod ledger;
mod op;
pub use ledger::*;
pub use op::*;

//! idle
/// r
pub fn run() {}

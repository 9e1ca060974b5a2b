//! start
/// r
pub fn run() {}

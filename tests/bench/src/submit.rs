//! submit
/// r
pub fn run() {}

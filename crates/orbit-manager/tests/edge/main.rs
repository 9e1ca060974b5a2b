//! The edge of the manager: what comes in from outside, whatever it is, is answered with a reason, and the manager goes
//! on; and what goes out is always something that the other end can take.

mod browser;
mod connections;
mod document;
mod hostile;
mod manager;
mod metrics;
mod watches;
mod welcome;

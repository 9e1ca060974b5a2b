//! The edge of the REST API: what comes in from outside, whatever it is, is answered with a reason, and the manager
//! goes on.

mod browser;
mod connections;
mod document;
mod hostile;
mod manager;
mod watches;

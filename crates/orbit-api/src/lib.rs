//! What users write and read: manifests, and the objects of the REST API.
//!
//! Shared by the manager, which serves them, and the command line, which sends and shows them. The
//! OpenAPI document is generated from these types; so `-o json` is the API's own object.

#![forbid(unsafe_code)]

mod difference;
pub mod errors;
pub mod manifest;
pub mod problem;
pub mod quantity;
mod similar;
pub mod view;

pub use difference::{DIFFERENCES_MAX, Difference, differences};
pub use manifest::Manifest;
pub use problem::Problem;
pub use similar::{did_you_mean, similar};

//! The nouns: what is replicated, what is written to the log, and what crosses the wire.

mod command;
mod disconnect;
mod history;
mod ids;
mod image;
mod kind;
mod message;
mod node;
mod probe;
mod rejection;
mod resources;
mod rollout;
mod spec;
mod task;
mod time;
mod update;
mod workload;

pub use command::*;
pub use disconnect::*;
pub use history::*;
pub use ids::*;
pub use image::*;
pub use kind::*;
pub use message::*;
pub use node::*;
pub use probe::*;
pub use rejection::*;
pub use resources::*;
pub use rollout::*;
pub use spec::*;
pub use task::*;
pub use time::*;
pub use update::*;
pub use workload::*;

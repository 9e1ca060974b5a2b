//! One module per command: its arguments and help, and the code that runs it.

pub mod apply;
pub mod completion;
pub mod compose;
pub mod context;
pub mod delete;
pub mod describe;
pub mod endpoints;
pub mod errors;
pub mod events;
pub mod exec;
pub mod get;
pub mod logs;
pub mod node;
pub mod restart;
pub mod rollout;
pub mod run;
pub mod scale;
pub mod snapshot;
pub mod volume;

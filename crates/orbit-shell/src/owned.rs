//! A task of the executor that ends with whoever began it.

use std::future::Future;
use tokio::task::JoinHandle;

/// A task that is aborted when this is dropped: nothing that was begun for somebody outlives him.
#[derive(Debug)]
pub struct Owned(JoinHandle<()>);

impl Owned {
    /// Begins it.
    pub fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Owned {
        Owned(tokio::spawn(work))
    }
    /// Whether it has come to its end by itself.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

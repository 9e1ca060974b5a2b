//! Where blocking work is done: on an executor that comes from outside, so that the simulator can
//! let it take virtual time.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
};

/// Runs blocking work beside the asynchronous tasks.
pub trait BlockingExecutor: Send + Sync + 'static {
    /// Runs the work; the future is ready when it has ended.
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Runs work that gives a value.
///
/// # Panics
/// If the work panics: the executor then ends without a value.
pub async fn call<T: Send + 'static>(
    executor: &Arc<dyn BlockingExecutor>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let place = Arc::new(Mutex::new(None));
    let inside = place.clone();
    executor.run(Box::new(move || *inside.lock().expect("nobody else holds it") = Some(work()))).await;
    let mut place = place.lock().expect("nobody else holds it");
    place.take().expect("the blocking work has panicked")
}

/// The runtime's own threads for blocking work.
pub struct TokioBlocking;

impl BlockingExecutor for TokioBlocking {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // Under madsim it runs inline, which is what a simulation without an executor of its own wants.
        #[cfg_attr(madsim, allow(deprecated))]
        let running = tokio::task::spawn_blocking(work);
        Box::pin(async move {
            running.await.expect("blocking work neither panics nor is cancelled");
        })
    }
}

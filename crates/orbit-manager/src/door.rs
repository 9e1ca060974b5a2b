//! The door through which requests come in: REST in production, the workload in simulation.

use crate::driver::Input;
use bytes::Bytes;
use orbit_core::{
    manager::{Manager, Request},
    model::{Answer, Code, LogRequest, Rejection, TaskId, Time},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// What a request got.
#[derive(Clone, Debug)]
pub struct Replied {
    /// The answer, or why not.
    pub result: Result<Answer, Rejection>,
    /// The cluster's revision when it was answered: for an accepted write, its own entry.
    pub revision: u64,
}

/// A handle of a running manager. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    pub(crate) inputs: mpsc::UnboundedSender<Input>,
    streams: Arc<Streams>,
}

/// Log streams that a worker was asked to dial and has not dialled yet.
#[derive(Default)]
struct Streams {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<u64, mpsc::Sender<Result<Bytes, String>>>>,
}

/// How long a worker has to dial a stream that it was asked for.
const DIAL_MAX: Duration = Duration::from_secs(10);
/// Chunks that wait for a slow reader; then the worker waits too.
const CHUNKS_MAX: usize = 16;

fn gone() -> Rejection {
    Rejection::new(Code::Unavailable, "the manager is shutting down: ask again")
}

impl Door {
    pub(crate) fn new(inputs: mpsc::UnboundedSender<Input>) -> Door {
        Door { inputs, streams: Arc::default() }
    }

    /// Asks for something; returns once the answer is durable.
    pub async fn request(&self, request: Request) -> Replied {
        let (reply, answer) = oneshot::channel();
        let _ = self.inputs.send(Input::Request(request, reply));
        answer.await.unwrap_or(Replied { result: Err(gone()), revision: 0 })
    }

    /// Reads the state at the last applied entry. `now` is on the manager's own clock.
    ///
    /// # Errors
    /// When the manager is shutting down.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Manager, Time) -> T + Send + 'static,
    ) -> Result<T, Rejection> {
        let (give, take) = oneshot::channel();
        let look = Box::new(move |manager: &Manager, now: Time| {
            let _ = give.send(look(manager, now));
        });
        let _ = self.inputs.send(Input::Read(look));
        take.await.map_err(|_| gone())
    }

    /// The output of a task, as its node has it: chunks, or what went wrong on the way.
    ///
    /// # Errors
    /// When there is no such task, or its node is not connected.
    pub async fn logs(
        &self,
        task: TaskId,
        follow: bool,
        tail: Option<u32>,
    ) -> Result<mpsc::Receiver<Result<Bytes, String>>, Rejection> {
        let stream = self.streams.next.fetch_add(1, Ordering::Relaxed);
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        self.streams.waiting.lock().expect("nobody panics with it").insert(stream, sender);
        let asked = self.request(Request::Logs(LogRequest { stream, task, follow, tail })).await;
        if let Err(rejection) = asked.result {
            self.take_stream(stream);
            return Err(rejection);
        }
        // A worker that never dials is not waited for: the reader's end then closes.
        let door = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(DIAL_MAX).await;
            if let Some(sender) = door.take_stream(stream) {
                let _ = sender.send(Err("the node did not send the output".to_string())).await;
            }
        });
        Ok(chunks)
    }

    /// The reader that waits for a stream; each is taken once.
    pub(crate) fn take_stream(&self, stream: u64) -> Option<mpsc::Sender<Result<Bytes, String>>> {
        self.streams.waiting.lock().expect("nobody panics with it").remove(&stream)
    }
}

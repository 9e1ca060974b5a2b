//! Where workers come in: the control stream of each, and the log streams that they dial.

use crate::{
    door::{Door, Waiting},
    driver::Input,
};
use orbit_core::{
    manager::SessionId,
    model::{ToManager, ToWorker},
};
use orbit_proto::v1::{self, worker_server::Worker};
use std::{
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

/// Everything that a node shall run comes in one message.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Messages that wait for a slow worker before its connection counts as stuck.
const QUEUE_MAX: usize = 1024;

/// The service that workers dial: wrap it in a `WorkerServer`. Turns connections into the machine's
/// sessions.
pub struct Workers {
    door: Door,
    next: AtomicU64,
}

impl Workers {
    /// The service of a running manager.
    pub fn new(door: Door) -> Workers {
        Workers { door, next: AtomicU64::new(1) }
    }
}

#[tonic::async_trait]
impl Worker for Workers {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<v1::ToWorker, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::ToManager>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let session = SessionId(self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = mpsc::channel::<ToWorker>(QUEUE_MAX);
        let inputs = self.door.inputs.clone();
        let _ = inputs.send(Input::SessionOpened(session, sender));
        let dialled_from = request.remote_addr().map(|peer| peer.ip().to_canonical());
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                orbit_shell::buggify().await;
                match ToManager::try_from(message) {
                    Ok(mut message) => {
                        // A worker that was told no address of its own is reached where it dials from.
                        if let ToManager::Register(hello) = &mut message {
                            hello.info.address = hello.info.address.or(dialled_from);
                        }
                        let _ = inputs.send(Input::Message(session, message));
                    }
                    Err(error) => {
                        tracing::warn!(session = session.0, %error, "a worker sends what cannot be read");
                        break;
                    }
                }
            }
            orbit_shell::buggify().await;
            let _ = inputs.send(Input::SessionClosed(session));
        });
        let outgoing = ReceiverStream::new(receiver).map(|message| Ok(v1::ToWorker::from(&message)));
        Ok(Response::new(Box::pin(outgoing)))
    }

    async fn logs(&self, request: Request<Streaming<v1::LogChunk>>) -> Result<Response<v1::LogsDone>, Status> {
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.ok_or_else(|| Status::invalid_argument("no stream was named"))?;
        let Some(Waiting::Logs(reader)) = self.door.take_stream(first.stream) else { return Err(nobody()) };
        while let Some(chunk) = incoming.message().await? {
            let chunk = match chunk.error {
                Some(error) => Err(error),
                None => Ok(chunk.data),
            };
            if reader.send(chunk).await.is_err() {
                break; // the reader has gone: the worker need not go on
            }
        }
        Ok(Response::new(v1::LogsDone {}))
    }

    type ExecStream = Pin<Box<dyn Stream<Item = Result<v1::ExecInput, Status>> + Send>>;

    async fn exec(&self, request: Request<Streaming<v1::ExecOutput>>) -> Result<Response<Self::ExecStream>, Status> {
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.ok_or_else(|| Status::invalid_argument("no stream was named"))?;
        let Some(Waiting::Exec(reader, input)) = self.door.take_stream(first.stream) else { return Err(nobody()) };
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                let Some(what) = message.what else { continue };
                if reader.send(what).await.is_err() {
                    break;
                }
            }
        });
        let outgoing = ReceiverStream::new(input).map(|what| Ok(v1::ExecInput { what: Some(what) }));
        Ok(Response::new(Box::pin(outgoing)))
    }
}

fn nobody() -> Status {
    Status::not_found("nobody waits for this stream")
}

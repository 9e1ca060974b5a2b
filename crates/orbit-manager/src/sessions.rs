//! Where workers come in: the control stream of each, and the streams of logs and processes that they dial.
//!
//! Nothing here outlives those for whom it was begun: what is read from a worker ends with the stream that answers it,
//! and a stream of a log or a process with its reader.

use crate::{
    handle::{DIAL_MAX, LogPiece, ManagerHandle, Waiting},
    input::Input,
};
use orbit_core::{
    manager::SessionId,
    model::{ToManager, ToWorker},
};
use orbit_proto::{
    FromWorker,
    v1::{self, exec_input, worker_server::Worker},
};
use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

/// Messages that wait for a slow worker before its connection counts as stuck.
const QUEUE_MAX: usize = 1024;
/// How long a worker has to say hello: a connection on which nobody does is not kept.
const HELLO_MAX: Duration = Duration::from_secs(10);
/// Pieces of a process's input that wait for its worker.
const EXEC_INPUTS_MAX: usize = 16;

/// The service that workers dial: wrap it in a `WorkerServer`. Turns connections into the machine's
/// sessions.
pub struct Workers {
    handle: ManagerHandle,
    next: AtomicU64,
}

impl Workers {
    /// The service of a running manager.
    pub fn new(handle: ManagerHandle) -> Workers {
        Workers { handle, next: AtomicU64::new(1) }
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
        let inputs = self.handle.inputs.clone();
        let _ = inputs.send(Input::SessionOpened(session, sender)).await;
        let dialled_from = request.remote_addr().map(|peer| peer.ip().to_canonical());
        let mut incoming = request.into_inner();
        let (answers, unanswered) = oneshot::channel::<Infallible>();
        tokio::spawn(async move {
            let read = read(&mut incoming, dialled_from, session, &inputs);
            // The machine, or the worker's connection, has ended the answers: nothing more is read either.
            let why = tokio::select! { biased;
                why = read => why,
                _ = unanswered => Ok(()),
            };
            if let Err(why) = why {
                tracing::warn!(session = session.0, why, "a worker sends what cannot be read");
            }
            orbit_shell::buggify().await;
            let _ = inputs.send(Input::SessionClosed(session)).await;
        });
        let outgoing = ReceiverStream::new(receiver).map(move |message| {
            let _lives_as_long_as_the_answers = &answers;
            Ok(v1::ToWorker::from(&message))
        });
        Ok(Response::new(Box::pin(outgoing)))
    }

    async fn logs(&self, request: Request<Streaming<v1::LogChunk>>) -> Result<Response<v1::LogsDone>, Status> {
        let mut incoming = request.into_inner();
        let first = first(&mut incoming).await?;
        let Some(Waiting::Logs(reader)) = self.taken(&first.token) else { return Err(nobody()) };
        loop {
            let chunk = tokio::select! { biased;
                // The worker need not go on, and learns of it from the answer: a log that is quiet would not tell it.
                () = reader.closed() => break,
                chunk = incoming.message() => chunk?,
            };
            let piece = match chunk {
                None => LogPiece::End,
                Some(v1::LogChunk { error: Some(error), .. }) => LogPiece::BrokenOff(error),
                Some(chunk) => LogPiece::Written(chunk.data),
            };
            let is_last = !matches!(piece, LogPiece::Written(_));
            if reader.send(piece).await.is_err() || is_last {
                break;
            }
        }
        Ok(Response::new(v1::LogsDone {}))
    }

    type ExecStream = Pin<Box<dyn Stream<Item = Result<v1::ExecInput, Status>> + Send>>;

    async fn exec(&self, request: Request<Streaming<v1::ExecOutput>>) -> Result<Response<Self::ExecStream>, Status> {
        let mut incoming = request.into_inner();
        let first = first(&mut incoming).await?;
        let Some(Waiting::Exec(reader, mut input)) = self.taken(&first.token) else { return Err(nobody()) };
        let (sender, receiver) = mpsc::channel(EXEC_INPUTS_MAX);
        tokio::spawn(async move {
            let from_process = async {
                while let Ok(Some(message)) = incoming.message().await {
                    let Some(what) = message.what else { continue };
                    if reader.send(what).await.is_err() {
                        break;
                    }
                }
            };
            // The end of the input is a message. The end of the stream means that nobody reads the output any more: the
            // worker ends the process then.
            let to_process = async {
                while let Some(what) = input.recv().await {
                    if sender.send(what).await.is_err() {
                        return;
                    }
                }
                let _ = sender.send(exec_input::What::StdinEnd(v1::StdinEnd {})).await;
                std::future::pending().await
            };
            tokio::select! { biased;
                () = reader.closed() => {}
                () = sender.closed() => {}
                () = from_process => {}
                () = to_process => {}
            }
        });
        let outgoing = ReceiverStream::new(receiver).map(|what| Ok(v1::ExecInput { what: Some(what) }));
        Ok(Response::new(Box::pin(outgoing)))
    }
}

impl Workers {
    /// The end that waits for this stream. A name that nobody was told is as good as none.
    fn taken(&self, token: &[u8]) -> Option<Waiting> {
        self.handle.take_stream(orbit_proto::stream_token(token)?)
    }
}

/// The message that names a stream. A connection on which none comes is not kept.
async fn first<T>(incoming: &mut Streaming<T>) -> Result<T, Status> {
    let first = timeout(DIAL_MAX, incoming.message()).await.unwrap_or(Ok(None))?;
    first.ok_or_else(|| Status::invalid_argument("no stream was named"))
}

/// Hands on what a worker says, until it ends its side. Reads no more while the manager is behind.
///
/// # Errors
/// When it says what no worker says.
async fn read(
    incoming: &mut Streaming<v1::ToManager>,
    dialled_from: Option<IpAddr>,
    id: SessionId,
    inputs: &mpsc::Sender<Input>,
) -> Result<(), String> {
    let hand_on = |message| inputs.send(Input::Message(id, message));
    let mut session = FromWorker::default();
    let hello = async {
        while let Ok(Some(message)) = incoming.message().await {
            orbit_shell::buggify().await;
            match session.take(message).map_err(|error| error.to_string())? {
                None => {}
                // A worker that was told no address of its own is reached where it dials from.
                Some(ToManager::Register(mut hello)) => {
                    hello.info.address = hello.info.address.or(dialled_from);
                    return Ok(Some(hello));
                }
                Some(_) => return Err("it does not say hello first".to_string()),
            }
        }
        Ok(None)
    };
    let hello = timeout(HELLO_MAX, hello).await.unwrap_or_else(|_| Err("it does not say hello".to_string()))?;
    let Some(hello) = hello else { return Ok(()) };
    let _ = hand_on(ToManager::Register(hello)).await;
    while let Ok(Some(message)) = incoming.message().await {
        orbit_shell::buggify().await;
        if let Some(message) = session.take(message).map_err(|error| error.to_string())? {
            let _ = hand_on(message).await;
        }
    }
    Ok(())
}

fn nobody() -> Status {
    Status::not_found("nobody waits for this stream")
}

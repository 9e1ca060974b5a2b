//! Streams of their own for what is not the control stream's: they never delay a heartbeat. The
//! worker dials each when it was asked to, and the bytes bypass the machines.

use crate::session::client;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use orbit_core::model::{ExecRequest, LogRange, StreamOf, StreamRequest};
use orbit_core::worker::OpError;
use orbit_proto::{
    bounds,
    v1::{self, ExecOutput, LogChunk, exec_input, exec_output},
};
use orbit_runtime::{self as runtime, ContainerRuntime};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Chunks that are read ahead of a slow reader.
const CHUNKS_MAX: usize = 16;
/// A chunk is sent once it has so many bytes, or its first piece has waited for so long.
const CHUNK_BYTES: usize = bounds::CHUNK_BYTES_MAX;
const GATHER_MAX: Duration = Duration::from_millis(5);

/// Lives as long as the stream, or its owner.
pub(crate) async fn open(
    manager: String,
    runtime: Arc<dyn ContainerRuntime>,
    request: StreamRequest,
    container: String,
) {
    let StreamRequest { token, task, what } = request;
    let token = token.0.to_vec();
    let ended = match what {
        StreamOf::Logs(range) => logs(manager, runtime, token, container, range).await,
        StreamOf::Exec(request) => exec(manager, runtime, token, container, request).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%task, %error, "the other end of a stream has gone");
    }
}

async fn logs(
    manager: String,
    runtime: Arc<dyn ContainerRuntime>,
    token: Vec<u8>,
    container: String,
    range: LogRange,
) -> anyhow::Result<()> {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let read = async move {
        let mut output = std::pin::pin!(gathered(runtime.logs(&container, range)));
        let mut sent = sender.send(LogChunk { token, ..LogChunk::default() }).await;
        while sent.is_ok() {
            let Some(piece) = output.next().await else { break };
            let (stderr, bytes, error) = match piece {
                Ok(runtime::LogChunk { stderr, bytes }) => (stderr, bytes, None),
                Err(error) => (false, Bytes::new(), Some(error.message)),
            };
            for data in within_bounds(bytes) {
                sent = sender.send(LogChunk { stderr, data, ..LogChunk::default() }).await;
            }
            if error.is_some() {
                sent = sender.send(LogChunk { error, ..LogChunk::default() }).await;
            }
        }
    };
    // Ends with the manager's answer, which comes early when the reader has gone.
    let write = async { anyhow::Ok(client(manager).await?.logs(ReceiverStream::new(receiver)).await.map(drop)?) };
    let mut write = std::pin::pin!(write);
    tokio::select! { biased;
        written = &mut write => written,
        () = read => write.await,
    }
}

/// The same bytes in pieces that fit into a message.
fn within_bounds(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(bounds::CHUNK_BYTES_MAX))))
}

type Piece = Result<runtime::LogChunk, OpError>;

/// The same bytes in fewer pieces: an engine gives a log line by line, and to send each by itself costs
/// everybody on its way far more than the line.
fn gathered(pieces: impl Stream<Item = Piece> + Unpin) -> impl Stream<Item = Piece> {
    stream::unfold((pieces.fuse(), None), |(mut pieces, held)| async move {
        let first = match held {
            Some(held) => held,
            None => pieces.next().await?,
        };
        let runtime::LogChunk { stderr, bytes } = match first {
            Ok(chunk) => chunk,
            error => return Some((error, (pieces, None))),
        };
        let (mut together, mut held) = (BytesMut::from(bytes), None);
        let mut over = std::pin::pin!(tokio::time::sleep(GATHER_MAX));
        while together.len() < CHUNK_BYTES && held.is_none() {
            let next = tokio::select! { biased;
                next = pieces.next() => next,
                () = &mut over => break,
            };
            match next {
                Some(Ok(next)) if next.stderr == stderr => together.extend_from_slice(&next.bytes),
                Some(other) => held = Some(other),
                None => break,
            }
        }
        Some((Ok(runtime::LogChunk { stderr, bytes: together.freeze() }), (pieces, held)))
    })
}

async fn exec(
    manager: String,
    runtime: Arc<dyn ContainerRuntime>,
    token: Vec<u8>,
    container: String,
    request: ExecRequest,
) -> anyhow::Result<()> {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    sender.send(ExecOutput { token, what: None }).await?;
    let mut incoming = client(manager).await?.exec(ReceiverStream::new(receiver)).await?.into_inner();
    let (feed, input) = mpsc::channel(CHUNKS_MAX);
    let mut output = runtime.exec(&container, request, ReceiverStream::new(input).boxed());
    // The manager ends its side when nobody reads any more. The process is not left to itself then: dropping its output
    // ends it, whether it would have ended by the end of its input or not.
    let to_process = async {
        while let Ok(Some(message)) = incoming.message().await {
            // One that takes no more input has ended, or is about to, and is heard to its end.
            if let Some(input) = input_of(message) {
                let _ = feed.send(input).await;
            }
        }
    };
    let mut to_process = std::pin::pin!(to_process);
    let from_process = async {
        while let Some(item) = output.next().await {
            let (bytes, of): (_, fn(Bytes) -> exec_output::What) = match item {
                Ok(runtime::ExecOutput::Stdout(bytes)) => (bytes, exec_output::What::Stdout),
                Ok(runtime::ExecOutput::Stderr(bytes)) => (bytes, exec_output::What::Stderr),
                Ok(runtime::ExecOutput::Exited(code)) => {
                    let what = Some(exec_output::What::ExitCode(code));
                    return Ok(sender.send(ExecOutput { what, ..ExecOutput::default() }).await?);
                }
                Err(error) => {
                    let what = Some(exec_output::What::Error(error.message));
                    return Ok(sender.send(ExecOutput { what, ..ExecOutput::default() }).await?);
                }
            };
            for bytes in within_bounds(bytes) {
                sender.send(ExecOutput { what: Some(of(bytes)), ..ExecOutput::default() }).await?;
            }
        }
        anyhow::Ok(())
    };
    let ended = tokio::select! { biased;
        ended = from_process => ended,
        // Also where the process takes no input, and what the manager says is not read.
        () = sender.closed() => return Ok(()),
        () = &mut to_process => return Ok(()),
    };
    // What was sent is on its way until the manager ends its side as well.
    drop(sender);
    to_process.await;
    ended
}

fn input_of(message: v1::ExecInput) -> Option<runtime::ExecInput> {
    Some(match message.what? {
        exec_input::What::Stdin(bytes) => runtime::ExecInput::Stdin(bytes),
        exec_input::What::StdinEnd(_) => runtime::ExecInput::StdinEnd,
        exec_input::What::Resize(v1::TerminalSize { columns, rows }) => {
            let size = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
            runtime::ExecInput::Resize { columns: size(columns), rows: size(rows) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::worker::OpErrorKind;

    fn piece(stderr: bool, text: &str) -> Piece {
        Ok(runtime::LogChunk { stderr, bytes: text.to_string().into() })
    }

    #[tokio::test]
    async fn pieces_go_together_in_order_and_up_to_a_size() {
        let error = || Err(OpError { kind: OpErrorKind::Engine, message: "gone".to_string() });
        let pieces = [piece(false, "a\n"), piece(false, "b\n"), piece(true, "c\n"), piece(false, "d"), error()];
        let together: Vec<Piece> = gathered(stream::iter(pieces)).collect().await;
        assert_eq!(together, [piece(false, "a\nb\n"), piece(true, "c\n"), piece(false, "d"), error()]);

        let large = "x".repeat(CHUNK_BYTES);
        let pieces = [piece(false, "a"), piece(false, &large), piece(false, "b")];
        let together: Vec<Piece> = gathered(stream::iter(pieces)).collect().await;
        assert_eq!(together, [piece(false, &format!("a{large}")), piece(false, "b")]);
    }

    #[tokio::test]
    async fn what_does_not_come_is_not_waited_for() {
        let (sender, receiver) = mpsc::channel(4);
        let mut together = std::pin::pin!(gathered(ReceiverStream::new(receiver)));
        sender.send(piece(false, "a")).await.unwrap();
        assert_eq!(together.next().await, Some(piece(false, "a")));
        sender.send(piece(false, "b")).await.unwrap();
        assert_eq!(together.next().await, Some(piece(false, "b")));
        drop(sender);
        assert_eq!(together.next().await, None);
    }
}

//! The output of a container, on a stream of its own: it never delays a heartbeat.

use crate::session::client;
use futures_util::StreamExt;
use orbit_core::model::LogRequest;
use orbit_proto::v1::LogChunk;
use orbit_runtime::ContainerRuntime;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Chunks that are read ahead of a slow reader.
const CHUNKS_MAX: usize = 16;

pub(crate) async fn send(manager: String, runtime: Arc<dyn ContainerRuntime>, request: LogRequest, container: String) {
    let LogRequest { stream, follow, tail, .. } = request;
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let read = async move {
        let mut output = runtime.logs(&container, follow, tail);
        let mut sent = sender.send(LogChunk { stream, ..LogChunk::default() }).await;
        while sent.is_ok() {
            let Some(chunk) = output.next().await else { break };
            let chunk = match chunk {
                Ok(chunk) => LogChunk { stderr: chunk.stderr, data: chunk.bytes.to_vec(), ..LogChunk::default() },
                Err(error) => LogChunk { error: Some(error.message), ..LogChunk::default() },
            };
            sent = sender.send(chunk).await;
        }
    };
    // Ends with the manager's answer, which comes early when the reader has gone.
    let write = async move {
        client(manager).await?.logs(ReceiverStream::new(receiver)).await?;
        anyhow::Ok(())
    };
    let (reading, writing) = (tokio::spawn(read), write.await);
    reading.abort();
    if let Err(error) = writing {
        tracing::debug!(stream, %error, "the reader of the output has gone");
    }
}

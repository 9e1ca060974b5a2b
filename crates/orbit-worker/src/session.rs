//! One connection to the manager: dial, then pass messages both ways until either side ends it.

use crate::input::Input;
use futures_util::{StreamExt, stream};
use orbit_core::{
    model::{ToManager, ToWorker},
    worker::LinkId,
};
use orbit_proto::{
    bounds,
    v1::{to_worker, worker_client::WorkerClient},
};
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

const CONNECT_MAX: Duration = Duration::from_secs(3);
/// A manager whose machine has vanished does not close its connections: it is asked now and then, also where a log or
/// a process has nothing to say.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Messages that wait to be sent before the connection counts as stuck.
const QUEUE_MAX: usize = 1024;

/// A client of the manager.
pub(crate) async fn client(manager: String) -> Result<WorkerClient<Channel>, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(manager)?.connect_timeout(CONNECT_MAX);
    let endpoint = endpoint.http2_keep_alive_interval(KEEPALIVE).keep_alive_while_idle(true);
    let channel = endpoint.tcp_nodelay(true).connect().await?;
    let client = WorkerClient::new(channel).max_decoding_message_size(bounds::TO_WORKER_BYTES_MAX);
    Ok(client.max_encoding_message_size(bounds::FROM_WORKER_BYTES_MAX))
}

/// Lives as long as the connection; says when it stands and when it has ended.
pub(crate) async fn dial(manager: String, link: LinkId, inputs: UnboundedSender<Input>) {
    let why = match converse(manager, link, &inputs).await {
        Ok(()) => "the manager has closed the connection".to_string(),
        Err(error) => match error.downcast_ref::<tonic::Status>() {
            Some(status) => status.message().to_string(),
            None => format!("{error:#}"),
        },
    };
    tracing::debug!(link = link.0, why, "connection ended");
    orbit_shell::buggify().await;
    let _ = inputs.send(Input::LinkDown(link, why));
}

async fn converse(manager: String, link: LinkId, inputs: &UnboundedSender<Input>) -> anyhow::Result<()> {
    let mut client = client(manager).await?;
    let (sender, receiver) = mpsc::channel::<ToManager>(QUEUE_MAX);
    let outgoing = ReceiverStream::new(receiver).flat_map(|message| stream::iter(orbit_proto::to_manager(&message)));
    // The manager hears nothing before the machine says hello on this connection.
    let _ = inputs.send(Input::LinkUp(link, sender));
    let mut incoming = client.session(outgoing).await?.into_inner();
    while let Some(message) = incoming.message().await? {
        orbit_shell::buggify().await;
        let asks_for_stream =
            matches!(message.message, Some(to_worker::Message::OpenLogs(_) | to_worker::Message::OpenExec(_)));
        match ToWorker::try_from(message) {
            Ok(message) => drop(inputs.send(Input::Message(link, message))),
            // A manager of another version may name streams otherwise. That costs it the stream, not the session.
            Err(error) if asks_for_stream => {
                tracing::warn!(%error, "the manager asks for a stream that cannot be dialled")
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

//! One connection to the manager: dial, then pass messages both ways until either side ends it.

use crate::driver::Input;
use orbit_core::{
    model::{ToManager, ToWorker},
    worker::LinkId,
};
use orbit_proto::v1::{self, worker_client::WorkerClient};
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::transport::{Channel, Endpoint};

/// Everything that a node shall run comes in one message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 << 20;
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Messages that wait to be sent before the connection counts as stuck.
const QUEUE_MAX: usize = 1024;

/// A client of the manager.
pub(crate) async fn client(manager: String) -> Result<WorkerClient<Channel>, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(manager)?.connect_timeout(CONNECT_MAX);
    let channel = endpoint.tcp_nodelay(true).connect().await?;
    let client = WorkerClient::new(channel);
    Ok(client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
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
    let outgoing = ReceiverStream::new(receiver).map(|message| v1::ToManager::from(&message));
    // The manager hears nothing before the machine says hello on this connection.
    let _ = inputs.send(Input::LinkUp(link, sender));
    let mut incoming = client.session(outgoing).await?.into_inner();
    while let Some(message) = incoming.message().await? {
        orbit_shell::buggify().await;
        let _ = inputs.send(Input::Message(link, ToWorker::try_from(message)?));
    }
    Ok(())
}

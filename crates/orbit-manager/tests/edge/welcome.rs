//! What a worker is told at its welcome, over real gRPC.

use crate::manager::Manager;
use orbit_core::{
    manager::MESSAGE_BYTES,
    model::{Assigned, NodeInfo, NodeUid, Resources, TaskId, ToManager, ToWorker, limits},
    testing,
};
use orbit_proto::v1::{self, worker_client::WorkerClient};
use serde_json::json;
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

const SERVICES: usize = 40;
/// How long a message is waited for before the test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A session of one node, which takes no message that is larger than one spec beside a full one.
struct Session {
    _sender: mpsc::Sender<ToManager>,
    incoming: tonic::Streaming<v1::ToWorker>,
}

impl Session {
    async fn register(address: SocketAddr) -> Session {
        let client = WorkerClient::connect(format!("http://{address}")).await.unwrap();
        let mut client = client.max_decoding_message_size(MESSAGE_BYTES + limits::SPEC_BYTES_MAX);
        let (sender, receiver) = mpsc::channel(4);
        let outgoing = ReceiverStream::new(receiver).map(|message| v1::ToManager::from(&message));
        let incoming = client.session(outgoing).await.unwrap().into_inner();
        let info = NodeInfo {
            allocatable: Resources { cpu_millis: 1_000_000, memory_bytes: 1 << 40 },
            ..testing::node(NodeUid(1), "node-1")
        };
        let hello = testing::hello(info);
        sender.send(ToManager::Register(hello)).await.unwrap();
        Session { _sender: sender, incoming }
    }

    /// Reads until so many tasks were told of.
    async fn read_tasks(&mut self, count: usize) {
        let mut tasks = BTreeSet::<TaskId>::new();
        while tasks.len() < count {
            let message = tokio::time::timeout(PATIENCE, self.incoming.message()).await.expect("it comes in time");
            let message = message.expect("the client takes every message").expect("the session stands");
            let assigned: Assigned = match message.try_into().unwrap() {
                ToWorker::Welcome(welcome) => welcome.assigned,
                ToWorker::Assigned(assigned) => assigned,
                _ => continue,
            };
            tasks.extend(assigned.tasks.iter().map(|order| order.task));
        }
    }
}

#[tokio::test]
async fn a_node_with_forty_megabytes_of_specs_is_welcomed_in_messages_that_it_can_take() {
    let manager = Manager::new().await;
    for n in 0..SERVICES {
        let args = vec!["x".repeat(limits::STRING_BYTES_MAX); 240];
        let web = json!({ "kind": "Service", "name": format!("large-{n}"), "image": "web:1", "args": args });
        assert_eq!(manager.send("PUT", &format!("/v1/services/large-{n}"), &web).await.status, 201);
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(orbit_manager::daemon::serve_workers(listener, manager.handle.clone()));
    // Beside `web` and `once`; placed only now, and told as differences.
    Session::register(address).await.read_tasks(SERVICES + 2).await;
    // It comes back, and is told everything at once.
    Session::register(address).await.read_tasks(SERVICES + 2).await;
    serving.abort();
}

//! A node that does nothing but send heartbeats, and times their answers.

use orbit_core::model::{Hello, NodeInfo, NodeUid, Resources, ToManager, ToWorker};
use orbit_proto::v1::{self, worker_client::WorkerClient};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

/// Far more often than a worker does, to have many times to look at.
const BETWEEN: Duration = Duration::from_millis(10);

/// A session that stands.
pub struct Probe {
    sender: mpsc::Sender<ToManager>,
    incoming: tonic::Streaming<v1::ToWorker>,
    seq: u64,
}

impl Probe {
    /// Registers, and waits until it is welcome.
    pub async fn connect(manager: String) -> Probe {
        let mut client = WorkerClient::connect(manager).await.expect("the manager listens");
        let (sender, receiver) = mpsc::channel(16);
        let outgoing = ReceiverStream::new(receiver).map(|message| v1::ToManager::from(&message));
        let incoming = client.session(outgoing).await.expect("the manager answers").into_inner();
        let info = NodeInfo {
            uid: NodeUid(orbit_shell::random()),
            name: "probe".to_string(),
            labels: BTreeMap::new(),
            arch: "amd64".to_string(),
            os: "linux".to_string(),
            allocatable: Resources::ZERO,
            port_range: (1, 1),
            address: None,
            pinned_ports: None,
            allowed: [].into(),
            versions: Default::default(),
        };
        let hello = Hello {
            cluster: None,
            seen: (0, 0),
            nonce: orbit_shell::random(),
            info,
            inventory: Vec::new(),
            takes_parts: true,
            prefetches: true,
        };
        let mut probe = Probe { sender, incoming, seq: 0 };
        probe.say(ToManager::Register(hello)).await;
        while !matches!(probe.hear().await, ToWorker::Welcome(_)) {}
        probe
    }

    /// How many milliseconds each heartbeat took there and back, for some time.
    pub async fn beat_for(&mut self, span: Duration) -> Vec<f64> {
        let (begun, mut times) = (Instant::now(), Vec::new());
        while begun.elapsed() < span {
            self.seq += 1;
            let sent = Instant::now();
            self.say(ToManager::Heartbeat { seq: self.seq, assigned_seq: 1, disk_full: false }).await;
            while !matches!(self.hear().await, ToWorker::HeartbeatAck { seq } if seq == self.seq) {}
            times.push(sent.elapsed().as_secs_f64() * 1000.0);
            tokio::time::sleep(BETWEEN).await;
        }
        times
    }

    async fn say(&self, message: ToManager) {
        self.sender.send(message).await.expect("the session stands");
    }

    async fn hear(&mut self) -> ToWorker {
        let message = self.incoming.message().await.expect("the session stands").expect("it has no end");
        message.try_into().expect("the manager speaks clearly")
    }
}

//! What a test of the contract needs of an engine, beside the runtime itself.

use async_trait::async_trait;
use futures_util::StreamExt;
use orbit_core::model::LogRange;
use orbit_core::model::{ClusterId, Limits, NodeUid, Resources, TaskId};
use orbit_core::worker::{
    ContainerSpec, ContainerState, EngineContainer, Op, OpError, OpErrorKind, OpOutput, OpResult, Owner,
};
use orbit_runtime::{ContainerRuntime, Identity, LogChunk};
use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// How long a condition may take to come true. A busy engine takes seconds for what is usually done
/// in tenths of one.
const SOON: Duration = Duration::from_secs(30);

/// The label by which everything that a test made is found again.
pub const LABEL_TEST: &str = "orbit.contract";

/// What a container is to do.
#[derive(Clone, Copy, Debug)]
pub enum Does {
    Run,
    EndWell,
    IgnoreStop,
    Exit(u8),
    EatTooMuch,
    Print(u32),
    NotExist,
    HaveNoUser,
    HaveNoDirectory,
}

/// What every engine under test has: an owner of its own, so that tests can run side by side.
pub struct Engine {
    pub owner: Owner,
    made: u32,
}

impl Engine {
    pub fn new() -> Engine {
        // The standard library's only source of randomness.
        let random = || RandomState::new().hash_one(std::process::id());
        Engine { owner: Owner { cluster: ClusterId(random()), node: NodeUid(random()) }, made: 0 }
    }
    pub fn other_node(&self) -> Owner {
        Owner { node: NodeUid(self.owner.node.0 ^ 1), ..self.owner }
    }
    pub fn name(&self, end: &str) -> String {
        format!("orbit-{}-{end}", self.owner.cluster)
    }
    pub fn labels(&self, identity: Identity) -> Vec<(String, String)> {
        let mut labels = identity.labels();
        labels.insert(0, (LABEL_TEST.to_owned(), self.owner.cluster.to_string()));
        labels
    }
    pub fn identity_of(&self, spec: &ContainerSpec) -> Identity {
        let label = |key: &str| spec.labels.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
        Identity::read(label).expect("a test's spec has the labels")
    }
    /// A spec of a new task of ours, whose image and arguments are still to be said.
    pub fn blank(&mut self) -> ContainerSpec {
        self.made += 1;
        let task = TaskId { epoch: 1, index: 7, ordinal: self.made };
        ContainerSpec {
            env: vec![("MODE".to_owned(), "test".to_owned())],
            resources: Resources { cpu_millis: 500, memory_bytes: 32 << 20 },
            limits: Limits { memory_bytes: Some(32 << 20), ..Limits::default() },
            labels: self.labels(Identity { owner: self.owner, task, spec: 0xfeed }),
            ..orbit_core::testing::container_spec(self.name(&task.to_string()), "")
        }
    }
}

/// An engine under test: the runtime, what the world does to it, and what was asked often.
#[async_trait]
pub trait TestEngine: Send + Sync {
    fn base(&self) -> &Engine;
    fn runtime(&self) -> &dyn ContainerRuntime;
    /// A new task of ours.
    fn spec(&mut self, does: Does) -> ContainerSpec;
    /// An image that is neither here nor to be had.
    fn absent_image(&self) -> String;
    /// An image that nobody pulled, by its only reference.
    async fn own_image(&mut self) -> String;
    /// Somebody gives an image another tag.
    async fn tag(&mut self, image: &str, new: &str);
    /// An image whose registry never answers.
    async fn hanging_image(&mut self) -> String;
    /// A port that nothing holds.
    fn free_port(&mut self) -> u16;
    /// A port that a process holds from now on.
    async fn hold_a_port(&mut self) -> u16;
    async fn kill(&mut self, name: &str);
    /// As a person stops it, who gives it a second.
    async fn stop_by_hand(&mut self, name: &str);
    async fn pause(&mut self, name: &str);
    async fn remove_by_force(&mut self, name: &str);
    async fn rename(&mut self, name: &str, new: &str);
    /// Makes an image of a container of ours, which carries its labels, and runs that.
    async fn copy(&mut self, name: &str, new: &str);
    async fn add_foreign(&mut self, name: &str);
    async fn foreign_runs(&mut self, name: &str) -> bool;
    /// The same runtime with its engine gone.
    fn out_of_reach(&mut self) -> Box<dyn ContainerRuntime>;

    async fn perform(&self, op: Op) -> OpResult {
        self.runtime().perform(op).await
    }
    async fn done(&self, op: Op) {
        assert_eq!(self.perform(op.clone()).await, Ok(OpOutput::Done), "{op:?}");
    }
    async fn fails(&self, op: Op) -> OpErrorKind {
        self.perform(op).await.expect_err("it fails").kind
    }
    /// Creates and starts.
    async fn run(&self, spec: ContainerSpec) -> String {
        let name = spec.name.clone();
        self.create(spec).await;
        self.done(Op::Start(name.clone())).await;
        name
    }
    /// Creates, and gives the ID.
    async fn create(&self, spec: ContainerSpec) -> String {
        match self.perform(Op::Create(Box::new(spec))).await {
            Ok(OpOutput::Created(id)) => id,
            other => panic!("creating gave {other:?}"),
        }
    }
    async fn inspect(&self, name: &str) -> Option<EngineContainer> {
        match self.perform(Op::Inspect { owner: self.base().owner, name: name.to_owned() }).await {
            Ok(OpOutput::Container(found)) => found,
            other => panic!("inspecting {name} gave {other:?}"),
        }
    }
    async fn list(&self, owner: Owner) -> Vec<EngineContainer> {
        match self.perform(Op::List(owner)).await {
            Ok(OpOutput::Containers(mut found)) => {
                found.sort();
                found
            }
            other => panic!("listing gave {other:?}"),
        }
    }
    /// The state in which a container has ended, once it has.
    async fn ended(&self, name: &str) -> ContainerState {
        let ended = async {
            loop {
                let found = self.inspect(name).await.expect("it is there");
                if let ContainerState::Exited { .. } = found.state {
                    return found.state;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon(ended).await
    }
    /// All that a container has written, or the end of it.
    async fn log(&self, name: &str, tail: Option<u32>) -> String {
        text(soon(self.runtime().logs(name, LogRange { tail, ..LogRange::default() }).collect()).await)
    }
    /// Waits until a container's log ends like this.
    async fn logged(&self, name: &str, end: &str) {
        let logged = async {
            while !self.log(name, None).await.ends_with(end) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon(logged).await;
    }
}

/// What a future gives, within the time that a condition may take to come true.
pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future).await.expect("it comes true in time")
}

/// What was read, put together.
pub fn text(chunks: Vec<Result<LogChunk, OpError>>) -> String {
    let bytes: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.expect("it can be read").bytes.to_vec()).collect();
    String::from_utf8(bytes).expect("it is text")
}

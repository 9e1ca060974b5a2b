//! A worker's container engine, as a process of its own on the worker's machine: what it was asked
//! for goes on when the worker is killed.

use crate::{options::Options, record::Record};
use async_trait::async_trait;
use futures_util::{StreamExt, future::ready, stream::BoxStream};
use madsim::runtime::{Handle, NodeHandle};
use orbit_core::{
    model::{ExecRequest, LogRange, TaskId},
    worker::{Op, OpError, OpErrorKind, OpKind, OpResult, Owner},
};
use orbit_runtime::{
    ContainerRuntime, EngineInfo, ExecInput, ExecOutput, LogChunk,
    fake::{FakeEngine, FakeRuntime},
};
use orbit_sim::Random;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::oneshot, time::sleep};

/// A container that is not ours.
pub(crate) const FOREIGN: &str = "somebody-elses";

/// An engine. Clones are the same.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    name: String,
    runtime: FakeRuntime,
    node: Mutex<NodeHandle>,
    random: Mutex<Random>,
    faulty: AtomicBool,
    ms_max: AtomicU64,
    reboots: AtomicU64,
    record: Record,
}

impl Engine {
    pub(crate) fn boot(name: String, mut random: Random, options: &Options, record: Record) -> Engine {
        let mut engine = FakeEngine::default();
        orbit_sim::images(&mut engine, random.between(10, 3000));
        let node = Handle::current().create_node().name(&name).build();
        Engine(Arc::new(Inner {
            name,
            runtime: FakeRuntime::new(engine),
            node: Mutex::new(node),
            random: Mutex::new(random),
            faulty: AtomicBool::new(options.engine_faults),
            ms_max: AtomicU64::new(options.engine_ms_max),
            reboots: AtomicU64::new(0),
            record,
        }))
    }

    /// Asks or changes it, at once.
    pub fn with<R>(&self, f: impl FnOnce(&mut FakeEngine) -> R) -> R {
        self.0.runtime.with(f)
    }

    /// Its machine goes down and comes up: what it was doing is lost, its containers have ended.
    pub(crate) fn reboot(&self) {
        let (handle, mut node) = (Handle::current(), self.0.node.lock().expect("nobody panics with it"));
        handle.kill(node.id());
        handle.restart(node.id());
        *node = handle.get_node(node.id()).expect("it was there");
        self.0.reboots.fetch_add(1, Ordering::Relaxed);
        self.with(FakeEngine::reboot);
    }

    pub(crate) fn reboots(&self) -> u64 {
        self.0.reboots.load(Ordering::Relaxed)
    }

    pub(crate) fn heal(&self) {
        self.0.faulty.store(false, Ordering::Relaxed);
        self.0.ms_max.fetch_min(20, Ordering::Relaxed);
        self.with(|engine| {
            if engine.is_down() {
                engine.engine_down(false);
            }
            engine.heal();
        });
    }

    fn chance(&self, thousandths: u64) -> bool {
        self.0.faulty.load(Ordering::Relaxed)
            && self.0.random.lock().expect("nobody panics with it").chance(thousandths)
    }
}

#[async_trait]
impl ContainerRuntime for Engine {
    async fn perform(&self, op: Op) -> OpResult {
        let (answer, answered) = oneshot::channel();
        let engine = self.clone();
        let node = self.0.node.lock().expect("nobody panics with it").clone();
        node.spawn(async move {
            let result = engine.obey(&op).await;
            let _ = answer.send(result);
        });
        answered.await.unwrap_or_else(|_| Err(lost()))
    }

    async fn info(&self) -> Result<EngineInfo, OpError> {
        self.0.runtime.info().await
    }

    fn hints(&self, owner: Owner) -> BoxStream<'static, Result<TaskId, OpError>> {
        let engine = self.clone();
        // Some are lost, which a listing now and then makes up for.
        let heard = move |hint: &Result<TaskId, OpError>| {
            let dropped = hint.is_ok() && engine.chance(100);
            if dropped {
                engine.0.record.note("hints lost", &engine.0.name);
            }
            ready(!dropped)
        };
        self.0.runtime.hints(owner).filter(heard).boxed()
    }

    fn logs(&self, name: &str, range: LogRange) -> BoxStream<'static, Result<LogChunk, OpError>> {
        self.0.runtime.logs(name, range)
    }

    fn exec(
        &self,
        name: &str,
        request: ExecRequest,
        input: BoxStream<'static, ExecInput>,
    ) -> BoxStream<'static, Result<ExecOutput, OpError>> {
        self.0.runtime.exec(name, request, input)
    }
}

impl Engine {
    /// One operation, in its time: it may fail, or take place and not be heard of.
    async fn obey(&self, op: &Op) -> OpResult {
        let (before, after) = {
            let mut random = self.0.random.lock().expect("nobody panics with it");
            (random.between(0, self.0.ms_max.load(Ordering::Relaxed)), random.between(0, 10))
        };
        let own = self.with(|engine| engine.takes(op)).0;
        sleep(Duration::from_millis(own + before)).await;
        let result = if self.chance(20) {
            self.0.record.note("operations failed", &self.0.name);
            Err(lost())
        } else if self.chance(20) {
            self.0.record.note("responses lost", &self.0.name);
            self.with(|engine| engine.perform(op)).and(Err(lost()))
        } else {
            self.with(|engine| engine.perform(op))
        };
        if !matches!(op, Op::List(_) | Op::Inspect { .. }) {
            self.0.record.note(counted(OpKind::of(op)), (&self.0.name, op, &result));
        }
        sleep(Duration::from_millis(after)).await;
        result
    }
}

fn counted(name: OpKind) -> &'static str {
    match name {
        OpKind::List => "listings",
        OpKind::Inspect => "inspections",
        OpKind::EnsureImage => "images asked for",
        OpKind::RemoveImage => "images removed",
        OpKind::Create => "creates",
        OpKind::Start => "container starts",
        OpKind::Stop => "stops",
        OpKind::Probe => "probes",
        OpKind::Remove => "removals",
    }
}

fn lost() -> OpError {
    OpError { kind: OpErrorKind::Engine, message: "the connection broke".to_string() }
}

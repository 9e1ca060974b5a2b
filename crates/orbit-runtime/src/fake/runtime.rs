//! The fake behind the trait, with time passing.

use super::FakeEngine;
use crate::{ContainerRuntime, EngineInfo, ExecInput, ExecOutput, LogChunk, op_error};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use orbit_core::model::{ExecRequest, LogRange, TaskId};
use orbit_core::worker::{ContainerState, Op, OpError, OpErrorKind, OpKind, OpResult, Owner};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// How long the fake takes to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Before an operation takes place. What a pull or an ignored stop takes comes on top.
    pub before: Duration,
    /// From then to its answer.
    pub after: Duration,
}

impl Latency {
    /// None at all.
    pub const ZERO: Latency = Latency { before: Duration::ZERO, after: Duration::ZERO };
}

/// A [`FakeEngine`] behind [`ContainerRuntime`], on tokio's clock.
///
/// A handle: clones share the engine. Keep one outside of what is under test, so that the
/// containers outlive a worker that is killed, and reach the engine through
/// [`with`](Self::with), which also wakes those who follow hints and logs.
#[derive(Clone)]
pub struct FakeRuntime {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Mutex<FakeEngine>,
    latency: Mutex<fn(OpKind) -> Latency>,
    changed: watch::Sender<()>,
    streams: Arc<()>,
}

impl FakeRuntime {
    /// Puts an engine behind the trait. It answers without latency.
    pub fn new(engine: FakeEngine) -> FakeRuntime {
        let shared = Shared {
            engine: Mutex::new(engine),
            latency: Mutex::new(|_| Latency::ZERO),
            changed: watch::channel(()).0,
            streams: Arc::new(()),
        };
        FakeRuntime { shared: Arc::new(shared) }
    }

    /// Sets how long each kind of operation takes from now on.
    pub fn set_latency(&self, latency: fn(OpKind) -> Latency) {
        *self.shared.latency.lock().unwrap_or_else(PoisonError::into_inner) = latency;
    }

    /// Asks or changes the engine, at once.
    pub fn with<R>(&self, f: impl FnOnce(&mut FakeEngine) -> R) -> R {
        let result = f(&mut self.engine());
        self.shared.changed.send_replace(());
        result
    }

    /// How many logs are read and how many processes were started in containers and have not ended.
    pub fn streams(&self) -> usize {
        Arc::strong_count(&self.shared.streams) - 1
    }

    /// Never held over an await: a worker may be killed there, and the lock with it.
    fn engine(&self) -> MutexGuard<'_, FakeEngine> {
        // A test that panicked while it held the lock has failed already.
        self.shared.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn latency(&self, name: OpKind) -> Latency {
        (*self.shared.latency.lock().unwrap_or_else(PoisonError::into_inner))(name)
    }
}

#[async_trait]
impl ContainerRuntime for FakeRuntime {
    async fn perform(&self, op: Op) -> OpResult {
        let latency = self.latency(OpKind::of(&op));
        let own = Duration::from_millis(self.engine().takes(&op).0);
        pass(latency.before + own).await;
        let result = self.with(|engine| engine.perform(&op));
        pass(latency.after).await;
        result
    }

    async fn info(&self) -> Result<EngineInfo, OpError> {
        self.engine().info()
    }

    fn hints(&self, owner: Owner) -> BoxStream<'static, Result<TaskId, OpError>> {
        let seen = self.engine().events_count();
        let follow = Follow::of(self);
        stream::unfold(Some((follow, seen)), move |state| async move {
            let (mut follow, mut seen) = state?;
            loop {
                let next = {
                    let engine = follow.runtime.engine();
                    if let Err(error) = follow.connected(&engine) {
                        return Some((Err(error), None));
                    }
                    let next = engine.events_since(seen).find(|(_, identity)| identity.owner == owner);
                    // Past the strangers' events, too.
                    seen = next.map_or(engine.events_count(), |(place, _)| place + 1);
                    next.map(|(_, identity)| identity.task)
                };
                match next {
                    Some(task) => return Some((Ok(task), Some((follow, seen)))),
                    None => follow.changed().await,
                }
            }
        })
        .boxed()
    }

    fn logs(&self, name: &str, range: LogRange) -> BoxStream<'static, Result<LogChunk, OpError>> {
        // Its lines have no times to be chosen by.
        let LogRange { follow, tail, timestamps, .. } = range;
        let (name, lines) = (name.to_owned(), Follow::of(self));
        let counted = self.shared.streams.clone();
        stream::unfold(Some((lines, None::<usize>)), move |state| {
            let _lives_as_long_as_the_stream = &counted;
            let name = name.clone();
            async move {
                let (mut lines, mut place) = state?;
                loop {
                    let next = lines.line(&name, &mut place, tail, timestamps);
                    match next {
                        Err(error) => return Some((Err(error), None)),
                        Ok(Next::Chunk(chunk)) => return Some((Ok(chunk), Some((lines, place)))),
                        Ok(Next::NothingYet) if follow => lines.changed().await,
                        Ok(Next::NothingYet | Next::Ended) => return None,
                    }
                }
            }
        })
        .boxed()
    }

    /// Knows `exit N`, `cat`, `sleep` (which takes no notice of its input), and nothing else, whatever the program's path.
    fn exec(
        &self,
        name: &str,
        request: ExecRequest,
        input: BoxStream<'static, ExecInput>,
    ) -> BoxStream<'static, Result<ExecOutput, OpError>> {
        let found = {
            let engine = self.engine();
            match engine.container(name) {
                _ if engine.is_down() => Err(op_error(OpErrorKind::Engine, "the engine went away")),
                None => Err(op_error(OpErrorKind::NotFound, format!("no such container: {name}"))),
                Some(container) if container.is_running() => Ok(()),
                Some(_) => Err(op_error(OpErrorKind::Refused, format!("container {name} does not run"))),
            }
        };
        let words: Vec<&str> = request.command.iter().skip(1).map(String::as_str).collect();
        match (found, &words[..]) {
            (Err(error), _) => stream::iter([Err(error)]).boxed(),
            (Ok(()), ["exit", code]) => stream::iter([Ok(ExecOutput::Exited(code.parse().unwrap_or(2)))]).boxed(),
            (Ok(()), ["sleep"]) => {
                let held = (self.shared.streams.clone(), input);
                stream::pending().map(move |never| (&held, never).1).boxed()
            }
            (Ok(()), ["cat"]) => {
                let counted = self.shared.streams.clone();
                let until_end = input.take_while(|item| std::future::ready(*item != ExecInput::StdinEnd));
                let echoed = until_end.filter_map(|item| async {
                    match item {
                        ExecInput::Stdin(bytes) => Some(Ok(ExecOutput::Stdout(bytes))),
                        ExecInput::StdinEnd | ExecInput::Resize { .. } => None,
                    }
                });
                let ended = stream::iter([Ok(ExecOutput::Exited(0))]);
                echoed.chain(ended).map(move |said| (&counted, said).1).boxed()
            }
            (Ok(()), _) => {
                let said = format!("exec failed: no such program: {:?}\r\n", request.command);
                stream::iter([Ok(ExecOutput::Stdout(said.into())), Ok(ExecOutput::Exited(126))]).boxed()
            }
        }
    }
}

/// What a reader of a container's lines finds.
enum Next {
    Chunk(LogChunk),
    NothingYet,
    Ended,
}

impl Follow {
    /// The line at a reader's place, which moves on. The first call finds the place. A fake has no clock: the n-th line has
    /// the time of the n-th nanosecond.
    fn line(
        &self,
        name: &str,
        place: &mut Option<usize>,
        tail: Option<u32>,
        timestamps: bool,
    ) -> Result<Next, OpError> {
        let engine = self.runtime.engine();
        self.connected(&engine)?;
        let Some(container) = engine.container(name) else {
            return match place {
                // Removed while it was read.
                Some(_) => Ok(Next::Ended),
                None => Err(op_error(OpErrorKind::NotFound, format!("no such container: {name}"))),
            };
        };
        let all = &container.lines;
        let place = place.get_or_insert(tail.map_or(0, |tail| all.len().saturating_sub(tail as usize)));
        Ok(match all.get(*place) {
            Some((stderr, line)) => {
                let time = if timestamps { format!("1970-01-01T00:00:00.{place:09}Z ") } else { String::new() };
                *place += 1;
                Next::Chunk(LogChunk { stderr: *stderr, bytes: Bytes::from(format!("{time}{line}\n")) })
            }
            None if matches!(container.state, ContainerState::Exited { .. }) => Next::Ended,
            None => Next::NothingYet,
        })
    }
}

/// A reader that waits for changes. What changes between a look and the wait is noticed, because
/// the receiver remembers what it has seen.
struct Follow {
    runtime: FakeRuntime,
    changes: watch::Receiver<()>,
    /// The engine's outages when the reader connected.
    outages: u64,
}

impl Follow {
    fn of(runtime: &FakeRuntime) -> Follow {
        let outages = runtime.engine().outages();
        Follow { runtime: runtime.clone(), changes: runtime.shared.changed.subscribe(), outages }
    }
    /// Whether the engine has been there ever since.
    fn connected(&self, engine: &FakeEngine) -> Result<(), OpError> {
        if engine.is_down() || engine.outages() != self.outages {
            return Err(op_error(OpErrorKind::Engine, "the engine went away"));
        }
        Ok(())
    }
    async fn changed(&mut self) {
        // The sender lives in `runtime`, so it cannot be gone.
        let _ = self.changes.changed().await;
    }
}

/// Lets time pass. None passes without a yield: a latency of zero answers within the same poll.
async fn pass(span: Duration) {
    if !span.is_zero() {
        tokio::time::sleep(span).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ImagePlace, Program};
    use super::*;
    use crate::Identity;
    use orbit_core::model::{ClusterId, Millis, NodeUid};
    use orbit_core::testing;
    use orbit_core::worker::{ContainerSpec, OpOutput};
    use tokio::time::{Instant, timeout};

    // Also run in the simulated world, where the clock and the tasks are another's.
    #[tokio::test]
    async fn an_ignored_stop_lasts_its_grace_and_is_hinted_at_when_it_is_over() {
        let runtime = FakeRuntime::new(FakeEngine::default());
        runtime.with(|engine| engine.add_image("stubborn", ImagePlace::Present, Program::Stubborn));
        let owner = Owner { cluster: ClusterId(1), node: NodeUid(2) };
        let task = TaskId { epoch: 1, index: 1, ordinal: 0 };
        let labels = Identity { owner, task, spec: 3 }.labels();
        let spec = ContainerSpec { labels, ..testing::container_spec("a", "stubborn") };
        for op in [Op::Create(Box::new(spec)), Op::Start("a".to_owned())] {
            assert!(runtime.perform(op).await.is_ok());
        }
        let mut hints = runtime.hints(owner);
        let (begun, grace) = (Instant::now(), Duration::from_millis(400));
        let stopping = tokio::spawn({
            let runtime = runtime.clone();
            async move { runtime.perform(Op::Stop { name: "a".to_owned(), grace: Millis(400) }).await }
        });
        assert!(timeout(grace / 4, hints.next()).await.is_err(), "it runs on");
        assert_eq!(hints.next().await, Some(Ok(task)));
        assert!(begun.elapsed() >= grace, "after {:?}", begun.elapsed());
        assert_eq!(stopping.await.expect("it does not panic"), Ok(OpOutput::Done));
        let lines: Vec<_> = runtime.logs("a", LogRange { follow: true, ..LogRange::default() }).collect().await;
        assert_eq!(lines, [Ok(LogChunk { stderr: false, bytes: "stubborn\n".into() })]);
    }
}

//! The manager handle: the REST API uses it in production, the simulated users in simulation.

use crate::{
    feed::Feed,
    input::{Input, Replied},
    metrics::Metrics,
    reader::Reader,
    tally::Tally,
};
use bytes::Bytes;
use orbit_core::{
    manager::{Request, View},
    model::{Actor, Code, ExecRequest, LogRange, Rejection, StreamOf, StreamRequest, StreamToken, TaskId, Time},
};
use orbit_proto::v1::{exec_input, exec_output};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// A handle of a running manager. Cheap to clone.
#[derive(Clone)]
pub struct ManagerHandle {
    pub(crate) inputs: mpsc::Sender<Input>,
    /// Who asks through this handle: whoever makes it for a transport knows, and nothing that is said changes it.
    actor: Actor,
    reader: Reader,
    streams: Arc<Streams>,
    #[cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "the REST API reads it"))]
    pub(crate) feed: Arc<Feed>,
    #[cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "the REST API reads it"))]
    pub(crate) metrics: Arc<Metrics>,
    /// One backup at a time: each holds the whole state.
    #[cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "the REST API takes them"))]
    pub(crate) backups: Arc<Semaphore>,
}

/// Streams that a worker was asked to dial and has not dialled yet.
///
/// Each has a name that nobody guesses, and is taken once. It is told to the task's node alone, over its session, and
/// is of no use after [`DIAL_MAX`], or once the reader has gone.
type Streams = Mutex<BTreeMap<StreamToken, (Waiting, Undialled)>>;

/// Dropped when the stream is taken: then nobody waits for that any more.
type Undialled = oneshot::Sender<Infallible>;

/// The end of a stream that waits for the worker's.
pub(crate) enum Waiting {
    Logs(mpsc::Sender<LogPiece>),
    Exec(mpsc::Sender<exec_output::What>, mpsc::Receiver<exec_input::What>),
}

/// A piece of a task's log. Without an end or a reason the log has not ended: whoever read it for us is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPiece {
    /// What the task wrote.
    Written(Bytes),
    /// There is no more.
    End,
    /// Why there is no more, though it may not be all.
    BrokenOff(String),
}

/// The manager's end of a process in a container. Dropping it ends the process's input.
pub struct Exec {
    /// What goes to it.
    pub input: mpsc::Sender<exec_input::What>,
    /// What comes from it: at last its exit code or an error, unless its node is lost.
    pub output: mpsc::Receiver<exec_output::What>,
}

/// Nobody waits longer for an answer: a disk that hangs, or is full all at once, holds what was
/// proposed for as long as that lasts.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long a worker has to dial a stream that it was asked for.
pub(crate) const DIAL_MAX: Duration = Duration::from_secs(10);
/// Chunks that wait for a slow reader; then the worker waits too.
const CHUNKS_MAX: usize = 16;

fn gone() -> Rejection {
    Rejection::new(Code::Unavailable, "the manager is shutting down: ask again")
}

impl ManagerHandle {
    pub(crate) fn new(
        inputs: mpsc::Sender<Input>,
        feed: Arc<Feed>,
        metrics: Arc<Metrics>,
        reader: Reader,
    ) -> ManagerHandle {
        let backups = Arc::new(Semaphore::new(1));
        ManagerHandle { inputs, actor: Actor::Local, reader, streams: Arc::default(), feed, metrics, backups }
    }

    /// Asks for something; returns once the answer is durable, or after [`ANSWER_MAX`] with the word that
    /// nobody knows.
    pub async fn request(&self, request: Request) -> Replied {
        let (reply, answer) = oneshot::channel();
        let answered = async {
            let _ = self.inputs.send(Input::Request(self.actor, request, reply)).await;
            answer.await
        };
        let unknown = |result| Replied { result: Err(result), revision: 0 };
        match tokio::time::timeout(ANSWER_MAX, answered).await {
            Ok(answered) => answered.unwrap_or_else(|_| unknown(gone())),
            Err(_) => unknown(Rejection::new(
                Code::Unavailable,
                "the manager's disk does not answer: it is not known whether this was done: look, then ask again",
            )),
        }
    }

    /// Reads the state, at an entry that is at least as new as everything that was committed by now.
    /// `now` is on the manager's own clock. No step of the manager waits for it.
    ///
    /// # Errors
    /// When the manager is shutting down.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(View, Time) -> T + Send + 'static,
    ) -> Result<T, Rejection> {
        self.reader.ask(look).await
    }

    /// What has happened to services since this process began.
    #[cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "the REST API reads it"))]
    pub(crate) fn tally(&self) -> Arc<Tally> {
        self.reader.tally()
    }

    /// Looks at the machine that decides, between two of its steps.
    ///
    /// # Errors
    /// When the manager is shutting down.
    #[cfg(madsim)]
    pub async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&orbit_core::manager::Manager, Time) -> T + Send + 'static,
    ) -> Result<T, Rejection> {
        let (give, take) = oneshot::channel();
        let look = move |manager: &orbit_core::manager::Manager, now: Time| {
            let _ = give.send(look(manager, now));
        };
        let _ = self.inputs.send(Input::Inspect(Box::new(look))).await;
        take.await.map_err(|_| gone())
    }

    /// The output of a task, as its node has it.
    ///
    /// # Errors
    /// When there is no such task, or its node is not connected.
    pub async fn logs(&self, task: TaskId, range: LogRange) -> Result<mpsc::Receiver<LogPiece>, Rejection> {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        self.open(task, StreamOf::Logs(range), Waiting::Logs(sender)).await?;
        Ok(chunks)
    }

    /// Starts a process in the container of a task.
    ///
    /// # Errors
    /// When there is no such task, it does not run, or its node is not connected.
    pub async fn exec(&self, task: TaskId, request: ExecRequest) -> Result<Exec, Rejection> {
        let (sender, output) = mpsc::channel(CHUNKS_MAX);
        let (input, receiver) = mpsc::channel(CHUNKS_MAX);
        self.open(task, StreamOf::Exec(request), Waiting::Exec(sender, receiver)).await?;
        Ok(Exec { input, output })
    }

    /// Has the worker dial a stream.
    async fn open(&self, task: TaskId, what: StreamOf, end: Waiting) -> Result<(), Rejection> {
        let token = StreamToken(orbit_shell::secret());
        let (undialled, dialled) = oneshot::channel();
        tokio::spawn(self.clone().expect_dial(token, end.reader(), dialled));
        self.streams.lock().expect("nobody panics with it").insert(token, (end, undialled));
        let asked = self.request(Request::Open(StreamRequest { token, task, what })).await;
        if let Err(rejection) = asked.result {
            self.take_stream(token);
            return Err(rejection);
        }
        Ok(())
    }

    /// Lives until the stream is dialled. A worker that never dials is not waited for: the reader is told. A reader
    /// that has gone leaves nothing behind, wherever it went: this also ends what [`Self::open`] was dropped in.
    async fn expect_dial(self, token: StreamToken, reader: StreamReader, dialled: oneshot::Receiver<Infallible>) {
        let late = tokio::select! { biased;
            _ = dialled => return,
            () = reader.closed() => false,
            () = tokio::time::sleep(DIAL_MAX) => true,
        };
        if self.take_stream(token).is_some() && late {
            reader.tell("the node did not open the stream".to_string()).await;
        }
    }

    /// The end that waits for a stream; each is taken once.
    pub(crate) fn take_stream(&self, token: StreamToken) -> Option<Waiting> {
        self.streams.lock().expect("nobody panics with it").remove(&token).map(|(end, _)| end)
    }

    /// How many streams wait to be dialled.
    pub fn undialled(&self) -> usize {
        self.streams.lock().expect("nobody panics with it").len()
    }
}

/// The side of a waiting stream that its reader holds the other end of.
enum StreamReader {
    Logs(mpsc::Sender<LogPiece>),
    Exec(mpsc::Sender<exec_output::What>),
}

impl Waiting {
    fn reader(&self) -> StreamReader {
        match self {
            Waiting::Logs(sender) => StreamReader::Logs(sender.clone()),
            Waiting::Exec(sender, _) => StreamReader::Exec(sender.clone()),
        }
    }
}

impl StreamReader {
    async fn closed(&self) {
        match self {
            StreamReader::Logs(sender) => sender.closed().await,
            StreamReader::Exec(sender) => sender.closed().await,
        }
    }
    async fn tell(self, error: String) {
        match self {
            StreamReader::Logs(sender) => drop(sender.send(LogPiece::BrokenOff(error)).await),
            StreamReader::Exec(sender) => drop(sender.send(exec_output::What::Error(error)).await),
        }
    }
}

//! Manager and worker as shipped, in one process, over the real transport and a fake engine: what nobody waits for
//! leaves nothing behind, streams go to nobody but the node that was asked, and what workers send is bounded.

#![forbid(unsafe_code)]

use futures_util::FutureExt;
use orbit_core::{
    manager::Request,
    model::*,
    testing,
    worker::{Config, ContainerState, FreeSpace, ImageCollection},
};
use orbit_manager::{Exec, LogPiece, ManagerHandle, http};
use orbit_proto::{
    bounds,
    v1::{self, exec_output, worker_client::WorkerClient},
};
use orbit_runtime::fake::{FakeEngine, FakeRuntime, ImagePlace, Program};
use orbit_shell::{Owned, TokioBlocking};
use orbit_store::{LedgerDisk, MemoryDisk, MemoryLedger, MemoryStorage};
use std::{future::pending, net::TcpListener, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Status, transport::Channel};

const IMAGE: &str = "web:1";
const CAPACITY: Resources = Resources { cpu_millis: 4000, memory_bytes: 8 << 30 };
const FOLLOW: LogRange = LogRange { follow: true, tail: None, since_s: None, timestamps: false };

/// A manager that listens.
struct Manager {
    handle: ManagerHandle,
    url: String,
    _parts: [Owned; 2],
}

impl Manager {
    fn start() -> Manager {
        let parts = orbit_manager::Parts {
            timing: Timing::default(),
            storage: Box::new(MemoryStorage::open(&MemoryDisk::default())),
            blocking: Arc::new(TokioBlocking),
            compact_every: 10_000,
            seed: 1,
            cluster: ClusterId(orbit_shell::random()),
        };
        let (handle, manager) = orbit_manager::start(parts, pending()).expect("an empty disk can be read");
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has ports");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let serve = orbit_manager::daemon::serve_workers(listener, handle.clone());
        let parts =
            [Owned::spawn(async { manager.await.expect("it runs") }), Owned::spawn(async { drop(serve.await) })];
        Manager { handle, url, _parts: parts }
    }

    /// Puts a service of one task, and gives that once it has come so far.
    async fn task(&self, state: TaskState) -> TaskId {
        let definition = testing::service("web", testing::spec(IMAGE));
        let put = Put { definition, condition: Condition::None, keeps_replicas: false, idempotency_key: None };
        until("the service is taken", async || self.handle.request(Request::Put(put.clone())).await.result.is_ok())
            .await;
        let mut found = None;
        until("its task has come so far", async || {
            let look = move |view: orbit_core::manager::View, _| {
                view.cluster().tasks().find(|task| task.state == state).map(|task| task.id)
            };
            found = self.handle.read(look).await.expect("the manager runs");
            found.is_some()
        })
        .await;
        found.expect("just found")
    }
}

fn info(name: &str) -> NodeInfo {
    testing::node(NodeUid(orbit_shell::random()), name)
}

/// A worker as shipped.
fn worker(manager: &str) -> (FakeRuntime, Owned) {
    let mut engine = FakeEngine::new(CAPACITY);
    engine.add_image(IMAGE, ImagePlace::Present, Program::Run);
    let runtime = FakeRuntime::new(engine);
    let (pull_deadline, resync_every) = (Millis::secs(10), Millis::secs(30));
    let parts = orbit_worker::Parts {
        config: Config {
            info: info("node"),
            pull_deadline,
            starts_max: 12,
            resync_every,
            disk_reserve_bytes: 0,
            image_collection: ImageCollection::NEVER,
        },
        managers: vec![manager.to_string()],
        runtime: Arc::new(runtime.clone()),
        ledger: Box::new(MemoryLedger::open(&LedgerDisk::default())),
        free_space: Arc::new(|| Ok(FreeSpace::of(u64::MAX))),
        blocking: Arc::new(TokioBlocking),
        nonce: orbit_shell::random(),
    };
    (runtime, Owned::spawn(async { orbit_worker::run(parts, pending()).await.expect("its ledger can be written") }))
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("this is Linux").count()
}

/// What is there: descriptors of both daemons, tasks of their executor, streams of the engine, and streams that wait.
fn there(manager: &Manager, runtime: &FakeRuntime) -> [usize; 4] {
    let tasks = Handle::current().metrics().num_alive_tasks();
    [descriptors(), tasks, runtime.streams(), manager.handle.undialled()]
}

async fn until_as_before(manager: &Manager, runtime: &FakeRuntime, before: [usize; 4], after: &str) {
    let mut now = before;
    let waiting = async {
        loop {
            now = there(manager, runtime);
            if now.iter().zip(before).all(|(now, before)| *now <= before) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let as_before = timeout(Duration::from_secs(60), waiting).await;
    assert!(as_before.is_ok(), "descriptors, tasks, streams, waiting: {before:?} before {after}, {now:?} since");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_abandoned_streams_leave_nothing_behind() {
    const AT_ONCE: usize = 100;
    let manager = Manager::start();
    let (runtime, worker) = worker(&manager.url);
    let task = manager.task(TaskState::Running).await;
    let handle = &manager.handle;
    let exec = async |word: &str| {
        let command = vec!["/web".to_string(), word.to_string()];
        handle.exec(task, ExecRequest { command, tty: false, stdin: true }).await.expect("it runs")
    };
    let before = there(&manager, &runtime);
    for _ in 0..10 {
        let mut logs = Vec::new();
        for _ in 0..AT_ONCE {
            logs.push(handle.logs(task, FOLLOW).await.expect("it has a node"));
        }
        until("the worker reads them all", async || runtime.streams() == AT_ONCE).await;
        // The task is quiet: no line tells anybody that its reader has gone.
        drop(logs);
        until_as_before(&manager, &runtime, before, "logs -f of a quiet task").await;
    }
    // One process ends when its input does, the other takes no notice.
    for word in ["cat", "sleep"] {
        for _ in 0..10 {
            let mut processes: Vec<Exec> = Vec::new();
            for _ in 0..AT_ONCE {
                processes.push(exec(word).await);
            }
            until("they all run", async || runtime.streams() == AT_ONCE).await;
            drop(processes);
            until_as_before(&manager, &runtime, before, &format!("exec -i {word}")).await;
        }
    }
    // Whoever goes before the worker has dialled, or before he was even answered.
    for _ in 0..10 * AT_ONCE {
        drop(handle.logs(task, FOLLOW).await.expect("it has a node"));
        drop(handle.logs(task, FOLLOW).now_or_never());
    }
    until_as_before(&manager, &runtime, before, "streams that nobody waited for").await;

    // The end of a worker is the end of all that it has begun.
    let mut logs = Vec::new();
    for _ in 0..AT_ONCE {
        logs.push(handle.logs(task, FOLLOW).await.expect("it has a node"));
    }
    until("the worker reads them all", async || runtime.streams() == AT_ONCE).await;
    drop(worker);
    until_as_before(&manager, &runtime, before, "a worker that ended").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_input_is_not_the_end_of_the_process() {
    let manager = Manager::start();
    let (runtime, _worker) = worker(&manager.url);
    let task = manager.task(TaskState::Running).await;
    let command = vec!["/web".to_string(), "cat".to_string()];
    let exec = manager.handle.exec(task, ExecRequest { command, tty: false, stdin: true }).await.expect("it runs");
    let Exec { input, mut output } = exec;
    // More than one message takes.
    let long = vec![b'x'; 3 * bounds::CHUNK_BYTES_MAX + 1];
    input.send(v1::exec_input::What::Stdin(long.clone().into())).await.expect("it is taken");
    drop(input);
    let (mut echoed, mut code) = (Vec::new(), None);
    while let Some(what) = timeout(Duration::from_secs(30), output.recv()).await.expect("it goes on") {
        match what {
            exec_output::What::Stdout(bytes) => echoed.extend_from_slice(&bytes),
            exec_output::What::ExitCode(exited) => code = Some(exited),
            other => panic!("{other:?}"),
        }
    }
    assert!(echoed == long, "{} bytes of {}, exited with {code:?}", echoed.len(), long.len());
    assert_eq!(code, Some(0));
    until("nothing is left", async || runtime.streams() == 0).await;
    assert!(runtime.with(|engine| engine.containers().all(|it| it.state == ContainerState::Running)));
}

/// A node that does what a test says.
struct Node {
    sender: mpsc::Sender<v1::ToManager>,
    incoming: tonic::Streaming<v1::ToWorker>,
}

impl Node {
    async fn dial(manager: &Manager) -> Node {
        let (sender, receiver) = mpsc::channel(100);
        let incoming = client(manager).await.session(ReceiverStream::new(receiver)).await.expect("it answers");
        Node { sender, incoming: incoming.into_inner() }
    }
    async fn say(&self, message: &ToManager) {
        for message in orbit_proto::to_manager(message) {
            self.sender.send(message).await.expect("the session stands");
        }
    }
    async fn hear(&mut self) -> Result<Option<v1::ToWorker>, Status> {
        timeout(Duration::from_secs(30), self.incoming.message()).await.expect("the manager answers")
    }
    /// The next stream that it is asked to dial.
    async fn asked(&mut self) -> StreamToken {
        loop {
            let message = self.hear().await.expect("the session stands").expect("it has no end");
            if let ToWorker::Open(request) = message.try_into().expect("the manager speaks clearly") {
                return request.token;
            }
        }
    }
    fn hello(inventory: Vec<TaskReport>) -> ToManager {
        let nonce = orbit_shell::random();
        ToManager::Register(Hello {
            cluster: None,
            seen: (0, 0),
            nonce,
            info: info("node"),
            inventory,
            takes_parts: true,
            prefetches: true,
        })
    }
}

async fn client(manager: &Manager) -> WorkerClient<Channel> {
    WorkerClient::connect(manager.url.clone()).await.expect("the manager listens")
}

/// Dials a log under a name, and says something on it.
async fn log_as(manager: &Manager, token: Vec<u8>, said: &str) -> Result<(), Status> {
    let first = v1::LogChunk { token, ..v1::LogChunk::default() };
    let forged = v1::LogChunk { data: said.to_string().into(), ..v1::LogChunk::default() };
    client(manager).await.logs(tokio_stream::iter([first, forged])).await.map(drop)
}

/// Dials a process under a name, and says something on it.
async fn exec_as(manager: &Manager, token: Vec<u8>, said: &str) -> Result<(), Status> {
    let first = v1::ExecOutput { token, what: None };
    let what = Some(exec_output::What::Stdout(said.to_string().into()));
    let forged = v1::ExecOutput { what, ..v1::ExecOutput::default() };
    client(manager).await.exec(tokio_stream::iter([first, forged])).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_dials_gets_no_stream_and_forges_nothing() {
    let manager = Manager::start();
    let mut node = Node::dial(&manager).await;
    until("the manager leads", async || manager.handle.read(|manager, _| manager.is_ready()).await == Ok(true)).await;
    node.say(&Node::hello(vec![])).await;
    let task = manager.task(TaskState::Assigned).await;
    let running = TaskReport::new(task, TaskState::Running, None);
    node.say(&ToManager::Report { seq: 1, reports: vec![running] }).await;
    assert_eq!(manager.task(TaskState::Running).await, task);

    let mut log = manager.handle.logs(task, FOLLOW).await.expect("it has a node");
    let of_log = node.asked().await;
    let request = ExecRequest { command: vec!["cat".into()], tty: false, stdin: false };
    let mut exec = manager.handle.exec(task, request).await.expect("it runs");
    let of_exec = node.asked().await;
    assert_ne!(of_log, of_exec);

    let mut guesses: Vec<Vec<u8>> = vec![vec![], vec![0], b"0".to_vec(), vec![0; 15], vec![0; 17], vec![255; 1000]];
    for number in 0..20u64 {
        guesses.push(number.to_le_bytes().to_vec());
        guesses.push(u128::from(number).to_le_bytes().to_vec());
        guesses.push(u128::from(number).to_be_bytes().to_vec());
    }
    for token in [of_log, of_exec] {
        // As near as one can come without having it.
        let number = u128::from_be_bytes(token.0);
        guesses.extend([number.wrapping_add(1), number.wrapping_sub(1)].map(|near| near.to_be_bytes().to_vec()));
        guesses.push(token.0[..8].to_vec());
        guesses.push([&token.0[..], &[0]].concat());
    }
    for guess in guesses {
        for refused in
            [log_as(&manager, guess.clone(), "forged").await, exec_as(&manager, guess.clone(), "forged").await]
        {
            assert_eq!(refused.map_err(|status| status.code()), Err(Code::NotFound), "{guess:?}");
        }
    }
    assert_eq!(log.try_recv(), Err(mpsc::error::TryRecvError::Empty), "nobody has spoken");
    assert!(exec.output.try_recv().is_err(), "nobody has spoken");

    // The one that was asked has them, once.
    log_as(&manager, of_log.0.to_vec(), "true").await.expect("it was asked");
    assert_eq!(log.recv().await, Some(LogPiece::Written("true".into())));
    assert_eq!((log.recv().await, log.recv().await), (Some(LogPiece::End), None));
    exec_as(&manager, of_exec.0.to_vec(), "true").await.expect("it was asked");
    assert_eq!(exec.output.recv().await, Some(exec_output::What::Stdout("true".into())));
    for again in
        [log_as(&manager, of_log.0.to_vec(), "again").await, exec_as(&manager, of_exec.0.to_vec(), "again").await]
    {
        assert_eq!(again.map_err(|status| status.code()), Err(Code::NotFound));
    }

    // The name of a log is not that of a process, and is used up by whoever names it so.
    let mut log = manager.handle.logs(task, FOLLOW).await.expect("it has a node");
    let of_log = node.asked().await;
    assert!(exec_as(&manager, of_log.0.to_vec(), "forged").await.is_err());
    assert_eq!(log.recv().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_sends_is_bounded_and_a_large_inventory_is_heard() {
    let manager = Manager::start();
    until("the manager leads", async || manager.handle.read(|manager, _| manager.is_ready()).await == Ok(true)).await;

    // Two bytes each on the wire, some seventy times that in memory.
    let mut node = Node::dial(&manager).await;
    let empty = vec![v1::TaskReport::default(); bounds::FROM_WORKER_BYTES_MAX / 2 + 1];
    let report = v1::Report { reports: empty, seq: 1 };
    let message = v1::ToManager { message: Some(v1::to_manager::Message::Report(report)) };
    node.sender.send(message).await.expect("the session stands");
    assert!(matches!(node.hear().await, Ok(None) | Err(_)), "the session is ended");
    let data = bytes::Bytes::from(vec![b'x'; bounds::FROM_WORKER_BYTES_MAX]);
    let chunk = v1::LogChunk { data, ..v1::LogChunk::default() };
    let refused = client(&manager).await.logs(tokio_stream::iter([chunk])).await;
    assert_eq!(refused.map(drop).map_err(|status| status.code()), Err(Code::OutOfRange));

    // What an honest one has to say is heard, however long it is.
    let mut node = Node::dial(&manager).await;
    let end = || End::new(Reason::Exited, "x".repeat(End::MESSAGE_BYTES_MAX));
    let report = |index| TaskReport::new(TaskId { epoch: 1, index, ordinal: 0 }, TaskState::Failed, Some(end()));
    node.say(&Node::hello((0..20_000).map(report).collect())).await;
    let answer = node.hear().await.expect("the session stands").expect("it is answered");
    assert!(matches!(answer.message, Some(v1::to_worker::Message::Welcome(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_on_which_nobody_says_who_he_is_is_not_kept() {
    let manager = Manager::start();
    let before = Handle::current().metrics().num_alive_tasks();
    let mut silent = Node::dial(&manager).await;
    assert!(matches!(silent.hear().await, Ok(None) | Err(_)), "the session is ended");
    let (_quiet, nothing) = mpsc::channel(1);
    let log = client(&manager).await.logs(ReceiverStream::new(nothing).map(|never: v1::LogChunk| never)).await;
    assert!(log.is_err(), "it names no stream");
    drop((silent, _quiet));
    until("nothing is left", async || Handle::current().metrics().num_alive_tasks() <= before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_over_http_that_hangs_up_is_noticed_while_the_log_is_quiet() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let manager = Manager::start();
    let (runtime, _worker) = worker(&manager.url);
    let task = manager.task(TaskState::Running).await;
    let users = TcpListener::bind("127.0.0.1:0").expect("the loopback has ports");
    let address = users.local_addr().expect("it is bound");
    let (handle, idle) = (manager.handle.clone(), Handle::current().metrics().num_alive_tasks() + 1);
    let _serving = Owned::spawn(async move {
        let router = http::router(handle, http::browser::Names::of(address.ip(), &[]));
        let limits = http::connections::Limits::of_this_process();
        drop(http::serve(users, router, limits, pending()).await)
    });
    // What serves them is there once it has answered, and nothing of that answer is left.
    let mut first = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let asked = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    first.write_all(asked.as_bytes()).await.expect("it listens");
    let mut answer = Vec::new();
    first.read_to_end(&mut answer).await.expect("it answers");
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    drop(first);
    until("it is done with that", async || Handle::current().metrics().num_alive_tasks() <= idle).await;
    let before = there(&manager, &runtime);
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut reader = tokio::net::TcpStream::connect(address).await.expect("it listens");
        let asked = format!("GET /v1/tasks/{task}/logs?follow=1 HTTP/1.1\r\nHost: {address}\r\n\r\n");
        reader.write_all(asked.as_bytes()).await.expect("it listens");
        let mut head = [0; 12];
        reader.read_exact(&mut head).await.expect("it answers");
        assert_eq!(&head, b"HTTP/1.1 200");
        readers.push(reader);
    }
    until("the worker reads them all", async || runtime.streams() == readers.len()).await;
    drop(readers);
    until_as_before(&manager, &runtime, before, "readers over HTTP").await;
}

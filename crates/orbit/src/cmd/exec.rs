//! `orbit exec`: a process in a task's container, as if it ran here.

use super::logs::{Source, find};
use crate::{
    client::path,
    error::{Error, Kind},
    session::Session,
};
use clap::Args;
use crossterm::terminal;
use futures_util::{SinkExt, StreamExt};
use orbit_api::{
    Problem,
    view::{List, Task},
};
use std::io::{IsTerminal, Read};
use tokio::{
    net::TcpStream,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{self, Bytes, Message},
};

/// What the first byte of a message says. To the process, and from it.
mod frame {
    pub const STDIN: u8 = 0;
    pub const STDIN_END: u8 = 1;
    pub const RESIZE: u8 = 2;
    pub const STDOUT: u8 = 1;
    pub const STDERR: u8 = 2;
    pub const EXIT_CODE: u8 = 3;
    pub const ERROR: u8 = 4;
}

/// Read at once from standard input.
const READ_BYTES: usize = 16 << 10;

/// Start a process in the container of a running task
#[derive(Args)]
#[command(after_help = "\
Ends with the process's exit code, or with 125 if it could not be started. With the name of a
service, the process runs in the oldest running task of that service.

Examples:
  orbit exec web -- ls /srv
  orbit exec -it 1.57.0 -- sh
  echo hello | orbit exec -i web -- tee /tmp/hello")]
pub struct Exec {
    /// Pass standard input to the process
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// An attempt's ID, a task definition's name or a service's name
    #[arg(value_name = "TASK|SERVICE")]
    pub target: String,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

pub async fn exec(session: &mut Session<'_>, args: Exec) -> Result<u8, Error> {
    match run(session, args).await {
        Err(error) if !matches!(error.kind, Kind::Output(_) | Kind::Interrupted) => {
            Err(Error::new(Kind::Run(error.text().unwrap_or_default())))
        }
        other => other,
    }
}

async fn run(session: &mut Session<'_>, args: Exec) -> Result<u8, Error> {
    let task = match find(session, &args.target).await? {
        Source::Task(id) => id,
        Source::Service(name) => oldest_running(session, &name).await?,
    };
    let has_terminal = std::io::stdin().is_terminal();
    if args.tty && !has_terminal {
        session.say("orbit: standard input is no terminal: going on without one");
    }
    let tty = args.tty && has_terminal;
    let mut query: Vec<(&str, &str)> = args.command.iter().map(|word| ("command", word.as_str())).collect();
    query.extend(tty.then_some(("tty", "1")));
    query.extend(args.interactive.then_some(("stdin", "1")));
    let socket = dial(session, &path(&["tasks", &task, "exec"], &query)).await?;
    "the process was left to itself, with its input closed".clone_into(&mut session.farewell.borrow_mut());
    // The terminal is as before when this is dropped, however it ends.
    let _raw = tty.then(Raw::enter).transpose()?;
    converse(session, socket, args.interactive, tty).await
}

async fn oldest_running(session: &Session<'_>, name: &str) -> Result<String, Error> {
    let query = [("service", name), ("state", "running")];
    let running: List<Task> = session.client.list("tasks", &query).await?;
    let task = running.items.into_iter().find(|task| task.desired == "running" && !task.unreachable);
    task.map(|task| task.id).ok_or_else(|| Error::usage(format!("service/{name} has no running task")))
}

type Socket = tokio_tungstenite::WebSocketStream<TcpStream>;

async fn dial(session: &Session<'_>, path: &str) -> Result<Socket, Error> {
    let authority = session.client.authority();
    let no_manager = || Error::new(Kind::NoManager { addr: format!("http://{authority}") });
    let place = if authority.contains(':') { authority.to_string() } else { format!("{authority}:80") };
    let stream = TcpStream::connect(&place).await.map_err(|_| no_manager())?;
    let _ = stream.set_nodelay(true);
    match client_async(format!("ws://{authority}{path}"), stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            Err(match serde_json::from_slice::<Problem>(body) {
                Ok(problem) => Error::new(Kind::Problem(Box::new(problem))),
                Err(_) => Error::usage(format!("the manager at {authority} answers {}", response.status())),
            })
        }
        Err(error) => Err(Error::new(Kind::Unanswered(format!("the manager at {authority} broke off: {error}")))),
    }
}

/// Carries both ways until the process has ended.
async fn converse(session: &mut Session<'_>, socket: Socket, interactive: bool, tty: bool) -> Result<u8, Error> {
    let (mut sink, mut source) = socket.split();
    let mut input = if interactive { read_stdin() } else { mpsc::channel(1).1 };
    let mut resized = signal(SignalKind::window_change())?;
    if tty {
        let _ = sink.send(size()).await;
    }
    let mut reading = interactive;
    loop {
        tokio::select! { biased;
            message = source.next() => match message {
                Some(Ok(Message::Binary(bytes))) => {
                    if let Some(code) = show(session, &bytes)? {
                        return Ok(code);
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    return Err(Error::new(Kind::Unanswered("the manager or the node went away".to_string())));
                }
                Some(Ok(_)) => {}
            },
            _ = resized.recv(), if tty => drop(sink.send(size()).await),
            chunk = input.recv(), if reading => {
                reading = chunk.is_some();
                let framed = chunk.map_or(vec![frame::STDIN_END], |chunk| [&[frame::STDIN], &chunk[..]].concat());
                let _ = sink.send(Message::Binary(framed.into())).await;
            }
        }
    }
}

/// One message from the process; its exit code if that was it.
fn show(session: &mut Session<'_>, bytes: &Bytes) -> Result<Option<u8>, Error> {
    let Some((&kind, rest)) = bytes.split_first() else { return Ok(None) };
    let text = || String::from_utf8_lossy(rest).into_owned();
    match kind {
        frame::STDOUT => {
            session.out.write_all(rest)?;
            session.out.flush()?;
        }
        frame::STDERR => {
            let _ = session.err.write_all(rest).and_then(|()| session.err.flush());
        }
        // What does not fit, a signal's, is what a shell would make of it.
        frame::EXIT_CODE => return Ok(Some(text().parse::<i32>().map_or(125, |code| (code & 0xff) as u8))),
        frame::ERROR => return Err(Error::usage(text())),
        _ => {}
    }
    Ok(None)
}

fn size() -> Message {
    let (columns, rows) = terminal::size().unwrap_or((80, 24));
    let bytes = [&[frame::RESIZE][..], &columns.to_be_bytes(), &rows.to_be_bytes()].concat();
    Message::Binary(bytes.into())
}

/// On a thread of its own, which is left behind: a read of a terminal cannot be called off.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let (mut stdin, mut buffer) = (std::io::stdin().lock(), vec![0; READ_BYTES]);
        while let Ok(n @ 1..) = stdin.read(&mut buffer) {
            if sender.blocking_send(buffer[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The terminal hands every key on, Ctrl-C too.
struct Raw;

impl Raw {
    fn enter() -> Result<Raw, Error> {
        terminal::enable_raw_mode()?;
        Ok(Raw)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = terminal::disable_raw_mode();
    }
}

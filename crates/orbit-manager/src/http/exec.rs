//! `/v1/tasks/{id}/exec`: a process in a task's container, over a WebSocket.
//!
//! Binary messages; the first byte says what the rest is. To the process: 0 its standard input, 1 the
//! end of that, 2 a terminal's size (columns and rows, two bytes each, big-endian). From it: 1 its
//! standard output, 2 its standard error, 3 its exit code in decimal digits, 4 why it could not be
//! had. After 3 or 4 nothing comes.

use super::{tasks::newest_attempt, *};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use futures_util::{SinkExt, StreamExt};
use orbit_core::model::{ExecRequest, TaskId};
use orbit_proto::v1::{StdinEnd, TerminalSize, exec_input, exec_output};
use std::time::Duration;
use tokio::{sync::Mutex, time::timeout};
use utoipa_axum::routes;

/// The longest message that is taken from a client.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// What is written and not yet taken by a client is bounded: a client that pings and does not read would have its
/// pongs pile up. Output comes in pieces, so that each fits.
const WRITE_BYTES_MAX: usize = 1 << 20;
const PIECE_BYTES_MAX: usize = 64 << 10;
/// After so long without output the client is sent a ping.
const PING_EVERY: Duration = Duration::from_secs(20);
/// So many words, and so many bytes in all of them.
const COMMAND_WORDS_MAX: usize = 1000;
const COMMAND_BYTES_MAX: usize = 64 << 10;

pub(super) fn routes() -> OpenApiRouter<ManagerHandle> {
    OpenApiRouter::new().routes(routes!(exec))
}

/// Start a process in an attempt's container. `command` stands once for each word.
#[utoipa::path(get, path = "/v1/tasks/{id}/exec", tag = "tasks", operation_id = "exec",
    params(("command" = Vec<String>, Query, description = "the program and its arguments"),
        ("tty" = Option<bool>, Query, description = "with a terminal"),
        ("stdin" = Option<bool>, Query, description = "its standard input will be written to")),
    responses((status = 101, description = "a WebSocket; see the first byte of each message"),
        (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 426, body = Problem), (status = 503, body = Problem)))]
async fn exec(
    State(handle): State<ManagerHandle>,
    Path(id): Path<String>,
    axum::extract::RawQuery(query): axum::extract::RawQuery,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Answered<Response> {
    let upgrade = upgrade.map_err(|_| {
        Fault(Problem::new(HttpCode::WebsocketRequired, "this route speaks WebSocket: use `orbit exec`"))
    })?;
    let request = request(query.as_deref().unwrap_or(""))?;
    let attempt = match id.parse::<TaskId>() {
        Ok(attempt) => attempt,
        Err(_) => newest_attempt(&handle, id).await?,
    };
    // Refusals come before the upgrade, as ordinary answers.
    let exec = handle.exec(attempt, request).await?;
    Ok(bounded(upgrade).on_upgrade(move |socket| carry(socket, exec, PING_EVERY)))
}

fn bounded(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .write_buffer_size(PIECE_BYTES_MAX)
        .max_write_buffer_size(WRITE_BYTES_MAX)
}

fn request(query: &str) -> Answered<ExecRequest> {
    let mut request = ExecRequest::default();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "command" => request.command.push(value.into_owned()),
            "tty" => request.tty = flag("tty", Some(&value))?,
            "stdin" => request.stdin = flag("stdin", Some(&value))?,
            other => return Err(Rejection::invalid(other, "this route does not know that").into()),
        }
    }
    let bytes: usize = request.command.iter().map(String::len).sum();
    let words = request.command.len();
    if words == 0 || request.command[0].is_empty() || words > COMMAND_WORDS_MAX || bytes > COMMAND_BYTES_MAX {
        return Err(Rejection::invalid("command", "name a program, with at most 1,000 words and 64 KiB").into());
    }
    Ok(request)
}

/// Until either side ends it. A process that says nothing for a while is no reason for a proxy on the way to cut it.
async fn carry(socket: WebSocket, exec: crate::Exec, ping_every: Duration) {
    let crate::Exec { input, mut output } = exec;
    let (sink, mut source) = socket.split();
    let sink = Mutex::new(sink);
    let receive = async {
        while let Some(Ok(message)) = source.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                // A ping has a pong follow. Nothing more is read before the client has taken it, and what was to be
                // written before it.
                Message::Ping(_) if sink.lock().await.flush().await.is_err() => return,
                _ => continue,
            };
            let Some(what) = input_of(bytes) else { continue };
            if input.send(what).await.is_err() {
                // The process has ended; the client is told by the other half.
                std::future::pending::<()>().await;
            }
        }
    };
    let send = async {
        let mut has_ended = false;
        while !has_ended {
            let what = timeout(ping_every, output.recv()).await;
            // Without a last word, nobody is there to say it.
            let gone = || exec_output::What::Error("its node, or the worker there, went away".to_string());
            let what = what.map(|what| what.unwrap_or_else(gone));
            has_ended = matches!(what, Ok(exec_output::What::ExitCode(_) | exec_output::What::Error(_)));
            let messages = match what {
                Ok(what) => output_of(what).into_iter().map(Message::Binary).collect(),
                Err(_) => vec![Message::Ping(Bytes::new())],
            };
            for message in messages {
                if sink.lock().await.send(message).await.is_err() {
                    return;
                }
            }
        }
        let _ = sink.lock().await.close().await;
    };
    tokio::select! { biased; () = receive => {} () = send => {} }
}

fn input_of(bytes: Bytes) -> Option<exec_input::What> {
    let (&kind, rest) = bytes.split_first()?;
    match (kind, rest) {
        (0, _) => Some(exec_input::What::Stdin(bytes.slice(1..))),
        (1, _) => Some(exec_input::What::StdinEnd(StdinEnd {})),
        (2, &[a, b, c, d]) => {
            let (columns, rows) = (u16::from_be_bytes([a, b]).into(), u16::from_be_bytes([c, d]).into());
            Some(exec_input::What::Resize(TerminalSize { columns, rows }))
        }
        _ => None,
    }
}

fn output_of(what: exec_output::What) -> Vec<Bytes> {
    let framed = |kind: u8, bytes: &[u8]| Bytes::from([&[kind], bytes].concat());
    let pieces = |kind: u8, bytes: &[u8]| bytes.chunks(PIECE_BYTES_MAX).map(|piece| framed(kind, piece)).collect();
    match what {
        exec_output::What::Stdout(bytes) => pieces(1, &bytes),
        exec_output::What::Stderr(bytes) => pieces(2, &bytes),
        exec_output::What::ExitCode(code) => vec![framed(3, code.to_string().as_bytes())],
        exec_output::What::Error(message) => vec![framed(4, cut(&message).as_bytes())],
    }
}

/// As much of a message as fits into one piece.
fn cut(message: &str) -> &str {
    &message[..message.floor_char_boundary(PIECE_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::mpsc,
    };

    /// A WebSocket to a process that says nothing, after its handshake.
    async fn opened(
        ping_every: Duration,
    ) -> (TcpStream, mpsc::Sender<exec_output::What>, mpsc::Receiver<exec_input::What>) {
        let (output, outputs) = mpsc::channel(16);
        let (inputs, input) = mpsc::channel(16);
        let exec = std::sync::Mutex::new(Some(crate::Exec { input: inputs, output: outputs }));
        let exec = std::sync::Arc::new(exec);
        let open = move |upgrade: WebSocketUpgrade| async move {
            let exec = exec.lock().unwrap().take().expect("opened once");
            bounded(upgrade).on_upgrade(move |socket| carry(socket, exec, ping_every))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(open);
        tokio::spawn(async { axum::serve(listener, router).await });
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(socket.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        (socket, output, input)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_pings_and_does_not_read_is_not_read_either() {
        const SENT_MAX: usize = 128 << 20;
        let (mut socket, _output, _input) = opened(PING_EVERY).await;
        // A ping of 125 bytes, masked with zeros.
        let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'x'; 125]].concat();
        let (pings, mut sent) = (ping.repeat(1000), 0);
        // What the sockets' buffers hold is taken; then the other end takes nothing more.
        while let Ok(written) =
            tokio::time::timeout(Duration::from_secs(2), socket.write(&pings[sent % ping.len()..])).await
        {
            sent += written.unwrap();
            assert!(sent < SENT_MAX, "{sent} bytes of pings were taken, whose pongs nobody reads");
        }
    }

    #[tokio::test]
    async fn large_output_comes_in_pieces() {
        let (mut socket, output, _input) = opened(PING_EVERY).await;
        let large = vec![b'x'; 3 * PIECE_BYTES_MAX];
        output.send(exec_output::What::Stdout(large.into())).await.unwrap();
        drop(output);
        for _ in 0..3 {
            assert_eq!((socket.read_u8().await.unwrap(), socket.read_u8().await.unwrap()), (0x82, 127));
            let length = socket.read_u64().await.unwrap() as usize;
            assert_eq!(length, 1 + PIECE_BYTES_MAX);
            let mut piece = vec![0; length];
            socket.read_exact(&mut piece).await.unwrap();
            assert!(piece[0] == 1 && piece[1..].iter().all(|byte| *byte == b'x'));
        }
    }

    #[tokio::test]
    async fn a_client_of_a_process_that_says_nothing_is_pinged() {
        let (mut socket, output, _input) = opened(Duration::from_millis(50)).await;
        for _ in 0..2 {
            assert_eq!((socket.read_u8().await.unwrap(), socket.read_u8().await.unwrap()), (0x89, 0), "a ping");
        }
        output.send(exec_output::What::ExitCode(3)).await.unwrap();
        let mut rest = Vec::new();
        while !rest.ends_with(b"\x033") {
            rest.push(socket.read_u8().await.unwrap());
        }
    }
}

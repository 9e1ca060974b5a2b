//! A web server small enough to put into an image of nothing else, with a few ways to misbehave.
//!
//! `web` serves; the other sub-commands are for tests of what runs containers. It runs as process 1,
//! for which the kernel has no default action on SIGTERM: every sub-command that waits listens for it.

#![forbid(unsafe_code)]

use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, io::Write, process::ExitCode, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

const USAGE: &str = "usage: web                    serve on port 80 ($PORT): / and /healthz; SIGTERM: exit 0
       web exit N [AFTER-MS]  exit with code N, after a while
       web sleep              do nothing; SIGTERM: exit 143
       web stubborn           do nothing, SIGTERM or not
       web eat MIB            fill memory, a MiB every 10 ms, then as sleep
       web parent MIB         have a child that eats as much, and end with 0 when it has ended
       web spam N             print `line 1` to `line N`, then as sleep
       web flood MIB          print that much in lines of 128 bytes
       web cat                print what is read, to its end
       web print PATH...      print files, and where links lead
       web append PATH LINE   write a line at the end of a file, and print the file; then as sleep";

/// What the command line asks for.
enum Command {
    Serve { port: u16 },
    Exit { code: u8, after: Duration },
    Sleep,
    Stubborn,
    Eat { mebibytes: usize },
    Parent { mebibytes: String },
    Spam { lines: u64 },
    Flood { mebibytes: usize },
    Cat,
    Print { paths: Vec<String> },
    Append { path: String, line: String },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(command) = parse() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // Installed before anything is said, so that who has seen a line knows that the signal is heard.
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => return fail("cannot listen for SIGTERM", error),
    };
    match command {
        Command::Serve { port } => serve(port, terminate).await,
        Command::Exit { code, after } => {
            tokio::select! {
                () = tokio::time::sleep(after) => ExitCode::from(code),
                _ = terminate.recv() => ExitCode::from(143),
            }
        }
        Command::Sleep => sleep(terminate).await,
        Command::Stubborn => loop {
            say("stubborn");
            terminate.recv().await;
        },
        Command::Eat { mebibytes } => {
            let mut eaten = Vec::new();
            for _ in 0..mebibytes {
                // Ones and not zeros: zeroed pages would stay untouched.
                eaten.push(std::hint::black_box(vec![1u8; 1 << 20]));
                // As a leak does: an engine watches for want of memory only once a container has started, and never
                // learns of one that ends before (<https://github.com/containerd/containerd/issues/8180>).
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            say(&format!("ate {} MiB", eaten.len()));
            sleep(terminate).await
        }
        Command::Parent { mebibytes } => parent(&mebibytes),
        // Blocks: nothing else is waited for, and a process that was started beside the first one ends
        // by SIGTERM anyway.
        Command::Cat => match std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => fail("cannot copy", error),
        },
        Command::Print { paths } => {
            paths.iter().for_each(|path| say(&print(path)));
            ExitCode::SUCCESS
        }
        Command::Append { path, line } => match append(&path, &line) {
            Ok(text) => {
                say(text.trim_end());
                sleep(terminate).await
            }
            Err(error) => fail(&format!("cannot write to {path}"), error),
        },
        Command::Spam { lines } => {
            for n in 1..=lines {
                say(&format!("line {n}"));
            }
            sleep(terminate).await
        }
        Command::Flood { mebibytes } => {
            let line = format!("{:x<127}\n", "flood ");
            let mebibyte = line.repeat((1 << 20) / line.len());
            for _ in 0..mebibytes {
                if let Err(error) = std::io::stdout().write_all(mebibyte.as_bytes()) {
                    return fail("cannot print", error);
                }
            }
            ExitCode::SUCCESS
        }
    }
}

/// Gives the file with the line at its end, which is on the disk by then.
fn append(path: &str, line: &str) -> std::io::Result<String> {
    let mut file = std::fs::File::options().create(true).append(true).open(path)?;
    writeln!(file, "{line}")?;
    file.sync_all()?;
    std::fs::read_to_string(path)
}

/// A file as it is, or where a link leads.
fn print(path: &str) -> String {
    let text = std::fs::read_link(path).map(|target| target.display().to_string());
    let text = text.or_else(|_| std::fs::read_to_string(path));
    format!("{path}: {}", text.unwrap_or_else(|error| error.to_string()).trim_end())
}

fn parse() -> Option<Command> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Some(match args[..] {
        [] => Command::Serve { port: std::env::var("PORT").map_or(Some(80), |port| port.parse().ok())? },
        ["exit", code] => Command::Exit { code: code.parse().ok()?, after: Duration::ZERO },
        ["exit", code, after] => {
            Command::Exit { code: code.parse().ok()?, after: Duration::from_millis(after.parse().ok()?) }
        }
        ["sleep"] => Command::Sleep,
        ["stubborn"] => Command::Stubborn,
        ["eat", mebibytes] => Command::Eat { mebibytes: mebibytes.parse().ok()? },
        ["parent", mebibytes] => Command::Parent { mebibytes: mebibytes.to_owned() },
        ["cat"] => Command::Cat,
        ["print", ref paths @ ..] => Command::Print { paths: paths.iter().map(ToString::to_string).collect() },
        ["append", path, line] => Command::Append { path: path.to_owned(), line: line.to_owned() },
        ["flood", mebibytes] => Command::Flood { mebibytes: mebibytes.parse().ok()? },
        ["spam", lines] => Command::Spam { lines: lines.parse().ok()? },
        _ => return None,
    })
}

/// Does not mind how its child ends, as a server that starts a process for each request. Blocks, as `cat` does.
fn parent(mebibytes: &str) -> ExitCode {
    let child =
        std::env::current_exe().and_then(|exe| std::process::Command::new(exe).args(["eat", mebibytes]).status());
    match child {
        Ok(status) => {
            say(&format!("the child has ended: {status}"));
            ExitCode::SUCCESS
        }
        Err(error) => fail("cannot start a child", error),
    }
}

async fn sleep(mut terminate: Signal) -> ExitCode {
    terminate.recv().await;
    ExitCode::from(143)
}

async fn serve(port: u16, mut terminate: Signal) -> ExitCode {
    let listener = match TcpListener::bind(("0.0.0.0", port)).await {
        Ok(listener) => listener,
        Err(error) => return fail(&format!("cannot listen on port {port}"), error),
    };
    // Not from a library call: that would draw the C library's resolver into the static binary.
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let hello = Bytes::from(format!("hello from {}\n", hostname.trim()));
    say(&format!("listening on port {port}"));
    loop {
        let stream = tokio::select! {
            _ = terminate.recv() => return ExitCode::SUCCESS,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // The peer gave up, or descriptors ran short for a moment.
                Err(_) => { tokio::time::sleep(Duration::from_millis(10)).await; continue }
            },
        };
        let hello = hello.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let response = answer(&request, &hello);
                async move { Ok::<_, Infallible>(response) }
            });
            // A connection that breaks is its client's affair.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

fn answer(request: &Request<Incoming>, hello: &Bytes) -> Response<Full<Bytes>> {
    let (status, body) = match request.uri().path() {
        "/" => (StatusCode::OK, hello.clone()),
        "/healthz" => (StatusCode::OK, Bytes::from_static(b"ok")),
        _ => (StatusCode::NOT_FOUND, Bytes::from_static(b"not found\n")),
    };
    say(&format!("{} {} {}", request.method(), request.uri(), status.as_u16()));
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

/// One line on standard output. A reader that went away does not end the server.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn fail(what: &str, error: std::io::Error) -> ExitCode {
    eprintln!("web: {what}: {error}");
    ExitCode::FAILURE
}

//! A process in a running container.

use super::{
    DockerRuntime, LOOK_MAX,
    errors::{During, judge},
    kill::Process,
    until_error,
};
use crate::{ExecInput, ExecOutput, op_error};
use bollard::{
    Docker,
    container::LogOutput,
    exec::{StartExecOptions, StartExecResults},
    models::ExecConfig,
    query_parameters::ResizeExecOptionsBuilder,
};
use futures_util::{StreamExt, stream, stream::BoxStream};
use orbit_core::model::ExecRequest;
use orbit_core::worker::{OpError, OpErrorKind};
use std::pin::Pin;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// A program that was started, with its ends.
struct Started {
    process: Process,
    output: BoxStream<'static, Result<LogOutput, bollard::errors::Error>>,
    feeding: Feeding,
}

/// Carries its input. Ends with it: then its input ends, too.
struct Feeding(tokio::task::JoinHandle<()>);

impl Drop for Feeding {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn run(
    runtime: DockerRuntime,
    name: String,
    request: ExecRequest,
    input: BoxStream<'static, ExecInput>,
) -> BoxStream<'static, Result<ExecOutput, OpError>> {
    let begun = async move {
        match start(&runtime, &name, request, input).await {
            Ok(started) => output_of(started),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    };
    until_error(stream::once(begun).flatten().boxed())
}

async fn start(
    runtime: &DockerRuntime,
    name: &str,
    request: ExecRequest,
    input: BoxStream<'static, ExecInput>,
) -> Result<Started, OpError> {
    let client = runtime.within(LOOK_MAX, runtime.engine()).await?.client;
    let config = ExecConfig {
        attach_stdin: Some(request.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(request.tty),
        cmd: Some(request.command),
        ..ExecConfig::default()
    };
    let wrong = |error| judge(During::Exec, &error);
    let id = client.create_exec(name, config).await.map_err(wrong)?.id;
    let process = Process::new(client.clone(), id.clone());
    let options = StartExecOptions { tty: request.tty, ..StartExecOptions::default() };
    let StartExecResults::Attached { output, input: stdin } =
        client.start_exec(&id, Some(options)).await.map_err(wrong)?
    else {
        return Err(op_error(OpErrorKind::Engine, "the engine started it without its input and output"));
    };
    let feeding = Feeding(tokio::spawn(feed(client, id, input, stdin)));
    Ok(Started { process, output: output.boxed(), feeding })
}

/// Carries what comes to the process, until nobody sends any more: then its input ends, too.
async fn feed(
    client: Docker,
    id: String,
    mut input: BoxStream<'static, ExecInput>,
    stdin: Pin<Box<dyn AsyncWrite + Send>>,
) {
    let mut stdin = Some(stdin);
    while let Some(item) = input.next().await {
        match item {
            ExecInput::Stdin(bytes) => {
                if let Some(open) = &mut stdin
                    && (open.write_all(&bytes).await.is_err() || open.flush().await.is_err())
                {
                    stdin = None;
                }
            }
            ExecInput::StdinEnd => {
                if let Some(mut open) = stdin.take() {
                    let _ = open.shutdown().await;
                }
            }
            ExecInput::Resize { columns, rows } => {
                let size = ResizeExecOptionsBuilder::default().w(columns.into()).h(rows.into()).build();
                let _ = client.resize_exec(&id, size).await; // a process that has just ended has no size
            }
        }
    }
    // Dropped alone it would stay open as long as the output.
    if let Some(mut open) = stdin {
        let _ = open.shutdown().await;
    }
}

fn output_of(started: Started) -> BoxStream<'static, Result<ExecOutput, OpError>> {
    let Started { process, output, feeding } = started;
    let chunks = output.map(|chunk| match chunk {
        Ok(LogOutput::StdErr { message }) => Ok(ExecOutput::Stderr(message)),
        Ok(chunk) => Ok(ExecOutput::Stdout(chunk.into_bytes())),
        Err(error) => Err(judge(During::Exec, &error)),
    });
    // Whoever drops the stream before this has come ends the process with it.
    let end = async move {
        let code = process.exit_code().await;
        drop(feeding);
        code.map(ExecOutput::Exited)
    };
    chunks.chain(stream::once(end)).boxed()
}

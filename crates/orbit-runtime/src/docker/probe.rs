//! Whether what runs in a container is well.
//!
//! It is asked where it listens, at the container's own address: the published port is answered by the engine,
//! whether anything listens behind it or not. So the worker has to be on the engine's machine.

use super::{
    absent,
    errors::{During, judge},
    exec::exit_code,
    find, state_of,
};
use crate::op_error;
use bollard::{
    Docker,
    container::LogOutput,
    exec::StartExecResults,
    models::{ContainerInspectResponse, ExecConfig},
};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use orbit_core::{
    model::Millis,
    worker::{ContainerState, OpError, OpErrorKind, OpOutput, OpResult, ProbeOf},
};
use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};
use tokio::net::TcpStream;

/// So much of what a command wrote is told when it says no.
const WORDS_MAX: usize = 256;

/// Asks once. The engine's own time to say where the container is does not count.
pub(super) async fn ask(client: &Docker, name: &str, ask: ProbeOf, timeout: Millis) -> OpResult {
    let span = Duration::from_millis(timeout.0);
    let answer = match ask {
        ProbeOf::Command(command) => tokio::time::timeout(span, run(client, name, command)).await,
        ProbeOf::Tcp(port) => {
            let address = address_of(client, name).await?;
            tokio::time::timeout(span, async { connect(address, port).await.map(drop) }).await
        }
        ProbeOf::Http(port, path) => {
            let address = address_of(client, name).await?;
            tokio::time::timeout(span, get(address, port, &path)).await
        }
    };
    answer.unwrap_or_else(|_| Err(unwell(format!("no answer within {timeout}"))))?;
    Ok(OpOutput::Done)
}

fn unwell(why: impl Display) -> OpError {
    op_error(OpErrorKind::Unwell, why.to_string())
}

/// Where a running container can be reached from its machine.
async fn address_of(client: &Docker, name: &str) -> Result<IpAddr, OpError> {
    let found = find(client, During::Inspect, name).await?.ok_or_else(|| absent(name))?;
    if state_of(&found) != ContainerState::Running {
        return Err(op_error(OpErrorKind::Refused, format!("container {name} does not run")));
    }
    own_address(&found).ok_or_else(|| unwell("it has no address"))
}

/// One in the machine's own network has the machine's.
fn own_address(found: &ContainerInspectResponse) -> Option<IpAddr> {
    let networks = found.network_settings.as_ref()?.networks.as_ref()?;
    if networks.contains_key("host") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    networks.values().find_map(|network| network.ip_address.as_ref()?.parse().ok())
}

async fn connect(address: IpAddr, port: u16) -> Result<TcpStream, OpError> {
    TcpStream::connect((address, port)).await.map_err(|error| unwell(format!("port {port}: {error}")))
}

async fn get(address: IpAddr, port: u16, path: &str) -> Result<(), OpError> {
    let stream = connect(address, port).await?;
    let no = |error: &dyn Display| unwell(format!("GET {path} of port {port}: {error}"));
    let request = Request::get(path)
        .header(header::HOST, format!("{address}:{port}"))
        .header(header::USER_AGENT, "orbit-probe")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| no(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| no(&error))?;
    // It ends with the answer, or when nobody waits for that any more.
    tokio::spawn(connection);
    let status = sender.send_request(request).await.map_err(|error| no(&error))?.status();
    match status.as_u16() {
        200..=399 => Ok(()),
        code => Err(no(&code)),
    }
}

/// Runs a command in the container and waits for its end.
async fn run(client: &Docker, name: &str, command: Vec<String>) -> Result<(), OpError> {
    let program = command.first().cloned().unwrap_or_default();
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command),
        ..ExecConfig::default()
    };
    let wrong = |error| judge(During::Exec, &error);
    let id = match client.create_exec(name, config).await.map_err(wrong) {
        Ok(made) => made.id,
        // In a frozen container nothing is started; in one that has ended, neither.
        Err(error) if error.kind == OpErrorKind::Refused => {
            let found = find(client, During::Inspect, name).await?;
            let runs = found.is_some_and(|found| state_of(&found) == ContainerState::Running);
            return Err(if runs { unwell(error.message) } else { error });
        }
        Err(error) => return Err(error),
    };
    let StartExecResults::Attached { mut output, .. } = client.start_exec(&id, None).await.map_err(wrong)? else {
        return Err(op_error(OpErrorKind::Engine, "the engine started it without its output"));
    };
    let mut said = Vec::new();
    while let Some(chunk) = output.next().await {
        let bytes = chunk.map(LogOutput::into_bytes).map_err(wrong)?;
        said.extend(bytes.iter().take(WORDS_MAX - said.len()));
    }
    match exit_code(client, &id).await? {
        0 => Ok(()),
        code => Err(unwell(format!("{program} ended with code {code}: {}", String::from_utf8_lossy(&said).trim_end()))),
    }
}

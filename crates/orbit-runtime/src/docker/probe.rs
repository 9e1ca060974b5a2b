//! Whether what runs in a container is well.
//!
//! It is asked where it listens, at the container's own address: the published port is answered by the engine,
//! whether anything listens behind it or not. So the worker has to be on the engine's machine.

use super::{
    absent,
    errors::{During, judge},
    find,
    kill::{self, Process},
    state_of,
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
    collections::HashMap,
    fmt::Display,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::net::TcpStream;

/// So much of what a command wrote is told when it says no.
const WORDS_MAX: usize = 256;

/// Commands of probes that are not known to have ended: what the engine calls each, by container and command. So that
/// one that cannot be ended is the last of its kind, and its container is not filled with them.
#[derive(Clone, Default)]
pub(super) struct Commands(Arc<Mutex<Unended>>);

/// Container and command.
type Key = (String, Vec<String>);
type Unended = HashMap<Key, String>;

impl Commands {
    fn known(&self) -> MutexGuard<'_, Unended> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// A container is gone, and all that ran in it.
    pub fn forget(&self, container: &str) {
        self.known().retain(|(of, _), _| of != container);
    }
}

/// Asks once. The engine's own time to say where the container is does not count. A command that does not answer in
/// time is ended before this returns.
pub(super) async fn ask(client: &Docker, name: &str, ask: ProbeOf, timeout: Millis, commands: &Commands) -> OpResult {
    let span = Duration::from_millis(timeout.0);
    let answer = match ask {
        ProbeOf::Command(command) => {
            let key = (name.to_owned(), command);
            let before = commands.known().get(&key).cloned();
            if let Some(id) = before {
                if !kill::end(client, &id, Duration::ZERO).await {
                    return Err(unwell("the command of an earlier probe does not end"));
                }
                commands.known().remove(&key);
            }
            let mut begun = None;
            let answer = tokio::time::timeout(span, run(client, &key, commands, &mut begun)).await;
            let ended = match (&answer, begun) {
                (Ok(Ok(())), _) | (_, None) => true,
                (_, Some(process)) => process.end().await,
            };
            if ended {
                commands.known().remove(&key);
            }
            answer
        }
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
    // Driven here and by nobody else: it ends with the answer, or when that is not waited for any more.
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answered = tokio::select! { biased;
        answered = &mut answer => answered,
        _ = connection => answer.await,
    };
    let status = answered.map_err(|error| no(&error))?.status();
    match status.as_u16() {
        200..=399 => Ok(()),
        code => Err(no(&code)),
    }
}

/// Runs a command in the container and waits for its end. `begun` has the process from before it is started until its
/// end is known.
async fn run(client: &Docker, key: &Key, commands: &Commands, begun: &mut Option<Process>) -> Result<(), OpError> {
    let (name, command) = key;
    let program = command.first().cloned().unwrap_or_default();
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.clone()),
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
    commands.known().insert(key.clone(), id.clone());
    *begun = Some(Process::new(client.clone(), id.clone()));
    let StartExecResults::Attached { mut output, .. } = client.start_exec(&id, None).await.map_err(wrong)? else {
        return Err(op_error(OpErrorKind::Engine, "the engine started it without its output"));
    };
    let mut said = Vec::new();
    while let Some(chunk) = output.next().await {
        let bytes = chunk.map(LogOutput::into_bytes).map_err(wrong)?;
        said.extend(bytes.iter().take(WORDS_MAX - said.len()));
    }
    let code = kill::exit_code(client, &id).await?;
    begun.take().expect("it was put there").has_ended();
    commands.known().remove(key);
    match code {
        0 => Ok(()),
        code => Err(unwell(format!("{program} ended with code {code}: {}", String::from_utf8_lossy(&said).trim_end()))),
    }
}

//! A Docker engine, through its HTTP interface.
//!
//! [`DockerRuntime`] asks; `errors` judges what an answer amounts to; `spec` puts a container into
//! Docker's words. Nothing is remembered between two operations but the connection, and commands of probes that could
//! not be ended.

mod credentials;
mod errors;
mod exec;
mod kill;
mod paths;
mod probe;
mod spec;

use crate::{
    ContainerRuntime, EngineInfo, ExecInput, ExecOutput, Identity, LogChunk, identity::owner_labels, op_error,
    volume_gone,
};
use async_trait::async_trait;
use bollard::{
    Docker,
    container::LogOutput,
    errors::Error,
    models::{
        ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum,
        HealthStatusEnum, ImageInspect, VolumeCreateRequest,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, EventsOptionsBuilder, ListContainersOptionsBuilder,
        ListImagesOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions,
        StopContainerOptionsBuilder,
    },
};
use credentials::Credentials;
use errors::{During, judge};
use futures_util::{StreamExt, TryStreamExt, future, stream, stream::BoxStream};
use orbit_core::model::{ExecRequest, Grant, LogRange, Millis, Pull, Resources, TaskId, is_pinned, repository};
use orbit_core::worker::{
    ContainerSpec, ContainerState, EngineContainer, EngineVolume, ImageFound, LABEL_CLUSTER, LABEL_NODE, LABEL_VOLUME,
    Op, OpError, OpErrorKind, OpOutput, OpResult, Owner,
};
use spec::Machine;
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// Where the engine of this machine listens.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// How long a request may go unanswered before the engine counts as out of order. A busy engine
/// takes seconds for a start.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// The same for a mere look.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// How many ended containers are inspected at once while listing.
const INSPECT_MAX: usize = 16;
/// Happenings of this long before the call are told again, so that none is missed when the engine's
/// clock and ours differ a little.
const HINT_OVERLAP: Duration = Duration::from_secs(2);
/// What is worth a look. The rest is noise (`exec_*`), or follows from one of these.
const HINT_EVENTS: [&str; 7] = ["die", "oom", "destroy", "pause", "unpause", "rename", "health_status"];

/// A Docker engine.
///
/// Order of calls: [`from_env`](Self::from_env) or [`new`](Self::new), which do not contact the
/// engine; then as [`ContainerRuntime`] says. Requests may run beside each other, over pooled
/// connections; clones share them. The version of the interface is negotiated on the first request
/// and again after the engine was out of reach, because another version may have come back.
#[derive(Clone)]
pub struct DockerRuntime {
    host: String,
    published_on: IpAddr,
    credentials: Credentials,
    log_bytes: u64,
    allowed: Arc<[Grant]>,
    engine: Arc<Mutex<Option<Engine>>>,
    commands: probe::Commands,
}

/// What was learned of the engine when it was reached.
#[derive(Clone)]
struct Engine {
    /// Speaks the negotiated version.
    client: Docker,
    capacity: Resources,
    root_dir: Option<PathBuf>,
    /// How it keeps the logs of containers unless it is told otherwise.
    log_driver: Option<String>,
}

impl DockerRuntime {
    /// The engine that `DOCKER_HOST` names, by default the one behind the local socket. The ports of
    /// tasks are published on the address `published_on`.
    pub fn from_env(published_on: IpAddr) -> DockerRuntime {
        let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        DockerRuntime::new(host.as_deref().unwrap_or(DEFAULT_HOST), published_on)
    }

    /// The engine at an address as `DOCKER_HOST` would name it: `unix:///path` or `tcp://host:port`.
    /// An address that cannot be spoken to fails each operation, as an engine out of reach does.
    pub fn new(host: &str, published_on: IpAddr) -> DockerRuntime {
        DockerRuntime {
            host: host.to_owned(),
            published_on,
            credentials: Credentials::new(None),
            log_bytes: 0,
            allowed: [].into(),
            engine: Arc::default(),
            commands: probe::Commands::default(),
        }
    }

    /// Registries are asked with the credentials of this file, written as `docker login` does; without one, of the file
    /// that Docker's own command line uses, if it is there. It is read anew for every pull.
    #[must_use]
    pub fn with_credentials(self, file: Option<PathBuf>) -> DockerRuntime {
        DockerRuntime { credentials: Credentials::new(file), ..self }
    }

    /// What a container writes is kept up to so many bytes, where the engine keeps it in files; 0 leaves that to the
    /// engine, which by default keeps everything.
    #[must_use]
    pub fn with_log_bytes(self, log_bytes: u64) -> DockerRuntime {
        DockerRuntime { log_bytes, ..self }
    }

    /// Paths of the machine are given to containers where they lead to what its operator allows; without this, none is.
    #[must_use]
    pub fn with_allowed(self, allowed: &[Grant]) -> DockerRuntime {
        DockerRuntime { allowed: allowed.into(), ..self }
    }

    /// The engine's socket, where it is this machine's.
    fn socket(&self) -> Option<PathBuf> {
        self.host.strip_prefix("unix://").map(PathBuf::from)
    }

    /// The engine, reached and its version known.
    async fn engine(&self) -> Result<Engine, OpError> {
        if let Some(engine) = self.known().clone() {
            return Ok(engine);
        }
        let judge = |error| judge(During::Info, &error);
        // A client of its own each time: negotiation only ever lowers a client's version.
        let client = Docker::connect_with_host(&self.host).map_err(judge)?.with_timeout(ANSWER_MAX);
        let client = client.negotiate_version().await.map_err(judge)?;
        let info = client.info().await.map_err(judge)?;
        let amount = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let capacity = Resources { cpu_millis: amount(info.ncpu) * 1000, memory_bytes: amount(info.mem_total) };
        let root_dir = info.docker_root_dir.map(PathBuf::from);
        let engine = Engine { client, capacity, root_dir, log_driver: info.logging_driver };
        *self.known() = Some(engine.clone());
        Ok(engine)
    }

    fn known(&self) -> MutexGuard<'_, Option<Engine>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was asked of the engine, given up after `span`. Trouble with the engine makes the next
    /// request reach for it anew.
    async fn within<T>(&self, span: Duration, work: impl Future<Output = Result<T, OpError>>) -> Result<T, OpError> {
        let late = || op_error(OpErrorKind::Engine, "the engine did not answer in time");
        let result = tokio::time::timeout(span, work).await.unwrap_or_else(|_| Err(late()));
        if result.as_ref().is_err_and(|error| error.kind == OpErrorKind::Engine) {
            *self.known() = None;
        }
        result
    }

    /// An answer that is not in chunks ends as it does when the engine dies: so the engine is asked.
    async fn check_end_of_log(&self, name: &str, follow: bool) -> Result<(), OpError> {
        let look = async { find(&self.engine().await?.client, During::Logs, name).await };
        let found = self.within(LOOK_MAX, look).await?;
        match found.is_some_and(|found| follow && state_of(&found) == ContainerState::Running) {
            true => Err(op_error(OpErrorKind::Engine, "the engine ended the log of what runs")),
            false => Ok(()),
        }
    }

    async fn obey(&self, op: Op) -> OpResult {
        let Engine { client, capacity, log_driver, .. } = self.engine().await?;
        match op {
            Op::List(owner) => list(&client, owner).await.map(OpOutput::Containers),
            Op::Inspect { owner, name } => inspect(&client, owner, &name).await.map(OpOutput::Container),
            Op::EnsureImage { image, pull, deadline } => {
                ensure_image(&client, &image, pull, deadline, &self.credentials).await
            }
            Op::RemoveImage { image, id } => remove_image(&client, &image, &id).await,
            Op::Create(mut spec) => {
                let mounts = paths::followed(&spec.setup.host.mounts, &self.allowed, self.socket()).await?;
                spec.setup.host.mounts = mounts;
                let machine = Machine {
                    published_on: self.published_on,
                    cpu_millis: capacity.cpu_millis,
                    log_driver,
                    log_bytes: self.log_bytes,
                };
                create(&client, &spec, &machine).await
            }
            Op::Start(name) => start(&client, &name).await,
            Op::Stop { name, grace } => stop(&client, &name, grace).await,
            Op::Probe { name, ask, timeout } => probe::ask(&client, &name, ask, timeout, &self.commands).await,
            Op::Remove(name) => {
                self.commands.forget(&name);
                remove(&client, &name).await
            }
        }
    }
}

/// How long an operation may take before the engine counts as out of order.
fn patience(op: &Op) -> Duration {
    match op {
        Op::List(_) | Op::Inspect { .. } => LOOK_MAX,
        Op::Create(_) | Op::Start(_) | Op::Remove(_) | Op::RemoveImage { .. } => ANSWER_MAX,
        Op::Probe { timeout, .. } => Duration::from_millis(timeout.0) + LOOK_MAX,
        Op::EnsureImage { deadline: span, .. } | Op::Stop { grace: span, .. } => {
            Duration::from_millis(span.0) + ANSWER_MAX
        }
    }
}

#[async_trait]
impl ContainerRuntime for DockerRuntime {
    async fn perform(&self, op: Op) -> OpResult {
        self.within(patience(&op), self.obey(op)).await
    }

    async fn info(&self) -> Result<EngineInfo, OpError> {
        let work = async {
            let Engine { client, capacity, root_dir, .. } = self.engine().await?;
            // The version and not the information, which has the kernel's words (`x86_64`).
            let version = client.version().await.map_err(|error| judge(During::Info, &error))?;
            let words = |word: Option<String>| word.unwrap_or_default();
            let name = format!("Docker {}", words(version.version));
            Ok(EngineInfo { capacity, arch: words(version.arch), os: words(version.os), version: name, root_dir })
        };
        self.within(LOOK_MAX, work).await
    }

    fn hints(&self, owner: Owner) -> BoxStream<'static, Result<TaskId, OpError>> {
        // The engine keeps its last events, so the connection may be made later than this call.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since = now.saturating_sub(HINT_OVERLAP);
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("label", owner_filter(owner)),
            ("event", HINT_EVENTS.map(str::to_owned).to_vec()),
        ]);
        let options = EventsOptionsBuilder::default().since(&since.as_secs().to_string()).filters(&filters).build();
        let hints = open(self.clone(), move |client| client.events(Some(options)).boxed()).filter_map(|event| {
            future::ready(match event {
                Ok(Ok(event)) => {
                    let labels = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
                    Identity::of_map(&labels).map(|identity| Ok(identity.task))
                }
                Ok(Err(error)) => Some(Err(op_error(OpErrorKind::Engine, errors::words(&error)))),
                Err(error) => Some(Err(error)),
            })
        });
        let end = stream::once(future::ready(Err(op_error(OpErrorKind::Engine, "the engine's events ended"))));
        until_error(hints.chain(end).boxed())
    }

    fn logs(&self, name: &str, range: LogRange) -> BoxStream<'static, Result<LogChunk, OpError>> {
        let LogRange { follow, tail, since_s, timestamps } = range;
        let tail = tail.map_or("all".to_owned(), |tail| tail.to_string());
        // Zero is the beginning of time; the engine's interface ends in 2038.
        let since = since_s.map_or(0, |since| i32::try_from(since).unwrap_or(i32::MAX));
        let options = LogsOptionsBuilder::default().follow(follow).stdout(true).stderr(true).tail(&tail).since(since);
        let options = options.timestamps(timestamps);
        let (name, checked, options) = (name.to_owned(), name.to_owned(), options.build());
        let chunks =
            open(self.clone(), move |client| by_stream(client).logs(&name, Some(options)).boxed()).map(|chunk| {
                let chunk = chunk?.map_err(|error| judge(During::Logs, &error))?;
                Ok(LogChunk { stderr: matches!(chunk, LogOutput::StdErr { .. }), bytes: chunk.into_bytes() })
            });
        let runtime = self.clone();
        let end = stream::once(async move { runtime.check_end_of_log(&checked, follow).await.err().map(Err) });
        until_error(chunks.chain(end.filter_map(future::ready)).boxed())
    }

    fn exec(
        &self,
        name: &str,
        request: ExecRequest,
        input: BoxStream<'static, ExecInput>,
    ) -> BoxStream<'static, Result<ExecOutput, OpError>> {
        exec::run(self.clone(), name.to_owned(), request, input)
    }
}

/// A client whose answers come as they fill the connection. From HTTP/1.1 on, the engine makes a chunk of
/// every line of a log, and to take each out by itself costs more than everything else on its way.
fn by_stream(client: Docker) -> Docker {
    client.with_request_modifier(|mut request| {
        *request.version_mut() = http::Version::HTTP_10;
        request
    })
}

/// A stream of the engine's, which is reached when the stream is polled first.
fn open<T: Send + 'static>(
    runtime: DockerRuntime,
    ask: impl FnOnce(Docker) -> BoxStream<'static, Result<T, Error>> + Send + 'static,
) -> BoxStream<'static, Result<Result<T, Error>, OpError>> {
    let opened = async move {
        match runtime.within(LOOK_MAX, runtime.engine()).await {
            Ok(engine) => ask(engine.client).map(Ok).boxed(),
            Err(error) => stream::once(future::ready(Err(error))).boxed(),
        }
    };
    stream::once(opened).flatten().boxed()
}

/// Everything up to and including the first error.
fn until_error<T: Send + 'static>(
    items: BoxStream<'static, Result<T, OpError>>,
) -> BoxStream<'static, Result<T, OpError>> {
    stream::unfold(Some(items), |items| async {
        let mut items = items?;
        let item = items.next().await?;
        let rest = item.is_ok().then_some(items);
        Some((item, rest))
    })
    .boxed()
}

fn owner_filter(owner: Owner) -> Vec<String> {
    owner_labels(owner).map(|(key, value)| format!("{key}={value}")).into()
}

async fn list(client: &Docker, owner: Owner) -> Result<Vec<EngineContainer>, OpError> {
    let filters = HashMap::from([("label", owner_filter(owner))]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let summaries = client.list_containers(Some(options)).await.map_err(|error| judge(During::List, &error))?;
    let looks = summaries.into_iter().map(|summary| look(client, owner, summary));
    let found: Vec<Option<EngineContainer>> = stream::iter(looks).buffer_unordered(INSPECT_MAX).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// One line of a list as a container. A list does not tell exit codes, so an ended one is
/// inspected; it may be gone by then.
async fn look(client: &Docker, owner: Owner, summary: ContainerSummary) -> Result<Option<EngineContainer>, OpError> {
    let Some(name) = summary.names.as_ref().and_then(|names| own_name(names)) else { return Ok(None) };
    let Some(id) = summary.id else { return Ok(None) };
    let labels = summary.labels.unwrap_or_default();
    let Some(identity) = identity_of(owner, name, &labels) else { return Ok(None) };
    let state = match summary.state {
        Some(ContainerSummaryStateEnum::CREATED) => ContainerState::Created,
        Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED) => ContainerState::Running,
        _ => return inspect(client, owner, &id).await,
    };
    let image_health = listed_health(summary.status.as_deref().unwrap_or_default());
    let Identity { task, spec, .. } = identity;
    Ok(Some(EngineContainer { id, name: name.to_owned(), task, spec, state, image_health }))
}

/// A container's own name among those that links gave it (`/other/alias`).
fn own_name(names: &[String]) -> Option<&str> {
    names.iter().filter_map(|name| name.strip_prefix('/')).find(|name| !name.contains('/'))
}

async fn inspect(client: &Docker, owner: Owner, which: &str) -> Result<Option<EngineContainer>, OpError> {
    let Some(found) = find(client, During::Inspect, which).await? else { return Ok(None) };
    let name = name_of(&found).unwrap_or_default();
    let Some(identity) = identity_of(owner, name, &labels_of(&found)) else { return Ok(None) };
    let (id, state, image_health) = (found.id.clone().unwrap_or_default(), state_of(&found), health_of(&found));
    let Identity { task, spec, .. } = identity;
    Ok(Some(EngineContainer { id, name: name.to_owned(), task, spec, state, image_health }))
}

/// What the health check of its image says. Before it has answered for the first time the engine says `starting`.
fn health_of(found: &ContainerInspectResponse) -> Option<bool> {
    match found.state.as_ref()?.health.as_ref()?.status? {
        HealthStatusEnum::HEALTHY => Some(true),
        HealthStatusEnum::UNHEALTHY => Some(false),
        _ => None,
    }
}

/// The same in a list, which has it in words only: `Up 5 minutes (unhealthy)`.
fn listed_health(status: &str) -> Option<bool> {
    match status.rsplit_once('(')?.1 {
        "healthy)" => Some(true),
        "unhealthy)" => Some(false),
        _ => None,
    }
}

fn name_of(found: &ContainerInspectResponse) -> Option<&str> {
    found.name.as_deref()?.strip_prefix('/')
}

/// The container of exactly this ID or name; the engine would also take the beginning of an ID.
async fn find(client: &Docker, during: During, which: &str) -> Result<Option<ContainerInspectResponse>, OpError> {
    match client.inspect_container(which, None).await {
        Ok(found) => Ok(Some(found).filter(|it| it.id.as_deref() == Some(which) || name_of(it) == Some(which))),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(judge(during, &error)),
    }
}

fn labels_of(found: &ContainerInspectResponse) -> HashMap<String, String> {
    found.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default()
}

/// What the labels say, if the container is the owner's. One that is the owner's but does not say
/// which task's cannot be acted on: it is left alone, and told to the operator.
fn identity_of(owner: Owner, name: &str, labels: &HashMap<String, String>) -> Option<Identity> {
    let identity = Identity::of_map(labels);
    if identity.is_none() && owner_labels(owner).iter().all(|(key, value)| labels.get(*key) == Some(value)) {
        tracing::warn!(container = name, "left alone: it carries our labels, but they name no task");
    }
    identity.filter(|identity| identity.owner == owner)
}

/// What a container does. The process decides, not the engine's housekeeping: one whose removal is
/// under way or has failed half-way (`removing`, `dead`) has ended, or was never started.
fn state_of(found: &ContainerInspectResponse) -> ContainerState {
    let Some(state) = &found.state else { return ContainerState::Created };
    // What was never started carries the zero of Go's clock.
    let never_started = state.started_at.as_deref().is_none_or(|at| at.is_empty() || at.starts_with("0001-"));
    match state.status {
        Some(ContainerStateStatusEnum::CREATED) => ContainerState::Created,
        _ if state.running == Some(true) => ContainerState::Running,
        _ if never_started => ContainerState::Created,
        _ => ContainerState::Exited {
            code: state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(-1),
            out_of_memory: state.oom_killed == Some(true),
        },
    }
}

async fn ensure_image(
    client: &Docker,
    image: &str,
    pull: Pull,
    deadline: Millis,
    credentials: &Credentials,
) -> OpResult {
    // The reference becomes part of a path: what is none would ask for something else.
    if !spec::is_reference(image) {
        return Err(op_error(OpErrorKind::Refused, format!("{image:?} is not an image's reference")));
    }
    let work = async {
        let before = match client.inspect_image(image).await {
            Ok(found) if pull != Pull::Always => {
                let digest = meant_by(client, image, &found, credentials).await;
                return Ok(OpOutput::Image(ImageFound {
                    digest,
                    id: id_of(found)?,
                    was_pulled: false,
                    was_new: false,
                }));
            }
            Ok(found) => Some(id_of(found)?),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) if pull == Pull::Never => {
                let message = format!("{image} is not on this node, and is not to be pulled");
                return Err(op_error(OpErrorKind::Refused, message));
            }
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => None,
            Err(error) => return Err(judge(During::Image, &error)),
        };
        let ids_before = image_ids(client).await?;
        // The request is answered when the registry has been, so it may take the whole deadline.
        let client = client.clone().with_timeout(Duration::from_millis(deadline.0) + ANSWER_MAX);
        let options = CreateImageOptionsBuilder::default().from_image(&spec::with_tag(image)).build();
        let known = credentials.of(image).await.map_err(|message| op_error(OpErrorKind::Refused, message))?;
        let mut progress = client.create_image(Some(options), None, known);
        let mut pulled = None;
        while let Some(step) = progress.next().await {
            let said = step.map_err(|error| judge(During::Pull, &error))?.status;
            // What the reference means is what the registry has just said.
            pulled = said.and_then(|said| said.strip_prefix("Digest: ").map(str::to_owned)).or(pulled);
        }
        let found = client.inspect_image(image).await.map_err(|error| judge(During::Image, &error))?;
        let digest = match is_pinned(image) || pulled.is_none() {
            true => meant_by(&client, image, &found, credentials).await,
            false => pulled,
        };
        let id = id_of(found)?;
        let (was_pulled, was_new) = (before.as_ref() != Some(&id), !ids_before.contains(&id));
        Ok(OpOutput::Image(ImageFound { digest, id, was_pulled, was_new }))
    };
    // Dropping the request makes the engine give the pull up.
    let late = || op_error(OpErrorKind::Timeout, format!("{image} was not pulled within {deadline}"));
    tokio::time::timeout(Duration::from_millis(deadline.0), work).await.unwrap_or_else(|_| Err(late()))
}

fn id_of(found: ImageInspect) -> Result<String, OpError> {
    found.id.ok_or_else(|| op_error(OpErrorKind::Engine, "the engine has an image without an ID"))
}

/// The IDs of all images that are here, under whatever reference.
async fn image_ids(client: &Docker) -> Result<BTreeSet<String>, OpError> {
    let all = ListImagesOptionsBuilder::default().all(true).build();
    let images = client.list_images(Some(all)).await.map_err(|error| judge(During::Image, &error))?;
    Ok(images.into_iter().map(|image| image.id).collect())
}

async fn remove_image(client: &Docker, image: &str, id: &str) -> OpResult {
    match client.inspect_image(image).await {
        // By a digest, an engine whose images are containerd's would remove every tag that its repository has for it, also those
        // that somebody else gave it.
        Ok(found) if is_pinned(image) && found.repo_tags.as_ref().is_some_and(|tags| !tags.is_empty()) => {
            return Ok(OpOutput::Done);
        }
        Ok(found) if found.id.as_deref() == Some(id) => {}
        // Somebody has removed it, or made another one under the same reference, which is not ours.
        Ok(_) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(OpOutput::Done),
        Err(error) => return Err(judge(During::Image, &error)),
    }
    // Without force: of which there is a container, also one that does not run, stays.
    match client.remove_image(image, None::<RemoveImageOptions>, None).await {
        Ok(_) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
            tracing::info!(image, "removed an image that nothing needs: the disk gets full");
            Ok(OpOutput::Done)
        }
        Err(Error::DockerResponseServerError { status_code: 409, message }) => {
            Err(op_error(OpErrorKind::Refused, message))
        }
        Err(error) => Err(judge(During::Image, &error)),
    }
}

/// By which digest the registry of a reference knows an image that is here; none where it was made here.
///
/// An image may have several digests there: another tag, or the index of another platform, left its own. Which of them
/// the reference means only the registry can say. Where it does not, none is taken, because a wrong one would be pinned
/// for every node.
async fn meant_by(client: &Docker, image: &str, found: &ImageInspect, credentials: &Credentials) -> Option<String> {
    if let Some((_, digest)) = image.split_once('@') {
        return Some(digest.to_owned());
    }
    match digests_of(image, found).as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        several => {
            let known = credentials.of(image).await.ok()?;
            let tagged = spec::with_tag(image);
            let asked = client.inspect_registry_image(&tagged, known);
            let answer = tokio::time::timeout(LOOK_MAX, asked).await.ok()?.ok()?;
            answer.descriptor.digest.filter(|digest| several.contains(digest))
        }
    }
}

/// The digests by which the registry of a reference knows an image.
fn digests_of(image: &str, found: &ImageInspect) -> Vec<String> {
    // An engine writes what comes from Docker's own registry without its name.
    let short = |name: &str| {
        let name = name.strip_prefix("index.").unwrap_or(name);
        let name = name.strip_prefix("docker.io/").unwrap_or(name);
        name.strip_prefix("library/").unwrap_or(name).to_string()
    };
    let own = short(repository(image));
    let known = found.repo_digests.iter().flatten().filter_map(|known| known.split_once('@'));
    known.filter(|(name, _)| short(name) == own).map(|(_, digest)| digest.to_owned()).collect()
}

/// Sees to it that a volume is there. One that was made before is not made again: it would be empty.
async fn have_volume(client: &Docker, volume: &EngineVolume, labels: &[(String, String)]) -> Result<(), OpError> {
    let EngineVolume { name, volume, is_made, .. } = volume;
    if *is_made {
        return match client.inspect_volume(name).await {
            Ok(_) => Ok(()),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Err(volume_gone(volume)),
            Err(error) => Err(judge(During::Create, &error)),
        };
    }
    let of_owner = labels.iter().filter(|(key, _)| [LABEL_CLUSTER, LABEL_NODE].contains(&key.as_str())).cloned();
    let labels = of_owner.chain([(LABEL_VOLUME.to_owned(), volume.clone())]).collect();
    let request = VolumeCreateRequest { name: Some(name.clone()), labels: Some(labels), ..Default::default() };
    client.create_volume(request).await.map_err(|error| judge(During::Create, &error))?;
    Ok(())
}

async fn create(client: &Docker, spec: &ContainerSpec, machine: &Machine) -> OpResult {
    for volume in &spec.volumes {
        have_volume(client, volume, &spec.labels).await?;
    }
    let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
    let error = match client.create_container(Some(options), spec::body(spec, machine)).await {
        Ok(created) => return Ok(OpOutput::Created(created.id)),
        Err(error) => error,
    };
    if !matches!(error, Error::DockerResponseServerError { status_code: 409, .. }) {
        return Err(judge(During::Create, &error));
    }
    let Some(holder) = find(client, During::Create, &spec.name).await? else {
        // Made or removed at this moment, so it cannot be looked at yet: neither success nor failure.
        return Err(op_error(OpErrorKind::Engine, errors::words(&error)));
    };
    let ours = Identity::of_spec(spec);
    if ours.is_some() && Identity::of_map(&labels_of(&holder)) == ours {
        Ok(OpOutput::Created(holder.id.unwrap_or_default()))
    } else {
        Err(op_error(OpErrorKind::NameTaken, errors::words(&error)))
    }
}

async fn start(client: &Docker, name: &str) -> OpResult {
    // The engine would start an ended container once more; a task runs once.
    let Some(found) = find(client, During::Start, name).await? else { return Err(absent(name)) };
    if state_of(&found) != ContainerState::Created {
        return Ok(OpOutput::Done);
    }
    client.start_container(name, None).await.map_err(|error| judge(During::Start, &error))?;
    Ok(OpOutput::Done)
}

async fn stop(client: &Docker, name: &str, grace: Millis) -> OpResult {
    // The engine counts in seconds: rather a little longer than the kill too early.
    let seconds = i32::try_from(grace.0.div_ceil(1000)).unwrap_or(i32::MAX);
    let client = client.clone().with_timeout(Duration::from_secs(seconds.unsigned_abs().into()) + ANSWER_MAX);
    let options = StopContainerOptionsBuilder::default().t(seconds).build();
    client.stop_container(name, Some(options)).await.map_err(|error| judge(During::Stop, &error))?;
    Ok(OpOutput::Done)
}

async fn remove(client: &Docker, name: &str) -> OpResult {
    // Without force: what still runs is not to be removed.
    let options = RemoveContainerOptionsBuilder::default().force(false).v(true).build();
    match client.remove_container(name, Some(options)).await {
        Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(OpOutput::Done),
        Err(error) => Err(judge(During::Remove, &error)),
    }
}

fn absent(name: &str) -> OpError {
    op_error(OpErrorKind::NotFound, format!("no such container: {name}"))
}

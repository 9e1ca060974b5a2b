//! The command line: commands, arguments and help.

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
    error::{ContextKind, ContextValue, ErrorKind},
};
use orbit_api::{
    manifest::ManifestPull,
    quantity::{Cpu, Memory, Span},
};
use orbit_core::model::TaskState;
use std::{
    ffi::OsStr,
    time::{Duration, SystemTime},
};

/// Runs containers on many machines and keeps them running.
#[derive(Parser)]
#[command(
    name = "orbit",
    version,
    after_help = "\
Exit codes: 0 done; 2 usage or API error; 3 cannot be placed; 4 what was applied failed;
5 timed out; 6 revision conflict; 130 interrupted. `run` ends with the container's code, or 125.

Errors have stable codes: `orbit help errors` lists them, `orbit help errors CODE` explains one.

Environment: ORBIT_ADDR (the manager), ORBIT_FORMAT (as -o), ORBIT_CONTEXT (as --context),
ORBIT_CONFIG (the configuration file), NO_COLOR. Flags override these; these override the file:

  # ~/.config/orbit/config.toml
  current = \"home\"
  [contexts.home]
  addr = \"http://10.0.0.5:7070\"
  format = \"wide\""
)]
pub struct Cli {
    /// The manager's address [env: ORBIT_ADDR] [default: http://127.0.0.1:7070]
    #[arg(long, global = true, value_name = "URL")]
    pub addr: Option<String>,
    /// Which of the configuration file's contexts [env: ORBIT_CONTEXT] [default: the file's `current`]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a manager and a worker on this machine, on the local Docker engine
    #[command(after_help = "\
Shows what happens, one line per event. If the engine does not answer, it waits for it. Ctrl-C ends
both daemons; containers keep running, and the next start adopts them.

Examples:
  orbit dev
  orbit dev --verbose                          # with the daemons' own logs
  orbit dev --listen-workers 0.0.0.0:7071      # other machines may join, on a network that you trust
  orbit dev --state-dir /tmp/orbit --listen 127.0.0.1:8070 --listen-workers 127.0.0.1:8071")]
    Dev(crate::dev::DevArgs),
    /// Create or change the objects that files describe
    #[command(after_help = "\
Examples:
  orbit apply -f web.yaml
  orbit apply -f web.yaml -f jobs.yaml --wait --timeout 2m
  orbit apply -f shop/                         # every .yaml, .yml and .json file in it
  orbit apply -f shop/ --prune -l team=shop    # and delete the team's other services
  orbit apply -f web.yaml --dry-run            # say what would change
  cat web.yaml | orbit apply -f -
  orbit apply -f web.yaml --if-revision 57     # only if nobody changed it since")]
    Apply(Apply),
    /// Run one task, now
    #[command(after_help = "\
Follows the task's log and ends with the container's exit code, or with 125 if there is none.

Examples:
  orbit run alpine:3.20 -- echo hello
  orbit run --name import --env DAY=monday --cpu 500m --memory 256Mi importer:4
  orbit logs $(orbit run --detach busybox:1 -- date)")]
    Run(Run),
    /// Show objects
    #[command(after_help = "\
Examples:
  orbit get services
  orbit get tasks -l team=shop -o wide
  orbit get tasks --service web --state running
  orbit get service web -o yaml
  orbit get tasks -w                           # and every change from now on
  orbit get tasks -o name | head -1")]
    Get(Get),
    /// Show everything about one object
    #[command(after_help = "\
Examples:
  orbit describe service web
  orbit describe task 1.57.0
  orbit describe node worker-1")]
    Describe(Describe),
    /// Delete objects and stop their tasks
    #[command(after_help = "\
If you delete a task of a service, a new task replaces it; delete the service to stop it.

Examples:
  orbit delete service web
  orbit delete task import
  orbit delete task 1.57.0
  orbit delete -f web.yaml")]
    Delete(Delete),
    /// Change the number of replicas of a service
    #[command(after_help = "\
Examples:
  orbit scale web=5
  orbit scale web=0")]
    Scale(Scale),
    /// Replace every task of a service, one by one, by one of the same spec
    #[command(after_help = "\
A slot that waits for its backoff after a failure is tried again at once.

Examples:
  orbit restart web")]
    Restart {
        /// The service
        #[arg(value_name = "NAME", value_parser = service)]
        name: String,
    },
    /// Follow, pause, resume, promote or undo the rollout of a new version
    #[command(subcommand)]
    Rollout(Rollout),
    /// Show where a service is reached now
    #[command(after_help = "\
Lists the tasks that run and whose probes pass, were not told to stop, and have a reachable node. A
task that is told to stop leaves the list at once; its stop signal follows after stop.delay.

Examples:
  orbit endpoints web
  orbit endpoints web -w
  curl http://$(orbit endpoints web -o name | head -1)")]
    Endpoints(Endpoints),
    /// Start a process in the container of a running task
    #[command(after_help = "\
Ends with the process's exit code, or with 125 if it could not be started. With the name of a
service, the process runs in the oldest running task of that service.

Examples:
  orbit exec web -- ls /srv
  orbit exec -it 1.57.0 -- sh
  echo hello | orbit exec -i web -- tee /tmp/hello")]
    Exec(Exec),
    /// Show what was done and what happened
    #[command(after_help = "\
Examples:
  orbit events
  orbit events --since 2h service/web
  orbit events -f --warnings")]
    Events(Events),
    /// Show the log of a task, or of all living tasks of a service
    #[command(after_help = "\
Examples:
  orbit logs 1.57.0
  orbit logs --since 10m web
  orbit logs -f --tail 20 web
  orbit logs task/import           # if a service and a task have the same name")]
    Logs(Logs),
    /// Show, cordon, drain and forget nodes
    #[command(subcommand)]
    Node(Node),
    /// List the managers of the configuration file, and choose one
    #[command(subcommand)]
    Context(Context),
    /// Print a completion script
    #[command(after_help = "\
Examples:
  source <(orbit completion bash)
  orbit completion zsh > ~/.zfunc/_orbit")]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The commands about a service's rollout.
#[derive(Subcommand)]
pub enum Rollout {
    /// Follow a rollout to its end
    #[command(after_help = "\
Ends with exit code 4 if the rollout has failed or was rolled back. Also ends if the rollout is
paused, or waits for its canaries to be promoted.

Examples:
  orbit rollout status web
  orbit rollout status web --timeout 1s        # the present state: exit code 5 while it is under way")]
    Status {
        /// The service
        #[arg(value_parser = service)]
        name: String,
        /// How long to wait [default: for ever]
        #[arg(long, value_name = "SPAN", value_parser = span)]
        timeout: Option<Duration>,
    },
    /// Show the versions that are kept
    #[command(after_help = "\
Examples:
  orbit rollout history web
  orbit rollout history web -o yaml            # with the spec of each version")]
    History {
        /// The service
        #[arg(value_parser = service)]
        name: String,
        /// The output format
        #[arg(short, long, value_enum)]
        output: Option<Format>,
    },
    /// Pause a rollout: no further replica is replaced for it
    #[command(after_help = "\
A task that ends meanwhile is replaced by one of the same version.

Examples:
  orbit rollout pause web")]
    Pause {
        /// The service
        #[arg(value_parser = service)]
        name: String,
    },
    /// Resume a rollout; its deadline starts again
    #[command(after_help = "\
Examples:
  orbit rollout resume web")]
    Resume {
        /// The service
        #[arg(value_parser = service)]
        name: String,
    },
    /// Promote the canaries: the other replicas are updated, too
    #[command(after_help = "\
Examples:
  orbit rollout promote web")]
    Promote {
        /// The service
        #[arg(value_parser = service)]
        name: String,
    },
    /// Go back to an earlier version
    #[command(after_help = "\
An undo does not change your manifest. Put the earlier version into it before you apply it again.

Examples:
  orbit rollout undo web
  orbit rollout undo web --to 3")]
    Undo {
        /// The service
        #[arg(value_parser = service)]
        name: String,
        /// A version of `orbit rollout history` [default: the last version before it that was stable in every replica]
        #[arg(long, value_name = "VERSION")]
        to: Option<u32>,
    },
}

#[derive(Args)]
pub struct Apply {
    /// A file with manifests in YAML or JSON, or a directory of such files; `-` is standard input
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<String>,
    /// Say what would change, and change nothing
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
    /// Delete the services that are not in the files, among those that -l selects, or among all with --all
    #[arg(long)]
    pub prune: bool,
    /// With --prune: only services with these labels
    #[arg(short = 'l', long, value_name = "K=V[,K=V]", value_parser = selector, requires = "prune")]
    pub selector: Option<String>,
    /// With --prune: all services
    #[arg(long, requires = "prune", conflicts_with = "selector")]
    pub all: bool,
    /// Wait until every service runs as desired and every task has ended
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = span, requires = "wait")]
    pub timeout: Duration,
    /// Change the one service in the files only if this is its revision; 0: only if it does not exist
    #[arg(long, value_name = "N")]
    pub if_revision: Option<u64>,
}

#[derive(Args)]
pub struct Run {
    /// The image
    pub image: String,
    /// The task's name [default: made from the image's]
    #[arg(long)]
    pub name: Option<String>,
    /// An environment variable
    #[arg(short, long, value_name = "K=V", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// Processors, for example 250m, 0.5 or 2
    #[arg(long, value_parser = Cpu::parse)]
    pub cpu: Option<Cpu>,
    /// Memory, for example 64Mi
    #[arg(long, value_parser = Memory::parse)]
    pub memory: Option<Memory>,
    /// When the image is pulled: missing, always or never [default: missing]
    #[arg(long, value_name = "WHEN", value_parser = pull)]
    pub pull: Option<ManifestPull>,
    /// Print the task's ID and do not wait for it
    #[arg(short, long)]
    pub detach: bool,
    /// The arguments of the image's entrypoint
    #[arg(last = true, value_name = "CMD")]
    pub args: Vec<String>,
}

#[derive(Args)]
pub struct Get {
    /// services, tasks or nodes; or KIND/NAME
    #[arg(value_name = "KIND", value_parser = TargetParser)]
    pub target: Target,
    /// One object; of tasks: an attempt's ID or a definition's name
    pub name: Option<String>,
    #[command(flatten)]
    pub show: Show,
    /// Only tasks of this service
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Only tasks on this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Only tasks in this actual state, for example running
    #[arg(long, hide_possible_values = true, value_parser = PossibleValuesParser::new(TaskState::ALL.map(TaskState::as_str)))]
    pub state: Option<String>,
}

/// Which objects of a list are shown, and in which format.
#[derive(Args)]
pub struct Show {
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "K=V[,K=V]", value_parser = selector)]
    pub selector: Option<String>,
    /// The output format [env: ORBIT_FORMAT] [default: table]
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Keep running and show every change
    #[arg(short, long)]
    pub watch: bool,
}

#[derive(Args)]
pub struct Describe {
    /// service, task or node; or KIND/NAME
    #[arg(value_name = "KIND", value_parser = TargetParser)]
    pub target: Target,
    /// Its name; of tasks: an attempt's ID or a definition's name
    pub name: Option<String>,
}

#[derive(Args)]
pub struct Delete {
    /// service, task or node; or KIND/NAME
    #[arg(value_name = "KIND", value_parser = TargetParser, required_unless_present = "files")]
    pub target: Option<Target>,
    /// Their names; of tasks: attempts' IDs or definitions' names
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Delete what is described in a file; `-` is standard input
    #[arg(short, long = "file", value_name = "FILE", conflicts_with_all = ["target", "names"])]
    pub files: Vec<String>,
}

#[derive(Args)]
pub struct Endpoints {
    /// The service
    #[arg(value_name = "NAME", value_parser = service)]
    pub name: String,
    /// Print them again whenever they change, until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,
    /// The output format; `name` is ADDRESS:PORT
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

#[derive(Args)]
pub struct Scale {
    /// The service and its new number of replicas
    #[arg(value_name = "NAME=N", value_parser = scale)]
    pub target: (String, u32),
}

#[derive(Args)]
pub struct Logs {
    /// Wait for more
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many of the last lines
    #[arg(long, value_name = "N")]
    pub tail: Option<u32>,
    /// Only what was written since: a span such as 10m, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "SPAN|TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// An attempt's ID, a task definition's name or a service's name
    #[arg(value_name = "TASK|SERVICE")]
    pub target: String,
}

#[derive(Args)]
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

#[derive(Args)]
pub struct Events {
    /// Keep running and show new events
    #[arg(short, long)]
    pub follow: bool,
    /// Only what happened since: a span such as 2h, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "SPAN|TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// Only events that need a person's attention
    #[arg(long)]
    pub warnings: bool,
    /// The output format [env: ORBIT_FORMAT] [default: table]
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Only the events of one object: KIND/NAME
    #[arg(value_name = "KIND/NAME", value_parser = TargetParser)]
    pub target: Option<Target>,
}

#[derive(Subcommand)]
pub enum Context {
    /// List the contexts, with a mark at the current one
    Ls,
    /// Choose the current context
    Use {
        /// Its name
        name: String,
    },
}

#[derive(Subcommand)]
pub enum Node {
    /// Show the nodes
    Ls(Show),
    /// Place no more tasks on a node; its tasks keep running
    #[command(after_help = "\
Examples:
  orbit node cordon worker-1")]
    Cordon {
        /// The node
        #[arg(value_parser = node)]
        name: String,
    },
    /// Let a node take tasks again; this also ends a drain
    #[command(after_help = "\
Examples:
  orbit node uncordon worker-1")]
    Uncordon {
        /// The node
        #[arg(value_parser = node)]
        name: String,
    },
    /// Move the tasks of a node elsewhere, and wait until they have ended
    #[command(after_help = "\
Tasks of services are replaced elsewhere, within the update budget of each service. A task that
runs once may come to its end. At the deadline the tasks that are left are told to stop. Ctrl-C
ends the waiting, but not the drain; `orbit node uncordon` ends the drain.

Examples:
  orbit node drain worker-1
  orbit node drain worker-1 --deadline 5m
  orbit node drain worker-1 --detach")]
    Drain {
        /// The node
        #[arg(value_parser = node)]
        name: String,
        /// The time after which the tasks that are left are told to stop [default: never]
        #[arg(long, value_name = "SPAN", value_parser = Span::parse)]
        deadline: Option<Span>,
        /// Do not wait
        #[arg(short, long)]
        detach: bool,
    },
    /// Give a node up: its tasks are lost and replaced elsewhere
    #[command(after_help = "\
Examples:
  orbit node forget worker-1")]
    Forget {
        /// The node
        #[arg(value_parser = node)]
        name: String,
    },
}

/// The output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns
    Table,
    /// More columns
    Wide,
    /// The API's own objects
    Json,
    /// The API's own objects
    Yaml,
    /// KIND/NAME
    Name,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    Service,
    Task,
    Node,
}

impl ObjectKind {
    const ALL: [ObjectKind; 3] = [ObjectKind::Service, ObjectKind::Task, ObjectKind::Node];

    pub fn as_str(self) -> &'static str {
        match self {
            ObjectKind::Service => "service",
            ObjectKind::Task => "task",
            ObjectKind::Node => "node",
        }
    }
    /// As in the API's paths.
    pub fn plural(self) -> &'static str {
        match self {
            ObjectKind::Service => "services",
            ObjectKind::Task => "tasks",
            ObjectKind::Node => "nodes",
        }
    }
    fn short(self) -> &'static str {
        match self {
            ObjectKind::Service => "svc",
            ObjectKind::Task => "task",
            ObjectKind::Node => "no",
        }
    }
    /// Reads the singular, the plural or the short form.
    pub fn parse(text: &str) -> Option<ObjectKind> {
        ObjectKind::ALL.into_iter().find(|kind| [kind.as_str(), kind.plural(), kind.short()].contains(&text))
    }
}

/// `KIND` or `KIND/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: ObjectKind,
    pub name: Option<String>,
}

/// Reads a [`Target`], and tells completion the kinds.
#[derive(Clone)]
struct TargetParser;

impl TypedValueParser for TargetParser {
    type Value = Target;

    fn parse_ref(&self, cmd: &clap::Command, arg: Option<&clap::Arg>, value: &OsStr) -> Result<Target, clap::Error> {
        let text = value.to_string_lossy();
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) if !name.is_empty() => (kind, Some(name.to_string())),
            _ => (&*text, None),
        };
        ObjectKind::parse(kind).map(|kind| Target { kind, name }).ok_or_else(|| {
            let mut error = clap::Error::new(ErrorKind::InvalidValue).with_cmd(cmd);
            let kinds = ObjectKind::ALL.map(|kind| kind.plural().to_string()).to_vec();
            let arg = arg.map(ToString::to_string).unwrap_or_default();
            error.insert(ContextKind::InvalidArg, ContextValue::String(arg));
            error.insert(ContextKind::InvalidValue, ContextValue::String(text.into_owned()));
            error.insert(ContextKind::ValidValue, ContextValue::Strings(kinds));
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(
            ObjectKind::ALL
                .into_iter()
                .map(|kind| PossibleValue::new(kind.plural()).aliases([kind.as_str(), kind.short()])),
        ))
    }
}

/// A service's name, also as it is printed: `service/web`.
fn service(text: &str) -> Result<String, String> {
    name_of(ObjectKind::Service, text)
}

/// A node's name, also as it is printed: `node/worker-1`.
fn node(text: &str) -> Result<String, String> {
    name_of(ObjectKind::Node, text)
}

fn name_of(kind: ObjectKind, text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        Some((written, name)) if ObjectKind::parse(written) == Some(kind) => name,
        Some(_) => return Err(format!("write the name of a {}", kind.as_str())),
        None => text,
    };
    match name.is_empty() {
        true => Err(format!("write the name of a {}", kind.as_str())),
        false => Ok(name.to_string()),
    }
}

fn span(text: &str) -> Result<Duration, String> {
    Span::parse(text).map(|span| Duration::from_millis(span.millis))
}

/// A point in time, or so long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Ago(Duration),
    At(SystemTime),
}

impl Moment {
    /// RFC 3339.
    pub fn rfc3339(self, now: SystemTime) -> String {
        let at = match self {
            Moment::Ago(span) => now.checked_sub(span).unwrap_or(SystemTime::UNIX_EPOCH),
            Moment::At(at) => at,
        };
        humantime::format_rfc3339_seconds(at.max(SystemTime::UNIX_EPOCH)).to_string()
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    let span = span(text).map(Moment::Ago);
    let wrong = |_| "write a span such as 10m, or a time such as 2026-01-31T12:00:00Z".to_string();
    span.or_else(|_| humantime::parse_rfc3339(text).map(Moment::At).map_err(wrong))
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_string(), value.to_string())),
        _ => Err("write NAME=VALUE".to_string()),
    }
}

fn pull(text: &str) -> Result<ManifestPull, String> {
    serde_json::from_value(text.into()).map_err(|_| "write missing, always or never".to_string())
}

fn selector(text: &str) -> Result<String, String> {
    let wrong = "write KEY=VALUE, KEY!=VALUE, KEY or !KEY, several with commas between them";
    let ok = |part: &str| {
        let key = part.split(['=', '!']).find(|key| !key.is_empty());
        key.is_some() && !part.starts_with('=') && !part.contains("!!") && part.matches('=').count() <= 2
    };
    if text.split(',').all(ok) { Ok(text.to_string()) } else { Err(wrong.to_string()) }
}

fn scale(text: &str) -> Result<(String, u32), String> {
    let wrong = || "write NAME=N, for example web=3".to_string();
    let (name, number) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    Ok((service(name)?, number.parse().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn a_name_is_read_as_it_is_printed() {
        assert_eq!(service("web"), Ok("web".to_string()));
        assert_eq!(service("service/web"), Ok("web".to_string()));
        assert_eq!(node("nodes/worker-1"), Ok("worker-1".to_string()));
        for wrong in ["", "service/", "node/web", "web/1"] {
            assert_eq!(service(wrong), Err("write the name of a service".to_string()), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn kinds_are_read_in_every_form_that_people_write() {
        for text in ["service", "services", "svc"] {
            assert_eq!(ObjectKind::parse(text), Some(ObjectKind::Service));
        }
        assert_eq!(ObjectKind::parse("tasks"), Some(ObjectKind::Task));
        assert_eq!(ObjectKind::parse("no"), Some(ObjectKind::Node));
        assert_eq!(ObjectKind::parse("pods"), None);
    }

    #[test]
    fn pairs_are_read_with_their_mistakes_named() {
        assert_eq!(variable("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(variable("A="), Ok(("A".into(), String::new())));
        assert!(variable("=b").is_err() && variable("A").is_err());
        assert_eq!(scale("web=3"), Ok(("web".into(), 3)));
        assert_eq!(scale("service/web=3"), Ok(("web".into(), 3)));
        for bad in ["web", "=3", "web=", "web=-1", "web=three"] {
            assert!(scale(bad).is_err(), "{bad}");
        }
        for good in ["a=b,c=d", "a!=b", "a", "!a,b==c"] {
            assert!(selector(good).is_ok(), "{good}");
        }
        for bad in ["", "=b", "a=b,", "!"] {
            assert!(selector(bad).is_err(), "{bad}");
        }
    }
}

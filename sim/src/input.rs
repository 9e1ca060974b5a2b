//! Everything that comes into the world from outside: what users ask for, and what goes wrong.
//!
//! A seed draws inputs; a [`Script`] lists them. Either way the same world takes them in, so that a
//! drawn run can be written down, cut to its essence, and lived again.

use crate::{options::Options, tally::Fault};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One input, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Virtual milliseconds.
    pub at: u64,
    /// Of a strike: how many things of its kind it lets pass within that millisecond.
    pub skip: u32,
    /// What.
    pub input: Input,
}

/// What comes from outside. Workers are counted from 0; a number too high means nobody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)]
pub enum Input {
    /// A user asks for something.
    Ask(Ask),
    /// The manager's process dies; of the entries that are being synced, the first few are durable.
    ManagerCrash { down_ms: u64, durable: usize },
    /// The manager's process is stopped, and goes on.
    ManagerPause { ms: u64 },
    /// The manager's wall clock jumps.
    WallJump { ms: i64 },
    /// The manager's disk takes nothing more for a while.
    DiskFull { ms: u64 },
    /// A worker's process dies, alone or with its machine.
    WorkerCrash { worker: usize, reboot: bool, down_ms: u64 },
    /// A worker's machine is lost for good.
    Lost { worker: usize },
    /// A worker's process is stopped, and goes on.
    WorkerPause { worker: usize, ms: u64 },
    /// Messages of a worker are dropped, and those to it.
    Cut { worker: usize, up: bool, down: bool },
    /// They are not any more.
    Mend { worker: usize },
    /// Messages of a worker, or those to it, are held up, and arrive together after a while.
    Stall { worker: usize, up: bool, down: bool, ms: u64 },
    /// An engine goes away for a while; its containers go on (live-restore) or end.
    /// Those of an engine that was killed end when it returns, the others before it goes.
    EngineDown {
        worker: usize,
        ms: u64,
        live_restore: bool,
        #[serde(default)]
        killed: bool,
    },
    /// A second worker appears under a worker's name, on a machine of its own; with `copied`, with a
    /// copy of its state directory. It goes after a while, whatever it is told.
    Twin { worker: usize, copied: bool, ms: u64 },
    /// An engine's stream of events breaks off.
    HintsBreak { worker: usize },
    /// Something happens to the n-th of our containers there.
    Container { worker: usize, nth: usize, harm: Harm },
    /// Whatever of ours does not run is removed, as `docker container prune` does; whether its
    /// events are told.
    Prune { worker: usize, told: bool },
    /// Whatever of ours does not run is removed, and then the volumes that no container has, as `docker system prune
    /// --volumes` does.
    PruneVolumes { worker: usize },
    /// Somebody pushes other bytes as `web:2`.
    PushAgain,
    /// Somebody builds `web:1` again on one machine; no registry knows it.
    BuildAgain { worker: usize },
    /// A stranger takes a port of the machine, for a while.
    HoldPort { worker: usize, port: u16, ms: u64 },
    /// Nothing can be started on a machine for a while: its network is gone, or its disk is full.
    StartsNothing { worker: usize, ms: u64 },
    /// A worker's disk has no room for a while.
    WorkerDiskFull { worker: usize, ms: u64 },
    /// An operator allows more on a worker's machine, or nothing any more: its process is started again, with that.
    Allow { worker: usize, more: bool, down_ms: u64 },
    /// Not a fault: at this time, so many containers of an object run, over all engines.
    Expect { name: String, running: usize },
    /// Not a fault: at this time, a worker's node is said to be drained, or not.
    ExpectDrained { worker: usize, drained: bool },
    /// The next thing that passes a point is struck; or the next one of a kind (`report`, `create`, …).
    Strike {
        point: Point,
        worker: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<String>,
        strike: Strike,
    },
}

/// What somebody does to a container.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Harm {
    Exit(i32),
    Kill,
    OutOfMemory,
    Remove,
    Start,
    Stop,
    Pause,
    /// It says no to its probes.
    Sicken,
    /// So do all of its object's, on every engine: what they rely on is gone.
    SickenAll,
    /// It no longer does.
    Cure,
    /// It gets another name.
    Rename,
    /// An image is made of it, and run: that carries the same labels, and is nobody's of ours.
    Copy,
}

/// Where a strike can hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// Before an action of the manager.
    ManagerAction,
    /// Before an action of a worker.
    WorkerAction,
    /// A message from a worker.
    Up,
    /// A message to a worker.
    Down,
    /// An operation of a worker's engine.
    Engine,
    /// An event of a worker's engine.
    Hint,
}

impl Point {
    pub(crate) const COUNT: usize = 6;
}

/// What hits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Strike {
    /// The process dies.
    Crash { down_ms: u64, durable: usize },
    /// It is lost: the message, the event, or the answer to an operation that took place.
    Lose,
    /// It comes twice.
    Double,
    /// It comes late, behind what followed it. Of an operation: its answer, which is stale by then.
    Late { ms: u64 },
    /// An operation fails and has no effect: the engine does not answer, or refuses.
    Fail { refused: bool },
    /// An operation hangs, whatever grace or deadline it has, and takes place much later.
    Hang { ms: u64 },
}

/// What a user asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)]
pub enum Ask {
    /// Create or change a service (or, with `once`, a task definition).
    Put(Want),
    /// Change a service's number of replicas.
    Scale { name: String, replicas: u32, condition: If },
    /// Delete.
    Delete { once: bool, name: String, condition: If },
    /// Stop the n-th of the live tasks.
    Stop { nth: usize },
    /// The operator gives up a worker's node.
    Forget { worker: usize },
    /// The operator gives up a volume.
    RemoveVolume { number: u8 },
    /// What the operator wants of a worker's node.
    Availability { worker: usize, order: Order },
    /// What somebody wants of a service's rollout.
    Rollout { name: String, order: Roll, condition: If },
    /// Send an earlier request again, under its idempotency key.
    Again { key: String },
}

/// What an operator wants of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Order {
    Uncordon,
    Cordon,
    Drain { deadline_ms: Option<u64> },
}

/// What somebody wants of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Roll {
    Pause,
    Resume,
    Promote,
    Undo { to: Option<u32> },
}

/// If-Match of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum If {
    #[default]
    Always,
    /// The object is at the revision that was answered last.
    Fresh,
    /// The object is at a revision before that: it has to be refused.
    Stale,
}

/// A workload as a user of the simulator wants it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Want {
    /// A task definition, which runs once.
    pub once: bool,
    /// Its name.
    pub name: String,
    /// How many.
    pub replicas: u32,
    /// One of the images that the engines know.
    pub image: String,
    /// Thousandths of a processor each.
    pub cpu_millis: u64,
    /// How many ports the scheduler chooses for each.
    pub ports: u16,
    /// A port of the node that each needs for itself.
    pub pinned: Option<u16>,
    /// Spread over the nodes instead of packed.
    pub spread: bool,
    /// Only on nodes whose label `zone` is this.
    pub zone: Option<String>,
    /// What has to be there before it is placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Box<WantAfter>>,
    /// What it asks of the operator of its node: 1 a capability, 2 a folder, 3 both, 0 nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub asks: u8,
    /// A volume that it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<WantVolume>,
    /// How long a container has between the stop signal and the kill, in milliseconds.
    pub grace_ms: u64,
    /// Between the order to stop and the stop signal, in milliseconds. Scripts from before it could be said have none.
    #[serde(default)]
    pub delay_ms: u64,
    /// 0 pulls the image where it is missing, 1 before every task, 2 never.
    #[serde(default)]
    pub pull: u8,
    /// 1 has a health probe, 2 a readiness probe, 3 both.
    #[serde(default)]
    pub probes: u8,
    /// How much of each wait comes on top of it at most, in percent; as it is where nobody says.
    #[serde(default)]
    pub jitter: Option<u32>,
    /// A task definition that is not tried again when it fails.
    pub never_again: bool,
    /// If-Match.
    pub condition: If,
    /// Its idempotency key.
    pub key: String,
    /// How a new version takes the place of the old one.
    #[serde(default)]
    pub update: WantUpdate,
    /// What follows when its node is silent.
    #[serde(default)]
    pub disconnect: WantDisconnect,
}

/// A volume, as a user of the simulator wants it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantVolume {
    /// Which.
    pub number: u8,
    /// Others may use it meanwhile.
    pub shared: bool,
}

fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// Another object that has to be there first, as a user of the simulator wants it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantAfter {
    /// A task definition.
    pub once: bool,
    /// Its name.
    pub name: String,
    /// It has started. Otherwise a service is healthy, and a run complete.
    pub started: bool,
}

/// What becomes of a task whose node is silent, as a user of the simulator wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantDisconnect {
    /// Replaced after so long, in milliseconds.
    pub replace_ms: Option<u64>,
    /// The original stays.
    pub original: bool,
    /// 1 is timed, 2 is confirmed.
    pub fence: u8,
}

/// An update as a user of the simulator wants it. Scripts from before it could be said have one slot
/// after the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantUpdate {
    /// Slots at a time with a new task beside the old one.
    pub surge: u32,
    /// Slots at a time without one that serves.
    pub unavailable: u32,
    /// How long a new one runs before it counts, in milliseconds.
    pub healthy_ms: u64,
    /// Slots that come first, until they are promoted.
    #[serde(default)]
    pub canary: u32,
    /// After so long without progress a rollout has failed, in milliseconds.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// After so many failures without one that served it has failed, too.
    #[serde(default)]
    pub max_failures: u32,
    /// Then the stable version takes its place back.
    #[serde(default)]
    pub rollback: bool,
}

impl Default for WantUpdate {
    fn default() -> Self {
        WantUpdate {
            surge: 1,
            unavailable: 0,
            healthy_ms: 0,
            canary: 0,
            deadline_ms: None,
            max_failures: 0,
            rollback: false,
        }
    }
}

impl Want {
    /// A service of small containers.
    pub fn service(name: &str, replicas: u32, image: &str) -> Want {
        Want {
            once: false,
            name: name.to_string(),
            replicas,
            image: image.to_string(),
            cpu_millis: 100,
            ports: 0,
            pinned: None,
            spread: true,
            zone: None,
            volume: None,
            after: None,
            asks: 0,
            grace_ms: 2000,
            delay_ms: 0,
            pull: 0,
            probes: 0,
            jitter: None,
            never_again: false,
            condition: If::Always,
            key: format!("{name}-{replicas}-{image}"),
            update: WantUpdate::default(),
            disconnect: WantDisconnect::default(),
        }
    }
    /// A task definition.
    pub fn once(name: &str, image: &str) -> Want {
        Want { once: true, ..Want::service(name, 1, image) }
    }
}

impl Input {
    /// Which fault of the table it is; `None` for what users ask for and for what ends a fault.
    pub fn fault(&self) -> Option<Fault> {
        Some(match self {
            Input::Ask(_) | Input::Mend { .. } | Input::Expect { .. } | Input::ExpectDrained { .. } => return None,
            Input::ManagerCrash { .. } => Fault::ManagerCrash,
            Input::ManagerPause { .. } => Fault::ManagerPause,
            Input::WallJump { .. } => Fault::WallClockJump,
            Input::DiskFull { .. } => Fault::DiskFull,
            Input::WorkerCrash { reboot: true, .. } => Fault::HostReboot,
            Input::WorkerCrash { reboot: false, .. } => Fault::WorkerCrash,
            Input::Lost { .. } => Fault::HostLost,
            Input::WorkerPause { .. } => Fault::WorkerPause,
            Input::Cut { up: true, down: true, .. } => Fault::PartitionBothWays,
            Input::Cut { .. } => Fault::PartitionOneWay,
            Input::Stall { .. } => Fault::MessagesHeldUp,
            Input::EngineDown { live_restore: true, .. } => Fault::EngineDownLiveRestore,
            Input::EngineDown { live_restore: false, .. } => Fault::EngineDownContainersEnd,
            Input::HintsBreak { .. } => Fault::HintsBreak,
            Input::Container { harm, .. } => match harm {
                Harm::Exit(_) => Fault::ContainerExits,
                Harm::Kill => Fault::ContainerKilled,
                Harm::OutOfMemory => Fault::ContainerOutOfMemory,
                Harm::Remove => Fault::ContainerRemoved,
                Harm::Start => Fault::ContainerStartedAgain,
                Harm::Stop => Fault::ContainerStopped,
                Harm::Pause => Fault::ContainerPaused,
                Harm::Sicken | Harm::SickenAll => Fault::ContainerSick,
                Harm::Cure => return None,
                Harm::Rename => Fault::ContainerRenamed,
                Harm::Copy => Fault::ContainerCopied,
            },
            Input::Prune { .. } => Fault::Prune,
            Input::PruneVolumes { .. } => Fault::PruneVolumes,
            Input::PushAgain => Fault::TagMoved,
            Input::BuildAgain { .. } => Fault::BuiltAgain,
            Input::Twin { copied: false, .. } => Fault::NameTwin,
            Input::Twin { copied: true, .. } => Fault::StateCopied,
            Input::HoldPort { .. } => Fault::PortTakenByStranger,
            Input::StartsNothing { .. } => Fault::StartsNothing,
            Input::WorkerDiskFull { .. } => Fault::WorkerDiskFull,
            Input::Allow { .. } => Fault::AllowChanged,
            Input::Strike { point, strike, .. } => match (point, strike) {
                (Point::ManagerAction, _) => Fault::ManagerCrashAtAction,
                (Point::WorkerAction, _) => Fault::WorkerCrashAtAction,
                (Point::Engine, Strike::Lose) => Fault::EngineAnswerLost,
                (Point::Engine, Strike::Late { .. }) => Fault::EngineAnswerLate,
                (Point::Engine, Strike::Hang { .. }) => Fault::EngineHangs,
                (Point::Engine, _) => Fault::EngineFails,
                (Point::Hint, Strike::Lose) => Fault::HintLost,
                (Point::Hint, Strike::Double) => Fault::HintDoubled,
                (Point::Hint, _) => Fault::HintLate,
                (Point::Up | Point::Down, Strike::Lose) => Fault::MessageLost,
                (Point::Up | Point::Down, Strike::Double) => Fault::MessageDoubled,
                (Point::Up | Point::Down, _) => Fault::MessageLate,
            },
        })
    }
}

/// A run that is written down: options and inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// For people: what it stands for. Lines of text.
    pub about: String,
    /// Its world; the seed decides latencies only.
    pub options: Options,
    /// In the order of time.
    pub steps: Vec<Step>,
}

impl fmt::Display for Script {
    /// The text of a script: `#` lines, `options`, then one step per line: the millisecond (`+` how
    /// many are let pass), and the input as JSON.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let json = |it: serde_json::Result<String>| it.map_err(|_| fmt::Error);
        for line in self.about.lines() {
            writeln!(f, "# {line}")?;
        }
        writeln!(f, "options {}", json(serde_json::to_string(&self.options))?)?;
        for Step { at, skip, input } in &self.steps {
            let at = if *skip == 0 { at.to_string() } else { format!("{at}+{skip}") };
            writeln!(f, "{at:>9} {}", json(serde_json::to_string(input))?)?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Script, String> {
        let (mut about, mut options, mut steps) = (String::new(), None, Vec::new());
        for (nth, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |what: &str, error: String| format!("line {}: {what}: {error}", nth + 1);
            let json = |text: &str| serde_json::from_str(text).map_err(|e| wrong("input", e.to_string()));
            if let Some(comment) = line.strip_prefix('#') {
                about += comment.trim_start();
                about.push('\n');
            } else if let Some(rest) = line.strip_prefix("options ") {
                options = Some(serde_json::from_str(rest).map_err(|e| wrong("options", e.to_string()))?);
            } else {
                let (at, input) = line.trim_start().split_once(' ').ok_or_else(|| wrong("step", "no input".into()))?;
                let (at, skip) = at.split_once('+').unwrap_or((at, "0"));
                let number = |text: &str| text.parse::<u64>().map_err(|e| wrong("time", e.to_string()));
                steps.push(Step { at: number(at)?, skip: number(skip)? as u32, input: json(input)? });
            }
        }
        let options = options.ok_or("a script has a line that begins with `options `")?;
        Ok(Script { about, options, steps })
    }
}

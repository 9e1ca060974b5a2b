//! A worker's machine between a manager and an engine, both played by the script.
//!
//! What the worker asks for is printed; operations are answered by `done OP TASK …`, where the task
//! may be left out for `list`. Writes to the ledger are durable at once, and survive `crash` and `reboot`.

use crate::{
    World,
    words::{Words, bytes, end, found_text, grants, list, probed, span, spec, state, volumes},
};
use orbit_core::{model::*, worker::*};
use std::collections::BTreeMap;

pub fn world() -> Box<dyn World> {
    Box::new(Working::new())
}

const CLUSTER: ClusterId = ClusterId(0xabc);
const NODE: NodeUid = NodeUid(1);

struct Working {
    now: u64,
    worker: Worker,
    ledger: Ledger,
    ops: BTreeMap<OpId, Op>,
    link: LinkId,
    boot: u64,
    nonce: u64,
    seq: u64,
    /// What each task was ordered with, to order it again.
    orders: BTreeMap<TaskId, Assignment>,
    /// What the operator of the machine allows.
    allowed: Vec<Grant>,
    printed: String,
}

impl World for Working {
    fn obey(&mut self, line: &str) -> String {
        let quiet = line.strip_prefix("quiet ");
        self.command(&Words::of(quiet.unwrap_or(line)));
        assert_eq!(*self.worker.ledger(), self.ledger, "the ledger is what was persisted, after `{line}`");
        let printed = std::mem::take(&mut self.printed);
        if quiet.is_some() { String::new() } else { printed }
    }
}

fn machine(ledger: Ledger, boot: u64, nonce: u64, allowed: &[Grant]) -> Worker {
    let info = NodeInfo {
        uid: NODE,
        name: "n0".into(),
        labels: BTreeMap::new(),
        arch: "amd64".into(),
        os: "linux".into(),
        allocatable: Resources { cpu_millis: 4000, memory_bytes: 8 << 30 },
        port_range: (20_000, 20_099),
        address: None,
        pinned_ports: None,
        allowed: allowed.into(),
        versions: Default::default(),
    };
    let (pull_deadline, resync_every) = (Millis::secs(20), Millis::secs(30));
    let image_collection = ImageCollection { below_bytes: 1 << 30, unneeded_for: Millis::secs(120) };
    let config =
        Config { info, pull_deadline, starts_max: 2, resync_every, disk_reserve_bytes: 100 << 20, image_collection };
    Worker::restore(config, ledger, BootId(boot), nonce)
}

fn id(text: &str) -> TaskId {
    text.parse().unwrap_or_else(|_| panic!("{text} is no task"))
}

/// `created`, `running`, `exited(1)`, `oom(137)`.
fn container_state(text: &str) -> ContainerState {
    let code = |text: &str| text.trim_end_matches(')').parse().expect("an exit code");
    match text.split_once('(') {
        None if text == "created" => ContainerState::Created,
        None => ContainerState::Running,
        Some((kind, rest)) => ContainerState::Exited { code: code(rest), out_of_memory: kind == "oom" },
    }
}

/// A `sick+…` or `well+…` has an image with a health check. Of a `stranger-…` only the labels are ours, of an `imposter-…` the name as well; a `renamed-…` is ours by its ID.
fn container(task: TaskId, text: &str) -> EngineContainer {
    let given = format!("orbit-{CLUSTER}-{task}");
    let (id, name, text) = match text.split_once('-') {
        Some(("stranger", text)) => ("stranger".to_string(), "stranger".to_string(), text),
        Some(("imposter", text)) => ("imposter".to_string(), given, text),
        Some((_, text)) => (given, "renamed".to_string(), text),
        None => (given.clone(), given, text),
    };
    let (text, image_health) = match text.strip_prefix("sick+").or(text.strip_prefix("well+")) {
        Some(state) => (state, Some(text.starts_with("well"))),
        None => (text, None),
    };
    EngineContainer { id, name, task, spec: 0, state: container_state(text), image_health }
}

fn error(text: &str) -> OpErrorKind {
    match text {
        "engine" => OpErrorKind::Engine,
        "not_found" => OpErrorKind::NotFound,
        "name_taken" => OpErrorKind::NameTaken,
        "image_missing" => OpErrorKind::ImageMissing,
        "port_taken" => OpErrorKind::PortTaken(None),
        "timeout" => OpErrorKind::Timeout,
        "unwell" => OpErrorKind::Unwell,
        "refused" => OpErrorKind::Refused,
        "unclear" => OpErrorKind::Unclear,
        _ => panic!("no error {text}"),
    }
}

impl Working {
    fn new() -> Working {
        let ledger = Ledger::new(NODE);
        Working {
            now: 1000,
            worker: machine(ledger.clone(), 1, 1, &[]),
            allowed: Vec::new(),
            ledger,
            ops: BTreeMap::new(),
            link: LinkId(0),
            boot: 1,
            nonce: 1,
            seq: 0,
            orders: BTreeMap::new(),
            printed: String::new(),
        }
    }

    fn say(&mut self, line: impl AsRef<str>) {
        self.printed += line.as_ref();
        self.printed += "\n";
    }

    fn command(&mut self, words: &Words) {
        match words.verb {
            "world" => *self = Working::new(),
            "allow" => {
                self.allowed = grants(words.words.first().unwrap_or(&""));
                self.restart();
            }
            "boot" => self.step(Event::Wake),
            "link" if words.word(0) == "up" => self.step(Event::LinkUp(self.link)),
            "link" => self.step(Event::LinkDown(self.link)),
            "welcome" => self.welcome(words),
            "refuse" => self.hear(ToWorker::Refused { message: "not now".into() }),
            "ack" => self.hear(ToWorker::HeartbeatAck { seq: words.number("seq", 0) }),
            "probe" => self.hear(ToWorker::Probe),
            "prefetch" => self.hear(ToWorker::Prefetch {
                workload: Uid { epoch: 1, index: words.number("of", 1) },
                version: words.number("version", 1) as u32,
                image: words.word(0).to_string(),
                pull: Pull::Missing,
                keep: words.span("keep", 60_000),
            }),
            "assign" | "order" => self.assign(words),
            "committed" => {
                let states = vec![(id(words.word(0)), state(words.word(1)), probed(words))];
                self.hear(ToWorker::Committed { seq: words.number("seq", 0), states });
            }
            "remember" => self.remember(words),
            "done" => self.done(words),
            "hint" => self.step(Event::Hint(id(words.word(0)))),
            "hints-lost" => self.step(Event::HintsLost),
            "disk" => self.step(Event::Disk(FreeSpace::of(bytes(words.word(0))))),
            "wait" => self.wait(span(words.word(0)).0),
            "crash" => self.crash(),
            "reboot" => {
                self.boot += 1;
                self.crash();
            }
            "ledger" => self.print_ledger(),
            "ops" => {
                let ops = list(self.ops.values().map(op_text));
                self.say(ops);
            }
            verb => panic!("no command `{verb}`"),
        }
    }

    fn step(&mut self, event: Event) {
        for action in self.worker.step(Time(self.now), event) {
            let text = match action {
                Action::Persist(writes) => {
                    writes.iter().for_each(|write| self.ledger.apply(write));
                    format!("remember {}", list(writes.iter().map(write_text)))
                }
                Action::Runtime { op, request } => {
                    let text = op_text(&request);
                    self.ops.insert(op, request);
                    text
                }
                Action::Cancel(op) => {
                    format!("give up to {}", op_text(&self.ops.remove(&op).expect("it is under way")))
                }
                Action::Connect(link) => {
                    self.link = link;
                    self.seq = 0;
                    "dial".to_string()
                }
                Action::Disconnect(_) => "hang up".to_string(),
                Action::Send { message, .. } => format!("say {}", message_text(&message)),
                Action::Open { container, .. } => format!("open a stream to {container}"),
                Action::Warn(text) => format!("warn: {text}"),
            };
            self.say(text);
        }
    }

    fn hear(&mut self, message: ToWorker) {
        self.step(Event::Message { link: self.link, message });
    }

    /// `1.5.0=run` and the like, or `1.5.0` with the words that follow the verb.
    fn assignment(&mut self, words: &Words, id: TaskId, wanted: &str) -> Assignment {
        let known = self.orders.get(&id).map_or(0, |order| order.generation);
        let desired = if wanted == "stop" { Desired::Stopped } else { Desired::Running };
        let order = Assignment {
            task: id,
            generation: words.number("generation", known + 1),
            desired,
            ended: wanted == "ended",
            kind: Kind::Service,
            name: "web".into(),
            slot: 0,
            spec: spec(words, RestartPolicy::Always).into(),
            host_ports: Box::default(),
            volumes: volumes(words).iter().map(|_| Uid { epoch: 1, index: 9 }).collect(),
            image: match words.option("digest") {
                None => ImageBytes::AsWritten,
                Some("unknown") => ImageBytes::Unresolved,
                Some(digest) => ImageBytes::Digest(digest.into()),
            },
        };
        self.orders.insert(id, order.clone());
        order
    }

    /// Orders as `run:1.5.0`, `stop:1.5.0`, `ended:1.5.0`, `remove:1.5.0`, and `follow:1.5.0` for one that is only named.
    fn orders_of(&mut self, words: &Words, full: bool) -> Assigned {
        self.seq = words.number("seq", self.seq + 1);
        let mut assigned = Assigned { seq: self.seq, full, tasks: Vec::new(), follow: Vec::new(), removed: Vec::new() };
        for word in words.words.iter().filter(|word| word.contains(':')) {
            let (wanted, task) = word.split_once(':').expect("just looked");
            match wanted {
                "remove" => assigned.removed.push(id(task)),
                "follow" => assigned.follow.push(id(task)),
                wanted => assigned.tasks.push(self.assignment(words, id(task), wanted)),
            }
        }
        assigned
    }

    fn welcome(&mut self, words: &Words) {
        self.seq = 0;
        let cluster = if words.option("cluster").is_some() { ClusterId(99) } else { CLUSTER };
        let welcome = Welcome {
            cluster,
            epoch: words.number("epoch", 1),
            term: words.number("term", 1),
            node: NodeId(0),
            incarnation: 1,
            heartbeat: Millis::secs(1),
            lease: Millis::secs(5),
            assigned: self.orders_of(words, true),
        };
        self.hear(ToWorker::Welcome(welcome));
    }

    fn assign(&mut self, words: &Words) {
        let full = words.words.contains(&"everything");
        let assigned = self.orders_of(words, full);
        self.hear(ToWorker::Assigned(assigned));
    }

    /// What the ledger of an earlier life holds: `remember attempted 1.5.0`, `remember ended …`.
    fn remember(&mut self, words: &Words) {
        self.ledger.apply(&LedgerWrite::Seen { cluster: CLUSTER, seen: (1, words.number("term", 1)) });
        for pair in words.words.chunks_exact(2) {
            let task = id(pair[1]);
            self.ledger.apply(&LedgerWrite::Attempted(task));
            if pair[0] != "attempted" {
                let state = state(pair[0]);
                self.ledger.apply(&LedgerWrite::Ended(TaskReport::new(task, state, end(words, state))));
            }
        }
        self.restart();
    }

    fn restart(&mut self) {
        self.nonce += 1;
        self.worker = machine(self.ledger.clone(), self.boot, self.nonce, &self.allowed);
        self.ops.clear();
    }

    fn crash(&mut self) {
        self.restart();
        self.step(Event::Wake);
    }

    /// `done create 1.5.0`, `done start 1.5.0 error=port_taken`, `done list 1.5.0=running`,
    /// `done inspect 1.5.0 exited(1)`.
    fn done(&mut self, words: &Words) {
        let verb = words.word(0);
        let of_task = |op: &Op| words.words.get(1).is_none_or(|task| op_text(op).ends_with(task));
        let verb_of = |op: &Op| match op {
            Op::Probe { ask: ProbeOf::Command(command), .. } => command[0].clone(),
            op => op_text(op),
        };
        let is = |(_, op): &(&OpId, &Op)| verb_of(op).starts_with(verb) && (verb == "list" || of_task(op));
        let found = self.ops.iter().find(is).map(|(op, _)| *op);
        let op = found.unwrap_or_else(|| panic!("no {verb} is under way: {}", list(self.ops.values().map(op_text))));
        let task = match self.ops.remove(&op) {
            Some(Op::Create(spec)) => Some(task_of(&spec.name).to_string()),
            _ => None,
        };
        let of_list = |word: &&str| word.split_once(':').map(|(state, task)| container(id(task), state));
        let result = match (words.option("error"), verb) {
            (Some(kind), _) => Err(OpError { kind: error(kind), message: format!("the engine says {kind}") }),
            (None, "fetch") => Ok(OpOutput::Image(ImageFound {
                digest: words.option("is").map(str::to_string),
                id: words.text("id", "an-id").to_string(),
                was_pulled: words.option("pulled").is_some(),
                was_new: words.option("pulled") == Some("yes"),
            })),
            (None, "list") => Ok(OpOutput::Containers(words.words.iter().filter_map(of_list).collect())),
            (None, "inspect") => {
                Ok(OpOutput::Container(words.words.get(2).map(|text| container(id(words.word(1)), text))))
            }
            (None, "create") => Ok(OpOutput::Created(format!("orbit-{CLUSTER}-{}", task.expect("a task is created")))),
            (None, _) => Ok(OpOutput::Done),
        };
        self.step(Event::Done { op, result });
    }

    /// Time passes; the manager acknowledges nothing, so that a long wait is its silence.
    fn wait(&mut self, ms: u64) {
        let end = self.now + ms;
        let mut wakes = 0;
        while let Some(due) = self.worker.deadline().filter(|due| due.0 <= end) {
            wakes += 1;
            assert!(wakes < 1000, "the worker's deadline does not move: {due}");
            self.now = self.now.max(due.0);
            self.step(Event::Wake);
        }
        self.now = end;
    }

    fn print_ledger(&mut self) {
        let task = |(id, task): (&TaskId, &LedgerTask)| match &task.end {
            Some(report) => format!("{id} ended {}", report.state),
            None => format!("{id} attempted"),
        };
        let text = format!("seen {:?}: {}", self.ledger.seen, list(self.ledger.tasks.iter().map(task)));
        self.say(text);
    }
}

fn task_of(container: &str) -> &str {
    container.rsplit('-').next().unwrap_or(container)
}

fn op_text(op: &Op) -> String {
    match op {
        Op::List(_) => "list".to_string(),
        Op::Inspect { name, .. } => format!("inspect {}", task_of(name)),
        Op::EnsureImage { image, pull: Pull::Missing, deadline } => format!("fetch within {deadline} {image}"),
        Op::EnsureImage { image, pull, deadline } => format!("fetch {pull:?} within {deadline} {image}"),
        Op::RemoveImage { image, id } => format!("untag {id} as {image}"),
        Op::Create(spec) => {
            let made = |volume: &EngineVolume| if volume.is_made { "made before" } else { "to be made" };
            let volume = |volume: &EngineVolume| format!("with {}, {}, ", volume.name, made(volume));
            let volumes: String = spec.volumes.iter().map(volume).collect();
            format!("create {volumes}{}", task_of(&spec.name))
        }
        Op::Start(name) => format!("start {}", task_of(name)),
        Op::Stop { name, grace } => format!("stop with grace {grace} {}", task_of(name)),
        Op::Remove(name) => format!("remove {}", task_of(name)),
        Op::Probe { name, ask: ProbeOf::Command(command), .. } => format!("ask {} {}", command[0], task_of(name)),
        Op::Probe { name, ask, .. } => format!("ask {ask:?} {}", task_of(name)),
    }
}

fn report_text(report: &TaskReport) -> String {
    let end = report.end.as_ref().map_or_else(String::new, |end| {
        let code = end.exit_code.map_or_else(String::new, |code| format!(" {code}"));
        format!(" ({}{code})", end.reason.as_str())
    });
    let ago = if report.ended_ago == Millis(0) { String::new() } else { format!(" {} ago", report.ended_ago) };
    let digest = report.digest.as_ref().map(|digest| format!(", its image is {digest}")).unwrap_or_default();
    format!("{} {}{end}{ago}{}{digest}", report.task, report.state, found_text(report.probed))
}

fn write_text(write: &LedgerWrite) -> String {
    match write {
        LedgerWrite::Seen { seen, .. } => format!("seen {seen:?}"),
        LedgerWrite::HeardOf(heard_of) => format!("heard of at {}", heard_of.at),
        LedgerWrite::Attempted(id) => format!("attempted {id}"),
        LedgerWrite::Created(id, _) => format!("which container is that of {id}"),
        LedgerWrite::Fence(id, fence) => format!("that {id} is stopped after {} without an answer", fence.after),
        LedgerWrite::Fenced(id) => format!("that the fence of {id} has passed"),
        LedgerWrite::Ended(report) => format!("ended {}", report_text(report)),
        LedgerWrite::Forgotten(id) => format!("forgotten {id}"),
        LedgerWrite::ImagePulled { image, id } => format!("that it pulled {image}, which is {id}"),
        LedgerWrite::ImageForgotten(image) => format!("that {image} is gone"),
        LedgerWrite::VolumeMade(volume) => format!("that {volume} is made"),
    }
}

fn message_text(message: &ToManager) -> String {
    match message {
        ToManager::Register(hello) => {
            format!("hello, seen {:?}, with {}", hello.seen, list(hello.inventory.iter().map(report_text)))
        }
        ToManager::Heartbeat { seq, assigned_seq, disk_full } => {
            format!("heartbeat {seq}, assigned {assigned_seq}{}", if *disk_full { ", its disk is full" } else { "" })
        }
        ToManager::Report { reports, .. } => format!("report {}", list(reports.iter().map(report_text))),
        ToManager::ProbeAck => "here".to_string(),
        ToManager::Prefetched { version, failure: None, .. } => format!("have the image of version {version}"),
        ToManager::Prefetched { version, failure: Some(end), .. } => {
            format!("cannot have the image of version {version}: {}", end.reason.as_str())
        }
    }
}

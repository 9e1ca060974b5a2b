//! A manager, its log, and workers that are little more than names.
//!
//! What is proposed is committed at once, unless `hold` keeps it back. Workers that beat do so every
//! second of a `wait`. They do nothing of themselves: `settle` lets all of them obey. Tasks are
//! written `web/0` (the newest attempt in that slot), `web/0~1` (the one before it), or by their ID.

use crate::{
    World,
    words::{Words, bytes, end, found_text, grants, list, probed, span, spec, state, update},
};
use orbit_core::{
    manager::*,
    model::*,
    state::{Cluster, Snapshot},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub fn world() -> Box<dyn World> {
    Box::new(Managed::new())
}

/// A worker as the manager sees one.
struct Peer {
    info: NodeInfo,
    nonce: u64,
    session: Option<SessionId>,
    beats: bool,
    /// Messages to it are lost.
    deaf: bool,
    disk_full: bool,
    orders: BTreeMap<TaskId, (Desired, bool)>,
    known: BTreeMap<TaskId, TaskReport>,
    /// Those of which the last welcome said that they are there, and no more.
    left_alone: BTreeSet<TaskId>,
    heartbeats: u64,
    assigned_seq: u64,
    /// Whether it can be asked for images, and which it was asked for and has not answered.
    prefetches: bool,
    asked: BTreeSet<(Uid, u32)>,
}

struct Managed {
    now: u64,
    /// What the log stands behind, and what a restore begins with.
    base: Cluster,
    log: Vec<Entry>,
    backup: Option<Snapshot>,
    manager: Manager,
    term: u64,
    peers: BTreeMap<String, Peer>,
    proposed: VecDeque<(ProposalId, Time, Actor, Command)>,
    held: bool,
    sessions: u64,
    session_names: BTreeMap<SessionId, String>,
    requests: u64,
    /// Whether messages to workers are printed.
    talk: bool,
    printed: String,
}

impl World for Managed {
    fn obey(&mut self, line: &str) -> String {
        let quiet = line.strip_prefix("quiet ");
        let words = Words::of(quiet.unwrap_or(line));
        self.command(&words);
        let violations = self.manager.cluster().check();
        assert!(violations.is_empty(), "after `{line}`: {violations:?}");
        let printed = std::mem::take(&mut self.printed);
        if quiet.is_some() { String::new() } else { printed }
    }
}

impl Managed {
    fn new() -> Managed {
        let mut world = Managed {
            now: 1000,
            base: Cluster::default(),
            log: Vec::new(),
            backup: None,
            manager: Manager::restore(Cluster::default(), Timing::default()),
            term: 0,
            peers: BTreeMap::new(),
            proposed: VecDeque::new(),
            held: false,
            sessions: 0,
            session_names: BTreeMap::new(),
            requests: 0,
            talk: false,
            printed: String::new(),
        };
        world.elect();
        world.printed.clear();
        world
    }

    fn say(&mut self, line: impl AsRef<str>) {
        self.printed += line.as_ref();
        self.printed += "\n";
    }

    fn command(&mut self, words: &Words) {
        match words.verb {
            "world" => *self = Managed::new(),
            "talk" => self.talk = true,
            "node" => self.node(words),
            "connect" => self.connect(words, true),
            "clone" => self.connect(words, false),
            "stranger" => self.stranger(words),
            "silence" => self.peers.get_mut(words.word(0)).expect("a node").beats = false,
            "beat" => {
                self.peers.get_mut(words.word(0)).expect("a node").beats = true;
                self.heartbeat(words.word(0));
            }
            "deaf" => self.peers.get_mut(words.word(0)).expect("a node").deaf = true,
            "hears" => self.peers.get_mut(words.word(0)).expect("a node").deaf = false,
            "disk" => {
                let full = words.word(1) == "full";
                self.peers.get_mut(words.word(0)).expect("a node").disk_full = full;
                self.heartbeat(words.word(0));
            }
            // A heartbeat that comes behind those that followed it.
            "late-disk" => {
                let message = ToManager::Heartbeat { seq: 1, assigned_seq: 0, disk_full: words.word(1) == "full" };
                self.send(words.word(0), message);
            }
            "prefetched" => self.prefetched(words),
            "ack" => self.send(words.word(0), ToManager::ProbeAck),
            "close" => self.close(words.word(0)),
            "service" | "task" | "scale" | "restart" | "delete" | "stop" | "logs" => self.request(words),
            "forget" | "cordon" | "uncordon" | "drain" | "decide" | "rmvolume" => self.request(words),
            "pause" | "resume" | "promote" | "undo" => self.request(words),
            "versions" => self.print_versions(words.word(0)),
            "report" => self.report(words),
            "raw-report" => self.raw_report(words),
            "hold" => self.held = true,
            "commit" => {
                self.held = false;
                self.commit_all();
            }
            "commit-one" => {
                let (proposal, at, actor, command) = self.proposed.pop_front().expect("something is held");
                self.append(at, actor, command, Some(proposal));
            }
            "backup" => self.backup = Some(self.manager.snapshot()),
            "restore" => self.restore(),
            "lose" => self.lose(),
            "depose" => self.step(Event::Deposed),
            "elect" => self.elect(),
            "crash" => self.crash(words),
            "wait" => self.wait(span(words.word(0)).0),
            "wake" => {
                self.now += span(words.word(0)).0;
                self.step(Event::Wake);
            }
            "settle" => self.settle(),
            "state" => self.print_state(),
            "nodes" => self.print_nodes(),
            "endpoints" => self.print_endpoints(words.word(0)),
            "explain" => self.explain(words.word(0)),
            "volumes" => self.print_volumes(),
            "history" => self.history(words.word(0)),
            "story" => self.print_story(),
            verb => panic!("no command `{verb}`"),
        }
    }
}

// The manager and its log.
impl Managed {
    fn step(&mut self, event: Event) {
        let actions = self.manager.step(Time(self.now), event);
        self.carry_out(actions);
        if !self.held {
            self.commit_all();
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Propose { proposal, at, actor, command } => {
                    self.proposed.push_back((proposal, at, actor, command))
                }
                Action::Send { session, message } => self.deliver(session, message),
                Action::Close(session) => self.closed(session),
                Action::Reply { id, result } => {
                    let text = match result {
                        Ok(Answer::Workload { uid, revision, version, created, task }) => {
                            let made = if created { "created" } else { "exists" };
                            let task = task.map_or_else(String::new, |task| format!(", task {task}"));
                            format!("{made} {uid}, revision {revision}, version {version}{task}")
                        }
                        Ok(Answer::Node { node, .. }) => format!("{node}"),
                        Ok(Answer::Done) => "done".to_string(),
                        Err(rejection) => format!("refused ({}): {rejection}", rejection.code.as_str()),
                    };
                    self.say(format!("reply {}: {text}", id.0));
                }
            }
        }
    }

    fn print_volumes(&mut self) {
        let cluster = self.manager.cluster();
        let line = |volume: &Volume| {
            let Volume { name, uid, node_name, .. } = volume;
            format!("{name} {uid} on {node_name}: used by {}", list(volume.users()))
        };
        let lines: Vec<String> = cluster.volumes().map(line).collect();
        self.say(if lines.is_empty() { "no volume".to_string() } else { lines.join("\n") });
    }

    fn append(&mut self, at: Time, actor: Actor, command: Command, proposal: Option<ProposalId>) {
        let last = self.log.last().map_or(Time(0), |entry| entry.at);
        let index = self.base.index + self.log.len() as u64 + 1;
        let wall_ms = 1_700_000_000_000 + self.now;
        let entry = Entry { index, term: self.term, at: at.max(last), wall_ms, actor, command };
        self.log.push(entry.clone());
        let text = self.entry_text(&entry);
        let actions = self.manager.step(Time(self.now), Event::Committed { entry, proposal });
        if let Some(text) = text {
            self.say(text);
        }
        self.carry_out(actions);
    }

    fn commit_all(&mut self) {
        let mut left = 1000;
        while let Some((proposal, at, actor, command)) = self.proposed.pop_front() {
            left -= 1;
            assert!(left > 0, "the manager does not come to rest");
            self.append(at, actor, command, Some(proposal));
        }
    }

    fn lose(&mut self) {
        let (proposal, ..) = self.proposed.pop_front().expect("something is held");
        let actions = self.manager.step(Time(self.now), Event::ProposalLost(proposal));
        self.carry_out(actions);
    }

    fn elect(&mut self) {
        self.term += 1;
        let (term, wall_ms) = (self.term, 1_700_000_000_000 + self.now);
        self.step(Event::Elected { term, seed: 7, cluster: ClusterId(0xabc), wall_ms });
    }

    /// The process is gone and comes back: what was not committed is lost, and so is every session.
    fn crash(&mut self, words: &Words) {
        self.proposed.clear();
        self.held = false;
        let before = self.manager.snapshot();
        let mut cluster = self.base.clone();
        self.log.iter().for_each(|entry| _ = cluster.apply(entry));
        assert_eq!(cluster.snapshot(), before, "the log gives the state that was live (I14)");
        self.manager = Manager::restore(cluster, Timing::default());
        self.peers.values_mut().for_each(|peer| peer.session = None);
        self.now += words.span("down", 0).0;
        self.elect();
    }

    /// The process ends, and another begins with the backup. Workers keep what they have.
    fn restore(&mut self) {
        self.proposed.clear();
        let backup = self.backup.clone().expect("a backup was taken");
        let epoch = self.manager.cluster().epoch + 1;
        self.base = Cluster::restore(backup.for_restore(epoch)).expect("a backup is a state");
        self.log.clear();
        self.term = self.base.term;
        self.manager = Manager::restore(self.base.clone(), Timing::default());
        self.peers.values_mut().for_each(|peer| peer.session = None);
        self.elect();
    }

    /// Time passes: workers beat, and the manager is woken when it asked for it.
    fn wait(&mut self, ms: u64) {
        let end = self.now + ms;
        let begun = self.now;
        while self.now < end {
            let beat = begun + ((self.now - begun) / 1000 + 1) * 1000;
            let due = self.manager.deadline().map_or(u64::MAX, |due| due.0.max(self.now));
            self.now = beat.min(due.max(self.now + 1)).min(end);
            if due <= self.now {
                self.step(Event::Wake);
            }
            if self.now == beat {
                let beating = self.peers.iter().filter(|(_, peer)| peer.beats && peer.session.is_some());
                let beating: Vec<String> = beating.map(|(name, _)| name.clone()).collect();
                beating.iter().for_each(|name| self.heartbeat(name));
            }
        }
    }
}

// Workers.
impl Managed {
    fn node(&mut self, words: &Words) {
        let name = words.word(0).to_string();
        let label = |pair: &str| pair.split_once('=').map(|(k, v)| (k.to_string(), v.to_string()));
        let (first, last) = words.text("ports", "20000-20099").split_once('-').expect("a range");
        let info = NodeInfo {
            uid: NodeUid(words.number("uid", self.peers.len() as u64 + 1)),
            name: name.clone(),
            labels: words.text("labels", "").split(',').filter_map(label).collect(),
            arch: "amd64".into(),
            os: "linux".into(),
            allocatable: Resources {
                cpu_millis: words.number("cpu", 4000),
                memory_bytes: bytes(words.text("mem", "8Gi")),
            },
            port_range: (first.parse().expect("a port"), last.parse().expect("a port")),
            address: None,
            versions: Versions { spec_level: words.number("level", SPEC_LEVEL), ..Versions::default() }.into(),
            allowed: grants(words.text("allow", "")).into(),
            pinned_ports: words.option("pins").map(|ranges| {
                let number = |text: &str| text.parse().expect("a port");
                let range = |text: &str| match text.split_once('-') {
                    Some((first, last)) => (number(first), number(last)),
                    None => (number(text), number(text)),
                };
                ranges.split(',').map(range).collect()
            }),
        };
        let peer = Peer {
            info,
            nonce: 1,
            session: None,
            beats: true,
            deaf: false,
            disk_full: false,
            orders: BTreeMap::new(),
            known: BTreeMap::new(),
            left_alone: BTreeSet::new(),
            heartbeats: 0,
            assigned_seq: 0,
            prefetches: words.words.contains(&"prefetches"),
            asked: BTreeSet::new(),
        };
        self.peers.insert(name, peer);
        self.connect(words, true);
    }

    /// `prefetched n0` or `prefetched n0 failed`: the answer to all that it was asked for.
    fn prefetched(&mut self, words: &Words) {
        let name = words.word(0);
        let asked = std::mem::take(&mut self.peers.get_mut(name).expect("a node").asked);
        assert!(!asked.is_empty(), "{name} was asked for no image");
        let failed = words.words.get(1) == Some(&"failed");
        let failure = failed.then(|| End::new(Reason::PullFailed, "no such image"));
        for (workload, version) in asked {
            self.send(name, ToManager::Prefetched { workload, version, failure: failure.clone() });
        }
    }

    fn hello(&mut self, name: &str, words: &Words) -> (SessionId, Hello) {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let peer = self.peers.get_mut(name).expect("a node");
        peer.nonce = words.number("nonce", peer.nonce);
        let cluster = words.option("cluster").map(|id| ClusterId(id.parse().expect("a number")));
        let inventory = peer.known.values().cloned().collect();
        let seen = (words.number("epoch", 1), words.number("seen", 0));
        (
            session,
            Hello {
                cluster,
                seen,
                nonce: peer.nonce,
                info: peer.info.clone(),
                inventory,
                takes_parts: true,
                prefetches: peer.prefetches,
            },
        )
    }

    /// A connection of the node's worker; a clone's is not the one that it goes on using.
    fn connect(&mut self, words: &Words, own: bool) {
        let name = words.word(0).to_string();
        let nonce = self.peers[&name].nonce;
        let (session, hello) = self.hello(&name, words);
        let peer = self.peers.get_mut(&name).expect("just used");
        if own {
            peer.session = Some(session);
        } else {
            peer.nonce = nonce;
        }
        self.session_names.insert(session, if own { name } else { format!("clone of {name}") });
        self.step(Event::Message { session, message: ToManager::Register(hello) });
    }

    /// Another machine under a name that is taken.
    fn stranger(&mut self, words: &Words) {
        let name = words.word(0).to_string();
        let (session, mut hello) = self.hello(&name, words);
        hello.info.uid = NodeUid(999);
        hello.inventory.clear();
        self.session_names.insert(session, format!("stranger as {name}"));
        self.step(Event::Message { session, message: ToManager::Register(hello) });
    }

    fn send(&mut self, name: &str, message: ToManager) {
        if let Some(session) = self.peers[name].session {
            self.step(Event::Message { session, message });
        }
    }

    fn heartbeat(&mut self, name: &str) {
        let peer = self.peers.get_mut(name).expect("a node");
        peer.heartbeats += 1;
        let (seq, assigned_seq, disk_full) = (peer.heartbeats, peer.assigned_seq, peer.disk_full);
        let message = ToManager::Heartbeat { seq, assigned_seq, disk_full };
        self.send(name, message);
    }

    fn close(&mut self, name: &str) {
        if let Some(session) = self.peers.get_mut(name).and_then(|peer| peer.session.take()) {
            self.step(Event::SessionClosed(session));
        }
    }

    fn closed(&mut self, session: SessionId) {
        let name = self.session_names.get(&session).cloned().unwrap_or_default();
        let own = self.peers.get_mut(&name).filter(|peer| peer.session == Some(session));
        if let Some(peer) = own {
            peer.session = None;
        }
        self.say(format!("closed: {name}"));
    }

    fn deliver(&mut self, session: SessionId, message: ToWorker) {
        let name = self.session_names.get(&session).cloned().unwrap_or_default();
        let talk = self.message_text(&message);
        if let Some(text) = talk.filter(|_| self.talk || matches!(message, ToWorker::Refused { .. })) {
            self.say(format!("to {name}: {text}"));
        }
        let Some(peer) = self.peers.get_mut(&name).filter(|peer| peer.session == Some(session) && !peer.deaf) else {
            return;
        };
        match message {
            ToWorker::Prefetch { workload, version, .. } => _ = peer.asked.insert((workload, version)),
            ToWorker::Welcome(Welcome { assigned, .. }) | ToWorker::Assigned(assigned) => {
                if !assigned.full && assigned.seq != peer.assigned_seq + 1 {
                    return;
                }
                peer.assigned_seq = assigned.seq;
                if assigned.full {
                    peer.orders.clear();
                    // What is only named goes on as it is.
                    let Peer { known, left_alone, .. } = peer;
                    let named = |task: &TaskId| assigned.follow.contains(task);
                    *left_alone = known.keys().copied().filter(named).collect();
                }
                for gone in assigned.removed {
                    peer.orders.remove(&gone);
                    peer.left_alone.remove(&gone);
                    peer.known.remove(&gone);
                }
                let orders = assigned.tasks.into_iter().map(|order| (order.task, (order.desired, order.ended)));
                peer.orders.extend(orders);
                let Peer { orders, known, left_alone, .. } = peer;
                known.retain(|task, _| orders.contains_key(task) || left_alone.contains(task));
            }
            _ => {}
        }
    }

    fn report(&mut self, words: &Words) {
        let (id, state) = (self.find(words.word(0)), state(words.word(1)));
        let on = self.manager.cluster().task(id).and_then(|task| task.node);
        let on = on.and_then(|node| self.manager.cluster().node(node)).map(|node| node.info.name.clone());
        let name = words.option("from").map(str::to_string).or(on).expect("the task has a node");
        let ended_ago = words.span("ago", 0);
        let (probed, why) = (probed(words), words.text("why", "").to_string());
        // `aa` is short for the digest of so many.
        let long = |short: &str| match short.len() {
            2 => format!("sha256:{}", short.repeat(32)),
            _ => short.to_string(),
        };
        let (digest, image_id) = (words.option("digest").map(long), words.option("build").map(long));
        let report =
            TaskReport { ended_ago, probed, why, digest, image_id, ..TaskReport::new(id, state, end(words, state)) };
        self.tell(&name, words.number("seq", 0), report);
    }

    fn tell(&mut self, name: &str, seq: u64, report: TaskReport) {
        self.peers.get_mut(name).expect("a node").known.insert(report.task, report.clone());
        self.send(name, ToManager::Report { seq, reports: vec![report] });
    }

    /// An entry of somebody else's: a report under the incarnation that is given.
    fn raw_report(&mut self, words: &Words) {
        let (task, state) = (self.find(words.word(0)), state(words.word(1)));
        let node = self.manager.cluster().node_named(words.text("from", "n0")).expect("a node").id;
        let incarnation = words.number("incarnation", 0);
        let reports = vec![TaskReport::new(task, state, end(words, state))];
        self.append(Time(0), Actor::Worker, Command::Reports(vec![NodeReports { node, incarnation, reports }]), None);
        self.commit_all();
    }

    /// Every worker that beats does what it was told, until there is nothing left to do.
    fn settle(&mut self) {
        for _ in 0..100 {
            let mut news = Vec::new();
            for (name, peer) in self.peers.iter().filter(|(_, peer)| peer.beats && peer.session.is_some()) {
                for (id, (desired, ended)) in &peer.orders {
                    let state = if *desired == Desired::Running { TaskState::Running } else { TaskState::Stopped };
                    let end = state.is_terminal().then(|| End::new(Reason::Stopped, ""));
                    let report = TaskReport::new(*id, state, end);
                    if !ended && peer.known.get(id).is_none_or(|known| known.state < state) {
                        news.push((name.clone(), report));
                    }
                }
            }
            if news.is_empty() {
                return;
            }
            news.into_iter().for_each(|(name, report)| self.tell(&name, 0, report));
        }
        panic!("the workers do not come to rest");
    }
}

// Users.
impl Managed {
    fn condition(words: &Words) -> Condition {
        match words.option("match") {
            None => Condition::None,
            Some("absent") => Condition::Absent,
            Some(revision) => Condition::Revision(revision.parse().expect("a revision")),
        }
    }

    fn put(words: &Words, kind: Kind) -> Request {
        let policy = match words.text("policy", if kind == Kind::Service { "always" } else { "never" }) {
            "always" => RestartPolicy::Always,
            "on_failure" => RestartPolicy::OnFailure,
            _ => RestartPolicy::Never,
        };
        let keeps_replicas = words.option("replicas") == Some("kept");
        let definition = Definition {
            kind,
            name: words.word(0).to_string(),
            labels: BTreeMap::new(),
            replicas: if keeps_replicas { 1 } else { words.number("replicas", 1) },
            update: update(words),
            spec: spec(words, policy),
        };
        let idempotency_key = words.option("key").map(str::to_string);
        Request::Put(Put { definition, condition: Self::condition(words), keeps_replicas, idempotency_key })
    }

    fn request(&mut self, words: &Words) {
        self.requests += 1;
        let id = RequestId(self.requests);
        let kind = |text| if text == "task" { Kind::Task } else { Kind::Service };
        let request = match words.verb {
            "service" => Self::put(words, Kind::Service),
            "task" => Self::put(words, Kind::Task),
            "scale" => Request::Scale {
                name: words.word(0).to_string(),
                replicas: words.word(1).parse().expect("a number"),
                condition: Self::condition(words),
            },
            "restart" => Request::Restart { name: words.word(0).to_string(), condition: Self::condition(words) },
            "delete" => {
                let name = words.word(1).to_string();
                Request::Delete { kind: kind(words.word(0)), name, condition: Self::condition(words) }
            }
            "stop" => Request::StopTask(self.find(words.word(0))),
            "logs" => Request::Open(StreamRequest {
                token: StreamToken([1; 16]),
                task: self.find(words.word(0)),
                what: StreamOf::Logs(LogRange::default()),
            }),
            "decide" => Request::SettleUnknown { adopt: words.word(0) == "adopt" },
            "rmvolume" => Request::RemoveVolume { name: words.word(0).to_string() },
            "forget" => Request::Forget { name: words.word(0).to_string() },
            "pause" | "resume" | "promote" | "undo" => Request::Rollout {
                name: words.word(0).to_string(),
                order: match words.verb {
                    "pause" => RolloutOrder::Pause,
                    "resume" => RolloutOrder::Resume,
                    "promote" => RolloutOrder::Promote,
                    _ => RolloutOrder::Undo { to: words.option("to").map(|to| to.parse().expect("a version")) },
                },
                condition: Self::condition(words),
            },
            verb => {
                let order = match verb {
                    "cordon" => AvailabilityOrder::Cordon,
                    "uncordon" => AvailabilityOrder::Uncordon,
                    _ => AvailabilityOrder::Drain { deadline: words.option("deadline").map(span) },
                };
                Request::SetAvailability { name: words.word(0).to_string(), order }
            }
        };
        self.step(Event::Request { id, actor: Actor::Local, request });
    }

    /// `web/0`, `web/0~1` or an ID.
    fn find(&self, text: &str) -> TaskId {
        if let Ok(id) = text.parse() {
            return id;
        }
        let (name, slot) = text.split_once('/').expect("a task is NAME/SLOT");
        let (slot, back) = slot.split_once('~').unwrap_or((slot, "0"));
        let (slot, back): (usize, usize) = (slot.parse().expect("a slot"), back.parse().expect("a number"));
        let cluster = self.manager.cluster();
        // The living one of the name first.
        let workload = cluster.workloads().filter(|w| &*w.name == name).min_by_key(|w| w.deleting);
        let slot = &workload.unwrap_or_else(|| panic!("no workload {name}")).slots[slot];
        let attempt = cluster.attempts(slot).nth(back);
        attempt.unwrap_or_else(|| panic!("no such attempt: {text}")).id
    }
}

// What is printed.
impl Managed {
    fn task_text(&self, id: TaskId) -> String {
        let cluster = self.manager.cluster();
        match cluster.task(id) {
            None => format!("{id}"),
            Some(task) => {
                let name = cluster.workload(task.workload).map_or("?", |w| &w.name);
                format!("{name}/{} {id}", task.slot)
            }
        }
    }

    fn node_text(&self, id: NodeId) -> String {
        self.manager.cluster().node(id).map_or_else(|| id.to_string(), |node| node.info.name.clone())
    }

    fn target_text(&self, target: &Target) -> String {
        let ports: Vec<String> = target.host_ports.iter().map(u16::to_string).collect();
        let ports = if ports.is_empty() { String::new() } else { format!(":{}", ports.join("+")) };
        format!("{}{ports}", self.node_text(target.node))
    }

    /// Requests and registrations are told by their replies.
    fn entry_text(&self, entry: &Entry) -> Option<String> {
        let cluster = self.manager.cluster();
        let text = match &entry.command {
            Command::Register(registration) => format!("register {}", registration.info.name),
            Command::Reach(changes) => list(changes.iter().map(|change| match change.reach {
                Reach::Reachable => format!("{} is back", self.node_text(change.node)),
                Reach::Unreachable { silent_since } => {
                    format!("{} is lost, silent since {silent_since}", self.node_text(change.node))
                }
            })),
            Command::Disks(changes) => list(changes.iter().map(|change| {
                format!(
                    "the disk of {} {}",
                    self.node_text(change.node),
                    if change.full { "is full" } else { "has room" }
                )
            })),
            Command::SettleUnknown { adopt } => {
                format!("what is unknown is {}", if *adopt { "left alone" } else { "to go" })
            }
            Command::RemoveVolume { name } => format!("give up volume {name}"),
            Command::Reports(nodes) => {
                let report = |r: &TaskReport| format!("{} {}{}", self.task_text(r.task), r.state, found_text(r.probed));
                format!("report {}", list(nodes.iter().flat_map(|it| &it.reports).map(report)))
            }
            Command::PrefetchFailed { node, version, end, .. } => {
                format!("{} cannot have the image of version {version}: {end}", self.node_text(*node))
            }
            Command::Plan(plan) => {
                let name = |uid: &Uid| cluster.workload(*uid).map_or("?", |w| &w.name).to_string();
                let mut parts = Vec::new();
                parts.extend(plan.stops.iter().map(|id| format!("stop {}", self.task_text(*id))));
                parts.extend(plan.removes.iter().map(|id| format!("remove {}", self.task_text(*id))));
                for create in &plan.creates {
                    let target = create.target.as_ref();
                    let target = target.map_or("nowhere".to_string(), |target| self.target_text(target));
                    parts.push(format!("create {}/{} on {target}", name(&create.workload), create.slot));
                }
                for place in &plan.places {
                    parts.push(format!("place {} on {}", self.task_text(place.task), self.target_text(&place.target)));
                }
                parts.extend(plan.trims.iter().map(|(uid, len)| format!("trim {} to {len}", name(uid))));
                parts.extend(plan.drops.iter().map(|uid| format!("drop {}", name(uid))));
                let step = |(uid, version, step): &(Uid, u32, RolloutStep)| match step {
                    RolloutStep::Extend => format!("more of {} v{version} serve", name(uid)),
                    RolloutStep::AwaitPromotion => format!("canaries of {} v{version} serve", name(uid)),
                    RolloutStep::Fail => format!("{} v{version} has failed", name(uid)),
                    RolloutStep::Finish => format!("{} v{version} is rolled out", name(uid)),
                };
                parts.extend(plan.rollouts.iter().map(step));
                if parts.is_empty() {
                    parts.extend(plan.decisions.iter().map(|(uid, _)| format!("note on {}", name(uid))));
                }
                format!("plan: {}", list(parts))
            }
            _ => return None,
        };
        Some(format!("{:>8} {text}", entry.at.to_string()))
    }

    fn message_text(&self, message: &ToWorker) -> Option<String> {
        let orders = |assigned: &Assigned| {
            let order = |order: &Assignment| {
                let wanted = match (order.ended, order.desired) {
                    (true, _) => "ended",
                    (false, Desired::Running) => "run",
                    (false, Desired::Stopped) => "stop",
                };
                let image = match &order.image {
                    ImageBytes::Digest(digest) => format!(" as {}", &digest[..9]),
                    ImageBytes::AsWritten | ImageBytes::Unresolved => String::new(),
                };
                format!("{wanted} {} (generation {}){image}", self.task_text(order.task), order.generation)
            };
            let removed = assigned.removed.iter().map(|id| format!("remove {id}"));
            let what = if assigned.full { "everything" } else { "difference" };
            format!("{what} {}: {}", assigned.seq, list(assigned.tasks.iter().map(order).chain(removed)))
        };
        Some(match message {
            ToWorker::Welcome(welcome) => format!("welcome, {}", orders(&welcome.assigned)),
            ToWorker::Refused { message } => format!("refused: {message}"),
            ToWorker::Assigned(assigned) => orders(assigned),
            ToWorker::HeartbeatAck { .. } => return None,
            ToWorker::Committed { states, .. } => {
                let state =
                    |(id, state, probed): &ReportKey| format!("{} {state}{}", self.task_text(*id), found_text(*probed));
                format!("committed: {}", list(states.iter().map(state)))
            }
            ToWorker::Probe => "are you there?".to_string(),
            ToWorker::Prefetch { version, image, .. } => format!("have {image} for version {version}"),
            ToWorker::Open(request) => format!("open a stream to {}", self.task_text(request.task)),
        })
    }

    fn attempt_text(&self, task: &Task) -> String {
        let mut text = format!("{} v{} {}", task.id, task.version, task.state);
        if task.desired == Desired::Stopped && !task.state.is_terminal() {
            text += ", told to stop,";
        } else if task.is_unhealthy() {
            text += ", unhealthy,";
        } else if task.state == TaskState::Running && !task.serves() {
            text += ", not ready,";
        }
        if let Some(node) = task.node {
            text += &format!(" on {}", self.node_text(node));
        }
        if !task.host_ports.is_empty() {
            text += &format!(" ports {}", list(task.host_ports.iter()));
        }
        if let Some(end) = &task.end {
            let code = end.exit_code.map_or_else(String::new, |code| format!(" {code}"));
            text += &format!(" ({}{code})", end.reason.as_str());
        }
        text
    }

    fn print_endpoints(&mut self, service: &str) {
        let cluster = self.manager.cluster();
        let workload = cluster.workload_named(Kind::Service, service).expect("a service");
        let endpoint = |task: &Task| {
            let node = cluster.node_of(task).map_or("?", |node| &node.info.name);
            let ports = task.host_ports.iter().map(|port| format!(":{port}")).collect::<String>();
            format!("{} v{} on {node}{ports}", task.id, task.version)
        };
        let line = format!("endpoints {}", list(cluster.endpoints(workload).into_iter().map(endpoint)));
        self.say(line);
    }

    /// Every slot with what has not ended in it, or the newest attempt if all have.
    fn print_state(&mut self) {
        let cluster = self.manager.cluster();
        let mut lines = Vec::new();
        for workload in cluster.workloads() {
            let deleting = if workload.deleting { ", being deleted" } else { "" };
            lines.push(format!(
                "{} {} {}: {} of {} slots, version {}{}{deleting}",
                workload.kind,
                workload.name,
                workload.uid,
                workload.slots.len(),
                workload.replicas,
                workload.version,
                workload.rollout.map(rollout_text).unwrap_or_default(),
            ));
            for (number, slot) in workload.slots.iter().enumerate() {
                let open: Vec<&Task> = cluster.attempts(slot).filter(|task| !task.state.is_terminal()).collect();
                let shown = if open.is_empty() { cluster.attempts(slot).take(1).collect() } else { open };
                let failures = match slot.failures {
                    0 => String::new(),
                    n => format!(" [{n} failures]"),
                };
                let shown = shown.into_iter().map(|task| self.attempt_text(task));
                lines.push(format!("  {number}: {}{failures}", list(shown)));
            }
        }
        self.say(if lines.is_empty() { "nothing".to_string() } else { lines.join("\n") });
    }

    /// The versions that are remembered.
    fn print_versions(&mut self, service: &str) {
        let workload = self.manager.cluster().workload_named(Kind::Service, service).expect("a service");
        let mark = |holds: bool, what| if holds { what } else { "" };
        let line = |version: &Version| {
            let current = mark(version.number == workload.version, ", current");
            let stable = mark(version.was_stable, ", served in every slot");
            let restart = mark(version.is_restart, ", a restart");
            let digest = version.digest.as_ref().map(|digest| format!(", is {}", &digest[..9])).unwrap_or_default();
            format!(
                "v{} {} of {}{restart}{stable}{current}{digest}",
                version.number, version.spec.container.image, version.created_at
            )
        };
        let lines: Vec<String> = workload.versions.iter().map(line).collect();
        self.say(lines.join("\n"));
    }

    fn history(&mut self, name: &str) {
        let cluster = self.manager.cluster();
        let workload = cluster.workloads().find(|w| &*w.name == name).expect("a workload");
        let mut lines = Vec::new();
        for (number, slot) in workload.slots.iter().enumerate() {
            lines.extend(cluster.attempts(slot).map(|task| format!("{number}: {}", self.attempt_text(task))));
        }
        self.say(lines.join("\n"));
    }

    fn print_story(&mut self) {
        let cluster = self.manager.cluster();
        let line = |event: &HistoryEvent| {
            let HistoryEvent { index, actor, what, subject, task, node, node_name, message, .. } = event;
            let subject = match subject {
                Subject::Workload(kind, _, name) => format!("{kind} {name}"),
                Subject::Node => "node".to_string(),
            };
            let on = node.map(|_| format!(" on {node_name}"));
            let task = task.map(|id| format!(" {id}"));
            let (on, task) = (on.unwrap_or_default(), task.unwrap_or_default());
            format!("{index:>4} {actor}: {what} {subject}{task}{on}: {message}")
        };
        let lines: Vec<String> = cluster.history().iter().map(line).collect();
        lines.into_iter().for_each(|line| self.say(line));
    }

    fn print_nodes(&mut self) {
        let nodes = self.manager.cluster().nodes();
        let line = |node: &Node| {
            let reach = match node.reach {
                Reach::Reachable => "reachable".to_string(),
                Reach::Unreachable { silent_since } => format!("silent since {silent_since}"),
            };
            let availability = match node.availability {
                Availability::Active => String::new(),
                Availability::Cordoned => ", cordoned".to_string(),
                Availability::Draining { .. } if self.manager.cluster().is_drained(node.id) => ", drained".to_string(),
                Availability::Draining { deadline: None, .. } => ", draining".to_string(),
                Availability::Draining { deadline: Some(at), .. } => format!(", draining until {at}"),
            };
            let availability = match node.disk_full_since {
                None => availability,
                Some(since) => format!("{availability}, its disk full since {since}"),
            };
            let availability = match node.unknown.is_empty() {
                true => availability,
                false => format!("{availability}, left alone {}", list(&node.unknown)),
            };
            let Node { id, info, .. } = node;
            format!("{id} {}: {reach}{availability}, {} of {}", info.name, node.used(), info.allocatable)
        };
        let lines: Vec<String> = nodes.map(line).collect();
        self.say(lines.join("\n"));
    }

    fn explain(&mut self, name: &str) {
        let cluster = self.manager.cluster();
        let workload = cluster.workloads().find(|w| &*w.name == name).expect("a workload");
        let mut lines = Vec::new();
        if let Some(decision) = &workload.decision {
            lines.push(format!("{} placed, {} not", decision.placed, decision.unplaced));
            let refusals = decision.refusals.iter();
            lines.extend(refusals.map(|r| format!("  {} nodes: {} ({})", r.nodes, r.example, r.filter)));
            let best = decision.best.iter();
            let best: Vec<String> = best.map(|(node, score)| format!("{} {score}", self.node_text(*node))).collect();
            lines.push(format!("  best: {}", list(best)));
        }
        self.say(lines.join("\n"));
    }
}

/// `, paused` and the like; nothing while it runs, and when it is done.
fn rollout_text(rollout: Rollout) -> String {
    let state = match rollout.state {
        RolloutState::Running | RolloutState::Done => "",
        RolloutState::Paused => ", paused",
        RolloutState::Canary => ", waits to be promoted",
        RolloutState::Failed => ", failed",
    };
    let instead = rollout.failed.map(|version| format!(" instead of {version}"));
    format!("{}{state}", instead.unwrap_or_default())
}

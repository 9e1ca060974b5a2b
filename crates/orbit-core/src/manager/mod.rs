//! The manager's pure machine: it decides what should run where.
//!
//! Order of calls: [`Manager::restore`], then [`Manager::step`] with [`Event::Elected`], then `step`
//! with each further event. Carry out the actions of a step, in order, before the next step. Sleep
//! until [`Manager::deadline`] at most, then send [`Event::Wake`].
//!
//! The machine proposes each change of the replicated state, the shell makes it durable and returns it as
//! [`Event::Committed`], and only then is a request answered. The leader makes the plans. [`Cluster::apply`]
//! checks them again, and is the only function that changes the state.
//!
//! `planner` decides which workloads to look at, `leases` which nodes are unreachable, `sessions` which
//! worker is connected, and `dispatcher` what each node is told. `view` is what readers see.

mod dispatcher;
mod leases;
mod planner;
mod prefetch;
mod requests;
mod rooms;
mod sessions;
mod view;
mod workers;

pub use dispatcher::MESSAGE_BYTES;
pub use leases::Brake;
pub use planner::{FINISHED_MAX, PLAN_TASKS_MAX};
pub use sessions::SessionId;
pub use view::{Lead, View};

use crate::{
    model::*,
    reconciler::{Changes, Outage},
    state::{Cluster, Snapshot},
};
use dispatcher::Dispatcher;
use leases::Leases;
use planner::Planner;
use sessions::{PendingSession, Sessions};
use std::collections::{BTreeMap, BTreeSet};
use view::LeadRef;

/// About how many reports go into one entry at most.
const REPORTS_MAX: usize = 10_000;

/// The number of a proposal. The machine assigns it, and the shell returns it with the committed entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId(pub u64);

/// The number of a request. The shell assigns it, and the reply returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What happens to a manager.
#[derive(Clone, Debug)]
pub enum Event {
    /// This replica leads from now on. It was given every entry that was committed before.
    Elected {
        /// Higher than every term before.
        term: u64,
        /// Fresh randomness.
        seed: u64,
        /// The cluster's ID, if it has none yet.
        cluster: ClusterId,
        /// The wall clock in milliseconds since 1970, to know how long the cluster was without a
        /// leader.
        wall_ms: u64,
    },
    /// This replica leads no longer.
    Deposed,
    /// An entry is durable.
    Committed {
        /// The entry, with the next index.
        entry: Entry,
        /// The proposal of this process that became the entry, if it was one.
        proposal: Option<ProposalId>,
    },
    /// Nobody knows whether the proposal will be committed, so the answer must claim neither.
    ProposalLost(ProposalId),
    /// A snapshot replaces the state.
    Install(Box<Snapshot>),
    /// A user asks for something.
    Request {
        /// Named by the reply.
        id: RequestId,
        /// Who asks.
        actor: Actor,
        /// What is asked for.
        request: Request,
    },
    /// A worker says something.
    Message {
        /// The connection.
        session: SessionId,
        /// What it says.
        message: ToManager,
    },
    /// A connection has ended.
    SessionClosed(SessionId),
    /// The deadline has come.
    Wake,
}

/// What a user can ask for. A read needs no request: the shell answers it from a [`View`] of its own replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant, reason = "short-lived, one at a time")]
pub enum Request {
    /// Create or change a workload.
    Put(Put),
    /// Change a service's number of replicas.
    Scale {
        /// The service's name.
        name: String,
        /// The new number.
        replicas: u32,
        /// If-Match.
        condition: Condition,
    },
    /// Replace every task of a service by one of the same spec.
    Restart {
        /// The service's name.
        name: String,
        /// If-Match.
        condition: Condition,
    },
    /// Pause, resume, promote or undo a service's rollout.
    Rollout {
        /// The service's name.
        name: String,
        /// What is wanted.
        order: RolloutOrder,
        /// If-Match.
        condition: Condition,
    },
    /// Delete a workload.
    Delete {
        /// Service or task definition.
        kind: Kind,
        /// Its name.
        name: String,
        /// If-Match.
        condition: Condition,
    },
    /// Stop one attempt.
    StopTask(TaskId),
    /// A node is gone for good.
    Forget {
        /// Its name.
        name: String,
    },
    /// Give a volume up.
    RemoveVolume {
        /// Its name.
        name: String,
    },
    /// Say what becomes of tasks from before a restore that the state does not know.
    SettleUnknown {
        /// They are left alone for good, and not removed.
        adopt: bool,
    },
    /// Change the availability of a node.
    SetAvailability {
        /// Its name.
        name: String,
        /// What is wanted.
        order: AvailabilityOrder,
    },
    /// Have a worker dial a stream to something of a task's container.
    Open(StreamRequest),
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "short-lived: carried out directly after its step")]
pub enum Action {
    /// Append to the log; once durable, come back with [`Event::Committed`].
    Propose {
        /// Returned with the committed entry.
        proposal: ProposalId,
        /// The entry's time, if the last entry's is not later.
        at: Time,
        /// Who asked for it.
        actor: Actor,
        /// The entry's content.
        command: Command,
    },
    /// Send to a worker. Dropped if the connection has ended.
    Send {
        /// The connection.
        session: SessionId,
        /// What to send.
        message: ToWorker,
    },
    /// End a connection, after what was sent before.
    Close(SessionId),
    /// Answer a user.
    Reply {
        /// The request.
        id: RequestId,
        /// What to say.
        result: Result<Answer, Rejection>,
    },
}

/// The manager's machine.
#[derive(Clone, Debug)]
pub struct Manager {
    cluster: Cluster,
    timing: Timing,
    /// Counts proposals over all terms of this process, so that a proposal of an earlier term is never
    /// taken for a later one.
    proposals: u64,
    leader: Option<Leader>,
}

/// What only the leader remembers. All of it may be lost: the next election rebuilds it.
#[derive(Clone, Debug)]
struct Leader {
    /// Cluster time and the caller's time at the election.
    elected: (Time, Time),
    /// The wall clock at the election, in milliseconds since 1970.
    elected_wall_ms: u64,
    /// The barrier is committed, so the leader knows everything that was committed before its term.
    barrier_passed: bool,
    proposals: u64,
    /// What each outstanding proposal is for.
    outstanding: BTreeMap<ProposalId, Purpose>,
    /// How many of them are users' requests. The others are bounded by what they are for: one of each, one of a session, or one
    /// of an image that was asked for on a node.
    requests_outstanding: usize,
    /// The time of the last proposal: entries do not go back.
    proposed_at: Time,
    planner: Planner,
    leases: Leases,
    sessions: Sessions,
    dispatcher: Dispatcher,
    plan_outstanding: bool,
    reach_outstanding: bool,
    reports_outstanding: bool,
    disks_outstanding: bool,
    /// Unreachable nodes whose heartbeats have come again.
    returned: BTreeSet<NodeId>,
    /// What nodes said of their disks last, where the state has something else: whether they are full.
    disks: BTreeMap<NodeId, bool>,
    /// Reports that came since the last entry of reports was proposed.
    reports: Vec<(SessionId, u64, NodeReports)>,
    /// The last deadline that the caller was given.
    due: Option<Time>,
    /// When the last step was.
    stepped_at: Time,
}

/// When it was elected, whether it is ready, and how often the leases' brake has changed; nothing where it does not lead.
pub type LeadChanges = Option<((Time, Time), u64, bool, u64)>;

/// What one report said that is on its way through the log.
#[derive(Clone, Debug)]
struct ProposedReports {
    session: SessionId,
    seq: u64,
    keys: Vec<ReportKey>,
}

#[derive(Clone, Debug)]
enum Purpose {
    Init,
    Barrier,
    Request(RequestId, Actor),
    Register(SessionId),
    Reports(Vec<ProposedReports>),
    PrefetchFailed,
    Reach,
    Disks,
    Plan,
}

// Getters.
impl Manager {
    /// The replicated state, at the last applied entry.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
    /// The state without indexes, to compare and to store.
    pub fn snapshot(&self) -> Snapshot {
        self.cluster.snapshot()
    }
    /// The timing that it was made with.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }
    /// What a reader of this replica sees.
    pub fn read<T>(&self, look: impl FnOnce(View) -> T) -> T {
        let heard_at = |node| self.leader.as_ref().map_or(Time(0), |leader| leader.leases.heard_at(node));
        let lead = self.leader.as_ref().map(|leader| LeadRef {
            ready: leader.barrier_passed,
            elected: leader.elected,
            elected_wall_ms: leader.elected_wall_ms,
            brake: leader.leases.brake(),
            heard_at: Some(&heard_at),
        });
        look(View::of_leader(&self.cluster, &self.timing, lead))
    }
    /// What a reader on another thread has to be told beside the log. `None` if this replica does not lead.
    pub fn lead(&self) -> Option<Lead> {
        self.leader.as_ref().map(|leader| Lead {
            ready: leader.barrier_passed,
            elected: leader.elected,
            elected_wall_ms: leader.elected_wall_ms,
            brake: leader.leases.brake().clone(),
        })
    }
    /// Changes whenever [`Manager::lead`] changes. It is cheap to ask after every step.
    pub fn lead_changes(&self) -> LeadChanges {
        let leader = self.leader.as_ref()?;
        Some((leader.elected, leader.elected_wall_ms, leader.barrier_passed, leader.leases.changes()))
    }
    /// Whether this replica leads and knows everything that was committed before its term.
    pub fn is_ready(&self) -> bool {
        self.read(|view| view.is_ready())
    }
    /// As [`View::cluster_time`].
    pub fn cluster_time(&self, now: Time) -> Time {
        self.read(|view| view.cluster_time(now))
    }
    /// As [`View::wall_ms`].
    pub fn wall_ms(&self, at: Time) -> u64 {
        self.read(|view| view.wall_ms(at))
    }
    /// As [`View::outages`].
    pub fn outages(&self) -> BTreeMap<NodeId, Outage> {
        self.read(|view| view.outages())
    }
    /// What the next plan would change of a workload; nothing once the manager has come to rest (invariant I24). `None` if it
    /// does not lead.
    pub fn changes(&self, workload: &Workload, at: Time) -> Option<Changes> {
        let (outages, replace_after) = (self.outages(), self.timing.replace_after);
        let planner = &self.leader.as_ref()?.planner;
        Some(planner.changes(&self.cluster, workload, at, &outages, replace_after))
    }
    /// The live sessions, each with its node and its registration.
    pub fn connected(&self) -> impl Iterator<Item = (SessionId, NodeId, u64)> + '_ {
        self.leader.iter().flat_map(|leader| leader.sessions.live())
    }
    /// When to send [`Event::Wake`] at the latest, on the caller's clock.
    pub fn deadline(&self) -> Option<Time> {
        let leader = self.leader.as_ref()?;
        let due = leader.due?;
        Some(leader.elected.1 + due.since(leader.elected.0))
    }
}

impl Manager {
    /// A manager that follows, with the state of a snapshot. The entries after it are given with
    /// [`Event::Committed`].
    pub fn restore(cluster: Cluster, timing: Timing) -> Manager {
        Manager { cluster, timing, proposals: 0, leader: None }
    }

    /// Takes in one event. Carry out all actions, in order, before the next step.
    ///
    /// `now` is the caller's monotonic clock; its zero does not matter, and it does not go back.
    pub fn step(&mut self, now: Time, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.forgive_own_outage(now);
        match event {
            Event::Elected { term, seed, cluster, wall_ms } => {
                self.elected(now, term, seed, cluster, wall_ms, &mut actions);
            }
            Event::Deposed => self.deposed(&mut actions),
            Event::Committed { entry, proposal } => self.committed(now, &entry, proposal, &mut actions),
            Event::ProposalLost(proposal) => self.proposal_lost(proposal, &mut actions),
            Event::Install(snapshot) => {
                self.cluster = Cluster::restore(*snapshot).expect("the shell has checked the snapshot");
            }
            Event::Request { id, actor, request } => self.request(now, id, actor, request, &mut actions),
            Event::Message { session, message } => self.message(now, session, message, &mut actions),
            Event::SessionClosed(session) => {
                if let Some(leader) = &mut self.leader {
                    leader.close(session);
                }
            }
            Event::Wake => {}
        }
        self.follow_up(now, &mut actions);
        actions
    }

    /// Re-arms all leases after a pause of this process, because the nodes are not to blame for it. The process was
    /// paused if a step comes more than a heartbeat after it was due. It was also paused if no step came for longer
    /// than a lease and a heartbeat: while a sync lasts, nothing may be due.
    fn forgive_own_outage(&mut self, now: Time) {
        let Some(leader) = &mut self.leader else { return };
        let at = leader.time(now);
        let Timing { heartbeat, lease, .. } = self.timing;
        let overdue = leader.due.is_some_and(|due| at > due + heartbeat);
        let silent = at > leader.stepped_at + lease + heartbeat;
        if overdue || silent {
            leader.leases.rearm(&self.cluster, at, &self.timing);
            leader.leases.nodes_changed(&self.cluster, at, &self.timing);
            leader.planner.look_at_silent(&self.cluster);
        }
        leader.stepped_at = at;
    }
}

// Leading.
impl Manager {
    fn elected(&mut self, now: Time, term: u64, seed: u64, id: ClusterId, wall_ms: u64, actions: &mut Vec<Action>) {
        assert!(term > self.cluster.term, "a new leader has a higher term");
        self.deposed(actions);
        let since = if self.cluster.wall_ms == 0 { 0 } else { wall_ms.saturating_sub(self.cluster.wall_ms) };
        let at = self.cluster.at + Millis(since);
        let mut leader = Leader {
            elected: (at, now),
            elected_wall_ms: wall_ms,
            barrier_passed: false,
            proposals: self.proposals,
            outstanding: BTreeMap::new(),
            requests_outstanding: 0,
            proposed_at: at,
            planner: Planner::default(),
            leases: Leases::default(),
            sessions: Sessions::default(),
            dispatcher: Dispatcher::default(),
            plan_outstanding: false,
            reach_outstanding: false,
            reports_outstanding: false,
            disks_outstanding: false,
            returned: BTreeSet::new(),
            disks: BTreeMap::new(),
            reports: Vec::new(),
            due: None,
            stepped_at: at,
        };
        if self.cluster.id.is_none() {
            leader.propose(now, Purpose::Init, Command::Init { cluster: id }, actions);
        }
        leader.propose(now, Purpose::Barrier, Command::Barrier { seed }, actions);
        self.leader = Some(leader);
    }

    fn deposed(&mut self, actions: &mut Vec<Action>) {
        let Some(leader) = self.leader.take() else { return };
        self.proposals = leader.proposals;
        for purpose in leader.outstanding.into_values() {
            // Its entry may be committed yet, by this replica or by another.
            if let Purpose::Request(id, _) = purpose {
                let result =
                    Err(unavailable("lost the lead: it is not known whether this was done: look, then ask again"));
                actions.push(Action::Reply { id, result });
            }
        }
        actions.extend(leader.sessions.ids().map(Action::Close));
    }

    fn committed(&mut self, now: Time, entry: &Entry, proposal: Option<ProposalId>, actions: &mut Vec<Action>) {
        let Outcome { answer, touched } = self.cluster.apply(entry);
        let Some(leader) = &mut self.leader else { return };
        let purpose = proposal.and_then(|proposal| leader.is_through(proposal));
        leader.planner.touch(&self.cluster, &touched);
        leader.dispatcher.changed(&touched.tasks);
        leader.dismiss_forgotten(&self.cluster, &touched, actions);
        let at = leader.time(now);
        if touched.reach_changed {
            touched.nodes.iter().for_each(|node| leader.leases.watch(*node, &self.timing));
            let changed = leader.leases.nodes_changed(&self.cluster, at, &self.timing);
            leader.planner.look_at_nodes(&self.cluster, &changed);
        }
        match purpose {
            None | Some(Purpose::Init | Purpose::PrefetchFailed) => {}
            Some(Purpose::Barrier) => {
                leader.barrier_passed = true;
                leader.leases.rearm(&self.cluster, at, &self.timing);
                leader.leases.nodes_changed(&self.cluster, at, &self.timing);
                leader.planner.look_at_all(&self.cluster);
            }
            Some(Purpose::Request(id, _)) => actions.push(Action::Reply { id, result: answer }),
            Some(Purpose::Reach) => leader.reach_outstanding = false,
            Some(Purpose::Disks) => leader.disks_outstanding = false,
            Some(Purpose::Plan) => leader.plan_outstanding = false,
            Some(Purpose::Reports(keys)) => {
                leader.reports_outstanding = false;
                // Also if the incarnation was stale: that worker has a newer session by now.
                for said in keys {
                    if leader.reports_are_through(&said) {
                        let ProposedReports { session, seq, keys: states } = said;
                        actions.push(Action::Send { session, message: ToWorker::Committed { seq, states } });
                    }
                }
            }
            Some(Purpose::Register(session)) => self.registered(now, session, answer, actions),
        }
    }

    fn proposal_lost(&mut self, proposal: ProposalId, actions: &mut Vec<Action>) {
        let Some(leader) = &mut self.leader else { return };
        match leader.is_through(proposal) {
            None | Some(Purpose::PrefetchFailed) => {}
            Some(Purpose::Request(id, _)) => {
                let result = Err(unavailable("it is not known whether this was done: look, then ask again"));
                actions.push(Action::Reply { id, result });
            }
            Some(Purpose::Register(session)) => {
                leader.close(session);
                actions.push(Action::Close(session));
            }
            Some(Purpose::Reports(keys)) => {
                leader.reports_outstanding = false;
                keys.iter().for_each(|said| _ = leader.reports_are_through(said));
            }
            Some(Purpose::Reach) => leader.reach_outstanding = false,
            Some(Purpose::Disks) => leader.disks_outstanding = false,
            Some(Purpose::Plan) => {
                leader.plan_outstanding = false;
                leader.planner.look_at_all(&self.cluster);
            }
            // Without these the term cannot begin: the shell steps down.
            Some(Purpose::Init | Purpose::Barrier) => self.deposed(actions),
        }
    }

    /// Does what is due after every event: reachability changes, unanswered probes, reports, the next plan, orders.
    fn follow_up(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.settle_probes(now, actions);
        let Some(leader) = &mut self.leader else { return };
        let at = leader.time(now);
        if leader.barrier_passed && !leader.reach_outstanding {
            let mut changes = leader.leases.expired(&self.cluster, at, &self.timing);
            changes.extend(leader.returns(&self.cluster));
            if !changes.is_empty() {
                leader.reach_outstanding = true;
                leader.propose(now, Purpose::Reach, Command::Reach(changes), actions);
            }
        }
        if leader.barrier_passed && !leader.disks_outstanding {
            let changes = leader.disk_changes(&self.cluster);
            if !changes.is_empty() {
                leader.disks_outstanding = true;
                leader.propose(now, Purpose::Disks, Command::Disks(changes), actions);
            }
        }
        self.propose_reports(now, actions);
        let Some(leader) = &mut self.leader else { return };
        if leader.barrier_passed && !leader.plan_outstanding && !leader.planner.is_idle(&self.cluster, at) {
            let (leases, cluster, timing) = (&leader.leases, &self.cluster, &self.timing);
            let outages = |node| leases.brake().outage(cluster, timing, node, leases.heard_at(node));
            if let Some(plan) = leader.planner.plan(cluster, at, &outages, timing.replace_after) {
                leader.plan_outstanding = true;
                leader.propose(now, Purpose::Plan, Command::Plan(plan), actions);
            }
        }
        leader.tell_prefetches(&self.cluster, actions);
        leader.dispatcher.tell(&self.cluster, at, actions);
        leader.due = leader.next_due(&self.timing);
    }
}

impl Purpose {
    fn actor(&self) -> Actor {
        match self {
            Purpose::Request(_, actor) => *actor,
            Purpose::Register(_) | Purpose::Reports(_) | Purpose::Disks | Purpose::PrefetchFailed => Actor::Worker,
            Purpose::Init | Purpose::Barrier | Purpose::Reach | Purpose::Plan => Actor::Manager,
        }
    }
}

impl Leader {
    /// The cluster's clock.
    fn time(&self, now: Time) -> Time {
        self.elected.0 + now.since(self.elected.1)
    }

    fn propose(&mut self, now: Time, purpose: Purpose, command: Command, actions: &mut Vec<Action>) {
        self.proposals += 1;
        let proposal = ProposalId(self.proposals);
        self.proposed_at = self.proposed_at.max(self.time(now));
        let actor = purpose.actor();
        self.requests_outstanding += usize::from(matches!(purpose, Purpose::Request(..)));
        self.outstanding.insert(proposal, purpose);
        actions.push(Action::Propose { proposal, at: self.proposed_at, actor, command });
    }

    /// A proposal is no longer on its way: what it was for.
    fn is_through(&mut self, proposal: ProposalId) -> Option<Purpose> {
        let purpose = self.outstanding.remove(&proposal)?;
        self.requests_outstanding -= usize::from(matches!(purpose, Purpose::Request(..)));
        Some(purpose)
    }

    /// Ends a session.
    fn close(&mut self, session: SessionId) {
        self.sessions.close(session);
        self.dispatcher.unsubscribe(session);
    }

    /// These reports of a session are no longer on their way through the log. Returns false if the session has ended.
    fn reports_are_through(&mut self, said: &ProposedReports) -> bool {
        let Some(live) = self.sessions.get_mut(said.session) else { return false };
        for (task, ..) in &said.keys {
            // What was said since is still on its way.
            if live.proposed.get(task).is_some_and(|(_, seq)| *seq == said.seq) {
                live.proposed.remove(task);
            }
        }
        true
    }

    /// The unreachable nodes whose heartbeats have come again, all in one entry, because a whole fleet may return at
    /// once.
    fn returns(&mut self, cluster: &Cluster) -> Vec<ReachabilityChange> {
        let silent = |node: &NodeId| cluster.node(*node).is_some_and(|node| node.silent_since().is_some());
        let returned = std::mem::take(&mut self.returned).into_iter().filter(silent);
        let change = |node| {
            let incarnation = self.sessions.incarnation_of(node)?;
            Some(ReachabilityChange { node, incarnation, reach: Reach::Reachable })
        };
        returned.filter_map(change).collect()
    }

    /// What nodes said of their disks that is not written yet, all in one entry: they may share one.
    fn disk_changes(&mut self, cluster: &Cluster) -> Vec<DiskChange> {
        let is_news = |node: NodeId, full| cluster.node(node).is_some_and(|it| it.disk_full_since.is_some() != full);
        let change = |(node, full)| {
            let incarnation = self.sessions.incarnation_of(node).filter(|_| is_news(node, full))?;
            Some(DiskChange { node, incarnation, full })
        };
        std::mem::take(&mut self.disks).into_iter().filter_map(change).collect()
    }

    /// Closes the sessions of forgotten nodes. A forgotten node is another node when it returns, and has to register
    /// again.
    fn dismiss_forgotten(&mut self, cluster: &Cluster, touched: &Touched, actions: &mut Vec<Action>) {
        for id in touched.nodes.iter().filter(|id| cluster.node(**id).is_none()) {
            if let Some(session) = self.sessions.of_node(*id) {
                self.close(session);
                actions.push(Action::Close(session));
            }
        }
    }

    fn next_due(&self, timing: &Timing) -> Option<Time> {
        if !self.barrier_passed {
            return None;
        }
        let leases = (!self.reach_outstanding).then(|| self.leases.deadline(timing));
        let planner = if self.plan_outstanding { None } else { self.planner.deadline() };
        leases.into_iter().chain(planner).chain(self.sessions.deadline()).min()
    }
}

fn unavailable(message: &str) -> Rejection {
    Rejection::new(Code::Unavailable, message)
}

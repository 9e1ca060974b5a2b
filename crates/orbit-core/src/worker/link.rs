//! The worker's side of the session: dial, say hello, heartbeat, notice silence, dial again.

use super::{Action, LinkId};
use crate::model::*;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use std::collections::{BTreeMap, VecDeque};

/// The first and the longest pause before dialling again; each failure doubles it, and up to half
/// of it is added at random, so that a fleet does not dial in step.
const RETRY_FIRST: Millis = Millis(200);
const RETRY_MAX: Millis = Millis::secs(3);

#[derive(Clone, Debug)]
pub(super) struct Link {
    state: State,
    dialled: u64,
    failures: u32,
    jitter: ChaCha8Rng,
    /// When the last message was sent that the manager is known to have heard, by this process or, in the same boot of the
    /// machine, one before it; the beginning of this process's life where there was none. Fences count from here (invariant
    /// I8).
    heard_of_at: Option<Time>,
    /// Said with each heartbeat.
    disk_full: bool,
}

#[derive(Clone, Debug)]
enum State {
    Down { dial_at: Time },
    Dialling { link: LinkId, give_up_at: Time },
    Greeting { link: LinkId, give_up_at: Time, hello_at: Time },
    Up(Up),
}

/// A session that stands.
#[derive(Clone, Debug)]
pub(super) struct Up {
    link: LinkId,
    heartbeat: Millis,
    lease: Millis,
    heartbeat_at: Time,
    heartbeats: u64,
    /// Those that were not acknowledged yet: their numbers, and when they were sent. Oldest first, bounded.
    unacknowledged: VecDeque<(u64, Time)>,
    heard_at: Time,
    assigned_seq: u64,
    /// How many reports were sent.
    reports: u64,
    /// What was reported last of each task and is not confirmed yet.
    reported: BTreeMap<TaskId, Reported>,
    /// When that is repeated.
    repeat_at: Time,
}

/// What was reported of a task.
#[derive(Clone, Debug)]
struct Reported {
    what: Statement,
    /// The number of the first report that reported so since something else was reported.
    seq: u64,
}

/// A manager that leaves more heartbeats than this unanswered is not there.
const UNACKNOWLEDGED_MAX: usize = 64;

/// No manager has more to say in less time than this: one that asks for heartbeats without a pause, or counts silence
/// of no time at all, must not make the worker spin.
const SPAN_MIN: Millis = Millis(10);

/// How long dialling and greeting may take.
const GREETING_MAX: Millis = Millis::secs(5);

impl Link {
    /// `heard_of_at`: what an earlier process of this boot has written down.
    pub fn new(nonce: u64, heard_of_at: Option<Time>) -> Link {
        let jitter = ChaCha8Rng::seed_from_u64(nonce);
        Link { state: State::Down { dial_at: Time(0) }, dialled: 0, failures: 0, jitter, heard_of_at, disk_full: false }
    }

    /// When the last message was sent that the manager is known to have heard.
    pub fn heard_of_at(&self) -> Time {
        self.heard_of_at.unwrap_or_default()
    }

    pub fn is_disk_full(&self) -> bool {
        self.disk_full
    }

    /// That it is full by now is said at once: whoever cannot write soon says nothing any more.
    pub fn disk_is(&mut self, now: Time, full: bool) {
        let is_news = std::mem::replace(&mut self.disk_full, full) != full;
        if let State::Up(up) = &mut self.state
            && is_news
        {
            up.heartbeat_at = now;
        }
    }

    /// A heartbeat is acknowledged.
    pub fn acknowledged(&mut self, seq: u64) {
        let State::Up(up) = &mut self.state else { return };
        while let Some((number, sent_at)) = up.unacknowledged.pop_front_if(|(number, _)| *number <= seq) {
            if number == seq {
                self.heard_of_at = self.heard_of_at.max(Some(sent_at));
            }
        }
    }

    /// The first step of this process's life.
    pub fn begin(&mut self, now: Time) {
        self.heard_of_at.get_or_insert(now);
    }

    pub fn welcomed(&self) -> Option<&Up> {
        match &self.state {
            State::Up(up) => Some(up),
            _ => None,
        }
    }

    pub fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Down { dial_at } => Some(*dial_at),
            State::Dialling { give_up_at, .. } | State::Greeting { give_up_at, .. } => Some(*give_up_at),
            State::Up(up) => Some(up.heartbeat_at.min(up.heard_at + up.lease)),
        }
    }

    fn current(&self) -> Option<LinkId> {
        match &self.state {
            State::Down { .. } => None,
            State::Dialling { link, .. } | State::Greeting { link, .. } => Some(*link),
            State::Up(up) => Some(up.link),
        }
    }

    /// The connection stands: say hello.
    pub fn up(&mut self, now: Time, link: LinkId, hello: Hello, actions: &mut Vec<Action>) {
        if !matches!(self.state, State::Dialling { link: dialled, .. } if dialled == link) {
            return;
        }
        self.state = State::Greeting { link, give_up_at: now + GREETING_MAX, hello_at: now };
        actions.push(Action::Send { link, message: ToManager::Register(hello) });
    }

    /// The connection has ended: dial again after a pause.
    pub fn down(&mut self, link: LinkId, now: Time) {
        if self.current() == Some(link) {
            self.retry(now);
        }
    }

    /// The manager will not have this worker now: it is not asked again soon.
    pub fn refused(&mut self, now: Time, actions: &mut Vec<Action>) {
        actions.extend(self.current().map(Action::Disconnect));
        self.failures = u32::MAX;
        self.retry(now);
    }

    fn retry(&mut self, now: Time) {
        let doubled = RETRY_FIRST.0.checked_shl(self.failures).filter(|_| self.failures < 32);
        let pause = doubled.map_or(RETRY_MAX.0, |pause| pause.min(RETRY_MAX.0));
        let pause = pause + self.jitter.next_u64() % (pause / 2);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Down { dial_at: now + Millis(pause) };
    }

    /// Something was heard. False if it was on a connection that no longer counts.
    pub fn heard(&mut self, link: LinkId, now: Time) -> bool {
        if let State::Up(up) = &mut self.state
            && up.link == link
        {
            up.heard_at = now;
        }
        self.current() == Some(link) && !matches!(self.state, State::Dialling { .. })
    }

    pub fn welcome(&mut self, now: Time, welcome: &Welcome) {
        let State::Greeting { link, hello_at, .. } = self.state else { return };
        self.failures = 0;
        self.heard_of_at = self.heard_of_at.max(Some(hello_at));
        self.state = State::Up(Up {
            link,
            heartbeat: welcome.heartbeat.max(SPAN_MIN),
            lease: welcome.lease.max(SPAN_MIN),
            heartbeat_at: now + welcome.heartbeat.max(SPAN_MIN),
            heartbeats: 0,
            unacknowledged: VecDeque::new(),
            heard_at: now,
            assigned_seq: welcome.assigned.seq,
            reports: 0,
            reported: BTreeMap::new(),
            repeat_at: now,
        });
    }

    /// Whether an assignment counts: in a session that stands, everything that is newer, or a
    /// difference to exactly what was taken up last.
    pub fn take_assigned(&mut self, seq: u64, full: bool) -> bool {
        let State::Up(up) = &mut self.state else { return false };
        let counts = if full { seq > up.assigned_seq } else { seq == up.assigned_seq + 1 };
        if counts {
            up.assigned_seq = seq;
        }
        counts
    }

    /// Whether what was reported last of the task is unconfirmed: nobody knows then what the manager believes, also where
    /// that is what it confirmed before. A digest alone awaits an order, not a confirmation.
    pub fn has_unconfirmed(&self, report: &TaskReport) -> bool {
        let State::Up(up) = &self.state else { return false };
        let is_open = |Reported { what: (key, digest), .. }: &Reported| digest.is_none() || *key != report.key();
        up.reported.get(&report.task).is_some_and(is_open)
    }

    /// Whether something was reported of the task that is unconfirmed. True without a session, in which nothing can be.
    pub fn has_reported(&self, task: TaskId) -> bool {
        self.welcomed().is_none_or(|up| up.reported.contains_key(&task))
    }

    /// The tasks whose reports are to be repeated now.
    pub fn repeated(&self, now: Time) -> impl Iterator<Item = TaskId> {
        let up = self.welcomed().filter(|up| up.repeat_at <= now);
        up.into_iter().flat_map(|up| up.reported.keys().copied())
    }

    /// The manager confirms what a report of this number reported of a task. False if something was reported since.
    pub fn confirmed(&mut self, seq: u64, task: TaskId) -> bool {
        let State::Up(up) = &mut self.state else { return false };
        let Some(reported) = up.reported.get(&task) else { return true };
        if seq != 0 && reported.seq > seq {
            return false;
        }
        // A digest is reported until an order answers it.
        if reported.what.1.is_none() {
            up.reported.remove(&task);
        }
        true
    }

    pub fn send(&self, message: ToManager) -> Option<Action> {
        Some(Action::Send { link: self.current()?, message })
    }

    /// What is due after every event: dial, give up, heartbeat, report.
    ///
    /// `news` has what is unconfirmed of each task that may have changed, and of each that is [`repeated`](Self::repeated).
    pub fn follow_up(
        &mut self,
        now: Time,
        may_dial: bool,
        news: Vec<(TaskId, Option<TaskReport>)>,
        actions: &mut Vec<Action>,
    ) {
        match &mut self.state {
            State::Down { dial_at } => {
                // Before everything was listed once there is no inventory to say hello with.
                if *dial_at <= now && may_dial {
                    self.dialled += 1;
                    let link = LinkId(self.dialled);
                    self.state = State::Dialling { link, give_up_at: now + GREETING_MAX };
                    actions.push(Action::Connect(link));
                } else if *dial_at <= now {
                    *dial_at = now + RETRY_FIRST;
                }
            }
            State::Dialling { link, give_up_at } | State::Greeting { link, give_up_at, .. } => {
                if *give_up_at <= now {
                    actions.push(Action::Disconnect(*link));
                    self.retry(now);
                }
            }
            State::Up(up) if up.heard_at + up.lease <= now => {
                actions.push(Action::Disconnect(up.link));
                self.retry(now);
            }
            State::Up(up) => up.keep_up(now, self.disk_full, news, actions),
        }
    }
}

impl Up {
    fn keep_up(
        &mut self,
        now: Time,
        disk_full: bool,
        news: Vec<(TaskId, Option<TaskReport>)>,
        actions: &mut Vec<Action>,
    ) {
        let link = self.link;
        let repeat = self.repeat_at <= now;
        let seq = self.reports + 1;
        let mut reports = Vec::new();
        for (task, report) in news {
            let before = self.reported.remove(&task);
            let Some(report) = report else { continue };
            let before = before.filter(|reported| reported.what == report.statement());
            let is_new = before.is_none();
            self.reported.insert(task, before.unwrap_or_else(|| Reported { what: report.statement(), seq }));
            if is_new || repeat {
                reports.push(report);
            }
        }
        if !reports.is_empty() {
            self.reports = seq;
            // Only a repetition puts the next one off: news that keep coming must not.
            if repeat {
                self.repeat_at = now + Millis(self.heartbeat.0.saturating_mul(2));
            }
            actions.push(Action::Send { link, message: ToManager::Report { seq, reports } });
        }
        if self.heartbeat_at <= now {
            self.heartbeat_at = now + self.heartbeat;
            self.heartbeats += 1;
            self.unacknowledged.push_back((self.heartbeats, now));
            if self.unacknowledged.len() > UNACKNOWLEDGED_MAX {
                self.unacknowledged.pop_front();
            }
            let message = ToManager::Heartbeat { seq: self.heartbeats, assigned_seq: self.assigned_seq, disk_full };
            actions.push(Action::Send { link, message });
        }
    }
}

//! The network: connections between workers and the manager, and what becomes of messages.
//!
//! A connection is a pair of queues that may lose, delay, double and reorder. That is worse than
//! what a stream does; the machines have to stand it, because a broken and re-dialled stream looks
//! the same from a distance.

use crate::{input::Strike, random::Random};
use orbit_core::{manager::SessionId, worker::LinkId};
use std::collections::{BTreeMap, BTreeSet};

/// One connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub worker: usize,
    /// Which life of the worker's process dialled it.
    pub life: u32,
    pub link: LinkId,
}

#[derive(Debug)]
pub(crate) struct Network {
    random: Random,
    pub open: BTreeMap<SessionId, Connection>,
    /// By worker, what it dialled last.
    newest: BTreeMap<usize, SessionId>,
    next: u64,
    /// Workers whose messages to the manager, or from it, are dropped.
    pub cut_up: BTreeSet<usize>,
    pub cut_down: BTreeSet<usize>,
    /// When a cut was mended last.
    pub whole_since: u64,
    /// Until when messages are held up, by worker and direction: true from it, false to it.
    stalled: BTreeMap<(usize, bool), u64>,
    delay_ms_max: u64,
    /// A healed network keeps each direction of a connection in order, as a stream does: when the
    /// last message of each arrives.
    in_order: Option<BTreeMap<(SessionId, bool), u64>>,
}

impl Network {
    pub fn new(random: Random, delay_ms_max: u64) -> Network {
        Network {
            random,
            open: BTreeMap::new(),
            newest: BTreeMap::new(),
            next: 0,
            cut_up: BTreeSet::new(),
            cut_down: BTreeSet::new(),
            whole_since: 0,
            stalled: BTreeMap::new(),
            delay_ms_max,
            in_order: None,
        }
    }

    pub fn dial(&mut self, connection: Connection) -> SessionId {
        self.next += 1;
        let id = SessionId(self.next);
        self.newest.insert(connection.worker, id);
        self.open.insert(id, connection);
        id
    }

    /// The connection of somebody who is not the worker.
    pub fn dial_aside(&mut self, connection: Connection) -> SessionId {
        self.next += 1;
        self.open.insert(SessionId(self.next), connection);
        SessionId(self.next)
    }

    /// The connection that a worker knows by a link.
    pub fn session_of(&self, worker: usize, life: u32, link: LinkId) -> Option<SessionId> {
        let is = |c: &Connection| c.worker == worker && c.life == life && c.link == link;
        let newest = self.newest.get(&worker).filter(|id| self.open.get(id).is_some_and(is)).copied();
        newest.or_else(|| self.open.iter().find(|(_, c)| is(c)).map(|(id, _)| *id))
    }

    pub fn is_cut(&self, worker: usize) -> bool {
        self.cut_up.contains(&worker) || self.cut_down.contains(&worker)
    }

    /// What is sent until then arrives then.
    pub fn stall(&mut self, worker: usize, up: bool, until: u64) {
        let held_until = self.stalled.entry((worker, up)).or_default();
        *held_until = until.max(*held_until);
    }

    /// After how many milliseconds each copy of a message arrives: none, one or two copies.
    pub fn copies(&mut self, now: u64, direction: (SessionId, bool), strike: Option<Strike>) -> [Option<u64>; 2] {
        let connection = self.open.get(&direction.0);
        let held_until = connection.and_then(|it| self.stalled.get(&(it.worker, direction.1))).copied();
        let mut delay = self.delay().max(held_until.unwrap_or_default().saturating_sub(now));
        match strike {
            None | Some(Strike::Crash { .. } | Strike::Fail { .. } | Strike::Hang { .. }) => {
                if let Some(last) = &mut self.in_order {
                    let last = last.entry(direction).or_default();
                    *last = (now + delay).max(*last);
                    delay = *last - now;
                }
                [Some(delay), None]
            }
            Some(Strike::Lose) => [None, None],
            Some(Strike::Double) => [Some(delay), Some(2 * delay + 1)],
            Some(Strike::Late { ms }) => [Some(delay + ms), None],
        }
    }

    pub fn delay(&mut self) -> u64 {
        self.random.between(0, self.delay_ms_max)
    }

    pub fn heal(&mut self) {
        self.cut_up.clear();
        self.cut_down.clear();
        self.stalled.clear();
        self.in_order = Some(BTreeMap::new());
        self.delay_ms_max = self.delay_ms_max.min(20);
    }
}

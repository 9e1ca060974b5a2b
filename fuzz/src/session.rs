//! A manager and workers that say anything, from the wire on: bytes are decoded as they would be from a connection,
//! and what is a message goes into the machine. What honest and lying workers say in the right form is `manager`'s.

use crate::{bytes, draws::Draws};
use orbit_core::{manager::*, model::*, state::Cluster};
use orbit_proto::v1;
use prost::Message;
use std::collections::VecDeque;

/// Beyond this an input only takes time.
const RECORDS_MAX: usize = 200;
const SESSIONS: u64 = 3;

/// Records: each says in its first byte who says it and how much time passes, the rest is a message.
pub fn session(data: &[u8]) {
    let mut world = World::new();
    for record in bytes::records(data).into_iter().take(RECORDS_MAX) {
        let Some((first, rest)) = record.split_first() else { continue };
        world.pass(u64::from(first >> 4));
        let session = SessionId(1 + u64::from(first & 15) % (SESSIONS + 1));
        if session.0 > SESSIONS {
            world.step(Event::SessionClosed(SessionId(1 + u64::from(first >> 4) % SESSIONS)));
            continue;
        }
        let Ok(message) = v1::ToManager::decode(rest) else { continue };
        if let Ok(message) = ToManager::try_from(message) {
            world.step(Event::Message { session, message });
        }
    }
}

struct World {
    now: u64,
    manager: Manager,
    proposed: VecDeque<(ProposalId, Time, Command)>,
    last: (u64, Time),
}

impl World {
    /// Leads, and has a service whose tasks want nodes.
    fn new() -> World {
        let manager = Manager::restore(Cluster::default(), Timing::default());
        let mut world = World { now: 0, manager, proposed: VecDeque::new(), last: (0, Time(0)) };
        world.step(Event::Elected { term: 1, seed: 1, cluster: ClusterId(1), wall_ms: 1_700_000_000_000 });
        let spec = Draws::new(&[]).spec(RestartPolicy::Always);
        let spec = Spec { container: Container { image: "image:1".to_string(), ..spec.container }, ..spec };
        let update = Update::ONE_BY_ONE;
        let definition =
            Definition { kind: Kind::Service, name: "web".into(), labels: [].into(), replicas: 3, update, spec };
        let put = Put { definition, condition: Condition::None, keeps_replicas: false, idempotency_key: None };
        world.step(Event::Request { id: RequestId(1), actor: Actor::Local, request: Request::Put(put) });
        world
    }

    /// Up to the manager's next timer, or a little.
    fn pass(&mut self, how: u64) {
        let due = self.manager.deadline().map_or(self.now, |due| due.0);
        self.now = if how == 15 { self.now.max(due) } else { self.now + how * how * 10 };
        self.step(Event::Wake);
    }

    /// One event, and every entry that follows from it.
    fn step(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        let mut entries = 0;
        while let Some(event) = events.pop_front() {
            for action in self.manager.step(Time(self.now), event) {
                match action {
                    Action::Propose { proposal, at, command, .. } => self.proposed.push_back((proposal, at, command)),
                    Action::Send { message, .. } => bytes::from_our_manager(&message),
                    Action::Close(_) | Action::Reply { .. } => {}
                }
            }
            if let Some((proposal, at, command)) = self.proposed.pop_front().filter(|_| events.is_empty()) {
                entries += 1;
                assert!(entries < 1000, "I23: the manager does not come to rest");
                self.last = (self.last.0 + 1, self.last.1.max(at));
                let entry = Entry {
                    index: self.last.0,
                    term: 1,
                    at: self.last.1,
                    wall_ms: 1_700_000_000_000,
                    actor: Actor::Local,
                    command,
                };
                bytes::entry(&entry);
                events.push_back(Event::Committed { entry, proposal: Some(proposal) });
            }
        }
        assert_eq!(self.manager.cluster().check(), [], "after what was said");
    }
}

//! Requests of users: refused at once, answered at once, or proposed.

use super::*;

/// So many changes that users asked for are on their way to the log at a time. A disk that hangs does not
/// become a queue that fills the memory: with specs of the largest size these are 256 MiB.
const REQUESTS_OUTSTANDING_MAX: usize = 256;

impl Manager {
    pub(super) fn request(
        &mut self,
        now: Time,
        id: RequestId,
        actor: Actor,
        request: Request,
        actions: &mut Vec<Action>,
    ) {
        match self.admit(now, request) {
            Ok(Admitted::Command(command)) => {
                let leader = self.leader.as_mut().expect("admitted by a leader");
                leader.propose(now, Purpose::Request(id, actor), *command, actions);
            }
            Ok(Admitted::Send { session, message }) => {
                actions.push(Action::Send { session, message });
                actions.push(Action::Reply { id, result: Ok(Answer::Done) });
            }
            Ok(Admitted::Answered(answer)) => actions.push(Action::Reply { id, result: Ok(answer) }),
            Err(rejection) => actions.push(Action::Reply { id, result: Err(rejection) }),
        }
    }

    /// Whether a request takes room in the log. One that was answered before does not: whoever asks
    /// again, because the answer was lost, is told the truth even where there is no room.
    pub fn takes_room(&self, request: &Request) -> bool {
        match request {
            Request::Open(_) => false,
            Request::Put(put) => self.cluster.answered(put).is_none(),
            _ => true,
        }
    }

    /// What is wrong with a request in itself is refused before it reaches the log.
    fn admit(&self, now: Time, request: Request) -> Result<Admitted, Rejection> {
        let leader = self.leader.as_ref().filter(|leader| leader.barrier_passed);
        let leader = leader.ok_or_else(|| unavailable("this manager does not lead yet: ask again"))?;
        let command = match request {
            Request::Put(put) => {
                validate(&put.definition, &self.timing)?;
                if let Some(key) = &put.idempotency_key
                    && (key.is_empty() || key.len() > limits::NAME_BYTES_MAX * 4 || !key.is_ascii())
                {
                    let message = "an idempotency key has 1 to 252 ASCII characters";
                    return Err(Rejection::new(Code::Invalid, message));
                }
                if let Some(answer) = self.cluster.answered(&put) {
                    return answer.map(Admitted::Answered);
                }
                Command::Put(put)
            }
            Request::Scale { name, replicas, condition } => {
                check_replicas(replicas)?;
                Command::Scale { name, replicas, condition }
            }
            Request::Restart { name, condition } => Command::Restart { name, condition },
            Request::Rollout { name, order, condition } => Command::Rollout { name, order, condition },
            Request::Delete { kind, name, condition } => Command::Delete { kind, name, condition },
            Request::StopTask(task) => Command::StopTask { task },
            Request::Forget { name } => {
                // The clock of the log goes on over a restart by the wall clock, which may have jumped meanwhile.
                let node = self.cluster.node_named(&name);
                let silent = node.and_then(|node| Some((node, leader.leases.silent_since(node)?)));
                if let Some((node, since)) = silent {
                    self.cluster.check_fences(node, since, self.cluster_time(now))?;
                }
                Command::Forget { name }
            }
            Request::RemoveVolume { name } => Command::RemoveVolume { name },
            Request::SettleUnknown { adopt } => Command::SettleUnknown { adopt },
            Request::SetAvailability { name, order } => {
                if let AvailabilityOrder::Drain { deadline: Some(deadline) } = order {
                    check_span("deadline", deadline, 0)?;
                }
                Command::SetAvailability { name, order }
            }
            Request::Open(request) => {
                let Some(task) = self.cluster.task(request.task) else {
                    return Err(Rejection::new(Code::NotFound, format!("there is no task {}", request.task)));
                };
                if matches!(request.what, StreamOf::Exec(_)) && task.state != TaskState::Running {
                    let message = format!("task {} is {}, not running", task.id, task.state);
                    return Err(Rejection::new(Code::Conflict, message));
                }
                let Some(node) = task.node else {
                    return Err(Rejection::new(Code::Conflict, format!("task {} has no node yet", task.id)));
                };
                let Some(session) = leader.sessions.of_node(node) else {
                    let name = self.cluster.node(node).map_or("?", |n| n.info.name.as_str());
                    let message = format!("node `{name}`, where task {} is, is not connected", task.id);
                    return Err(Rejection::new(Code::NodeUnreachable, message));
                };
                return Ok(Admitted::Send { session, message: ToWorker::Open(request) });
            }
        };
        if leader.requests_outstanding >= REQUESTS_OUTSTANDING_MAX {
            let message = format!("{REQUESTS_OUTSTANDING_MAX} changes wait for the manager's disk: ask again");
            return Err(unavailable(&message));
        }
        Ok(Admitted::Command(Box::new(command)))
    }
}

/// Checks every limit, those included that follow from how the manager is set.
pub(super) fn validate(definition: &Definition, timing: &Timing) -> Result<(), Rejection> {
    definition.validate()?;
    let Spec { container, disconnect, .. } = &definition.spec;
    disconnect.validate_with(timing.lease, container.stop.grace)
}

enum Admitted {
    Command(Box<Command>),
    Answered(Answer),
    Send { session: SessionId, message: ToWorker },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{state::Cluster, testing};

    /// A leader whose log is empty but for its first entries.
    fn leader() -> Manager {
        let mut manager = Manager::restore(Cluster::default(), Timing::default());
        let elected = Event::Elected { term: 1, seed: 1, cluster: ClusterId(1), wall_ms: 1 };
        let begun = manager.step(Time(0), elected);
        begun.into_iter().for_each(|action| _ = commit(&mut manager, action));
        manager
    }

    /// Commits what was proposed.
    fn commit(manager: &mut Manager, action: Action) -> Vec<Action> {
        let Action::Propose { proposal, at, actor, command } = action else { return Vec::new() };
        let entry = Entry { index: manager.cluster().index + 1, term: 1, at, wall_ms: 1, actor, command };
        manager.step(Time(0), Event::Committed { entry, proposal: Some(proposal) })
    }

    fn scale(manager: &mut Manager, id: u64) -> Vec<Action> {
        let request = Request::Scale { name: "web".into(), replicas: 1, condition: Condition::None };
        manager.step(Time(0), Event::Request { id: RequestId(id), actor: Actor::Local, request })
    }

    #[test]
    fn what_waits_for_a_disk_that_hangs_is_bounded_and_who_asks_beyond_is_told_to_ask_again() {
        let mut manager = leader();
        let put = Put {
            definition: testing::service("web", testing::spec("web:1")),
            condition: Condition::None,
            keeps_replicas: false,
            idempotency_key: None,
        };
        let request = Request::Put(put);
        let mut waiting = manager.step(Time(0), Event::Request { id: RequestId(0), actor: Actor::Local, request });
        for id in 1..REQUESTS_OUTSTANDING_MAX as u64 {
            waiting.extend(scale(&mut manager, id));
        }
        assert!(waiting.iter().all(|action| matches!(action, Action::Propose { .. })), "all are on their way");
        let refused = scale(&mut manager, 1000);
        let [Action::Reply { id: RequestId(1000), result: Err(rejection) }] = &refused[..] else {
            panic!("not refused: {refused:?}")
        };
        assert_eq!(rejection.code, Code::Unavailable);
        assert_eq!(rejection.message, "256 changes wait for the manager's disk: ask again");
        // The disk has taken one.
        commit(&mut manager, waiting.remove(0));
        let taken = scale(&mut manager, 1001);
        assert!(matches!(taken[..], [Action::Propose { .. }]), "not taken: {taken:?}");
    }
}

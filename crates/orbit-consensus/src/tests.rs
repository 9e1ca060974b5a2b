//! What a replica promises, one promise a test.

use super::*;
use orbit_core::{model::ClusterId, state::Cluster};

/// A replica, and what it asked for last.
struct Alone {
    replica: Replica,
    /// The batch that is being written.
    writing: Option<Batch>,
    proposals: u64,
}

impl Alone {
    fn new(hard_term: u64, last: Position) -> Alone {
        let replica = Replica::new(HardState { term: hard_term, vote: None }, last);
        Alone { replica, writing: None, proposals: 0 }
    }

    fn elected() -> Alone {
        let mut alone = Alone::new(0, Position::default());
        assert_eq!(alone.step(In::Tick), []);
        assert_eq!(alone.persisted(), [Event::Elected { term: 1 }]);
        alone
    }

    /// The events of a step.
    fn step(&mut self, input: In) -> Vec<Event> {
        let mut events = Vec::new();
        for out in self.replica.step(Time(1000), input) {
            match out {
                Out::Persist(batch) => {
                    assert!(self.writing.is_none(), "one batch at a time");
                    self.writing = Some(batch);
                }
                Out::Event(event) => events.push(event),
            }
        }
        events
    }

    fn propose(&mut self, ats: &[u64]) -> Vec<Event> {
        let proposals = ats.iter().map(|at| {
            self.proposals += 1;
            proposal(self.proposals, *at)
        });
        let proposals = proposals.collect();
        self.step(In::Propose(proposals))
    }

    fn persisted(&mut self) -> Vec<Event> {
        let batch = self.writing.take().expect("something is being written");
        self.step(In::Persisted(batch.number))
    }

    fn not_persisted(&mut self) -> Vec<Event> {
        let batch = self.writing.take().expect("something is being written");
        self.step(In::NotPersisted(batch.number))
    }

    /// Indexes of what is being written.
    fn indexes(&self) -> Vec<u64> {
        self.writing.iter().flat_map(|batch| &batch.entries).map(|entry| entry.index).collect()
    }
}

/// Its seed tells whose entry it became.
fn proposal(id: u64, at: u64) -> Proposal {
    Proposal {
        id: ProposalId(id),
        at: Time(at),
        wall_ms: 7,
        actor: Actor::Manager,
        command: Command::Barrier { seed: id },
    }
}

fn committed(index: u64, term: u64, at: u64, id: u64) -> Event {
    let command = Command::Barrier { seed: id };
    let entry = Entry { index, term, at: Time(at), wall_ms: 7, actor: Actor::Manager, command };
    Event::Committed { entry, proposal: Some(ProposalId(id)) }
}

fn lost(ids: impl IntoIterator<Item = u64>) -> Vec<Event> {
    ids.into_iter().map(|id| Event::Lost(ProposalId(id))).collect()
}

/// Of a cluster that has applied so many entries.
fn snapshot(index: u64, term: u64) -> Box<Snapshot> {
    let mut cluster = Cluster::default();
    for index in 1..=index {
        let command = Command::Init { cluster: ClusterId(1) };
        cluster.apply(&Entry { index, term, at: Time(500), wall_ms: 7, actor: Actor::Local, command });
    }
    Box::new(cluster.snapshot())
}

#[test]
fn it_leads_once_its_term_is_durable_and_not_before() {
    let mut alone = Alone::new(4, Position::default());
    assert_eq!(alone.step(In::Tick), []);
    let hard_state = Some(HardState { term: 5, vote: None });
    assert_eq!(alone.writing, Some(Batch { number: 1, hard_state, ..Batch::default() }));
    assert!(!alone.replica.is_leader());
    assert_eq!(alone.step(In::Tick), [], "one election at a time");
    assert_eq!(alone.persisted(), [Event::Elected { term: 5 }]);
    assert!(alone.replica.is_leader());
    assert_eq!(alone.step(In::Tick), [], "who leads does not stand for election");
    assert_eq!(alone.writing, None);
}

#[test]
fn its_term_is_above_those_of_the_hard_state_and_of_the_log() {
    let last = |term| Position { index: 9, term, at: Time(50) };
    for (hard, of_log, term) in [(0, 0, 1), (3, 2, 4), (3, 7, 8)] {
        let mut alone = Alone::new(hard, last(of_log));
        alone.step(In::Tick);
        assert_eq!(alone.persisted(), [Event::Elected { term }]);
    }
}

#[test]
fn an_entry_gets_its_index_when_it_is_appended_and_is_committed_when_it_is_durable() {
    let mut alone = Alone::new(1, Position { index: 9, term: 1, at: Time(50) });
    alone.step(In::Tick);
    alone.persisted();
    assert_eq!(alone.propose(&[60]), []);
    assert_eq!(alone.indexes(), [10]);
    assert_eq!(alone.replica.committed(), 9);
    assert_eq!(alone.persisted(), [committed(10, 2, 60, 1)]);
    assert_eq!(alone.replica.committed(), 10);
}

#[test]
fn what_is_proposed_together_is_written_together() {
    let mut alone = Alone::elected();
    assert_eq!(alone.propose(&[10, 20, 30]), []);
    assert_eq!(alone.indexes(), [1, 2, 3]);
    let all = [committed(1, 1, 10, 1), committed(2, 1, 20, 2), committed(3, 1, 30, 3)];
    assert_eq!(alone.persisted(), all);
}

#[test]
fn what_comes_during_a_sync_gathers_for_the_next() {
    let mut alone = Alone::elected();
    alone.propose(&[10]);
    alone.propose(&[20]);
    alone.propose(&[30]);
    assert_eq!(alone.indexes(), [1]);
    assert_eq!(alone.persisted(), [committed(1, 1, 10, 1)]);
    assert_eq!(alone.indexes(), [2, 3]);
    assert_eq!(alone.persisted(), [committed(2, 1, 20, 2), committed(3, 1, 30, 3)]);
    assert_eq!(alone.writing, None, "nothing is left");
}

#[test]
fn the_next_batch_is_asked_for_before_the_last_is_told_of() {
    let mut alone = Alone::elected();
    alone.propose(&[10]);
    alone.propose(&[20]);
    let number = alone.writing.take().unwrap().number;
    let outs = alone.replica.step(Time(1000), In::Persisted(number));
    assert!(
        matches!(&outs[..], [Out::Persist(next), Out::Event(Event::Committed { .. })] if next.number == number + 1)
    );
}

#[test]
fn a_batch_has_at_most_so_many_entries() {
    let mut alone = Alone::elected();
    alone.propose(&vec![10; GROUP_MAX + 2]);
    assert_eq!(alone.indexes().len(), GROUP_MAX);
    assert_eq!(alone.persisted().len(), GROUP_MAX);
    assert_eq!(alone.indexes(), [GROUP_MAX as u64 + 1, GROUP_MAX as u64 + 2]);
}

#[test]
fn the_clusters_clock_does_not_go_back() {
    let mut alone = Alone::new(1, Position { index: 9, term: 1, at: Time(50) });
    alone.step(In::Tick);
    alone.persisted();
    alone.propose(&[40, 70, 60]);
    let ats: Vec<_> = alone.writing.iter().flat_map(|batch| &batch.entries).map(|entry| entry.at.0).collect();
    assert_eq!(ats, [50, 70, 70]);
}

#[test]
fn what_is_proposed_while_it_does_not_lead_is_lost() {
    let mut alone = Alone::new(0, Position::default());
    assert_eq!(alone.propose(&[10]), lost([1]), "before it stood for election");
    alone.step(In::Tick);
    assert_eq!(alone.propose(&[10, 20]), lost([2, 3]), "before its term is durable");
    alone.persisted();
    assert_eq!(alone.propose(&[10]), []);
    assert_eq!(alone.indexes(), [1], "what was lost took no index");
}

#[test]
fn a_batch_that_cannot_be_written_ends_the_lead_and_loses_what_is_outstanding() {
    let mut alone = Alone::elected();
    alone.propose(&[10, 20]);
    alone.propose(&[30]);
    let expected: Vec<_> = [Event::Deposed].into_iter().chain(lost([1, 2, 3])).collect();
    assert_eq!(alone.not_persisted(), expected);
    assert_eq!(alone.replica.committed(), 0);
}

#[test]
fn after_that_it_is_of_no_use_until_it_is_made_from_the_disk_again() {
    let mut alone = Alone::elected();
    alone.propose(&[10]);
    alone.not_persisted();
    assert_eq!(alone.step(In::Tick), []);
    assert_eq!(alone.step(In::Snapshot(snapshot(5, 9))), []);
    assert_eq!(alone.propose(&[20]), lost([2]));
    assert_eq!(alone.writing, None);
}

#[test]
fn a_term_that_cannot_be_written_is_not_begun() {
    let mut alone = Alone::new(0, Position::default());
    alone.step(In::Tick);
    assert_eq!(alone.not_persisted(), [], "it did not lead");
    assert_eq!(alone.propose(&[10]), lost([1]));
}

#[test]
fn a_snapshot_replaces_the_log_once_it_is_durable() {
    let mut alone = Alone::new(1, Position { index: 9, term: 1, at: Time(50) });
    let newer = snapshot(20, 6);
    assert_eq!(alone.step(In::Snapshot(newer.clone())), []);
    let hard_state = Some(HardState { term: 6, vote: None });
    let batch = Batch { number: 1, hard_state, install: Some(newer.clone()), entries: Vec::new() };
    assert_eq!(alone.writing, Some(batch));
    assert_eq!(alone.step(In::Tick), [], "it does not stand for election before it knows where its log ends");
    assert_eq!(alone.persisted(), [Event::Install(newer)]);
    alone.step(In::Tick);
    assert_eq!(alone.persisted(), [Event::Elected { term: 7 }]);
    alone.propose(&[10]);
    assert_eq!(alone.persisted(), [committed(21, 7, 500, 1)], "entries follow the snapshot");
}

#[test]
fn a_snapshot_that_is_not_newer_or_does_not_load_is_ignored() {
    let mut alone = Alone::new(1, Position { index: 9, term: 1, at: Time(50) });
    let mut broken = snapshot(20, 6);
    broken.schema = u32::MAX;
    assert!(Cluster::restore((*broken).clone()).is_err());
    for ignored in [snapshot(9, 6), snapshot(3, 6), broken] {
        assert_eq!(alone.step(In::Snapshot(ignored)), []);
        assert_eq!(alone.writing, None);
    }
}

#[test]
fn a_leader_takes_no_snapshot() {
    let mut alone = Alone::elected();
    assert_eq!(alone.step(In::Snapshot(snapshot(20, 6))), []);
    assert_eq!(alone.writing, None);
}

#[test]
#[should_panic(expected = "the batch that is being written")]
fn another_batch_is_not_taken_for_the_one_that_is_being_written() {
    let mut alone = Alone::elected();
    alone.propose(&[10]);
    alone.step(In::Persisted(1));
}

#[test]
#[should_panic(expected = "the clock does not go back")]
fn its_own_clock_does_not_go_back() {
    let mut alone = Alone::elected();
    alone.replica.step(Time(999), In::Tick);
}

//! What the driver does with each event of consensus: the machine, the readers and those who watch hear of it.

use super::*;
use crate::consensus::Consensus;
use orbit_consensus::Proposal;
use orbit_core::{
    manager::{ProposalId, Request},
    model::{Actor, Command, Condition, Entry},
};
use orbit_shell::TokioBlocking;
use orbit_store::{Fault, MemoryDisk, MemoryStorage};

struct World {
    driver: Driver,
    proposals: mpsc::UnboundedReceiver<Proposal>,
    /// Of the last committed entry.
    index: u64,
}

impl World {
    fn new() -> World {
        let (consensus, proposals) = Consensus::unattended();
        let (timing, clock) = (Timing::default(), Clock::start());
        let driver = Driver {
            machine: Manager::restore(Cluster::default(), timing),
            consensus,
            clock,
            seed: 7,
            cluster: ClusterId(1),
            requests: 0,
            replies: BTreeMap::new(),
            sessions: BTreeMap::new(),
            stuck: Vec::new(),
            feed: Arc::new(Feed::new(0)),
            metrics: Arc::new(Metrics::new()),
            reader: Reader::start(Cluster::default(), timing, clock),
            lead_changes: None,
        };
        World { driver, proposals, index: 0 }
    }

    /// Leads and knows everything.
    fn ready() -> World {
        let mut world = World::new();
        world.driver.follow(consensus::Event::Elected { term: 1 });
        world.commit_all(1);
        assert!(world.driver.machine.is_ready());
        world
    }

    fn proposed(&mut self) -> Proposal {
        self.proposals.try_recv().expect("something was proposed")
    }

    fn commit_all(&mut self, term: u64) {
        while let Ok(Proposal { id, at, wall_ms, actor, command }) = self.proposals.try_recv() {
            self.index += 1;
            let entry = Entry { index: self.index, term, at, wall_ms, actor, command };
            self.driver.follow(consensus::Event::Committed { entry, proposal: Some(id) });
        }
    }

    /// Asks for something that has to be written.
    fn ask(&mut self) -> oneshot::Receiver<Replied> {
        let (give, take) = oneshot::channel();
        self.driver.take(Input::Request(Actor::Local, scale(), give));
        take
    }
}

fn scale() -> Request {
    Request::Scale { name: "web".into(), replicas: 3, condition: Condition::None }
}

fn code(mut reply: oneshot::Receiver<Replied>) -> (Code, String) {
    let replied = reply.try_recv().expect("it was answered");
    let Rejection { code, message, .. } = replied.result.expect_err("it was refused");
    (code, message)
}

/// (leads and is ready, index) as readers see it.
async fn seen(reader: &Reader) -> (bool, u64) {
    reader.ask(|view, _| (view.is_ready(), view.cluster().index)).await.unwrap()
}

#[tokio::test]
async fn an_election_begins_a_term_and_readers_are_told() {
    let world = World::ready();
    assert_eq!(seen(&world.driver.reader).await, (true, world.index));
    assert_eq!(world.driver.feed.after(0).await.unwrap().0, world.index);
}

#[tokio::test]
async fn each_term_has_a_seed_of_its_own() {
    let mut world = World::new();
    let mut seeds = Vec::new();
    for term in 1..=3 {
        world.driver.follow(consensus::Event::Elected { term });
        while let Ok(proposal) = world.proposals.try_recv() {
            if let Command::Barrier { seed } = proposal.command {
                seeds.push(seed);
            }
        }
        world.driver.follow(consensus::Event::Deposed);
    }
    assert_eq!(seeds[0], 7, "the first is the one that was given");
    assert!(seeds[1] != 7 && seeds[2] != 7 && seeds[1] != seeds[2]);
}

#[tokio::test]
async fn whoever_waits_is_answered_when_the_lead_is_lost() {
    let mut world = World::ready();
    let (sender, mut orders) = mpsc::channel(1);
    world.driver.take(Input::SessionOpened(SessionId(1), sender));
    let reply = world.ask();
    world.driver.follow(consensus::Event::Deposed);
    let (code_of, message) = code(reply);
    assert_eq!(code_of, Code::Unavailable);
    assert!(message.contains("not known"), "{message}");
    assert_eq!(seen(&world.driver.reader).await, (false, world.index), "readers know, too");
    // What it proposed is committed by the next leader, or lost: both are nobody's any more.
    let Proposal { id, at, wall_ms, actor, command } = world.proposed();
    let entry = Entry { index: world.index + 1, term: 2, at, wall_ms, actor, command };
    world.driver.follow(consensus::Event::Committed { entry, proposal: Some(id) });
    world.driver.follow(consensus::Event::Lost(ProposalId(id.0 + 1)));
    assert_eq!(seen(&world.driver.reader).await, (false, world.index + 1), "it follows");
    assert_eq!(code(world.ask()).0, Code::Unavailable);
    assert!(orders.try_recv().is_err());
}

#[tokio::test]
async fn readers_are_told_of_a_lead_that_is_lost_before_it_was_ready() {
    let mut world = World::new();
    world.driver.follow(consensus::Event::Elected { term: 1 });
    assert!(world.driver.lead_changes.is_some());
    world.driver.follow(consensus::Event::Deposed);
    assert_eq!(world.driver.lead_changes, None);
    assert_eq!(seen(&world.driver.reader).await, (false, 0));
}

#[tokio::test]
async fn the_outcome_of_a_lost_proposal_is_said_to_be_unknown() {
    let mut world = World::ready();
    let reply = world.ask();
    let lost = world.proposed().id;
    world.driver.follow(consensus::Event::Lost(lost));
    let (code, message) = code(reply);
    assert_eq!(code, Code::Unavailable);
    assert!(message.contains("not known"), "{message}");
    assert!(world.driver.machine.is_ready(), "it leads as before");
}

#[tokio::test]
async fn an_installed_state_replaces_the_machines_the_readers_and_what_is_watched() {
    let mut world = World::new();
    world.driver.feed.publish(1, &[]);
    let mut other = Cluster::default();
    for index in 1..=20 {
        let command = Command::Init { cluster: ClusterId(5) };
        other.apply(&Entry { index, term: 3, at: Time(9), wall_ms: 1, actor: Actor::Local, command });
    }
    world.driver.follow(consensus::Event::Install(Box::new(other.snapshot())));
    assert_eq!(world.driver.machine.cluster().id, Some(ClusterId(5)));
    assert_eq!(seen(&world.driver.reader).await, (false, 20));
    assert_eq!(world.driver.feed.after(1).await.unwrap_err().complete_after, 20);
    // Entries follow it, and so does a term.
    world.index = 20;
    world.driver.follow(consensus::Event::Elected { term: 4 });
    world.commit_all(4);
    assert_eq!(seen(&world.driver.reader).await, (true, world.index));
}

/// A manager on this disk.
fn parts(disk: &MemoryDisk) -> Parts {
    Parts {
        timing: Timing::default(),
        storage: Box::new(MemoryStorage::open(disk)),
        blocking: Arc::new(TokioBlocking),
        compact_every: 1000,
        seed: 1,
        cluster: ClusterId(1),
    }
}

#[tokio::test]
async fn what_comes_faster_than_it_is_taken_waits_with_its_sender_and_ends_with_the_manager() {
    const MORE: usize = 10;
    let (handle, manager) = start(parts(&MemoryDisk::default()), std::future::pending()).unwrap();
    let ask = |_| {
        let handle = handle.clone();
        tokio::spawn(async move { handle.request(scale()).await.result })
    };
    let asked: Vec<_> = (0..INPUTS_MAX + MORE).map(ask).collect();
    // Nothing is taken, because nobody has begun to run the manager.
    while handle.inputs.capacity() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(handle.inputs.max_capacity(), INPUTS_MAX, "the others wait outside");
    drop(manager);
    for answer in asked {
        assert_eq!(answer.await.unwrap().unwrap_err().code, Code::Unavailable);
    }
}

#[tokio::test]
async fn a_write_that_fails_answers_whoever_waits_and_ends_the_manager() {
    let disk = MemoryDisk::default();
    let (handle, manager) = start(parts(&disk), std::future::pending()).unwrap();
    let manager = tokio::spawn(manager);
    while !handle.read(|view, _| view.is_ready()).await.unwrap() {
        tokio::task::yield_now().await;
    }
    disk.fail_next_append(Fault::Lost);
    let rejection = handle.request(scale()).await.result.unwrap_err();
    assert_eq!(rejection.code, Code::Unavailable);
    assert!(rejection.message.contains("lost the lead"), "{rejection}");
    assert!(matches!(manager.await.unwrap(), Err(Error::Store(_))));
}

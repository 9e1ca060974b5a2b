//! The shell around the replica, on a log in memory.

use super::*;
use crate::reader::Reader;
use orbit_consensus::Event;
use orbit_core::model::{ClusterId, Timing};
use orbit_store::{Fault, MemoryDisk, MemoryStorage};
use tokio::{sync::Semaphore, time::timeout};

/// Does as much blocking work as it is allowed to.
struct Gate(Arc<Semaphore>);

impl BlockingExecutor for Gate {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let permits = self.0.clone();
        Box::pin(async move {
            permits.acquire().await.expect("it is not closed").forget();
            work();
        })
    }
}

struct World {
    disk: MemoryDisk,
    permits: Arc<Semaphore>,
    consensus: Consensus,
    notices: mpsc::UnboundedReceiver<Notice>,
    proposals: u64,
}

impl World {
    /// Has begun its term.
    async fn new(permits: usize) -> World {
        let mut world = World::on(MemoryDisk::default(), permits);
        assert_eq!(world.events().await, [Event::Elected { term: 1 }]);
        world
    }

    fn on(disk: MemoryDisk, permits: usize) -> World {
        let mut storage = MemoryStorage::open(&disk);
        let Found { cluster, hard_state, behind_snapshot } = Consensus::recover(&mut storage).unwrap();
        let permits = Arc::new(Semaphore::new(permits));
        let blocking: Arc<dyn BlockingExecutor> = Arc::new(Gate(permits.clone()));
        let clock = Clock::start();
        let reader = Reader::start(cluster.clone(), Timing::default(), clock);
        let metrics = Arc::new(Metrics::new());
        let compaction =
            Compaction::new(storage.compactor(), blocking.clone(), reader, 1000, behind_snapshot, metrics.clone());
        let log = Log { storage: Box::new(storage), blocking, compaction };
        let (sender, notices) = mpsc::unbounded_channel();
        let consensus = Consensus::start(log, &cluster, hard_state, clock, sender, metrics).unwrap();
        World { disk, permits, consensus, notices, proposals: 0 }
    }

    fn propose(&mut self, many: usize) {
        for _ in 0..many {
            self.proposals += 1;
            let command = Command::Init { cluster: ClusterId(1) };
            self.consensus.propose(ProposalId(self.proposals), Time(self.proposals), 1, Actor::Local, command);
        }
    }

    async fn notice(&mut self) -> Notice {
        let notice = timeout(Duration::from_secs(20), self.notices.recv()).await;
        notice.expect("something happens").expect("why it ends is said")
    }

    async fn events(&mut self) -> Vec<Event> {
        match self.notice().await {
            Notice::Events(events) => events,
            Notice::Failed(error) => panic!("{error}"),
        }
    }

    /// The indexes of what is committed next.
    async fn committed(&mut self) -> Vec<u64> {
        let index = |event| match event {
            Event::Committed { entry, proposal: Some(_) } => entry.index,
            other => panic!("{other:?}"),
        };
        self.events().await.into_iter().map(index).collect()
    }

    /// Indexes on the disk, and the term.
    fn kept(&self) -> (Vec<u64>, u64) {
        let kept = MemoryStorage::open(&self.disk).load().unwrap();
        (kept.entries.iter().map(|entry| entry.index).collect(), kept.hard_state.term)
    }
}

/// Lets the others do what they can.
async fn others() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_term_is_durable_before_the_driver_hears_of_it() {
    let mut world = World::on(MemoryDisk::default(), 100);
    assert_eq!((world.kept().1, world.consensus.term()), (1, 1));
    assert_eq!(world.events().await, [Event::Elected { term: 1 }]);
    let mut next = World::on(world.disk, 100);
    assert_eq!(next.events().await, [Event::Elected { term: 2 }]);
}

#[tokio::test]
async fn what_is_proposed_during_a_sync_is_synced_together() {
    // One look at the room; then the disk does not get on.
    let mut world = World::new(1).await;
    world.propose(1);
    others().await;
    world.propose(1);
    others().await;
    world.propose(3);
    others().await;
    assert!(world.notices.try_recv().is_err(), "nothing is durable yet");
    world.permits.add_permits(2);
    assert_eq!(world.committed().await, [1]);
    assert_eq!(world.committed().await, [2, 3, 4, 5]);
    assert_eq!(world.kept().0, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn what_is_proposed_at_once_is_synced_at_once() {
    let mut world = World::new(2).await;
    world.propose(3);
    assert_eq!(world.committed().await, [1, 2, 3]);
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_nothing_is_given_up() {
    let mut world = World::new(100).await;
    world.disk.fail_next_append(Fault::Full);
    world.propose(2);
    others().await;
    assert!(world.consensus.is_full());
    world.propose(1);
    assert_eq!(world.committed().await, [1, 2]);
    assert_eq!(world.committed().await, [3]);
    // Somebody has made room meanwhile: that is seen where nothing is written, too.
    while world.consensus.is_full() {
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_disk_that_others_fill_is_noticed_while_nothing_is_written() {
    let world = World::new(100).await;
    world.disk.set_free_bytes(USERS_RESERVE_BYTES - 1);
    while !world.consensus.is_full() {
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_write_that_fails_deposes_the_machine_before_it_ends_the_process() {
    for fault in [Fault::Lost, Fault::Kept] {
        let mut world = World::new(100).await;
        world.disk.fail_next_append(fault);
        world.propose(2);
        let lost = [1, 2].map(|id| Event::Lost(ProposalId(id)));
        let [first, second] = lost;
        assert_eq!(world.events().await, [Event::Deposed, first, second]);
        assert!(matches!(world.notice().await, Notice::Failed(_)));
        // What the disk has of it counts at the next start.
        let kept = if fault == Fault::Kept { vec![1, 2] } else { Vec::new() };
        assert_eq!(world.kept().0, kept);
        let mut next = World::on(world.disk, 100);
        assert_eq!(next.events().await, [Event::Elected { term: 2 }]);
        next.propose(1);
        assert_eq!(next.committed().await, [kept.len() as u64 + 1]);
    }
}

#[tokio::test]
async fn a_write_is_seen_to_its_end_when_the_driver_goes() {
    let mut world = World::new(1).await;
    world.propose(2);
    others().await;
    let World { disk, permits, consensus, notices, .. } = world;
    drop((consensus, notices));
    others().await;
    permits.add_permits(1);
    let kept = || MemoryStorage::open(&disk).load().unwrap().entries.len();
    while kept() < 2 {
        sleep(Duration::from_millis(5)).await;
    }
}

//! The reader: a replica that answers reads and decides nothing.
//!
//! It answers lists, watches, metrics and snapshots from a copy of the state, on a thread of its own. It applies the
//! same committed entries as the manager machine, so no step of that machine and no heartbeat waits for a read, however
//! long the read takes. Questions and entries come through one queue, so an answer is at least as new as everything
//! that was committed when the question was asked.
//!
//! A question has only a shared reference to the state. A question that panics has changed nothing: its caller gets an
//! error, and the reader goes on.

use crate::tally::{Before, Tally};
use orbit_core::{
    manager::{Lead, View},
    model::{Code, Entry, Rejection, Time, Timing},
    state::{Cluster, Snapshot},
};
use orbit_shell::Clock;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// So many questions are under way at a time; others wait for their turn before they are in the queue.
const QUESTIONS_MAX: usize = 32;

type Question = Box<dyn FnOnce(View, Time) + Send>;

enum Input {
    /// The next entry.
    Committed(Arc<Entry>),
    /// What the leader knows beside the log.
    Lead(Option<Box<Lead>>),
    /// Another state: of several managers, one that was left behind is sent it.
    Install(Box<Cluster>),
    Ask(Question),
}

/// A handle of the reader. Cheap to clone; the reader ends with the last one.
#[derive(Clone)]
pub(crate) struct Reader {
    inputs: mpsc::UnboundedSender<Input>,
    turns: Arc<Semaphore>,
    tally: Arc<Tally>,
}

/// The replica itself.
struct Replica {
    cluster: Cluster,
    tally: Arc<Tally>,
    timing: Timing,
    lead: Option<Box<Lead>>,
    clock: Clock,
}

impl Reader {
    /// Starts one. `clock` is the machine's own.
    pub fn start(cluster: Cluster, timing: Timing, clock: Clock) -> Reader {
        let (inputs, receiver) = mpsc::unbounded_channel();
        let tally = Arc::<Tally>::default();
        let replica = Replica { cluster, tally: tally.clone(), timing, lead: None, clock };
        run(replica, receiver);
        Reader { inputs, turns: Arc::new(Semaphore::new(QUESTIONS_MAX)), tally }
    }

    /// What has happened to services since this process began.
    #[cfg_attr(not(feature = "daemon"), allow(dead_code, reason = "the REST API reads it"))]
    pub fn tally(&self) -> Arc<Tally> {
        self.tally.clone()
    }

    /// An entry was committed. To be said before anybody is answered because of it.
    pub fn committed(&self, entry: Arc<Entry>) {
        let _ = self.inputs.send(Input::Committed(entry));
    }

    /// What the leader knows has changed.
    pub fn lead(&self, lead: Option<Lead>) {
        let _ = self.inputs.send(Input::Lead(lead.map(Box::new)));
    }

    /// The state was replaced.
    pub fn install(&self, cluster: Cluster) {
        let _ = self.inputs.send(Input::Install(Box::new(cluster)));
    }

    /// Asks; `now` is on the machine's own clock.
    ///
    /// # Errors
    /// When the manager is shutting down, or the question itself failed, which is a bug of ours.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(View, Time) -> T + Send + 'static,
    ) -> Result<T, Rejection> {
        let gone = || Rejection::new(Code::Unavailable, "the manager is shutting down: ask again");
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| gone())?;
        let (give, take) = oneshot::channel();
        let ask = move |view: View, now| {
            let answer = catch_unwind(AssertUnwindSafe(|| question(view, now)));
            drop(turn);
            let _ = give.send(answer.map_err(|_| {
                tracing::error!("a question about the state panicked; the manager goes on");
                Rejection::new(
                    Code::Internal,
                    "this could not be answered, which is a bug of Orbit: see the manager's log",
                )
            }));
        };
        self.inputs.send(Input::Ask(Box::new(ask))).map_err(|_| gone())?;
        take.await.unwrap_or_else(|_| Err(gone()))
    }

    /// The state, to be written as a snapshot.
    ///
    /// # Errors
    /// When the manager is shutting down.
    pub async fn snapshot(&self) -> Result<Snapshot, Rejection> {
        self.ask(|view, _| view.cluster().snapshot()).await
    }
}

impl Replica {
    fn take(&mut self, input: Input) {
        match input {
            Input::Committed(entry) => {
                let before = Before::of(&self.cluster, &entry);
                self.cluster.apply(&entry);
                self.tally.applied(before, &self.cluster);
            }
            Input::Lead(lead) => self.lead = lead,
            Input::Install(cluster) => self.cluster = *cluster,
            Input::Ask(question) => {
                question(View::new(&self.cluster, &self.timing, self.lead.as_deref()), Time(self.clock.ms()));
            }
        }
    }
}

/// On a thread of its own.
#[cfg(not(madsim))]
fn run(mut replica: Replica, mut inputs: mpsc::UnboundedReceiver<Input>) {
    let read = move || {
        while let Some(input) = inputs.blocking_recv() {
            replica.take(input);
        }
    };
    std::thread::Builder::new().name("reader".into()).spawn(read).expect("a thread can be had at the start");
}

/// The simulator has one thread: there it is a task of it.
#[cfg(madsim)]
fn run(mut replica: Replica, mut inputs: mpsc::UnboundedReceiver<Input>) {
    tokio::spawn(async move {
        while let Some(input) = inputs.recv().await {
            replica.take(input);
        }
    });
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;
    use orbit_core::model::{ClusterId, Command};

    fn entry(index: u64) -> Arc<Entry> {
        let command = Command::Init { cluster: ClusterId(1) };
        Arc::new(Entry { index, term: 1, at: Time(index), wall_ms: 1, actor: orbit_core::model::Actor::Local, command })
    }

    fn reader() -> Reader {
        Reader::start(Cluster::default(), Timing::default(), Clock::start())
    }

    #[tokio::test]
    async fn a_question_is_answered_at_an_entry_as_new_as_the_moment_it_was_asked() {
        let reader = reader();
        for index in 1..=100 {
            reader.committed(entry(index));
            let seen = reader.ask(|view, _| view.cluster().index).await.unwrap();
            assert!(seen >= index, "{seen} was seen after {index} was committed");
        }
    }

    #[tokio::test]
    async fn a_question_that_panics_is_answered_with_an_error_and_nobody_else_notices() {
        let reader = reader();
        let failed = reader.ask(|_, _| -> u64 { panic!("a bug in a view") }).await.unwrap_err();
        assert_eq!(failed.code, Code::Internal);
        reader.committed(entry(1));
        assert_eq!(reader.ask(|view, _| view.cluster().index).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn questions_wait_for_their_turn_outside_of_the_queue() {
        let reader = reader();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let blocked = tokio::spawn({
            let reader = reader.clone();
            async move { reader.ask(move |_, _| gate.recv().is_ok()).await }
        });
        let asked: Vec<_> = (0..10 * QUESTIONS_MAX)
            .map(|_| {
                let reader = reader.clone();
                tokio::spawn(async move { reader.ask(|view, _| view.cluster().index).await })
            })
            .collect();
        tokio::task::yield_now().await;
        while reader.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(asked.iter().all(|asked| !asked.is_finished()), "the first one holds up the reader");
        open.send(()).unwrap();
        assert!(blocked.await.unwrap().unwrap());
        for asked in asked {
            asked.await.unwrap().unwrap();
        }
    }
}

//! What a run went through: counted, hashed, and printed when somebody replays it.

use madsim::time::TimeHandle;
use std::{
    collections::BTreeMap,
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// An invariant that does not hold: its name, and what was found.
pub(crate) type Violation = (&'static str, String);

/// What a seed went through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// How often each fault and each activity was reached.
    pub counts: BTreeMap<&'static str, u64>,
    /// Of everything that was noted, with its time, in order: equal for equal seeds, in any process.
    pub hash: u64,
}

/// Takes notes. Clones are the same record.
#[derive(Clone, Debug)]
pub(crate) struct Record(Arc<Mutex<Notes>>);

#[derive(Debug)]
struct Notes {
    counts: BTreeMap<&'static str, u64>,
    hasher: DefaultHasher,
    last_ms: u64,
    verbose: bool,
}

impl Record {
    pub fn new(verbose: bool) -> Record {
        Record(Arc::new(Mutex::new(Notes {
            counts: BTreeMap::new(),
            hasher: DefaultHasher::new(),
            last_ms: 0,
            verbose,
        })))
    }

    /// Something has happened: `what` is counted, all of it is hashed.
    pub fn note(&self, what: &'static str, about: impl Debug) {
        let at = TimeHandle::try_current().map(|time| time.elapsed()).unwrap_or_default();
        let about = format!("{about:?}");
        let mut notes = self.lock();
        *notes.counts.entry(what).or_default() += 1;
        notes.last_ms = at.as_millis() as u64;
        (at.as_nanos(), what, &about).hash(&mut notes.hasher);
        if notes.verbose {
            println!("{:>10.4} s  {what}: {about}", at.as_secs_f64());
        }
    }

    pub fn report(&self) -> Report {
        let notes = self.lock();
        Report { virtual_ms: notes.last_ms, counts: notes.counts.clone(), hash: notes.hasher.finish() }
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

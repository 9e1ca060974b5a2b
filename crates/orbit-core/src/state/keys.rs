//! Idempotency keys: what was answered under each.

use crate::model::Answer;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// The answer to a request that carried an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key.
    pub key: String,
    /// Of the request, so that another one under the same key is refused.
    pub fingerprint: u64,
    /// What was answered.
    pub answer: Answer,
}

/// The answers to the last requests that carried an idempotency key (invariant I12).
#[derive(Clone, Debug, Default)]
pub(crate) struct IdempotencyKeys {
    by_key: BTreeMap<Arc<str>, (u64, Answer)>,
    oldest_first: VecDeque<Arc<str>>,
}

impl IdempotencyKeys {
    /// So many answers are remembered.
    pub const MAX: usize = 100_000;

    pub fn get(&self, key: &str) -> Option<&(u64, Answer)> {
        self.by_key.get(key)
    }
    pub fn insert(&mut self, key: &str, fingerprint: u64, answer: Answer) {
        let key: Arc<str> = key.into();
        self.by_key.insert(key.clone(), (fingerprint, answer));
        self.oldest_first.push_back(key);
        if self.oldest_first.len() > Self::MAX {
            let oldest = self.oldest_first.pop_front().expect("not empty");
            self.by_key.remove(&oldest);
        }
    }
    /// Oldest first.
    pub fn records(&self) -> impl Iterator<Item = KeyRecord> + '_ {
        self.oldest_first.iter().map(|key| {
            let (fingerprint, answer) = self.by_key[key].clone();
            KeyRecord { key: key.to_string(), fingerprint, answer }
        })
    }
}

//! Tests of the stores. Both forms of each go through the same ones.

mod files;
mod ledger;
mod log;
mod power_loss;

use crate::*;
use orbit_core::{
    model::*,
    state::{Cluster, Snapshot},
    testing,
};

/// A short history that uses the parts of a snapshot that compaction has to carry.
pub fn entry(index: u64, term: u64) -> Entry {
    let command = match index {
        1 => Command::Init { cluster: ClusterId(7) },
        2 => Command::Barrier { seed: 9 },
        _ => Command::Put(Put {
            definition: Definition {
                replicas: 3,
                ..testing::service(format!("web-{}", index % 50), testing::spec(format!("web:{index}")))
            },
            condition: Condition::None,
            keeps_replicas: false,
            idempotency_key: index.is_multiple_of(3).then(|| format!("key-{index}")),
        }),
    };
    Entry { index, term, at: Time(index * 10), wall_ms: index, actor: Actor::Local, command }
}

pub fn entries(range: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    range.map(|index| entry(index, 1)).collect()
}

/// The state after the entries up to `index`.
pub fn state_at(index: u64) -> Snapshot {
    let mut cluster = Cluster::default();
    entries(1..=index).iter().for_each(|entry| {
        cluster.apply(entry);
    });
    cluster.snapshot()
}

/// What a recovered log amounts to: snapshot and replay.
pub fn replayed(recovered: Recovered) -> Snapshot {
    let mut cluster =
        recovered.snapshot.map_or_else(Cluster::default, |s| Cluster::restore(s).expect("our own snapshot"));
    recovered.entries.iter().for_each(|entry| {
        cluster.apply(entry);
    });
    cluster.snapshot()
}

/// For tests: no reserve.
pub const OPTIONS: Options = Options { cache_bytes: 1 << 20, reserve_bytes: 0 };

pub fn on_redb() -> RedbStorage {
    let free = || Ok(u64::MAX);
    RedbStorage::create_with_backend(redb::backends::InMemoryBackend::new(), OPTIONS, free).unwrap()
}

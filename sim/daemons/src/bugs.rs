//! How good is this level? Each bug that is planted in the shells or the store is put in force, and
//! seeds are lived through until one of them fails. The pure world has no shells, so nothing but
//! these daemons can find them.

use orbit_core::planted::{Bug, Level, plant};
use orbit_sim_daemons::{Failure, run};
use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// Hunts every bug of the shells and the store.
pub fn hunt_all(seeds: u64) -> ExitCode {
    plant(None);
    if let Some((seed, failure)) = hunt(seeds) {
        println!("without a bug, seed {seed}: {failure}");
        return ExitCode::FAILURE;
    }
    println!("without a bug: {seeds} seeds of the daemons, none fails\n");
    println!("{:<28}{:<16}{:>6}  {:<11}{:>8}", "bug", "place", "seeds", "invariant", "seconds");
    let mut unfound = 0;
    for bug in Bug::ALL.iter().filter(|bug| bug.place().level() == Level::Daemons) {
        let begun = Instant::now();
        plant(Some(*bug));
        let found = hunt(seeds);
        plant(None);
        unfound += u32::from(found.is_none());
        let (seed, invariant) = found
            .map_or_else(|| ("-".into(), "not found".into()), |(seed, failure)| (seed.to_string(), failure.invariant));
        let (name, place, seconds) = (bug.name(), bug.place().name(), begun.elapsed().as_secs_f64());
        println!("{name:<28}{place:<16}{seed:>6}  {invariant:<11}{seconds:>8.1}");
    }
    if unfound == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first seed that fails, on all cores: seeds are begun in order, and every one before a failing
/// one is lived to its end.
fn hunt(seeds: u64) -> Option<(u64, Box<Failure>)> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let next = AtomicU64::new(1);
    let found: Mutex<Option<(u64, Box<Failure>)>> = Mutex::default();
    let first = || found.lock().expect("a failure is a value").as_ref().map_or(u64::MAX, |(seed, _)| *seed);
    let search = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > seeds || seed > first() {
                return;
            }
            if let Err(failure) = run(seed) {
                let mut found = found.lock().expect("a failure is a value");
                if found.as_ref().is_none_or(|(first, _)| seed < *first) {
                    *found = Some((seed, failure));
                }
            }
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(search))));
    found.into_inner().expect("a failure is a value")
}

//! The first seed that fails: how long the simulator takes to find a mutation. Both levels hunt in this way.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A seed that takes longer than this hangs. Any other takes less than a second in the pure world, and a few at the
/// level of the daemons.
const SEED_MAX: Duration = Duration::from_secs(60);

/// Why a seed failed.
pub struct Cause {
    /// The name of the invariant, one word.
    pub invariant: String,
    /// The failure in full.
    pub failure: String,
}

/// Runs seeds on all cores until one fails, and prints `found SEED INVARIANT` and below it the failure, or `none`.
///
/// Seeds begin in order, and each seed before a failing one runs to its end, so the seed printed is the first one that
/// fails. The number of each seed that begins goes to standard error: a mutation may end the whole process.
pub fn hunt(from: u64, seeds: u64, run: impl Fn(u64) -> Result<(), Cause> + Sync) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let next = AtomicU64::new(from);
    let at_work = AtomicU64::new(threads);
    let found: Mutex<Option<(u64, Cause)>> = Mutex::default();
    let running: Mutex<BTreeMap<u64, Instant>> = Mutex::default();
    let first = || found.lock().expect("a failure is a value").as_ref().map_or(u64::MAX, |(seed, _)| *seed);
    let search = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds || seed > first() {
                break;
            }
            eprintln!("{seed}");
            running.lock().expect("nobody panics with it").insert(seed, Instant::now());
            let outcome = run(seed);
            running.lock().expect("nobody panics with it").remove(&seed);
            if let Err(cause) = outcome {
                let mut found = found.lock().expect("a failure is a value");
                if found.as_ref().is_none_or(|(first, _)| seed < *first) {
                    *found = Some((seed, cause));
                }
            }
        }
        at_work.fetch_sub(1, Ordering::Relaxed);
    };
    // A thread that hangs cannot be stopped, so the process ends with it.
    let watch = || {
        while at_work.load(Ordering::Relaxed) > 0 {
            std::thread::sleep(Duration::from_millis(20));
            let running = running.lock().expect("nobody panics with it");
            if let Some((seed, begun)) = running.first_key_value()
                && begun.elapsed() > SEED_MAX
            {
                println!("found {seed} hangs");
                std::process::exit(0);
            }
        }
    };
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(search)));
        scope.spawn(watch);
    });
    match found.into_inner().expect("a failure is a value") {
        Some((seed, Cause { invariant, failure })) => println!("found {seed} {invariant}\n{failure}"),
        None => println!("none"),
    }
    ExitCode::SUCCESS
}

//! A few seeds in every test run. Many more: `cargo run --release -p orbit-sim -- run`.

use orbit_sim::{Options, Report, run, run_with};

const SEEDS: u64 = 50;

/// Debug builds are slow, so the faults of each seed last a quarter as long.
fn short(seed: u64) -> Report {
    let options = Options::from_seed(seed);
    let options = Options { chaos_ms: options.chaos_ms / 4, ..options };
    run_with(options, false).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn fifty_seeds_hold_every_invariant() {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64).min(4);
    let mut reports: Vec<Report> = Vec::new();
    std::thread::scope(|scope| {
        let part = |nth| move || (nth..SEEDS).step_by(threads as usize).map(short).collect::<Vec<_>>();
        let lives: Vec<_> = (0..threads).map(|nth| scope.spawn(part(nth))).collect();
        reports.extend(lives.into_iter().flat_map(|life| life.join().expect("a seed failed: see above")));
    });
    assert_eq!(reports.len() as u64, SEEDS);
    // They were no idle worlds.
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    assert!(sum(|report| report.started) > 500, "containers were started");
    assert!(sum(|report| report.manager_crashes) > 20, "managers crashed");
    assert!(sum(|report| report.worker_crashes) > 20, "workers crashed");
}

#[test]
fn a_seed_is_lived_the_same_way_twice() {
    for seed in [3, 8, 21] {
        assert_eq!(short(seed), short(seed), "seed {seed}");
    }
    assert_ne!(short(3).hash, short(8).hash);
}

#[test]
fn a_whole_run_is_one_of_its_options() {
    let (whole, again) = (run(2), run_with(Options::from_seed(2), false));
    assert_eq!(whole.expect("a clean seed"), again.expect("a clean seed"));
}

//! A few seeds in every test run, and every script that was kept. Many more seeds: `make sim`.

use orbit_sim::{Fault, Options, Plan, Report, Script, Tally, run, scenarios};
use std::path::Path;

const SEEDS: u64 = 50;

/// Debug builds are slow, so the faults of each seed last a quarter as long.
fn short(seed: u64) -> Report {
    let options = Options::from_seed(seed);
    let options = Options { chaos_ms: options.chaos_ms / 4, ..options };
    let (report, _) = run(&Plan::drawn(options)).unwrap_or_else(|failure| {
        panic!("{failure}\nseed {seed}: a whole run of it is `make replay LEVEL=pure SEED={seed}`\n{}", failure.script)
    });
    report
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
    assert!(reports.iter().map(|report| report.started).sum::<u64>() > 500, "containers were started");
    let mut tally = Tally::default();
    reports.iter().for_each(|report| tally.add(&report.tally));
    let kinds = Fault::ALL.iter().filter(|fault| tally.of(**fault) > 0).count();
    assert!(kinds > 20, "{kinds} kinds of faults struck");
}

#[test]
fn a_seed_is_lived_the_same_way_twice() {
    for seed in [3, 8, 21] {
        assert_eq!(short(seed), short(seed), "seed {seed}");
    }
    assert_ne!(short(3).hash, short(8).hash);
}

/// What came into a drawn world, written down, read and lived again, makes the same world.
#[test]
fn a_run_and_its_script_are_the_same() {
    for seed in 1..20 {
        let options = Options::from_seed(seed);
        let plan = Plan::drawn(Options { chaos_ms: options.chaos_ms / 4, ..options });
        let record = orbit_sim::record(&plan);
        let read: Script = record.to_string().parse().expect("what was written can be read");
        assert_eq!(read.steps, record.steps);
        let (drawn, scripted) = (run(&plan), run(&Plan::script(&read)));
        let (drawn, scripted) = (drawn.expect("a clean seed"), scripted.expect("a clean seed"));
        assert_eq!((drawn.0.hash, drawn.1), (scripted.0.hash, scripted.1), "seed {seed}");
    }
}

/// Each was found by a seed, and is mended.
#[test]
fn every_kept_script_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("sim/testdata").map(|file| file.expect("readable").path()) {
        let text = std::fs::read_to_string(&file).expect("readable");
        let script: Script = text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if let Err(failure) = run(&Plan::script(&script)) {
            panic!("{}: {failure}", file.display());
        }
        count += 1;
    }
    assert!(count > 0, "scripts are kept in sim/testdata");
}

#[test]
fn every_scenario_ends_as_it_should() {
    for scenario in scenarios() {
        if let Err(failure) = scenario.run() {
            panic!("{}: {failure}", scenario.name);
        }
    }
}

/// A part of the crash points; `make sim` has all of them.
#[test]
fn a_crash_at_every_eleventh_boundary_changes_nothing() {
    for (nth, scenario) in scenarios().iter().enumerate() {
        if let Err(failure) = scenario.crash_points(nth as u64 % 11, 11) {
            panic!("{failure}");
        }
    }
}

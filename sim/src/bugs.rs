//! How good is the simulator? Each planted bug of the machines is put in force, and seeds are lived
//! through until one of them fails.

use orbit_core::planted::{Bug, Level, plant};
use orbit_sim::{Failure, Plan, run};
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// So many bugs that the core's own tests do not find are needed to say anything.
const COUNTED_MIN: usize = 20;
/// At most so many of them may stay unfound.
const UNFOUND_MAX: usize = 1;
/// The goal for the median of the seeds until one is found.
const MEDIAN_MAX: u64 = 50;
/// A test program that has not ended by then has found the bug: it hangs.
const TEST_MAX: Duration = Duration::from_secs(120);

/// The first seed that fails, if any, and what it took to get there.
#[derive(Default)]
struct Hunt {
    found: Option<(u64, Box<Failure>)>,
    busy: Duration,
}

/// One line of the table.
struct Row {
    bug: Bug,
    by_core: Option<bool>,
    hunt: Hunt,
}

/// Hunts every bug of the machines, or one. `core_tests` are the core's own test programs, to know
/// which bugs they find.
pub fn hunt_all(seeds: u64, name: Option<&str>, core_tests: &[PathBuf]) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let of_machines = |bug: &&Bug| bug.place().level() == Level::Pure;
    let wanted = |bug: &&Bug| name.is_none_or(|name| name == bug.name());
    let bugs: Vec<Bug> = Bug::ALL.iter().filter(of_machines).filter(wanted).copied().collect();
    if bugs.is_empty() {
        eprintln!("there is no such bug; those of the machines are:");
        Bug::ALL.iter().filter(of_machines).for_each(|bug| eprintln!("  {:<28}{}", bug.name(), bug.about()));
        return ExitCode::from(2);
    }
    plant(None);
    let clean = hunt(seeds);
    if let Some((seed, failure)) = &clean.found {
        println!("without a bug, seed {seed}: {failure}");
        return ExitCode::FAILURE;
    }
    println!("without a bug: {seeds} seeds, none fails, {:.0} CPU s\n", clean.busy.as_secs_f64());
    println!("{:<28}{:<12}{:<12}{:>6}  {:<11}{:>6}", "bug", "place", "core tests", "seeds", "invariant", "CPU s");
    let mut rows = Vec::new();
    for bug in bugs {
        plant(Some(bug));
        let row = Row { bug, by_core: found_by(core_tests, bug), hunt: hunt(seeds) };
        plant(None);
        row.print();
        if let (Some(_), Some((_, failure))) = (name, &row.hunt.found) {
            println!("{}\n{failure}", bug.about());
        }
        rows.push(row);
    }
    if name.is_some() { ExitCode::SUCCESS } else { judge(&rows, !core_tests.is_empty()) }
}

impl Row {
    fn print(&self) {
        let by_core = match self.by_core {
            None => "?",
            Some(true) => "yes",
            Some(false) => "no",
        };
        let (seed, invariant) = match &self.hunt.found {
            Some((seed, failure)) => (seed.to_string(), failure.invariant),
            None => ("-".to_string(), "not found"),
        };
        let (name, place, busy) = (self.bug.name(), self.bug.place().name(), self.hunt.busy.as_secs_f64());
        println!("{name:<28}{place:<12}{by_core:<12}{seed:>6}  {invariant:<11}{busy:>6.1}");
    }
}

/// What the table says; the score counts what the core's own tests do not find.
fn judge(rows: &[Row], core_known: bool) -> ExitCode {
    let counted: Vec<&Row> = rows.iter().filter(|row| row.by_core != Some(true)).collect();
    let unfound: Vec<&str> = counted.iter().filter(|r| r.hunt.found.is_none()).map(|r| r.bug.name()).collect();
    // An unfound one is worse than any found one.
    let seed_of = |row: &&Row| row.hunt.found.as_ref().map_or(u64::MAX, |(seed, _)| *seed);
    let mut seeds: Vec<u64> = counted.iter().map(seed_of).collect();
    seeds.sort_unstable();
    let median = seeds.get(seeds.len() / 2).copied().unwrap_or(u64::MAX);
    let worst = seeds.iter().rev().find(|seed| **seed < u64::MAX).copied().unwrap_or_default();
    println!("\n{} bugs, {} of them not found by the core's own tests; of those:", rows.len(), counted.len());
    println!("found by {} seed at the median, by {worst} at the worst; goal: median at most {MEDIAN_MAX}", median);
    println!("not found: {} of at most {UNFOUND_MAX}: {}", unfound.len(), unfound.join(", "));
    let enough = !core_known || counted.len() >= COUNTED_MIN;
    if !enough {
        println!("too few to say anything: {COUNTED_MIN} are needed that the core's own tests do not find");
    }
    let good = enough && median <= MEDIAN_MAX && unfound.len() <= UNFOUND_MAX;
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first seed that fails, on all cores: seeds are begun in order, and every one before a failing
/// one is lived to its end.
fn hunt(seeds: u64) -> Hunt {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let next = AtomicU64::new(1);
    let hunted: Mutex<Hunt> = Mutex::default();
    let first = || hunted.lock().expect("a failure is a value").found.as_ref().map_or(u64::MAX, |(seed, _)| *seed);
    let search = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > seeds || seed > first() {
                return;
            }
            let begun = Instant::now();
            let lived = run(&Plan::seed(seed));
            let mut hunted = hunted.lock().expect("a failure is a value");
            hunted.busy += begun.elapsed();
            if let Err(failure) = lived
                && hunted.found.as_ref().is_none_or(|(first, _)| seed < *first)
            {
                hunted.found = Some((seed, failure));
            }
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(search))));
    hunted.into_inner().expect("a failure is a value")
}

/// Whether one of the core's own test programs finds it; `None` where none is known.
fn found_by(core_tests: &[PathBuf], bug: Bug) -> Option<bool> {
    (!core_tests.is_empty()).then(|| core_tests.iter().any(|program| !passes(program, bug)))
}

fn passes(program: &Path, bug: Bug) -> bool {
    let mut command = Command::new(program);
    command.env("ORBIT_PLANTED", bug.name()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The same cases every time, and none made smaller: whether one fails is all that is asked.
    command.env("PROPTEST_RNG_SEED", "1").env("PROPTEST_MAX_SHRINK_ITERS", "0").env("INSTA_UPDATE", "no");
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if begun.elapsed() < TEST_MAX => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

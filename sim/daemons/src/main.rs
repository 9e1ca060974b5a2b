//! `orbit-sim-daemons`: seeds from the command line.

#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use orbit_sim::hunt::{Cause, hunt};
use orbit_sim_daemons::{Failure, Options, Report, run, run_with};
use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// Lives through seeds of the daemons' world.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Many seeds, on all cores.
    Run {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
    },
    /// The first seed that fails, in a line that a program can read: `found SEED INVARIANT` or `none`.
    Hunt {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many at most.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
    },
    /// One seed, with everything that happens.
    Replay {
        /// The seed.
        seed: u64,
        /// Run it twice, and compare.
        #[arg(long)]
        twice: bool,
    },
}

/// So many seeds have to reach everything once.
const SEEDS_FOR_ALL: u64 = 200;
/// What they have to reach.
const REACHED: [&str; 18] = [
    "containers hurt",
    "ends in a write",
    "engine outages",
    "failing syncs planned",
    "full disks",
    "hang-ups",
    "heals",
    "hints lost",
    "kills",
    "operations failed",
    "partitions",
    "pauses",
    "power losses",
    "prunes",
    "recoveries compared",
    "responses lost",
    "store errors",
    "swizzles",
];

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Run { from, seeds } => many(from, seeds),
        Command::Hunt { from, seeds } => hunt(from, seeds, |seed| {
            let cause = |it: Box<Failure>| Cause { invariant: it.invariant.clone(), failure: it.to_string() };
            run(seed).map(drop).map_err(cause)
        }),
        Command::Replay { seed, twice } => replay(seed, twice),
    }
}

fn replay(seed: u64, twice: bool) -> ExitCode {
    let options = Options::from_seed(seed);
    println!("{options:?}");
    let first = run_with(options.clone(), !twice);
    if twice {
        let second = run_with(options, false);
        let report = |run: &Result<Report, Box<Failure>>| match run {
            Ok(report) => report.clone(),
            Err(failure) => failure.report.clone(),
        };
        if report(&first) != report(&second) {
            eprintln!("I15: the second run went another way: {:?}, then {:?}", report(&first), report(&second));
            return ExitCode::FAILURE;
        }
    }
    match first {
        Ok(report) => {
            println!("{report:?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn many(from: u64, seeds: u64) -> ExitCode {
    let begun = Instant::now();
    let (next, done) = (AtomicU64::new(from), AtomicU64::new(0));
    let sum = Mutex::new(Report::default());
    let failures: Mutex<Vec<Box<Failure>>> = Mutex::default();
    let live = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                return;
            }
            match run(seed) {
                Ok(report) => {
                    let mut sum = sum.lock().expect("nobody panics with it");
                    sum.virtual_ms += report.virtual_ms;
                    for (what, count) in report.counts {
                        *sum.counts.entry(what).or_default() += count;
                    }
                }
                Err(failure) => {
                    eprintln!("{failure}");
                    failures.lock().expect("nobody panics with it").push(failure);
                }
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(100) {
                eprintln!("{done} of {seeds} seeds, {:.0} s", begun.elapsed().as_secs_f64());
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(live))));
    let (sum, failures) = (sum.into_inner().expect("nobody panicked"), failures.into_inner().expect("nobody panicked"));
    for failure in &failures {
        println!("{failure}\n");
    }
    let missing: Vec<&str> = REACHED.iter().filter(|what| !sum.counts.contains_key(*what)).copied().collect();
    let seconds = begun.elapsed().as_secs_f64();
    let reached: Vec<String> = sum.counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    println!("{}", reached.join(", "));
    println!(
        "{seeds} seeds from {from}: {} failed; {:.1} virtual hours in {seconds:.1} s: {:.0} x real time",
        failures.len(),
        sum.virtual_ms as f64 / 3.6e6,
        sum.virtual_ms as f64 / 1000.0 / seconds,
    );
    let too_few = seeds >= SEEDS_FOR_ALL && !missing.is_empty();
    if too_few {
        println!("never reached: {}", missing.join(", "));
    }
    if failures.is_empty() && !too_few { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! `orbit-sim`: seeds from the command line.

use clap::{Parser, Subcommand};
use orbit_sim::{Options, Report, run, run_with};
use std::{process::ExitCode, time::Instant};

/// Lives through seeds of the pure world.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Many seeds; stops at the first failure.
    Run {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many.
        #[arg(long, default_value_t = 2000)]
        seeds: u64,
    },
    /// One seed, with every event.
    Replay {
        /// The seed.
        seed: u64,
    },
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Run { from, seeds } => many(from, seeds),
        Command::Replay { seed } => {
            let options = Options::from_seed(seed);
            println!("{options:?}");
            match run_with(options, true) {
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
    }
}

fn many(from: u64, seeds: u64) -> ExitCode {
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let mut results: Vec<Result<Report, String>> = Vec::new();
    std::thread::scope(|scope| {
        let mine = |nth| move || (from + nth..from + seeds).step_by(threads as usize).map(lived).collect::<Vec<_>>();
        let lives: Vec<_> = (0..threads).map(|nth| scope.spawn(mine(nth))).collect();
        results = lives.into_iter().flat_map(|life| life.join().expect("a failure is a value")).collect();
    });
    let mut sum = Report::default();
    let mut failures = 0;
    for result in results {
        match result {
            Ok(report) => {
                sum.events += report.events;
                sum.virtual_ms += report.virtual_ms;
                sum.entries += report.entries;
                sum.started += report.started;
                sum.manager_crashes += report.manager_crashes;
                sum.worker_crashes += report.worker_crashes;
            }
            Err(failure) => {
                failures += 1;
                if failures <= 3 {
                    eprintln!("{failure}\n");
                }
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds from {from}: {failures} failed; {} events, {} log entries, {} containers started, \
         {} manager and {} worker crashes, {:.0} virtual hours in {seconds:.1} s: {:.0} checked events/s, {:.0} x real time",
        sum.events,
        sum.entries,
        sum.started,
        sum.manager_crashes,
        sum.worker_crashes,
        sum.virtual_ms as f64 / 3.6e6,
        sum.events as f64 / seconds,
        sum.virtual_ms as f64 / 1000.0 / seconds,
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A panic is a violated assertion of the core: reported with its seed like any other.
fn lived(seed: u64) -> Result<Report, String> {
    match std::panic::catch_unwind(|| run(seed)) {
        Ok(result) => result.map_err(|failure| failure.to_string()),
        Err(_) => Err(format!("an assertion failed\nagain with: cargo run -p orbit-sim -- replay {seed}")),
    }
}

//! `orbit-sim`: the pure world from the command line.

mod named;
mod report;

use clap::{Parser, Subcommand};
use orbit_sim::{
    Failure, Options, Plan, Report, Script, Trace,
    hunt::{Cause, hunt},
    run,
};
use std::{io::Write, path::PathBuf, process::ExitCode};

/// Lives through seeds of the pure world.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Many seeds. Fails if an invariant is violated, or if 2,000 seeds or more miss a situation.
    Run {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many.
        #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
        /// Workers of each world, instead of a number drawn from the seed.
        #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
        nodes: Option<usize>,
        /// Only the figures.
        #[arg(long)]
        quiet: bool,
    },
    /// One seed, with every event.
    Replay {
        /// The seed.
        seed: u64,
        /// Only so many events.
        #[arg(long)]
        until: Option<u64>,
        /// The state after the last of them, and what that one changed in it.
        #[arg(long, requires = "until")]
        state: bool,
        /// Lives through it twice, without printing, and compares the hashes of all that happened.
        #[arg(long)]
        twice: bool,
    },
    /// A script, as a failing run leaves it behind.
    Script {
        /// Its file.
        file: PathBuf,
        /// Every event of it.
        #[arg(long)]
        events: bool,
        /// Only so many events.
        #[arg(long)]
        until: Option<u64>,
        /// The state after the last of them, and what that one changed in it.
        #[arg(long, requires = "until")]
        state: bool,
    },
    /// Every kept script of a folder: the names of those that fail, one a line.
    Kept {
        /// Such as `sim/testdata`.
        folder: PathBuf,
    },
    /// A scenario by name; without one, the list.
    Scenario {
        /// Its name, or `all`.
        name: Option<String>,
    },
    /// The figures that the simulator is held to.
    Goals,
    /// One hash over all that happens in the first seeds: equal in every process and build.
    Hash {
        /// How many.
        #[arg(default_value_t = 20)]
        seeds: u64,
    },
    /// Every scenario once for each boundary between two effects, with a crash there.
    CrashPoints,
    /// The first seed that fails, in a line that a program can read: `found SEED INVARIANT` or `none`.
    Hunt {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many at most.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
    },
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Run { from, seeds, nodes, quiet } => report::many(from, seeds, nodes, quiet),
        Command::Replay { seed, twice: true, .. } => twice(seed),
        Command::Replay { seed, until, state, .. } => {
            let options = Options::from_seed(seed);
            println!("{options:?}");
            show(&Plan { trace: Trace::Print { until, state }, ..Plan::drawn(options) })
        }
        Command::Script { file, events, until, state } => {
            let script = std::fs::read_to_string(&file).map_err(|error| error.to_string());
            match script.and_then(|text| text.parse::<Script>()) {
                Ok(script) => {
                    let print = events || until.is_some();
                    let trace = if print { Trace::Print { until, state } } else { Trace::Tail };
                    show(&Plan { trace, ..Plan::script(&script) })
                }
                Err(error) => {
                    eprintln!("{}: {error}", file.display());
                    ExitCode::from(2)
                }
            }
        }
        Command::Kept { folder } => named::kept(&folder),
        Command::Scenario { name } => named::scenario(name.as_deref()),
        Command::Goals => report::goals(),
        Command::Hash { seeds } => report::hash(seeds),
        Command::CrashPoints => named::crash_points(),
        Command::Hunt { from, seeds } => hunt(from, seeds, |seed| {
            let cause = |it: Box<Failure>| Cause { invariant: it.invariant.into(), failure: it.to_string() };
            run(&Plan::seed(seed)).map(drop).map_err(cause)
        }),
    }
}

fn show(plan: &Plan) -> ExitCode {
    let (text, code) = match run(plan) {
        Ok((Report { events, virtual_ms, hash, .. }, outcome)) => {
            let held = format!("held: {events} events, {} virtual s, hash {hash:016x}", virtual_ms / 1000);
            (format!("{held}\n{outcome:#?}"), ExitCode::SUCCESS)
        }
        Err(failure) => (format!("{}\n{failure}", failure.tail.join("\n")), ExitCode::FAILURE),
    };
    // Who wants to see a point on the way does not ask how it ended.
    if matches!(plan.trace, Trace::Print { until: Some(_), .. }) {
        return ExitCode::SUCCESS;
    }
    // Whoever reads with `| head` may have left.
    let _ = writeln!(std::io::stdout(), "{text}");
    code
}

fn twice(seed: u64) -> ExitCode {
    let hash = || run(&Plan::seed(seed)).map(|(report, _)| (report.events, report.hash));
    match (hash(), hash()) {
        (Ok(first), Ok(second)) if first == second => {
            println!("seed {seed}: {} events, hash {:016x}, twice the same", first.0, first.1);
            ExitCode::SUCCESS
        }
        (first, second) => {
            println!("seed {seed}: {first:?}, then {second:?}");
            ExitCode::FAILURE
        }
    }
}

//! `orbit-mutants`: which test finds a bug? Mutations change a copy of the tree, never the tree itself.

#![forbid(unsafe_code)]

mod bugs;
mod compiles;
mod copy;
mod draw;
mod judge;
mod ledger;
mod mutant;
mod mutation;
mod operators;
mod patch;
mod process;
mod together;

use clap::{Parser, Subcommand};
use mutation::{Level, Mutation};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Runs the tests and the simulators on mutations of the code.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Whether each hand-made mutation applies to the present tree and compiles, and whether each mutant called equivalent is
    /// there.
    Check,
    /// Which hand-made mutations the core's own tests find, and how many seeds it takes to find each. Fails if the goal
    /// is missed.
    Bugs {
        /// So many seeds at most.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
        /// Only those of this level.
        #[arg(long)]
        level: Option<Level>,
        /// Only this one, with what was found.
        #[arg(long)]
        name: Option<String>,
    },
    /// Draws machine-made mutants of the core, judges each by the core's own tests and by the simulator alone, and keeps
    /// what was seen in `sim/LEDGER.md`.
    Draw {
        /// How many that compile.
        #[arg(long, default_value_t = 40)]
        count: usize,
        /// What is drawn: the same seed draws the same mutants of the same tree.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// So many seeds of the simulator at most for each.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
    },
}

fn main() -> ExitCode {
    let repository = repository();
    let done = match Args::parse().command {
        Command::Check => check(&repository),
        Command::Draw { count, seed, seeds } => draw::draw(&repository, count, seed, seeds),
        Command::Bugs { seeds, level, name } => bugs::judge_all(&repository, seeds, level, name.as_deref()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("orbit-mutants: {error}");
        ExitCode::FAILURE
    })
}

/// The root of the repository that this program was built from.
fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).expect("the package is two folders below the root").to_path_buf()
}

fn check(repository: &Path) -> Result<ExitCode, String> {
    let mutations = Mutation::all(repository)?;
    let read = |path: &str| fs::read_to_string(repository.join(path));
    let stale =
        |it: &Mutation| it.patch.apply(read).err().map(|error| format!("sim/mutations/{}.patch: {error}", it.name));
    let mut stale: Vec<String> = mutations.iter().filter_map(stale).collect();
    stale.extend(ledger::stale_equivalent(repository)?);
    if stale.is_empty() {
        stale.extend(compiles::broken(repository, &mutations)?);
    }
    if stale.is_empty() {
        println!("{} mutations apply and compile", mutations.len());
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!(
        "{}\nwrite it again for the code as it is now, or delete it if no such bug can be made any more",
        stale.join("\n")
    ))
}

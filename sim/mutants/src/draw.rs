//! Draws machine-made mutants, judges them, and keeps what was seen.

use crate::{
    judge::Judge,
    ledger::{Ledger, Row},
    mutant::Catalog,
    mutation::Level,
};
use std::{
    path::Path,
    process::{Command, ExitCode},
    time::Instant,
};

/// Draws so many mutants that compile, and lives through so many seeds with each.
///
/// # Errors
/// The tree fails without a mutant, or a file cannot be read or written.
pub fn draw(repository: &Path, count: usize, seed: u64, seeds: u64) -> Result<ExitCode, String> {
    let begun = Instant::now();
    let catalog = Catalog::of(repository)?;
    let mut ledger = Ledger::of(repository)?;
    let judge = Judge::new(repository, seeds)?;
    let judged = judged(repository)?;
    let clean = judge.judge(&judge.build(Level::Pure)?)?;
    if let Some(test) = clean.by_core {
        return Err(format!("without a mutant, the core's own test `{test}` fails"));
    }
    if let Some(found) = clean.by_simulator {
        return Err(format!("without a mutant, seed {}: {}\n{}", found.seed, found.invariant, found.failure));
    }
    println!("without a mutant: no test of the core fails, nor any of {seeds} seeds\n");
    let (mut done, mut broken) = (0, 0);
    for mutant in catalog.draw(seed) {
        if done == count {
            break;
        }
        let (key, path) = (&mutant.key, mutant.path());
        let original = judge.copy.read(&path).map_err(|error| format!("{path}: {error}"))?;
        let text = mutant.change.apply(&original);
        let begun = Instant::now();
        let verdict = judge.copy.changed(&[(path, text)], || {
            // What does not compile is no mutant.
            let Ok(programs) = judge.build(Level::Pure) else { return Ok(None) };
            judge.judge(&programs).map(Some)
        })??;
        let Some(verdict) = verdict else {
            broken += 1;
            continue;
        };
        done += 1;
        let row = Row::new(mutant, &verdict, seeds, &judged);
        let outcome = ledger.keep(key, row)?;
        let found = verdict.by_simulator.map(|found| format!(" (seed {}: {})", found.seed, found.invariant));
        println!(
            "{done:>3}. {}:{} {}: {} {}\n     {outcome}{}, {:.0} s",
            key.file,
            mutant.change.line,
            key.function,
            key.operator,
            key.change,
            found.unwrap_or_default(),
            begun.elapsed().as_secs_f64()
        );
    }
    println!(
        "\n{done} mutants of seed {seed} in {:.1} minutes; {broken} more did not compile",
        begun.elapsed().as_secs_f64() / 60.0
    );
    println!("sim/LEDGER.md: {}", ledger.score());
    Ok(ExitCode::SUCCESS)
}

/// The present commit and date.
fn judged(repository: &Path) -> Result<String, String> {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).current_dir(repository).args(args).output();
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_string();
        if output.status.success() { Ok(text) } else { Err(format!("{program} {}: it failed", args.join(" "))) }
    };
    let commit = said("git", &["rev-parse", "--short=10", "HEAD"])?;
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no", "--", "crates", "sim/src"])?;
    let note = if changed.is_empty() { "" } else { " with changes" };
    Ok(format!("`{commit}`{note} {}", said("date", &["-u", "+%F"])?))
}

//! Draws machine-made mutants, judges them, and keeps what was seen.

use crate::{
    judge::{Judge, Programs, Verdict},
    ledger::{Ledger, Row},
    mutant::{Catalog, Mutant},
    mutation::Level,
    together::{NONE, Together},
};
use std::{
    collections::BTreeMap,
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
    let mut drawn = catalog.draw(seed);
    let (mut done, mut broken) = (0, 0);
    while done < count {
        // Those that do not compile are none, and others are drawn for them.
        let batch: Vec<&Mutant> = drawn.by_ref().take(count - done).collect();
        if batch.is_empty() {
            break;
        }
        let mut together = Together::default();
        let mut changed = BTreeMap::new();
        for (number, mutant) in (NONE + 1..).zip(batch) {
            let path = mutant.path();
            let original = judge.copy.read(&path).map_err(|error| format!("{path}: {error}"))?;
            let texts = [(path, mutant.change.apply(&original))];
            let alone = !together.add(number, &texts, |path| judge.copy.read(path))?;
            changed.insert(number, (mutant, texts, alone));
        }
        let mut keep = |mutant: &Mutant, verdict: Verdict| {
            done += 1;
            let outcome = ledger.keep(&mutant.key, Row::new(mutant, &verdict, seeds, &judged))?;
            print(done, mutant, &verdict, &outcome.to_string());
            Ok::<_, String>(())
        };
        let built = judge.build_together(Level::Pure, &mut together, |programs| {
            without_mutant(&judge, programs, seeds)?;
            for number in &programs.mutants {
                keep(changed[number].0, judge.judge(programs, *number)?)?;
            }
            Ok(programs.mutants.clone())
        })?;
        for (number, (mutant, texts, alone)) in &changed {
            if !alone {
                broken += usize::from(!built.contains(number));
                continue;
            }
            let verdict = judge.copy.changed(texts, || {
                let Ok(programs) = judge.build(Level::Pure) else { return Ok(None) };
                judge.judge(&programs, NONE).map(Some)
            })??;
            match verdict {
                Some(verdict) => keep(mutant, verdict)?,
                None => broken += 1,
            }
        }
    }
    println!(
        "\n{done} mutants of seed {seed} in {:.1} minutes; {broken} more did not compile",
        begun.elapsed().as_secs_f64() / 60.0
    );
    println!("sim/LEDGER.md: {}", ledger.score());
    Ok(ExitCode::SUCCESS)
}

/// Nothing fails without a mutant, or what is found says nothing of any.
fn without_mutant(judge: &Judge, programs: &Programs, seeds: u64) -> Result<(), String> {
    judge.judge_without("mutant", programs)?;
    let count = programs.mutants.len();
    println!("{count} mutants in one build; without one, no test of the core fails, nor any of {seeds} seeds\n");
    Ok(())
}

fn print(count: usize, mutant: &Mutant, verdict: &Verdict, outcome: &str) {
    let Mutant { key, change } = mutant;
    println!("{count:>3}. {}:{} {}: {} {}", key.file, change.line, key.function, key.operator, key.change);
    let found = verdict.by_simulator.as_ref().map(|found| format!(" (seed {}: {})", found.seed, found.invariant));
    let took = (verdict.tests_took + verdict.hunt_took).as_secs_f64();
    println!("     {outcome}{}, CPU {took:.0} s", found.unwrap_or_default());
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

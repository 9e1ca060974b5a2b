//! How good is the simulator? Each hand-made mutation is built, and seeds run until one fails.

use crate::{
    judge::{Judge, Programs, Verdict},
    mutation::{Level, Mutation},
    together::{NONE, Together},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

/// So many mutations that the core's own tests do not find are needed to say anything.
const COUNTED_MIN: usize = 20;
/// At most so many of them may stay unfound.
const UNFOUND_MAX: usize = 1;
/// The goal for the median of the seeds until one is found.
const MEDIAN_MAX: u64 = 50;

/// One line of the table.
struct Row {
    mutation: Mutation,
    verdict: Verdict,
}

/// Judges all mutations, those of one level, or one by its name.
///
/// # Errors
/// A mutation that does not apply or does not compile, or a failure without any mutation.
pub fn judge_all(repository: &Path, seeds: u64, only: Option<Level>, name: Option<&str>) -> Result<ExitCode, String> {
    let begun = Instant::now();
    let mut mutations = Mutation::all(repository)?;
    mutations.retain(|it| name.is_none_or(|name| name == it.name) && only.is_none_or(|level| level == it.level));
    if mutations.is_empty() {
        return Err("there is no such mutation in sim/mutations".into());
    }
    let judge = Judge::new(repository, seeds)?;
    let (mut good, mut rows) = (true, Vec::new());
    for level in [Level::Pure, Level::Daemons] {
        let (of_level, others) = mutations.into_iter().partition(|it| it.level == level);
        mutations = others;
        let judged = judge_level(&judge, level, of_level, seeds, name.is_some())?;
        good &= judged.is_empty() || name.is_some() || judge_rows(&judged, level);
        if level == Level::Pure && name.is_none() && !judged.is_empty() {
            good &= judge_scripts(repository, &judged)?;
        }
        rows.extend(judged);
    }
    println!("{} mutations in {:.1} minutes", rows.len(), begun.elapsed().as_secs_f64() / 60.0);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn judge_level(
    judge: &Judge,
    level: Level,
    mutations: Vec<Mutation>,
    seeds: u64,
    in_full: bool,
) -> Result<Vec<Row>, String> {
    if mutations.is_empty() {
        return Ok(Vec::new());
    }
    let (mut together, mut changed) = (Together::default(), Vec::new());
    for (number, mutation) in (NONE + 1..).zip(&mutations) {
        let texts = mutation.patch.apply(|path| judge.copy.read(path)).map_err(|error| broken(mutation, &error))?;
        together.add(number, &texts, |path| judge.copy.read(path))?;
        changed.push((number, mutation, texts));
    }
    // A build replaces the programs of the one before.
    let mut verdicts = judge.build_together(level, &mut together, |programs| {
        without_mutation(judge, level, programs, seeds)?;
        let mut verdicts = BTreeMap::new();
        for (number, mutation, _) in &changed {
            if programs.mutants.contains(number) {
                let verdict = judge.judge(programs, *number)?;
                print(mutation, &verdict, None, in_full);
                verdicts.insert(*number, verdict);
            }
        }
        Ok(verdicts)
    })?;
    for (number, mutation, texts) in &changed {
        if !verdicts.contains_key(number) {
            let verdict = judge.copy.changed(texts, || {
                let programs = judge.build(level).map_err(|refused| broken(mutation, &refused.said))?;
                let verdict = judge.judge(&programs, NONE)?;
                print(mutation, &verdict, Some(programs.took), in_full);
                Ok::<_, String>(verdict)
            })??;
            verdicts.insert(*number, verdict);
        }
    }
    // Both are in the order of the numbers.
    Ok(mutations.into_iter().zip(verdicts.into_values()).map(|(mutation, verdict)| Row { mutation, verdict }).collect())
}

fn broken(mutation: &Mutation, error: &str) -> String {
    format!("sim/mutations/{}.patch: {error}", mutation.name)
}

/// Nothing fails without a mutation, or what is found says nothing of any.
fn without_mutation(judge: &Judge, level: Level, programs: &Programs, seeds: u64) -> Result<(), String> {
    let clean = judge.judge_without("mutation", programs)?;
    if let Some(script) = clean.scripts.first() {
        return Err(format!("without a mutation, the kept script `{script}` fails"));
    }
    let [build, tests, hunt] = [programs.took, clean.tests_took, clean.hunt_took].map(|took| took.as_secs_f64());
    println!("level {level}, without a mutation: none of {seeds} seeds fails, nor a test of the core");
    println!(
        "CPU s: build of {} mutations together {build:.0}, tests {tests:.0}, seeds {hunt:.0}\n",
        programs.mutants.len()
    );
    println!(
        "{:<28}{:<15}{:<12}{:>6}  {:<14}{:>9}{:>9}{:>9}",
        "mutation", "place", "core tests", "seeds", "invariant", "build s", "tests s", "seeds s"
    );
    Ok(())
}

/// A line of the table; without a time of the build if it was built together with others.
fn print(mutation: &Mutation, verdict: &Verdict, build_took: Option<Duration>, in_full: bool) {
    let Mutation { name, place, level, .. } = mutation;
    let by_core = match (level, &verdict.by_core) {
        (Level::Daemons, _) => "-",
        (Level::Pure, Some(test)) => test,
        (Level::Pure, None) => "no",
    };
    let (seed, invariant) = match &verdict.by_simulator {
        Some(found) => (found.seed.to_string(), &*found.invariant),
        None => ("-".to_string(), "not found"),
    };
    let seconds = |took: Duration| format!("{:.1}", took.as_secs_f64());
    let build = build_took.map_or("-".into(), seconds);
    let [tests, hunt] = [verdict.tests_took, verdict.hunt_took].map(seconds);
    println!("{name:<28}{place:<15}{by_core:<12}{seed:>6}  {invariant:<14}{build:>9}{tests:>9}{hunt:>9}");
    if in_full {
        println!("{}", mutation.about);
        verdict.by_simulator.iter().for_each(|found| println!("{}", found.failure));
        verdict.scripts.iter().for_each(|script| println!("the kept script {script} fails"));
    }
}

impl Row {
    /// The first seed that finds it; one that none finds is worse than any.
    fn seed(&self) -> u64 {
        self.verdict.by_simulator.as_ref().map_or(u64::MAX, |found| found.seed)
    }
}

/// A kept script that fails under no mutation may hold nothing any more: the bug that it was kept for is to be written as a
/// mutation, with which it fails.
fn judge_scripts(repository: &Path, rows: &[Row]) -> Result<bool, String> {
    let folder = repository.join("sim/testdata");
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let names = entries.flatten().filter_map(|entry| Some(entry.path().file_stem()?.to_string_lossy().into_owned()));
    let all: BTreeSet<String> = names.collect();
    let failing: BTreeSet<String> = rows.iter().flat_map(|row| row.verdict.scripts.iter().cloned()).collect();
    let never: Vec<&str> = all.difference(&failing).map(String::as_str).collect();
    println!("{} of {} kept scripts fail under no mutation: {}", never.len(), all.len(), never.join(", "));
    println!("goal: each fails under one\n");
    Ok(never.is_empty())
}

/// What the table says. In the pure world, what the core's own tests find is not counted.
fn judge_rows(rows: &[Row], level: Level) -> bool {
    let counted: Vec<&Row> = rows.iter().filter(|row| row.verdict.by_core.is_none()).collect();
    let mut seeds: Vec<u64> = counted.iter().map(|row| row.seed()).collect();
    seeds.sort_unstable();
    let unfound: Vec<&str> =
        counted.iter().filter(|row| row.seed() == u64::MAX).map(|row| row.mutation.name.as_str()).collect();
    let worst = seeds.iter().rev().find(|seed| **seed < u64::MAX).copied().unwrap_or_default();
    let median = match median(&seeds) {
        u64::MAX => "none at all".to_string(),
        seed => format!("seed {seed}"),
    };
    println!("\n{} mutations, {} of them not found by the core's own tests; of those:", rows.len(), counted.len());
    println!("found by {median} at the median, by seed {worst} at the worst; not found: {}", unfound.join(", "));
    match level {
        Level::Pure => {
            println!("goal: at the median by seed {MEDIAN_MAX} at most, and at most {UNFOUND_MAX} not found");
            let enough = counted.len() >= COUNTED_MIN;
            if !enough {
                println!("too few to say anything: {COUNTED_MIN} are needed that the core's own tests do not find");
            }
            println!();
            enough && self::median(&seeds) <= MEDIAN_MAX && unfound.len() <= UNFOUND_MAX
        }
        Level::Daemons => {
            println!("goal: each is found\n");
            unfound.is_empty()
        }
    }
}

/// The middle of sorted numbers, the upper one of two.
pub fn median(sorted: &[u64]) -> u64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(u64::MAX)
}

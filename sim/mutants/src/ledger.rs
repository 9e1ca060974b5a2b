//! `sim/LEDGER.md`: what was seen of each machine-made mutant, and `sim/mutations/equivalent.toml`: which of them
//! change nothing that anybody could see, and why.

use crate::{
    bugs::median,
    judge::Verdict,
    mutant::{Catalog, Key, Mutant},
};
use std::{
    collections::BTreeMap,
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

const COLUMNS: &str =
    "| place | function | operator | change | outcome | core's own tests | simulator alone | judged |";

/// What was seen of all mutants that were ever judged.
pub struct Ledger {
    file: PathBuf,
    rows: BTreeMap<Key, Row>,
    equivalent: Equivalent,
}

/// What was seen of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub line: usize,
    /// The core's test program that fails first.
    pub by_core: Option<String>,
    pub by_simulator: Simulator,
    /// At which commit and when.
    pub judged: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Simulator {
    Kills { seed: u64, invariant: String },
    Alive { seeds: u64 },
}

impl Row {
    pub fn new(mutant: &Mutant, verdict: &Verdict, seeds: u64, judged: &str) -> Row {
        let by_simulator = match &verdict.by_simulator {
            Some(found) => Simulator::Kills { seed: found.seed, invariant: found.invariant.clone() },
            None => Simulator::Alive { seeds },
        };
        Row { line: mutant.change.line, by_core: verdict.by_core.clone(), by_simulator, judged: judged.into() }
    }

    fn seed(&self) -> Option<u64> {
        match &self.by_simulator {
            Simulator::Kills { seed, .. } => Some(*seed),
            Simulator::Alive { .. } => None,
        }
    }

    fn outcome(&self, reason: Option<&String>) -> String {
        match (self.by_core.is_some(), self.seed().is_some(), reason) {
            (false, false, Some(reason)) => format!("equivalent: {reason}"),
            (_, _, Some(_)) => "killed, though it is called equivalent".into(),
            (true, true, None) => "killed by both".into(),
            (true, false, None) => "killed by the core's own tests".into(),
            (false, true, None) => "killed by the simulator alone".into(),
            (false, false, None) => "**alive**".into(),
        }
    }
}

impl Ledger {
    /// # Errors
    /// One of the files cannot be read, or a line of the ledger.
    pub fn of(repository: &Path) -> Result<Ledger, String> {
        let file = repository.join("sim/LEDGER.md");
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| format!("{}: {error}", file.display()))?,
        };
        Ok(Ledger { rows: parse(&text)?, file, equivalent: Equivalent::of(repository)? })
    }

    /// Keeps what was seen of a mutant, in place of what was seen before; says what that means.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn keep(&mut self, key: &Key, row: Row) -> Result<String, String> {
        let outcome = row.outcome(self.equivalent.0.get(key));
        self.rows.insert(key.clone(), row);
        self.write()?;
        Ok(outcome)
    }

    /// # Errors
    /// The ledger cannot be written.
    pub fn write(&self) -> Result<(), String> {
        fs::write(&self.file, self.render()).map_err(|error| format!("{}: {error}", self.file.display()))
    }

    /// The score of all mutants in it.
    pub fn score(&self) -> String {
        let judged = || self.rows.iter().filter(|(key, _)| !self.equivalent.0.contains_key(*key)).map(|(_, row)| row);
        let count = |counts: &dyn Fn(&Row) -> bool| judged().filter(|row| counts(row)).count();
        let all = judged().count();
        let of_all = |part: usize| format!("{part} ({:.0} %)", 100.0 * part as f64 / all.max(1) as f64);
        let by_core = count(&|row| row.by_core.is_some());
        let by_simulator = count(&|row| row.seed().is_some());
        let killed = count(&|row| row.by_core.is_some() || row.seed().is_some());
        let mut seeds: Vec<u64> = judged().filter_map(Row::seed).collect();
        seeds.sort_unstable();
        let median = if seeds.is_empty() { "none".into() } else { median(&seeds).to_string() };
        format!(
            "{} mutants, of which {} are equivalent. Of the other {all}, the core's own tests kill {}, the simulator alone \
             kills {}, and together they kill {}; {} are alive. Median seed of those that the simulator kills: {median}.",
            self.rows.len(),
            self.rows.len() - all,
            of_all(by_core),
            of_all(by_simulator),
            of_all(killed),
            all - killed,
        )
    }

    fn render(&self) -> String {
        let mut text = format!(
            "# Ledger of machine-made mutants\n\n\
             `make mutants N=40 SEED=s` draws mutants of `crates/orbit-core/src`, judges each, and writes this file; do not\n\
             edit it. Each mutant is judged twice: by the core's own tests, and by the pure world alone. A mutant is\n\
             equivalent if nobody could see a difference; `sim/mutations/equivalent.toml` gives the reason.\n\n\
             {}\n\n{COLUMNS}\n|---|---|---|---|---|---|---|---|\n",
            self.score()
        );
        for (key, row) in &self.rows {
            let by_core = row.by_core.as_deref().unwrap_or("no");
            let by_simulator = match &row.by_simulator {
                Simulator::Kills { seed, invariant } => format!("seed {seed}: {invariant}"),
                Simulator::Alive { seeds } => format!("alive after {seeds}"),
            };
            let cells = [
                format!("{}:{}", key.file, row.line),
                format!("`{}`", key.function),
                key.operator.clone(),
                key.change.clone(),
                row.outcome(self.equivalent.0.get(key)),
                by_core.into(),
                by_simulator,
                row.judged.clone(),
            ];
            let cells = cells.map(|cell| cell.replace('\\', "\\\\").replace('|', "\\|"));
            writeln!(text, "| {} |", cells.join(" | ")).expect("a text takes more");
        }
        text
    }
}

/// The rows of a ledger.
fn parse(text: &str) -> Result<BTreeMap<Key, Row>, String> {
    let table = text.lines().skip_while(|line| *line != COLUMNS).skip(2);
    let row = |line: &str| {
        let cells = cells(line);
        let [place, function, operator, change, _, by_core, by_simulator, judged] =
            <[String; 8]>::try_from(cells).ok()?;
        let (file, line) = place.split_once(':')?;
        let function = function.trim_matches('`').to_string();
        let by_simulator = match by_simulator.strip_prefix("alive after ") {
            Some(seeds) => Simulator::Alive { seeds: seeds.parse().ok()? },
            None => {
                let (seed, invariant) = by_simulator.strip_prefix("seed ")?.split_once(": ")?;
                Simulator::Kills { seed: seed.parse().ok()?, invariant: invariant.into() }
            }
        };
        let by_core = Some(by_core).filter(|by_core| by_core != "no");
        let row = Row { line: line.parse().ok()?, by_core, by_simulator, judged };
        Some((Key { file: file.into(), function, operator, change }, row))
    };
    table.map(|line| row(line).ok_or_else(|| format!("sim/LEDGER.md: `{line}` is no line of the ledger"))).collect()
}

/// The cells of a line of a table, without what kept their bars from ending them.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut signs = line.trim().trim_start_matches("| ").trim_end_matches(" |").chars();
    while let Some(sign) = signs.next() {
        let cell = cells.last_mut().expect("there is always one");
        match sign {
            '\\' => cell.extend(signs.next()),
            '|' => cells.push(String::new()),
            _ => cell.push(sign),
        }
    }
    cells.iter().map(|cell| cell.trim().to_string()).collect()
}

/// The mutants that were examined and found to change nothing, with the reasons.
struct Equivalent(BTreeMap<Key, String>);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EquivalentFile {
    #[serde(default)]
    equivalent: Vec<EquivalentEntry>,
}

#[derive(serde::Deserialize)]
struct EquivalentEntry {
    #[serde(flatten)]
    key: Key,
    reason: String,
}

impl Equivalent {
    fn of(repository: &Path) -> Result<Equivalent, String> {
        let file = repository.join("sim/mutations/equivalent.toml");
        let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        Equivalent::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    fn parse(text: &str) -> Result<Equivalent, String> {
        let file: EquivalentFile = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut known = BTreeMap::new();
        for EquivalentEntry { key, reason } in file.equivalent {
            if reason.trim().is_empty() {
                return Err(format!("no reason for {} in {}", key.change, key.function));
            }
            known.insert(key, reason);
        }
        Ok(Equivalent(known))
    }
}

/// The mutants called equivalent that the code no longer has: what was found about them has to be looked at again.
///
/// # Errors
/// A file cannot be read.
pub fn stale_equivalent(repository: &Path) -> Result<Vec<String>, String> {
    let catalog = Catalog::of(repository)?;
    let equivalent = Equivalent::of(repository)?;
    let stale = equivalent.0.keys().filter(|key| !catalog.has(key));
    let told = |key: &Key| {
        let Key { file, function, operator, change } = key;
        format!("sim/mutations/equivalent.toml: {file} has no {operator} of {change} in `{function}`")
    };
    Ok(stale.map(told).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(change: &str) -> Key {
        Key { file: "a/b.rs".into(), function: "A::f".into(), operator: "negate".into(), change: change.into() }
    }

    fn row(by_core: Option<&str>, by_simulator: Simulator) -> Row {
        Row { line: 7, by_core: by_core.map(str::to_string), by_simulator, judged: "`abc` 2026-01-02".into() }
    }

    fn ledger() -> Ledger {
        let kills = |seed, invariant: &str| Simulator::Kills { seed, invariant: invariant.into() };
        let alive = Simulator::Alive { seeds: 1000 };
        Ledger {
            file: PathBuf::new(),
            rows: BTreeMap::from([
                (key("`a || b` → `a`"), row(None, kills(17, "I7"))),
                (key("`'\\\\'` → nothing"), row(Some("scripts"), kills(3, "no panic: it is bad"))),
                (key("`1` → `2`"), row(Some("properties"), alive.clone())),
                (key("`1` → `2` #2"), row(None, alive.clone())),
                (key("`<` → `<=`"), row(None, alive)),
            ]),
            equivalent: Equivalent(BTreeMap::from([(key("`<` → `<=`"), "both are zero".to_string())])),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let ledger = ledger();
        assert_eq!(parse(&ledger.render()), Ok(ledger.rows.clone()));
        assert_eq!(parse(""), Ok(BTreeMap::new()));
        assert!(parse(&(ledger.render() + "| x |\n")).is_err());
    }

    #[test]
    fn the_score_counts_what_is_not_equivalent() {
        let score = ledger().score();
        assert!(score.starts_with("5 mutants, of which 1 are equivalent. Of the other 4, "), "{score}");
        assert!(score.contains("tests kill 2 (50 %), the simulator alone kills 2 (50 %), and together"), "{score}");
        assert!(
            score.contains("kill 3 (75 %); 1 are alive. Median seed of those that the simulator kills: 17."),
            "{score}"
        );
    }

    #[test]
    fn each_line_says_what_became_of_its_mutant() {
        let text = ledger().render();
        let line = |change: &str| text.lines().find(|line| line.contains(change)).expect("it is there").to_string();
        assert!(line("| `1` → `2` |").contains("| killed by the core's own tests | properties | alive after 1000 |"));
        assert!(line("#2").contains("| **alive** | no |"));
        assert!(line("`a \\|\\| b`").contains("| killed by the simulator alone | no | seed 17: I7 |"));
        assert!(line("`<`").contains("| equivalent: both are zero | no | alive after 1000 |"));
    }

    #[test]
    fn one_that_is_called_equivalent_and_killed_is_told() {
        let seen = row(Some("scripts"), Simulator::Alive { seeds: 1 });
        assert_eq!(seen.outcome(Some(&"none".into())), "killed, though it is called equivalent");
    }

    #[test]
    fn the_equivalent_ones_need_a_reason() {
        let entry = "[[equivalent]]\nfile = 'a/b.rs'\nfunction = 'A::f'\noperator = 'negate'\nchange = '`1` → `2`'\n";
        let read = Equivalent::parse(&format!("{entry}reason = 'it is never asked'\n")).map(|it| it.0);
        assert_eq!(read, Ok(BTreeMap::from([(key("`1` → `2`"), "it is never asked".into())])));
        assert!(Equivalent::parse(&format!("{entry}reason = ''\n")).is_err());
        assert!(Equivalent::parse(entry).is_err());
    }
}

//! Which test finds a mutant: the core's own tests, and, apart from them, the simulator alone.

use crate::{
    copy::Copy,
    mutation::Level,
    process::{self, Ended},
    together::{NONE, Together, VARIABLE},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A test program that needs more processor time has found the mutant, which hangs. Without one, none needs a quarter.
const TEST_MAX: Duration = Duration::from_secs(120);
/// A hunt that needs more has found nothing. Without a mutation, none of the pure world needs a quarter.
const HUNT_MAX: Duration = Duration::from_secs(3 * 3600);
/// Purity is about the text of the sources, not about what the machines do.
const NOT_ASKED: &str = "purity";

/// Builds and judges what is in the copy.
pub struct Judge {
    pub copy: Copy,
    target: PathBuf,
    seeds: u64,
}

/// What the compiler does not take.
#[derive(Debug, Default)]
pub struct Refused {
    pub said: String,
    /// The places of its errors: file and line.
    at: Vec<(String, usize)>,
}

impl From<String> for Refused {
    fn from(said: String) -> Refused {
        Refused { said, at: Vec::new() }
    }
}

/// What was built.
pub struct Programs {
    /// The processor time of the build.
    pub took: Duration,
    /// The mutants that are in it, by number.
    pub mutants: BTreeSet<u32>,
    /// The core's own tests; none at the level of the daemons.
    core_tests: Vec<PathBuf>,
    simulator: PathBuf,
}

/// The first seed that fails.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub seed: u64,
    /// The name of the invariant, `hangs`, or `aborts`.
    pub invariant: String,
    /// The failure in full.
    pub failure: String,
}

/// Who finds it.
pub struct Verdict {
    /// The test program of the core that fails first.
    pub by_core: Option<String>,
    pub by_simulator: Option<Found>,
    /// The kept scripts that fail; none at the level of the daemons.
    pub scripts: BTreeSet<String>,
    /// Processor time.
    pub tests_took: Duration,
    pub hunt_took: Duration,
}

impl Judge {
    /// Works in a folder of its own below the target directory; tries so many seeds at most.
    ///
    /// # Errors
    /// The copy cannot be made.
    pub fn new(repository: &Path, seeds: u64) -> Result<Judge, String> {
        let shared = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let target = repository.join(shared).join("mutants");
        Ok(Judge { copy: Copy::of(repository, &target)?, target, seeds })
    }

    /// Builds the simulator of this level, and the core's own tests if it is the pure one.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn build(&self, level: Level) -> Result<Programs, Refused> {
        match level {
            Level::Pure => {
                // The same packages both times: else their dependencies have other features, and the core is compiled
                // once for each.
                let packages = ["-p", "orbit-core", "-p", "orbit-sim"];
                let names = self.core_tests()?;
                let tests = names.iter().flat_map(|name| ["--test", name]);
                let args = Vec::from_iter(["test", "--no-run", "--lib"].into_iter().chain(packages).chain(tests));
                let (mut core_tests, tests_took) = self.cargo("", &args)?;
                core_tests.retain(|program| name(program) != "orbit_sim");
                let args = [["build", "--bin", "orbit-sim"].as_slice(), &packages].concat();
                let (simulator, simulator_took) = self.cargo("", &args)?;
                let took = tests_took + simulator_took;
                Ok(Programs { took, mutants: BTreeSet::new(), core_tests, simulator: only(simulator)? })
            }
            Level::Daemons => {
                let (simulator, took) = self.cargo("sim/daemons", &["build"])?;
                let (mutants, core_tests) = (BTreeSet::new(), Vec::new());
                Ok(Programs { took, mutants, core_tests, simulator: only(simulator)? })
            }
        }
    }

    /// The names of the core's test programs beside its unit tests.
    fn core_tests(&self) -> Result<BTreeSet<String>, String> {
        let folder = self.copy.root().join("crates/orbit-core/tests");
        let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let paths = entries.flatten().map(|entry| entry.path());
        let programs = paths.filter(|path| path.is_file() || path.join("main.rs").is_file());
        let names = programs.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
        Ok(names.filter(|name| name != NOT_ASKED).collect())
    }

    /// Builds many mutants at once and does something with the programs, which are there until then. Those that the
    /// compiler does not take are taken out.
    ///
    /// # Errors
    /// What the compiler says of what no mutant changes.
    pub fn build_together<T>(
        &self,
        level: Level,
        together: &mut Together,
        then: impl FnOnce(&Programs) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut then = Some(then);
        loop {
            let texts = together.texts(|path| self.copy.read(path))?;
            let done = self.copy.changed(&texts.files, || match self.build(level) {
                Ok(programs) => {
                    let programs = Programs { mutants: together.numbers(), ..programs };
                    then.take().map(|then| then(&programs)).ok_or_else(Refused::default)
                }
                Err(refused) => Err(refused),
            })?;
            let refused = match done {
                Ok(done) => return done,
                Err(refused) => refused,
            };
            let at_fault: BTreeSet<u32> =
                refused.at.iter().filter_map(|(path, line)| texts.owner(path, *line)).collect();
            if at_fault.is_empty() {
                return Err(refused.said);
            }
            at_fault.into_iter().for_each(|number| together.remove(number));
        }
    }

    /// Runs cargo in a folder of the copy; gives the programs that it made.
    fn cargo(&self, folder: &str, args: &[&str]) -> Result<(Vec<PathBuf>, Duration), Refused> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // The flags of the simulated level are in its folder, and others would replace them.
        for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"] {
            command.env_remove(variable);
        }
        let built = if folder.is_empty() { "target" } else { "madsim" };
        command.current_dir(self.copy.root().join(folder)).args(args).arg("--target-dir").arg(self.target.join(built));
        command.args(["--locked", "--profile", "mutants", "--message-format", "json"]);
        let ended = process::run(&mut command)?;
        let messages = ended.stdout.lines().filter_map(|line| serde_json::from_str(line).ok());
        if !ended.well() {
            return Err(refused(messages, &ended.stderr));
        }
        let program = |message: serde_json::Value| Some(PathBuf::from(message.get("executable")?.as_str()?));
        Ok((messages.filter_map(program).collect(), ended.took))
    }

    /// Nothing fails without any of them, which are each `what`; or what is found says nothing of one.
    ///
    /// # Errors
    /// What fails, or a program cannot be started.
    pub fn judge_without(&self, what: &str, programs: &Programs) -> Result<Verdict, String> {
        let clean = self.judge(programs, NONE)?;
        if let Some(test) = clean.by_core {
            return Err(format!("without a {what}, the core's own test `{test}` fails"));
        }
        if let Some(found) = clean.by_simulator {
            return Err(format!("without a {what}, seed {}: {}\n{}", found.seed, found.invariant, found.failure));
        }
        Ok(clean)
    }

    /// Judges the mutant of this number, or what the programs are by themselves.
    ///
    /// # Errors
    /// A program cannot be started.
    pub fn judge(&self, programs: &Programs, mutant: u32) -> Result<Verdict, String> {
        let (mut by_core, mut tests_took) = (None, Duration::ZERO);
        for program in &programs.core_tests {
            let ended = self.test(program, mutant)?;
            tests_took += ended.took;
            if !ended.well() {
                by_core = Some(name(program));
                break;
            }
        }
        let (by_simulator, hunt_took) = self.hunt(&programs.simulator, mutant)?;
        let scripts = match programs.core_tests.is_empty() {
            true => BTreeSet::new(),
            false => self.kept_scripts(&programs.simulator, mutant)?,
        };
        Ok(Verdict { by_core, by_simulator, scripts, tests_took, hunt_took })
    }

    fn test(&self, program: &Path, mutant: u32) -> Result<Ended, String> {
        let mut command = of_mutant(process::bounded(program, TEST_MAX), mutant);
        // The same cases every time, and none made smaller: whether one fails is all that is asked.
        command.env("PROPTEST_RNG_SEED", "1").env("PROPTEST_MAX_SHRINK_ITERS", "0");
        command.env("INSTA_UPDATE", "no").env("INSTA_WORKSPACE_ROOT", self.copy.root());
        command.current_dir(self.copy.root().join("crates/orbit-core"));
        process::run(&mut command)
    }

    /// The kept scripts that fail, or in which the program ends.
    fn kept_scripts(&self, simulator: &Path, mutant: u32) -> Result<BTreeSet<String>, String> {
        let mut command = of_mutant(process::bounded(simulator, TEST_MAX), mutant);
        command.arg("kept").arg(self.copy.root().join("sim/testdata"));
        Ok(not_held(&process::run(&mut command)?.stdout))
    }

    fn hunt(&self, simulator: &Path, mutant: u32) -> Result<(Option<Found>, Duration), String> {
        let hunt = |from: u64, seeds: u64| {
            let mut command = of_mutant(process::bounded(simulator, HUNT_MAX), mutant);
            command.args(["hunt", "--from", &from.to_string(), "--seeds", &seeds.to_string()]);
            process::run(&mut command)
        };
        let ended = hunt(1, self.seeds)?;
        if ended.well() || ended.took >= HUNT_MAX {
            return Ok((said(&ended), ended.took));
        }
        // The mutant has ended the process, in one of the seeds that ran at the end. One before it may fail in another way.
        let candidates = last_begun(&ended.stderr);
        let aborts = |seed: u64, ended: &Ended| {
            let failure = format!("{}\n{}", ended.status, ended.stderr);
            Found { seed, invariant: "aborts".into(), failure }
        };
        for seed in &candidates {
            let alone = hunt(*seed, 1)?;
            let found = if alone.well() { said(&alone) } else { Some(aborts(*seed, &alone)) };
            if found.is_some() {
                return Ok((found, ended.took));
            }
        }
        // It takes several of them together, for instance to use up the memory.
        Ok((candidates.last().map(|seed| aborts(*seed, &ended)), ended.took))
    }
}

/// A program in which this mutant is in force.
fn of_mutant(mut program: Command, number: u32) -> Command {
    program.env(VARIABLE, number.to_string());
    program
}

/// What the compiler has printed, in JSON, and what cargo says besides.
fn refused(messages: impl Iterator<Item = serde_json::Value>, cargo: &str) -> Refused {
    let mut refused = Refused::default();
    for message in messages.filter_map(|mut message| message.get_mut("message").map(serde_json::Value::take)) {
        if message["level"] != "error" {
            continue;
        }
        refused.said += message["rendered"].as_str().unwrap_or_default();
        let spans = message["spans"].as_array().into_iter().flatten().filter(|span| span["is_primary"] == true);
        let place = |span: &serde_json::Value| {
            Some((span["file_name"].as_str()?.to_string(), span["line_start"].as_u64()? as usize))
        };
        refused.at.extend(spans.filter_map(place));
    }
    refused.said += cargo;
    refused
}

/// What the hunt has printed.
fn said(ended: &Ended) -> Option<Found> {
    let (first, failure) = ended.stdout.split_once('\n').unwrap_or((&ended.stdout, ""));
    let (seed, invariant) = first.strip_prefix("found ")?.split_once(' ')?;
    Some(Found { seed: seed.parse().ok()?, invariant: invariant.into(), failure: failure.into() })
}

/// The scripts that began and did not hold.
fn not_held(stdout: &str) -> BTreeSet<String> {
    let named = |verb: &'static str| stdout.lines().filter_map(move |line| line.strip_prefix(verb)).map(str::to_string);
    let held: BTreeSet<String> = named("held ").collect();
    named("begins ").filter(|name| !held.contains(name)).collect()
}

/// The seeds that may not have ended, in order.
fn last_begun(stderr: &str) -> Vec<u64> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let mut begun: Vec<u64> = stderr.lines().filter_map(|line| line.parse().ok()).collect();
    begun.sort_unstable();
    // A seed may be a long one, and some that began after it have ended.
    begun.split_off(begun.len().saturating_sub(4 * threads))
}

/// The name of a program, without the hash that cargo adds.
fn name(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit_once('-').map_or(&*name, |(name, _)| name).to_string()
}

fn only(programs: Vec<PathBuf>) -> Result<PathBuf, String> {
    programs.into_iter().next().ok_or_else(|| "cargo names no program".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(stdout: &str) -> Ended {
        Ended { status: Default::default(), stdout: stdout.into(), stderr: String::new(), took: Duration::ZERO }
    }

    #[test]
    fn what_a_hunt_prints_is_read() {
        let found = Found { seed: 17, invariant: "I7".into(), failure: "a\nb\n".into() };
        assert_eq!(said(&ended("found 17 I7\na\nb\n")), Some(found));
        let hangs = Found { seed: 3, invariant: "hangs".into(), failure: String::new() };
        assert_eq!(said(&ended("found 3 hangs\n")), Some(hangs));
        assert_eq!(said(&ended("none\n")), None);
        assert_eq!(said(&ended("")), None);
    }

    #[test]
    fn the_places_of_errors_are_read() {
        let message = |level: &str, line: u64| {
            let spans = serde_json::json!([
                { "file_name": "a.rs", "line_start": line, "is_primary": true },
                { "file_name": "b.rs", "line_start": 1, "is_primary": false },
            ]);
            serde_json::json!({ "message": { "level": level, "rendered": "no\n", "spans": spans } })
        };
        let other = serde_json::json!({ "executable": "x" });
        let refused = refused([message("warning", 3), other, message("error", 5)].into_iter(), "cargo\n");
        assert_eq!((refused.said.as_str(), refused.at), ("no\ncargo\n", vec![("a.rs".to_string(), 5)]));
    }

    #[test]
    fn a_script_in_which_the_program_ends_has_not_held() {
        assert_eq!(not_held("begins a\nheld a\nbegins b\nbegins c\nheld c\n"), ["b".to_string()].into());
        assert_eq!(not_held("begins a\n"), ["a".to_string()].into());
    }

    #[test]
    fn the_seeds_that_ran_last_are_known() {
        let begun: String = (1..=100).rev().map(|seed| format!("{seed}\n")).collect();
        let last = last_begun(&format!("{begun}memory allocation of 8 bytes failed\n"));
        assert!(last.len() >= 4 && last.is_sorted() && last.last() == Some(&100));
        assert_eq!(last_begun("1\nstack overflow\n"), [1]);
    }
}

//! Many seeds, and what is said of them.

use orbit_sim::{Failure, Options, Phase, Plan, Report, Tally, Trace, commit, run, run_watched, shrink};
use std::{
    io::{IsTerminal, Write},
    path::Path,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// So many seeds have to reach everything once.
const SEEDS_FOR_ALL: u64 = 2000;
/// So many worlds are lived through to make a failing run smaller.
const SHRINK_RUNS: usize = 3000;
/// So many failures are told in full; of the others, a line.
const FAILURES_EXPLAINED: usize = 2;

/// What many seeds went through.
#[derive(Default)]
struct Sum {
    seeds: u64,
    events: u64,
    virtual_ms: u64,
    entries: u64,
    started: u64,
    tally: Tally,
    /// Of the phase in which things go wrong: events, virtual milliseconds, processor time.
    chaos: (u64, u64, Duration),
    /// Processor time of everything.
    busy: Duration,
    failures: Vec<(u64, Box<Failure>)>,
}

impl Sum {
    fn add(&mut self, other: Sum) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.virtual_ms += other.virtual_ms;
        self.entries += other.entries;
        self.started += other.started;
        self.tally.add(&other.tally);
        self.chaos.0 += other.chaos.0;
        self.chaos.1 += other.chaos.1;
        self.chaos.2 += other.chaos.2;
        self.busy += other.busy;
        self.failures.extend(other.failures);
    }

    fn live(&mut self, plan: &Plan) {
        let begun = Instant::now();
        let mut chaos = (0, Duration::ZERO);
        let lived = run_watched(plan, &mut |phase, report: &Report| {
            if phase == Phase::Healing {
                chaos = (report.events, begun.elapsed());
            }
        });
        self.seeds += 1;
        self.busy += begun.elapsed();
        match lived {
            Ok((report, _)) => {
                self.events += report.events;
                self.virtual_ms += report.virtual_ms;
                self.entries += report.entries;
                self.started += report.started;
                self.tally.add(&report.tally);
                self.chaos.0 += chaos.0;
                self.chaos.1 += plan.options.chaos_ms;
                self.chaos.2 += chaos.1;
            }
            Err(failure) => self.failures.push((plan.options.seed, failure)),
        }
    }

    fn figures(&self, from: u64, real: Duration, threads: u64) -> String {
        let per = |amount: u64, span: Duration| amount as f64 / span.as_secs_f64().max(1e-9);
        format!(
            "{} seeds from {from}: {} failed; {} checked events, {} log entries, {} containers started, {:.0} virtual \
             hours in {:.1} s on {threads} threads\n\
             checked events/s per core, in chaos: {:.0}; over all: {:.0}\n\
             virtual over real time per core, in chaos: {:.0} x; over all: {:.0} x; of the whole process: {:.0} x",
            self.seeds,
            self.failures.len(),
            self.events,
            self.entries,
            self.started,
            self.virtual_ms as f64 / 3.6e6,
            real.as_secs_f64(),
            per(self.chaos.0, self.chaos.2),
            per(self.events, self.busy),
            per(self.chaos.1, self.chaos.2) / 1000.0,
            per(self.virtual_ms, self.busy) / 1000.0,
            per(self.virtual_ms, real) / 1000.0,
        )
    }
}

/// Lives through seeds on all cores. Stops after a few failures.
pub fn many(from: u64, seeds: u64, nodes: Option<usize>, quiet: bool) -> ExitCode {
    // A panic is a value here: it is told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let all: Mutex<Sum> = Mutex::default();
    std::thread::scope(|scope| {
        let lives: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut sum = Sum::default();
                    while !stop.load(Ordering::Relaxed) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= from + seeds {
                            break;
                        }
                        let options = Options::from_seed(seed);
                        let workers = nodes.unwrap_or(options.workers);
                        sum.live(&Plan::drawn(Options { workers, ..options }));
                        if sum.failures.len() >= 3 {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                    all.lock().expect("a failure is a value").add(sum);
                })
            })
            .collect();
        if !quiet {
            progress(from, seeds, &next, begun, || lives.iter().all(|life| life.is_finished()));
        }
    });
    let mut sum = all.into_inner().expect("a failure is a value");
    sum.failures.sort_by_key(|(seed, _)| *seed);
    let (explained, others) = sum.failures.split_at(sum.failures.len().min(FAILURES_EXPLAINED));
    explained.iter().for_each(|(seed, failure)| explain(*seed, nodes, failure));
    others.iter().for_each(|(seed, failure)| println!("seed {seed}: {failure}\n"));
    println!("{}", sum.figures(from, begun.elapsed(), threads));
    if !quiet {
        println!("{}", sum.tally.table());
    }
    let missing = sum.tally.missing();
    let too_few = seeds >= SEEDS_FOR_ALL && nodes.is_none() && !missing.is_empty();
    if too_few {
        println!("never reached: {}", missing.join(", "));
    }
    if sum.failures.is_empty() && !too_few { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The figures that the simulator is held to, on one core.
pub fn goals() -> ExitCode {
    println!("{:<60}{:>12}{:>12}", "on one core", "goal", "figure");
    let line = |what: &str, goal: f64, figure: f64| println!("{what:<60}{goal:>12.0}{figure:>12.0}");
    let mut failed = false;
    for (nodes, seeds, goals) in [(10, 100, [100_000.0, 1000.0, 10_000.0]), (100, 10, [100_000.0, 0.0, 0.0])] {
        let mut sum = Sum::default();
        for seed in 1..=seeds {
            sum.live(&Plan::drawn(Options { workers: nodes, ..Options::from_seed(seed) }));
        }
        let per = |amount: u64, span: Duration| amount as f64 / span.as_secs_f64().max(1e-9);
        line(&format!("checked events/s in chaos, {nodes} nodes"), goals[0], per(sum.chaos.0, sum.chaos.2));
        let chaos = per(sum.chaos.1, sum.chaos.2) / 1000.0;
        line(&format!("virtual over real time in chaos, {nodes} nodes"), goals[1], chaos);
        let whole = per(sum.virtual_ms, sum.busy) / 1000.0;
        line(&format!("virtual over real time over whole runs, {nodes} nodes"), goals[2], whole);
        failed |= !sum.failures.is_empty();
        sum.failures.iter().for_each(|(seed, failure)| println!("seed {seed} with {nodes} nodes: {failure}"));
    }
    println!("(a goal of 0: there is none, the figure is for comparison)");
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// One hash over all that happened in the first seeds, to compare processes and builds.
pub fn hash(seeds: u64) -> ExitCode {
    let mut whole = 0u64;
    for seed in 1..=seeds {
        match run(&Plan::seed(seed)) {
            Ok((report, _)) => whole = whole.rotate_left(9) ^ report.hash,
            Err(failure) => {
                println!("seed {seed}: {failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{whole:016x}");
    ExitCode::SUCCESS
}

/// A line on stderr that says how far it is, until it is done.
fn progress(from: u64, seeds: u64, next: &AtomicU64, begun: Instant, done: impl Fn() -> bool) {
    let terminal = std::io::stderr().is_terminal();
    let pause = Duration::from_millis(if terminal { 200 } else { 10_000 });
    let mut told = Instant::now();
    while !done() {
        std::thread::sleep(Duration::from_millis(20));
        if told.elapsed() < pause {
            continue;
        }
        told = Instant::now();
        let lived = (next.load(Ordering::Relaxed) - from).min(seeds);
        let end = if terminal { "\r" } else { "\n" };
        eprint!("{lived} of {seeds} seeds, {:.0} s{end}", begun.elapsed().as_secs_f64());
        let _ = std::io::stderr().flush();
    }
    if terminal {
        eprint!("\x1b[K");
    }
}

/// What failed, how to have it again, and the shortest script that still fails.
fn explain(seed: u64, nodes: Option<usize>, failure: &Failure) {
    println!("{failure}");
    println!("seed {seed} at commit {}", commit());
    println!("{:?}", failure.script.options);
    match nodes {
        None => println!("again with: make replay LEVEL=pure SEED={seed}"),
        Some(nodes) => println!("again with: orbit-sim run --from {seed} --seeds 1 --nodes {nodes}"),
    }
    let before = failure.script.steps.len();
    let small = shrink(failure.clone(), SHRINK_RUNS);
    println!("\n{before} inputs, of which these {} break {}, too:", small.script.steps.len(), small.invariant);
    println!("{}", small.script);
    let plan = Plan { trace: Trace::Tail, ..Plan::script(&small.script) };
    if let Err(failure) = run(&plan) {
        println!("the last events:");
        failure.tail.iter().for_each(|line| println!("{line}"));
        println!("{failure}");
    }
    let dir = Path::new("target/sim");
    let file = dir.join(format!("{}-seed-{seed}.txt", small.invariant));
    match std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&file, small.script.to_string())) {
        Ok(()) => {
            let file = file.display();
            println!("written to {file}: once it is mended, keep it in sim/testdata/");
            println!("again with: cargo run --release -p orbit-sim -- script {file} --events\n");
        }
        Err(error) => println!("the script could not be written to {}: {error}\n", file.display()),
    }
}

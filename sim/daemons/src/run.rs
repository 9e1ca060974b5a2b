//! One seed, in a thread of its own: the standard library's hash tables are seeded per thread.

use crate::{
    life,
    options::Options,
    record::{Record, Report, Violation},
};
use madsim::{Config, runtime::Runtime};
use std::{
    cell::RefCell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
    thread,
    time::Duration,
};

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The invariant's name.
    pub invariant: String,
    /// What was found.
    pub found: String,
    /// The options of the run.
    pub options: Options,
    /// What the run went through before.
    pub report: Report,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Failure { invariant, found, options, report } = self;
        writeln!(f, "{invariant} violated at {} ms: {found}", report.virtual_ms)?;
        writeln!(f, "seed {} at commit {}", options.seed, orbit_sim::commit())?;
        writeln!(f, "{options:?}")?;
        write!(f, "again with: make replay LEVEL=daemons SEED={}", options.seed)
    }
}

/// Lives through a seed.
///
/// # Errors
/// The first invariant that does not hold.
pub fn run(seed: u64) -> Result<Report, Box<Failure>> {
    run_with(Options::from_seed(seed), false)
}

/// Lives through a seed with given options; `verbose` prints what happens.
///
/// # Errors
/// The first invariant that does not hold.
pub fn run_with(options: Options, verbose: bool) -> Result<Report, Box<Failure>> {
    keep_quiet();
    let inside = thread::Builder::new().name(format!("seed {}", options.seed));
    let running = inside.spawn(move || lived(options, verbose)).expect("threads can be started");
    running.join().expect("a panic inside is a failure of the run")
}

fn lived(options: Options, verbose: bool) -> Result<Report, Box<Failure>> {
    let mut config = Config::default();
    config.net.packet_loss_rate = options.loss as f64 / 1000.0;
    config.net.send_latency = Duration::from_micros(100)..Duration::from_millis(options.latency_ms_max);
    let runtime = Runtime::with_seed_and_config(options.seed, config);
    let record = Record::new(verbose);
    let living = life::live(options.clone(), record.clone());
    // I16: a daemon that panics takes the world with it.
    let lived = catch_unwind(AssertUnwindSafe(|| runtime.block_on(living)));
    let lived = lived.unwrap_or_else(|_| Err(("I16", LAST_PANIC.take())));
    let report = record.report();
    let failure = |(invariant, found): Violation| Failure {
        invariant: invariant.to_string(),
        found,
        options,
        report: report.clone(),
    };
    match lived {
        Ok(()) => Ok(report),
        Err(violation) => {
            // What is left of a world that broke off is not taken apart.
            std::mem::forget(runtime);
            Err(Box::new(failure(violation)))
        }
    }
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A panic in a world is kept for its failure, not printed.
fn keep_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if thread::current().name().is_some_and(|name| name.starts_with("seed ")) {
                LAST_PANIC.set(info.to_string());
            } else {
                before(info);
            }
        }));
    });
}

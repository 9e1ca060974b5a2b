//! `make bench`: each figure with its goal, and with what it was measured against in the same run.
//! Nothing is asserted of a figure: a machine's speed is not a property of the code.
//!
//! `orbit-bench [--smoke] [NAME]…` with the names of [`FIGURES`] (`--names` lists them); without one, all of them.

#![forbid(unsafe_code)]

mod core;
mod cut;
mod fake;
mod flood;
mod idle;
mod list;
mod logs;
mod probe;
mod replace;
mod report;
mod restart;
mod rollout;
mod start;
mod submit;
mod tiny;
mod visitor;
mod watch;
mod workers;

use orbit_tests::Engine;

/// What a figure stands on.
enum Needs {
    /// This process, or daemons without an engine.
    Nothing(fn()),
    /// A real engine with the example's image.
    Engine(fn(&Engine)),
}

/// In the order in which they are printed.
const FIGURES: [(&str, Needs); 15] = [
    ("core", Needs::Nothing(core::run)),
    ("fleet", Needs::Nothing(core::fleet)),
    ("spread", Needs::Nothing(core::spread)),
    ("submit", Needs::Nothing(submit::run)),
    ("list", Needs::Nothing(list::run)),
    ("watch", Needs::Nothing(watch::run)),
    ("flood", Needs::Nothing(flood::run)),
    ("workers", Needs::Nothing(workers::run)),
    ("idle", Needs::Engine(idle::run)),
    ("logs", Needs::Engine(logs::run)),
    ("replace", Needs::Engine(replace::run)),
    ("restart", Needs::Engine(restart::run)),
    ("rollout", Needs::Engine(rollout::run)),
    ("cut", Needs::Engine(cut::run)),
    ("start", Needs::Engine(start::run)),
];

fn main() {
    // Beside the program: a temporary file system would have no disk to wait for.
    let beside = std::env::current_exe().expect("this program has a path");
    let _ = tempfile::env::override_temp_dir(beside.parent().expect("in a folder"));
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| arg != report::SMOKE).collect();
    if let [workers::FLEET, manager] = named.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return workers::fleet(manager);
    }
    if named == ["--names"] {
        return FIGURES.iter().for_each(|(name, _)| println!("{name}"));
    }
    report::head();
    for (name, needs) in FIGURES {
        if !named.is_empty() && !named.iter().any(|n| n == name) {
            continue;
        }
        match needs {
            Needs::Nothing(run) => run(),
            Needs::Engine(run) => match orbit_tests::engine() {
                Some(engine) => run(&engine),
                None => println!("{name}: not measured"),
            },
        }
    }
}

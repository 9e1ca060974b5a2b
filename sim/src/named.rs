//! Scenarios from the command line.

use orbit_sim::{Coverage, Failure, Plan, Scenario, Script, Trace, run, scenarios};
use std::{
    io::Write,
    path::Path,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

/// One scenario, or all, or the list.
pub fn scenario(name: Option<&str>) -> ExitCode {
    let all = scenarios();
    let Some(name) = name else {
        let list: String = all.iter().map(|it| format!("{:<36}{}\n", it.name, it.about)).collect();
        // Whoever reads with `| head` may have left.
        let _ = std::io::stdout().write_all(list.as_bytes());
        return ExitCode::SUCCESS;
    };
    let chosen: Vec<&Scenario> = all.iter().filter(|it| name == "all" || it.name == name).collect();
    if chosen.is_empty() {
        eprintln!("there is no scenario `{name}`: orbit-sim scenario lists them");
        return ExitCode::from(2);
    }
    let mut failed = false;
    for scenario in chosen {
        match scenario.run() {
            Ok((report, outcome)) => {
                println!("{:<36}held: {} events, started {:?}", scenario.name, report.events, outcome.started);
            }
            Err(failure) => {
                failed = true;
                let plan = Plan { trace: Trace::Tail, ..Plan::script(&scenario.script) };
                if let Err(again) = run(&plan) {
                    again.tail.iter().for_each(|line| println!("{line}"));
                }
                println!("{:<36}{failure}", scenario.name);
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Every kept script of a folder, in order. A mutation may end the process in one: so each is named when it begins, and again
/// when it has held.
pub fn kept(folder: &Path) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let unreadable = |error: &dyn std::fmt::Display| {
        eprintln!("{}: {error}", folder.display());
        ExitCode::from(2)
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return unreadable(&error),
    };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let script = std::fs::read_to_string(&file).map_err(|error| error.to_string());
        match script.and_then(|text| text.parse::<Script>()) {
            Ok(script) => {
                println!("begins {name}");
                if run(&Plan::script(&script)).is_ok() {
                    println!("held {name}");
                }
            }
            Err(error) => return unreadable(&format!("{name}: {error}")),
        }
    }
    ExitCode::SUCCESS
}

/// Every scenario with a crash at every boundary between two effects.
pub fn crash_points() -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    let all = scenarios();
    let next = AtomicUsize::new(0);
    type Numbered = (usize, Result<Coverage, Box<Failure>>);
    let results: Mutex<Vec<Numbered>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(|| {
                while let Some((nth, scenario)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, all.get(n)?)))
                {
                    let result = scenario.crash_points(0, 1);
                    results.lock().expect("a failure is a value").push((nth, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("a failure is a value");
    results.sort_by_key(|(nth, _)| *nth);
    let mut sum = 0;
    let mut failed = false;
    println!("{:<36}{:>10}{:>10}{:>14}", "crash points", "before", "applied", "acknowledged");
    for (nth, result) in results {
        match result {
            Ok(Coverage { before, applied, acknowledged }) => {
                sum += before + applied + acknowledged;
                println!("{:<36}{before:>10}{applied:>10}{acknowledged:>14}", all[nth].name);
            }
            Err(failure) => {
                failed = true;
                println!("{:<36}{failure}", all[nth].name);
            }
        }
    }
    println!(
        "{sum} boundaries, two crashes at each, in {} scenarios, in {:.1} s",
        all.len(),
        begun.elapsed().as_secs_f64()
    );
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

//! Scripts with golden output: `testdata/*.txt`.
//!
//! A script is a list of blocks. A block is a few commands, a line `----`, and what they print, up to
//! an empty line. Lines that begin with `#` are for the reader; one that follows an empty line names
//! the scenario, and `world` begins a new one. `UPDATE_GOLDEN=1 cargo test -p orbit-core --test
//! scripts` writes the output down anew; read the difference before it is committed. (The manner is
//! that of the data-driven tests of CockroachDB and raft-rs.)

mod manager;
mod words;
mod worker;

use std::{fs, path::Path};

/// Something that obeys commands and prints what came of them.
trait World {
    /// Carries out one line.
    fn obey(&mut self, line: &str) -> String;
}

const SEPARATOR: &str = "----";

/// The script with the output that it gives now.
fn replay(text: &str, world: &mut dyn World) -> String {
    let mut replayed = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_end();
        if line != SEPARATOR {
            replayed += &format!("{line}\n");
            continue;
        }
        // The old output ends at an empty line.
        lines.by_ref().find(|line| line.trim().is_empty());
        let commands = replayed.rsplit("\n\n").next().unwrap_or_default().to_string();
        let commands = commands.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        replayed += SEPARATOR;
        replayed += "\n";
        for command in commands {
            eprintln!("> {command}"); // shown when the script fails
            let printed = world.obey(command);
            replayed.extend(printed.lines().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")));
        }
        replayed += "\n";
    }
    format!("{}\n", replayed.trim_end())
}

fn family(prefix: &str, new: fn() -> Box<dyn World>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let bless = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut scripts = 0;
    for entry in fs::read_dir(directory).expect("the scripts are there") {
        let path = entry.expect("the scripts are readable").path();
        let name = path.file_name().expect("a script has a name").to_string_lossy().into_owned();
        if !name.starts_with(prefix) {
            continue;
        }
        scripts += 1;
        let golden = fs::read_to_string(&path).expect("a script is text");
        let replayed = replay(&golden, &mut *new());
        if bless {
            fs::write(&path, replayed).expect("the script can be written");
        } else if replayed != golden {
            let differs = golden.lines().zip(replayed.lines()).zip(1..).find(|((old, new), _)| old != new);
            panic!("{name} differs, first at (golden, now), line: {differs:#?}\nnow in full:\n{replayed}");
        }
    }
    assert!(scripts > 0, "no script of the family {prefix}");
}

#[test]
fn scheduler() {
    family("scheduler_", manager::world);
}

#[test]
fn reconciler() {
    family("reconciler_", manager::world);
}

#[test]
fn manager() {
    family("manager_", manager::world);
}

#[test]
fn worker() {
    family("worker_", worker::world);
}

#[test]
fn a_replay_prints_what_its_world_says_under_the_separator() {
    struct Echo;
    impl World for Echo {
        fn obey(&mut self, line: &str) -> String {
            format!("{line}!")
        }
    }
    let script = "# A title.\n\none\ntwo\n----\nold\n\nthree\n----\n";
    assert_eq!(replay(script, &mut Echo), "# A title.\n\none\ntwo\n----\none!\ntwo!\n\nthree\n----\nthree!\n");
}

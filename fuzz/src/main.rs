//! Replays one input, with any compiler: `cargo run -p orbit-fuzz -- TARGET FILE`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, file] = &arguments[..] else {
        return usage();
    };
    let Some((_, body)) = orbit_fuzz::TARGETS.iter().find(|(name, _)| name == target) else {
        return usage();
    };
    match std::fs::read(file) {
        Ok(data) => {
            body(&data);
            println!("{target}: {} bytes, nothing found", data.len());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{file}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    let names: Vec<&str> = orbit_fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    eprintln!("usage: orbit-fuzz {} FILE", names.join("|"));
    ExitCode::FAILURE
}

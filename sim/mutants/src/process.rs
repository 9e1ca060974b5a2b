//! Programs that may hang or take all memory, because the code in them is wrong on purpose.

use std::{
    ffi::OsStr,
    io::Read,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// So much address space a program may have, in KiB. Without a mutation none needs a quarter of it.
const MEMORY_KIB_MAX: u64 = 6 << 20;
/// A program that has to be killed after this long waits for something that never comes.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// How often is asked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What `/proc` counts processor time in: hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// What became of a program.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    /// The processor time of the program and of those that it started.
    pub took: Duration,
}

impl Ended {
    pub fn well(&self) -> bool {
        self.status.success()
    }
}

/// A program with bounded memory and processor time. The clock on the wall would say more of what else this machine
/// does than of the program.
pub fn bounded(program: impl AsRef<OsStr>, time_max: Duration) -> Command {
    let mut command = Command::new("sh");
    let limits = format!("ulimit -v {MEMORY_KIB_MAX} && ulimit -t {}", time_max.as_secs());
    command.args(["-c", &format!("{limits} && exec \"$0\" \"$@\"")]).arg(program);
    command
}

/// Runs a program until it ends.
///
/// # Errors
/// It cannot be started.
pub fn run(command: &mut Command) -> Result<Ended, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
    let (mut stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let (begun, before) = (Instant::now(), time_of_children());
    std::thread::scope(|scope| {
        let stdout = scope.spawn(move || all_of(&mut stdout));
        let stderr = scope.spawn(move || all_of(&mut stderr));
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|error| format!("{name}: {error}"))? {
                break status;
            }
            if begun.elapsed() > WAIT_MAX {
                let _ = child.kill();
            }
            std::thread::sleep(LOOK_EVERY);
        };
        let text = |reader: std::thread::ScopedJoinHandle<'_, String>| reader.join().expect("reading does not panic");
        let took = time_of_children().saturating_sub(before);
        Ok(Ended { status, stdout: text(stdout), stderr: text(stderr), took })
    })
}

/// The processor time of all processes that this one has waited for, and of theirs.
fn time_of_children() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is a name in brackets, which may have spaces; the sixteenth and the next are the times.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u32 = fields.skip(13).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
    TICK * ticks
}

fn all_of(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_killed_and_one_that_takes_all_memory_fails() {
        let shell = |script: &str, seconds| {
            let mut command = bounded("sh", Duration::from_secs(seconds));
            run(command.args(["-c", script])).expect("there is a shell")
        };
        let well = shell("echo said; echo told >&2", 60);
        assert!(well.well() && well.stdout == "said\n" && well.stderr == "told\n");
        let hangs = shell("while :; do :; done", 1);
        assert!(!hangs.well() && hangs.took >= Duration::from_millis(900));
        let limit = shell("ulimit -v", 60);
        assert_eq!(limit.stdout.trim(), MEMORY_KIB_MAX.to_string());
    }
}

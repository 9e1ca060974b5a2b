//! Programs that may hang or take all memory, because the code in them is wrong on purpose.

use std::{
    ffi::OsStr,
    io::Read,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// So much address space a program may have, in KiB. Without a mutation none needs a quarter of it.
const MEMORY_KIB_MAX: u64 = 6 << 20;
/// How often is asked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What became of a program.
pub struct Ended {
    /// `None` if it had not ended in time: it was killed.
    pub status: Option<ExitStatus>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn well(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// A program with bounded memory.
pub fn bounded(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -v {MEMORY_KIB_MAX} && exec \"$0\" \"$@\"")]).arg(program);
    command
}

/// Runs a program until it ends, or for so long.
///
/// # Errors
/// It cannot be started.
pub fn run(command: &mut Command, time_max: Duration) -> Result<Ended, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
    let (mut stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let stdout = scope.spawn(move || all_of(&mut stdout));
        let stderr = scope.spawn(move || all_of(&mut stderr));
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|error| format!("{name}: {error}"))? {
                break Some(status);
            }
            if begun.elapsed() > time_max {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            std::thread::sleep(LOOK_EVERY);
        };
        let text = |reader: std::thread::ScopedJoinHandle<'_, String>| reader.join().expect("reading does not panic");
        Ok(Ended { status, stdout: text(stdout), stderr: text(stderr) })
    })
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
        let shell = |script: &str, time_max| {
            let mut command = bounded("sh");
            run(command.args(["-c", script]), Duration::from_millis(time_max)).expect("there is a shell")
        };
        let well = shell("echo said; echo told >&2", 60_000);
        assert!(well.well() && well.stdout == "said\n" && well.stderr == "told\n");
        assert!(shell("exec sleep 60", 50).status.is_none());
        let limit = shell("ulimit -v", 60_000);
        assert_eq!(limit.stdout.trim(), MEMORY_KIB_MAX.to_string());
    }
}

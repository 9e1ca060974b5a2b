//! The binary: the library on the process's own streams.

#![forbid(unsafe_code)]

use orbit::{Host, Timing, main_with};
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    time::SystemTime,
};

fn main() -> ExitCode {
    let (mut stdin, mut stdout, mut stderr) = (io::stdin(), io::stdout(), io::stderr());
    let (stdout_is_terminal, stderr_is_terminal) = (stdout.is_terminal(), stderr.is_terminal());
    let utf8 = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((key.into_string().ok()?, value.into_string().ok()?))
    };
    let host = Host {
        env: std::env::vars_os().filter_map(utf8).collect(),
        stdin: &mut stdin,
        stdout: &mut stdout,
        stderr: &mut stderr,
        stdout_is_terminal,
        stderr_is_terminal,
        now: SystemTime::now(),
        seed: rand::random(),
        timing: Timing::default(),
        // Set up when it is first polled: until then Ctrl-C ends the process as it always does.
        interrupt: Box::pin(async {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        }),
    };
    ExitCode::from(main_with(std::env::args_os(), host))
}

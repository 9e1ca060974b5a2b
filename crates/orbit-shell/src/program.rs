//! How a daemon begins and ends.

use std::{fmt::Display, future::Future, io::IsTerminal, process::ExitCode};

/// Logs to standard error: `RUST_LOG` says how much, `NO_COLOR` is honoured. A second call in one
/// process keeps the first's.
pub fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = log.with_target(false).with_ansi(colours).try_init();
}

/// Ready when the process is asked to end: by Ctrl-C or SIGTERM.
///
/// # Panics
/// If the system does not let signals be waited for.
pub async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be waited for");
    tokio::select! { biased;
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Runs something on two threads, without waiting at the end for what it left behind.
///
/// # Panics
/// If no threads can be started.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("threads can be started");
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

/// A whole daemon: exit code 0 when it was asked to end, 2 and one line when it cannot start or go on.
pub fn daemon<E: Display>(name: &str, serve: impl Future<Output = Result<(), E>>) -> ExitCode {
    log_to_stderr();
    match block_on(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::from(2)
        }
    }
}

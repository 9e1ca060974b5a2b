//! How a daemon begins and ends: its settings, its log, the signals that end it. Also what it says of itself to Prometheus.

mod logs;
pub mod metrics;
mod settings;
mod signals;

pub use logs::{LogFormat, Logs, log_to_stderr};
pub use settings::{Refusal, Settings, read};
pub use signals::asked_to_end;

use crate::supervisor;
use std::{fmt::Display, future::Future, pin::Pin, process::ExitCode};

/// What ends a daemon.
pub type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

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

/// A whole daemon, from its command line on: exit code 0 when it was asked to end, 2 and one line when
/// it cannot start or go on.
pub fn daemon<S: Settings, E: Display, F: Future<Output = Result<(), E>>>(
    serve: impl FnOnce(S, Stop) -> F,
) -> ExitCode {
    let name = S::command().get_name().to_string();
    let settings: S = match read(std::env::args_os()) {
        Ok(settings) => settings,
        Err(Refusal::Line(usage)) => usage.exit(),
        Err(refusal) => {
            eprintln!("{name}: {refusal}");
            return ExitCode::from(2);
        }
    };
    let format = settings.log_format();
    log_to_stderr(format, "info");
    let served = block_on(async { serve(settings, Box::pin(asked_to_end())).await });
    let Err(error) = served else { return ExitCode::SUCCESS };
    supervisor::status(&format!("failed: {error}"));
    match format {
        LogFormat::Text => eprintln!("{name}: {}", crate::plain::line(&error.to_string())),
        LogFormat::Json => tracing::error!("{error}"),
    }
    ExitCode::from(2)
}

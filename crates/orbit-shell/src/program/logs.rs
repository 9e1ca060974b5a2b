//! The log of a daemon: lines on standard error.

use crate::plain::OneLine;
use clap::ValueEnum;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, with `timestamp`, `level` and `message`.
    Json,
}

/// What is said of the log on a command line.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// How the log on standard error is written; RUST_LOG says how much (for example debug).
    #[arg(long, env = "ORBIT_LOG_FORMAT", value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// Logs to standard error: `RUST_LOG` says how much, else `usual` does; `NO_COLOR` is honoured. A
/// panic is logged as well, so that every line of JSON is one. A second call in one process keeps the first's.
pub fn log_to_stderr(format: LogFormat, usual: &str) {
    let (filter, wrong): (EnvFilter, _) = match std::env::var("RUST_LOG").ok().filter(|words| !words.is_empty()) {
        None => (usual.into(), None),
        Some(words) => match EnvFilter::try_new(&words) {
            Ok(filter) => (filter, None),
            Err(error) => (usual.into(), Some(error)),
        },
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let begun = match format {
        LogFormat::Text => log.with_writer(|| OneLine(std::io::stderr())).with_ansi(colours).try_init(),
        LogFormat::Json => log
            .with_writer(std::io::stderr)
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init(),
    };
    if begun.is_ok() && format == LogFormat::Json {
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    }
    if let Some(error) = wrong {
        tracing::warn!("RUST_LOG is not understood ({error}): going on with {usual}");
    }
}

//! The command line, as a library: [`main_with`] is the whole program on streams that are given.
//!
//! `cli` lists the commands, `cmd` has one module for each of them, with its arguments; `args` and `target` are what
//! arguments have in common, `names` and `hint` what is said of those that mean nothing here. `settings` says what follows from the line and the environment, `client` is the way to the
//! manager, `session` what a command works with, `table` and `format` what is shown.

#![forbid(unsafe_code)]

mod args;
mod cli;
mod client;
mod cmd;
mod compose;
pub mod dev;
mod error;
mod files;
mod format;
mod hint;
mod lines;
mod log;
mod merge;
mod names;
mod session;
mod settings;
mod table;
mod target;
mod text;
mod wait;

use clap::{CommandFactory, FromArgMatches};
use cli::Cli;
use client::Client;
use error::{Error, Kind};
use session::{Session, say};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    ffi::OsString,
    future::Future,
    io::{Read, Write},
    pin::Pin,
    time::{Duration, SystemTime},
};

/// What the program has of the outside world, beside the manager.
pub struct Host<'a> {
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Read by `-f -` alone.
    pub stdin: &'a mut dyn Read,
    /// For data.
    pub stdout: &'a mut dyn Write,
    /// For errors and progress.
    pub stderr: &'a mut dyn Write,
    /// Help may have colours there.
    pub stdout_is_terminal: bool,
    /// Usage errors may have colours there.
    pub stderr_is_terminal: bool,
    /// For ages.
    pub now: SystemTime,
    /// For the names of tasks that were given none, and for idempotency keys. Another one each time.
    pub seed: u64,
    /// How long to wait between questions.
    pub timing: Timing,
    /// Ready when the user presses Ctrl-C.
    pub interrupt: Pin<Box<dyn Future<Output = ()> + 'a>>,
}

/// How long to wait between questions.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two looks at what is waited for.
    pub poll: Duration,
    /// So long a manager that does not answer is forgiven by a command that follows a task.
    pub patience: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing { poll: Duration::from_millis(400), patience: Duration::from_secs(60) }
    }
}

/// The whole program. Returns the exit code.
pub fn main_with(args: impl IntoIterator<Item = OsString>, host: Host) -> u8 {
    let Host { env, stdin, stdout, stderr, now, seed, timing, interrupt, .. } = host;
    let no_color =
        env.get("NO_COLOR").is_some_and(|set| !set.is_empty()) || env.get("TERM").is_some_and(|t| t == "dumb");
    let args: Vec<OsString> = args.into_iter().collect();
    if let [_, help, errors, code @ ..] = &args[..]
        && help == "help"
        && errors == "errors"
    {
        let code: Vec<_> = code.iter().map(|code| code.to_string_lossy()).collect();
        return match cmd::errors::help(&code) {
            Ok(text) => match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
                Ok(()) => 0,
                Err(error) => report(error.into(), stderr),
            },
            Err(error) => report(error, stderr),
        };
    }
    let mut command = Cli::command().max_term_width(100);
    if !host.stdout_is_terminal {
        command = command.term_width(100);
    }
    let hint = hint::hint(&args);
    let parsed = command.try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(usage) => {
            let (stream, terminal): (&mut dyn Write, bool) = match usage.use_stderr() {
                true => (stderr, host.stderr_is_terminal),
                false => (stdout, host.stdout_is_terminal),
            };
            let text = usage.render();
            let text = if terminal && !no_color { text.ansi().to_string() } else { text.to_string() };
            let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
            if let Some(hint) = hint.filter(|_| usage.use_stderr()) {
                say(stderr, &format!("\n{hint}"));
            }
            return usage.exit_code() as u8;
        }
    };
    if let cli::Command::Dev(args) = cli.command {
        let screen = dev::Screen {
            out: stdout,
            colours: host.stdout_is_terminal && !no_color,
            zone: jiff::tz::TimeZone::system(),
        };
        return match args.settings(&env) {
            Ok(settings) => run_dev(settings, screen, interrupt, stderr),
            Err(text) => report(Error::usage(text), stderr),
        };
    }
    let farewell = RefCell::new(String::new());
    let result = {
        let settings = || {
            let context = settings::context(cli.context.as_deref(), &env, &settings::config(&env)?)?;
            Ok((settings::addr(cli.addr.as_deref(), &env, &context)?, context))
        };
        // What mends the settings must not need them.
        let settings = match cli.command {
            cli::Command::Context(_) | cli::Command::Completion(_) => Ok(Default::default()),
            _ => settings(),
        };
        let (addr, context) = match settings {
            Ok(settings) => settings,
            Err(error) => return report(error, stderr),
        };
        let session = Session {
            client: Client::new(addr),
            env: &env,
            context,
            stdin,
            out: stdout,
            err: &mut *stderr,
            now,
            seed,
            timing,
            farewell: &farewell,
        };
        block_on(cli.command.execute(session), interrupt)
    };
    let code = match result {
        Ok(code) => code,
        Err(error) => report(error, stderr),
    };
    if code == error::INTERRUPTED && !farewell.borrow().is_empty() {
        say(stderr, &format!("orbit: {}", farewell.borrow()));
    }
    code
}

/// Both daemons log to the process's own standard error.
fn run_dev(
    settings: dev::DevSettings,
    screen: dev::Screen,
    interrupt: Pin<Box<dyn Future<Output = ()> + '_>>,
    stderr: &mut dyn Write,
) -> u8 {
    use orbit_shell::program;
    let format = settings.manager.logs.log_format;
    program::log_to_stderr(format, settings.usual_logs);
    let ended = program::block_on(async {
        let asked_to_end = program::asked_to_end();
        let stop = async {
            tokio::select! { biased;
                () = asked_to_end => {}
                () = interrupt => {}
            }
        };
        dev::serve(settings, screen, stop).await
    });
    match (ended, format) {
        (Ok(()), _) => 0,
        (Err(error), program::LogFormat::Text) => report(error, stderr),
        (Err(error), program::LogFormat::Json) => {
            tracing::error!("{}", error.text().unwrap_or_default());
            error.exit_code()
        }
    }
}

fn block_on(
    command: impl Future<Output = Result<u8, Error>>,
    interrupt: Pin<Box<dyn Future<Output = ()> + '_>>,
) -> Result<u8, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::new(Kind::Usage(format!("the program's runtime does not start: {e}"))))?;
    runtime.block_on(async {
        // The command first: what it reads from a terminal before it waits, Ctrl-C ends as ever.
        tokio::select! { biased;
            result = command => result,
            () = interrupt => Err(Error::new(Kind::Interrupted)),
        }
    })
}

fn report(error: Error, stderr: &mut dyn Write) -> u8 {
    if let Some(text) = error.text() {
        say(stderr, &format!("orbit: {text}"));
    }
    error.exit_code()
}

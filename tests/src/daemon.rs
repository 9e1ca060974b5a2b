//! One daemon as a process.

use crate::poll_for;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// A program with its arguments, started and ended as often as a test wants. Its log goes on in one
/// file.
pub struct Daemon {
    program: PathBuf,
    args: Vec<String>,
    /// Beside the environment of the tests.
    env: Vec<(String, String)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Daemon {
    /// Not started yet.
    pub fn new(program: &Path, args: Vec<String>, log: PathBuf) -> Daemon {
        Daemon { program: program.to_owned(), args, env: Vec::new(), log, child: None }
    }

    /// Another program with the same arguments and the same log, from the next start on.
    pub fn becomes(&mut self, program: &Path) {
        self.program = program.to_owned();
    }

    /// One variable of its environment, from the next start on.
    pub fn env(&mut self, name: &str, value: &str) {
        self.env.retain(|(there, _)| there != name);
        self.env.push((name.to_string(), value.to_string()));
    }

    /// # Panics
    /// If it runs already, or cannot be run.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.program.display());
        let open = |path: &Path| OpenOptions::new().create(true).append(true).open(path).expect("it can be written");
        let mut command = Command::new(&self.program);
        // The settings of whoever runs the tests are not the cluster's.
        let ours = |name: &str| name.starts_with("ORBIT_");
        std::env::vars().filter(|(name, _)| ours(name)).for_each(|(name, _)| {
            command.env_remove(name);
        });
        command.args(&self.args).envs(self.env.iter().cloned()).stdin(Stdio::null());
        command.stdout(open(&self.log.with_extension("out"))).stderr(open(&self.log));
        self.child = Some(command.spawn().expect("the daemon can be run"));
    }

    /// # Panics
    /// If it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// Sends it a signal and does not wait.
    ///
    /// # Panics
    /// If it does not run.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32).expect("a process has an ID");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// `kill -9`. Returns once it is gone; without effect where it does not run.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and its exit status.
    ///
    /// # Panics
    /// If it does not run, or takes too long.
    pub fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        self.wait_end()
    }

    /// SIGTERM.
    ///
    /// # Panics
    /// If it does not run.
    pub fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until it has ended by itself; its exit status.
    ///
    /// # Panics
    /// If it does not run, or takes too long.
    pub fn wait_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the daemon runs");
        let ended = || child.try_wait().expect("a child can be waited for").ok_or_else(|| "it runs".to_string());
        let status = poll_for("the daemon ends", Duration::from_secs(10), ended);
        if status.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        status.unwrap_or_else(|error| panic!("{error}\n{}", self.log_tail(40)))
    }

    /// It falls silent: its process stays, and does nothing until [`resume`](Self::resume).
    ///
    /// # Panics
    /// If it does not run.
    pub fn suspend(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on after [`suspend`](Self::suspend).
    ///
    /// # Panics
    /// If it does not run.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Whether it runs by itself still.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// All that it has written to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// All that it has written to standard output.
    pub fn output(&self) -> String {
        fs::read_to_string(self.log.with_extension("out")).unwrap_or_default()
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

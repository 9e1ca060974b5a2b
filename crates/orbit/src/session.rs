//! What a command works with: the manager, the streams of the process, what its user has set.

use crate::{
    Timing,
    client::{Client, Events},
    error::Error,
    settings::Context,
};
use orbit_shell::plain;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{Read, Write},
    time::SystemTime,
};

/// What a command works with.
pub struct Session<'a> {
    pub client: Client,
    pub env: &'a BTreeMap<String, String>,
    pub context: Context,
    pub stdin: &'a mut dyn Read,
    pub out: &'a mut dyn Write,
    pub err: &'a mut dyn Write,
    pub now: SystemTime,
    pub seed: u64,
    pub timing: Timing,
    /// What is said when Ctrl-C ends the command.
    pub farewell: &'a RefCell<String>,
}

impl Session<'_> {
    /// Data.
    pub fn print(&mut self, text: &str) -> Result<(), Error> {
        self.out.write_all(plain::data(text).as_bytes())?;
        Ok(self.out.flush()?)
    }
    /// A stream of events, from where it broke off. A manager that does not answer for a while is
    /// waited for, once there was one.
    pub async fn reconnect(&mut self, path: &str, last: Option<&str>) -> Result<Events, Error> {
        let until = tokio::time::Instant::now() + self.timing.patience;
        let mut told = false;
        loop {
            match self.client.events(path, last).await {
                Err(error) if last.is_some() && error.may_pass() && tokio::time::Instant::now() < until => {
                    if !told {
                        self.say(&format!("orbit: {}; still trying", error.text().unwrap_or_default()));
                    }
                    told = true;
                    tokio::time::sleep(self.timing.poll).await;
                }
                other => return other,
            }
        }
    }
    /// Progress and errors. Nobody can be told that nobody reads it.
    pub fn say(&mut self, line: &str) {
        say(self.err, line);
    }
}

/// One line for people.
pub fn say(err: &mut dyn Write, line: &str) {
    let _ = writeln!(err, "{}", plain::lines(line)).and_then(|()| err.flush());
}

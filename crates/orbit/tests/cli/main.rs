//! The whole program against a manager that answers as it is told.

#![forbid(unsafe_code)]

mod apply;
mod compose;
mod data;
mod errors;
mod fake;
mod follow;
mod show;
mod watch;

use fake::Fake;
use orbit::{Host, Timing, main_with};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, Write},
    time::Duration,
};
use tokio::sync::oneshot;

/// What a run of the program left behind.
struct Ran {
    code: u8,
    out: String,
    err: String,
}

impl Ran {
    /// One run for a snapshot.
    fn transcript(&self, args: &[&str]) -> String {
        let part = |name: &str, text: &str| if text.is_empty() { String::new() } else { format!("--- {name}\n{text}") };
        let (out, err) = (part("stdout", &self.out), part("stderr", &self.err));
        format!("$ orbit {}\n{out}{err}--- exit {}\n\n", args.join(" "), self.code)
    }
}

/// A run of the program that is prepared.
struct Line<'a> {
    addr: &'a str,
    env: Vec<(&'a str, &'a str)>,
    stdin: &'a str,
    patience: Duration,
    /// Ctrl-C comes once this stands on stdout.
    interrupt_after: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn to(fake: &'a Fake) -> Line<'a> {
        Line::addr(&fake.addr)
    }
    fn addr(addr: &'a str) -> Line<'a> {
        Line { addr, env: Vec::new(), stdin: "", patience: Duration::from_secs(60), interrupt_after: None }
    }
    fn env(mut self, key: &'a str, value: &'a str) -> Self {
        self.env.push((key, value));
        self
    }

    fn run(self, args: &[&str]) -> Ran {
        let mut out = Vec::new();
        let mut ran = self.run_on(args, &mut out);
        ran.out = String::from_utf8(out).unwrap().replace(self.addr, "http://MANAGER");
        ran
    }

    fn run_on(&self, args: &[&str], out: &mut dyn Write) -> Ran {
        let mut env = BTreeMap::from([("ORBIT_ADDR".to_string(), self.addr.to_string())]);
        env.extend(self.env.iter().map(|(key, value)| (key.to_string(), value.to_string())));
        let (pressed, interrupt) = oneshot::channel();
        let mut out = Watched { inner: out, seen: String::new(), awaited: self.interrupt_after, press: Some(pressed) };
        let mut err = Vec::new();
        let code = main_with(
            std::iter::once("orbit").chain(args.iter().copied()).map(OsString::from),
            Host {
                env,
                stdin: &mut self.stdin.as_bytes(),
                stdout: &mut out,
                stderr: &mut err,
                stdout_is_terminal: false,
                stderr_is_terminal: false,
                now: humantime::parse_rfc3339(data::NOW).unwrap(),
                seed: 4711,
                timing: Timing { poll: Duration::from_millis(2), patience: self.patience },
                interrupt: Box::pin(async {
                    if interrupt.await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }),
            },
        );
        let err = String::from_utf8(err).unwrap().replace(self.addr, "http://MANAGER");
        Ran { code, out: String::new(), err }
    }
}

/// A stdout that presses Ctrl-C when it has seen a text.
struct Watched<'a> {
    inner: &'a mut dyn Write,
    seen: String,
    awaited: Option<&'a str>,
    press: Option<oneshot::Sender<()>>,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.seen += &String::from_utf8_lossy(&bytes[..written]);
        if self.awaited.is_some_and(|awaited| self.seen.contains(awaited))
            && let Some(press) = self.press.take()
        {
            press.send(()).map_err(|()| io::Error::other("nobody listens for Ctrl-C"))?;
        }
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Runs several lines against one manager, for one snapshot.
fn transcripts(fake: &Fake, lines: &[&[&str]]) -> String {
    lines.iter().map(|args| Line::to(fake).run(args).transcript(args)).collect()
}

//! The questions that a node asks of a task that runs.

use super::{
    Millis, Port, Rejection, limits,
    validate::{check_span, check_string, check_words, excerpt},
};

/// The questions that a running task is asked again and again by its node. A task serves while the answer to
/// each of them is yes, and from its start where there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Probes {
    /// Where it fails, the task is replaced.
    pub health: Option<Box<Probe>>,
    /// Where it fails, the task leaves the endpoints until it passes again.
    pub ready: Option<Box<Probe>>,
}

/// Which of a task's questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// [`Probes::health`]
    Health,
    /// [`Probes::ready`]
    Ready,
}

/// One question, and what counts as an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// What is asked.
    pub ask: ProbeAsk,
    /// Between two questions. Before the first yes, within the start period, it may be asked more often.
    pub interval: Millis,
    /// Without an answer for so long, the answer is no.
    pub timeout: Millis,
    /// So many times no in a row make the probe fail. One yes makes it pass.
    pub retries: u32,
    /// Before the first yes, no does not count for so long.
    pub start_period: Millis,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeAsk {
    /// `GET path` at this port of the container; a status below 400 is yes.
    Http {
        /// A port of the spec, by its name.
        port: String,
        /// Begins with a slash.
        path: String,
    },
    /// A connection to this port of the container.
    Tcp {
        /// A port of the spec, by its name.
        port: String,
    },
    /// A command in the container; exit code 0 is yes.
    Command(Vec<String>),
}

impl Probes {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.health.is_none() && self.ready.is_none()
    }
    /// Each question.
    pub fn iter(&self) -> impl Iterator<Item = (ProbeKind, &Probe)> {
        let [health, ready] = [ProbeKind::Health, ProbeKind::Ready].map(|kind| Some((kind, self.get(kind)?)));
        health.into_iter().chain(ready)
    }
    /// One of the questions.
    pub fn get(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Health => self.health.as_deref(),
            ProbeKind::Ready => self.ready.as_deref(),
        }
    }
}

impl ProbeKind {
    /// As the manifest names it.
    pub fn as_str(self) -> &'static str {
        match self {
            ProbeKind::Health => "health",
            ProbeKind::Ready => "ready",
        }
    }
}

impl Probe {
    /// The documented defaults.
    pub fn asking(ask: ProbeAsk) -> Probe {
        Probe { ask, interval: Millis::secs(5), timeout: Millis::secs(2), retries: 3, start_period: Millis::secs(10) }
    }

    pub(super) fn validate(&self, field: &str, ports: &[Port]) -> Result<(), Rejection> {
        let known = |port: &String, of: &str| match ports.iter().find(|it| it.name == *port) {
            Some(port) if port.protocol.has_tcp() => Ok(()),
            Some(_) => {
                let message = format!("`{}` is published for UDP, which is not asked", excerpt(port));
                Err(Rejection::invalid(format!("{field}.{of}.port"), message))
            }
            None => {
                let message = format!("`{}` is none of the ports", excerpt(port));
                Err(Rejection::invalid(format!("{field}.{of}.port"), message))
            }
        };
        match &self.ask {
            ProbeAsk::Http { port, path } => {
                known(port, "http")?;
                check_string(&format!("{field}.http.path"), path)?;
                if !path.starts_with('/') || path.chars().any(|c| c.is_whitespace() || c.is_control()) {
                    let message = "a path begins with a slash and has no spaces: /healthz";
                    return Err(Rejection::invalid(format!("{field}.http.path"), message));
                }
            }
            ProbeAsk::Tcp { port } => known(port, "tcp")?,
            ProbeAsk::Command(command) if command.is_empty() => {
                return Err(Rejection::invalid(format!("{field}.command"), "a program is needed"));
            }
            ProbeAsk::Command(command) => check_words(&format!("{field}.command"), command)?,
        }
        check_span(&format!("{field}.interval"), self.interval, limits::PROBE_SPAN_MS_MIN)?;
        check_span(&format!("{field}.timeout"), self.timeout, limits::PROBE_SPAN_MS_MIN)?;
        check_span(&format!("{field}.start_period"), self.start_period, 0)?;
        if !(1..=limits::PROBE_RETRIES_MAX).contains(&self.retries) {
            let message = format!("{} is not between 1 and {}", self.retries, limits::PROBE_RETRIES_MAX);
            return Err(Rejection::invalid(format!("{field}.retries"), message));
        }
        Ok(())
    }
}

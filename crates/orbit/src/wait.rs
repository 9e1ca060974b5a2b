//! `--wait`: looks again and again until what was applied runs, or has ended.

use crate::{
    args::span,
    client::{Client, path},
    error::{Error, Kind},
    format::{has_ended, reason, replicas},
    session::Session,
};
use clap::Args;
use orbit_api::{
    manifest::ManifestPolicy,
    view::{Service, Task, TaskDefinition},
};
use std::time::Duration;
use tokio::time::Instant;

/// Whether a command waits for what it has changed.
#[derive(Args)]
pub struct Waiting {
    /// Wait until it runs as desired; a task: until it has ended
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = span, requires = "wait")]
    pub timeout: Duration,
}

impl Waiting {
    /// Waits, if that was asked for. `done` is what stays as it is when Ctrl-C ends the waiting.
    pub async fn wait(&self, session: &mut Session<'_>, awaited: Vec<Awaited>, done: &str) -> Result<(), Error> {
        if !self.wait {
            return Ok(());
        }
        *session.farewell.borrow_mut() = format!("{done}; only the waiting has ended");
        wait(session, awaited, Instant::now() + self.timeout).await
    }
}

/// An object that is waited for.
pub struct Awaited {
    name: String,
    uid: String,
    goal: Goal,
    seen: Option<Progress>,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// Every replica of a service serves, in the current version.
    Service,
    /// Every replica of a service runs in the current version: whether all of them serve after that is not waited for.
    Rollout,
    /// Every replica of a service serves, in whichever version: a rollout that was held or undone before says nothing
    /// about their number.
    Replicas,
    /// The task has ended.
    Task,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    /// On its way. `pending`: a task of it has no node.
    Under {
        text: String,
        pending: bool,
    },
    Done {
        text: String,
    },
    /// It has ended, and not well.
    Failed {
        text: String,
    },
}

impl Progress {
    fn text(&self) -> &str {
        match self {
            Progress::Under { text, .. } | Progress::Done { text } | Progress::Failed { text } => text,
        }
    }
}

impl Awaited {
    fn new(goal: Goal, name: &str, uid: &str) -> Awaited {
        Awaited { name: name.to_string(), uid: uid.to_string(), goal, seen: None }
    }
    pub fn service(name: &str, uid: &str) -> Awaited {
        Awaited::new(Goal::Service, name, uid)
    }
    pub fn rollout(name: &str, uid: &str) -> Awaited {
        Awaited::new(Goal::Rollout, name, uid)
    }
    pub fn replicas(name: &str, uid: &str) -> Awaited {
        Awaited::new(Goal::Replicas, name, uid)
    }
    pub fn task(name: &str, uid: &str) -> Awaited {
        Awaited::new(Goal::Task, name, uid)
    }
    fn object(&self) -> String {
        format!("{}/{}", if self.goal == Goal::Task { "task" } else { "service" }, self.name)
    }
    fn is_under_way(&self) -> bool {
        matches!(self.seen, None | Some(Progress::Under { .. }))
    }

    async fn look(&self, client: &Client) -> Result<Progress, Error> {
        let (uid, progress) = match self.goal {
            Goal::Task => {
                let task: TaskDefinition = client.get(&path(&["tasks", &self.name], &[])).await?;
                (task.uid.clone(), of_task(&task))
            }
            goal => {
                let service: Service = client.get(&path(&["services", &self.name], &[])).await?;
                (service.uid.clone(), of_service(&service, goal))
            }
        };
        match uid == self.uid {
            true => Ok(progress),
            false => Err(Error::usage("was deleted and created anew by somebody else meanwhile")),
        }
    }
}

fn of_service(service: &Service, goal: Goal) -> Progress {
    let (wanted, actual) = (replicas(service), &service.actual);
    // A manager that is older than this program says nothing of rollouts.
    let (state, told) = service.rollout.as_ref().map_or(("done", ""), |it| (&it.state, &it.message));
    let is_held = matches!(state, "failed" | "rolled_back" | "paused" | "canary");
    if goal == Goal::Replicas && is_held {
        let count = format!("{} of {wanted} ready", actual.ready.min(wanted));
        return match actual.ready == wanted && actual.running == wanted {
            true => Progress::Done { text: count },
            false => under_way(service, count, 0),
        };
    }
    let updated = actual.updated.min(wanted);
    let count = format!("{updated} of {wanted} ready");
    match state {
        "failed" | "rolled_back" => return Progress::Failed { text: told.to_string() },
        "paused" | "canary" => return Progress::Done { text: format!("{count}: {told}") },
        // What shall have no replicas has nothing to wait for.
        "done" | "running" if wanted == 0 && actual.running == 0 => return Progress::Done { text: count },
        "done" if actual.is_settled(wanted) => return Progress::Done { text: count },
        _ => {}
    }
    let older = actual.ready.saturating_sub(updated);
    let progress = match state == "running" && older > 0 {
        true => under_way(service, format!("new version {count}, old version still serves {older}"), 0),
        false => under_way(service, count, older),
    };
    match progress {
        Progress::Under { text, .. } if goal == Goal::Rollout && state == "done" && actual.running >= wanted => {
            Progress::Done { text }
        }
        progress => progress,
    }
}

/// What a service has beside its ready replicas, `surplus` of them beyond what is wanted, and why.
fn under_way(service: &Service, count: String, surplus: u32) -> Progress {
    let actual = &service.actual;
    let parts = [
        (actual.starting, "starting"),
        (actual.pending, "pending"),
        (actual.unready(), "not ready"),
        (actual.unreachable, "on unreachable nodes"),
        (surplus, if service.rollout.is_some() { "surplus" } else { "of an older version or surplus" }),
        (actual.stopping, "stopping"),
    ];
    let parts: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let mut text = count;
    if !parts.is_empty() {
        text = format!("{text}, {}", parts.join(", "));
    }
    if !actual.message.is_empty() && !parts.contains(&actual.message) {
        text = format!("{text}: {}", actual.message);
    }
    Progress::Under { text, pending: actual.pending > 0 }
}

fn of_task(definition: &TaskDefinition) -> Progress {
    let Some(task) = &definition.attempt else {
        return Progress::Under { text: "no attempt yet".to_string(), pending: false };
    };
    let text = state(task);
    let policy = definition.desired.restart.as_ref().and_then(|restart| restart.policy);
    let another_follows = match policy {
        Some(ManifestPolicy::Always) => true,
        Some(ManifestPolicy::OnFailure) => task.actual != "complete" && task.desired != "stopped",
        Some(ManifestPolicy::Never) | None => false,
    };
    if !has_ended(&task.actual) || another_follows {
        return Progress::Under { text, pending: task.actual == "pending" };
    }
    match task.actual == "complete" {
        true => Progress::Done { text },
        false => Progress::Failed { text },
    }
}

/// The words that are worth another line: that a second has passed of `tried again in 4 s` is none.
fn news(text: &str) -> Vec<&str> {
    let words: Vec<&str> = text.split(' ').collect();
    let counts = |at: usize| at > 0 && words[at - 1] == "in" && words[at].parse::<u64>().is_ok();
    (0..words.len()).filter(|at| !counts(*at)).map(|at| words[at]).collect()
}

/// `running on worker-1`, `failed: exited (1)`.
pub fn state(task: &Task) -> String {
    let mut text = task.actual.clone();
    if let (Some(node), false) = (&task.node, has_ended(&task.actual)) {
        text = format!("{text} on {node}");
    }
    match reason(task, true) {
        why if why.is_empty() => text,
        why => format!("{text}: {why}"),
    }
}

/// Waits for all of them. A manager that does not answer for a while is waited for as well.
pub async fn wait(session: &mut Session<'_>, mut awaited: Vec<Awaited>, deadline: Instant) -> Result<(), Error> {
    let mut silent = false;
    loop {
        for one in awaited.iter_mut().filter(|one| one.is_under_way()) {
            match tokio::time::timeout_at(deadline, one.look(&session.client)).await {
                Err(_elapsed) => break,
                Ok(Ok(progress)) => {
                    if one.seen.as_ref().map(|seen| news(seen.text())) != Some(news(progress.text())) {
                        session.say(&format!("{}: {}", one.object(), progress.text()));
                    }
                    one.seen = Some(progress);
                    silent = false;
                }
                Ok(Err(error)) if error.may_pass() => {
                    if !silent {
                        session.say(&format!("orbit: {}; still waiting", error.text().unwrap_or_default()));
                    }
                    silent = true;
                    break;
                }
                Ok(Err(error)) => return Err(error.at(&one.object())),
            }
        }
        if awaited.iter().all(|one| !one.is_under_way()) {
            return verdict(&awaited);
        }
        if Instant::now() >= deadline {
            return Err(timed_out(&awaited));
        }
        tokio::time::sleep_until(deadline.min(Instant::now() + session.timing.poll)).await;
    }
}

/// All have come to an end.
fn verdict(awaited: &[Awaited]) -> Result<(), Error> {
    let failed = |one: &&Awaited| matches!(one.seen, Some(Progress::Failed { .. }));
    let failed: Vec<_> = awaited.iter().filter(failed).map(told).collect();
    if failed.is_empty() { Ok(()) } else { Err(Error::new(Kind::Failed(failed.join("; ")))) }
}

fn timed_out(awaited: &[Awaited]) -> Error {
    let pending = |one: &&Awaited| matches!(one.seen, Some(Progress::Under { pending: true, .. }));
    let of = |chosen: Vec<&Awaited>| chosen.into_iter().map(told).collect::<Vec<_>>().join("; ");
    let unplaced: Vec<_> = awaited.iter().filter(pending).collect();
    match unplaced.is_empty() {
        false => Error::new(Kind::Unplaceable(format!("cannot be placed in time: {}", of(unplaced)))),
        true => {
            let late: Vec<_> = awaited.iter().filter(|one| one.is_under_way()).collect();
            Error::new(Kind::TimedOut(format!("timed out: {}", of(late))))
        }
    }
}

fn told(one: &Awaited) -> String {
    let text = one.seen.as_ref().map_or("the manager did not answer", Progress::text);
    format!("{}: {text}", one.object())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_time_passes_is_no_news() {
        assert_eq!(news("1 of 3 running: tried again in 14 s"), news("1 of 3 running: tried again in 13 s"));
        assert_ne!(news("1 of 3 running: tried again in 14 s"), news("2 of 3 running: tried again in 14 s"));
    }

    #[test]
    fn what_runs_beyond_what_is_wanted_is_not_counted_as_wanted() {
        let service: Service = serde_json::from_value(serde_json::json!({
            "name": "web", "uid": "1.4", "revision": 9, "version": 1, "created_at": "2026-03-01T11:15:00Z",
            "desired": { "kind": "Service", "name": "web", "image": "nginx:1", "replicas": 3 },
            "actual": { "running": 20, "ready": 20, "updated": 20, "starting": 0, "pending": 0, "stopping": 1, "failures": 0,
                "message": "" },
        }))
        .unwrap();
        let text = "3 of 3 ready, 17 of an older version or surplus, 1 stopping".to_string();
        assert_eq!(of_service(&service, Goal::Service), Progress::Under { text, pending: false });
    }
}

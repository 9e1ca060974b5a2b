//! `--wait`: looks again and again until what was applied runs, or has ended.

use crate::{
    client::{Client, path},
    error::{Error, Kind},
    format::{has_ended, reason},
    session::Session,
    table::replicas,
};
use orbit_api::{
    manifest::ManifestPolicy,
    view::{Service, Task, TaskDefinition},
};
use tokio::time::Instant;

/// An object that is waited for.
pub struct Awaited {
    name: String,
    uid: String,
    is_service: bool,
    /// Its rollout is waited for until every replica runs, and not until all of them serve after that.
    only_rollout: bool,
    seen: Option<Progress>,
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
    pub fn service(name: &str, uid: &str) -> Awaited {
        Awaited { name: name.to_string(), uid: uid.to_string(), is_service: true, only_rollout: false, seen: None }
    }
    pub fn rollout(name: &str, uid: &str) -> Awaited {
        Awaited { only_rollout: true, ..Awaited::service(name, uid) }
    }
    pub fn task(name: &str, uid: &str) -> Awaited {
        Awaited { is_service: false, ..Awaited::service(name, uid) }
    }
    fn object(&self) -> String {
        format!("{}/{}", if self.is_service { "service" } else { "task" }, self.name)
    }
    fn is_under_way(&self) -> bool {
        matches!(self.seen, None | Some(Progress::Under { .. }))
    }

    async fn look(&self, client: &Client) -> Result<Progress, Error> {
        let (uid, progress) = match self.is_service {
            true => {
                let service: Service = client.get(&path(&["services", &self.name], &[])).await?;
                let is_over = service.rollout.as_ref().is_some_and(|rollout| rollout.state == "done")
                    && service.actual.running >= replicas(&service);
                let progress = match of_service(&service) {
                    Progress::Under { text, .. } if self.only_rollout && is_over => Progress::Done { text },
                    progress => progress,
                };
                (service.uid.clone(), progress)
            }
            false => {
                let task: TaskDefinition = client.get(&path(&["tasks", &self.name], &[])).await?;
                (task.uid.clone(), of_task(&task))
            }
        };
        match uid == self.uid {
            true => Ok(progress),
            false => Err(Error::usage("was deleted and created anew by somebody else meanwhile")),
        }
    }
}

fn of_service(service: &Service) -> Progress {
    let (wanted, actual) = (replicas(service), &service.actual);
    let updated = actual.updated.min(wanted);
    let count = format!("{updated} of {wanted} ready");
    // A manager that is older than this program says nothing of rollouts.
    let (state, told) = service.rollout.as_ref().map_or(("done", ""), |it| (&it.state, &it.message));
    match state {
        "failed" | "rolled_back" => return Progress::Failed { text: told.to_string() },
        "paused" | "canary" => return Progress::Done { text: format!("{count}: {told}") },
        // What shall have no replicas has nothing to wait for.
        "done" | "running" if wanted == 0 && actual.running == 0 => return Progress::Done { text: count },
        "done" if actual.is_settled(wanted) => return Progress::Done { text: count },
        _ => {}
    }
    let older = actual.ready.saturating_sub(updated);
    let is_running = state == "running" && older > 0;
    let count = if is_running { format!("new version {count}") } else { count };
    let serves = if is_running { format!("old version still serves {older}") } else { String::new() };
    let older = if is_running { 0 } else { older };
    let parts = [
        (actual.starting, "starting"),
        (actual.pending, "pending"),
        (actual.unready(), "not ready"),
        (actual.unreachable, "on unreachable nodes"),
        (older, if service.rollout.is_some() { "surplus" } else { "of an older version or surplus" }),
        (actual.stopping, "stopping"),
    ];
    let parts = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
    let parts: Vec<_> = Some(serves).filter(|serves| !serves.is_empty()).into_iter().chain(parts).collect();
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
        assert_eq!(of_service(&service), Progress::Under { text, pending: false });
    }
}

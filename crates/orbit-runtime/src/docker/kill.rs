//! Ends a process that was started in a running container.
//!
//! The engine has no request for that: it leaves such a process to itself when its client goes, and so do its own
//! health checks of old. Where it says under which number the machine knows the process, the worker is on the same
//! machine (as it has to be for probes), and reads there who descends from it. It sends the signals itself if it
//! may, as root may. Another asks the container's own `kill`, which an image need not have: then the process stays, and
//! the operator is told.

use super::errors::{During, judge};
use bollard::{
    Docker,
    exec::{StartExecOptions, StartExecResults},
    models::ExecConfig,
};
use futures_util::StreamExt;
use orbit_core::worker::OpError;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout_at};

/// How long a process has to end by itself once nobody reads its output and its input has ended.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// How long a kill may take. In a frozen container it takes until somebody thaws it.
const KILL_MAX: Duration = Duration::from_secs(5);
/// Between two looks at whether it has ended: the first, and the longest.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_LAST: Duration = Duration::from_millis(500);

/// A process that the engine was asked to start. Dropping it ends the process, in the background.
pub(super) struct Process {
    client: Docker,
    id: String,
    /// It is not known to have ended.
    alive: bool,
}

impl Process {
    /// What the engine has made under this number, before it is asked to start it.
    pub fn new(client: Docker, id: String) -> Process {
        Process { client, id, alive: true }
    }

    /// Waits for its end, and gives its exit code.
    pub async fn exit_code(mut self) -> Result<i32, OpError> {
        let code = exit_code(&self.client, &self.id).await?;
        self.alive = false;
        Ok(code)
    }

    /// Its end was seen.
    pub fn has_ended(mut self) {
        self.alive = false;
    }

    /// Ends it now. False where it could not be ended, or it is not known whether it was.
    pub async fn end(mut self) -> bool {
        self.alive = false;
        let ended = end(&self.client, &self.id, Duration::ZERO).await;
        if !ended {
            warn(&self.id);
        }
        ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.alive
            && let Ok(executor) = tokio::runtime::Handle::try_current()
        {
            let (client, id) = (self.client.clone(), std::mem::take(&mut self.id));
            // Bounded by its own limits of time.
            executor.spawn(async move {
                if !end(&client, &id, GRACE).await {
                    warn(&id);
                }
            });
        }
    }
}

/// How a process ended. The engine knows that a little later than its output ends.
pub(super) async fn exit_code(client: &Docker, id: &str) -> Result<i32, OpError> {
    let mut pause = LOOK_FIRST;
    loop {
        let found = client.inspect_exec(id).await.map_err(|error| judge(During::Exec, &error))?;
        match found.exit_code {
            Some(code) if found.running != Some(true) => return Ok(i32::try_from(code).unwrap_or(-1)),
            // One that has closed its output may run on for ever.
            _ => sleep(pause).await,
        }
        pause = (pause * 2).min(LOOK_LAST);
    }
}

/// Waits for the grace, then kills the process and all that descend from it. Whether it has ended.
pub(super) async fn end(client: &Docker, id: &str, grace: Duration) -> bool {
    // An engine that knows nothing of it, or of its container, has not got it any more.
    let ended = async |until| match timeout_at(until, exit_code(client, id)).await {
        Ok(Ok(_)) => true,
        Ok(Err(_)) => client.inspect_exec(id).await.is_ok_and(|found| found.running != Some(true)),
        Err(_) => false,
    };
    if !grace.is_zero() && ended(Instant::now() + grace).await {
        return true;
    }
    let until = Instant::now() + KILL_MAX;
    while Instant::now() < until {
        let Ok(found) = client.inspect_exec(id).await else { return true };
        let (container, pid) = (found.container_id.unwrap_or_default(), found.pid.unwrap_or(0));
        match (found.running, i32::try_from(pid)) {
            (Some(true), Ok(pid)) if pid > 0 => {
                kill(client, &container, pid).await;
                if ended((Instant::now() + LOOK_LAST).min(until)).await {
                    return true;
                }
            }
            // Not started yet, or just ended.
            _ if found.exit_code.is_some() && found.running != Some(true) => return true,
            _ => sleep(LOOK_FIRST).await,
        }
    }
    false
}

/// Of a process that could not be ended.
fn warn(id: &str) {
    tracing::warn!(
        exec = id,
        "a process that nobody waits for stays in its container: it is frozen, or the worker may not send it a signal (only \
         root may, on the engine's machine) and its image has no `kill`"
    );
}

/// Sends the signal, in one way or the other. Whether it has reached the process is seen by its end.
async fn kill(client: &Docker, container: &str, pid: i32) {
    let (of, root) = (container.to_owned(), pid);
    let tree = tokio::task::spawn_blocking(move || kill_from_outside(&of, root)).await.unwrap_or_default();
    if let Tree::Refused(inside) = tree {
        kill_from_inside(client, container, &inside).await;
    }
}

/// What came of sending signals from outside.
#[derive(Debug, Default)]
enum Tree {
    /// Everybody was sent the signal.
    Killed,
    /// This machine knows the number for something else, or not at all: the engine is on another.
    #[default]
    NotOurs,
    /// The worker may not. So they are called inside of the container.
    Refused(Vec<String>),
}

/// Stops all that descend from the process, so that nobody begins another meanwhile, and kills them then.
fn kill_from_outside(container: &str, root: i32) -> Tree {
    let mut stopped = BTreeSet::new();
    loop {
        let found = descendants(container, root);
        let new: Vec<i32> = found.difference(&stopped).copied().collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            if signal(container, pid, Signal::STOP).is_err_and(|refused| refused) {
                return Tree::Refused(found.iter().filter_map(|pid| inside(*pid)).collect());
            }
            stopped.insert(pid);
        }
    }
    for pid in &stopped {
        let _ = signal(container, *pid, Signal::KILL);
    }
    if stopped.is_empty() { Tree::NotOurs } else { Tree::Killed }
}

/// The error says whether it was refused; a process that has ended is none's.
fn signal(container: &str, pid: i32, signal: Signal) -> Result<(), bool> {
    let process = Pid::from_raw(pid).ok_or(false)?;
    let opened = pidfd_open(process, PidfdFlags::empty()).map_err(|error| error == rustix::io::Errno::NOSYS)?;
    // Looked at again behind the open handle: the number may be another's by now.
    if !belongs(container, pid) {
        return Err(false);
    }
    pidfd_send_signal(opened, signal).map_err(|error| error == rustix::io::Errno::PERM)
}

/// Whether a process runs in the container.
fn belongs(container: &str, pid: i32) -> bool {
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    !container.is_empty() && cgroup.contains(container)
}

/// The process and all that descend from it, as far as they are the container's.
fn descendants(container: &str, root: i32) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some(parent) = parent_in(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut next) = (BTreeSet::new(), vec![root]);
    while let Some(pid) = next.pop() {
        if belongs(container, pid) && found.insert(pid) {
            next.extend(children.remove(&pid).unwrap_or_default());
        }
    }
    found
}

/// The parent in a line of `/proc/PID/stat`. The program's name before it may have spaces and brackets.
fn parent_in(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// What a process is called in its container.
fn inside(pid: i32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let names = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    names.split_whitespace().last().map(str::to_owned)
}

/// By the container's own program, as its root.
async fn kill_from_inside(client: &Docker, container: &str, pids: &[String]) {
    let words = ["kill", "-9"].map(str::to_owned).into_iter().chain(pids.iter().cloned()).collect();
    let config =
        ExecConfig { attach_stdout: Some(true), cmd: Some(words), user: Some("0".to_owned()), ..ExecConfig::default() };
    let Ok(made) = client.create_exec(container, config).await else { return };
    let Ok(StartExecResults::Attached { mut output, .. }) = client.start_exec(&made.id, None::<StartExecOptions>).await
    else {
        return;
    };
    let _ = timeout_at(Instant::now() + LOOK_LAST, async { while output.next().await.is_some() {} }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read_whatever_the_program_is_called() {
        assert_eq!(parent_in("17 (web) S 4 17 17 0"), Some(4));
        assert_eq!(parent_in("17 (a ) S 9 (b)) R 4 17 17 0"), Some(4));
        assert_eq!(parent_in(""), None);
    }

    #[test]
    fn nobody_else_is_ever_sent_a_signal() {
        // This test's own process runs in no container of that name, nor of none.
        let own = i32::try_from(std::process::id()).unwrap();
        for container in ["", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"] {
            assert!(matches!(kill_from_outside(container, own), Tree::NotOurs));
            assert_eq!(signal(container, own, Signal::KILL), Err(false));
        }
    }
}

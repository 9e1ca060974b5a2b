//! Small things as people read them: ages, states, amounts.

use orbit_api::{
    manifest::ManifestProtocol,
    view::{Node, Service, Task},
};
use orbit_core::model::{Bytes, TaskState};
use orbit_shell::plain;
use std::time::{Duration, SystemTime};

/// What stands where there is nothing.
pub const NOTHING: &str = "<none>";

/// The age of something with this RFC 3339 time, in the units that matter at its size.
pub fn age(since: &str, now: SystemTime) -> String {
    match humantime::parse_rfc3339(since) {
        // A clock that is behind the manager's makes things new, not wrong.
        Ok(since) => span(now.duration_since(since).unwrap_or_default()),
        Err(_) => "<unknown>".to_string(),
    }
}

/// Two units at most, and the second only while it matters.
pub fn span(span: Duration) -> String {
    let s = span.as_secs();
    let (m, h, d) = (s / 60, s / 3600, s / 86_400);
    let two = |big: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{small_unit}"),
    };
    match () {
        () if s < 120 => format!("{s}s"),
        () if m < 10 => two(m, "m", s % 60, "s"),
        () if h < 3 => format!("{m}m"),
        () if h < 8 => two(h, "h", m % 60, "m"),
        () if h < 48 => format!("{h}h"),
        () if d < 8 => two(d, "d", h % 24, "h"),
        () if d < 730 => format!("{d}d"),
        () if d < 8 * 365 => two(d / 365, "y", d % 365, "d"),
        () => format!("{}y", d / 365),
    }
}

/// `ready`, `ready,draining`: what a node is, and what an operator wants of it.
pub fn node_state(node: &Node) -> String {
    match node.duty.as_str() {
        "active" => node.state.clone(),
        duty => format!("{},{duty}", node.state),
    }
}

/// How many replicas a service shall have.
pub fn replicas(service: &Service) -> u32 {
    service.desired.replicas.unwrap_or(1)
}

/// `3`, or `3 (+1 updating)` while an update has more tasks than that.
pub fn desired(service: &Service) -> String {
    let (wanted, actual) = (replicas(service), &service.actual);
    let surplus = (actual.running + actual.starting + actual.pending).saturating_sub(wanted);
    match replaced_version(service).is_some() && surplus > 0 {
        true => format!("{wanted} (+{surplus} updating)"),
        false => wanted.to_string(),
    }
}

/// `2`, or `1→2` while version 2 takes the place of version 1.
pub fn version(service: &Service) -> String {
    let old = replaced_version(service).map(|old| format!("{old}→")).unwrap_or_default();
    format!("{old}{}", service.version)
}

/// The version that serves still while the current one takes its place, also where that is held.
fn replaced_version(service: &Service) -> Option<u32> {
    let rollout = service.rollout.as_ref()?;
    let old = match rollout.state.as_str() {
        "done" | "rolled_back" => None,
        "rolling_back" => rollout.failed,
        _ => rollout.stable,
    };
    old.filter(|old| *old != service.version)
}

/// Whether a task in this actual state has ended. A state that is not known has not.
pub fn has_ended(actual: &str) -> bool {
    state(actual).is_some_and(TaskState::is_terminal)
}
/// Whether a task in this actual state has a container, or had one.
pub fn has_run(task: &Task) -> bool {
    task.running_at.is_some() || task.exit_code.is_some() || state(&task.actual) == Some(TaskState::Running)
}
fn state(actual: &str) -> Option<TaskState> {
    TaskState::ALL.into_iter().find(|state| state.as_str() == actual)
}

/// Why a task ended or waits; with `long`, everything that is known of it.
pub fn reason(task: &Task, long: bool) -> String {
    let mut text = task.reason.clone().unwrap_or_default();
    if let Some(code) = task.exit_code {
        text = if text.is_empty() { format!("exit code {code}") } else { format!("{text} ({code})") };
    }
    let message = plain::line(task.message.trim()).into_owned();
    if !message.is_empty() && (long || text.is_empty()) {
        text = if text.is_empty() { message } else { format!("{text}: {message}") };
    }
    if task.unreachable && !has_ended(&task.actual) {
        text = if text.is_empty() { "node unreachable".into() } else { format!("node unreachable; {text}") };
    }
    text
}

/// `/udp` behind a port; nothing where it is as most are.
pub fn protocol(protocol: Option<ManifestProtocol>) -> &'static str {
    match protocol {
        None | Some(ManifestProtocol::Tcp) => "",
        Some(ManifestProtocol::Udp) => "/udp",
        Some(ManifestProtocol::Both) => "/tcp+udp",
    }
}

/// An address before a colon.
pub fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_string() }
}

/// `31234->80`, or `80` while the node's port is not known.
pub fn ports(task: &Task) -> String {
    let port = |port: &orbit_api::view::TaskPort| {
        let inside = format!("{}{}", port.container, protocol(port.protocol));
        match (port.host, &port.host_ip) {
            (Some(host), Some(address)) => format!("{}:{host}->{inside}", bracketed(address)),
            (Some(host), None) => format!("{host}->{inside}"),
            (None, _) => inside,
        }
    };
    or_nothing(&task.ports.iter().map(port).collect::<Vec<_>>().join(","))
}

/// Used and allocatable processors.
pub fn node_cpu(node: &Node) -> String {
    format!("{}/{}", cpu(node.used.cpu_millis), cpu(node.allocatable.cpu_millis))
}
/// Used and allocatable memory.
pub fn node_memory(node: &Node) -> String {
    format!("{}/{}", memory(node.used.memory_bytes), memory(node.allocatable.memory_bytes))
}
pub fn cpu(millis: u64) -> String {
    orbit_api::quantity::Cpu { millis }.to_string()
}
/// Whole mebibytes where it is more than one: a node's memory is never a round number.
pub fn memory(bytes: u64) -> String {
    let whole = if bytes >= 1 << 20 { bytes >> 20 << 20 } else { bytes };
    Bytes(whole).to_string()
}

pub fn or_nothing(text: &str) -> String {
    if text.is_empty() { NOTHING.to_string() } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units_at_most() {
        let said = |s: u64| span(Duration::from_secs(s));
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (599, "9m59s"),
            (600, "10m"),
            (3 * 3600 - 1, "179m"),
            (3 * 3600, "3h"),
            (5 * 3600 + 61, "5h1m"),
            (47 * 3600, "47h"),
            (48 * 3600, "2d"),
            (7 * 86_400 + 3600, "7d1h"),
            (30 * 86_400, "30d"),
            (3 * 365 * 86_400 + 86_400, "3y1d"),
            (20 * 365 * 86_400, "20y"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(said(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn an_age_survives_clocks_and_texts_that_are_off() {
        let now = humantime::parse_rfc3339("2026-01-02T03:04:05Z").unwrap();
        assert_eq!(age("2026-01-02T03:04:00Z", now), "5s");
        assert_eq!(age("2026-01-02T03:04:04.500Z", now), "0s");
        assert_eq!(age("2026-01-02T03:05:00Z", now), "0s");
        assert_eq!(age("yesterday", now), "<unknown>");
    }

    #[test]
    fn amounts_are_short() {
        assert_eq!((cpu(250), cpu(4000)), ("250m".into(), "4".into()));
        assert_eq!(memory(128 << 20), "128Mi");
        assert_eq!(memory((7 << 30) + (300 << 20) + 4321), "7468Mi");
        assert_eq!(memory(0), "0");
    }

    /// A service that shall have three replicas, in a rollout.
    fn updating(state: &str, versions: [Option<u32>; 2], actual: [u32; 3]) -> Service {
        let ([stable, failed], [running, starting, pending]) = (versions, actual);
        serde_json::from_value(serde_json::json!({
            "name": "web", "uid": "1.4", "revision": 9, "version": 2, "created_at": "2026-03-01T11:15:00Z",
            "desired": { "kind": "Service", "name": "web", "image": "nginx:1", "replicas": 3 },
            "actual": { "running": running, "starting": starting, "pending": pending, "stopping": 5, "failures": 0,
                "message": "" },
            "rollout": { "state": state, "since": "2026-03-01T11:15:00Z", "stable": stable, "failed": failed,
                "message": "" },
        }))
        .unwrap()
    }

    #[test]
    fn a_rollout_shows_what_it_replaces_and_how_many_tasks_are_there_for_it() {
        let shown = |state: &str, versions, actual| {
            let service = updating(state, versions, actual);
            (version(&service), desired(&service))
        };
        let is = |version: &str, desired: &str| (version.to_string(), desired.to_string());
        assert_eq!(shown("running", [Some(1), None], [3, 1, 0]), is("1→2", "3 (+1 updating)"));
        assert_eq!(shown("canary", [Some(1), None], [3, 0, 0]), is("1→2", "3"));
        assert_eq!(shown("paused", [Some(1), None], [3, 0, 1]), is("1→2", "3 (+1 updating)"));
        assert_eq!(shown("rolling_back", [Some(2), Some(3)], [3, 1, 0]), is("3→2", "3 (+1 updating)"));
        // Nothing is replaced: a first version, one that is back, and a surplus of another kind.
        assert_eq!(shown("running", [None, None], [2, 1, 0]), is("2", "3"));
        assert_eq!(shown("rolled_back", [Some(2), Some(3)], [3, 0, 0]), is("2", "3"));
        assert_eq!(shown("done", [Some(2), None], [4, 0, 0]), is("2", "3"));
    }

    #[test]
    fn a_state_that_is_not_known_has_not_ended() {
        assert!(has_ended("lost") && has_ended("complete"));
        assert!(!has_ended("stopping") && !has_ended("hibernating"));
    }
}

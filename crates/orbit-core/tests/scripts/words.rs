//! The words of a command, and how values are written in them.

use orbit_core::model::*;
use std::{collections::BTreeMap, fmt::Display, str::FromStr};

/// A command: a verb, words, and `key=value` pairs.
pub struct Words<'a> {
    pub verb: &'a str,
    pub words: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    pub fn of(line: &'a str) -> Words<'a> {
        let mut parts = line.split_whitespace();
        let verb = parts.next().unwrap_or_default();
        let mut words = Words { verb, words: Vec::new(), options: BTreeMap::new() };
        for part in parts {
            match part.split_once('=') {
                Some((key, value)) => _ = words.options.insert(key, value),
                None => words.words.push(part),
            }
        }
        words
    }
    pub fn word(&self, nth: usize) -> &'a str {
        self.words.get(nth).unwrap_or_else(|| panic!("`{}` needs more words", self.verb))
    }
    pub fn option(&self, key: &str) -> Option<&'a str> {
        self.options.get(key).copied()
    }
    pub fn text(&self, key: &str, default: &'a str) -> &'a str {
        self.option(key).unwrap_or(default)
    }
    pub fn number<N: FromStr>(&self, key: &str, default: N) -> N {
        self.option(key).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{key}={text}")))
    }
    pub fn span(&self, key: &str, default: u64) -> Millis {
        self.option(key).map_or(Millis(default), span)
    }
}

/// `500ms`, `10s`, `2m`.
pub fn span(text: &str) -> Millis {
    let text = text.trim_start_matches('+');
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => panic!("{text} is not a span"),
    };
    Millis(digits.parse::<u64>().expect("a span begins with a number") * factor)
}

/// `128Mi`, `8Gi`.
pub fn bytes(text: &str) -> u64 {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit {
        "Gi" => 30,
        "Mi" => 20,
        _ => 0,
    };
    digits.parse::<u64>().expect("bytes begin with a number") << shift
}

/// `a==b,c!=d` as constraints.
fn constraints(text: &str) -> Vec<Constraint> {
    let read = |part: &str| Constraint::parse(part).unwrap_or_else(|error| panic!("{error}"));
    text.split(',').filter(|part| !part.is_empty()).map(read).collect()
}

/// `8080` for a chosen port, `8080:80` for one pinned to the node's port 80; several with commas.
fn ports(text: &str) -> Vec<Port> {
    let read = |(i, part): (usize, &str)| {
        let (container, host) = part.split_once(':').map_or((part, None), |(c, h)| (c, Some(h)));
        let number = |text: &str| text.parse().expect("a port is a number");
        Port::tcp(format!("p{i}"), number(container), host.map(number))
    };
    text.split(',').filter(|part| !part.is_empty()).enumerate().map(read).collect()
}

/// `volumes=data,media:shared`: those that a container uses, each for itself or together with others.
pub fn volumes(words: &Words) -> Vec<VolumeMount> {
    let mount = |word: &str| {
        let (volume, access) = match word.split_once(':') {
            Some((volume, _)) => (volume, Access::Shared),
            None => (word, Access::Exclusive),
        };
        VolumeMount { volume: volume.into(), path: format!("/{volume}"), read_only: false, access }
    };
    words.text("volumes", "").split(',').filter(|word| !word.is_empty()).map(mount).collect()
}

/// `asks=privileged,host:/srv`: what reaches beyond the container, as its operator would write it.
fn setup(words: &Words) -> Setup {
    let user = words.option("user").map(str::to_string);
    let mut setup = Setup { user, volumes: volumes(words), ..Setup::default() };
    for (i, asked) in grants(words.text("asks", "")).into_iter().enumerate() {
        let Setup { host, security, .. } = &mut setup;
        match asked {
            Grant::Privileged => host.privileged = true,
            Grant::HostNetwork => host.network = Network::Host,
            Grant::Unconfined => host.seccomp_unconfined = true,
            Grant::Capability(name) => _ = security.capabilities_added.insert(name),
            Grant::HostPath(path) => {
                host.mounts.push(HostMount { host: path, path: format!("/mnt/{i}"), read_only: false });
            }
            Grant::Devices | Grant::DockerSocket => panic!("{asked} is not written here yet"),
        }
    }
    setup
}

/// `db/healthy`, `once/complete` or `task/once/started`: what has to be there first.
fn after(text: &str) -> After {
    let (kind, rest) = text.strip_prefix("task/").map_or((Kind::Service, text), |rest| (Kind::Task, rest));
    let (name, until) = rest.split_once('/').expect("a name, and how far");
    let until = *Until::ALL.iter().find(|it| it.as_str() == until).expect("how far");
    let kind = if until == Until::Complete { Kind::Task } else { kind };
    After { kind, name: name.to_string(), until }
}

/// `privileged,host:/srv`, in the order of the words.
pub fn grants(text: &str) -> Vec<Grant> {
    let words: std::collections::BTreeSet<&str> = text.split(',').filter(|word| !word.is_empty()).collect();
    words.into_iter().map(|word| word.parse().unwrap_or_else(|error| panic!("{error}"))).collect()
}

/// The spec that a command describes.
pub fn spec(words: &Words, policy: RestartPolicy) -> Spec {
    let strategy = match words.text("strategy", "binpack") {
        "spread" => Strategy::Spread,
        _ => Strategy::Binpack,
    };
    Spec {
        container: Container {
            pull: match words.text("pull", "missing") {
                "always" => Pull::Always,
                "never" => Pull::Never,
                _ => Pull::Missing,
            },
            resources: Resources {
                cpu_millis: words.number("cpu", 100),
                memory_bytes: bytes(words.text("mem", "64Mi")),
            },
            pids_max: 100,
            ports: ports(words.text("ports", "")),
            stop: Stop {
                delay: words.span("delay", 0),
                signal: words.option("signal").map(str::to_string),
                grace: words.span("grace", 10_000),
            },
            probes: Probes { health: probe(words, "health"), ready: probe(words, "ready") },
            setup: setup(words),
            ..orbit_core::testing::container(words.text("image", "web:1").to_string())
        },
        placement: Placement { strategy, constraints: constraints(words.text("where", "").trim_matches('"')) },
        restart: Restart {
            policy,
            backoff_initial: words.span("initial", 1000),
            backoff_max: words.span("max", 300_000),
            reset_after: words.span("reset", 600_000),
            jitter_percent: words.option("jitter").map(|percent| percent.parse().expect("a number")),
        },
        disconnect: Disconnect {
            replace_after: words.option("after").map(|_| words.span("after", 0)),
            keep: if words.text("keep", "replacement") == "original" { Keep::Original } else { Keep::Replacement },
            fence: match words.text("fence", "none") {
                "timed" => Fence::Timed,
                "confirmed" => Fence::Confirmed,
                _ => Fence::None,
            },
        },
        after: words.text("await", "").split(',').filter(|it| !it.is_empty()).map(after).collect(),
    }
}

/// `health=asked` and `ready=asked`, both with `every=`, `retries=` and `start=`.
fn probe(words: &Words, of: &str) -> Option<Box<Probe>> {
    words.option(of).map(|_| {
        let probe = Probe {
            interval: words.span("every", 5000),
            retries: words.number("retries", 3),
            start_period: words.span("start", 0),
            ..Probe::asking(ProbeAsk::Command(vec![of.to_string()]))
        };
        probe.into()
    })
}

/// What `health=yes`, `ready=no` and the like say of a running task.
pub fn probed(words: &Words) -> Probed {
    let found = |of| words.option(of).map(|answer| answer == "yes");
    Probed { health: found("health"), ready: found("ready"), image: found("image") }
}

/// The update that a command describes; one slot after the other if it does not say.
pub fn update(words: &Words) -> Update {
    Update {
        max_surge: words.number("surge", 1),
        max_unavailable: words.number("unavailable", 0),
        min_healthy: words.span("healthy", 0),
        canary: words.number("canary", 0),
        deadline: words.option("deadline").map(|_| words.span("deadline", 0)),
        max_failures: words.number("failures", 0),
        on_failure: match words.option("fails") {
            Some("back") => OnFailure::Rollback,
            _ => OnFailure::Pause,
        },
    }
}

pub fn state(text: &str) -> TaskState {
    *TaskState::ALL.iter().find(|state| state.as_str() == text).unwrap_or_else(|| panic!("no state {text}"))
}

pub fn reason(text: &str) -> Reason {
    *Reason::ALL.iter().find(|reason| reason.as_str() == text).unwrap_or_else(|| panic!("no reason {text}"))
}

/// The end that a report of a terminal state carries.
pub fn end(words: &Words, state: TaskState) -> Option<End> {
    let usual = if state == TaskState::Stopped { "stopped" } else { "exited" };
    let end = End {
        reason: reason(words.text("reason", usual)),
        exit_code: words.option("exit").map(|code| code.parse().expect("an exit code is a number")),
        port: words.option("port").map(|port| port.parse().expect("a port is a number")),
        message: String::new(),
    };
    state.is_terminal().then_some(end)
}

pub fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "nothing".to_string() } else { items.join(", ") }
}

/// `, health yes, ready no`
pub fn found_text(probed: Probed) -> String {
    let text = |of, found: Option<bool>| {
        found.map_or_else(String::new, |yes| format!(", {of} {}", if yes { "yes" } else { "no" }))
    };
    text("health", probed.health) + &text("ready", probed.ready) + &text("image", probed.image)
}

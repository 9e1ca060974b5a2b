//! What a user asks for, validated: the content of a manifest in the core's own units.

use super::{Bytes, Code, Disconnect, Fence, Kind, Millis, Probed, Probes, Rejection, Resources, Update};
use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
};

/// An object as its user submitted it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Definition {
    /// Service or task definition.
    pub kind: Kind,
    /// Unique among the living objects of its kind.
    pub name: String,
    /// For selection by people; changing them replaces nothing.
    pub labels: BTreeMap<String, String>,
    /// How many slots are kept filled. A task definition has exactly one.
    pub replicas: u32,
    /// How a new version takes the place of the old one. Changing it replaces nothing.
    pub update: Update,
    /// What runs in a slot. A change makes a new version, whose tasks replace the old ones.
    pub spec: Spec,
}

/// What runs in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// The image's reference as Docker reads it.
    pub image: String,
    /// When it is pulled.
    pub pull: Pull,
    /// Overrides the image's entrypoint where it is not empty.
    pub command: Vec<String>,
    /// Overrides the image's arguments where it is not empty.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Requests, which are the limits as well.
    pub resources: Resources,
    /// Limit on processes and threads.
    pub pids_max: u32,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Where tasks may and should run.
    pub placement: Placement,
    /// What follows when a task ends by itself.
    pub restart: Restart,
    /// How a container is told to stop.
    pub stop: Stop,
    /// How a running task is asked whether it is well.
    pub probes: Probes,
    /// What follows when its node is not heard.
    pub disconnect: Disconnect,
}

/// When a task's image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pull {
    /// When its node does not have it.
    #[default]
    Missing,
    /// Before every task, in case the registry has another one under the same tag.
    Always,
    /// Never: a node that does not have it cannot run the task.
    Never,
}

impl Pull {
    /// All policies, in order.
    pub const ALL: [Pull; 3] = [Pull::Missing, Pull::Always, Pull::Never];
}

// A spec that does not say has the fingerprint that it had before it could say it.
impl Hash for Pull {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if *self != Pull::Missing {
            (*self as u8).hash(state);
        }
    }
}

/// A port of the container that is published on the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Unique within the spec.
    pub name: String,
    /// The port inside the container.
    pub container: u16,
    /// The node's port; `None` lets the scheduler choose one from the node's range.
    pub host: Option<u16>,
}

/// Where tasks may run, and which of the possible nodes is preferred.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Placement {
    /// Which of the possible nodes is preferred.
    pub strategy: Strategy,
    /// All of them must hold.
    pub constraints: Vec<Constraint>,
}

/// Which of the possible nodes is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// The fullest node on which the task still fits: few nodes are in use, large tasks find room.
    #[default]
    Binpack,
    /// The node with the fewest tasks of the same service, then the least loaded one.
    Spread,
}

/// A condition on a node's attribute, written `node.labels.disk == ssd`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraint {
    /// Which attribute is compared.
    pub attribute: Attribute,
    /// Whether it must be equal or different.
    pub equal: bool,
    /// With what. An absent label is different from every value.
    pub value: String,
}

/// An attribute of a node that a constraint can name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// `node.name`
    Name,
    /// `node.arch`, as Docker writes it: `amd64`, `arm64`.
    Arch,
    /// `node.os`
    Os,
    /// `node.labels.KEY`
    Label(String),
}

impl Constraint {
    /// Reads `node.arch == amd64` or `node.labels.disk != ssd`.
    ///
    /// # Errors
    /// One sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Constraint, String> {
        let (left, equal, right) = match (text.split_once("=="), text.split_once("!=")) {
            (Some((l, r)), None) => (l, true, r),
            (None, Some((l, r))) => (l, false, r),
            _ => return Err(format!("`{text}` is not ATTRIBUTE == VALUE or ATTRIBUTE != VALUE")),
        };
        let (left, value) = (left.trim(), right.trim());
        let attribute = match left {
            "node.name" => Attribute::Name,
            "node.arch" => Attribute::Arch,
            "node.os" => Attribute::Os,
            _ => match left.strip_prefix("node.labels.") {
                Some(key) if !key.is_empty() => Attribute::Label(key.to_string()),
                _ => {
                    return Err(format!(
                        "`{left}` is not an attribute of a node: \
                         use node.name, node.arch, node.os or node.labels.KEY"
                    ));
                }
            },
        };
        if value.is_empty() {
            return Err(format!("`{text}` compares with nothing"));
        }
        Ok(Constraint { attribute, equal, value: value.to_string() })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.attribute {
            Attribute::Name => f.write_str("node.name")?,
            Attribute::Arch => f.write_str("node.arch")?,
            Attribute::Os => f.write_str("node.os")?,
            Attribute::Label(key) => write!(f, "node.labels.{key}")?,
        }
        write!(f, " {} {}", if self.equal { "==" } else { "!=" }, self.value)
    }
}

/// When a task that ended by itself is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestartPolicy {
    /// Whatever its exit code. The only policy of a service.
    Always,
    /// When it failed.
    OnFailure,
    /// Never. The default of a task definition.
    Never,
}

/// What follows when a task ends by itself: the n-th failure in a row is followed after
/// `initial × 2^(n-1)`, at most `max`, plus jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// When another attempt follows at all.
    pub policy: RestartPolicy,
    /// The first delay.
    pub backoff_initial: Millis,
    /// The longest delay.
    pub backoff_max: Millis,
    /// A task that ran this long before it ended starts the row again.
    pub reset_after: Millis,
    /// At most so many hundredths of the delay are added to it at random; `None`: an eighth.
    pub jitter_percent: Option<u32>,
}

// A policy that does not say has the fingerprint that it had before it could say it.
impl Hash for Restart {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.policy, self.backoff_initial, self.backoff_max, self.reset_after).hash(state);
        if self.jitter_percent.is_some() {
            self.jitter_percent.hash(state);
        }
    }
}

impl Restart {
    /// The documented defaults with the given policy.
    pub fn with_policy(policy: RestartPolicy) -> Restart {
        Restart {
            policy,
            backoff_initial: Millis::secs(1),
            backoff_max: Millis::secs(300),
            reset_after: Millis::secs(600),
            jitter_percent: None,
        }
    }
    /// The most that is added at random to a delay.
    pub fn jitter_max(&self, delay: Millis) -> Millis {
        Millis(self.jitter_percent.map_or(delay.0 / 8, |percent| delay.0.saturating_mul(percent.into()) / 100))
    }
    /// The delay after `failures` in a row (at least one), without jitter.
    pub fn delay(&self, failures: u32) -> Millis {
        let doubled = 1u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
        Millis(self.backoff_initial.0.saturating_mul(doubled).min(self.backoff_max.0))
    }
}

/// How a container is told to stop: the task has left its service's endpoints when the delay begins, and the
/// kill follows the grace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Between the order to stop and the signal: whoever has the endpoints has the time to hear of it.
    pub delay: Millis,
    /// `SIGQUIT`, for example; `None` is the image's own.
    pub signal: Option<String>,
    /// Between the signal and the kill.
    pub grace: Millis,
}

// A spec that says neither has the fingerprint that it had before it could say them.
impl Hash for Stop {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.grace.hash(state);
        if self.delay != Millis(0) || self.signal.is_some() {
            (self.delay, &self.signal).hash(state);
        }
    }
}

impl Stop {
    /// The image's signal at once, and the kill after this grace.
    pub const fn within(grace: Millis) -> Stop {
        Stop { delay: Millis(0), signal: None, grace }
    }

    fn validate(&self) -> Result<(), Rejection> {
        check_span("stop.delay", self.delay, 0)?;
        if let Some(signal) = &self.signal
            && !limits::STOP_SIGNALS.contains(&signal.as_str())
        {
            let message = format!("`{}` is none of {}", excerpt(signal), limits::STOP_SIGNALS.join(", "));
            return Err(Rejection::invalid("stop.signal", message));
        }
        check_span("stop.grace", self.grace, 0)
    }
}

/// The limits on what a user may submit. A request outside of them is refused and changes nothing.
pub mod limits {
    /// Bytes of a name, and the longest label or environment key.
    pub const NAME_BYTES_MAX: usize = 63;
    /// Bytes of any other string in a manifest.
    pub const STRING_BYTES_MAX: usize = 4096;
    /// Entries of any list or map in a manifest.
    pub const ITEMS_MAX: usize = 256;
    /// Replicas of one service.
    pub const REPLICAS_MAX: u32 = 100_000;
    /// Slots of the whole cluster, over all objects.
    pub const SLOTS_MAX: u64 = 4_000_000;
    /// Bytes of one spec, about as it is stored.
    pub const SPEC_BYTES_MAX: usize = 1 << 20;
    /// Bytes of the versions of one object that are kept though no task is of them.
    pub const VERSIONS_BYTES_MAX: usize = 4 << 20;
    /// Bytes of all specs of the cluster, every kept version included.
    pub const SPECS_BYTES_MAX: u64 = 256 << 20;
    /// The smallest memory limit that Docker accepts.
    pub const MEMORY_BYTES_MIN: u64 = 6 << 20;
    /// Far beyond any machine.
    pub const MEMORY_BYTES_MAX: u64 = 1 << 50;
    /// The smallest share of a processor that Docker accepts.
    pub const CPU_MILLIS_MIN: u64 = 10;
    /// Far beyond any machine.
    pub const CPU_MILLIS_MAX: u64 = 1_000_000;
    /// The longest time that a manifest may name: a day.
    pub const SPAN_MS_MAX: u64 = 86_400_000;
    /// The signals that can ask a process to end. `SIGRTMIN+3` is systemd's own.
    pub const STOP_SIGNALS: [&str; 10] = [
        "SIGTERM",
        "SIGINT",
        "SIGQUIT",
        "SIGHUP",
        "SIGUSR1",
        "SIGUSR2",
        "SIGWINCH",
        "SIGABRT",
        "SIGKILL",
        "SIGRTMIN+3",
    ];
    /// No container starts much faster than that.
    pub const DEADLINE_MS_MIN: u64 = 1000;
    /// A node that asked more often would do little else.
    pub const PROBE_SPAN_MS_MIN: u64 = 100;
    /// Whoever wants to wait longer has a longer interval.
    pub const PROBE_RETRIES_MAX: u32 = 100;
    /// The most processes of one container (Linux's own limit).
    pub const PIDS_MAX: u32 = 4_194_304;
}

impl Definition {
    /// Checks every limit.
    ///
    /// # Errors
    /// The first field that is outside its limits, by its path in the manifest.
    pub fn validate(&self) -> Result<(), Rejection> {
        check_name("name", &self.name)?;
        check_map("labels", &self.labels)?;
        match self.kind {
            Kind::Service => self.validate_service()?,
            Kind::Task => self.validate_task()?,
        }
        self.update.validate()?;
        let bytes = self.spec.bytes();
        if bytes > limits::SPEC_BYTES_MAX {
            let message = format!("the spec takes {bytes} bytes, and at most {} are kept", limits::SPEC_BYTES_MAX);
            return Err(Rejection::new(Code::Invalid, message));
        }
        self.spec.validate()
    }

    fn validate_service(&self) -> Result<(), Rejection> {
        check_replicas(self.replicas)?;
        if self.spec.restart.policy != RestartPolicy::Always {
            let message = "a service is always restarted: use kind: Task for one run";
            return Err(Rejection::invalid("restart.policy", message));
        }
        Ok(())
    }

    fn validate_task(&self) -> Result<(), Rejection> {
        let refuse =
            |field: &str, why: &str| Err(Rejection::invalid(field, format!("a task definition runs once: {why}")));
        if self.replicas != 1 {
            return refuse("replicas", "it has no replicas");
        }
        if self.spec.restart.policy == RestartPolicy::Always {
            return refuse("restart.policy", "use on_failure or never");
        }
        if self.update != Update::ONE_BY_ONE {
            return refuse("update", "it is not updated");
        }
        match self.spec.probes.iter().next() {
            Some((kind, _)) => refuse(kind.as_str(), "it is not probed"),
            None => Ok(()),
        }
    }
}

/// Checks the number of replicas of a service, which may be none.
///
/// # Errors
/// When it is beyond the limit.
pub fn check_replicas(replicas: u32) -> Result<(), Rejection> {
    if replicas > limits::REPLICAS_MAX {
        let message = format!("{replicas} is more than {}", limits::REPLICAS_MAX);
        return Err(Rejection::invalid("replicas", message));
    }
    Ok(())
}

/// Checks a name: lower-case letters, digits and hyphens, a letter first, no hyphen last.
///
/// # Errors
/// What the rule is, under the given field.
pub fn check_name(field: &str, name: &str) -> Result<(), Rejection> {
    let ok = !name.is_empty()
        && name.len() <= limits::NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if ok {
        return Ok(());
    }
    let message = format!(
        "`{}` is not a name: up to {} lower-case letters, digits and hyphens, a letter first",
        excerpt(name),
        limits::NAME_BYTES_MAX
    );
    Err(Rejection::invalid(field, message))
}

/// The beginning of a text that may be long, for an error.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(limits::NAME_BYTES_MAX).collect()
}

pub(super) fn check_string(field: &str, text: &str) -> Result<(), Rejection> {
    if text.len() > limits::STRING_BYTES_MAX {
        let message = format!("{} bytes are more than {}", text.len(), limits::STRING_BYTES_MAX);
        return Err(Rejection::invalid(field, message));
    }
    if text.contains('\0') {
        return Err(Rejection::invalid(field, "a NUL character is not allowed"));
    }
    Ok(())
}

fn check_count(field: &str, count: usize) -> Result<(), Rejection> {
    if count > limits::ITEMS_MAX {
        return Err(Rejection::invalid(field, format!("{count} entries are more than {}", limits::ITEMS_MAX)));
    }
    Ok(())
}

pub(super) fn check_list(field: &str, list: &[String]) -> Result<(), Rejection> {
    check_count(field, list.len())?;
    list.iter().enumerate().try_for_each(|(i, text)| check_string(&format!("{field}[{i}]"), text))
}

/// Checks labels or environment variables.
///
/// # Errors
/// The first key or value that is outside its limits.
pub fn check_map(field: &str, map: &BTreeMap<String, String>) -> Result<(), Rejection> {
    check_count(field, map.len())?;
    for (key, value) in map {
        let ok = !key.is_empty()
            && key.len() <= limits::NAME_BYTES_MAX
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(&b));
        if !ok {
            let message =
                format!("`{}` is not a key: up to {} letters, digits and `_.-/`", excerpt(key), limits::NAME_BYTES_MAX);
            return Err(Rejection::invalid(field, message));
        }
        check_string(&format!("{field}.{key}"), value)?;
    }
    Ok(())
}

/// Checks a time that a user may name.
///
/// # Errors
/// When it is shorter than `min` milliseconds or longer than a day.
pub fn check_span(field: &str, span: Millis, min: u64) -> Result<(), Rejection> {
    if span.0 < min || span.0 > limits::SPAN_MS_MAX {
        let message = format!("{span} is not between {} and {}", Millis(min), Millis(limits::SPAN_MS_MAX));
        return Err(Rejection::invalid(field, message));
    }
    Ok(())
}

impl Spec {
    /// About how many bytes it takes in a message.
    pub fn bytes(&self) -> usize {
        let words = self.command.iter().chain(&self.args).map(|word| word.len() + 4);
        let env = self.env.iter().map(|(key, value)| key.len() + value.len() + 8);
        256 + self.image.len() + self.ports.len() * 32 + words.chain(env).sum::<usize>()
    }
    /// Without what only a start needs: for a node that keeps no more than the logs of a task.
    pub fn without_contents(&self) -> Spec {
        Spec { command: Vec::new(), args: Vec::new(), env: BTreeMap::new(), ..self.clone() }
    }
    fn validate(&self) -> Result<(), Rejection> {
        if self.image.trim().is_empty() {
            return Err(Rejection::invalid("image", "an image is needed"));
        }
        if self.image.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Rejection::invalid("image", format!("`{}` is not an image's reference", excerpt(&self.image))));
        }
        check_string("image", &self.image)?;
        check_list("command", &self.command)?;
        check_list("args", &self.args)?;
        check_map("env", &self.env)?;
        self.validate_resources()?;
        self.validate_ports()?;
        check_count("placement.constraints", self.placement.constraints.len())?;
        for (i, constraint) in self.placement.constraints.iter().enumerate() {
            check_string(&format!("placement.constraints[{i}]"), &constraint.to_string())?;
        }
        check_span("restart.backoff.initial", self.restart.backoff_initial, 100)?;
        check_span("restart.backoff.max", self.restart.backoff_max, 100)?;
        check_span("restart.backoff.reset_after", self.restart.reset_after, 0)?;
        if let Some(percent) = self.restart.jitter_percent.filter(|percent| *percent > 100) {
            return Err(Rejection::invalid("restart.backoff.jitter", format!("{percent}% is more than 100%")));
        }
        if self.restart.backoff_max < self.restart.backoff_initial {
            return Err(Rejection::invalid("restart.backoff.max", "smaller than restart.backoff.initial"));
        }
        self.probes.iter().try_for_each(|(kind, probe)| probe.validate(kind.as_str(), &self.ports))?;
        self.disconnect.validate()?;
        self.stop.validate()
    }

    fn validate_resources(&self) -> Result<(), Rejection> {
        let Resources { cpu_millis, memory_bytes } = self.resources;
        if !(limits::CPU_MILLIS_MIN..=limits::CPU_MILLIS_MAX).contains(&cpu_millis) {
            let message =
                format!("{cpu_millis}m is not between {}m and {}m", limits::CPU_MILLIS_MIN, limits::CPU_MILLIS_MAX);
            return Err(Rejection::invalid("resources.cpu", message));
        }
        if !(limits::MEMORY_BYTES_MIN..=limits::MEMORY_BYTES_MAX).contains(&memory_bytes) {
            let message = format!(
                "{} is not between {} and {}",
                Bytes(memory_bytes),
                Bytes(limits::MEMORY_BYTES_MIN),
                Bytes(limits::MEMORY_BYTES_MAX)
            );
            return Err(Rejection::invalid("resources.memory", message));
        }
        if !(1..=limits::PIDS_MAX).contains(&self.pids_max) {
            let message = format!("{} is not between 1 and {}", self.pids_max, limits::PIDS_MAX);
            return Err(Rejection::invalid("resources.pids", message));
        }
        Ok(())
    }

    fn validate_ports(&self) -> Result<(), Rejection> {
        check_count("ports", self.ports.len())?;
        for (i, port) in self.ports.iter().enumerate() {
            check_name(&format!("ports[{i}].name"), &port.name)?;
            if port.container == 0 {
                return Err(Rejection::invalid(format!("ports[{i}].container"), "0 is not a port"));
            }
            if port.host == Some(0) {
                let message = "0 is not a port: leave `host` out to have one chosen";
                return Err(Rejection::invalid(format!("ports[{i}].host"), message));
            }
            for (j, other) in self.ports[..i].iter().enumerate() {
                if other.name == port.name {
                    let message = format!("the name `{}` is used by ports[{j}] already", port.name);
                    return Err(Rejection::invalid(format!("ports[{i}].name"), message));
                }
                if other.container == port.container {
                    let message = format!("{} is published by ports[{j}] already", port.container);
                    return Err(Rejection::invalid(format!("ports[{i}].container"), message));
                }
                if port.host.is_some() && other.host == port.host {
                    let message = format!("{} is taken by ports[{j}] already", port.host.unwrap_or(0));
                    return Err(Rejection::invalid(format!("ports[{i}].host"), message));
                }
            }
        }
        Ok(())
    }

    /// Whether a port of the node is pinned: then two tasks never fit on one node, and a
    /// replacement has to wait until its predecessor is seen gone.
    pub fn pins_host_port(&self) -> bool {
        self.ports.iter().any(|port| port.host.is_some())
    }

    /// Whether two tasks of a slot may never run at the same time, as far as it is known: then the old one has to be seen
    /// gone before another is made.
    pub fn runs_alone(&self) -> bool {
        self.pins_host_port() || self.disconnect.fence != Fence::None
    }

    /// After so long without an acknowledged heartbeat a node stops a task of this spec by itself.
    pub fn fenced_after(&self) -> Option<Millis> {
        self.disconnect.fenced_after(self.stop.grace)
    }

    /// Whether a running task serves whose probes have found this.
    pub fn is_served_with(&self, probed: Probed) -> bool {
        self.probes.iter().all(|(kind, _)| probed.get(kind) == Some(true))
    }

    /// A 64-bit fingerprint of the content, equal on every machine, written to a container's
    /// labels: a container that carries it was created from this spec.
    pub fn fingerprint(&self) -> u64 {
        let mut fnv = Fnv::default();
        self.hash(&mut fnv);
        fnv.finish()
    }
}

/// FNV-1a with integers written in little-endian order, so that a fingerprint does not depend on
/// the machine. (Fowler, Noll, Vo: the constants are those of the 64-bit variant.)
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    fn write_u8(&mut self, n: u8) {
        self.write(&[n]);
    }
    fn write_u16(&mut self, n: u16) {
        self.write(&n.to_le_bytes());
    }
    fn write_u32(&mut self, n: u32) {
        self.write(&n.to_le_bytes());
    }
    fn write_u64(&mut self, n: u64) {
        self.write(&n.to_le_bytes());
    }
    fn write_usize(&mut self, n: usize) {
        self.write(&(n as u64).to_le_bytes());
    }
    fn write_isize(&mut self, n: isize) {
        self.write(&(n as i64).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_read_back_what_they_wrote() {
        for text in ["node.labels.disk == ssd", "node.arch != arm64", "node.name == a", "node.os == linux"] {
            assert_eq!(Constraint::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "node.arch", "arch == amd64", "node.labels. == x", "node.arch ==", "a == b != c"] {
            assert!(Constraint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn delays_double_up_to_the_cap_and_never_overflow() {
        let restart = Restart::with_policy(RestartPolicy::Always);
        let delays: Vec<u64> = [1, 2, 3, 9, 10, 64, 65, u32::MAX].map(|n| restart.delay(n).0 / 1000).to_vec();
        assert_eq!(delays, [1, 2, 4, 256, 300, 300, 300, 300]);
    }
}

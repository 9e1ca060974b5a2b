//! Checks what a user submits against the [`limits`]. Every refusal names the field by its path in the manifest.

use super::{
    limits::{map_bytes, words_bytes},
    *,
};
use std::collections::BTreeMap;

impl Definition {
    /// Checks every limit.
    ///
    /// # Errors
    /// The first field that is outside its limits, by its path in the manifest.
    pub fn validate(&self) -> Result<(), Rejection> {
        check_name("name", &self.name)?;
        check_labels("labels", &self.labels)?;
        match self.kind {
            Kind::Service => self.validate_service()?,
            Kind::Task => self.validate_task()?,
        }
        self.update.validate()?;
        self.spec.validate()?;
        check_count("after", self.spec.after.len())?;
        for (i, after) in self.spec.after.iter().enumerate() {
            after.validate(i, &self.spec.after[..i], self.kind, &self.name)?;
        }
        self.check_bytes()
    }

    /// Checks all texts together. The field that takes most is named, because that is where something can be saved.
    fn check_bytes(&self) -> Result<(), Rejection> {
        let probes = self.spec.container.probes.iter().map(|(kind, probe)| match &probe.ask {
            ProbeAsk::Command(command) => (format!("{}.command", kind.as_str()), words_bytes(command)),
            ProbeAsk::Http { .. } | ProbeAsk::Tcp { .. } => (kind.as_str().to_string(), 0),
        });
        let beside: Vec<_> = probes.chain([("labels".to_string(), map_bytes(&self.labels))]).collect();
        let bytes = self.spec.bytes() + beside.iter().map(|(_, bytes)| bytes).sum::<usize>();
        if bytes <= limits::SPEC_BYTES_MAX {
            return Ok(());
        }
        let within = [
            ("command", words_bytes(&self.spec.container.command)),
            ("args", words_bytes(&self.spec.container.args)),
            ("env", map_bytes(&self.spec.container.env)),
            ("container_labels", map_bytes(&self.spec.container.setup.labels)),
            ("logging.options", self.spec.container.setup.logging.as_ref().map_or(0, |it| map_bytes(&it.options))),
        ];
        let fields = within.map(|(field, bytes)| (field.to_string(), bytes)).into_iter().chain(beside);
        let (field, most) = fields.max_by_key(|(_, bytes)| *bytes).expect("there are some");
        let message = format!(
            "takes {most} bytes; the spec takes {bytes} bytes, and at most {} are kept",
            limits::SPEC_BYTES_MAX
        );
        Err(Rejection::invalid(field, message))
    }

    fn validate_service(&self) -> Result<(), Rejection> {
        check_replicas(self.replicas)?;
        self.spec.check_replicas(self.replicas)?;
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
        match self.spec.container.probes.iter().next() {
            Some((kind, _)) => refuse(kind.as_str(), "it is not probed"),
            None => Ok(()),
        }
    }
}

impl Spec {
    /// Whether it can have so many replicas.
    ///
    /// # Errors
    /// It uses a volume that is one task's alone.
    pub fn check_replicas(&self, replicas: u32) -> Result<(), Rejection> {
        let uses = self.container.setup.volume_uses();
        match uses.exclusive().filter(|_| replicas > 1) {
            Some(volume) => {
                let message = format!(
                    "volume `{volume}` is one task's alone: one replica, or `access: shared` if several may write to it"
                );
                Err(Rejection::invalid("replicas", message))
            }
            None => Ok(()),
        }
    }

    fn validate(&self) -> Result<(), Rejection> {
        self.container.validate()?;
        check_count("placement.constraints", self.placement.constraints.len())?;
        for (i, constraint) in self.placement.constraints.iter().enumerate() {
            check_string(&format!("placement.constraints[{i}]"), &constraint.to_string())?;
        }
        self.restart.validate()?;
        self.disconnect.validate()
    }
}

impl Restart {
    fn validate(&self) -> Result<(), Rejection> {
        check_span("restart.backoff.initial", self.backoff_initial, 100)?;
        check_span("restart.backoff.max", self.backoff_max, 100)?;
        check_span("restart.backoff.reset_after", self.reset_after, 0)?;
        if let Some(percent) = self.jitter_percent.filter(|percent| *percent > 100) {
            return Err(Rejection::invalid("restart.backoff.jitter", format!("{percent}% is more than 100%")));
        }
        if self.backoff_max < self.backoff_initial {
            return Err(Rejection::invalid("restart.backoff.max", "smaller than restart.backoff.initial"));
        }
        Ok(())
    }
}

impl Container {
    fn validate(&self) -> Result<(), Rejection> {
        if self.image.trim().is_empty() {
            return Err(Rejection::invalid("image", "an image is needed"));
        }
        if self.image.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Rejection::invalid("image", format!("`{}` is not an image's reference", excerpt(&self.image))));
        }
        check_string("image", &self.image)?;
        check_words("command", &self.command)?;
        check_words("args", &self.args)?;
        check_variables("env", &self.env)?;
        self.validate_resources()?;
        self.validate_ports()?;
        self.validate_network()?;
        self.setup.validate()?;
        self.probes.iter().try_for_each(|(kind, probe)| probe.validate(kind.as_str(), &self.ports))?;
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
        self.validate_limits()?;
        if !(1..=limits::PIDS_MAX).contains(&self.pids_max) {
            let message = format!("{} is not between 1 and {}", self.pids_max, limits::PIDS_MAX);
            return Err(Rejection::invalid("resources.pids", message));
        }
        Ok(())
    }

    fn validate_limits(&self) -> Result<(), Rejection> {
        let Limits { cpu_millis, memory_bytes } = self.limits;
        if let Some(limit) = cpu_millis.filter(|it| !(self.resources.cpu_millis..=limits::CPU_MILLIS_MAX).contains(it))
        {
            let (request, most) = (self.resources.cpu_millis, limits::CPU_MILLIS_MAX);
            let message = format!("{limit}m is not between {request}m, which is requested, and {most}m");
            return Err(Rejection::invalid("resources.limits.cpu", message));
        }
        if let Some(limit) =
            memory_bytes.filter(|it| !(self.resources.memory_bytes..=limits::MEMORY_BYTES_MAX).contains(it))
        {
            let [limit, request, most] = [limit, self.resources.memory_bytes, limits::MEMORY_BYTES_MAX].map(Bytes);
            let message = format!("{limit} is not between {request}, which is requested, and {most}");
            return Err(Rejection::invalid("resources.limits.memory", message));
        }
        Ok(())
    }

    /// Where nothing is published, because its network is the machine's or none at all.
    fn validate_network(&self) -> Result<(), Rejection> {
        let network = self.setup.host.network;
        for (i, port) in self.ports.iter().enumerate() {
            match network {
                Network::Bridge => {}
                Network::None => {
                    return Err(Rejection::invalid(format!("ports[{i}]"), "without a network it has no ports"));
                }
                Network::Host if port.host != Some(port.container) => {
                    let message = format!(
                        "in the network of its machine a port is the machine's: `host: {}` reserves it",
                        port.container
                    );
                    return Err(Rejection::invalid(format!("ports[{i}].host"), message));
                }
                Network::Host if port.host_ip.is_some() => {
                    let message = "in the network of its machine it listens where it likes";
                    return Err(Rejection::invalid(format!("ports[{i}].host_ip"), message));
                }
                Network::Host => {}
            }
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
                if other.container == port.container && other.protocol.overlaps(port.protocol) {
                    let message = format!("{}/{} is published by ports[{j}] already", port.container, port.protocol);
                    return Err(Rejection::invalid(format!("ports[{i}].container"), message));
                }
                if port.host.is_some() && other.host == port.host {
                    let both = match other.protocol.overlaps(port.protocol) || other.container != port.container {
                        true => "",
                        false => ": `protocol: both` publishes one for TCP and UDP",
                    };
                    let message = format!("{} is taken by ports[{j}] already{both}", port.host.unwrap_or(0));
                    return Err(Rejection::invalid(format!("ports[{i}].host"), message));
                }
            }
        }
        Ok(())
    }
}

impl Stop {
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
    let ok = name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !ok {
        let message = format!(
            "`{}` is not a name: up to {} lower-case letters, digits and hyphens, a letter first",
            excerpt(name),
            limits::NAME_BYTES_MAX
        );
        return Err(Rejection::invalid(field, message));
    }
    if name.len() > limits::NAME_BYTES_MAX {
        let message = format!(
            "`{}…` has {} letters, and a name has at most {}, as in DNS",
            excerpt(name),
            name.len(),
            limits::NAME_BYTES_MAX
        );
        return Err(Rejection::invalid(field, message));
    }
    Ok(())
}

/// The beginning of a text that may be long, for an error.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(limits::NAME_BYTES_MAX).collect()
}

pub(super) fn check_string(field: &str, text: &str) -> Result<(), Rejection> {
    check_text(field, text.len(), text, limits::STRING_BYTES_MAX)
}

/// Checks a text that takes so many bytes where it is used.
pub(super) fn check_text(field: &str, bytes: usize, text: &str, max: usize) -> Result<(), Rejection> {
    if bytes > max {
        return Err(Rejection::invalid(field, format!("{bytes} bytes are more than {max}")));
    }
    if text.contains('\0') {
        return Err(Rejection::invalid(field, "a NUL character is not allowed"));
    }
    Ok(())
}

/// Checks a text of one line.
pub(super) fn check_line(field: &str, text: &str) -> Result<(), Rejection> {
    check_string(field, text)?;
    match text.chars().any(char::is_control) {
        true => Err(Rejection::invalid(field, "a control character is not allowed")),
        false => Ok(()),
    }
}

pub(super) fn check_count(field: &str, count: usize) -> Result<(), Rejection> {
    if count > limits::ITEMS_MAX {
        return Err(Rejection::invalid(field, format!("{count} entries are more than {}", limits::ITEMS_MAX)));
    }
    Ok(())
}

/// Checks each word of a command line. How many there may be is a matter of their bytes.
pub(super) fn check_words(field: &str, words: &[String]) -> Result<(), Rejection> {
    let check =
        |(i, word): (usize, &String)| check_text(&format!("{field}[{i}]"), word.len(), word, limits::WORD_BYTES_MAX);
    words.iter().enumerate().try_for_each(check)
}

/// Checks each variable. Its name is what it is to the engine: whatever stands before the first `=`, as programs that nest
/// their settings write it (`Logging:LogLevel`, `server.port`).
fn check_variables(field: &str, variables: &BTreeMap<String, String>) -> Result<(), Rejection> {
    for (name, value) in variables {
        if name.is_empty() || name.bytes().any(|b| !b.is_ascii_graphic() || b == b'=') {
            let message =
                format!("`{}` is not a variable's name: letters, digits and signs, but no `=`", excerpt(name));
            return Err(Rejection::invalid(field, message));
        }
        let bytes = name.len() + 1 + value.len();
        check_text(&format!("{field}.{}", excerpt(name)), bytes, value, limits::WORD_BYTES_MAX)?;
    }
    Ok(())
}

/// Checks the labels of an object or a node.
///
/// # Errors
/// The first key or value that is outside its limits, or what all of them take.
pub fn check_labels(field: &str, labels: &BTreeMap<String, String>) -> Result<(), Rejection> {
    check_count(field, labels.len())?;
    for (key, value) in labels {
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(&b)) {
            let message = format!("`{}` is not a key of a label: letters, digits and `_.-/`", excerpt(key));
            return Err(Rejection::invalid(field, message));
        }
        if key.len() > limits::LABEL_KEY_BYTES_MAX {
            let (found, max) = (key.len(), limits::LABEL_KEY_BYTES_MAX);
            let message = format!("the key `{}…` has {found} letters, and at most {max} are allowed", excerpt(key));
            return Err(Rejection::invalid(field, message));
        }
        check_text(&format!("{field}.{}", excerpt(key)), value.len(), value, limits::LABELS_BYTES_MAX)?;
    }
    let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > limits::LABELS_BYTES_MAX {
        let message = format!("{bytes} bytes in all, and {} are the most", limits::LABELS_BYTES_MAX);
        return Err(Rejection::invalid(field, message));
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

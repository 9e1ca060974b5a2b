//! A container's spec in Docker's words.

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use orbit_core::worker::ContainerSpec;
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

/// The least share of a processor that can be limited to: below it the kernel refuses the quota.
const CPU_MILLIS_MIN: u64 = 10;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// What the machine adds to a container's spec.
#[derive(Clone, Debug)]
pub struct Machine {
    /// On which of its addresses the ports are published.
    pub published_on: IpAddr,
    /// Its processors in thousandths. The engine refuses more than it has: the limit is capped to that.
    pub cpu_millis: u64,
    /// How the logs of containers are kept; `None` as the engine is configured.
    pub log: Option<LogBound>,
}

/// A bound for the log of one container: without one, the engine keeps everything that a container ever wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBound {
    driver: String,
    bytes: u64,
}

/// The log is kept in so many files, so that a third of it goes when a new one is begun.
const LOG_FILES: u64 = 3;

impl LogBound {
    /// At most so many bytes, with the engine's own driver; `None` where that keeps its logs elsewhere, and bounds them
    /// there.
    pub fn of(driver: Option<&str>, bytes: u64) -> Option<LogBound> {
        let driver = driver.filter(|driver| ["json-file", "local"].contains(driver))?.to_owned();
        (bytes > 0).then_some(LogBound { driver, bytes })
    }
    fn config(&self) -> HostConfigLogConfig {
        // In units of a KiB, of which it takes one at least.
        let size = (self.bytes / LOG_FILES / 1024).max(1);
        let options = [("max-size", format!("{size}k")), ("max-file", LOG_FILES.to_string())];
        let config = options.map(|(key, value)| (key.to_owned(), value)).into();
        HostConfigLogConfig { typ: Some(self.driver.clone()), config: Some(config) }
    }
}

/// The body of the request that creates a container on a machine.
pub fn body(spec: &ContainerSpec, machine: &Machine) -> ContainerCreateBody {
    let some = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let limit = |amount: u64| (amount > 0).then(|| i64::try_from(amount).unwrap_or(i64::MAX));
    let memory = limit(spec.resources.memory_bytes);
    let cpu = match spec.resources.cpu_millis {
        0 => 0,
        wanted => wanted.min(machine.cpu_millis).max(CPU_MILLIS_MIN) * NANOS_PER_MILLI,
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: some(&spec.command),
        cmd: some(&spec.args),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        // Without this, a port that the image itself does not expose is not published, and nobody says so.
        exposed_ports: Some(exposed_ports(&spec.ports)),
        stop_signal: spec.stop_signal.clone(),
        labels: Some(spec.labels.iter().cloned().collect()),
        host_config: Some(HostConfig {
            memory,
            // Memory and swap together: equal to memory means none to swap into.
            memory_swap: memory,
            nano_cpus: limit(cpu),
            pids_limit: limit(spec.pids_max.into()),
            port_bindings: Some(port_bindings(&spec.ports, machine.published_on)),
            log_config: machine.log.as_ref().map(LogBound::config),
            // A task never restarts: a new one takes its place.
            restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

fn exposed_ports(ports: &[(u16, u16)]) -> Vec<String> {
    let inside: BTreeSet<u16> = ports.iter().map(|&(inside, _)| inside).collect();
    inside.into_iter().map(|port| format!("{port}/tcp")).collect()
}

/// By port inside the container; several ports of the host may lead to the same.
fn port_bindings(ports: &[(u16, u16)], host_ip: IpAddr) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for (inside, host) in ports {
        let binding = PortBinding { host_ip: Some(host_ip.to_string()), host_port: Some(host.to_string()) };
        bindings.entry(format!("{inside}/tcp")).or_default().get_or_insert_default().push(binding);
    }
    bindings
}

/// Whether a text has only what an image's reference is made of. Whether it is one, the engine says.
pub fn is_reference(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@+".contains(&b);
    !text.is_empty() && text.bytes().all(fits) && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The reference with a tag, `latest` where it has neither tag nor digest: without one the engine
/// would pull every tag there is.
pub fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::model::Resources;
    use std::net::Ipv4Addr;

    fn spec() -> ContainerSpec {
        ContainerSpec {
            resources: Resources { cpu_millis: 250, memory_bytes: 64 << 20 },
            pids_max: 128,
            ports: vec![(80, 20_000), (80, 20_001)],
            ..orbit_core::testing::container_spec("a", "web")
        }
    }

    fn machine(cpu_millis: u64) -> Machine {
        Machine { published_on: Ipv4Addr::LOCALHOST.into(), cpu_millis, log: None }
    }

    #[test]
    fn a_log_is_bounded_where_the_engine_keeps_it_in_files() {
        assert_eq!(body(&spec(), &machine(1000)).host_config.unwrap().log_config, None);
        for driver in [None, Some("journald"), Some("none"), Some("fluentd")] {
            assert_eq!(LogBound::of(driver, 30 << 20), None, "{driver:?}");
        }
        assert_eq!(LogBound::of(Some("json-file"), 0), None);
        let bounded = Machine { log: LogBound::of(Some("local"), 30 << 20), ..machine(1000) };
        let config = body(&spec(), &bounded).host_config.unwrap().log_config.unwrap();
        let options =
            [("max-size", "10240k"), ("max-file", "3")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!((config.typ.as_deref(), config.config), (Some("local"), Some(options.into())));
    }

    #[test]
    fn limits_are_what_the_engine_and_its_kernel_accept() {
        let host = |cpu_millis| {
            let resources = Resources { cpu_millis, memory_bytes: 64 << 20 };
            body(&ContainerSpec { resources, ..spec() }, &machine(2000)).host_config.unwrap()
        };
        assert_eq!(host(250).nano_cpus, Some(250_000_000));
        assert_eq!(host(8000).nano_cpus, Some(2_000_000_000));
        assert_eq!(host(1).nano_cpus, Some(10_000_000));
        assert_eq!(host(0).nano_cpus, None);
        assert_eq!((host(1).memory, host(1).memory_swap), (Some(64 << 20), Some(64 << 20)));
        assert_eq!(host(1).pids_limit, Some(128));
    }

    #[test]
    fn what_is_empty_leaves_the_images_own() {
        let own = body(&spec(), &machine(1000));
        assert_eq!((own.entrypoint, own.cmd), (None, None));
        let args = vec!["sleep".to_owned()];
        let other = body(&ContainerSpec { args: args.clone(), ..spec() }, &machine(1000));
        assert_eq!((other.entrypoint, other.cmd), (None, Some(args)));
    }

    #[test]
    fn one_port_may_be_published_twice() {
        let bindings = port_bindings(&spec().ports, Ipv4Addr::UNSPECIFIED.into());
        let binding =
            |port: &str| PortBinding { host_ip: Some("0.0.0.0".to_owned()), host_port: Some(port.to_owned()) };
        assert_eq!(exposed_ports(&spec().ports), ["80/tcp"]);
        assert_eq!(bindings, HashMap::from([("80/tcp".to_owned(), Some(vec![binding("20000"), binding("20001")]))]));
    }

    #[test]
    fn a_reference_gets_a_tag_and_stays_within_its_path() {
        for (image, tagged) in [
            ("nginx", "nginx:latest"),
            ("nginx:1.27", "nginx:1.27"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"),
            ("127.0.0.1:5000/a:2", "127.0.0.1:5000/a:2"),
            ("a@sha256:00", "a@sha256:00"),
        ] {
            assert!(is_reference(image), "{image}");
            assert_eq!(with_tag(image), tagged);
        }
        for bad in ["", "a b", "../containers", "a/../../b", "a?b", "a#b", "/a", "a/", "a%2fb"] {
            assert!(!is_reference(bad), "{bad}");
        }
    }
}

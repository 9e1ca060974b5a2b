//! A container's spec in Docker's words.

use bollard::models::{
    ContainerCreateBody, DeviceMapping, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use orbit_core::model::{Device, HostMount, Logging, Network, Setup, Tmpfs, Ulimit};
use orbit_core::worker::{ContainerSpec, EngineVolume, Published};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
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
    /// How the engine keeps the log of a container that says nothing about it, where that is known.
    pub log_driver: Option<String>,
    /// A log in files is kept up to so many bytes; 0 is no bound. Without one, the engine keeps everything that a container
    /// ever wrote.
    pub log_bytes: u64,
}

/// The log is kept in so many files, so that a third of it goes when a new one is begun.
const LOG_FILES: u64 = 3;
/// Other drivers keep their logs elsewhere, and bound them there.
const LOG_DRIVERS_OF_FILES: [&str; 2] = ["json-file", "local"];
const LOG_SIZE_MAX: &str = "max-size";

/// The body of the request that creates a container on a machine.
pub fn body(spec: &ContainerSpec, machine: &Machine) -> ContainerCreateBody {
    let some = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let limit = |amount: u64| (amount > 0).then(|| i64::try_from(amount).unwrap_or(i64::MAX));
    let memory = spec.limits.memory_bytes.and_then(limit);
    let cpu = spec.limits.cpu_millis.map(|limit| limit.min(machine.cpu_millis).max(CPU_MILLIS_MIN) * NANOS_PER_MILLI);
    let setup = &spec.setup;
    // Elsewhere than in a network of the engine nothing is published.
    let ports = if setup.host.network == Network::Bridge { spec.ports.as_slice() } else { &[] };
    ContainerCreateBody {
        user: setup.user.clone(),
        working_dir: setup.working_dir.clone(),
        hostname: setup.hostname.clone(),
        tty: setup.tty.then_some(true),
        open_stdin: setup.stdin.then_some(true),
        image: Some(spec.image.clone()),
        entrypoint: some(&spec.command),
        cmd: some(&spec.args),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        // Without this, a port that the image itself does not expose is not published, and nobody says so.
        exposed_ports: Some(exposed_ports(ports)),
        stop_signal: spec.stop_signal.clone(),
        labels: Some(spec.labels.iter().cloned().collect()),
        host_config: Some(HostConfig {
            memory,
            // Memory and swap together: equal to memory means none to swap into.
            memory_swap: memory,
            nano_cpus: cpu.and_then(limit),
            cpu_shares: shares(spec.resources.cpu_millis),
            pids_limit: limit(spec.pids_max.into()),
            port_bindings: Some(port_bindings(ports, machine.published_on)),
            log_config: log_config(setup.logging.as_ref(), machine),
            init: setup.init.then_some(true),
            tmpfs: (!setup.tmpfs.is_empty()).then(|| setup.tmpfs.iter().map(tmpfs).collect()),
            shm_size: setup.shm_bytes.and_then(limit),
            cap_add: names(&setup.security.capabilities_added),
            cap_drop: names(&setup.security.capabilities_dropped),
            readonly_rootfs: setup.security.read_only_root.then_some(true),
            security_opt: security_options(setup),
            privileged: setup.host.privileged.then_some(true),
            network_mode: network_mode(setup.host.network),
            mounts: mounts(spec),
            devices: (!setup.host.devices.is_empty()).then(|| setup.host.devices.iter().map(device).collect()),
            ulimits: (!setup.ulimits.is_empty()).then(|| setup.ulimits.iter().map(ulimit).collect()),
            sysctls: map(&setup.sysctls),
            extra_hosts: list(setup.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}"))),
            dns: list(setup.dns.servers.iter().map(ToString::to_string)),
            dns_search: list(setup.dns.search.iter().cloned()),
            dns_options: list(setup.dns.options.iter().cloned()),
            // A task never restarts: a new one takes its place.
            restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// The weight of a container among those of a machine that has not enough for all: what was requested, in units of which a
/// whole processor has 1024.
fn shares(cpu_millis: u64) -> Option<i64> {
    // Below two the kernel refuses it, and above this, too.
    (cpu_millis > 0).then(|| i64::try_from((cpu_millis.saturating_mul(1024) / 1000).clamp(2, 262_144)).unwrap_or(2))
}

/// Nothing where nothing is said.
fn list(texts: impl Iterator<Item = String>) -> Option<Vec<String>> {
    let texts: Vec<String> = texts.collect();
    (!texts.is_empty()).then_some(texts)
}

fn names(names: &BTreeSet<String>) -> Option<Vec<String>> {
    list(names.iter().cloned())
}

fn map(pairs: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!pairs.is_empty()).then(|| pairs.clone().into_iter().collect())
}

fn security_options(setup: &Setup) -> Option<Vec<String>> {
    let said = [
        (setup.security.no_new_privileges, "no-new-privileges:true"),
        (setup.host.seccomp_unconfined, "seccomp=unconfined"),
        (setup.host.apparmor_unconfined, "apparmor=unconfined"),
    ];
    list(said.into_iter().filter(|(is_said, _)| *is_said).map(|(_, option)| option.to_owned()))
}

/// Nothing where it is in a network of the engine.
fn network_mode(network: Network) -> Option<String> {
    match network {
        Network::Bridge => None,
        Network::Host => Some("host".to_owned()),
        Network::None => Some("none".to_owned()),
    }
}

/// Nothing where nothing is mounted.
fn mounts(spec: &ContainerSpec) -> Option<Vec<Mount>> {
    let of_host = spec.setup.host.mounts.iter().map(mount);
    let mounts: Vec<Mount> = of_host.chain(spec.volumes.iter().map(volume)).collect();
    (!mounts.is_empty()).then_some(mounts)
}

fn volume(EngineVolume { name, path, read_only, .. }: &EngineVolume) -> Mount {
    mounted(MountType::VOLUME, name, path, *read_only)
}

/// A source that is not there is refused by the engine, and not made.
fn mount(HostMount { host, path, read_only }: &HostMount) -> Mount {
    mounted(MountType::BIND, host, path, *read_only)
}

fn mounted(kind: MountType, source: &str, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(kind),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

fn device(Device { host, path, access }: &Device) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(host.clone()),
        path_in_container: Some(path.clone()),
        cgroup_permissions: Some(access.clone()),
    }
}

fn tmpfs(Tmpfs { path, size_bytes }: &Tmpfs) -> (String, String) {
    (path.clone(), size_bytes.map(|bytes| format!("size={bytes}")).unwrap_or_default())
}

fn ulimit((name, Ulimit { soft, hard }): (&String, &Ulimit)) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.clone()), soft: Some(*soft), hard: Some(*hard) }
}

/// As the user says, and up to the machine's bound where nobody says how much; `None` is as the engine is configured.
fn log_config(said: Option<&Logging>, machine: &Machine) -> Option<HostConfigLogConfig> {
    let driver = said.and_then(|said| said.driver.as_ref()).or(machine.log_driver.as_ref());
    let mut options: HashMap<String, String> = said.map(|said| said.options.clone()).into_iter().flatten().collect();
    let is_in_files = driver.is_some_and(|driver| LOG_DRIVERS_OF_FILES.contains(&driver.as_str()));
    if is_in_files && machine.log_bytes > 0 && !options.contains_key(LOG_SIZE_MAX) {
        // In units of a KiB, of which it takes one at least.
        let size = (machine.log_bytes / LOG_FILES / 1024).max(1);
        options.insert(LOG_SIZE_MAX.to_owned(), format!("{size}k"));
        options.entry("max-file".to_owned()).or_insert_with(|| LOG_FILES.to_string());
    } else if said.is_none() {
        return None;
    }
    Some(HostConfigLogConfig { typ: driver.cloned(), config: Some(options) })
}

fn exposed_ports(ports: &[Published]) -> Vec<String> {
    let inside: BTreeSet<(u16, &str)> = ports.iter().flat_map(inside).collect();
    inside.into_iter().map(|(port, protocol)| format!("{port}/{protocol}")).collect()
}

/// The ports inside the container, one for each protocol.
fn inside(port: &Published) -> impl Iterator<Item = (u16, &'static str)> {
    let container = port.container;
    port.protocol.names().iter().map(move |name| (container, *name))
}

/// By port inside the container; several ports of the host may lead to the same.
fn port_bindings(ports: &[Published], published_on: IpAddr) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in ports {
        let host_ip = Some(port.host_ip.unwrap_or(published_on).to_string());
        for (inside, protocol) in inside(port) {
            let binding = PortBinding { host_ip: host_ip.clone(), host_port: Some(port.host.to_string()) };
            bindings.entry(format!("{inside}/{protocol}")).or_default().get_or_insert_default().push(binding);
        }
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
    use orbit_core::model::{Limits, Protocol, Resources, Setup};
    use std::net::Ipv4Addr;

    fn spec() -> ContainerSpec {
        ContainerSpec {
            resources: Resources { cpu_millis: 250, memory_bytes: 64 << 20 },
            pids_max: 128,
            ports: vec![Published::tcp(80, 20_000), Published::tcp(80, 20_001)],
            ..orbit_core::testing::container_spec("a", "web")
        }
    }

    fn machine(cpu_millis: u64) -> Machine {
        Machine { published_on: Ipv4Addr::LOCALHOST.into(), cpu_millis, log_driver: None, log_bytes: 0 }
    }

    #[test]
    fn limits_are_what_the_engine_and_its_kernel_accept() {
        let host = |cpu_millis, memory_bytes| {
            let limits = Limits { cpu_millis, memory_bytes };
            body(&ContainerSpec { limits, ..spec() }, &machine(2000)).host_config.unwrap()
        };
        let cpu = |millis| host(Some(millis), None).nano_cpus;
        assert_eq!([cpu(250), cpu(8000), cpu(1)], [Some(250_000_000), Some(2_000_000_000), Some(10_000_000)]);
        let limited = host(None, Some(64 << 20));
        assert_eq!((limited.memory, limited.memory_swap), (Some(64 << 20), Some(64 << 20)));
        assert_eq!(limited.pids_limit, Some(128));
    }

    #[test]
    fn a_request_is_a_weight_and_no_limit() {
        let host = |cpu_millis| {
            let resources = Resources { cpu_millis, memory_bytes: 64 << 20 };
            body(&ContainerSpec { resources, limits: Limits::default(), ..spec() }, &machine(2000)).host_config.unwrap()
        };
        let requested = host(250);
        assert_eq!((requested.memory, requested.memory_swap, requested.nano_cpus), (None, None, None));
        let shares = [0, 1, 250, 2000, u64::MAX].map(|millis| host(millis).cpu_shares);
        assert_eq!(shares, [None, Some(2), Some(256), Some(2048), Some(262_144)]);
    }

    #[test]
    fn a_log_is_bounded_where_the_engine_keeps_it_in_files_and_nobody_says_how_much() {
        let kept = |engines: Option<&str>, log_bytes, logging: Option<Logging>| {
            let machine = Machine { log_driver: engines.map(str::to_owned), log_bytes, ..machine(1000) };
            let spec = ContainerSpec { setup: Setup { logging, ..Setup::default() }, ..spec() };
            let config = body(&spec, &machine).host_config.unwrap().log_config?;
            let options: BTreeMap<String, String> = config.config.unwrap().into_iter().collect();
            let options: Vec<String> = options.iter().map(|(key, value)| format!("{key}={value}")).collect();
            Some(format!("{}: {}", config.typ.unwrap_or_default(), options.join(" ")))
        };
        let said = |driver: Option<&str>, options: &[(&str, &str)]| {
            let options = options.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
            Some(Logging { driver: driver.map(str::to_owned), options })
        };
        let bytes = 30 << 20;
        let bounded = |driver: &str| Some(format!("{driver}: max-file=3 max-size=10240k"));
        assert_eq!(kept(Some("local"), bytes, None), bounded("local"));
        for driver in [None, Some("journald"), Some("none"), Some("fluentd")] {
            assert_eq!(kept(driver, bytes, None), None, "{driver:?}");
        }
        assert_eq!(kept(Some("json-file"), 0, None), None);
        let local = |logging| kept(Some("local"), bytes, logging);
        assert_eq!(local(said(None, &[])), bounded("local"));
        assert_eq!(local(said(Some("json-file"), &[("max-size", "1m")])).as_deref(), Some("json-file: max-size=1m"));
        assert_eq!(local(said(Some("syslog"), &[("tag", "a")])).as_deref(), Some("syslog: tag=a"));
        assert_eq!(kept(Some("journald"), bytes, said(Some("json-file"), &[])), bounded("json-file"));
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
    fn a_port_is_published_for_its_protocols_at_its_address() {
        let local = Some(Ipv4Addr::LOCALHOST.into());
        let dns = Published { protocol: Protocol::Both, ..Published::tcp(53, 5353) };
        let game = Published { protocol: Protocol::Udp, host_ip: local, ..Published::tcp(27_015, 20_000) };
        assert_eq!(exposed_ports(&[game, dns]), ["53/tcp", "53/udp", "27015/udp"]);
        let bindings = port_bindings(&[dns, game], Ipv4Addr::UNSPECIFIED.into());
        let at = |port: &str| {
            let all = bindings.get(port).cloned().flatten().into_iter().flatten();
            Vec::from_iter(all.map(|it| format!("{}:{}", it.host_ip.unwrap(), it.host_port.unwrap())))
        };
        assert_eq!(["53/tcp", "53/udp"].map(at), [["0.0.0.0:5353"], ["0.0.0.0:5353"]]);
        assert_eq!((at("27015/udp"), at("27015/tcp")), (vec!["127.0.0.1:20000".to_owned()], vec![]));
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

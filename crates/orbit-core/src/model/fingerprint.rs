//! Fingerprints: a number for a content, equal on every machine and in every version of Orbit.
//!
//! They are written down (in the labels of containers, and beside idempotency keys), so what they are taken from is
//! encoded here, field by field, and pinned by a test. A field that came later is encoded only where it says something,
//! so that a content that does not use it keeps its fingerprint.

use super::*;
use std::collections::BTreeMap;

impl Spec {
    /// A 64-bit fingerprint of the content, written to a container's labels: a container that carries it was created
    /// from this spec.
    pub fn fingerprint(&self) -> u64 {
        let mut it = Fingerprint::default();
        it.spec(self);
        it.finish()
    }
}

impl Put {
    /// Of what is asked for, so that another request under the same idempotency key is told apart.
    pub(crate) fn fingerprint(&self) -> u64 {
        let Put { definition, condition, keeps_replicas, idempotency_key: _ } = self;
        let Definition { kind, name, labels, replicas, update, spec } = definition;
        let mut it = Fingerprint::default();
        it.byte(match kind {
            Kind::Service => 0,
            Kind::Task => 1,
        });
        it.bytes(name.as_bytes());
        it.u32(*replicas);
        for text in labels.iter().flat_map(|(key, value)| [key, value]) {
            it.count(text.len());
            it.bytes(text.as_bytes());
        }
        it.u64(spec.fingerprint());
        it.update(*update);
        match condition {
            Condition::None => it.byte(0),
            Condition::Absent => it.byte(1),
            Condition::Revision(revision) => it.u64(*revision),
        }
        if *keeps_replicas {
            it.byte(2);
        }
        it.finish()
    }
}

/// FNV-1a over an encoding in which no two contents are alike: numbers little-endian in their full width, texts ended
/// by a byte that no text has, lists and maps after their length. (Fowler, Noll, Vo: the constants are those of the
/// 64-bit variant.)
struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Fingerprint(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    fn finish(self) -> u64 {
        self.0
    }
    fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    fn byte(&mut self, n: u8) {
        self.bytes(&[n]);
    }
    fn u32(&mut self, n: u32) {
        self.bytes(&n.to_le_bytes());
    }
    fn u64(&mut self, n: u64) {
        self.bytes(&n.to_le_bytes());
    }
    fn count(&mut self, n: usize) {
        self.u64(n as u64);
    }
    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
        self.byte(0xff);
    }
    fn texts(&mut self, texts: &[String]) {
        self.count(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }
    fn map(&mut self, map: &BTreeMap<String, String>) {
        self.count(map.len());
        for (key, value) in map {
            self.text(key);
            self.text(value);
        }
    }
    fn option<T>(&mut self, value: Option<T>, encode: impl FnOnce(&mut Self, T)) {
        self.u64(value.is_some().into());
        if let Some(value) = value {
            encode(self, value);
        }
    }

    fn spec(&mut self, spec: &Spec) {
        let Spec { container, placement, restart, disconnect, after } = spec;
        let Container { image, pull, command, args, env, resources, limits, pids_max, ports, stop, probes, setup } =
            container;
        self.text(image);
        if *pull != Pull::Missing {
            self.byte(match pull {
                Pull::Missing => 0,
                Pull::Always => 1,
                Pull::Never => 2,
            });
        }
        self.texts(command);
        self.texts(args);
        self.map(env);
        self.u64(resources.cpu_millis);
        self.u64(resources.memory_bytes);
        self.u32(*pids_max);
        self.count(ports.len());
        for Port { name, container, host, protocol: _, host_ip: _ } in ports {
            self.text(name);
            self.bytes(&container.to_le_bytes());
            self.option(*host, |it, host| it.bytes(&host.to_le_bytes()));
        }
        self.placement(placement);
        self.restart(restart);
        self.stop(stop);
        if !probes.is_empty() {
            self.option(probes.health.as_deref(), Self::probe);
            self.option(probes.ready.as_deref(), Self::probe);
        }
        self.disconnect(*disconnect);
        // As it was before each of these could be said.
        for Port { name, protocol, host_ip, .. } in ports.iter().filter(|it| !it.is_plain()) {
            self.text("port");
            self.text(name);
            self.byte(match protocol {
                Protocol::Tcp => 0,
                Protocol::Udp => 1,
                Protocol::Both => 2,
            });
            self.option(host_ip.map(|address| address.to_string()), |it, address| it.text(&address));
        }
        if *limits != Limits::requested(*resources) {
            self.text("limits");
            self.option(limits.cpu_millis, Self::u64);
            self.option(limits.memory_bytes, Self::u64);
        }
        if *setup != Setup::default() {
            self.setup(setup);
        }
        if !after.is_empty() {
            self.text("after");
            self.count(after.len());
        }
        for After { kind, name, until } in after {
            self.byte(match kind {
                Kind::Service => 0,
                Kind::Task => 1,
            });
            self.text(name);
            self.text(until.as_str());
        }
    }

    fn setup(&mut self, setup: &Setup) {
        let Setup { user, working_dir, hostname, init, tty, stdin, tmpfs, shm_bytes, security, .. } = setup;
        self.text("setup");
        for text in [user, working_dir, hostname] {
            self.option(text.as_deref(), Self::text);
        }
        for flag in [init, tty, stdin] {
            self.byte((*flag).into());
        }
        self.count(tmpfs.len());
        for Tmpfs { path, size_bytes } in tmpfs {
            self.text(path);
            self.option(*size_bytes, Self::u64);
        }
        self.option(*shm_bytes, Self::u64);
        let Security { capabilities_added, capabilities_dropped, read_only_root, no_new_privileges } = security;
        for names in [capabilities_added, capabilities_dropped] {
            self.count(names.len());
            names.iter().for_each(|name| self.text(name));
        }
        self.byte((*read_only_root).into());
        self.byte((*no_new_privileges).into());
        let Setup { ulimits, sysctls, extra_hosts, dns: Dns { servers, search, options }, logging, labels, .. } = setup;
        self.count(ulimits.len());
        for (name, Ulimit { soft, hard }) in ulimits {
            self.text(name);
            self.bytes(&soft.to_le_bytes());
            self.bytes(&hard.to_le_bytes());
        }
        self.map(sysctls);
        self.map(extra_hosts);
        self.count(servers.len());
        servers.iter().for_each(|server| self.text(&server.to_string()));
        self.texts(search);
        self.texts(options);
        self.option(logging.as_ref(), |it, Logging { driver, options }| {
            it.option(driver.as_deref(), Self::text);
            it.map(options);
        });
        self.map(labels);
        // As it was before this could be said.
        if setup.host != HostAccess::default() {
            self.host_access(&setup.host);
        }
        if !setup.volumes.is_empty() {
            self.text("volumes");
            self.count(setup.volumes.len());
        }
        for VolumeMount { volume, path, read_only, access } in &setup.volumes {
            self.text(volume);
            self.text(path);
            self.byte((*read_only).into());
            self.text(access.as_str());
        }
    }

    fn host_access(&mut self, access: &HostAccess) {
        let HostAccess { mounts, devices, network, privileged, seccomp_unconfined, apparmor_unconfined } = access;
        self.text("host");
        self.count(mounts.len());
        for HostMount { host, path, read_only } in mounts {
            self.text(host);
            self.text(path);
            self.byte((*read_only).into());
        }
        self.count(devices.len());
        for Device { host, path, access } in devices {
            self.texts(&[host.clone(), path.clone(), access.clone()]);
        }
        self.byte(match network {
            Network::Bridge => 0,
            Network::Host => 1,
            Network::None => 2,
        });
        for flag in [privileged, seccomp_unconfined, apparmor_unconfined] {
            self.byte((*flag).into());
        }
    }

    fn placement(&mut self, Placement { strategy, constraints }: &Placement) {
        self.u64(match strategy {
            Strategy::Binpack => 0,
            Strategy::Spread => 1,
        });
        self.count(constraints.len());
        for Constraint { attribute, equal, value } in constraints {
            self.u64(match attribute {
                Attribute::Name => 0,
                Attribute::Arch => 1,
                Attribute::Os => 2,
                Attribute::Label(_) => 3,
            });
            if let Attribute::Label(key) = attribute {
                self.text(key);
            }
            self.byte((*equal).into());
            self.text(value);
        }
    }

    fn restart(&mut self, restart: &Restart) {
        let Restart { policy, backoff_initial, backoff_max, reset_after, jitter_percent } = *restart;
        self.u64(match policy {
            RestartPolicy::Always => 0,
            RestartPolicy::OnFailure => 1,
            RestartPolicy::Never => 2,
        });
        [backoff_initial, backoff_max, reset_after].into_iter().for_each(|span| self.u64(span.0));
        if jitter_percent.is_some() {
            self.option(jitter_percent, Self::u32);
        }
    }

    fn stop(&mut self, Stop { delay, signal, grace }: &Stop) {
        self.u64(grace.0);
        if *delay != Millis(0) || signal.is_some() {
            self.u64(delay.0);
            self.option(signal.as_deref(), Self::text);
        }
    }

    fn probe(&mut self, Probe { ask, interval, timeout, retries, start_period }: &Probe) {
        match ask {
            ProbeAsk::Http { port, path } => {
                self.u64(0);
                self.text(port);
                self.text(path);
            }
            ProbeAsk::Tcp { port } => {
                self.u64(1);
                self.text(port);
            }
            ProbeAsk::Command(command) => {
                self.u64(2);
                self.texts(command);
            }
        }
        self.u64(interval.0);
        self.u64(timeout.0);
        self.u32(*retries);
        self.u64(start_period.0);
    }

    fn disconnect(&mut self, disconnect: Disconnect) {
        if disconnect == Disconnect::default() {
            return;
        }
        let Disconnect { replace_after, keep, fence } = disconnect;
        self.option(replace_after, |it, span| it.u64(span.0));
        self.u64(match keep {
            Keep::Replacement => 0,
            Keep::Original => 1,
        });
        self.u64(match fence {
            Fence::None => 0,
            Fence::Timed => 1,
            Fence::Confirmed => 2,
        });
    }

    /// As it was before an update could be described, where it says nothing else.
    fn update(&mut self, update: Update) {
        if update == Update::ONE_BY_ONE {
            return;
        }
        let Update { max_surge, max_unavailable, min_healthy, canary, deadline, max_failures, on_failure } = update;
        self.u32(max_surge);
        self.u32(max_unavailable);
        self.u64(min_healthy.0);
        if (canary, deadline, max_failures, on_failure) != (0, None, 0, OnFailure::Pause) {
            self.u32(canary);
            self.option(deadline, |it, span| it.u64(span.0));
            self.u64(match on_failure {
                OnFailure::Pause => 0,
                OnFailure::Rollback => 1,
            });
        }
        // As it was before failures could be counted, where they are not.
        if max_failures != 0 {
            self.u32(max_failures);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A spec that says nothing that it need not say.
    fn bare() -> Spec {
        Spec {
            container: Container {
                image: "registry.example/web:1".into(),
                pull: Pull::Missing,
                command: vec![],
                args: vec![],
                env: [].into(),
                resources: Resources { cpu_millis: 100, memory_bytes: 64 << 20 },
                limits: Limits { cpu_millis: Some(100), memory_bytes: Some(64 << 20) },
                pids_max: 100,
                ports: vec![],
                stop: Stop::within(Millis::secs(10)),
                probes: Probes::default(),
                setup: Setup::default(),
            },
            placement: Placement::default(),
            restart: Restart::with_policy(RestartPolicy::Always),
            disconnect: Disconnect::default(),
            after: vec![],
        }
    }

    fn probe(ask: ProbeAsk) -> Probe {
        let (interval, timeout, start_period) = (Millis::secs(5), Millis::secs(1), Millis::secs(20));
        Probe { ask, interval, timeout, retries: 3, start_period }
    }

    /// A spec that says everything.
    fn whole() -> Spec {
        let http = ProbeAsk::Http { port: "http".into(), path: "/live".into() };
        let constraint = |attribute, equal| Constraint { attribute, equal, value: "ssd".into() };
        Spec {
            container: Container {
                pull: Pull::Always,
                command: vec!["serve".into()],
                args: vec!["--port".into(), "80".into()],
                env: [("A".to_string(), "1".to_string()), ("B".to_string(), String::new())].into(),
                ports: vec![Port::tcp("http", 80, None), Port::tcp("admin", 81, Some(8081))],
                stop: Stop { delay: Millis(300), signal: Some("SIGQUIT".into()), grace: Millis::secs(10) },
                probes: Probes {
                    health: Some(Box::new(probe(http))),
                    ready: Some(Box::new(probe(ProbeAsk::Command(vec!["true".into()])))),
                },
                ..bare().container
            },
            placement: Placement {
                strategy: Strategy::Spread,
                constraints: vec![constraint(Attribute::Label("disk".into()), true), constraint(Attribute::Os, false)],
            },
            restart: Restart { jitter_percent: Some(20), ..Restart::with_policy(RestartPolicy::Always) },
            disconnect: Disconnect { replace_after: Some(Millis::secs(60)), keep: Keep::Original, fence: Fence::Timed },
            after: vec![],
        }
    }

    /// A spec that limits nothing, and is set up like this.
    fn of_setup(setup: Setup) -> Spec {
        Spec { container: Container { limits: Limits::default(), setup, ..bare().container }, ..bare() }
    }

    /// A setup that says everything.
    fn set_up() -> Setup {
        let map = |key: &str, value: &str| BTreeMap::from([(key.to_string(), value.to_string())]);
        Setup {
            user: Some("1000".into()),
            working_dir: Some("/srv".into()),
            hostname: Some("db".into()),
            init: true,
            tty: true,
            stdin: true,
            tmpfs: vec![Tmpfs { path: "/tmp".into(), size_bytes: Some(4096) }],
            shm_bytes: Some(8192),
            security: Security {
                capabilities_added: ["CHOWN".to_string()].into(),
                capabilities_dropped: ["ALL".to_string()].into(),
                read_only_root: true,
                no_new_privileges: true,
            },
            ulimits: [("nofile".to_string(), Ulimit { soft: 1, hard: UNLIMITED })].into(),
            sysctls: map("net.a", "1"),
            extra_hosts: map("b", "::1"),
            dns: Dns {
                servers: vec!["::1".parse().expect("an address")],
                search: vec!["c".into()],
                options: vec!["d".into()],
            },
            logging: Some(Logging { driver: Some("local".into()), options: map("max-size", "1m") }),
            labels: map("e", "f"),
            host: HostAccess::default(),
            volumes: vec![],
        }
    }

    /// Everything of its machine that can be given.
    fn given() -> HostAccess {
        HostAccess {
            mounts: vec![HostMount { host: "/srv".into(), path: "/data".into(), read_only: true }],
            devices: vec![Device { host: "/dev/a".into(), path: "/dev/b".into(), access: "r".into() }],
            network: Network::Host,
            privileged: true,
            seccomp_unconfined: true,
            apparmor_unconfined: true,
        }
    }

    #[test]
    fn whatever_is_set_up_in_another_way_has_another_fingerprint() {
        let (all, none) = (set_up(), Setup::default());
        let volume = |access| VolumeMount { volume: "a".into(), path: "/a".into(), read_only: true, access };
        let all = Setup { host: given(), volumes: vec![volume(Access::Shared)], ..all };
        let changes: [fn(&mut Setup, &Setup); 37] = [
            |it, to| it.user = to.user.clone(),
            |it, to| it.working_dir = to.working_dir.clone(),
            |it, to| it.hostname = to.hostname.clone(),
            |it, to| it.init = to.init,
            |it, to| it.tty = to.tty,
            |it, to| it.stdin = to.stdin,
            |it, to| it.tmpfs = to.tmpfs.clone(),
            |it, _| it.tmpfs.iter_mut().for_each(|tmpfs| tmpfs.size_bytes = None),
            |it, to| it.shm_bytes = to.shm_bytes,
            |it, to| it.security.capabilities_added = to.security.capabilities_added.clone(),
            |it, to| it.security.capabilities_dropped = to.security.capabilities_dropped.clone(),
            |it, to| it.security.read_only_root = to.security.read_only_root,
            |it, to| it.security.no_new_privileges = to.security.no_new_privileges,
            |it, to| it.ulimits = to.ulimits.clone(),
            |it, _| it.ulimits.values_mut().for_each(|ulimit| ulimit.hard = 2),
            |it, to| it.sysctls = to.sysctls.clone(),
            |it, to| it.extra_hosts = to.extra_hosts.clone(),
            |it, to| it.dns.servers = to.dns.servers.clone(),
            |it, to| it.dns.search = to.dns.search.clone(),
            |it, to| it.dns.options = to.dns.options.clone(),
            |it, to| it.logging = to.logging.clone(),
            |it, to| it.labels = to.labels.clone(),
            |it, to| it.host = to.host.clone(),
            |it, to| it.host.mounts = to.host.mounts.clone(),
            |it, _| it.host.mounts.iter_mut().for_each(|mount| mount.read_only = false),
            |it, to| it.host.devices = to.host.devices.clone(),
            |it, _| it.host.devices.iter_mut().for_each(|device| device.access = "w".into()),
            |it, to| it.host.network = to.host.network,
            |it, _| it.host.network = Network::None,
            |it, to| it.host.privileged = to.host.privileged,
            |it, to| it.host.seccomp_unconfined = to.host.seccomp_unconfined,
            |it, to| it.host.apparmor_unconfined = to.host.apparmor_unconfined,
            |it, to| it.volumes = to.volumes.clone(),
            |it, _| it.volumes.iter_mut().for_each(|mount| mount.volume = "b".into()),
            |it, _| it.volumes.iter_mut().for_each(|mount| mount.path = "/b".into()),
            |it, _| it.volumes.iter_mut().for_each(|mount| mount.read_only = false),
            |it, _| it.volumes.iter_mut().for_each(|mount| mount.access = Access::Exclusive),
        ];
        let changed = |change: &fn(&mut Setup, &Setup)| {
            let mut setup = all.clone();
            change(&mut setup, &none);
            of_setup(setup).fingerprint()
        };
        let mut found: Vec<u64> = changes.iter().map(changed).collect();
        found.extend([of_setup(all.clone()), of_setup(none.clone()), bare()].map(|spec| spec.fingerprint()));
        let unlike: std::collections::BTreeSet<u64> = found.iter().copied().collect();
        assert_eq!(unlike.len(), found.len());
    }

    // These numbers stand in the labels of containers that run: they never change.
    #[test]
    fn a_fingerprint_is_what_it_always_was() {
        let probe = Probe {
            ask: ProbeAsk::Tcp { port: "http".into() },
            interval: Millis(1),
            timeout: Millis(2),
            retries: 3,
            start_period: Millis(4),
        };
        let other = Spec {
            container: Container {
                pull: Pull::Never,
                probes: Probes { health: None, ready: Some(Box::new(probe)) },
                ..bare().container
            },
            restart: Restart::with_policy(RestartPolicy::OnFailure),
            disconnect: Disconnect { replace_after: None, keep: Keep::Replacement, fence: Fence::Confirmed },
            ..bare()
        };
        let fingerprint = |spec: Spec| format!("{:016x}", spec.fingerprint());
        let found = [bare(), whole(), other].map(fingerprint);
        assert_eq!(found, ["f9395f52cd55223a", "0bacf22adbe34113", "1cc92b46c00d468a"]);
        let found = [of_setup(Setup::default()), of_setup(set_up())].map(fingerprint);
        assert_eq!(found, ["f5bdff5f9073fa43", "63c9e30b8f60d4de"]);
        let found = [Setup::default(), set_up()].map(|setup| fingerprint(of_setup(Setup { host: given(), ..setup })));
        assert_eq!(found, ["5e1ccc23ce23afaf", "f77c0019511c27ec"]);
        let volume = |access| VolumeMount { volume: "data".into(), path: "/data".into(), read_only: false, access };
        let uses = |access| of_setup(Setup { volumes: vec![volume(access)], ..Setup::default() });
        let found = [Access::Exclusive, Access::Shared].map(|access| fingerprint(uses(access)));
        assert_eq!(found, ["801033fd36042592", "7f7bf12144004b77"]);
        let waits = |kind, until| Spec { after: vec![After { kind, name: "db".into(), until }], ..bare() };
        let waiting = [
            waits(Kind::Service, Until::Started),
            waits(Kind::Service, Until::Healthy),
            waits(Kind::Task, Until::Started),
            waits(Kind::Task, Until::Complete),
        ];
        let found = ["a91b4f839070fa9d", "fa4d532a6a78a0a9", "e41df97ec2b1fbb4", "eb63a0fe4ce4293a"];
        assert_eq!(waiting.map(fingerprint), found);
        let port = |protocol, host_ip| Port { protocol, host_ip, ..Port::tcp("dns", 53, Some(53)) };
        let local = Some("127.0.0.1".parse().expect("an address"));
        let ports = [port(Protocol::Udp, None), port(Protocol::Both, None), port(Protocol::Tcp, local)];
        let of_port = |port| Spec { container: Container { ports: vec![port], ..bare().container }, ..bare() };
        let found = ports.map(|port| fingerprint(of_port(port)));
        assert_eq!(found, ["42e30c0e04f83805", "88a40bf5472755cc", "6b8be0a189f4b081"]);
    }
}

//! Between a manifest and the core's own form: defaults, units, validation.

use super::*;
use orbit_core::model::{
    Constraint, Container, Definition, Disconnect, Fence, Keep, Kind, Millis, OnFailure, Placement, Port, Probe,
    ProbeAsk, ProbeKind, Probes, Protocol, Pull, Rejection, Resources, Restart, RestartPolicy, Setup, Spec, Stop,
    Strategy, Update,
};
use std::net::IpAddr;

impl Manifest {
    /// The core's own form.
    ///
    /// # Errors
    /// The first field that cannot be read or is outside its limits.
    pub fn definition(&self) -> Result<Definition, Rejection> {
        let kind = match self.kind {
            ManifestKind::Service => Kind::Service,
            ManifestKind::Task => Kind::Task,
        };
        if kind == Kind::Task && self.replicas.is_some() {
            return Err(Rejection::invalid("replicas", "a task runs once: it has no replicas (use kind: Service)"));
        }
        if kind == Kind::Task && self.update.is_some() {
            return Err(Rejection::invalid("update", "a task runs once: it is not updated (use kind: Service)"));
        }
        let resources = self.resources.clone().unwrap_or_default();
        let definition = Definition {
            kind,
            name: self.name.clone(),
            labels: self.labels.clone(),
            replicas: self.replicas.unwrap_or(1),
            update: self.update(kind),
            spec: Spec {
                container: Container {
                    image: self.image.clone(),
                    pull: match self.pull.unwrap_or_default() {
                        ManifestPull::Missing => Pull::Missing,
                        ManifestPull::Always => Pull::Always,
                        ManifestPull::Never => Pull::Never,
                    },
                    command: self.command.clone(),
                    args: self.args.clone(),
                    env: self.env.clone(),
                    resources: Resources {
                        cpu_millis: resources.cpu.unwrap_or(DEFAULT_CPU).millis,
                        memory_bytes: resources.memory.unwrap_or(DEFAULT_MEMORY).bytes,
                    },
                    limits: resources.limits(),
                    pids_max: resources.pids.unwrap_or(DEFAULT_PIDS),
                    ports: self.ports.iter().enumerate().map(|(i, port)| port.port(i)).collect::<Result<_, _>>()?,
                    stop: self.stop(),
                    probes: self.probes()?,
                    setup: Setup { host: self.host_access(), ..self.setup()? },
                },
                placement: self.placement()?,
                restart: self.restart(kind),
                disconnect: self.disconnect(),
                after: self.after.iter().enumerate().map(|(i, after)| after.after(i)).collect::<Result<_, _>>()?,
            },
        };
        definition.validate()?;
        Ok(definition)
    }

    /// An object of which nothing else is said.
    pub fn new(kind: ManifestKind, name: impl Into<String>, image: impl Into<String>) -> Manifest {
        Manifest {
            kind,
            name: name.into(),
            labels: BTreeMap::new(),
            replicas: None,
            image: image.into(),
            pull: None,
            command: Vec::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
            user: None,
            working_dir: None,
            hostname: None,
            init: false,
            tty: false,
            stdin: false,
            resources: None,
            volumes: Vec::new(),
            tmpfs: Vec::new(),
            shm_size: None,
            security: None,
            devices: Vec::new(),
            network: None,
            ulimits: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            extra_hosts: BTreeMap::new(),
            dns: None,
            logging: None,
            container_labels: BTreeMap::new(),
            ports: Vec::new(),
            after: Vec::new(),
            placement: None,
            restart: None,
            update: None,
            health: None,
            ready: None,
            disconnect: None,
            stop: None,
        }
    }

    /// Whether the number of replicas is left to what is there: somebody scales the service otherwise.
    pub fn keeps_replicas(&self) -> bool {
        self.kind == ManifestKind::Service && self.replicas.is_none()
    }

    fn placement(&self) -> Result<Placement, Rejection> {
        let placement = self.placement.clone().unwrap_or_default();
        let strategy = match placement.strategy {
            ManifestStrategy::Binpack => Strategy::Binpack,
            ManifestStrategy::Spread => Strategy::Spread,
        };
        let constraints = placement.constraints.iter().enumerate().map(|(i, text)| {
            Constraint::parse(text).map_err(|e| Rejection::invalid(format!("placement.constraints[{i}]"), e))
        });
        Ok(Placement { strategy, constraints: constraints.collect::<Result<_, _>>()? })
    }

    fn update(&self, kind: Kind) -> Update {
        if kind == Kind::Task {
            return Update::ONE_BY_ONE;
        }
        let given = self.update.clone().unwrap_or_default();
        let Update { max_surge, max_unavailable, .. } = Update::ONE_BY_ONE;
        Update {
            max_surge: given.max_surge.unwrap_or(max_surge),
            max_unavailable: given.max_unavailable.unwrap_or(max_unavailable),
            min_healthy: Millis(given.min_healthy.unwrap_or(DEFAULT_MIN_HEALTHY).millis),
            canary: given.canary.unwrap_or(0),
            deadline: Some(Millis(given.deadline.unwrap_or(DEFAULT_DEADLINE).millis)),
            max_failures: given.max_failures.unwrap_or(DEFAULT_MAX_FAILURES),
            on_failure: match given.on_failure {
                None | Some(ManifestOnFailure::Rollback) => OnFailure::Rollback,
                Some(ManifestOnFailure::Pause) => OnFailure::Pause,
            },
        }
    }

    fn probes(&self) -> Result<Probes, Rejection> {
        let read = |given: &Option<ManifestProbe>, kind| given.as_ref().map(|probe| probe.probe(kind)).transpose();
        Ok(Probes { health: read(&self.health, ProbeKind::Health)?, ready: read(&self.ready, ProbeKind::Ready)? })
    }

    fn disconnect(&self) -> Disconnect {
        let given = self.disconnect.clone().unwrap_or_default();
        Disconnect {
            replace_after: given.replace_after.map(|span| Millis(span.millis)),
            keep: match given.keep {
                None | Some(ManifestKeep::Replacement) => Keep::Replacement,
                Some(ManifestKeep::Original) => Keep::Original,
            },
            fence: match given.fence {
                None | Some(ManifestFence::None) => Fence::None,
                Some(ManifestFence::Timed) => Fence::Timed,
                Some(ManifestFence::Confirmed) => Fence::Confirmed,
            },
        }
    }

    fn stop(&self) -> Stop {
        let given = self.stop.clone().unwrap_or_default();
        let or = |given: Option<Span>, default: Span| Millis(given.unwrap_or(default).millis);
        Stop { delay: or(given.delay, Span { millis: 0 }), signal: given.signal, grace: or(given.grace, DEFAULT_GRACE) }
    }

    fn restart(&self, kind: Kind) -> Restart {
        let given = self.restart.clone().unwrap_or_default();
        let policy = match (given.policy, kind) {
            (Some(ManifestPolicy::Always), _) | (None, Kind::Service) => RestartPolicy::Always,
            (Some(ManifestPolicy::OnFailure), _) => RestartPolicy::OnFailure,
            (Some(ManifestPolicy::Never), _) | (None, Kind::Task) => RestartPolicy::Never,
        };
        let default = Restart::with_policy(policy);
        let backoff = given.backoff.unwrap_or_default();
        let or = |given: Option<Span>, default: Millis| given.map_or(default, |span| Millis(span.millis));
        Restart {
            policy,
            backoff_initial: or(backoff.initial, default.backoff_initial),
            backoff_max: or(backoff.max, default.backoff_max),
            reset_after: or(backoff.reset_after, default.reset_after),
            jitter_percent: backoff.jitter,
        }
    }

    /// The manifest of a definition, with every default written out.
    pub fn of(definition: &Definition) -> Manifest {
        let spec = &definition.spec;
        let span = |millis: Millis| Some(Span { millis: millis.0 });
        let kind = match definition.kind {
            Kind::Service => ManifestKind::Service,
            Kind::Task => ManifestKind::Task,
        };
        let bare = Manifest::new(kind, definition.name.clone(), spec.container.image.clone());
        Manifest {
            labels: definition.labels.clone(),
            replicas: (definition.kind == Kind::Service).then_some(definition.replicas),
            pull: Some(match spec.container.pull {
                Pull::Missing => ManifestPull::Missing,
                Pull::Always => ManifestPull::Always,
                Pull::Never => ManifestPull::Never,
            }),
            command: spec.container.command.clone(),
            args: spec.container.args.clone(),
            env: spec.container.env.clone(),
            resources: Some(ManifestResources::of(&spec.container)),
            ports: spec.container.ports.iter().map(ManifestPort::of).collect(),
            after: spec.after.iter().map(ManifestAfter::of).collect(),
            placement: Some(ManifestPlacement {
                strategy: match spec.placement.strategy {
                    Strategy::Binpack => ManifestStrategy::Binpack,
                    Strategy::Spread => ManifestStrategy::Spread,
                },
                constraints: spec.placement.constraints.iter().map(|c| c.to_string()).collect(),
            }),
            restart: Some(ManifestRestart {
                policy: Some(match spec.restart.policy {
                    RestartPolicy::Always => ManifestPolicy::Always,
                    RestartPolicy::OnFailure => ManifestPolicy::OnFailure,
                    RestartPolicy::Never => ManifestPolicy::Never,
                }),
                backoff: Some(ManifestBackoff {
                    initial: span(spec.restart.backoff_initial),
                    max: span(spec.restart.backoff_max),
                    reset_after: span(spec.restart.reset_after),
                    jitter: spec.restart.jitter_percent,
                }),
            }),
            update: (definition.kind == Kind::Service).then(|| ManifestUpdate {
                max_surge: Some(definition.update.max_surge),
                max_unavailable: Some(definition.update.max_unavailable),
                min_healthy: span(definition.update.min_healthy),
                canary: Some(definition.update.canary),
                deadline: definition.update.deadline.and_then(span),
                max_failures: Some(definition.update.max_failures),
                on_failure: Some(match definition.update.on_failure {
                    OnFailure::Rollback => ManifestOnFailure::Rollback,
                    OnFailure::Pause => ManifestOnFailure::Pause,
                }),
            }),
            health: spec.container.probes.health.as_deref().map(ManifestProbe::of),
            ready: spec.container.probes.ready.as_deref().map(ManifestProbe::of),
            disconnect: Some(ManifestDisconnect {
                replace_after: spec.disconnect.replace_after.and_then(span),
                keep: Some(match spec.disconnect.keep {
                    Keep::Replacement => ManifestKeep::Replacement,
                    Keep::Original => ManifestKeep::Original,
                }),
                fence: Some(match spec.disconnect.fence {
                    Fence::None => ManifestFence::None,
                    Fence::Timed => ManifestFence::Timed,
                    Fence::Confirmed => ManifestFence::Confirmed,
                }),
            })
            .filter(|_| spec.disconnect != Disconnect::default()),
            stop: Some(ManifestStop {
                delay: span(spec.container.stop.delay),
                signal: spec.container.stop.signal.clone(),
                grace: span(spec.container.stop.grace),
            }),
            ..bare
                .with_setup(&spec.container)
                .with_host_access(spec.container.setup.host.clone(), spec.container.setup.volumes.clone())
        }
    }
}

impl ManifestPort {
    fn port(&self, i: usize) -> Result<Port, Rejection> {
        let address = |text: &String| {
            let wrong =
                |_| Rejection::invalid(format!("ports[{i}].host_ip"), format!("`{text:.64}` is not an address"));
            text.parse::<IpAddr>().map_err(wrong)
        };
        Ok(Port {
            name: self.name.clone(),
            container: self.container,
            host: self.host,
            protocol: match self.protocol {
                None | Some(ManifestProtocol::Tcp) => Protocol::Tcp,
                Some(ManifestProtocol::Udp) => Protocol::Udp,
                Some(ManifestProtocol::Both) => Protocol::Both,
            },
            host_ip: self.host_ip.as_ref().map(address).transpose()?,
        })
    }

    fn of(port: &Port) -> ManifestPort {
        ManifestPort {
            name: port.name.clone(),
            container: port.container,
            host: port.host,
            protocol: ManifestProtocol::of(port.protocol),
            host_ip: port.host_ip.map(|address| address.to_string()),
        }
    }
}

impl ManifestProtocol {
    /// Nothing where it is as most are.
    pub fn of(protocol: Protocol) -> Option<ManifestProtocol> {
        match protocol {
            Protocol::Tcp => None,
            Protocol::Udp => Some(ManifestProtocol::Udp),
            Protocol::Both => Some(ManifestProtocol::Both),
        }
    }
}

impl ManifestProbe {
    fn probe(&self, kind: ProbeKind) -> Result<Box<Probe>, Rejection> {
        let ask = match (&self.http, &self.tcp, &self.command[..]) {
            (Some(http), None, []) => ProbeAsk::Http { port: http.port.clone(), path: http.path.clone() },
            (None, Some(tcp), []) => ProbeAsk::Tcp { port: tcp.port.clone() },
            (None, None, [_, ..]) => ProbeAsk::Command(self.command.clone()),
            (None, None, []) => {
                return Err(Rejection::invalid(kind.as_str(), "what is asked? One of http, tcp and command is needed"));
            }
            _ => return Err(Rejection::invalid(kind.as_str(), "only one of http, tcp and command is asked")),
        };
        let default = Probe::asking(ask);
        let or = |given: Option<Span>, default: Millis| given.map_or(default, |span| Millis(span.millis));
        Ok(Box::new(Probe {
            interval: or(self.interval, default.interval),
            timeout: or(self.timeout, default.timeout),
            retries: self.retries.unwrap_or(default.retries),
            start_period: or(self.start_period, default.start_period),
            ask: default.ask,
        }))
    }

    /// The manifest of a probe, with every default written out.
    fn of(probe: &Probe) -> ManifestProbe {
        let span = |millis: Millis| Some(Span { millis: millis.0 });
        let with_times = ManifestProbe {
            interval: span(probe.interval),
            timeout: span(probe.timeout),
            retries: Some(probe.retries),
            start_period: span(probe.start_period),
            ..ManifestProbe::default()
        };
        match &probe.ask {
            ProbeAsk::Http { port, path } => {
                let http = ManifestHttpProbe { port: port.clone(), path: path.clone() };
                ManifestProbe { http: Some(http), ..with_times }
            }
            ProbeAsk::Tcp { port } => {
                ManifestProbe { tcp: Some(ManifestTcpProbe { port: port.clone() }), ..with_times }
            }
            ProbeAsk::Command(command) => ManifestProbe { command: command.clone(), ..with_times },
        }
    }
}

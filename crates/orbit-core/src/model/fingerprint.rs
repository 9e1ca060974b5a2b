//! Fingerprints: a number for a content, equal on every machine and in every version of Orbit.
//!
//! They are written down (in the labels of containers, and beside idempotency keys), so what they are taken from is
//! encoded here, field by field, and pinned by a test. A field that came later is encoded only where it says something,
//! so that a content that does not use it keeps its fingerprint.

use super::*;

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
    fn option<T>(&mut self, value: Option<T>, encode: impl FnOnce(&mut Self, T)) {
        self.u64(value.is_some().into());
        if let Some(value) = value {
            encode(self, value);
        }
    }

    fn spec(&mut self, spec: &Spec) {
        let Spec { container, placement, restart, disconnect } = spec;
        let Container { image, pull, command, args, env, resources, pids_max, ports, stop, probes } = container;
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
        self.count(env.len());
        for (key, value) in env {
            self.text(key);
            self.text(value);
        }
        self.u64(resources.cpu_millis);
        self.u64(resources.memory_bytes);
        self.u32(*pids_max);
        self.count(ports.len());
        for Port { name, container, host } in ports {
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
                pids_max: 100,
                ports: vec![],
                stop: Stop::within(Millis::secs(10)),
                probes: Probes::default(),
            },
            placement: Placement::default(),
            restart: Restart::with_policy(RestartPolicy::Always),
            disconnect: Disconnect::default(),
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
                ports: vec![
                    Port { name: "http".into(), container: 80, host: None },
                    Port { name: "admin".into(), container: 81, host: Some(8081) },
                ],
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
        }
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
        let found = [bare(), whole(), other].map(|spec| format!("{:016x}", spec.fingerprint()));
        assert_eq!(found, ["f9395f52cd55223a", "0bacf22adbe34113", "1cc92b46c00d468a"]);
    }
}

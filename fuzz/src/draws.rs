//! Values drawn from a fuzzer's bytes. Small worlds, so that things meet; the numbers at the edges,
//! so that arithmetic is tried there.

use arbitrary::Unstructured;
use orbit_core::model::*;
use std::collections::BTreeMap;

/// The bytes that are left. When there are none left every draw is zero.
pub struct Draws<'a>(Unstructured<'a>);

impl<'a> Draws<'a> {
    /// Draws from these bytes.
    pub fn new(data: &'a [u8]) -> Draws<'a> {
        Draws(Unstructured::new(data))
    }
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }
    pub fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or(0)
    }
    /// So many bytes at most, as they are.
    pub fn raw(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most.min(255) + 1).min(self.0.len());
        self.0.bytes(length).unwrap_or_default().to_vec()
    }
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }
    pub fn bool(&mut self) -> bool {
        self.byte() & 1 == 1
    }
    /// True in one of so many draws.
    pub fn one_in(&mut self, draws: u8) -> bool {
        self.byte() % draws == draws - 1
    }
    pub fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }
    /// Mostly small; else at an edge of some width.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=199 => small.into(),
            shift @ 200..=231 => 1 << (2 * (shift - 200)),
            shift @ 232..=247 => (1 << (4 * (shift - 232))) - 1,
            edge => u64::MAX - u64::from(edge - 248),
        }
    }
    pub fn span(&mut self) -> Millis {
        Millis(self.number())
    }
    pub fn state(&mut self) -> TaskState {
        self.of(&TaskState::ALL)
    }
    pub fn text(&mut self) -> String {
        match self.below(8) {
            0 => "ü".repeat(self.below(256) * 4),
            n => "no".repeat(n),
        }
    }
    pub fn end(&mut self) -> End {
        let exit_code = self.bool().then(|| i32::from(self.byte()));
        let port = self.bool().then(|| 20_000 + u16::from(self.byte()));
        End { reason: self.of(&Reason::ALL), exit_code, port, message: self.text() }
    }
    /// A report that agrees with itself.
    pub fn report(&mut self, task: TaskId, state: TaskState) -> TaskReport {
        let end = state.is_terminal().then(|| self.end());
        let ended_ago = self.span();
        let probed = if end.is_none() { self.probed() } else { Probed::default() };
        let why = if probed == Probed::default() { String::new() } else { self.text() };
        let digest = self.one_in(4).then(|| format!("sha256:{}", self.of(&["0", "1", "A"]).repeat(64)));
        let image_id = self.one_in(4).then(|| format!("sha256:{}", self.of(&["2", "3", "A"]).repeat(64)));
        TaskReport { task, state, end, ended_ago, probed, why, digest, image_id }
    }
    pub fn probed(&mut self) -> Probed {
        let found = [None, Some(true), Some(false)];
        Probed { health: self.of(&found), ready: self.of(&found), image: self.of(&found) }
    }
    fn probe(&mut self) -> Probe {
        let ask = match self.below(3) {
            0 => ProbeAsk::Http {
                port: self.of(&["a", "b", "c"]).to_string(),
                path: self.of(&["/", "", "x"]).to_string(),
            },
            1 => ProbeAsk::Tcp { port: self.of(&["a", "b", "c"]).to_string() },
            _ => ProbeAsk::Command(vec!["well".to_string(); self.below(3)]),
        };
        let retries = self.below(4) as u32;
        Probe { ask, interval: self.span(), timeout: self.span(), retries, start_period: self.span() }
    }
    /// Mostly none, so that most specs are accepted.
    pub fn probes(&mut self) -> Probes {
        let mut probe = || if self.one_in(4) { Some(self.probe().into()) } else { None };
        let (health, ready) = (probe(), probe());
        Probes { health, ready }
    }
    pub fn labels(&mut self) -> BTreeMap<String, String> {
        if self.one_in(4) { [("disk".to_string(), self.of(&["ssd", "hdd"]).to_string())].into() } else { [].into() }
    }

    fn after(&mut self) -> Vec<After> {
        let draws = self.below(8);
        let after = |it: &mut Self| {
            let kind = it.of(&[Kind::Service, Kind::Task]);
            let until = it.of(&Until::ALL.into_iter().filter(|until| until.is_of(kind)).collect::<Vec<_>>());
            After { kind, name: it.of(&["a", "b", "web", "once"]).to_string(), until }
        };
        if draws == 0 { vec![after(self)] } else { Vec::new() }
    }
    fn disconnect(&mut self) -> Disconnect {
        if self.bool() {
            return Disconnect::default();
        }
        let replace_after = self.bool().then(|| self.span());
        let keep = self.of(&[Keep::Replacement, Keep::Original]);
        Disconnect { replace_after, keep, fence: self.of(&[Fence::None, Fence::Timed, Fence::Confirmed]) }
    }

    pub fn update(&mut self, kind: Kind) -> Update {
        // As a manifest that does not say.
        if kind == Kind::Task || self.one_in(4) {
            return Update::ONE_BY_ONE;
        }
        let slots = [0, 1, 2, 5, u32::MAX];
        let (max_surge, max_unavailable, min_healthy) = (self.of(&slots), self.of(&slots), self.span());
        let deadline = self.bool().then(|| self.span());
        let (canary, on_failure) = (self.of(&[0, 0, 1, u32::MAX]), self.of(&OnFailure::ALL));
        let max_failures = self.of(&[0, 0, 1, u32::MAX]);
        Update { max_surge, max_unavailable, min_healthy, canary, deadline, max_failures, on_failure }
    }
    pub fn resources(&mut self) -> Resources {
        let edges = [limits::CPU_MILLIS_MIN, 100, 400, 1000, limits::CPU_MILLIS_MAX, 0, u64::MAX];
        let cpu_millis = self.of(&edges);
        let edges = [limits::MEMORY_BYTES_MIN, 64 << 20, 1 << 30, limits::MEMORY_BYTES_MAX, 0, u64::MAX];
        Resources { cpu_millis, memory_bytes: self.of(&edges) }
    }
    fn port(&mut self) -> Port {
        let name = self.of(&["a", "b", "c", "A"]).to_string();
        let host = if self.bool() { Some(self.of(&[8080, 8081, 20_000, 0])) } else { None };
        let container = self.of(&[80, 81, 82, 0]);
        let host_ip = if self.bool() { Some(self.of(&[[127, 0, 0, 1], [0; 4]]).into()) } else { None };
        Port { name, container, host, protocol: self.of(&Protocol::ALL), host_ip }
    }
    fn constraint(&mut self) -> Constraint {
        let label = Attribute::Label("disk".into());
        let attribute = self.of(&[Attribute::Name, Attribute::Arch, Attribute::Os, label]);
        Constraint { attribute, equal: self.bool(), value: self.of(&["n0", "amd64", "ssd"]).into() }
    }
    /// The words are those of an honest user, the numbers anybody's.
    pub fn spec(&mut self, policy: RestartPolicy) -> Spec {
        let restart = match self.bool() {
            false => Restart::with_policy(policy),
            true => Restart {
                policy,
                backoff_initial: self.span(),
                backoff_max: Millis(self.number().saturating_mul(1000)),
                reset_after: self.span(),
                jitter_percent: self.bool().then(|| self.of(&[0, 1, 50, 100, u32::MAX])),
            },
        };
        let ports = (0..self.below(4).saturating_sub(1)).map(|_| self.port()).collect();
        let constraints = (0..self.below(4).saturating_sub(2)).map(|_| self.constraint()).collect();
        Spec {
            container: Container {
                pull: self.of(&Pull::ALL),
                resources: self.resources(),
                pids_max: 10,
                ports,
                stop: self.stop(),
                probes: self.probes(),
                ..orbit_core::testing::container(self.of(&["image:1", "image:2", ""]))
            },
            placement: Placement { strategy: self.of(&[Strategy::Binpack, Strategy::Spread]), constraints },
            restart,
            disconnect: self.disconnect(),
            after: self.after(),
        }
    }
    pub fn stop(&mut self) -> Stop {
        let signal = self.of(&[None, None, Some("SIGQUIT"), Some("quit")]).map(str::to_string);
        let delay = if self.bool() { self.span() } else { Millis(0) };
        Stop { delay, signal, grace: self.span() }
    }
    pub fn info(&mut self, node: u8) -> NodeInfo {
        let range = [(20_000, 20_002), (20_000, 20_099), (1, u16::MAX), (u16::MAX, u16::MAX), (0, 0), (9, 1)];
        NodeInfo {
            uid: NodeUid(u64::from(node)),
            name: format!("n{}", if self.one_in(8) { node ^ 1 } else { node }),
            labels: self.labels(),
            arch: self.of(&["amd64", "arm64"]).into(),
            os: "linux".into(),
            allocatable: self.resources(),
            port_range: self.of(&range),
            address: None,
            pinned_ports: None,
            allowed: [].into(),
            versions: Default::default(),
        }
    }
}

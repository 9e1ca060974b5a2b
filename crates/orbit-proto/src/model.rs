//! Conversions of the nouns that wire, log and snapshots share.

use crate::{
    DecodeError,
    error::*,
    pairs::{map, pairs},
    setup::{limits, limits_of, setup, setup_of},
    v1,
};
use orbit_core::model::*;

/// One variant for one variant, in both directions; zero and unknown numbers are refused.
macro_rules! enumeration {
    ($core:ident, $proto:ident { $($variant:ident),+ }) => {
        impl From<$core> for v1::$proto {
            fn from(value: $core) -> Self {
                match value { $($core::$variant => v1::$proto::$variant),+ }
            }
        }
        impl TryFrom<v1::$proto> for $core {
            type Error = DecodeError;
            fn try_from(value: v1::$proto) -> Result<Self> {
                match value {
                    $(v1::$proto::$variant => Ok($core::$variant),)+
                    v1::$proto::Unspecified => Err(DecodeError::new("is missing")),
                }
            }
        }
    };
}
enumeration!(
    What,
    What {
        Created,
        Changed,
        Scaled,
        Restarted,
        Deleted,
        Unplaced,
        Placed,
        Running,
        Stopping,
        Complete,
        Failed,
        Stopped,
        Rejected,
        Lost,
        Joined,
        Unreachable,
        Returned,
        Forgotten,
        Cordoned,
        Draining,
        Uncordoned,
        Drained,
        Ready,
        Unready,
        Unhealthy,
        RolledOut,
        Canary,
        Promoted,
        Paused,
        Resumed,
        RolloutFailed,
        RolledBack,
        Undone,
        Resolved,
        Avoided,
        ImageFailed,
        DiskFull,
        DiskHasRoom,
        UnknownTasks,
        ImageDiffers,
        VolumeRemoved
    }
);
enumeration!(RolloutState, RolloutState { Running, Paused, Canary, Failed, Done });
enumeration!(RolloutStep, RolloutStep { Extend, AwaitPromotion, Fail, Finish });
enumeration!(Kind, Kind { Service, Task });
enumeration!(Until, Until { Started, Healthy, Complete });
enumeration!(Strategy, Strategy { Binpack, Spread });
enumeration!(RestartPolicy, RestartPolicy { Always, OnFailure, Never });
enumeration!(Desired, Desired { Running, Stopped });
enumeration!(
    TaskState,
    TaskState { Pending, Assigned, Preparing, Starting, Running, Stopping, Complete, Failed, Stopped, Rejected, Lost }
);
enumeration!(
    Reason,
    Reason {
        Exited,
        OutOfMemory,
        Killed,
        Stopped,
        PullFailed,
        PullTimeout,
        CreateFailed,
        StartFailed,
        PortTaken,
        NameTaken,
        Vanished,
        NodeLost,
        Fenced
    }
);

// Not written in earlier versions: then nobody knows.
impl From<Actor> for v1::Actor {
    fn from(actor: Actor) -> Self {
        match actor {
            Actor::Unknown => v1::Actor::Unspecified,
            Actor::Local => v1::Actor::Local,
            Actor::Worker => v1::Actor::Worker,
            Actor::Manager => v1::Actor::Manager,
        }
    }
}
impl TryFrom<v1::Actor> for Actor {
    type Error = DecodeError;
    fn try_from(actor: v1::Actor) -> Result<Self> {
        Ok(match actor {
            v1::Actor::Unspecified => Actor::Unknown,
            v1::Actor::Local => Actor::Local,
            v1::Actor::Worker => Actor::Worker,
            v1::Actor::Manager => Actor::Manager,
        })
    }
}

/// An enumeration's number on the wire.
pub(crate) fn number<C, P: From<C> + Into<i32>>(value: C) -> i32 {
    P::from(value).into()
}

/// The enumeration that a number stands for.
pub(crate) fn named<P: TryFrom<i32>, C: TryFrom<P, Error = DecodeError>>(field: &str, number: i32) -> Result<C> {
    let value = P::try_from(number).map_err(|_| DecodeError::new(format!("{number} is unknown"))).within(field)?;
    C::try_from(value).within(field)
}

impl From<Uid> for v1::Uid {
    fn from(uid: Uid) -> Self {
        v1::Uid { epoch: uid.epoch, index: uid.index }
    }
}
impl TryFrom<v1::Uid> for Uid {
    type Error = DecodeError;
    fn try_from(uid: v1::Uid) -> Result<Self> {
        Ok(Uid { epoch: uid.epoch, index: uid.index })
    }
}

impl From<TaskId> for v1::TaskId {
    fn from(id: TaskId) -> Self {
        v1::TaskId { epoch: id.epoch, index: id.index, ordinal: id.ordinal }
    }
}
impl TryFrom<v1::TaskId> for TaskId {
    type Error = DecodeError;
    fn try_from(id: v1::TaskId) -> Result<Self> {
        Ok(TaskId { epoch: id.epoch, index: id.index, ordinal: id.ordinal })
    }
}

impl From<Resources> for v1::Resources {
    fn from(r: Resources) -> Self {
        v1::Resources { cpu_millis: r.cpu_millis, memory_bytes: r.memory_bytes }
    }
}
impl TryFrom<v1::Resources> for Resources {
    type Error = DecodeError;
    fn try_from(r: v1::Resources) -> Result<Self> {
        Ok(Resources { cpu_millis: r.cpu_millis, memory_bytes: r.memory_bytes })
    }
}

impl From<&Spec> for v1::Spec {
    fn from(s: &Spec) -> Self {
        v1::Spec {
            image: s.container.image.clone(),
            pull: v1::Pull::from(s.container.pull).into(),
            command: s.container.command.clone(),
            args: s.container.args.clone(),
            env: pairs(&s.container.env),
            resources: Some(s.container.resources.into()),
            pids_max: s.container.pids_max,
            ports: s.container.ports.iter().map(Into::into).collect(),
            placement: Some((&s.placement).into()),
            restart: Some(s.restart.into()),
            stop_grace_ms: s.container.stop.grace.0,
            stop_delay_ms: s.container.stop.delay.0,
            stop_signal: s.container.stop.signal.clone(),
            health: s.container.probes.health.as_deref().map(Into::into),
            ready: s.container.probes.ready.as_deref().map(Into::into),
            disconnect: disconnect_of(s.disconnect),
            limits: limits_of(&s.container),
            setup: setup_of(&s.container.setup),
            after: s.after.iter().map(Into::into).collect(),
        }
    }
}
impl TryFrom<v1::Spec> for Spec {
    type Error = DecodeError;
    fn try_from(s: v1::Spec) -> Result<Self> {
        let resources = need("resources", s.resources)?;
        Ok(Spec {
            container: Container {
                image: s.image,
                pull: pull(s.pull)?,
                command: s.command,
                args: s.args,
                env: map("env", s.env)?,
                resources,
                limits: limits(s.limits, resources),
                pids_max: s.pids_max,
                ports: each("ports", s.ports)?,
                stop: Stop { delay: Millis(s.stop_delay_ms), signal: s.stop_signal, grace: Millis(s.stop_grace_ms) },
                probes: Probes {
                    health: maybe("health", s.health)?.map(Box::new),
                    ready: maybe("ready", s.ready)?.map(Box::new),
                },
                setup: setup(s.setup).within("setup")?,
            },
            placement: need("placement", s.placement)?,
            restart: need("restart", s.restart)?,
            disconnect: disconnect(s.disconnect).within("disconnect")?,
            after: each("after", s.after)?,
        })
    }
}

impl From<&After> for v1::AfterObject {
    fn from(a: &After) -> Self {
        v1::AfterObject {
            kind: number::<_, v1::Kind>(a.kind),
            name: a.name.clone(),
            until: number::<_, v1::Until>(a.until),
        }
    }
}
impl TryFrom<v1::AfterObject> for After {
    type Error = DecodeError;
    fn try_from(a: v1::AfterObject) -> Result<Self> {
        Ok(After {
            kind: named::<v1::Kind, _>("kind", a.kind)?,
            name: a.name,
            until: named::<v1::Until, _>("until", a.until)?,
        })
    }
}

/// What every spec was before it could be said otherwise is written as then.
fn disconnect_of(d: Disconnect) -> Option<v1::Disconnect> {
    let fence = match d.fence {
        Fence::None => v1::Fence::Unspecified,
        Fence::Timed => v1::Fence::Timed,
        Fence::Confirmed => v1::Fence::Confirmed,
    };
    (d != Disconnect::default()).then(|| v1::Disconnect {
        replace_after_ms: d.replace_after.map(|span| span.0),
        keeps_original: d.keep == Keep::Original,
        fence: fence.into(),
    })
}

fn disconnect(d: Option<v1::Disconnect>) -> Result<Disconnect> {
    let Some(d) = d else { return Ok(Disconnect::default()) };
    let fence = match v1::Fence::try_from(d.fence) {
        Ok(v1::Fence::Unspecified) => Fence::None,
        Ok(v1::Fence::Timed) => Fence::Timed,
        Ok(v1::Fence::Confirmed) => Fence::Confirmed,
        Err(_) => return Err(DecodeError::new(format!("{} is unknown", d.fence))).within("fence"),
    };
    let keep = if d.keeps_original { Keep::Original } else { Keep::Replacement };
    Ok(Disconnect { replace_after: d.replace_after_ms.map(Millis), keep, fence })
}

impl From<&Probe> for v1::Probe {
    fn from(p: &Probe) -> Self {
        use v1::probe::Ask;
        v1::Probe {
            ask: Some(match &p.ask {
                ProbeAsk::Http { port, path } => Ask::Http(v1::HttpProbe { port: port.clone(), path: path.clone() }),
                ProbeAsk::Tcp { port } => Ask::Tcp(port.clone()),
                ProbeAsk::Command(command) => Ask::Command(v1::CommandProbe { command: command.clone() }),
            }),
            interval_ms: p.interval.0,
            timeout_ms: p.timeout.0,
            retries: p.retries,
            start_period_ms: p.start_period.0,
        }
    }
}
impl TryFrom<v1::Probe> for Probe {
    type Error = DecodeError;
    fn try_from(p: v1::Probe) -> Result<Self> {
        use v1::probe::Ask;
        let ask = match p.ask.ok_or_else(|| DecodeError::new("is missing")).within("ask")? {
            Ask::Http(http) => ProbeAsk::Http { port: http.port, path: http.path },
            Ask::Tcp(port) => ProbeAsk::Tcp { port },
            Ask::Command(command) => ProbeAsk::Command(command.command),
        };
        let [interval, timeout, start_period] = [p.interval_ms, p.timeout_ms, p.start_period_ms].map(Millis);
        Ok(Probe { ask, interval, timeout, retries: p.retries, start_period })
    }
}

/// Nothing where nothing is known.
pub(crate) fn probed_of(probed: Probed) -> Option<v1::Probed> {
    let Probed { health, ready, image } = probed;
    (probed != Probed::default()).then_some(v1::Probed { health, ready, image })
}
/// The way back.
pub(crate) fn probed(p: Option<v1::Probed>) -> Probed {
    p.map_or(Probed::default(), |v1::Probed { health, ready, image }| Probed { health, ready, image })
}

impl From<Pull> for v1::Pull {
    fn from(pull: Pull) -> Self {
        match pull {
            Pull::Missing => v1::Pull::Unspecified,
            Pull::Always => v1::Pull::Always,
            Pull::Never => v1::Pull::Never,
        }
    }
}
/// Not said is a policy, too: specs are older than the field.
pub(crate) fn pull(number: i32) -> Result<Pull> {
    match v1::Pull::try_from(number) {
        Ok(v1::Pull::Unspecified) => Ok(Pull::Missing),
        Ok(v1::Pull::Always) => Ok(Pull::Always),
        Ok(v1::Pull::Never) => Ok(Pull::Never),
        Err(_) => Err(DecodeError::new(format!("{number} is not known")).within("pull")),
    }
}

impl From<Protocol> for v1::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => v1::Protocol::Unspecified,
            Protocol::Udp => v1::Protocol::Udp,
            Protocol::Both => v1::Protocol::Both,
        }
    }
}
/// Not said is a protocol, too: ports are older than the field.
fn protocol(number: i32) -> Result<Protocol> {
    match v1::Protocol::try_from(number) {
        Ok(v1::Protocol::Unspecified) => Ok(Protocol::Tcp),
        Ok(v1::Protocol::Udp) => Ok(Protocol::Udp),
        Ok(v1::Protocol::Both) => Ok(Protocol::Both),
        Err(_) => Err(DecodeError::new(format!("{number} is not known")).within("protocol")),
    }
}

impl From<&Port> for v1::Port {
    fn from(p: &Port) -> Self {
        v1::Port {
            name: p.name.clone(),
            container: p.container.into(),
            host: p.host.map(Into::into),
            protocol: v1::Protocol::from(p.protocol).into(),
            host_ip: p.host_ip.map(|address| address.to_string()).unwrap_or_default(),
        }
    }
}
impl TryFrom<v1::Port> for Port {
    type Error = DecodeError;
    fn try_from(p: v1::Port) -> Result<Self> {
        Ok(Port {
            name: p.name,
            container: port("container", p.container)?,
            host: p.host.map(|host| port("host", host)).transpose()?,
            protocol: protocol(p.protocol)?,
            host_ip: address("host_ip", &p.host_ip)?,
        })
    }
}

impl From<&Placement> for v1::Placement {
    fn from(p: &Placement) -> Self {
        v1::Placement {
            strategy: number::<_, v1::Strategy>(p.strategy),
            constraints: p.constraints.iter().map(Into::into).collect(),
        }
    }
}
impl TryFrom<v1::Placement> for Placement {
    type Error = DecodeError;
    fn try_from(p: v1::Placement) -> Result<Self> {
        Ok(Placement {
            strategy: named::<v1::Strategy, _>("strategy", p.strategy)?,
            constraints: each("constraints", p.constraints)?,
        })
    }
}

impl From<&Constraint> for v1::Constraint {
    fn from(c: &Constraint) -> Self {
        let (attribute, label) = match &c.attribute {
            Attribute::Name => (v1::Attribute::Name, String::new()),
            Attribute::Arch => (v1::Attribute::Arch, String::new()),
            Attribute::Os => (v1::Attribute::Os, String::new()),
            Attribute::Label(key) => (v1::Attribute::Label, key.clone()),
        };
        v1::Constraint { attribute: attribute.into(), equal: c.equal, value: c.value.clone(), label }
    }
}
impl TryFrom<v1::Constraint> for Constraint {
    type Error = DecodeError;
    fn try_from(c: v1::Constraint) -> Result<Self> {
        let attribute = match v1::Attribute::try_from(c.attribute) {
            Ok(v1::Attribute::Label) => Attribute::Label(c.label),
            Ok(_) if !c.label.is_empty() => return Err(DecodeError::new("names a key of no label")).within("label"),
            Ok(v1::Attribute::Name) => Attribute::Name,
            Ok(v1::Attribute::Arch) => Attribute::Arch,
            Ok(v1::Attribute::Os) => Attribute::Os,
            Ok(v1::Attribute::Unspecified) => return Err(DecodeError::new("is missing")).within("attribute"),
            Err(_) => return Err(DecodeError::new(format!("{} is unknown", c.attribute))).within("attribute"),
        };
        Ok(Constraint { attribute, equal: c.equal, value: c.value })
    }
}

/// One slot after the other is written as before it could be said otherwise.
pub fn update_of(u: Update) -> Option<v1::Update> {
    let Update { max_surge, max_unavailable, min_healthy, canary, deadline, max_failures, on_failure } = u;
    (u != Update::ONE_BY_ONE).then_some(v1::Update {
        max_surge,
        max_unavailable,
        min_healthy_ms: min_healthy.0,
        canary,
        deadline_ms: deadline.map(|span| span.0),
        rolls_back: on_failure == OnFailure::Rollback,
        max_failures,
    })
}
/// The way back.
pub fn update(u: Option<v1::Update>) -> Update {
    u.map_or(Update::ONE_BY_ONE, |u| Update {
        max_surge: u.max_surge,
        max_unavailable: u.max_unavailable,
        min_healthy: Millis(u.min_healthy_ms),
        canary: u.canary,
        deadline: u.deadline_ms.map(Millis),
        max_failures: u.max_failures,
        on_failure: if u.rolls_back { OnFailure::Rollback } else { OnFailure::Pause },
    })
}

impl From<Restart> for v1::Restart {
    fn from(r: Restart) -> Self {
        v1::Restart {
            policy: number::<_, v1::RestartPolicy>(r.policy),
            backoff_initial_ms: r.backoff_initial.0,
            backoff_max_ms: r.backoff_max.0,
            reset_after_ms: r.reset_after.0,
            jitter_percent: r.jitter_percent,
        }
    }
}
impl TryFrom<v1::Restart> for Restart {
    type Error = DecodeError;
    fn try_from(r: v1::Restart) -> Result<Self> {
        Ok(Restart {
            policy: named::<v1::RestartPolicy, _>("policy", r.policy)?,
            backoff_initial: Millis(r.backoff_initial_ms),
            backoff_max: Millis(r.backoff_max_ms),
            reset_after: Millis(r.reset_after_ms),
            jitter_percent: r.jitter_percent,
        })
    }
}

fn port_ranges(ranges: Vec<v1::PortRange>) -> Result<Box<[(u16, u16)]>> {
    let range = |range: v1::PortRange| Ok((port("first", range.first)?, port("last", range.last)?));
    ranges.into_iter().map(range).collect()
}

impl From<&NodeInfo> for v1::NodeInfo {
    fn from(n: &NodeInfo) -> Self {
        v1::NodeInfo {
            uid: n.uid.0,
            name: n.name.clone(),
            labels: pairs(&n.labels),
            arch: n.arch.clone(),
            os: n.os.clone(),
            allocatable: Some(n.allocatable.into()),
            port_first: n.port_range.0.into(),
            port_last: n.port_range.1.into(),
            address: n.address.map(|address| address.to_string()).unwrap_or_default(),
            pinned_ports: n.pinned_ports.as_ref().map(|ranges| {
                let range = |&(first, last): &(u16, u16)| v1::PortRange { first: first.into(), last: last.into() };
                v1::PinnedPorts { ranges: ranges.iter().map(range).collect() }
            }),
            worker_version: n.versions.worker.clone(),
            engine_version: n.versions.engine.clone(),
            spec_level: n.versions.spec_level,
            allowed: n.allowed.iter().map(ToString::to_string).collect(),
        }
    }
}
impl TryFrom<v1::NodeInfo> for NodeInfo {
    type Error = DecodeError;
    fn try_from(n: v1::NodeInfo) -> Result<Self> {
        ascending("allowed", &n.allowed, String::clone)?;
        Ok(NodeInfo {
            uid: NodeUid(n.uid),
            name: n.name,
            labels: map("labels", n.labels)?,
            arch: n.arch,
            os: n.os,
            allocatable: need("allocatable", n.allocatable)?,
            port_range: (port("port_first", n.port_first)?, port("port_last", n.port_last)?),
            address: address("address", &n.address)?,
            pinned_ports: n.pinned_ports.map(|ports| port_ranges(ports.ranges).within("pinned_ports")).transpose()?,
            versions: Box::new(Versions {
                worker: n.worker_version,
                engine: n.engine_version,
                spec_level: n.spec_level,
            }),
            // A later version may know more words: whoever does not know one gives nothing for it.
            allowed: n.allowed.iter().filter_map(|word| word.parse().ok()).collect(),
        })
    }
}

impl From<&End> for v1::End {
    fn from(e: &End) -> Self {
        v1::End {
            reason: number::<_, v1::Reason>(e.reason),
            exit_code: e.exit_code,
            message: e.message.clone(),
            port: e.port.map(u32::from),
        }
    }
}
impl TryFrom<v1::End> for End {
    type Error = DecodeError;
    fn try_from(e: v1::End) -> Result<Self> {
        Ok(End {
            reason: named::<v1::Reason, _>("reason", e.reason)?,
            exit_code: e.exit_code,
            port: e.port.map(|taken| port("port", taken)).transpose()?,
            message: e.message,
        })
    }
}

impl From<&TaskReport> for v1::TaskReport {
    fn from(r: &TaskReport) -> Self {
        v1::TaskReport {
            task: Some(r.task.into()),
            state: number::<_, v1::TaskState>(r.state),
            end: r.end.as_ref().map(Into::into),
            ended_ago_ms: r.ended_ago.0,
            probed: probed_of(r.probed),
            why: r.why.clone(),
            digest: r.digest.clone(),
            image_id: r.image_id.clone(),
        }
    }
}
impl TryFrom<v1::TaskReport> for TaskReport {
    type Error = DecodeError;
    fn try_from(r: v1::TaskReport) -> Result<Self> {
        Ok(TaskReport {
            task: need("task", r.task)?,
            state: named::<v1::TaskState, _>("state", r.state)?,
            end: maybe("end", r.end)?,
            ended_ago: Millis(r.ended_ago_ms),
            probed: probed(r.probed),
            why: r.why,
            digest: r.digest,
            image_id: r.image_id,
        })
    }
}

impl From<Reach> for v1::Reach {
    fn from(r: Reach) -> Self {
        v1::Reach {
            silent_since_ms: match r {
                Reach::Reachable => None,
                Reach::Unreachable { silent_since } => Some(silent_since.0),
            },
        }
    }
}
impl TryFrom<v1::Reach> for Reach {
    type Error = DecodeError;
    fn try_from(r: v1::Reach) -> Result<Self> {
        Ok(match r.silent_since_ms {
            None => Reach::Reachable,
            Some(ms) => Reach::Unreachable { silent_since: Time(ms) },
        })
    }
}

impl From<&Decision> for v1::Decision {
    fn from(d: &Decision) -> Self {
        let refusals =
            |r: &Refusals| v1::Refusals { filter: r.filter.clone(), nodes: r.nodes, example: r.example.clone() };
        v1::Decision {
            parent: d.parent,
            placed: d.placed,
            unplaced: d.unplaced,
            refusals: d.refusals.iter().map(refusals).collect(),
            best: d.best.iter().map(|&(node, score)| v1::NodeScore { node: node.0, score }).collect(),
        }
    }
}
impl TryFrom<v1::Decision> for Decision {
    type Error = DecodeError;
    fn try_from(d: v1::Decision) -> Result<Self> {
        let refusals = |r: v1::Refusals| Refusals { filter: r.filter, nodes: r.nodes, example: r.example };
        Ok(Decision {
            parent: d.parent,
            placed: d.placed,
            unplaced: d.unplaced,
            refusals: d.refusals.into_iter().map(refusals).collect(),
            best: d.best.into_iter().map(|b| (NodeId(b.node), b.score)).collect(),
        })
    }
}

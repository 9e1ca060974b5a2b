//! The control stream between a worker and the manager. What comes off it is hostile until it is
//! decoded: order and bounds that an honest peer keeps are checked here.

use crate::{DecodeError, bounds::*, columns::*, error::*, model::*, v1};
use orbit_core::model::*;
use std::{collections::BTreeMap, sync::Arc};

impl From<&ToManager> for v1::ToManager {
    fn from(m: &ToManager) -> Self {
        use v1::to_manager::Message as P;
        let message = match m {
            ToManager::Register(hello) => P::Register(hello.into()),
            &ToManager::Heartbeat { seq, assigned_seq, disk_full } => {
                P::Heartbeat(v1::Heartbeat { seq, assigned_seq, disk_full })
            }
            ToManager::Report { seq, reports } => {
                P::Report(v1::Report { reports: reports.iter().map(Into::into).collect(), seq: *seq })
            }
            ToManager::ProbeAck => P::ProbeAck(v1::ProbeAck {}),
            ToManager::Prefetched { workload, version, failure } => P::Prefetched(v1::Prefetched {
                workload: Some((*workload).into()),
                version: *version,
                failure: failure.as_ref().map(Into::into),
            }),
        };
        v1::ToManager { message: Some(message) }
    }
}
impl TryFrom<v1::ToManager> for ToManager {
    type Error = DecodeError;
    fn try_from(m: v1::ToManager) -> Result<Self> {
        use v1::to_manager::Message as P;
        Ok(match m.message.ok_or_else(|| DecodeError::new("is missing")).within("message")? {
            P::Register(hello) => ToManager::Register(hello.try_into().within("register")?),
            P::Heartbeat(h) => {
                let v1::Heartbeat { seq, assigned_seq, disk_full } = h;
                ToManager::Heartbeat { seq, assigned_seq, disk_full }
            }
            P::Report(r) => ToManager::Report { seq: r.seq, reports: reports("reports", r.reports).within("report")? },
            P::ProbeAck(_) => ToManager::ProbeAck,
            P::Prefetched(p) => prefetched(p).within("prefetched")?,
            P::Inventory(_) => return Err(DecodeError::new("continues nothing")).within("inventory"),
        })
    }
}

fn prefetched(p: v1::Prefetched) -> Result<ToManager> {
    let failure: Option<End> = maybe("failure", p.failure)?;
    if failure.as_ref().is_some_and(|end| end.message.len() > End::MESSAGE_BYTES_MAX) {
        return Err(DecodeError::new("has too long a message")).within("failure");
    }
    Ok(ToManager::Prefetched { workload: need("workload", p.workload)?, version: p.version, failure })
}

/// A worker's reports: sorted, an end exactly with a terminal state, nothing beyond its bound.
pub(crate) fn reports(field: &str, list: Vec<v1::TaskReport>) -> Result<Vec<TaskReport>> {
    at_most(REPORTS_MAX, field, &list)?;
    let reports: Vec<TaskReport> = each(field, list)?;
    sorted(field, &reports, |r| r.task)?;
    for (i, report) in reports.iter().enumerate() {
        let fail = |what: &str| Err(DecodeError::new(what).within(&format!("{field}[{i}].end")));
        if report.end.is_some() != report.state.is_terminal() {
            return fail("is there without a terminal state, or missing with one");
        }
        if report.end.as_ref().is_some_and(|end| end.message.len() > End::MESSAGE_BYTES_MAX) {
            return fail("has too long a message");
        }
        let too_long = |what: &str| Err(DecodeError::new("is too long").within(&format!("{field}[{i}].{what}")));
        if report.why.len() > End::MESSAGE_BYTES_MAX {
            return too_long("why");
        }
        if report.digest.as_ref().is_some_and(|digest| digest.len() > DIGEST_BYTES_MAX) {
            return too_long("digest");
        }
        if report.image_id.as_ref().is_some_and(|id| id.len() > DIGEST_BYTES_MAX) {
            return too_long("image_id");
        }
    }
    Ok(reports)
}

impl From<&Hello> for v1::Hello {
    fn from(h: &Hello) -> Self {
        v1::Hello {
            cluster: h.cluster.map(|id| id.0),
            seen_epoch: h.seen.0,
            seen_term: h.seen.1,
            nonce: h.nonce,
            info: Some((&h.info).into()),
            inventory: h.inventory.iter().map(Into::into).collect(),
            takes_parts: h.takes_parts,
            prefetches: h.prefetches,
            more: false,
        }
    }
}
impl TryFrom<v1::Hello> for Hello {
    type Error = DecodeError;
    fn try_from(h: v1::Hello) -> Result<Self> {
        if h.more {
            return Err(DecodeError::new("is not whole")).within("inventory");
        }
        let pinned = h.info.as_ref().and_then(|info| info.pinned_ports.as_ref());
        at_most(limits::ITEMS_MAX, "info.pinned_ports", pinned.map_or(&[], |pinned| &pinned.ranges[..]))?;
        at_most(limits::ITEMS_MAX, "info.allowed", h.info.as_ref().map_or(&[], |info| &info.allowed[..]))?;
        at_most(limits::ITEMS_MAX, "info.labels", h.info.as_ref().map_or(&[], |info| &info.labels[..]))?;
        Ok(Hello {
            cluster: h.cluster.map(ClusterId),
            seen: (h.seen_epoch, h.seen_term),
            nonce: h.nonce,
            info: need("info", h.info)?,
            inventory: reports("inventory", h.inventory)?,
            takes_parts: h.takes_parts,
            prefetches: h.prefetches,
        })
    }
}

impl From<&ToWorker> for v1::ToWorker {
    fn from(m: &ToWorker) -> Self {
        use v1::to_worker::Message as P;
        let message = match m {
            ToWorker::Welcome(welcome) => P::Welcome(welcome.into()),
            ToWorker::Refused { message } => P::Refused(v1::Refused { message: message.clone() }),
            ToWorker::Assigned(assigned) => P::Assigned(assigned.into()),
            ToWorker::HeartbeatAck { seq } => P::HeartbeatAck(v1::HeartbeatAck { seq: *seq }),
            ToWorker::Committed { seq, states } => P::Committed(v1::CommittedStates {
                seq: *seq,
                states: states.iter().map(|&state| Committed(state).into()).collect(),
            }),
            ToWorker::Probe => P::Probe(v1::AreYouThere {}),
            ToWorker::Prefetch { workload, version, image, pull, keep } => P::Prefetch(v1::Prefetch {
                workload: Some((*workload).into()),
                version: *version,
                image: image.clone(),
                pull: v1::Pull::from(*pull).into(),
                keep_ms: keep.0,
            }),
            ToWorker::Open(StreamRequest { token, task, what }) => {
                let (token, task) = (token.0.to_vec(), Some((*task).into()));
                match what {
                    &StreamOf::Logs(LogRange { follow, tail, since_s, timestamps }) => {
                        P::OpenLogs(v1::OpenLogs { token, task, follow, tail, since_s, timestamps })
                    }
                    StreamOf::Exec(ExecRequest { command, tty, stdin }) => {
                        P::OpenExec(v1::OpenExec { token, task, command: command.clone(), tty: *tty, stdin: *stdin })
                    }
                }
            }
        };
        v1::ToWorker { message: Some(message) }
    }
}
impl TryFrom<v1::ToWorker> for ToWorker {
    type Error = DecodeError;
    fn try_from(m: v1::ToWorker) -> Result<Self> {
        use v1::to_worker::Message as P;
        Ok(match m.message.ok_or_else(|| DecodeError::new("is missing")).within("message")? {
            P::Welcome(welcome) => ToWorker::Welcome(welcome.try_into().within("welcome")?),
            P::Refused(refused) => ToWorker::Refused { message: refused.message },
            P::Assigned(assigned) => ToWorker::Assigned(assigned.try_into().within("assigned")?),
            P::HeartbeatAck(ack) => ToWorker::HeartbeatAck { seq: ack.seq },
            P::Committed(committed) => {
                let states: Vec<Committed> = each("states", committed.states).within("committed")?;
                sorted("committed.states", &states, |s| s.0.0)?;
                ToWorker::Committed { seq: committed.seq, states: states.into_iter().map(|s| s.0).collect() }
            }
            P::Probe(_) => ToWorker::Probe,
            P::Prefetch(p) => ToWorker::Prefetch {
                workload: need("prefetch.workload", p.workload)?,
                version: p.version,
                image: p.image,
                pull: pull(p.pull).within("prefetch.pull")?,
                keep: Millis(p.keep_ms),
            },
            P::OpenLogs(r) => ToWorker::Open(StreamRequest {
                token: token("open_logs.token", &r.token)?,
                task: need("open_logs.task", r.task)?,
                what: StreamOf::Logs(LogRange {
                    follow: r.follow,
                    tail: r.tail,
                    since_s: r.since_s,
                    timestamps: r.timestamps,
                }),
            }),
            P::OpenExec(r) => {
                not_empty("open_exec.command", &r.command)?;
                ToWorker::Open(StreamRequest {
                    token: token("open_exec.token", &r.token)?,
                    task: need("open_exec.task", r.task)?,
                    what: StreamOf::Exec(ExecRequest { command: r.command, tty: r.tty, stdin: r.stdin }),
                })
            }
        })
    }
}

fn token(field: &str, bytes: &[u8]) -> Result<StreamToken> {
    stream_token(bytes).ok_or_else(|| DecodeError::new("is not 16 bytes")).within(field)
}

/// The name of a stream as the first message on it has it; `None` if that names none.
pub fn stream_token(bytes: &[u8]) -> Option<StreamToken> {
    bytes.try_into().ok().map(StreamToken)
}

struct Committed(ReportKey);
impl From<Committed> for v1::CommittedState {
    fn from(Committed((task, state, probed)): Committed) -> Self {
        let (task, state) = (Some(task.into()), number::<_, v1::TaskState>(state));
        v1::CommittedState { task, state, probed: probed_of(probed) }
    }
}
impl TryFrom<v1::CommittedState> for Committed {
    type Error = DecodeError;
    fn try_from(c: v1::CommittedState) -> Result<Self> {
        let state = named::<v1::TaskState, _>("state", c.state)?;
        Ok(Committed((need("task", c.task)?, state, probed(c.probed))))
    }
}

impl From<&Welcome> for v1::Welcome {
    fn from(w: &Welcome) -> Self {
        v1::Welcome {
            cluster: w.cluster.0,
            epoch: w.epoch,
            term: w.term,
            node: w.node.0,
            incarnation: w.incarnation,
            heartbeat_ms: w.heartbeat.0,
            lease_ms: w.lease.0,
            assigned: Some((&w.assigned).into()),
        }
    }
}
impl TryFrom<v1::Welcome> for Welcome {
    type Error = DecodeError;
    fn try_from(w: v1::Welcome) -> Result<Self> {
        Ok(Welcome {
            cluster: ClusterId(w.cluster),
            epoch: w.epoch,
            term: w.term,
            node: NodeId(w.node),
            incarnation: w.incarnation,
            heartbeat: span("heartbeat_ms", w.heartbeat_ms)?,
            lease: span("lease_ms", w.lease_ms)?,
            assigned: need("assigned", w.assigned)?,
        })
    }
}

/// A span that something is done every time it has passed: never none at all.
fn span(field: &str, ms: u64) -> Result<Millis> {
    if ms == 0 {
        return Err(DecodeError::new("is 0")).within(field);
    }
    Ok(Millis(ms))
}

impl From<&Assigned> for v1::Assigned {
    fn from(a: &Assigned) -> Self {
        // A spec is known again by its address, which lives as long as `a`; equal specs at different
        // addresses are found where they are neighbours.
        let mut specs: Vec<&Arc<Spec>> = Vec::new();
        let mut places: BTreeMap<usize, u32> = BTreeMap::new();
        let mut tasks = Vec::with_capacity(a.tasks.len());
        for task in &a.tasks {
            let place = *places.entry(Arc::as_ptr(&task.spec) as usize).or_insert_with(|| {
                if specs.last().is_none_or(|spec| **spec != task.spec) {
                    specs.push(&task.spec);
                }
                u32::try_from(specs.len() - 1).expect("fewer specs than tasks")
            });
            tasks.push(assignment(task, place));
        }
        v1::Assigned {
            seq: a.seq,
            full: a.full,
            specs: specs.into_iter().map(|spec| v1::Spec::from(&**spec)).collect(),
            tasks,
            removed: group_tasks(&a.removed),
            follow: group_tasks(&a.follow),
        }
    }
}

fn assignment(a: &Assignment, spec: u32) -> v1::Assignment {
    v1::Assignment {
        task: Some(a.task.into()),
        generation: a.generation,
        desired: number::<_, v1::Desired>(a.desired),
        ended: a.ended,
        kind: number::<_, v1::Kind>(a.kind),
        name: a.name.to_string(),
        slot: a.slot,
        spec,
        host_ports: a.host_ports.iter().map(|&p| p.into()).collect(),
        digest: if let ImageBytes::Digest(digest) = &a.image { Some(digest.to_string()) } else { None },
        unresolved: a.image == ImageBytes::Unresolved,
        volumes: a.volumes.iter().map(|&uid| uid.into()).collect(),
    }
}

impl TryFrom<v1::Assigned> for Assigned {
    type Error = DecodeError;
    fn try_from(a: v1::Assigned) -> Result<Self> {
        let specs: Vec<Spec> = each("specs", a.specs)?;
        let specs: Vec<Arc<Spec>> = specs.into_iter().map(Arc::new).collect();
        let mut tasks = Vec::with_capacity(a.tasks.len());
        for (i, task) in a.tasks.into_iter().enumerate() {
            tasks.push(assigned_task(task, &specs).within(&format!("tasks[{i}]"))?);
        }
        sorted("tasks", &tasks, |t| t.task)?;
        let removed = ungroup_tasks("removed", a.removed)?;
        sorted("removed", &removed, |t| *t)?;
        let follow = ungroup_tasks("follow", a.follow)?;
        sorted("follow", &follow, |t| *t)?;
        Ok(Assigned { seq: a.seq, full: a.full, tasks, follow, removed })
    }
}

fn assigned_task(a: v1::Assignment, specs: &[Arc<Spec>]) -> Result<Assignment> {
    let spec = specs.get(a.spec as usize);
    let spec = spec.ok_or_else(|| DecodeError::new(format!("{} is beyond the specs", a.spec))).within("spec")?;
    Ok(Assignment {
        task: need("task", a.task)?,
        generation: a.generation,
        desired: named::<v1::Desired, _>("desired", a.desired)?,
        ended: a.ended,
        kind: named::<v1::Kind, _>("kind", a.kind)?,
        name: a.name.into(),
        slot: a.slot,
        spec: spec.clone(),
        host_ports: ports("host_ports", &a.host_ports)?,
        volumes: each::<_, Uid>("volumes", a.volumes)?.into(),
        image: match (a.digest, a.unresolved) {
            (Some(digest), _) => ImageBytes::Digest(digest.into()),
            (None, true) => ImageBytes::Unresolved,
            (None, false) => ImageBytes::AsWritten,
        },
    })
}

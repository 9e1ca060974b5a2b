//! Entries of the log.

use crate::{DecodeError, columns::*, error::*, model::*, pairs::*, v1};
use orbit_core::model::*;
use prost::Message;

/// An entry as it stands in the log. Equal entries give equal bytes, on every machine.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    v1::Entry::from(entry).encode_to_vec()
}

/// Reads an entry.
///
/// # Errors
/// When the bytes are not an entry, or one of a newer program.
pub fn decode_entry(bytes: &[u8]) -> std::result::Result<Entry, DecodeError> {
    v1::Entry::decode(bytes)?.try_into()
}

impl From<&Entry> for v1::Entry {
    fn from(e: &Entry) -> Self {
        v1::Entry {
            index: e.index,
            term: e.term,
            at_ms: e.at.0,
            wall_ms: e.wall_ms,
            actor: number::<_, v1::Actor>(e.actor),
            command: Some((&e.command).into()),
        }
    }
}
impl TryFrom<v1::Entry> for Entry {
    type Error = DecodeError;
    fn try_from(e: v1::Entry) -> Result<Self> {
        Ok(Entry {
            index: e.index,
            term: e.term,
            at: Time(e.at_ms),
            wall_ms: e.wall_ms,
            actor: named::<v1::Actor, _>("actor", e.actor)?,
            command: need("command", e.command)?,
        })
    }
}

impl From<&Command> for v1::entry::Command {
    fn from(c: &Command) -> Self {
        use v1::entry::Command as P;
        match c {
            Command::Init { cluster } => P::Init(v1::Init { cluster: cluster.0 }),
            Command::Barrier { seed } => P::Barrier(v1::Barrier { seed: *seed }),
            Command::Put(put) => P::Put(put.into()),
            Command::Scale { name, replicas, condition } => {
                P::Scale(v1::Scale { name: name.clone(), replicas: *replicas, condition: condition_of(*condition) })
            }
            Command::Delete { kind, name, condition } => P::Delete(v1::Delete {
                kind: number::<_, v1::Kind>(*kind),
                name: name.clone(),
                condition: condition_of(*condition),
            }),
            Command::Restart { name, condition } => {
                P::Restart(v1::RestartService { name: name.clone(), condition: condition_of(*condition) })
            }
            Command::Rollout { name, order, condition } => P::Rollout(v1::OrderRollout {
                name: name.clone(),
                condition: condition_of(*condition),
                order: Some((*order).into()),
            }),
            Command::StopTask { task } => P::StopTask(v1::StopTask { task: Some((*task).into()) }),
            Command::Register(registration) => P::Register(registration.into()),
            Command::Reach(changes) => P::ReachabilityChanges(v1::ReachabilityChanges {
                changes: changes.iter().map(|e| (*e).into()).collect(),
            }),
            Command::Disks(changes) => {
                P::DiskChanges(v1::DiskChanges { changes: changes.iter().map(|change| (*change).into()).collect() })
            }
            // As before there could be several.
            Command::Reports(nodes) if nodes.len() == 1 => P::Reports((&nodes[0]).into()),
            Command::Reports(nodes) => {
                P::ReportsOfNodes(v1::ReportsOfNodes { nodes: nodes.iter().map(Into::into).collect() })
            }
            Command::Forget { name } => P::Forget(v1::Forget { name: name.clone() }),
            Command::SetAvailability { name, order } => {
                P::SetAvailability(v1::SetAvailability { name: name.clone(), order: Some((*order).into()) })
            }
            Command::RemoveVolume { name } => P::RemoveVolume(v1::RemoveVolume { name: name.clone() }),
            Command::SettleUnknown { adopt } => P::SettleUnknown(v1::SettleUnknown { adopt: *adopt }),
            Command::PrefetchFailed { node, workload, version, end } => P::PrefetchFailed(v1::PrefetchFailed {
                node: node.0,
                workload: Some((*workload).into()),
                version: *version,
                end: Some(end.into()),
            }),
            Command::Plan(plan) => P::Plan(plan.into()),
        }
    }
}
impl TryFrom<v1::entry::Command> for Command {
    type Error = DecodeError;
    fn try_from(c: v1::entry::Command) -> Result<Self> {
        use v1::entry::Command as P;
        Ok(match c {
            P::Init(init) => Command::Init { cluster: ClusterId(init.cluster) },
            P::Barrier(barrier) => Command::Barrier { seed: barrier.seed },
            P::Put(put) => Command::Put(put.try_into().within("put")?),
            P::Scale(s) => {
                let condition = condition(s.condition).within("scale.condition")?;
                Command::Scale { name: s.name, replicas: s.replicas, condition }
            }
            P::Delete(d) => {
                let condition = condition(d.condition).within("delete.condition")?;
                Command::Delete { kind: named::<v1::Kind, _>("delete.kind", d.kind)?, name: d.name, condition }
            }
            P::Restart(r) => {
                let condition = condition(r.condition).within("restart.condition")?;
                Command::Restart { name: r.name, condition }
            }
            P::Rollout(r) => {
                let condition = condition(r.condition).within("rollout.condition")?;
                Command::Rollout { name: r.name, order: need("rollout.order", r.order)?, condition }
            }
            P::StopTask(stop) => Command::StopTask { task: need("stop_task.task", stop.task)? },
            P::Register(registration) => Command::Register(registration.try_into().within("register")?),
            P::ReachabilityChanges(changes) => Command::Reach(each("changes.changes", changes.changes)?),
            P::DiskChanges(changes) => Command::Disks(changes.changes.into_iter().map(DiskChange::from).collect()),
            P::Reports(reports) => Command::Reports(vec![reports.try_into().within("reports")?]),
            P::ReportsOfNodes(several) => Command::Reports(each("reports_of_nodes.nodes", several.nodes)?),
            P::Forget(forget) => Command::Forget { name: forget.name },
            P::SetAvailability(s) => {
                Command::SetAvailability { name: s.name, order: need("set_availability.order", s.order)? }
            }
            P::RemoveVolume(volume) => Command::RemoveVolume { name: volume.name },
            P::SettleUnknown(settle) => Command::SettleUnknown { adopt: settle.adopt },
            P::PrefetchFailed(f) => Command::PrefetchFailed {
                node: NodeId(f.node),
                workload: need("prefetch_failed.workload", f.workload)?,
                version: f.version,
                end: need("prefetch_failed.end", f.end)?,
            },
            P::Plan(plan) => Command::Plan(plan.try_into().within("plan")?),
        })
    }
}

impl From<&NodeReports> for v1::Reports {
    fn from(r: &NodeReports) -> Self {
        let reports = r.reports.iter().map(Into::into).collect();
        v1::Reports { node: r.node.0, incarnation: r.incarnation, reports }
    }
}
impl TryFrom<v1::Reports> for NodeReports {
    type Error = DecodeError;
    fn try_from(r: v1::Reports) -> Result<Self> {
        let reports = each("reports", r.reports)?;
        Ok(NodeReports { node: NodeId(r.node), incarnation: r.incarnation, reports })
    }
}

impl From<RolloutOrder> for v1::order_rollout::Order {
    fn from(order: RolloutOrder) -> Self {
        use v1::order_rollout::Order as P;
        match order {
            RolloutOrder::Pause => P::Pause(v1::Done {}),
            RolloutOrder::Resume => P::Resume(v1::Done {}),
            RolloutOrder::Promote => P::Promote(v1::Done {}),
            RolloutOrder::Undo { to } => P::Undo(v1::Undo { version: to }),
        }
    }
}
impl TryFrom<v1::order_rollout::Order> for RolloutOrder {
    type Error = DecodeError;
    fn try_from(order: v1::order_rollout::Order) -> Result<Self> {
        use v1::order_rollout::Order as P;
        Ok(match order {
            P::Pause(_) => RolloutOrder::Pause,
            P::Resume(_) => RolloutOrder::Resume,
            P::Promote(_) => RolloutOrder::Promote,
            P::Undo(undo) => RolloutOrder::Undo { to: undo.version },
        })
    }
}

impl From<AvailabilityOrder> for v1::set_availability::Order {
    fn from(order: AvailabilityOrder) -> Self {
        use v1::set_availability::Order as P;
        match order {
            AvailabilityOrder::Uncordon => P::Uncordon(v1::Done {}),
            AvailabilityOrder::Cordon => P::Cordon(v1::Done {}),
            AvailabilityOrder::Drain { deadline } => P::Drain(v1::Drain { deadline_ms: deadline.map(|span| span.0) }),
        }
    }
}
impl TryFrom<v1::set_availability::Order> for AvailabilityOrder {
    type Error = DecodeError;
    fn try_from(order: v1::set_availability::Order) -> Result<Self> {
        use v1::set_availability::Order as P;
        Ok(match order {
            P::Uncordon(_) => AvailabilityOrder::Uncordon,
            P::Cordon(_) => AvailabilityOrder::Cordon,
            P::Drain(drain) => AvailabilityOrder::Drain { deadline: drain.deadline_ms.map(Millis) },
        })
    }
}

fn condition_of(c: Condition) -> Option<v1::Condition> {
    use v1::condition::Which;
    let which = match c {
        Condition::None => return None,
        Condition::Revision(revision) => Which::Revision(revision),
        Condition::Absent => Which::Absent(v1::Absent {}),
    };
    Some(v1::Condition { which: Some(which) })
}

fn condition(c: Option<v1::Condition>) -> Result<Condition> {
    use v1::condition::Which;
    match c.map(|c| c.which) {
        None => Ok(Condition::None),
        Some(Some(Which::Revision(revision))) => Ok(Condition::Revision(revision)),
        Some(Some(Which::Absent(_))) => Ok(Condition::Absent),
        Some(None) => Err(DecodeError::new("is unknown")),
    }
}

impl From<&Put> for v1::Put {
    fn from(p: &Put) -> Self {
        v1::Put {
            definition: Some((&p.definition).into()),
            condition: condition_of(p.condition),
            idempotency_key: p.idempotency_key.clone(),
            keeps_replicas: p.keeps_replicas,
        }
    }
}
impl TryFrom<v1::Put> for Put {
    type Error = DecodeError;
    fn try_from(p: v1::Put) -> Result<Self> {
        Ok(Put {
            definition: need("definition", p.definition)?,
            condition: condition(p.condition).within("condition")?,
            keeps_replicas: p.keeps_replicas,
            idempotency_key: p.idempotency_key,
        })
    }
}

impl From<&Definition> for v1::Definition {
    fn from(d: &Definition) -> Self {
        v1::Definition {
            kind: number::<_, v1::Kind>(d.kind),
            name: d.name.clone(),
            labels: pairs(&d.labels),
            replicas: d.replicas,
            spec: Some((&d.spec).into()),
            update: update_of(d.update),
        }
    }
}
impl TryFrom<v1::Definition> for Definition {
    type Error = DecodeError;
    fn try_from(d: v1::Definition) -> Result<Self> {
        Ok(Definition {
            kind: named::<v1::Kind, _>("kind", d.kind)?,
            name: d.name,
            labels: map("labels", d.labels)?,
            replicas: d.replicas,
            spec: need("spec", d.spec)?,
            update: update(d.update),
        })
    }
}

impl From<&Registration> for v1::Registration {
    fn from(r: &Registration) -> Self {
        v1::Registration { info: Some((&r.info).into()), inventory: r.inventory.iter().map(Into::into).collect() }
    }
}
impl TryFrom<v1::Registration> for Registration {
    type Error = DecodeError;
    fn try_from(r: v1::Registration) -> Result<Self> {
        Ok(Registration { info: need("info", r.info)?, inventory: each("inventory", r.inventory)? })
    }
}

impl From<ReachabilityChange> for v1::ReachabilityChange {
    fn from(e: ReachabilityChange) -> Self {
        v1::ReachabilityChange { node: e.node.0, incarnation: e.incarnation, reach: Some(e.reach.into()) }
    }
}
impl TryFrom<v1::ReachabilityChange> for ReachabilityChange {
    type Error = DecodeError;
    fn try_from(e: v1::ReachabilityChange) -> Result<Self> {
        Ok(ReachabilityChange { node: NodeId(e.node), incarnation: e.incarnation, reach: need("reach", e.reach)? })
    }
}

impl From<DiskChange> for v1::DiskChange {
    fn from(change: DiskChange) -> Self {
        let DiskChange { node, incarnation, full } = change;
        v1::DiskChange { node: node.0, incarnation, full }
    }
}
impl From<v1::DiskChange> for DiskChange {
    fn from(change: v1::DiskChange) -> Self {
        let v1::DiskChange { node, incarnation, full } = change;
        DiskChange { node: NodeId(node), incarnation, full }
    }
}

impl From<&Plan> for v1::Plan {
    fn from(p: &Plan) -> Self {
        let decided = |(uid, decision): &(Uid, Decision)| v1::PlannedDecision {
            workload: Some((*uid).into()),
            decision: Some(decision.into()),
        };
        let rollout = |&(uid, version, step): &(Uid, u32, RolloutStep)| v1::PlannedRollout {
            workload: Some(uid.into()),
            version,
            step: number::<_, v1::RolloutStep>(step),
        };
        v1::Plan {
            parent: p.parent,
            creates: group_creates(&p.creates),
            places: group_places(&p.places),
            stops: group_tasks(&p.stops),
            removes: group_tasks(&p.removes),
            trims: p.trims.iter().map(|&(uid, slots)| v1::Trim { workload: Some(uid.into()), slots }).collect(),
            drops: p.drops.iter().map(|&uid| uid.into()).collect(),
            decisions: p.decisions.iter().map(decided).collect(),
            rollouts: p.rollouts.iter().map(rollout).collect(),
        }
    }
}
impl TryFrom<v1::Plan> for Plan {
    type Error = DecodeError;
    fn try_from(p: v1::Plan) -> Result<Self> {
        let trims: Vec<Trim> = each("trims", p.trims)?;
        let decisions: Vec<Planned> = each("decisions", p.decisions)?;
        let rollouts: Vec<Step> = each("rollouts", p.rollouts)?;
        Ok(Plan {
            parent: p.parent,
            creates: ungroup_creates("creates", p.creates)?,
            places: ungroup_places("places", p.places)?,
            stops: ungroup_tasks("stops", p.stops)?,
            removes: ungroup_tasks("removes", p.removes)?,
            trims: trims.into_iter().map(|t| t.0).collect(),
            drops: each("drops", p.drops)?,
            decisions: decisions.into_iter().map(|d| d.0).collect(),
            rollouts: rollouts.into_iter().map(|r| r.0).collect(),
        })
    }
}

struct Trim((Uid, u32));
impl TryFrom<v1::Trim> for Trim {
    type Error = DecodeError;
    fn try_from(t: v1::Trim) -> Result<Self> {
        Ok(Trim((need("workload", t.workload)?, t.slots)))
    }
}

struct Planned((Uid, Decision));
impl TryFrom<v1::PlannedDecision> for Planned {
    type Error = DecodeError;
    fn try_from(d: v1::PlannedDecision) -> Result<Self> {
        Ok(Planned((need("workload", d.workload)?, need("decision", d.decision)?)))
    }
}

struct Step((Uid, u32, RolloutStep));
impl TryFrom<v1::PlannedRollout> for Step {
    type Error = DecodeError;
    fn try_from(r: v1::PlannedRollout) -> Result<Self> {
        Ok(Step((need("workload", r.workload)?, r.version, named::<v1::RolloutStep, _>("step", r.step)?)))
    }
}

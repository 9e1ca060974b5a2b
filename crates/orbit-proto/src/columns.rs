//! The long lists of a plan, in columns: neighbours that share a key are one group.

use crate::{DecodeError, error::*, v1};
use orbit_core::model::*;

/// Groups consecutive tasks that the same entry created.
pub(crate) fn group_tasks(ids: &[TaskId]) -> Vec<v1::TaskGroup> {
    ids.chunk_by(|a, b| (a.epoch, a.index) == (b.epoch, b.index))
        .map(|group| v1::TaskGroup {
            epoch: group[0].epoch,
            index: group[0].index,
            ordinals: group.iter().map(|id| id.ordinal).collect(),
        })
        .collect()
}

pub(crate) fn ungroup_tasks(field: &str, groups: Vec<v1::TaskGroup>) -> Result<Vec<TaskId>> {
    let mut ids = Vec::with_capacity(groups.iter().map(|g| g.ordinals.len()).sum());
    for (i, group) in groups.into_iter().enumerate() {
        not_empty(&format!("{field}[{i}].ordinals"), &group.ordinals)?;
        let id = |ordinal| TaskId { epoch: group.epoch, index: group.index, ordinal };
        ids.extend(group.ordinals.iter().map(|&ordinal| id(ordinal)));
    }
    Ok(ids)
}

fn targets<'a>(targets: impl Iterator<Item = &'a Target> + Clone, ports_each: usize) -> v1::Targets {
    v1::Targets {
        nodes: targets.clone().map(|t| t.node.0).collect(),
        ports_each: u32::try_from(ports_each).expect("a spec has at most some hundred ports"),
        host_ports: targets.flat_map(|t| t.host_ports.iter().map(|&p| u32::from(p))).collect(),
    }
}

fn untargets(targets: v1::Targets, wanted: usize) -> Result<Vec<Target>> {
    let (nodes, each) = (targets.nodes.len(), targets.ports_each as usize);
    if nodes != wanted {
        return Err(DecodeError::new(format!("has {nodes} values, not {wanted}"))).within("nodes");
    }
    if nodes.checked_mul(each) != Some(targets.host_ports.len()) {
        let message = format!("has {} values, not {each} for each of {nodes}", targets.host_ports.len());
        return Err(DecodeError::new(message)).within("host_ports");
    }
    let ports = ports("host_ports", &targets.host_ports)?;
    let of = |i: usize| ports[i * each..(i + 1) * each].into();
    let target = |(i, &node): (usize, &u32)| Target { node: NodeId(node), host_ports: of(i) };
    Ok(targets.nodes.iter().enumerate().map(target).collect())
}

fn create_key(c: &Create) -> (Uid, u32, Option<(u32, u64)>, Option<usize>) {
    let after = c.after.map(|id| (id.epoch, id.index));
    (c.workload, c.version, after, c.target.as_ref().map(|t| t.host_ports.len()))
}

/// Groups consecutive creates that are alike.
pub(crate) fn group_creates(creates: &[Create]) -> Vec<v1::CreateGroup> {
    let group = |group: &[Create]| {
        let (workload, version, after, ports_each) = create_key(&group[0]);
        let before = std::iter::once(0).chain(group.iter().map(|c| i64::from(c.slot)));
        let ordinals = || group.iter().filter_map(|c| c.after).map(|id| id.ordinal).collect();
        let placed = group.iter().filter_map(|c| c.target.as_ref());
        v1::CreateGroup {
            workload: Some(workload.into()),
            version,
            slot_steps: group.iter().zip(before).map(|(c, before)| i64::from(c.slot) - before).collect(),
            after: after.map(|(epoch, index)| v1::After { epoch, index, ordinals: ordinals() }),
            targets: ports_each.map(|each| targets(placed, each)),
        }
    };
    creates.chunk_by(|a, b| create_key(a) == create_key(b)).map(group).collect()
}

pub(crate) fn ungroup_creates(field: &str, groups: Vec<v1::CreateGroup>) -> Result<Vec<Create>> {
    let mut creates = Vec::with_capacity(groups.iter().map(|g| g.slot_steps.len()).sum());
    for (i, group) in groups.into_iter().enumerate() {
        ungroup_create(group, &mut creates).within(&format!("{field}[{i}]"))?;
    }
    Ok(creates)
}

fn ungroup_create(group: v1::CreateGroup, creates: &mut Vec<Create>) -> Result<()> {
    let wanted = group.slot_steps.len();
    not_empty("slot_steps", &group.slot_steps)?;
    let workload = need("workload", group.workload)?;
    let mut targets = match group.targets {
        Some(targets) => Some(untargets(targets, wanted).within("targets")?.into_iter()),
        None => None,
    };
    if let Some(after) = &group.after
        && after.ordinals.len() != wanted
    {
        let message = format!("has {} values, not {wanted}", after.ordinals.len());
        return Err(DecodeError::new(message)).within("after.ordinals");
    }
    let mut slot = 0i64;
    for (i, step) in group.slot_steps.into_iter().enumerate() {
        slot = slot.saturating_add(step);
        creates.push(Create {
            workload,
            version: group.version,
            slot: u32::try_from(slot)
                .map_err(|_| DecodeError::new(format!("{slot} is not a slot")).within(&format!("slot_steps[{i}]")))?,
            after: group.after.as_ref().map(|a| TaskId { epoch: a.epoch, index: a.index, ordinal: a.ordinals[i] }),
            target: targets.as_mut().and_then(Iterator::next),
        });
    }
    Ok(())
}

/// Groups consecutive placements of tasks that the same entry created.
pub(crate) fn group_places(places: &[Place]) -> Vec<v1::PlaceGroup> {
    let key = |p: &Place| (p.task.epoch, p.task.index, p.target.host_ports.len());
    places
        .chunk_by(|a, b| key(a) == key(b))
        .map(|group| v1::PlaceGroup {
            epoch: group[0].task.epoch,
            index: group[0].task.index,
            ordinals: group.iter().map(|p| p.task.ordinal).collect(),
            targets: Some(targets(group.iter().map(|p| &p.target), group[0].target.host_ports.len())),
        })
        .collect()
}

pub(crate) fn ungroup_places(field: &str, groups: Vec<v1::PlaceGroup>) -> Result<Vec<Place>> {
    let mut places = Vec::with_capacity(groups.iter().map(|g| g.ordinals.len()).sum());
    for (i, group) in groups.into_iter().enumerate() {
        let at = format!("{field}[{i}]");
        not_empty("ordinals", &group.ordinals).within(&at)?;
        let targets = group.targets.ok_or_else(|| DecodeError::new("is missing").within("targets")).within(&at)?;
        let targets = untargets(targets, group.ordinals.len()).within("targets").within(&at)?;
        let id = |ordinal| TaskId { epoch: group.epoch, index: group.index, ordinal };
        places.extend(group.ordinals.iter().zip(targets).map(|(&o, target)| Place { task: id(o), target }));
    }
    Ok(places)
}

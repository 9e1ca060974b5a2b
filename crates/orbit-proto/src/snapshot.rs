//! Snapshots, in chunks that a store can write and a stream can send one by one.

use crate::{DecodeError, error::*, model::*, pairs::*, v1};
use orbit_core::{
    model::*,
    state::{KeyRecord, Snapshot},
};
use prost::Message;
use std::{collections::BTreeMap, iter::Peekable, sync::Arc};

/// A chunk is closed when it has reached this size; the record that reaches it may be larger by one
/// spec's size (limits on manifests keep that to a few mebibytes, usually to some hundred bytes).
pub const CHUNK_BYTES: usize = 1 << 20;
/// So many slots of a workload go into one record: at most 15 bytes each.
const SLOTS_EACH: usize = 8192;

/// The chunks of a snapshot.
pub fn encode_snapshot(snapshot: &Snapshot) -> Vec<Vec<u8>> {
    SnapshotWriter::new(snapshot).collect()
}

/// Reads the chunks that [`encode_snapshot`] gave, in order.
///
/// # Errors
/// When a chunk is missing, out of order or no chunk, or what it says is out of order.
pub fn decode_snapshot<C: AsRef<[u8]>>(
    chunks: impl IntoIterator<Item = C>,
) -> std::result::Result<Snapshot, DecodeError> {
    let mut reader = SnapshotReader::default();
    chunks.into_iter().try_for_each(|chunk| reader.push(chunk.as_ref()))?;
    reader.finish()
}

/// Writes a snapshot chunk by chunk, so that its bytes need not be in memory at once: an iterator
/// over the chunks.
pub struct SnapshotWriter<'a> {
    parts: Peekable<Box<dyn Iterator<Item = Part> + 'a>>,
    sequence: u32,
}

/// What a chunk is filled with, piece by piece.
enum Part {
    Header(v1::SnapshotHeader),
    Node(v1::Node),
    Workload(v1::Workload),
    Volume(v1::Volume),
    Task(RunKey, v1::TaskRow),
    Key(v1::KeyRecord),
    HistoryEvent(v1::HistoryEvent),
}

/// What the tasks of a run have in common.
type RunKey = (u32, u64, Uid, u64);

impl<'a> SnapshotWriter<'a> {
    /// Begins at the first chunk.
    pub fn new(snapshot: &'a Snapshot) -> SnapshotWriter<'a> {
        let parts = std::iter::once_with(|| Part::Header(header(snapshot)))
            .chain(snapshot.nodes.iter().map(|n| Part::Node(n.into())))
            .chain(snapshot.workloads.iter().flat_map(workload_parts).map(Part::Workload))
            .chain(snapshot.volumes.iter().map(|v| Part::Volume(v.into())))
            .chain(snapshot.tasks.iter().map(|t| {
                let key = (t.id.epoch, t.id.index, t.workload, t.created_at.0);
                Part::Task(key, task_row(t))
            }))
            .chain(snapshot.keys.iter().map(|k| Part::Key(k.into())))
            .chain(snapshot.history.iter().map(|h| Part::HistoryEvent(h.into())));
        let parts: Box<dyn Iterator<Item = Part> + 'a> = Box::new(parts);
        SnapshotWriter { parts: parts.peekable(), sequence: 0 }
    }
}

impl Iterator for SnapshotWriter<'_> {
    type Item = Vec<u8>;
    fn next(&mut self) -> Option<Vec<u8>> {
        self.parts.peek()?;
        let mut chunk = v1::SnapshotChunk { sequence: self.sequence, ..Default::default() };
        let mut bytes = 0;
        while bytes < CHUNK_BYTES
            && let Some(part) = self.parts.next()
        {
            bytes += add(&mut chunk, part);
        }
        chunk.last = self.parts.peek().is_none();
        self.sequence += 1;
        Some(chunk.encode_to_vec())
    }
}

/// Adds a piece to a chunk and says how many bytes it takes there, or a few more.
fn add(chunk: &mut v1::SnapshotChunk, part: Part) -> usize {
    const FRAME_BYTES: usize = 8;
    FRAME_BYTES
        + match part {
            Part::Header(header) => {
                chunk.header = Some(header);
                0
            }
            Part::Node(node) => {
                let bytes = node.encoded_len();
                chunk.nodes.push(node);
                bytes
            }
            Part::Workload(workload) => {
                let bytes = workload.encoded_len();
                chunk.workloads.push(workload);
                bytes
            }
            Part::Volume(volume) => {
                let bytes = volume.encoded_len();
                chunk.volumes.push(volume);
                bytes
            }
            Part::Key(key) => {
                let bytes = key.encoded_len();
                chunk.keys.push(key);
                bytes
            }
            Part::HistoryEvent(event) => {
                let bytes = event.encoded_len();
                chunk.history.push(event);
                bytes
            }
            Part::Task((epoch, index, workload, created_at_ms), row) => {
                let uid = Some(v1::Uid::from(workload));
                let bytes = row.encoded_len();
                match chunk.tasks.last_mut() {
                    Some(run)
                        if (run.epoch, run.index, run.created_at_ms) == (epoch, index, created_at_ms)
                            && run.workload == uid =>
                    {
                        run.rows.push(row);
                        bytes
                    }
                    _ => {
                        let run = v1::TaskRun { epoch, index, workload: uid, created_at_ms, rows: Vec::new() };
                        let bytes = bytes + run.encoded_len() + FRAME_BYTES;
                        chunk.tasks.push(v1::TaskRun { rows: vec![row], ..run });
                        bytes
                    }
                }
            }
        }
}

fn header(s: &Snapshot) -> v1::SnapshotHeader {
    v1::SnapshotHeader {
        cluster: s.cluster.map(|id| id.0),
        epoch: s.epoch,
        schema: s.schema,
        index: s.index,
        term: s.term,
        at_ms: s.at.0,
        wall_ms: s.wall_ms,
        seed: s.seed,
        next_node: s.next_node.0,
        unknown: match s.unknown {
            UnknownTasks::Removed => v1::UnknownTasks::Unspecified,
            UnknownTasks::Held => v1::UnknownTasks::Held,
            UnknownTasks::Adopted => v1::UnknownTasks::Adopted,
        }
        .into(),
    }
}

/// One value a slot; nothing where none has one.
fn column(slots: &[Slot], value: impl Fn(&Slot) -> u32) -> Vec<u32> {
    let values: Vec<u32> = slots.iter().map(value).collect();
    if values.iter().all(|value| *value == 0) { Vec::new() } else { values }
}

/// A workload's head with its first version, its other versions one by one, its slots in runs.
fn workload_parts(w: &Workload) -> impl Iterator<Item = v1::Workload> + '_ {
    let more = |versions, slots: &[Slot]| v1::Workload {
        uid: Some(w.uid.into()),
        continued: true,
        versions,
        slot_failures: slots.iter().map(|s| s.failures).collect(),
        slot_not_before_ms: slots.iter().map(|s| s.not_before.0).collect(),
        slot_versions: column(slots, |s| s.version),
        slot_own: column(slots, |s| s.own),
        ..Default::default()
    };
    let version = |v: &Version| v1::Version {
        number: v.number,
        spec: Some((&*v.spec).into()),
        created_at_ms: v.created_at.0,
        is_restart: v.is_restart,
        was_stable: v.was_stable,
        digest: v.digest.as_deref().map(str::to_string),
        image_id: v.image_id.as_deref().map(str::to_string),
    };
    let first = w.slots.len().min(SLOTS_EACH);
    let head = move || v1::Workload {
        continued: false,
        kind: number::<_, v1::Kind>(w.kind),
        name: w.name.to_string(),
        labels: pairs(&w.labels),
        replicas: w.replicas,
        update: update_of(w.update),
        revision: w.revision,
        created_at_ms: w.created_at.0,
        deleting: w.deleting,
        decision: w.decision.as_ref().map(Into::into),
        version: Some(w.version).filter(|number| w.versions.last().is_none_or(|last| last.number != *number)),
        stable: w.stable,
        rollout: w.rollout.filter(|rollout| *rollout != SINCE_EVER).map(Into::into),
        ..more(w.versions.iter().take(1).map(version).collect(), &w.slots[..first])
    };
    std::iter::once_with(head)
        .chain(w.versions.iter().skip(1).map(move |v| more(vec![version(v)], &[])))
        .chain(w.slots[first..].chunks(SLOTS_EACH).map(move |slots| more(Vec::new(), slots)))
}

/// What a snapshot means that was written before there were rollouts.
const SINCE_EVER: Rollout = Rollout {
    state: RolloutState::Running,
    since: Time(0),
    progress_at: Time(0),
    settled: 0,
    failures: 0,
    promoted: true,
    failed: None,
};

impl From<Rollout> for v1::Rollout {
    fn from(r: Rollout) -> Self {
        v1::Rollout {
            state: number::<_, v1::RolloutState>(r.state),
            since_ms: r.since.0,
            progress_at_ms: r.progress_at.0,
            settled: r.settled,
            failures: r.failures,
            promoted: r.promoted,
            failed: r.failed,
        }
    }
}
impl TryFrom<v1::Rollout> for Rollout {
    type Error = DecodeError;
    fn try_from(r: v1::Rollout) -> Result<Self> {
        Ok(Rollout {
            state: named::<v1::RolloutState, _>("state", r.state)?,
            since: Time(r.since_ms),
            progress_at: Time(r.progress_at_ms),
            settled: r.settled,
            failures: r.failures,
            promoted: r.promoted,
            failed: r.failed,
        })
    }
}

impl From<&Node> for v1::Node {
    fn from(n: &Node) -> Self {
        let quarantined = |(&port, until): (&u16, &Time)| v1::QuarantinedPort { port: port.into(), until_ms: until.0 };
        v1::Node {
            id: n.id.0,
            info: Some((&n.info).into()),
            incarnation: n.incarnation,
            registered_at_ms: n.registered_at.0,
            reach: Some(n.reach.into()),
            availability: match n.availability {
                Availability::Active => None,
                Availability::Cordoned => Some(v1::Availability { draining: false, deadline_ms: None, since_ms: 0 }),
                Availability::Draining { since, deadline } => {
                    Some(v1::Availability { draining: true, deadline_ms: deadline.map(|at| at.0), since_ms: since.0 })
                }
            },
            forgotten: false,
            quarantined_ports: n.quarantined_ports.iter().map(quarantined).collect(),
            next_port: n.next_port.into(),
            failed_starts: failed_starts_of(&n.failed_starts),
            disk_full_since_ms: n.disk_full_since.map(|since| since.0),
            unknown: n.unknown.iter().map(|task| (*task).into()).collect(),
        }
    }
}

fn failed_starts_of(failed: &FailedStarts) -> Option<v1::FailedStarts> {
    let FailedStarts { count, workloads, avoided_until } = failed;
    (*failed != FailedStarts::default()).then(|| v1::FailedStarts {
        count: *count,
        workloads: workloads.iter().map(|uid| (*uid).into()).collect(),
        avoided_until_ms: avoided_until.map(|until| until.0),
    })
}

fn failed_starts(failed: v1::FailedStarts) -> Result<FailedStarts> {
    let v1::FailedStarts { count, workloads, avoided_until_ms } = failed;
    let workloads = workloads.into_iter().map(Uid::try_from).collect::<Result<Vec<Uid>>>()?;
    ascending("workloads", &workloads, |uid| *uid)?;
    if workloads.len() > 2 {
        return Err(DecodeError::new("are more than two").within("workloads"));
    }
    Ok(FailedStarts { count, workloads: workloads.into_iter().collect(), avoided_until: avoided_until_ms.map(Time) })
}

impl TryFrom<v1::Node> for Node {
    type Error = DecodeError;
    fn try_from(n: v1::Node) -> Result<Self> {
        ascending("quarantined_ports", &n.quarantined_ports, |r| r.port)?;
        let quarantined = |r: v1::QuarantinedPort| Ok((port("quarantined_ports.port", r.port)?, Time(r.until_ms)));
        let failed = n.failed_starts.map(failed_starts).transpose().within("failed_starts")?;
        let mut node = Node::bare(
            NodeId(n.id),
            need("info", n.info)?,
            n.incarnation,
            Time(n.registered_at_ms),
            need("reach", n.reach)?,
            match n.availability {
                None => Availability::Active,
                Some(v1::Availability { draining: false, deadline_ms: None, since_ms: 0 }) => Availability::Cordoned,
                Some(v1::Availability { draining: true, deadline_ms, since_ms }) => {
                    Availability::Draining { since: Time(since_ms), deadline: deadline_ms.map(Time) }
                }
                Some(_) => return Err(DecodeError::new("has times, and is not drained").within("availability")),
            },
            n.quarantined_ports.into_iter().map(quarantined).collect::<Result<_>>()?,
            port("next_port", n.next_port)?,
        );
        node.failed_starts = failed.unwrap_or_default();
        node.disk_full_since = n.disk_full_since_ms.map(Time);
        let unknown: Vec<TaskId> = each("unknown", n.unknown)?;
        ascending("unknown", &unknown, |task| *task)?;
        node.unknown = unknown.into_iter().collect();
        Ok(node)
    }
}

fn task_row(t: &Task) -> v1::TaskRow {
    v1::TaskRow {
        ordinal: t.id.ordinal,
        slot: t.slot,
        version: t.version,
        node: t.node.map(|n| n.0),
        generation: t.generation,
        state: number::<_, v1::TaskState>(t.state),
        desired: number::<_, v1::Desired>(t.desired),
        host_ports: t.host_ports.iter().map(|&p| p.into()).collect(),
        end: t.end.as_deref().map(Into::into),
        running_at_ms: t.running_at.map(|t| t.0),
        ended_at_ms: t.ended_at.map(|t| t.0),
        probed: probed_of(t.probed),
        serving_since_ms: t.serving_since.filter(|_| t.serving_since != t.running_at).map(|t| t.0),
        not_serving: t.running_at.is_some() && t.serving_since.is_none(),
    }
}

fn task(row: v1::TaskRow, epoch: u32, index: u64, workload: Uid, created_at: Time) -> Result<Task> {
    let id = TaskId { epoch, index, ordinal: row.ordinal };
    let mut task = Task::new(id, workload, row.slot, row.version, created_at);
    task.node = row.node.map(NodeId);
    task.generation = row.generation;
    task.state = named::<v1::TaskState, _>("state", row.state)?;
    task.desired = named::<v1::Desired, _>("desired", row.desired)?;
    task.host_ports = ports("host_ports", &row.host_ports)?;
    task.end = maybe::<_, End>("end", row.end)?.map(Box::new);
    task.running_at = row.running_at_ms.map(Time);
    task.ended_at = row.ended_at_ms.map(Time);
    task.probed = probed(row.probed);
    let since = row.serving_since_ms.map(Time).or(task.running_at);
    task.serving_since = if row.not_serving { None } else { since };
    Ok(task)
}

impl From<&KeyRecord> for v1::KeyRecord {
    fn from(k: &KeyRecord) -> Self {
        use v1::key_record::Answer as P;
        let answer = match &k.answer {
            Answer::Workload { uid, revision, version, created, task } => P::Workload(v1::WorkloadAnswer {
                uid: Some((*uid).into()),
                revision: *revision,
                version: *version,
                created: *created,
                task: task.map(Into::into),
            }),
            Answer::Node { node, incarnation } => P::Node(v1::NodeAnswer { node: node.0, incarnation: *incarnation }),
            Answer::Done => P::Done(v1::Done {}),
        };
        v1::KeyRecord { key: k.key.clone(), fingerprint: k.fingerprint, answer: Some(answer) }
    }
}
impl TryFrom<v1::KeyRecord> for KeyRecord {
    type Error = DecodeError;
    fn try_from(k: v1::KeyRecord) -> Result<Self> {
        use v1::key_record::Answer as P;
        let answer = match k.answer.ok_or_else(|| DecodeError::new("is missing")).within("answer")? {
            P::Workload(w) => Answer::Workload {
                uid: need("uid", w.uid)?,
                revision: w.revision,
                version: w.version,
                created: w.created,
                task: maybe("task", w.task)?,
            },
            P::Node(n) => Answer::Node { node: NodeId(n.node), incarnation: n.incarnation },
            P::Done(_) => Answer::Done,
        };
        Ok(KeyRecord { key: k.key, fingerprint: k.fingerprint, answer })
    }
}

impl From<&HistoryEvent> for v1::HistoryEvent {
    fn from(h: &HistoryEvent) -> Self {
        let workload = match &h.subject {
            Subject::Workload(kind, uid, name) => Some(v1::Subject {
                kind: number::<_, v1::Kind>(*kind),
                uid: Some((*uid).into()),
                name: name.to_string(),
            }),
            Subject::Node => None,
        };
        v1::HistoryEvent {
            index: h.index,
            at_ms: h.at.0,
            actor: number::<_, v1::Actor>(h.actor),
            what: number::<_, v1::What>(h.what),
            workload,
            task: h.task.map(Into::into),
            node: h.node.map(|node| node.0),
            message: h.message.clone(),
            node_name: h.node_name.to_string(),
        }
    }
}
impl TryFrom<v1::HistoryEvent> for HistoryEvent {
    type Error = DecodeError;
    fn try_from(h: v1::HistoryEvent) -> Result<Self> {
        Ok(HistoryEvent {
            index: h.index,
            at: Time(h.at_ms),
            actor: named::<v1::Actor, _>("actor", h.actor)?,
            what: named::<v1::What, _>("what", h.what)?,
            subject: maybe("workload", h.workload)?.unwrap_or(Subject::Node),
            task: maybe("task", h.task)?,
            node: h.node.map(NodeId),
            node_name: h.node_name.into(),
            message: h.message,
        })
    }
}
impl TryFrom<v1::Subject> for Subject {
    type Error = DecodeError;
    fn try_from(s: v1::Subject) -> Result<Self> {
        Ok(Subject::Workload(named::<v1::Kind, _>("kind", s.kind)?, need("uid", s.uid)?, s.name.into()))
    }
}

/// Reads a snapshot chunk by chunk: `push` each in order, then `finish`. After an error the reader is
/// of no further use.
#[derive(Default)]
pub struct SnapshotReader {
    snapshot: Option<Snapshot>,
    /// Names of forgotten nodes, which older snapshots keep.
    forgotten: BTreeMap<NodeId, Arc<str>>,
    next: u32,
    complete: bool,
}

impl SnapshotReader {
    /// Takes the next chunk.
    ///
    /// # Errors
    /// When it is not the next chunk of a snapshot.
    pub fn push(&mut self, chunk: &[u8]) -> std::result::Result<(), DecodeError> {
        let at = format!("chunk[{}]", self.next);
        let chunk = v1::SnapshotChunk::decode(chunk).map_err(DecodeError::from).within(&at)?;
        self.take(chunk).within(&at)
    }

    /// The snapshot, when its last chunk was pushed.
    ///
    /// # Errors
    /// When chunks are missing.
    pub fn finish(mut self) -> std::result::Result<Snapshot, DecodeError> {
        match self.snapshot.take() {
            Some(mut snapshot) if self.complete => {
                for workload in snapshot.workloads.iter_mut().filter(|workload| workload.version == 0) {
                    workload.version = workload.versions.last().map_or(0, |last| last.number);
                }
                self.name_nodes(&mut snapshot);
                Ok(snapshot)
            }
            _ => Err(DecodeError::new(format!("the snapshot ends after {} chunks, before its last one", self.next))),
        }
    }

    /// Completes what an older snapshot leaves to its nodes: their names in the history.
    fn name_nodes(&self, snapshot: &mut Snapshot) {
        let mut names = self.forgotten.clone();
        names.extend(snapshot.nodes.iter().map(|node| (node.id, node.info.name.as_str().into())));
        for event in snapshot.history.iter_mut().filter(|event| event.node_name.is_empty()) {
            event.node_name = event.node.and_then(|node| names.get(&node).cloned()).unwrap_or_default();
        }
    }

    fn take(&mut self, chunk: v1::SnapshotChunk) -> Result<()> {
        if self.complete {
            return Err(DecodeError::new("stands behind the last one"));
        }
        if chunk.sequence != self.next {
            let message = format!("is {}, not {}", chunk.sequence, self.next);
            return Err(DecodeError::new(message)).within("sequence");
        }
        match (chunk.header, self.next) {
            (Some(header), 0) => self.snapshot = Some(empty(header)?),
            (None, 1..) => {}
            _ => return Err(DecodeError::new("belongs in the first chunk, and nowhere else")).within("header"),
        }
        self.next = self.next.checked_add(1).ok_or_else(|| DecodeError::new("is one too many"))?;
        self.complete = chunk.last;
        let snapshot = self.snapshot.as_mut().expect("the first chunk has the header");
        add_nodes(snapshot, &mut self.forgotten, chunk.nodes)?;
        for (i, workload) in chunk.workloads.into_iter().enumerate() {
            add_workload(snapshot, workload).within(&format!("workloads[{i}]"))?;
        }
        snapshot.volumes.extend(each::<_, Volume>("volumes", chunk.volumes)?);
        for (i, run) in chunk.tasks.into_iter().enumerate() {
            add_run(snapshot, run).within(&format!("tasks[{i}]"))?;
        }
        snapshot.keys.extend(each::<_, KeyRecord>("keys", chunk.keys)?);
        snapshot.history.extend(each::<_, HistoryEvent>("history", chunk.history)?);
        Ok(())
    }
}

impl From<&Volume> for v1::Volume {
    fn from(volume: &Volume) -> Self {
        v1::Volume {
            name: volume.name.to_string(),
            uid: Some(volume.uid.into()),
            node: volume.node.0,
            node_name: volume.node_name.to_string(),
            bound_at_ms: volume.bound_at.0,
        }
    }
}
impl TryFrom<v1::Volume> for Volume {
    type Error = DecodeError;
    fn try_from(v: v1::Volume) -> Result<Self> {
        let uid = need("uid", v.uid)?;
        Ok(Volume::bare(v.name.into(), uid, NodeUid(v.node), v.node_name.into(), Time(v.bound_at_ms)))
    }
}

fn empty(h: v1::SnapshotHeader) -> Result<Snapshot> {
    Ok(Snapshot {
        cluster: h.cluster.map(ClusterId),
        epoch: h.epoch,
        unknown: unknown_tasks(h.unknown).within("header.unknown")?,
        schema: h.schema,
        index: h.index,
        term: h.term,
        at: Time(h.at_ms),
        wall_ms: h.wall_ms,
        seed: h.seed,
        nodes: Vec::new(),
        next_node: NodeId(h.next_node),
        workloads: Vec::new(),
        tasks: Vec::new(),
        volumes: Vec::new(),
        keys: Vec::new(),
        history: Vec::new(),
    })
}

fn unknown_tasks(number: i32) -> Result<UnknownTasks> {
    Ok(match v1::UnknownTasks::try_from(number) {
        Ok(v1::UnknownTasks::Unspecified) => UnknownTasks::Removed,
        Ok(v1::UnknownTasks::Held) => UnknownTasks::Held,
        Ok(v1::UnknownTasks::Adopted) => UnknownTasks::Adopted,
        Err(_) => return Err(DecodeError::new(format!("{number} is unknown"))),
    })
}

fn add_nodes(snapshot: &mut Snapshot, forgotten: &mut BTreeMap<NodeId, Arc<str>>, nodes: Vec<v1::Node>) -> Result<()> {
    let counted = snapshot.next_node;
    for (i, node) in nodes.into_iter().enumerate() {
        let (is_forgotten, at) = (node.forgotten, format!("nodes[{i}]"));
        let node = Node::try_from(node).within(&at)?;
        let last = snapshot.nodes.last().map(|last| last.id).max(forgotten.keys().next_back().copied());
        if last.is_some_and(|last| last >= node.id) || node.id == NodeId(u32::MAX) {
            return Err(DecodeError::new("is out of order").within("id").within(&at));
        }
        // Where the header does not say what follows, the last node does.
        snapshot.next_node = counted.max(NodeId(node.id.0 + 1)).max(snapshot.next_node);
        match is_forgotten {
            true => drop(forgotten.insert(node.id, node.info.name.into())),
            false => snapshot.nodes.push(node),
        }
    }
    Ok(())
}

fn add_workload(snapshot: &mut Snapshot, w: v1::Workload) -> Result<()> {
    let uid: Uid = need("uid", w.uid)?;
    if !w.continued {
        if snapshot.workloads.last().is_some_and(|last| last.uid >= uid) {
            return Err(DecodeError::new("is out of order")).within("uid");
        }
        let kind = named::<v1::Kind, _>("kind", w.kind)?;
        let since_ever = (kind == Kind::Service).then_some(SINCE_EVER);
        // Absent: the last of all versions, of which some may follow. Zero until then: none has it.
        snapshot.workloads.push(Workload {
            uid,
            kind,
            version: w.version.unwrap_or(0),
            stable: w.stable,
            rollout: maybe("rollout", w.rollout)?.or(since_ever),
            name: w.name.into(),
            labels: map("labels", w.labels)?,
            replicas: w.replicas,
            update: update(w.update),
            revision: w.revision,
            created_at: Time(w.created_at_ms),
            versions: Vec::new(),
            deleting: w.deleting,
            decision: maybe("decision", w.decision)?,
            slots: Vec::new(),
        });
    }
    let Some(workload) = snapshot.workloads.last_mut().filter(|last| last.uid == uid) else {
        return Err(DecodeError::new("continues another workload")).within("uid");
    };
    for (i, version) in w.versions.into_iter().enumerate() {
        let spec = need::<_, Spec>("spec", version.spec).within(&format!("versions[{i}]"))?;
        let created_at = Time(version.created_at_ms);
        let mut read = Version::bare(version.number, Arc::new(spec), created_at);
        (read.is_restart, read.was_stable) = (version.is_restart, version.was_stable);
        read.digest = version.digest.map(Into::into);
        read.image_id = version.image_id.map(Into::into);
        workload.versions.push(read);
    }
    if w.slot_failures.len() != w.slot_not_before_ms.len() {
        return Err(DecodeError::new("is not as long as the other column")).within("slot_failures");
    }
    let len = w.slot_failures.len();
    for (name, column) in [("slot_versions", &w.slot_versions), ("slot_own", &w.slot_own)] {
        if !column.is_empty() && column.len() != len {
            return Err(DecodeError::new("is not as long as the other columns")).within(name);
        }
    }
    let value = |column: &[u32], i: usize| column.get(i).copied().unwrap_or_default();
    let slots = w.slot_failures.iter().zip(&w.slot_not_before_ms).enumerate();
    workload.slots.extend(slots.map(|(i, (failures, not_before))| {
        Slot::bare(*failures, value(&w.slot_versions, i), Time(*not_before), value(&w.slot_own, i))
    }));
    Ok(())
}

fn add_run(snapshot: &mut Snapshot, run: v1::TaskRun) -> Result<()> {
    not_empty("rows", &run.rows)?;
    let workload: Uid = need("workload", run.workload)?;
    for (i, row) in run.rows.into_iter().enumerate() {
        let at = || format!("rows[{i}]");
        let task = task(row, run.epoch, run.index, workload, Time(run.created_at_ms)).map_err(|e| e.within(&at()))?;
        if snapshot.tasks.last().is_some_and(|last| last.id >= task.id) {
            return Err(DecodeError::new("is out of order").within(&at()));
        }
        snapshot.tasks.push(task);
    }
    Ok(())
}

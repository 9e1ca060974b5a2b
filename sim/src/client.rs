//! The users: they ask for things, and remember what they were told.
//!
//! One request is outstanding per object, so that what an object may be is known exactly: what was
//! acknowledged last, or, where no answer came, either that or what was asked for since (I10).

use crate::{
    input::{Ask, If, Order, Roll, Want, WantAfter, WantDisconnect, WantUpdate, WantVolume},
    options::DEADLINE_MS_MAX,
    random::Random,
};
use orbit_core::{
    manager::{Request, RequestId},
    model::*,
};
use std::collections::{BTreeMap, BTreeSet};

/// What an object is meant to be: its replicas and image, or nothing.
pub type Wish = Option<(u32, String)>;

/// Images that run until they are told to stop.
pub const IMAGES_GOOD: [&str; 2] = ["web:1", "web:2"];
/// Images whose containers end, fail, or cannot be had.
pub const IMAGES_BAD: [&str; 8] = ["exit:0", "exit:1", "absent:1", "broken:1", "oom:1", "hang:1", "user:1", "dir:1"];

/// Which object: its kind and name.
pub type Object = (Kind, String);

/// What a request is about.
#[derive(Clone, Debug)]
struct Outstanding {
    object: Object,
    /// What the object is if it is done: one wish, unless it was not known exactly before.
    wishes: Vec<Wish>,
    /// How to ask for it again.
    ask: Ask,
    /// Its idempotency key, if it has one.
    key: Option<String>,
    /// It has to be refused.
    stale: bool,
    /// It is under the condition that nothing has changed.
    fresh: bool,
}

/// What came of a request that is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// An answered request was repeated, and had the same answer.
    Repeated,
    /// A stale conditional write was refused.
    StaleRefused,
    /// A fresh conditional write was accepted.
    FreshAccepted,
    /// A node was forgotten.
    Forgotten,
    /// It was not, because it may still run what it has to stop by itself.
    ForgetWaits,
    /// A spec was refused that cannot satisfy its fence.
    FenceRefused,
    /// A volume was given up.
    VolumeRemoved,
}

/// The users of one cluster.
#[derive(Clone, Debug, Default)]
pub struct Client {
    next: u64,
    /// What was asked and not answered.
    waiting: BTreeSet<RequestId>,
    /// For each object everything that it may be: one wish, unless an answer is missing.
    pub known: BTreeMap<Object, Vec<Wish>>,
    /// The revision that each object had at the last answer.
    revisions: BTreeMap<Object, u64>,
    outstanding: BTreeMap<RequestId, Outstanding>,
    forgetting: BTreeSet<RequestId>,
    /// Who gives up a volume.
    removing: BTreeSet<RequestId>,
    /// Every request with a key, to be sent again.
    puts: BTreeMap<String, Put>,
    answers: BTreeMap<String, Answer>,
    repeated: BTreeMap<RequestId, String>,
    /// Keys whose request was never answered, and keys to repeat for no reason.
    unanswered: Vec<String>,
    repeats: Vec<String>,
    /// The image of each version that was answered.
    images: BTreeMap<(Uid, u32), String>,
    /// Objects that were scaled and may not have got there.
    pub scaling: BTreeSet<String>,
}

impl Client {
    /// Nobody answers any more: what is outstanding may have been done, or not. With that, so that it
    /// can be asked for again.
    pub fn disconnected(&mut self) -> Vec<Ask> {
        let mut asks = Vec::new();
        self.waiting.clear();
        self.repeated.clear();
        self.forgetting.clear();
        self.removing.clear();
        for (_, Outstanding { object, wishes, key, stale, ask, .. }) in std::mem::take(&mut self.outstanding) {
            asks.push(ask);
            if !stale {
                self.known.entry(object).or_insert_with(|| vec![None]).extend(wishes);
                self.unanswered.extend(key);
            }
        }
        asks
    }

    /// Whether somebody has asked to forget a node and was not answered yet.
    pub fn is_forgetting(&self) -> bool {
        !self.forgetting.is_empty()
    }

    /// Draws the next thing that a user asks for. `images` are those to choose from.
    pub fn draw(&mut self, random: &mut Random, names: usize, images: &[&str], workers: usize) -> Option<Ask> {
        if let Some(key) = self.unanswered.pop().or_else(|| self.repeats.pop()) {
            return Some(Ask::Again { key });
        }
        let number = random.below(names);
        let once = random.chance(250);
        let name = format!("{}{number}", if once { "once" } else { "web" });
        let object = (kind_of(once), name.clone());
        let known = self.known.get(&object).and_then(|known| known.last().cloned()).flatten();
        let condition = match random.below(20) {
            0 => If::Stale,
            1 | 2 => If::Fresh,
            _ => If::Always,
        };
        Some(match (known, random.below(12)) {
            (Some(_), 0) => Ask::Delete { once, name, condition },
            (Some(_), 1..=3) if !once => Ask::Scale { name, replicas: random.below(6) as u32, condition },
            (Some(_), 9..=10) if !once => {
                let orders = [
                    Roll::Pause,
                    Roll::Resume,
                    Roll::Resume,
                    Roll::Promote,
                    Roll::Promote,
                    Roll::Undo { to: None },
                    Roll::Undo { to: Some(1 + random.below(4) as u32) },
                ];
                Ask::Rollout { name, order: orders[random.below(7)], condition }
            }
            (_, 4) => Ask::Stop { nth: random.below(64) },
            (_, 5) if random.chance(200) => Ask::Forget { worker: random.below(workers) },
            (_, 5) if random.chance(100) => Ask::RemoveVolume { number: random.below(VOLUMES) as u8 },
            (_, 5) if random.chance(250) => {
                let deadline = random.chance(500).then(|| random.between(0, 30_000));
                let orders = [Order::Uncordon, Order::Cordon, Order::Drain { deadline_ms: deadline }];
                Ask::Availability { worker: random.below(workers), order: orders[random.below(3)] }
            }
            (Some(_), 6..=8) | (None, _) => {
                let image = images[random.below(images.len())].to_string();
                let replicas = if once { 1 } else { random.below(6) as u32 };
                let bits = random.bits();
                let volume = draw_volume(bits);
                // What is one task's alone is not asked for by several.
                let replicas = if volume.is_some_and(|it| !it.shared) { replicas.min(1) } else { replicas };
                let (chosen, pinned, zone) = (random.chance(400), random.chance(100), random.chance(150));
                Ask::Put(Want {
                    once,
                    name,
                    replicas,
                    image,
                    cpu_millis: if random.chance(30) { 100_000 } else { random.between(1, 4) * 100 },
                    ports: if chosen { random.between(1, 2) as u16 } else { 0 },
                    pinned: pinned.then_some(8080),
                    spread: random.chance(400),
                    zone: zone.then(|| ["a", "b"][random.below(2)].to_string()),
                    after: draw_after(bits, names),
                    volume,
                    asks: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 2, 3][(bits >> 56) as usize % 16],
                    grace_ms: [0, 2000, 2000, 20_000][random.below(4)],
                    delay_ms: [0, 0, 1000, 5000][random.below(4)],
                    pull: [0, 0, 0, 1][random.below(4)],
                    never_again: once && random.chance(300),
                    condition,
                    probes: if once { 0 } else { [0, 0, 0, 0, 1, 2, 2, 3][(bits >> 40) as usize % 8] },
                    key: format!("key-{}", bits % 1_000_000_007),
                    jitter: [None, None, Some(0), Some(100)][(bits >> 50) as usize % 4],
                    update: if once { WantUpdate::default() } else { draw_update(random) },
                    disconnect: draw_disconnect(random),
                })
            }
            _ => return None,
        })
    }

    /// Asks: the request to send. `None` where it makes no sense (any more). `tasks` are the live
    /// ones, `node_name` names a worker's node.
    pub fn ask(
        &mut self,
        ask: &Ask,
        tasks: &[TaskId],
        node_name: impl Fn(usize) -> String,
    ) -> Option<(RequestId, Request)> {
        self.next += 1;
        let id = RequestId(self.next);
        let request = match ask {
            Ask::Again { key } => Request::Put(self.again(id, key)?),
            Ask::Stop { nth } => Request::StopTask(*tasks.get(nth % tasks.len().max(1))?),
            Ask::Forget { worker } => {
                self.forgetting.insert(id);
                Request::Forget { name: node_name(*worker) }
            }
            Ask::RemoveVolume { number } => {
                self.removing.insert(id);
                Request::RemoveVolume { name: volume_name(*number) }
            }
            Ask::Availability { worker, order } => {
                let order = match order {
                    Order::Uncordon => AvailabilityOrder::Uncordon,
                    Order::Cordon => AvailabilityOrder::Cordon,
                    Order::Drain { deadline_ms } => AvailabilityOrder::Drain { deadline: deadline_ms.map(Millis) },
                };
                Request::SetAvailability { name: node_name(*worker), order }
            }
            Ask::Rollout { name, order, condition } => {
                let object = (Kind::Service, name.clone());
                let mut wishes = self.known.get(&object)?.clone();
                if let Roll::Undo { .. } = order {
                    // Which version that will be is known with the answer.
                    let asked = self.puts.values().filter(|put| put.definition.name == *name);
                    let images: BTreeSet<String> =
                        asked.map(|put| put.definition.spec.container.image.clone()).collect();
                    let replicas: BTreeSet<u32> = wishes.iter().flatten().map(|(replicas, _)| *replicas).collect();
                    let each = |replicas: u32| images.iter().map(move |image| Some((replicas, image.clone())));
                    wishes = replicas.into_iter().flat_map(each).collect();
                }
                let condition = self.begin(id, object, wishes, *condition, ask)?;
                let order = match *order {
                    Roll::Pause => RolloutOrder::Pause,
                    Roll::Resume => RolloutOrder::Resume,
                    Roll::Promote => RolloutOrder::Promote,
                    Roll::Undo { to } => RolloutOrder::Undo { to },
                };
                Request::Rollout { name: name.clone(), order, condition }
            }
            Ask::Put(want) => {
                let object = (kind_of(want.once), want.name.clone());
                let wish = Some((want.replicas, want.image.clone()));
                let condition = self.begin(id, object, vec![wish], want.condition, ask)?;
                let put = Put {
                    definition: definition(want),
                    condition,
                    keeps_replicas: false,
                    idempotency_key: Some(want.key.clone()),
                };
                self.puts.insert(want.key.clone(), put.clone());
                Request::Put(put)
            }
            Ask::Scale { name, replicas, condition } => {
                let object = (Kind::Service, name.clone());
                let images = self.known.get(&object)?.iter().flatten().map(|(_, image)| image);
                let wishes: Vec<Wish> = images.map(|image| Some((*replicas, image.clone()))).collect();
                let condition = self.begin(id, object, wishes, *condition, ask)?;
                self.scaling.insert(name.clone());
                Request::Scale { name: name.clone(), replicas: *replicas, condition }
            }
            Ask::Delete { once, name, condition } => {
                let object = (kind_of(*once), name.clone());
                let condition = self.begin(id, object, vec![None], *condition, ask)?;
                Request::Delete { kind: kind_of(*once), name: name.clone(), condition }
            }
        };
        self.waiting.insert(id);
        Some((id, request))
    }

    /// Whether somebody waits for an answer.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Notes a request about an object, if nobody else is asking about it.
    fn begin(&mut self, id: RequestId, object: Object, wishes: Vec<Wish>, when: If, ask: &Ask) -> Option<Condition> {
        let (key, again) = match ask {
            Ask::Put(want) => (Some(want.key.clone()), Ask::Again { key: want.key.clone() }),
            other => (None, other.clone()),
        };
        let busy = self.outstanding.values().any(|other| other.object == object);
        if busy || key.as_ref().is_some_and(|key| self.puts.contains_key(key)) {
            return None;
        }
        let revision = self.revisions.get(&object).copied();
        let condition = match (when, revision) {
            (If::Always, _) | (_, None) => Condition::None,
            (If::Fresh, Some(revision)) => Condition::Revision(revision),
            (If::Stale, Some(revision)) => Condition::Revision(revision - 1),
        };
        let conditional = condition != Condition::None;
        let (stale, fresh) = (conditional && when == If::Stale, conditional && when == If::Fresh);
        self.outstanding.insert(id, Outstanding { object, wishes, ask: again, key, stale, fresh });
        Some(condition)
    }

    /// The same request again, under its key.
    fn again(&mut self, id: RequestId, key: &str) -> Option<Put> {
        let put = self.puts.get(key)?.clone();
        if self.answers.contains_key(key) {
            self.repeated.insert(id, key.to_string());
            return Some(put);
        }
        let object = (put.definition.kind, put.definition.name.clone());
        let wish = Some((put.definition.replicas, put.definition.spec.container.image.clone()));
        // Somebody asks for something else by now: the old request is not repeated.
        let busy = self.outstanding.values().any(|other| other.object == object);
        if busy || self.known.get(&object).and_then(|known| known.last()) != Some(&wish) {
            return None;
        }
        let (key, ask) = (Some(key.to_string()), Ask::Again { key: key.to_string() });
        self.outstanding.insert(id, Outstanding { object, wishes: vec![wish], ask, key, stale: false, fresh: false });
        Some(put)
    }

    /// The manager has answered.
    ///
    /// # Errors
    /// An invariant's name and what was found: an idempotency key that has two answers (I12), a
    /// stale conditional write that was accepted (I11).
    pub fn answered(
        &mut self,
        id: RequestId,
        result: Result<Answer, Rejection>,
    ) -> Result<Option<News>, (&'static str, String)> {
        self.waiting.remove(&id);
        if let Some(key) = self.repeated.remove(&id) {
            return match (self.answers.get(&key), result) {
                (Some(before), Ok(answer)) if *before != answer => {
                    Err(("I12", format!("{key} was answered {before:?}, then {answer:?}")))
                }
                (_, Err(rejection)) if rejection.code != Code::Unavailable => {
                    Err(("I12", format!("{key} was accepted, then refused: {rejection}")))
                }
                (_, answer) => Ok(answer.is_ok().then_some(News::Repeated)),
            };
        }
        if self.removing.remove(&id) {
            return Ok(result.is_ok().then_some(News::VolumeRemoved));
        }
        if self.forgetting.remove(&id) {
            let waits = |rejection: &Rejection| rejection.code == Code::Conflict && rejection.message.contains("fence");
            return Ok(match result {
                Ok(_) => Some(News::Forgotten),
                Err(rejection) => waits(&rejection).then_some(News::ForgetWaits),
            });
        }
        let Some(Outstanding { object, wishes, key, stale, fresh, ask }) = self.outstanding.remove(&id) else {
            return Ok(None);
        };
        match result {
            Ok(answer) if stale => Err(("I11", format!("a stale conditional write was accepted: {answer:?}"))),
            Err(rejection) if stale && rejection.code == Code::Unavailable => Ok(None),
            Err(rejection) if stale => match rejection.code {
                Code::RevisionConflict | Code::NotFound => Ok(Some(News::StaleRefused)),
                // What is wrong with the request in itself, or with the disk, is said first.
                Code::Invalid | Code::NameInUse | Code::StorageFull => Ok(None),
                code => Err(("I11", format!("a stale conditional write was refused with {code:?}"))),
            },
            Ok(answer) => {
                let mut wishes = wishes;
                if let Answer::Workload { uid, version, .. } = answer {
                    if let Some(put) = key.as_ref().and_then(|key| self.puts.get(key)) {
                        self.images.insert((uid, version), put.definition.spec.container.image.clone());
                    }
                    if let (Ask::Rollout { order: Roll::Undo { .. }, .. }, Some(image)) =
                        (&ask, self.images.get(&(uid, version)))
                    {
                        wishes.retain(|wish| wish.as_ref().is_some_and(|(_, known)| known == image));
                    }
                }
                let before = self.known.insert(object.clone(), wishes.clone());
                if let Answer::Workload { revision, .. } = &answer {
                    let was_known = before.as_ref().is_some_and(|before| before.len() == 1) && wishes.len() == 1;
                    let same = self.revisions.get(&object) == Some(revision);
                    if same && was_known && before.as_ref() != Some(&wishes) {
                        return Err(("I11", format!("{object:?} has changed and is still at revision {revision}")));
                    }
                    self.revisions.insert(object, *revision);
                }
                if let Some(key) = key {
                    // Every fifth is sent once more, for no reason.
                    if id.0.is_multiple_of(5) {
                        self.repeats.push(key.clone());
                    }
                    self.answers.insert(key, answer);
                }
                Ok(fresh.then_some(News::FreshAccepted))
            }
            // Nobody knows.
            Err(rejection) if rejection.code == Code::Unavailable => {
                self.known.entry(object).or_insert_with(|| vec![None]).extend(wishes);
                self.unanswered.extend(key);
                Ok(None)
            }
            // Refused: nothing has changed.
            Err(rejection) => {
                self.known.entry(object).or_insert_with(|| vec![None]);
                Ok((rejection.field == "disconnect.replace_after").then_some(News::FenceRefused))
            }
        }
    }
}

fn kind_of(once: bool) -> Kind {
    if once { Kind::Task } else { Kind::Service }
}

fn probe(wanted: bool) -> Option<Box<Probe>> {
    let asking = Probe::asking(ProbeAsk::Command(vec!["well".to_string()]));
    let [interval, timeout, start_period] = [2, 1, 3].map(Millis::secs);
    wanted.then(|| Box::new(Probe { interval, timeout, retries: 2, start_period, ..asking }))
}

/// Most say nothing. A fence in time with a long grace is refused.
fn draw_disconnect(random: &mut Random) -> WantDisconnect {
    let bits = random.bits();
    let fence = [0, 0, 0, 0, 0, 1, 1, 2][bits as usize % 8];
    let replace_ms = match fence {
        1 => Some([15_000, 30_000, 40_000][(bits >> 20) as usize % 3]),
        _ => [None, None, None, Some(6000), Some(25_000)][(bits >> 20) as usize % 5],
    };
    WantDisconnect { replace_ms, original: bits >> 40 & 1 == 0, fence }
}

fn draw_update(random: &mut Random) -> WantUpdate {
    let surge = [0, 1, 1, 2, 3][random.below(5)];
    let unavailable = u32::from(surge == 0) + [0, 0, 1, 2][random.below(4)];
    let bits = random.bits();
    WantUpdate {
        surge,
        unavailable,
        healthy_ms: [0, 0, 1000, 5000][random.below(4)],
        canary: [0, 0, 0, 1, 2][bits as usize % 5],
        deadline_ms: [None, None, Some(8000), Some(20_000), Some(DEADLINE_MS_MAX)][(bits >> 20) as usize % 5],
        max_failures: [0, 0, 1, 3][(bits >> 41) as usize % 4],
        rollback: bits >> 40 & 1 == 0,
    }
}

/// So many volumes are known.
const VOLUMES: usize = 2;

/// Most use none.
fn draw_volume(bits: u64) -> Option<WantVolume> {
    let shared =
        [None, Some(false), Some(false), Some(true)][usize::from(bits >> 24 & 3 == 0) * (bits >> 26 & 3) as usize];
    shared.map(|shared| WantVolume { number: (bits >> 28) as u8 % VOLUMES as u8, shared })
}

fn volume_name(number: u8) -> String {
    format!("vol{number}")
}

/// Most wait for nobody.
fn draw_after(bits: u64, names: usize) -> Option<Box<WantAfter>> {
    let (once, started, number) = (bits >> 10 & 3 == 0, bits >> 12 & 1 == 0, (bits >> 14) as usize % names.max(1));
    let name = format!("{}{number}", if once { "once" } else { "web" });
    (bits >> 20 & 7 == 0).then(|| Box::new(WantAfter { once, name, started }))
}

/// What every machine's operator allows who allows something, in the order of the words.
pub(crate) fn allowed() -> [Grant; 2] {
    [Grant::Capability("NET_ADMIN".to_string()), Grant::HostPath("/srv".to_string())]
}

fn after(want: &WantAfter) -> After {
    let until = match (want.started, want.once) {
        (true, _) => Until::Started,
        (false, false) => Until::Healthy,
        (false, true) => Until::Complete,
    };
    After { kind: kind_of(want.once), name: want.name.clone(), until }
}

fn mount(want: &WantVolume) -> VolumeMount {
    let access = if want.shared { Access::Shared } else { Access::Exclusive };
    VolumeMount { volume: volume_name(want.number), path: "/vol".into(), read_only: false, access }
}

fn asking(asks: u8) -> Setup {
    let mut setup = Setup::default();
    if asks & 1 != 0 {
        setup.security.capabilities_added.insert("NET_ADMIN".to_string());
    }
    if asks & 2 != 0 {
        setup.host.mounts.push(HostMount { host: "/srv/data".into(), path: "/data".into(), read_only: false });
    }
    setup
}

fn definition(want: &Want) -> Definition {
    let policy = match (want.once, want.never_again) {
        (false, _) => RestartPolicy::Always,
        (true, false) => RestartPolicy::OnFailure,
        (true, true) => RestartPolicy::Never,
    };
    let restart = Restart {
        backoff_initial: Millis(500),
        backoff_max: Millis::secs(5),
        reset_after: Millis::secs(30),
        jitter_percent: want.jitter,
        ..Restart::with_policy(policy)
    };
    let chosen = (0..want.ports).map(|i| Port::tcp(format!("p{i}"), 80 + i, None));
    let pinned = want.pinned.map(|port| Port::tcp("pinned", 443, Some(port)));
    let zone = want.zone.iter().map(|zone| Constraint {
        attribute: Attribute::Label("zone".into()),
        equal: true,
        value: zone.clone(),
    });
    Definition {
        kind: kind_of(want.once),
        name: want.name.clone(),
        labels: BTreeMap::new(),
        replicas: want.replicas,
        update: Update {
            max_surge: want.update.surge,
            max_unavailable: want.update.unavailable,
            min_healthy: Millis(want.update.healthy_ms),
            canary: want.update.canary,
            deadline: want.update.deadline_ms.map(Millis),
            max_failures: want.update.max_failures,
            on_failure: if want.update.rollback { OnFailure::Rollback } else { OnFailure::Pause },
        },
        spec: Spec {
            container: Container {
                image: want.image.clone(),
                pull: Pull::ALL[usize::from(want.pull) % Pull::ALL.len()],
                command: vec![],
                args: vec![],
                env: BTreeMap::new(),
                resources: Resources { cpu_millis: want.cpu_millis, memory_bytes: 64 << 20 },
                limits: Limits::default(),
                pids_max: 100,
                ports: chosen.chain(pinned).collect(),
                probes: Probes { health: probe(want.probes & 1 != 0), ready: probe(want.probes & 2 != 0) },
                stop: Stop { delay: Millis(want.delay_ms), ..Stop::within(Millis(want.grace_ms)) },
                setup: Setup { volumes: want.volume.iter().map(mount).collect(), ..asking(want.asks) },
            },
            placement: Placement {
                strategy: if want.spread { Strategy::Spread } else { Strategy::Binpack },
                constraints: zone.collect(),
            },
            restart,
            disconnect: Disconnect {
                replace_after: want.disconnect.replace_ms.map(Millis),
                keep: if want.disconnect.original { Keep::Original } else { Keep::Replacement },
                fence: [Fence::None, Fence::Timed, Fence::Confirmed][usize::from(want.disconnect.fence) % 3],
            },
            after: want.after.iter().map(|want| after(want)).collect(),
        },
    }
}

//! The users: they ask for things, and remember what they were told.
//!
//! One request is outstanding per object, so that what an object may be is known exactly: what was
//! acknowledged last, or, where no answer came, either that or what was asked for since (I10).

use crate::random::Random;
use orbit_core::{
    manager::{Request, RequestId},
    model::*,
};
use std::collections::BTreeMap;

/// What an object is meant to be: its replicas and image, or nothing.
pub(crate) type Wish = Option<(u32, String)>;

#[derive(Debug)]
pub(crate) struct Client {
    random: Random,
    names: usize,
    images: Vec<String>,
    next: u64,
    /// For each object everything that it may be: one wish, unless an answer is missing.
    pub known: BTreeMap<(Kind, String), Vec<Wish>>,
    outstanding: BTreeMap<RequestId, ((Kind, String), Wish)>,
    /// A request that was never answered, to be asked again under the same key.
    unanswered: Vec<Put>,
    keyed: BTreeMap<RequestId, Put>,
    answers: BTreeMap<String, Answer>,
    /// Answered requests that are sent once more, under the same key: nothing may change.
    repeats: Vec<Put>,
    repeated: BTreeMap<RequestId, String>,
}

impl Client {
    pub fn new(random: Random, names: usize, images: Vec<String>) -> Client {
        Client {
            random,
            names,
            images,
            next: 0,
            known: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            unanswered: Vec::new(),
            keyed: BTreeMap::new(),
            answers: BTreeMap::new(),
            repeats: Vec::new(),
            repeated: BTreeMap::new(),
        }
    }

    fn definition(&mut self, kind: Kind, name: &str, replicas: u32, image: &str) -> Definition {
        let policy = if kind == Kind::Service { RestartPolicy::Always } else { RestartPolicy::OnFailure };
        let restart = Restart {
            backoff_initial: Millis(500),
            backoff_max: Millis::secs(5),
            reset_after: Millis::secs(30),
            ..Restart::with_policy(policy)
        };
        let ports = (0..self.random.below(2)).map(|_| Port { name: "http".into(), container: 80, host: None });
        let strategy = if self.random.chance(300) { Strategy::Spread } else { Strategy::Binpack };
        Definition {
            kind,
            name: name.to_string(),
            labels: BTreeMap::new(),
            replicas,
            spec: Spec {
                image: image.to_string(),
                command: vec![],
                args: vec![],
                env: BTreeMap::new(),
                resources: Resources { cpu_millis: self.random.between(1, 4) * 100, memory_bytes: 64 << 20 },
                pids_max: 100,
                ports: ports.collect(),
                placement: Placement { strategy, constraints: vec![] },
                restart,
                stop_grace: Millis::secs(2),
            },
        }
    }

    /// The next thing a user asks for, if the object is free.
    pub fn ask(&mut self, tasks: &[TaskId]) -> Option<(RequestId, Request)> {
        self.next += 1;
        let id = RequestId(self.next);
        if let Some(put) = self.unanswered.pop() {
            let key = (put.definition.kind, put.definition.name.clone());
            let wish = Some((put.definition.replicas, put.definition.spec.image.clone()));
            // Somebody asks for something else by now: the old request is not repeated.
            if self.known.get(&key).and_then(|known| known.last()) == Some(&wish) {
                self.outstanding.insert(id, (key, wish));
                self.keyed.insert(id, put.clone());
                return Some((id, Request::Put(put)));
            }
        }
        if let Some(put) = self.repeats.pop() {
            self.repeated.extend(put.idempotency_key.clone().map(|key| (id, key)));
            return Some((id, Request::Put(put)));
        }
        let number = self.random.below(self.names);
        let kind = if self.random.chance(250) { Kind::Task } else { Kind::Service };
        let name = format!("{}{number}", if kind == Kind::Task { "once" } else { "web" });
        let key = (kind, name.clone());
        if self.outstanding.values().any(|(busy, _)| *busy == key) {
            return None;
        }
        let known = self.known.get(&key).and_then(|known| known.last().cloned()).flatten();
        let request = match (known, kind, self.random.below(10)) {
            (Some(_), _, 0) => {
                self.outstanding.insert(id, (key, None));
                Request::Delete { kind, name, condition: Condition::None }
            }
            (Some((_, image)), Kind::Service, 1..=3) => {
                let replicas = self.random.below(6) as u32;
                self.outstanding.insert(id, (key, Some((replicas, image))));
                Request::Scale { name, replicas, condition: Condition::None }
            }
            (_, _, 4) if !tasks.is_empty() => Request::StopTask(tasks[self.random.below(tasks.len())]),
            (None, _, _) | (Some(_), Kind::Service, 5..=6) => {
                let replicas = if kind == Kind::Task { 1 } else { self.random.below(5) as u32 };
                let image = self.images[self.random.below(self.images.len())].clone();
                let definition = self.definition(kind, &name, replicas, &image);
                let idempotency_key = Some(format!("key-{}", self.next));
                let put = Put { definition, condition: Condition::None, idempotency_key };
                self.outstanding.insert(id, (key, Some((replicas, image))));
                self.keyed.insert(id, put.clone());
                Request::Put(put)
            }
            _ => return None,
        };
        Some((id, request))
    }

    /// The manager has answered.
    ///
    /// # Errors
    /// When an idempotency key has two answers (I12).
    pub fn answered(&mut self, id: RequestId, result: Result<Answer, Rejection>) -> Result<(), String> {
        if let Some(key) = self.repeated.remove(&id) {
            return match (self.answers.get(&key), result) {
                (Some(before), Ok(answer)) if *before != answer => {
                    Err(format!("{key} was answered {before:?}, then {answer:?}"))
                }
                (_, Err(rejection)) if rejection.code != Code::Unavailable => {
                    Err(format!("{key} was accepted, then refused: {rejection}"))
                }
                _ => Ok(()),
            };
        }
        let put = self.keyed.remove(&id);
        let Some((key, wish)) = self.outstanding.remove(&id) else { return Ok(()) };
        let known = self.known.entry(key).or_insert_with(|| vec![None]);
        // Who scales what he is not sure of does not know its image either.
        let may_be: Vec<Wish> = match &wish {
            Some((replicas, _)) if put.is_none() => {
                known.iter().flatten().map(|(_, image)| Some((*replicas, image.clone()))).collect()
            }
            _ => vec![wish],
        };
        match result {
            Ok(answer) => {
                *known = may_be;
                if let Some(put) = put {
                    self.answers.extend(put.idempotency_key.clone().map(|key| (key, answer)));
                    if self.random.chance(200) {
                        self.repeats.push(put);
                    }
                }
            }
            // Refused: nothing has changed. Unavailable: nobody knows.
            Err(rejection) if rejection.code == Code::Unavailable => {
                known.extend(may_be);
                self.unanswered.extend(put);
            }
            Err(_) => {}
        }
        Ok(())
    }
}

//! What the managers of this world want, as an honest manager orders it: a task is ordered to run,
//! then to stop, then it is no longer remembered, and never goes back.

use super::{TASKS, task};
use crate::draws::Draws;
use orbit_core::{model::*, worker::Worker};
use std::collections::{BTreeMap, BTreeSet};

/// An order of an honest manager: its generation says what is wanted.
const RUN: u32 = 1;
const STOP: u32 = 2;

#[derive(Default)]
pub struct Orders {
    /// The highest (epoch, term) of a leader so far.
    highest: (u32, u64),
    /// Tasks that were ordered and are remembered: the generation, and whether the end is committed.
    wanted: BTreeMap<TaskId, (u32, bool)>,
    /// Tasks that the manager remembers no longer.
    gone: BTreeSet<TaskId>,
    /// Tasks of which the worker has taken up that they shall stop, in whatever life.
    told: BTreeSet<TaskId>,
}

impl Orders {
    /// The manager's state moves on.
    pub fn change(&mut self, draws: &mut Draws) {
        for number in 0..TASKS {
            match draws.below(8) {
                0 | 1 => self.advance(task(number), RUN, false),
                2 => self.advance(task(number), STOP, false),
                3 => {
                    self.wanted.remove(&task(number)).map(|_| self.gone.insert(task(number)));
                }
                4 => self.advance(task(number), RUN, true),
                _ => {}
            }
        }
    }

    fn advance(&mut self, id: TaskId, generation: u32, ended: bool) {
        if !self.gone.contains(&id) {
            let wanted = self.wanted.entry(id).or_insert((RUN, false));
            *wanted = (wanted.0.max(generation), wanted.1 || ended);
        }
    }

    /// The (epoch, term) under which a leader welcomes: the same as before or a later one.
    pub fn leader(&mut self, draws: &mut Draws) -> (u32, u64) {
        let (epoch, term) = (self.highest.0.max(1), self.highest.1.max(1));
        self.highest = match draws.below(16) {
            0 => (epoch + 1, 1),
            1..=3 => (epoch, term + 1),
            _ => (epoch, term),
        };
        self.highest
    }

    pub fn present(&self) -> Vec<Assignment> {
        self.wanted.iter().map(|(id, (generation, ended))| order(*id, *generation, *ended)).collect()
    }

    /// Every task as it was ordered first.
    pub fn first_of_all(&self) -> Vec<Assignment> {
        (0..TASKS).map(|number| order(task(number), RUN, false)).collect()
    }

    /// News about one task: the present order, an older one than the worker has, or that it is gone.
    pub fn difference(&mut self, worker: &Worker, draws: &mut Draws) -> (Vec<Assignment>, Vec<TaskId>) {
        let id = task(draws.below(TASKS as usize) as u64);
        let known = worker.orders().any(|(task, generation, _)| task == id && generation > RUN);
        match draws.below(8) {
            0 if known => return (vec![order(id, RUN, false)], vec![]),
            0 | 1 => {
                self.wanted.remove(&id);
                self.gone.insert(id);
            }
            2 => self.advance(id, RUN, true),
            3 => self.advance(id, STOP, false),
            _ => self.advance(id, RUN, false),
        }
        match self.wanted.get(&id) {
            Some((generation, ended)) => (vec![order(id, *generation, *ended)], vec![]),
            None => (vec![], vec![id]),
        }
    }

    /// Looks at the orders that the worker holds now.
    pub fn taken_up(&mut self, worker: &Worker) {
        let stops = worker.orders().filter(|(.., desired)| *desired == Desired::Stopped);
        self.told.extend(stops.map(|(id, ..)| id));
    }

    pub fn told_to_stop(&self, id: TaskId) -> bool {
        self.told.contains(&id)
    }
}

fn order(task: TaskId, generation: u32, ended: bool) -> Assignment {
    let spec = Spec {
        container: Container {
            pids_max: 10,
            stop: Stop::within(Millis::secs(1)),
            ..orbit_core::testing::spec(format!("image:{}", task.index % 2)).container
        },
        ..orbit_core::testing::spec(format!("image:{}", task.index % 2))
    };
    Assignment {
        task,
        generation,
        desired: if generation == STOP { Desired::Stopped } else { Desired::Running },
        ended,
        kind: Kind::Service,
        name: "web".into(),
        slot: 0,
        spec: spec.into(),
        host_ports: [].into(),
        volumes: [].into(),
        image: ImageBytes::AsWritten,
    }
}

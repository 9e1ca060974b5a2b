//! The table of tasks: a dense arena, and an index from IDs to places.

use crate::model::{Task, TaskId, TaskKey};

/// All tasks: a dense arena, and an index from IDs to places that is sorted because IDs only grow.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskTable {
    rows: Vec<Option<Task>>,
    free: Vec<TaskKey>,
    /// By ID. `None` marks a removed task until the next compaction.
    index: Vec<(TaskId, Option<TaskKey>)>,
    removed: usize,
}

impl TaskTable {
    pub fn len(&self) -> usize {
        self.index.len() - self.removed
    }
    pub fn key(&self, id: TaskId) -> Option<TaskKey> {
        let at = self.index.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.index[at].1
    }
    pub fn at(&self, key: TaskKey) -> &Task {
        self.rows[key.place()].as_ref().expect("a key is valid until its task is removed")
    }
    pub fn at_mut(&mut self, key: TaskKey) -> &mut Task {
        self.rows[key.place()].as_mut().expect("a key is valid until its task is removed")
    }
    pub fn iter(&self) -> impl Iterator<Item = &Task> {
        self.iter_after(TaskId::MIN)
    }
    pub fn iter_after(&self, after: TaskId) -> impl Iterator<Item = &Task> {
        let from = self.index.partition_point(|(id, _)| *id <= after);
        self.index[from..].iter().filter_map(|(_, key)| key.map(|key| self.at(key)))
    }
    pub fn push(&mut self, task: Task) -> TaskKey {
        let id = task.id;
        assert!(self.index.last().is_none_or(|(last, _)| *last < id), "task IDs only grow");
        let key = match self.free.pop() {
            Some(key) => {
                self.rows[key.place()] = Some(task);
                key
            }
            None => {
                self.rows.push(Some(task));
                TaskKey::of_place(self.rows.len() - 1)
            }
        };
        self.index.push((id, Some(key)));
        key
    }
    pub fn remove(&mut self, key: TaskKey) {
        let task = self.rows[key.place()].take().expect("a key is valid until its task is removed");
        let at = self.index.binary_search_by_key(&task.id, |(id, _)| *id).expect("every task is indexed");
        self.index[at].1 = None;
        self.free.push(key);
        self.removed += 1;
        if self.removed > 64 && self.removed > self.index.len() / 2 {
            self.index.retain(|(_, key)| key.is_some());
            self.removed = 0;
        }
    }
}

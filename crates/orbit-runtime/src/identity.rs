//! The labels of a container: how whose it is, which task's and of which spec is written down at an engine, and read back.

use orbit_core::{
    model::{ClusterId, NodeUid, TaskId},
    worker::{ContainerSpec, LABEL_CLUSTER, LABEL_NODE, LABEL_SPEC, LABEL_TASK, Owner},
};
use std::collections::HashMap;

/// What a container's labels say of it, where they can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whose it is.
    pub owner: Owner,
    /// Which task's.
    pub task: TaskId,
    /// The fingerprint of the spec that it was created from.
    pub spec: u64,
}

impl Identity {
    /// Reads the four labels; `label` looks one up. `None` if one is missing or cannot be read, so
    /// for every container that is not Orbit's.
    pub fn read<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Option<Identity> {
        Some(Identity {
            owner: Owner {
                cluster: label(LABEL_CLUSTER)?.parse::<ClusterId>().ok()?,
                node: label(LABEL_NODE)?.parse::<NodeUid>().ok()?,
            },
            task: label(LABEL_TASK)?.parse().ok()?,
            spec: read_fingerprint(label(LABEL_SPEC)?)?,
        })
    }

    /// What the labels of a container's spec say.
    pub fn of_spec(spec: &ContainerSpec) -> Option<Identity> {
        Identity::read(|key| spec.labels.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str()))
    }

    /// What the labels say as an engine gives them.
    pub fn of_map(labels: &HashMap<String, String>) -> Option<Identity> {
        Identity::read(|key| labels.get(key).map(String::as_str))
    }

    /// The four labels, sorted by key: what [`read`](Self::read) reads back.
    pub fn labels(&self) -> Vec<(String, String)> {
        let [cluster, node] = owner_labels(self.owner);
        // In the order of their keys, which a test holds to.
        [cluster, node, (LABEL_SPEC, format!("{:016x}", self.spec)), (LABEL_TASK, self.task.to_string())]
            .map(|(key, value)| (key.to_owned(), value))
            .into()
    }
}

/// Sixteen hexadecimal digits, as the IDs beside it are written: one spelling only.
fn read_fingerprint(text: &str) -> Option<u64> {
    let number = u64::from_str_radix(text, 16).ok()?;
    (format!("{number:016x}") == text).then_some(number)
}

/// The labels that say whose a container is.
pub(crate) fn owner_labels(owner: Owner) -> [(&'static str, String); 2] {
    [(LABEL_CLUSTER, owner.cluster.to_string()), (LABEL_NODE, owner.node.to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(labels: &[(String, String)]) -> Option<Identity> {
        Identity::of_map(&labels.iter().cloned().collect())
    }

    #[test]
    fn an_identity_reads_back_what_it_wrote_and_nothing_else() {
        let identity = Identity {
            owner: Owner { cluster: ClusterId(7), node: NodeUid(0xfeed) },
            task: TaskId { epoch: 1, index: 57, ordinal: 2 },
            spec: 0xabc,
        };
        let labels = identity.labels();
        assert!(labels.is_sorted());
        assert_eq!(read(&labels), Some(identity));
        for (place, bad) in [(0, "7"), (1, ""), (2, "abc"), (2, "+000000000000abc"), (3, "web")] {
            let mut labels = labels.clone();
            labels[place].1 = bad.to_owned();
            assert_eq!(read(&labels), None, "{:?}", labels[place]);
        }
        assert_eq!(read(&labels[1..]), None);
    }
}

//! The table of nodes: dense and by ID, so that nothing is left of a forgotten one.

use crate::model::{Node, NodeId};
use std::ops::{Index, IndexMut};

/// The nodes that were not forgotten, by ID. An ID is never given again.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeTable {
    nodes: Vec<Node>,
    /// Their IDs, to find a place without touching the nodes.
    ids: Vec<NodeId>,
    next: NodeId,
}

impl NodeTable {
    /// The ID of the next new node.
    pub fn next_id(&self) -> NodeId {
        self.next
    }
    /// No ID below this one is given from now on.
    pub fn skip_to(&mut self, next: NodeId) {
        self.next = self.next.max(next);
    }
    /// Adds a node whose ID comes after all that were given.
    pub fn push(&mut self, node: Node) {
        assert!(node.id >= self.next, "node {} comes after {}", node.id, self.next);
        self.next = NodeId(node.id.0.checked_add(1).expect("fewer nodes than that"));
        self.ids.push(node.id);
        self.nodes.push(node);
    }
    /// Removes a node. Costs as much as there are nodes.
    pub fn remove(&mut self, id: NodeId) -> Node {
        let place = self.place(id).expect("the caller has looked");
        self.ids.remove(place);
        self.nodes.remove(place)
    }
    pub fn len(&self) -> usize {
        self.nodes.len()
    }
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        Some(&self.nodes[self.place(id)?])
    }
    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        let place = self.place(id)?;
        Some(&mut self.nodes[place])
    }
    /// Where a node stands among all, from 0; changes only when one is forgotten.
    pub fn place(&self, id: NodeId) -> Option<usize> {
        // IDs ascend from 0: a node's place is its ID, less the forgotten ones before it.
        let most = id.slot().min(self.ids.len().checked_sub(1)?);
        if self.ids[most] == id { Some(most) } else { self.ids[..most].binary_search(&id).ok() }
    }
    /// By ID.
    pub fn iter(&self) -> std::slice::Iter<'_, Node> {
        self.nodes.iter()
    }
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Node> {
        self.nodes.iter_mut()
    }
    /// Those whose IDs come after `after`, by ID.
    pub fn after(&self, after: Option<NodeId>) -> std::slice::Iter<'_, Node> {
        let from = after.map_or(0, |after| self.ids.partition_point(|id| *id <= after));
        self.nodes[from..].iter()
    }
}

impl Index<NodeId> for NodeTable {
    type Output = Node;
    fn index(&self, id: NodeId) -> &Node {
        self.get(id).expect("the caller knows that the node is there")
    }
}

impl IndexMut<NodeId> for NodeTable {
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        self.get_mut(id).expect("the caller knows that the node is there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Availability, NodeUid, Reach, Time},
        testing,
    };

    fn node(id: u32) -> Node {
        let info = testing::node(NodeUid(id.into()), format!("node-{id}"));
        Node::bare(NodeId(id), info, 1, Time(0), Reach::Reachable, Availability::Active, Default::default(), 1)
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_but_its_id_which_is_not_given_again() {
        let mut table = NodeTable::default();
        (0..4).for_each(|id| table.push(node(id)));
        assert_eq!(table.remove(NodeId(1)).id, NodeId(1));
        assert_eq!(table.remove(NodeId(3)).id, NodeId(3));
        assert_eq!(table.iter().map(|node| node.id.0).collect::<Vec<_>>(), [0, 2]);
        assert!(table.get(NodeId(1)).is_none() && table.get(NodeId(3)).is_none() && table.get(NodeId(9)).is_none());
        assert_eq!(table[NodeId(2)].id, NodeId(2));
        assert_eq!(table.after(Some(NodeId(0))).map(|node| node.id.0).collect::<Vec<_>>(), [2]);
        assert_eq!(table.next_id(), NodeId(4));
    }

    #[test]
    fn a_table_that_is_read_back_with_gaps_is_the_same() {
        let mut table = NodeTable::default();
        [1, 4].into_iter().for_each(|id| table.push(node(id)));
        table.skip_to(NodeId(7));
        assert_eq!((table.len(), table.next_id()), (2, NodeId(7)));
        assert_eq!(table[NodeId(4)].id, NodeId(4));
    }
}

//! Published ports.

/// A port of the container that is published on the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Unique within the spec.
    pub name: String,
    /// The port inside the container.
    pub container: u16,
    /// The node's port; `None` lets the scheduler choose one from the node's range.
    pub host: Option<u16>,
}

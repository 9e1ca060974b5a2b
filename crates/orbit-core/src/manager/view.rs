//! What a reader sees: the replicated state, and beside it what only the leader knows.
//!
//! A reader needs no manager machine. It applies the committed entries to a [`Cluster`] of its own, and is
//! told a [`Lead`] whenever that changes.

use super::{Brake, requests};
use crate::{
    model::*,
    reconciler::{Outage, Outages},
    state::Cluster,
};
use std::collections::BTreeMap;

/// What a reader has to be told beside the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Everything committed before the present term is known.
    pub ready: bool,
    /// Cluster time and the leader's own time at its election.
    pub elected: (Time, Time),
    /// The wall clock at the election, in milliseconds since 1970.
    pub elected_wall_ms: u64,
    /// What is known of the silence of nodes.
    pub brake: Brake,
}

/// The state at one entry, to be read.
#[derive(Clone, Copy)]
pub struct View<'a> {
    cluster: &'a Cluster,
    timing: &'a Timing,
    /// Nothing where this replica does not lead.
    lead: Option<LeadRef<'a>>,
}

#[derive(Clone, Copy)]
pub(super) struct LeadRef<'a> {
    pub ready: bool,
    pub elected: (Time, Time),
    pub elected_wall_ms: u64,
    pub brake: &'a Brake,
    /// When a node was heard; a reader elsewhere learns it from the log, a little later.
    pub heard_at: Option<&'a dyn Fn(NodeId) -> Time>,
}

impl<'a> View<'a> {
    /// Of a replica.
    pub fn new(cluster: &'a Cluster, timing: &'a Timing, lead: Option<&'a Lead>) -> View<'a> {
        let lead = lead.map(|Lead { ready, elected, elected_wall_ms, brake }| LeadRef {
            ready: *ready,
            elected: *elected,
            elected_wall_ms: *elected_wall_ms,
            brake,
            heard_at: None,
        });
        View { cluster, timing, lead }
    }
    pub(super) fn of_leader(cluster: &'a Cluster, timing: &'a Timing, lead: Option<LeadRef<'a>>) -> View<'a> {
        View { cluster, timing, lead }
    }
    /// The replicated state.
    pub fn cluster(self) -> &'a Cluster {
        self.cluster
    }
    /// Leases and heartbeats.
    pub fn timing(self) -> &'a Timing {
        self.timing
    }
    /// Whether the replica leads and knows everything that was committed before.
    pub fn is_ready(self) -> bool {
        self.lead.is_some_and(|lead| lead.ready)
    }
    /// The cluster's clock at the caller's `now`; that of the last entry if it does not lead.
    pub fn cluster_time(self, now: Time) -> Time {
        self.lead.map_or(self.cluster.at, |lead| lead.elected.0 + now.since(lead.elected.1))
    }
    /// The wall clock at a point of the cluster's clock, in milliseconds since 1970, for people: the
    /// same answer for the same point as long as this process leads, whatever is done to the clock.
    pub fn wall_ms(self, at: Time) -> u64 {
        let anchor = self.lead.map(|lead| (lead.elected.0, lead.elected_wall_ms));
        let (known, wall_ms) = anchor.unwrap_or((self.cluster.at, self.cluster.wall_ms));
        (wall_ms + at.since(known).0).saturating_sub(known.since(at).0)
    }
    /// What becomes of the tasks of a node, where it is unreachable.
    pub fn outage(self, node: NodeId) -> Option<Outage> {
        let lead = self.lead?;
        let heard_at = lead.heard_at.map_or(Time(0), |heard_at| heard_at(node));
        lead.brake.outage(self.cluster, self.timing, node, heard_at)
    }
    /// That of every unreachable node.
    pub fn outages(self) -> BTreeMap<NodeId, Outage> {
        let silent = self.cluster.silent().iter();
        silent.filter_map(|(_, node)| Some((*node, self.outage(*node)?))).collect()
    }
    /// The living workload that a request would change, none where it would create one, and whether
    /// it would change anything: if it were made now. Nothing is done.
    ///
    /// # Errors
    /// As the request itself.
    pub fn preview(self, put: &Put) -> Result<(Option<&'a Workload>, bool), Rejection> {
        requests::validate(&put.definition, self.timing)?;
        self.cluster.preview(put)
    }
}

impl Outages for View<'_> {
    fn of(&self, node: NodeId) -> Option<Outage> {
        self.outage(node)
    }
}

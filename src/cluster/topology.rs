//! The view of the cluster that shards, migrations and replies read: an immutable snapshot, made anew when something
//! in it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::id::NodeId;
use super::node::Announced;
use super::packet::flag;
use crate::slot::Slot;

/// In [`Topology::owners`]: nobody.
pub const NO_OWNER: u16 = u16::MAX;

/// Whether the cluster takes queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClusterState {
    Ok,
    #[default]
    Fail,
}

impl ClusterState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Fail => "fail",
        }
    }
}

/// What a node is in its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Primary,
    Replica,
}

/// A node in the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyNode {
    pub id: NodeId,
    pub shard_id: NodeId,
    pub role: Role,
    /// Place of its primary in [`Topology::nodes`].
    pub primary: Option<usize>,
    /// The flags of the bus.
    pub flags: u16,
    pub config_epoch: u64,
    pub ip: String,
    pub tcp_port: u16,
    pub tls_port: u16,
    pub cport: u16,
    pub announced: Announced,
    /// How many slots it owns.
    pub slots: usize,
}

impl TopologyNode {
    pub fn failed(&self) -> bool {
        self.flags & flag::FAIL != 0
    }

    /// How log lines call it beside its id.
    pub fn shown_name(&self) -> String {
        if self.announced.human_name.is_empty() {
            format!("{}:{}", self.ip, self.tcp_port)
        } else {
            self.announced.human_name.clone()
        }
    }
}

/// The snapshot.
#[derive(Clone, Debug)]
pub struct Topology {
    /// Raised with every new snapshot.
    pub generation: u64,
    pub nodes: Vec<TopologyNode>,
    /// This node's place in `nodes`.
    pub me: usize,
    /// For each slot the owner's place in `nodes`, or [`NO_OWNER`].
    pub owners: Arc<[u16]>,
    /// Open slots: this node gives them to, or takes them from, the node at that place.
    pub migrating: BTreeMap<u16, usize>,
    pub importing: BTreeMap<u16, usize>,
    pub state: ClusterState,
    /// Primaries with slots.
    pub size: usize,
    pub current_epoch: u64,
}

impl Topology {
    pub fn me(&self) -> &TopologyNode {
        &self.nodes[self.me]
    }

    /// Place of the slot's owner.
    #[inline]
    pub fn owner_index(&self, slot: Slot) -> Option<usize> {
        let owner = self.owners[slot.index()];
        (owner != NO_OWNER).then_some(usize::from(owner))
    }

    pub fn owner(&self, slot: Slot) -> Option<&TopologyNode> {
        self.owner_index(slot).map(|index| &self.nodes[index])
    }

    #[inline]
    pub fn is_mine(&self, slot: Slot) -> bool {
        self.owner_index(slot) == Some(self.me)
    }

    pub fn node(&self, id: &NodeId) -> Option<&TopologyNode> {
        self.nodes.iter().find(|node| node.id == *id)
    }

    pub fn my_primary(&self) -> Option<&TopologyNode> {
        self.me().primary.map(|index| &self.nodes[index])
    }

    /// The open slots as a full synchronization carries them: `9000<id,609>id,`, those being taken first. None if there
    /// are none.
    pub fn open_slots_text(&self) -> Option<String> {
        let mut text = String::new();
        for (slots, sign) in [(&self.importing, '<'), (&self.migrating, '>')] {
            for (slot, node) in slots {
                text += &format!("{slot}{sign}{},", self.nodes[*node].id);
            }
        }
        (!text.is_empty()).then_some(text)
    }

    /// Slots whose keys this node holds: its own, or its primary's.
    pub fn is_of_my_shard(&self, slot: Slot) -> bool {
        self.owner_index(slot).is_some_and(|owner| owner == self.me || Some(owner) == self.me().primary)
    }
}

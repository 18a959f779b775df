//! Whose each slot is, in four bytes a slot.

use crate::cluster::node::NodeIndex;
use crate::slot::{SLOTS, Slot};

const NOBODY: u32 = u32::MAX;

/// The owner of every slot.
pub(super) struct Owners(Box<[u32]>);

impl Default for Owners {
    fn default() -> Self {
        Self(vec![NOBODY; SLOTS].into())
    }
}

impl Owners {
    fn shown(owner: u32) -> Option<NodeIndex> {
        (owner != NOBODY).then_some(owner as NodeIndex)
    }

    #[inline]
    pub fn of(&self, slot: Slot) -> Option<NodeIndex> {
        Self::shown(self.0[slot.index()])
    }

    pub fn set(&mut self, slot: Slot, owner: Option<NodeIndex>) {
        let owner = owner.map(|owner| u32::try_from(owner).expect("fewer nodes than that fit in memory"));
        self.0[slot.index()] = owner.unwrap_or(NOBODY);
    }

    /// Those of all slots, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Option<NodeIndex>> {
        self.0.iter().copied().map(Self::shown)
    }
}

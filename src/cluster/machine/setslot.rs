//! CLUSTER SETSLOT: moving a slot key by key, and giving it away at the end (spec page cluster-bus.md, section 18.2).

use super::commands::{Ordered, Refusal, unknown};
use super::*;

/// What is to happen to the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetSlot {
    Migrating(Vec<u8>),
    Importing(Vec<u8>),
    Stable,
    Node(Vec<u8>),
}

impl Machine {
    /// Whether the order could be carried out, without carrying it out: so that a primary does not send its replicas
    /// what it will refuse itself. `keys`: how many the slot has here.
    pub fn check_set_slot(&self, slot: Slot, action: &SetSlot, keys: u64) -> Ordered {
        let owner = self.owners[slot.index()];
        let primary_node = |id: &[u8], missing: Refusal| {
            let index = NodeId::parse(id).and_then(|id| self.find(&id)).ok_or(missing)?;
            Ok::<_, Refusal>(index)
        };
        let not_known =
            |id: &[u8]| Refusal(format!("I don't know about node {}", String::from_utf8_lossy(id)));
        match action {
            SetSlot::Migrating(id) => {
                if self.me().is_primary() && owner != Some(self.me) {
                    return Err(format!("I'm not the owner of hash slot {}", slot.0).into());
                }
                self.check_other(primary_node(id, not_known(id))?)
            }
            SetSlot::Importing(id) => {
                if owner == Some(self.me) {
                    return Err(format!("I'm already the owner of hash slot {}", slot.0).into());
                }
                self.check_other(primary_node(id, not_known(id))?)
            }
            SetSlot::Stable => Ok(()),
            SetSlot::Node(id) => {
                let index = primary_node(id, unknown(id))?;
                if self.node(index).is_replica() {
                    return Err("Target node is not a master".into());
                }
                if owner == Some(self.me) && index != self.me && keys > 0 {
                    return Err(format!(
                        "Can't assign hashslot {} to a different node while I still hold keys for this hash slot.",
                        slot.0
                    )
                    .into());
                }
                Ok(())
            }
        }
    }

    fn check_other(&self, index: NodeIndex) -> Ordered {
        if index == self.me {
            return Err("Target node is myself".into());
        }
        if self.node(index).is_replica() {
            return Err("Target node is not a master".into());
        }
        Ok(())
    }

    /// Takes the open slots of the primary whose data this replica has just received, as
    /// [`crate::cluster::Topology::open_slots_text`] writes them. What cannot be understood is left out.
    pub fn adopt_open_slots(&mut self, facts: Facts, text: &str) {
        self.facts = facts;
        if self.me().is_primary() {
            return;
        }
        let (mut migrating, mut importing) = (BTreeMap::new(), BTreeMap::new());
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let Some(place) = word.find(['<', '>']) else { continue };
            let slot = word[..place].parse().ok().filter(|slot| usize::from(*slot) < SLOTS);
            let node = NodeId::parse(&word.as_bytes()[place + 1..]).and_then(|id| self.find(&id));
            let (Some(slot), Some(node)) = (slot, node) else { continue };
            let slots = if word.as_bytes()[place] == b'<' { &mut importing } else { &mut migrating };
            slots.insert(slot, node);
        }
        (self.migrating, self.importing) = (migrating, importing);
        self.save_later();
        self.finish();
    }

    /// Carries the order out.
    pub fn set_slot(&mut self, facts: Facts, slot: Slot, action: &SetSlot, keys: u64) -> Ordered {
        self.facts = facts;
        self.check_set_slot(slot, action, keys)?;
        let index = match action {
            SetSlot::Migrating(id) | SetSlot::Importing(id) | SetSlot::Node(id) => {
                NodeId::parse(id).and_then(|id| self.find(&id)).ok_or_else(|| unknown(id))?
            }
            SetSlot::Stable => self.me,
        };
        match action {
            SetSlot::Migrating(_) => {
                self.notice(format!("Migrating slot {} to node {}", slot.0, self.name(index)));
                self.migrating.insert(slot.0, index);
            }
            SetSlot::Importing(_) => {
                self.notice(format!("Importing slot {} from node {}", slot.0, self.name(index)));
                self.importing.insert(slot.0, index);
            }
            SetSlot::Stable => {
                self.notice(format!("Marking slot {} stable", slot.0));
                self.migrating.remove(&slot.0);
                self.importing.remove(&slot.0);
            }
            SetSlot::Node(_) => self.give_slot(slot, index, keys),
        }
        self.save_later();
        self.update_state_later();
        self.finish();
        Ok(())
    }

    fn give_slot(&mut self, slot: Slot, index: NodeIndex, keys: u64) {
        self.notice(format!(
            "Assigning slot {} to node {} in shard {}",
            slot.0,
            self.name(index),
            self.node(index).shard_id
        ));
        if keys == 0 {
            self.migrating.remove(&slot.0);
        }
        let mine = self.my_primary_or_me();
        let was_mine = self.owners[slot.index()] == Some(mine);
        self.set_owner(slot, Some(index));
        if self.settings.allow_replica_migration
            && was_mine
            && self.node(mine).slot_count == 0
            && index != mine
            && index != self.me
        {
            let text = format!(
                "Lost my last slot during slot migration. Reconfiguring myself as a replica of {} in shard {}",
                self.name(index),
                self.node(index).shard_id
            );
            self.notice(text);
            self.follow(index, true, true);
            self.todo.fsync = true;
        }
        let imported = (index == self.me || index == mine) && self.importing.remove(&slot.0).is_some();
        if imported && index == self.me {
            if self.bump_epoch_without_consensus().is_some() {
                self.notice(format!("ConfigEpoch updated after importing slot {}", slot.0));
            }
            self.todo.broadcast = true;
        }
    }
}

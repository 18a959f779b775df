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

/// An open slot of this replica's primary, given to or taken from a node that this one has not heard of yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenSlot {
    slot: u16,
    imports: bool,
    id: NodeId,
}

impl Machine {
    /// Whether the order could be carried out, without carrying it out: so that a primary does not send its replicas
    /// what it will refuse itself. `keys`: how many the slot has here.
    pub fn check_set_slot(&self, slot: Slot, action: &SetSlot, keys: u64) -> Ordered {
        let owner = self.owners.of(slot);
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
        self.strangers.clear();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let Some(place) = word.find(['<', '>']) else { continue };
            let slot = word[..place].parse().ok().filter(|slot| usize::from(*slot) < SLOTS);
            let id = NodeId::parse(&word.as_bytes()[place + 1..]);
            let (Some(slot), Some(id)) = (slot, id) else { continue };
            let imports = word.as_bytes()[place] == b'<';
            let slots = if imports { &mut importing } else { &mut migrating };
            match self.find(&id) {
                Some(node) => drop(slots.insert(slot, node)),
                None => self.strangers.push(OpenSlot { slot, imports, id }),
            }
        }
        (self.migrating, self.importing) = (migrating, importing);
        self.save_later();
        self.finish();
    }

    /// A node that open slots name has become known.
    pub(super) fn open_slots_of_stranger(&mut self, index: NodeIndex) {
        let id = self.node(index).id;
        for open in self.strangers.extract_if(.., |open| open.id == id) {
            let slots = if open.imports { &mut self.importing } else { &mut self.migrating };
            slots.entry(open.slot).or_insert(index);
        }
        self.save_later();
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
        self.strangers.retain(|open| open.slot != slot.0);
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
        let was_mine = self.owners.of(slot) == Some(mine);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_slot_waits_for_the_node_it_names() {
        let mut machine = Machine::new(Settings::default(), Facts::default(), 1);
        let mut rng = Rng::new(2);
        let mut node = || Node::new(NodeId::random(&mut rng), NodeId::random(&mut rng), flag::PRIMARY, 0);
        let (primary, stranger) = (node(), node());
        let primary = machine.add_node(primary);
        machine.follow(primary, false, false);
        let (known, unknown) = (machine.node(primary).id, stranger.id);
        let text = format!("609<{unknown},610>{unknown},700>{known},");
        machine.adopt_open_slots(Facts::default(), &text);
        assert_eq!(machine.migrating, BTreeMap::from([(700, primary)]));
        assert!(machine.importing.is_empty());
        let stranger = machine.add_node(stranger);
        assert_eq!(machine.migrating, BTreeMap::from([(610, stranger), (700, primary)]));
        assert_eq!(machine.importing, BTreeMap::from([(609, stranger)]));
        assert!(machine.strangers.is_empty());
    }
}

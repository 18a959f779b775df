//! Who owns which slot, and by which epoch (spec page cluster-bus.md, section 10).

use super::*;
use crate::cluster::packet::{Body, Header};

/// Slots taken by an atomic migration.
///
/// The source may raise its own epoch, by taking other slots at the same time, before it hears of the claim; it then
/// still claims them, with an epoch above that of the claim. It has granted them, so that is no reason to give them back.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) from: NodeIndex,
    slots: SlotBitmap,
    /// When they were taken, Unix milliseconds.
    at: i64,
}

/// How long what a source sent before it heard of a claim may come behind what it sent after it, on another connection,
/// milliseconds.
const STRAGGLE_MS: i64 = 500;

impl Machine {
    /// Gives a slot to a node, or to nobody.
    pub(super) fn set_owner(&mut self, slot: Slot, owner: Option<NodeIndex>) {
        if let Some(old) = self.owners.of(slot) {
            if Some(old) == owner {
                return;
            }
            let node = self.node_mut(old);
            if node.slots.remove(slot) {
                node.slot_count -= 1;
            }
        }
        self.owners.set(slot, owner);
        self.shown_owners = None;
        self.unclaimed.remove(slot);
        if let Some(new) = owner {
            let node = self.node_mut(new);
            if node.slots.insert(slot) {
                node.slot_count += 1;
            }
            let is_first = node.slot_count == 1;
            if is_first && self.nodes().any(|(_, node)| node.is_primary() && !node.replicas.is_empty()) {
                self.node_mut(new).flags |= flag::MIGRATE_TO;
            }
        }
        self.todo.changed = true;
    }

    /// Takes over what a primary claims, and tells it if it is behind.
    pub(super) fn process_claims(&mut self, sender: NodeIndex, header: &Header) {
        if header.replica_of.is_none() {
            self.follow_targets(sender, header.config_epoch);
            let are_known = self.unclaimed.is_empty() && self.taken.is_empty();
            let differs = self.node(sender).slots != header.slots;
            if differs {
                let text = format!(
                    "Mismatch in topology information for sender node {} in shard {}",
                    self.name(sender),
                    self.node(sender).shard_id
                );
                self.notice(text);
            }
            if differs || !are_known {
                self.apply_claims(sender, header.config_epoch, &header.slots);
            }
            self.update_if_stale(sender, header.config_epoch, &header.slots);
        }
    }

    /// Slots being moved to, or from, a node whose place the sender has taken go on with the sender.
    fn follow_targets(&mut self, sender: NodeIndex, epoch: u64) {
        if self.migrating.is_empty() && self.importing.is_empty() {
            return;
        }
        let replaced = |machine: &Self, node: NodeIndex| {
            node != sender && machine.same_shard(node, sender) && machine.node(node).config_epoch < epoch
        };
        let of = |open: &BTreeMap<u16, NodeIndex>| -> Vec<u16> {
            open.iter().filter(|(_, node)| replaced(self, **node)).map(|(slot, _)| *slot).collect()
        };
        let targets = of(&self.migrating).into_iter().map(|slot| (slot, true));
        let sources = of(&self.importing).into_iter().map(|slot| (slot, false));
        for (slot, leaves) in targets.chain(sources).collect::<Vec<_>>() {
            let open = if leaves { &mut self.migrating } else { &mut self.importing };
            open.insert(slot, sender);
            let [before, behind] = if leaves {
                ["Failover occurred in migration target. Slot", "is now being migrated to node"]
            } else {
                ["Failover occurred in migration source. Update importing source for slot", "to node"]
            };
            let (name, shard) = (self.name(sender), self.node(sender).shard_id);
            self.log(Level::Verbose, format!("{before} {slot} {behind} {name} in shard {shard}."));
            self.save_later();
        }
    }

    /// If the sender claims a slot of somebody whose epoch is higher, it is told.
    fn update_if_stale(&mut self, sender: NodeIndex, epoch: u64, claimed: &SlotBitmap) {
        if self.node(sender).slots == *claimed {
            return;
        }
        let owner = claimed.iter().find_map(|slot| {
            let owner = self.owners.of(slot).filter(|owner| *owner != sender)?;
            (!self.unclaimed.contains(slot) && self.node(owner).config_epoch > epoch).then_some(owner)
        });
        if let Some(owner) = owner {
            self.send_update(sender, owner);
        }
    }

    pub(super) fn send_update(&mut self, to: NodeIndex, about: NodeIndex) {
        let text = format!(
            "Node {} has old slots configuration, sending an UPDATE message about {}",
            self.name(to),
            self.name(about)
        );
        self.log(Level::Verbose, text);
        let node = self.node(about);
        let body = Body::Update { config_epoch: node.config_epoch, id: node.id.0, slots: node.slots.clone() };
        self.send_to(to, Kind::Update, body);
    }

    /// UPDATE: what another node knows of a third one.
    pub(super) fn process_update(
        &mut self,
        sender: NodeIndex,
        epoch: u64,
        id: &[u8; 40],
        slots: &SlotBitmap,
    ) {
        let Some(index) = NodeId::parse(id).and_then(|id| self.find(&id)) else { return };
        if self.node(index).config_epoch >= epoch {
            return;
        }
        let text = format!(
            "Processing UPDATE message received from {} in shard {} about node {} in shard {}. old configEpoch {}, new configEpoch {epoch}",
            self.name(sender),
            self.node(sender).shard_id,
            self.name(index),
            self.node(index).shard_id,
            self.node(index).config_epoch
        );
        self.log(Level::Verbose, text);
        if index == self.me {
            return self.log(Level::Warning, "Discarding UPDATE message about myself.".to_owned());
        }
        self.make_primary(index);
        self.node_mut(index).config_epoch = epoch;
        self.current_epoch = self.current_epoch.max(epoch);
        self.save_safely();
        self.apply_claims(index, epoch, slots);
    }

    /// Rebinds the slots a node claims with an epoch, and what follows from that for this node.
    pub(super) fn apply_claims(&mut self, sender: NodeIndex, epoch: u64, claimed: &SlotBitmap) {
        if sender == self.me {
            return;
        }
        let mine = self.my_primary_or_me();
        let mut lost = Vec::new();
        let mut lost_from_mine = false;
        let mut take = Vec::new();
        let mut ranges: Vec<(NodeIndex, u16, u16)> = Vec::new();
        let claims_any = !claimed.is_empty();
        let mistaken = self.claimed_by_mistake(sender, claimed);
        for slot in self.node(sender).slots.clone().iter().filter(|slot| !claimed.contains(*slot)) {
            self.unclaimed.insert(slot);
        }
        if self.me().is_primary() {
            let abandoned = |slot: &Slot| !claimed.contains(*slot);
            let from_sender = self.importing.iter().filter(|(_, source)| **source == sender);
            take.extend(from_sender.map(|(number, _)| Slot(*number)).filter(abandoned));
        }
        for slot in claimed.iter() {
            let number = slot.0;
            let owner = self.owners.of(slot);
            if owner == Some(sender) {
                self.unclaimed.remove(slot);
                continue;
            }
            let open = owner.is_none_or(|_| self.unclaimed.contains(slot));
            let newer = owner.is_some_and(|owner| self.node(owner).config_epoch < epoch);
            if !open && !newer && !self.granted.contains(slot) || mistaken.contains(slot) {
                continue;
            }
            if owner == Some(self.me) {
                lost.push(slot);
            }
            if owner == Some(mine) {
                lost_from_mine = true;
            }
            if let Some(owner) = owner.filter(|owner| !self.same_shard(*owner, sender)) {
                match ranges.last_mut() {
                    Some((from, _, end)) if *from == owner && *end + 1 == number => *end = number,
                    _ => ranges.push((owner, number, number)),
                }
            }
            self.settle_open_slot(number, sender);
            self.set_owner(slot, Some(sender));
            self.granted.remove(slot);
            self.update_state_later();
            self.save_safely();
        }
        if !mistaken.is_empty() && epoch > self.me().config_epoch {
            // All others are to know whose they are.
            self.current_epoch = self.current_epoch.max(epoch);
            self.bump_epoch_without_consensus();
        }
        for (from, start, end) in ranges {
            let text = format!(
                "Slot range [{start}, {end}] is migrated from node {} in shard {} to node {} in shard {}.",
                self.name(from),
                self.node(from).shard_id,
                self.name(sender),
                self.node(sender).shard_id
            );
            self.notice(text);
        }
        self.take_abandoned(sender, &take);
        let same = self.same_shard(sender, self.me);
        let follows = |machine: &Self| machine.settings.allow_replica_migration || same;
        if lost_from_mine && self.node(mine).slot_count == 0 && follows(self) && self.me().slot_count == 0 {
            self.announce_reconfiguration(sender);
            self.follow(sender, !same, !same);
            self.todo.broadcast = true;
            self.todo.fsync = true;
        } else if self.me().is_primary()
            && same
            && !claims_any
            && self.me().slot_count == 0
            && self.me().config_epoch < epoch
            && self.node(sender).is_primary()
        {
            // Two primaries of one shard without slots: the older one follows.
            self.announce_reconfiguration(sender);
            self.follow(sender, false, false);
            self.todo.broadcast = true;
            self.todo.fsync = true;
        } else if !lost.is_empty() {
            if self.me().slot_count == 0 && self.me().is_primary() {
                let text = format!(
                    "My last slot was migrated to node {} in shard {}. I am now an empty primary.",
                    self.name(sender),
                    self.node(sender).shard_id
                );
                self.notice(text);
            }
            self.out.push(Output::DeleteKeys { slots: lost });
        }
    }

    fn announce_reconfiguration(&mut self, to: NodeIndex) {
        let text = format!(
            "Configuration change detected. Reconfiguring myself as a replica of node {} in shard {}",
            self.name(to),
            self.node(to).shard_id
        );
        self.notice(text);
    }

    /// A slot that is being moved has a new owner.
    fn settle_open_slot(&mut self, number: u16, sender: NodeIndex) {
        if self.migrating.contains_key(&number) && !self.same_shard(sender, self.me) {
            let to = self.migrating.remove(&number).expect("just seen");
            let text = format!(
                "Slot {number} is no longer being migrated to node {} in shard {}.",
                self.name(to),
                self.node(to).shard_id
            );
            self.notice(text);
        }
        if let Some(&from) = self.importing.get(&number)
            && from != sender
        {
            let (name, shard) = if self.same_shard(from, sender) {
                self.importing.insert(number, sender);
                (self.name(sender), self.node(sender).shard_id)
            } else {
                self.importing.remove(&number);
                (self.name(from), self.node(from).shard_id)
            };
            let text = if self.importing.contains_key(&number) {
                format!(
                    "Failover occurred in migration source. Update importing source for slot {number} to node {name} in shard {shard}."
                )
            } else {
                format!("Slot {number} is no longer being imported from node {name} in shard {shard}.")
            };
            self.notice(text);
        }
    }

    /// Slots this node imports from `source`, which has stopped claiming them: the import is finished here.
    fn take_abandoned(&mut self, source: NodeIndex, slots: &[Slot]) {
        let mut took = false;
        for &slot in slots {
            self.importing.remove(&slot.0);
            let text = format!(
                "Slot {} is no longer being imported from node {} in shard {}; Clear my importing source for the slot.",
                slot.0,
                self.name(source),
                self.node(source).shard_id
            );
            self.notice(text);
            if self.owners.of(slot) != Some(self.me) {
                self.set_owner(slot, Some(self.me));
                took = true;
            }
            self.save_safely();
            self.update_state_later();
        }
        if took {
            self.bump_epoch_without_consensus();
        }
    }

    /// Takes the highest epoch without asking anybody. The new epoch, unless this node had it already.
    pub(super) fn bump_epoch_without_consensus(&mut self) -> Option<u64> {
        let highest = self.highest_epoch();
        let mine = self.me().config_epoch;
        if mine != 0 && mine == highest {
            return None;
        }
        self.current_epoch += 1;
        let epoch = self.current_epoch;
        self.me_mut().config_epoch = epoch;
        self.save_safely();
        self.todo.broadcast = true;
        self.notice(format!("New configEpoch set to {epoch}"));
        Some(epoch)
    }

    fn highest_epoch(&self) -> u64 {
        self.nodes().map(|(_, node)| node.config_epoch).fold(self.current_epoch, u64::max)
    }

    /// Another primary has this node's epoch: the one with the smaller name moves on.
    pub(super) fn resolve_collision(&mut self, sender: NodeIndex) {
        if !self.node(sender).is_primary() || self.node(sender).id <= self.me().id {
            return;
        }
        self.current_epoch += 1;
        let epoch = self.current_epoch;
        self.me_mut().config_epoch = epoch;
        self.save_safely();
        let text =
            format!("configEpoch collision with node {}. configEpoch set to {epoch}", self.name(sender));
        self.notice(text);
    }

    /// The slots a node claims in what it sends. Those this node has granted to another are that one's already: claimed
    /// with an epoch raised meanwhile, they would be taken away from it again.
    pub(super) fn claimed_by(&self, index: NodeIndex) -> SlotBitmap {
        let mut slots = self.node(index).slots.clone();
        if index == self.me && !self.granted.is_empty() {
            for slot in self.granted.iter() {
                slots.remove(slot);
            }
        }
        slots
    }

    /// Slots taken from the sender that it claims because it has not heard of that.
    fn claimed_by_mistake(&mut self, sender: NodeIndex, claimed: &SlotBitmap) -> SlotBitmap {
        let mut mistaken = SlotBitmap::default();
        if self.taken.is_empty() {
            return mistaken;
        }
        let (now, me, owners) = (self.facts.now, self.me, &self.owners);
        let timeout = self.settings.node_timeout;
        self.taken.retain_mut(|taken| {
            // A source that never hears of it is not to be waited for.
            if now - taken.at > timeout {
                return false;
            }
            let old = if taken.from == sender { taken.slots.clone() } else { SlotBitmap::default() };
            for slot in old.iter() {
                if owners.of(slot) == Some(me) && claimed.contains(slot) {
                    mistaken.insert(slot);
                } else if now - taken.at > STRAGGLE_MS {
                    taken.slots.remove(slot);
                }
            }
            !taken.slots.is_empty()
        });
        mistaken
    }

    /// Takes slots by an atomic migration: with the highest epoch, without consensus.
    pub fn claim_slots(&mut self, facts: Facts, slots: &[Slot]) -> Result<u64, String> {
        self.facts = facts;
        if !self.me().is_primary() {
            return Err("Slot migration can only be used on primary nodes.".to_owned());
        }
        for &slot in slots {
            self.importing.remove(&slot.0);
            let from = self.owners.of(slot).filter(|owner| *owner != self.me);
            self.set_owner(slot, Some(self.me));
            let Some(from) = from else { continue };
            match self.taken.iter_mut().find(|taken| taken.from == from && taken.at == facts.now) {
                Some(taken) => {
                    taken.slots.insert(slot);
                }
                None => {
                    let mut only = SlotBitmap::default();
                    only.insert(slot);
                    self.taken.push(Taken { from, slots: only, at: facts.now });
                }
            }
        }
        self.bump_epoch_without_consensus();
        self.save_safely();
        self.update_state_later();
        self.todo.broadcast = true;
        self.finish();
        Ok(self.me().config_epoch)
    }

    /// Lets whoever claims these slots next have them, or stops doing so.
    pub fn grant_slots(&mut self, slots: &[Slot], granted: bool) {
        for &slot in slots {
            if granted {
                self.granted.insert(slot);
                // Whoever claims it next may.
                for taken in &mut self.taken {
                    taken.slots.remove(slot);
                }
            } else {
                self.granted.remove(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two primaries that know each other: the machine of one, and where it has the other.
    fn machine(seed: u64, own: std::ops::Range<u16>, theirs: std::ops::Range<u16>) -> (Machine, NodeIndex) {
        let mut machine = Machine::new(Settings::default(), Facts::default(), seed);
        let mut rng = Rng::new(seed + 100);
        let other = Node::new(NodeId::random(&mut rng), NodeId::random(&mut rng), flag::PRIMARY, 0);
        let other = machine.add_node(other);
        own.for_each(|slot| machine.set_owner(Slot(slot), Some(machine.me)));
        theirs.for_each(|slot| machine.set_owner(Slot(slot), Some(other)));
        (machine, other)
    }

    fn bitmap(slots: impl IntoIterator<Item = u16>) -> SlotBitmap {
        let mut bitmap = SlotBitmap::default();
        slots.into_iter().for_each(|slot| {
            bitmap.insert(Slot(slot));
        });
        bitmap
    }

    #[test]
    fn a_source_that_raises_its_epoch_takes_nothing_back() {
        let (mut machine, source) = machine(1, 0..10, 10..20);
        machine.me_mut().config_epoch = 5;
        machine.node_mut(source).config_epoch = 4;
        machine.current_epoch = 5;
        let epoch = machine.claim_slots(Facts::default(), &[Slot(10), Slot(11)]).expect("a primary");
        assert_eq!(epoch, 5, "it was the highest already");
        // The source has taken slot 0 meanwhile, and has not heard of the claim.
        let claims = bitmap((10..20).chain([0]));
        machine.node_mut(source).config_epoch = 6;
        machine.apply_claims(source, 6, &claims);
        assert!([10, 11].iter().all(|slot| machine.owners.of(Slot(*slot)) == Some(machine.me)));
        assert_eq!(machine.owners.of(Slot(0)), Some(source), "what it did take");
        assert_eq!(machine.me().config_epoch, 7, "all are to know");
        // It has heard of it; what it sent before that may still come.
        machine.apply_claims(source, 6, &bitmap((12..20).chain([0])));
        machine.apply_claims(source, 8, &claims);
        assert_eq!((machine.owners.of(Slot(10)), machine.me().config_epoch), (Some(machine.me), 9));
        // From then on a newer claim of its is one.
        machine.facts.now += STRAGGLE_MS + 1;
        machine.apply_claims(source, 8, &bitmap((12..20).chain([0])));
        assert!(machine.taken.is_empty());
        machine.apply_claims(source, 10, &bitmap((10..20).chain([0])));
        assert_eq!(machine.owners.of(Slot(10)), Some(source));
        machine.assert_consistent();
    }

    #[test]
    fn slots_may_go_back_at_once() {
        let (mut machine, source) = machine(1, 0..10, 10..20);
        let epoch = machine.claim_slots(Facts::default(), &[Slot(10)]).expect("a primary");
        machine.grant_slots(&[Slot(10)], true);
        machine.apply_claims(source, epoch + 1, &bitmap(10..20));
        assert_eq!((machine.owners.of(Slot(10)), machine.me().config_epoch), (Some(source), epoch));
    }

    #[test]
    fn a_claim_that_is_never_heard_of_is_given_up_in_the_end() {
        let (mut machine, source) = machine(1, 0..10, 10..20);
        let now = Facts { now: 1000, ..Facts::default() };
        let epoch = machine.claim_slots(now, &[Slot(10)]).expect("a primary");
        machine.facts.now += machine.settings.node_timeout + 1;
        machine.apply_claims(source, epoch + 1, &bitmap(10..20));
        assert_eq!(machine.owners.of(Slot(10)), Some(source));
    }

    #[test]
    fn what_is_granted_is_not_claimed() {
        let (mut machine, _) = machine(1, 0..10, 10..20);
        machine.grant_slots(&[Slot(3)], true);
        assert_eq!(machine.header(Kind::Pong).slots, bitmap((0..10).filter(|slot| *slot != 3)));
        machine.grant_slots(&[Slot(3)], false);
        assert_eq!(machine.header(Kind::Pong).slots, bitmap(0..10));
    }
}

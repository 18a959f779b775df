//! Who is a primary, and who follows whom.

use super::*;
use crate::cluster::packet::Header;

impl Machine {
    pub(super) fn add_replica(&mut self, primary: NodeIndex, replica: NodeIndex) {
        let node = self.node_mut(primary);
        if !node.replicas.contains(&replica) {
            node.replicas.push(replica);
        }
        node.flags |= flag::MIGRATE_TO;
        self.todo.changed = true;
    }

    pub(super) fn remove_replica(&mut self, primary: NodeIndex, replica: NodeIndex) {
        let node = self.node_mut(primary);
        node.replicas.retain(|other| *other != replica);
        if node.replicas.is_empty() {
            node.flags &= !flag::MIGRATE_TO;
        }
        self.todo.changed = true;
    }

    /// A node is a primary from now on.
    pub(super) fn make_primary(&mut self, index: NodeIndex) {
        if self.node(index).is_primary() {
            return;
        }
        if index != self.me {
            let text = format!(
                "Reconfiguring node {} as primary for shard {}",
                self.name(index),
                self.node(index).shard_id
            );
            self.notice(text);
        }
        if let Some(primary) = self.node(index).primary {
            self.remove_replica(primary, index);
            if index != self.me {
                self.node_mut(index).flags |= flag::MIGRATE_TO;
            }
        }
        let node = self.node_mut(index);
        node.flags &= !flag::REPLICA;
        node.flags |= flag::PRIMARY;
        node.primary = None;
        self.save_later();
        self.update_state_later();
    }

    /// This node follows `index` from now on. It must have no slots.
    pub(super) fn follow(&mut self, index: NodeIndex, close_slots: bool, full_sync: bool) {
        debug_assert!(index != self.me && self.me().slot_count == 0);
        if self.me().is_primary() {
            let me = self.me_mut();
            me.flags &= !(flag::PRIMARY | flag::MIGRATE_TO);
            me.flags |= flag::REPLICA;
        } else if let Some(old) = self.me().primary {
            self.remove_replica(old, self.me);
        }
        if close_slots {
            self.migrating.clear();
            self.importing.clear();
        }
        self.strangers.clear();
        self.me_mut().primary = Some(index);
        self.me_mut().shard_id = self.node(index).shard_id;
        self.add_replica(index, self.me);
        self.replicate_from(index, full_sync);
        self.reset_manual_failover();
        self.election.forget();
        self.granted = SlotBitmap::default();
        self.taken.clear();
        self.save_later();
        self.update_state_later();
    }

    /// Takes over what a header says of its sender's role. False if the packet is stale and to be left alone.
    pub(super) fn process_role(&mut self, sender: NodeIndex, header: &Header) -> bool {
        let Some(primary_id) = &header.replica_of else {
            if self.node(sender).is_replica() {
                self.announce_role(sender, "primary");
                self.make_primary(sender);
            }
            return true;
        };
        // A node that says it follows itself says nothing.
        if *primary_id == self.node(sender).id {
            return true;
        }
        let primary = self.find(primary_id);
        if self.node(sender).is_primary() {
            self.announce_role(sender, "replica");
            match primary.filter(|primary| self.same_shard(*primary, sender)) {
                Some(primary) => {
                    let epoch = header.config_epoch;
                    if self.node(sender).config_epoch > epoch || self.node(primary).config_epoch > epoch {
                        let known = self.node(sender).config_epoch.max(self.node(primary).config_epoch);
                        let text = format!(
                            "Ignore stale message from {} in shard {}; gossip config epoch: {epoch}, current config epoch: {known}",
                            self.name(sender),
                            self.node(sender).shard_id
                        );
                        self.log(Level::Verbose, text);
                        return false;
                    }
                    if self.node(primary).is_replica() && primary != self.me {
                        self.hand_over(sender, primary, epoch);
                    }
                    // What it owned beyond that is owned by nobody.
                    self.drop_slots_of(sender);
                }
                None => {
                    let slots = self.drop_slots_of(sender);
                    let text = format!(
                        "Node {} is no longer primary of shard {}; removed all {slots} slot(s) it used to own",
                        self.name(sender),
                        self.node(sender).shard_id
                    );
                    self.notice(text);
                }
            }
            let node = self.node_mut(sender);
            node.flags &= !(flag::PRIMARY | flag::MIGRATE_TO);
            node.flags |= flag::REPLICA;
            self.save_later();
            self.update_state_later();
        }
        if let Some(primary) = primary
            && self.node(sender).primary != Some(primary)
        {
            self.attach(sender, primary);
        }
        true
    }

    fn announce_role(&mut self, sender: NodeIndex, role: &str) {
        let text = format!(
            "node {} announces that it is a {role} in shard {}",
            self.name(sender),
            self.node(sender).shard_id
        );
        self.log(Level::Debug, text);
    }

    /// A failover has happened that is learnt from the node that lost: its slots are now its new primary's.
    fn hand_over(&mut self, from: NodeIndex, to: NodeIndex, epoch: u64) {
        let slots: Vec<Slot> = self.node(from).slots.iter().collect();
        for slot in &slots {
            self.set_owner(*slot, Some(to));
            self.unclaimed.remove(*slot);
        }
        for (open, text) in [
            (&mut self.importing, "source. Update importing source"),
            (&mut self.migrating, "target. Update migrating target"),
        ] {
            let mut moved = 0;
            for node in open.values_mut().filter(|node| **node == from) {
                *node = to;
                moved += 1;
            }
            if moved > 0 {
                let node = self.nodes[to].as_ref().expect("known");
                self.out.push(Output::Log(
                    Level::Notice,
                    format!(
                        "A failover occurred in migration {text} of {moved} slot(s) to node {} ({}) in shard {}.",
                        node.id,
                        node.shown_name(),
                        node.shard_id
                    ),
                ));
            }
        }
        let text = format!(
            "A failover occurred in shard {}; node {} lost {} slot(s) and failed over to node {} with a config epoch of {epoch}",
            self.node(from).shard_id,
            self.name(from),
            slots.len(),
            self.name(to)
        );
        self.notice(text);
        self.make_primary(to);
        self.node_mut(to).config_epoch = epoch;
        self.save_safely();
    }

    pub(super) fn drop_slots_of(&mut self, index: NodeIndex) -> usize {
        let slots: Vec<Slot> = self.node(index).slots.iter().collect();
        slots.iter().for_each(|slot| self.set_owner(*slot, None));
        slots.len()
    }

    /// A replica has another primary than was known.
    fn attach(&mut self, replica: NodeIndex, primary: NodeIndex) {
        if let Some(old) = self.node(replica).primary {
            self.remove_replica(old, replica);
        }
        self.node_mut(replica).primary = Some(primary);
        self.add_replica(primary, replica);
        let text = format!(
            "Node {} is now a replica of node {} in shard {}",
            self.name(replica),
            self.name(primary),
            self.node(primary).shard_id
        );
        self.notice(text);
        let shard = self.node(primary).shard_id;
        // Whoever follows this node's primary's primary: this node does too.
        if let Some(mine) = self.me().primary
            && let Some(above) = self.node(mine).primary
            && above != self.me
            && mine != above
        {
            let text = format!(
                "I'm a sub-replica! Reconfiguring myself as a replica of {} from {}",
                self.node(above).id,
                self.node(mine).id
            );
            self.notice(text);
            let same = self.same_shard(above, self.me);
            self.follow(above, true, !same);
            self.todo.broadcast = true;
        }
        self.node_mut(replica).shard_id = shard;
        self.save_later();
        self.update_state_later();
    }
}

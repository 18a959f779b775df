//! What operators order (spec page cluster-bus.md, section 18.2). The texts of refusals are those of Valkey, without
//! the `ERR`.

use super::*;

/// Why an order is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

impl<T: Into<String>> From<T> for Refusal {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

/// The result of an order.
pub type Ordered<T = ()> = Result<T, Refusal>;

/// How CLUSTER FAILOVER goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailoverKind {
    /// Together with the primary.
    Default,
    /// By an election, without the primary.
    Force,
    /// Without asking anybody.
    Takeover,
}

impl Machine {
    pub(super) fn add_handshake_node(&mut self, ip: String, cport: u16, more_flags: u16) -> NodeIndex {
        let id = NodeId::random(&mut self.rng);
        let shard = NodeId::random(&mut self.rng);
        let node = Node::new(id, shard, flag::HANDSHAKE | more_flags, self.facts.now);
        let index = self.add_node(node);
        let node = self.node_mut(index);
        node.ip = ip;
        node.cport = cport;
        index
    }

    /// CLUSTER MEET. False if the address is none.
    pub fn meet(&mut self, facts: Facts, ip: &str, port: u16, cport: u16) -> bool {
        self.facts = facts;
        let Ok(ip) = ip.parse::<std::net::IpAddr>() else { return false };
        if port == 0 || cport == 0 {
            return false;
        }
        let ip = ip.to_string();
        let tls = self.settings.tls_cluster;
        let pending = self.nodes().any(|(_, node)| {
            let own_port = if tls { node.tls_port } else { node.tcp_port };
            node.in_handshake() && node.ip == ip && node.cport == cport && own_port == port
        });
        if !pending {
            let index = self.add_handshake_node(ip, cport, flag::MEET);
            self.set_ports(index, port, 0, cport);
        }
        self.finish();
        true
    }

    /// CLUSTER FORGET.
    pub fn forget(&mut self, facts: Facts, id: &[u8]) -> Ordered {
        self.facts = facts;
        let named = NodeId::parse(id);
        let Some(index) = named.and_then(|id| self.find(&id)) else {
            if named.is_some_and(|id| self.blacklist.get(&id).is_some_and(|until| *until > facts.now)) {
                return Ok(());
            }
            return Err(unknown(id));
        };
        if index == self.me {
            return Err("I tried hard but I can't forget myself...".into());
        }
        if self.me().is_replica() && self.me().primary == Some(index) {
            return Err("Can't forget my master!".into());
        }
        let until = facts.now + self.settings.blacklist_ttl_s.saturating_mul(1000);
        self.blacklist.insert(self.node(index).id, until);
        self.remove_node(index);
        self.update_state_later();
        self.save_later();
        // The others hear at once that the node is forgotten.
        self.todo.broadcast = true;
        self.finish();
        Ok(())
    }

    /// CLUSTER REPLICATE. `is_empty`: there are no keys here.
    pub fn replicate(&mut self, facts: Facts, id: &[u8], is_empty: bool) -> Ordered {
        self.facts = facts;
        let index = NodeId::parse(id).and_then(|id| self.find(&id)).ok_or_else(|| unknown(id))?;
        if index == self.me {
            return Err("Can't replicate myself".into());
        }
        if self.node(index).is_replica() {
            return Err("I can only replicate a master, not a replica.".into());
        }
        if self.me().primary == Some(index) {
            return Ok(());
        }
        // A replica may have been given slots that nobody had.
        if self.me().slot_count > 0 || self.me().is_primary() && !is_empty {
            return Err("To set a master the node must be empty and without assigned slots.".into());
        }
        self.follow(index, true, true);
        self.todo.broadcast = true;
        self.finish();
        Ok(())
    }

    /// CLUSTER REPLICATE NO ONE.
    pub fn replicate_no_one(&mut self, facts: Facts) {
        self.facts = facts;
        if self.me().is_primary() {
            return;
        }
        self.become_empty_primary();
        let shard = NodeId::random(&mut self.rng);
        self.me_mut().shard_id = shard;
        self.notice(format!("Moving myself to a new shard {shard}."));
        self.todo.broadcast = true;
        self.save_safely();
        self.finish();
    }

    fn become_empty_primary(&mut self) {
        self.reset_manual_failover();
        self.election.forget();
        self.make_primary(self.me);
        self.out.push(Output::StopReplicating);
        self.out.push(Output::FlushAll);
    }

    /// CLUSTER RESET. `is_empty`: there are no keys here.
    pub fn reset(&mut self, facts: Facts, hard: bool, is_empty: bool) -> Ordered {
        self.facts = facts;
        if self.me().is_primary() && !is_empty {
            return Err("CLUSTER RESET can't be called with master nodes containing keys".into());
        }
        if self.me().is_replica() {
            self.become_empty_primary();
        }
        self.migrating.clear();
        self.importing.clear();
        self.strangers.clear();
        self.granted = SlotBitmap::default();
        self.taken.clear();
        self.reset_manual_failover();
        for slot in 0..SLOTS as u16 {
            self.set_owner(Slot(slot), None);
        }
        for index in self.indices() {
            if index != self.me {
                self.remove_node(index);
            }
        }
        self.blacklist.clear();
        let shard = NodeId::random(&mut self.rng);
        self.me_mut().shard_id = shard;
        self.me_mut().flags &= !flag::MIGRATE_TO;
        self.notice(format!("Moving myself to a new shard {shard}."));
        if hard {
            self.current_epoch = 0;
            self.last_vote_epoch = 0;
            self.me_mut().config_epoch = 0;
            self.notice("configEpoch set to 0 via CLUSTER RESET HARD".to_owned());
            let (old, id) = (self.me().id, NodeId::random(&mut self.rng));
            self.by_id.remove(&old);
            self.by_id.insert(id, self.me);
            self.me_mut().id = id;
            self.notice(format!("Node hard reset, now I'm {id}"));
        }
        // Connections that were accepted from nodes that are forgotten now would be bound to nobody.
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            self.close_link(link);
        }
        self.save_safely();
        self.update_state_later();
        self.finish();
        Ok(())
    }

    /// CLUSTER SET-CONFIG-EPOCH.
    pub fn set_config_epoch(&mut self, facts: Facts, epoch: i64) -> Ordered {
        self.facts = facts;
        let Ok(wanted) = u64::try_from(epoch) else {
            return Err(format!("Invalid config epoch specified: {epoch}").into());
        };
        if self.known_nodes() > 1 {
            return Err(
                "The user can assign a config epoch only when the node does not know any other node.".into(),
            );
        }
        if self.me().config_epoch != 0 {
            return Err("Node config epoch is already non-zero".into());
        }
        self.me_mut().config_epoch = wanted;
        self.notice(format!("configEpoch set to {wanted} via CLUSTER SET-CONFIG-EPOCH"));
        self.current_epoch = self.current_epoch.max(wanted);
        self.update_state_later();
        self.save_later();
        self.finish();
        Ok(())
    }

    /// CLUSTER BUMPEPOCH: the epoch, and whether it is a new one.
    pub fn bump_epoch(&mut self, facts: Facts) -> (u64, bool) {
        self.facts = facts;
        let bumped = self.bump_epoch_without_consensus();
        self.finish();
        (self.me().config_epoch, bumped.is_some())
    }

    /// CLUSTER ADDSLOTS and ADDSLOTSRANGE; the slots are distinct.
    pub fn add_slots(&mut self, facts: Facts, slots: &[Slot]) -> Ordered {
        self.facts = facts;
        if let Some(busy) = slots.iter().find(|slot| self.owners.of(**slot).is_some()) {
            return Err(format!("Slot {} is already busy", busy.0).into());
        }
        for &slot in slots {
            self.importing.remove(&slot.0);
            self.set_owner(slot, Some(self.me));
        }
        self.update_state_later();
        self.save_later();
        self.finish();
        Ok(())
    }

    /// CLUSTER DELSLOTS and DELSLOTSRANGE; the slots are distinct.
    pub fn delete_slots(&mut self, facts: Facts, slots: &[Slot]) -> Ordered {
        self.facts = facts;
        if let Some(free) = slots.iter().find(|slot| self.owners.of(**slot).is_none()) {
            return Err(format!("Slot {} is already unassigned", free.0).into());
        }
        slots.iter().for_each(|slot| self.set_owner(*slot, None));
        self.update_state_later();
        self.save_later();
        self.finish();
        Ok(())
    }

    /// CLUSTER FLUSHSLOTS.
    pub fn flush_slots(&mut self, facts: Facts) {
        self.facts = facts;
        for slot in self.me().slots.clone().iter() {
            self.set_owner(slot, None);
        }
        self.update_state_later();
        self.save_later();
        self.finish();
    }

    /// CLUSTER FAILOVER. `who` describes the client for the log.
    pub fn failover(&mut self, facts: Facts, kind: FailoverKind, who: &str) -> Ordered {
        self.facts = facts;
        if self.me().is_primary() {
            return Err("You should send CLUSTER FAILOVER to a replica".into());
        }
        let Some(primary) = self.me().primary else {
            return Err("I'm a replica but my master is unknown to me".into());
        };
        let down = self.node(primary).failed() || self.node(primary).outbound.is_none();
        if down && kind == FailoverKind::Default {
            return Err("Master is down or failed, please use CLUSTER FAILOVER FORCE".into());
        }
        match kind {
            FailoverKind::Takeover => {
                self.notice(format!("Taking over the primary (user request from '{who}')."));
                self.reset_manual_failover();
                self.bump_epoch_without_consensus();
                self.take_over();
            }
            FailoverKind::Force => {
                self.notice(format!("Forced failover user request accepted (user request from '{who}')."));
                self.force_manual_failover();
            }
            FailoverKind::Default => {
                self.notice(format!("Manual failover user request accepted (user request from '{who}')."));
                self.start_manual_failover(primary);
            }
        }
        self.finish();
        Ok(())
    }

    /// The primary of this node shuts down and has chosen a replica to take over: this one, if the id is its own.
    pub fn failover_of_shutdown(&mut self, facts: Facts, chosen: &[u8], who: &str) {
        self.facts = facts;
        if self.me().is_replica() && self.me().primary.is_some() && chosen == self.me().id.as_bytes() {
            self.notice(format!("Forced failover primary request accepted (primary request from '{who}')."));
            self.force_manual_failover();
        }
        self.finish();
    }

    /// CLUSTER SAVECONFIG, and before the process ends.
    pub fn save_now(&mut self) {
        self.todo.save = true;
        self.todo.fsync = true;
        self.finish();
    }
}

pub(super) fn unknown(id: &[u8]) -> Refusal {
    Refusal(format!("Unknown node {}", String::from_utf8_lossy(id)))
}

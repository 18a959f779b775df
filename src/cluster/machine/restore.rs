//! From the machine to `nodes.conf` and back, and to the snapshot.

use super::*;
use crate::cluster::config_file::{Saved, SavedNode};
use crate::cluster::topology::{NO_OWNER, Role, Topology, TopologyNode};

impl Machine {
    /// What the file is to hold now.
    pub fn saved(&self) -> Saved {
        Saved {
            nodes: self
                .nodes()
                .filter(|(_, node)| !node.in_handshake())
                .map(|(index, _)| self.saved_node(index))
                .collect(),
            current_epoch: self.current_epoch,
            last_vote_epoch: self.last_vote_epoch,
            unknown_variables: Vec::new(),
        }
    }

    /// One node's line.
    pub fn saved_node(&self, index: NodeIndex) -> SavedNode {
        let node = self.node(index);
        let open = |slots: &BTreeMap<u16, NodeIndex>| {
            if index == self.me {
                slots.iter().map(|(slot, other)| (*slot, self.node(*other).id)).collect()
            } else {
                Vec::new()
            }
        };
        SavedNode {
            id: node.id,
            ip: node.ip.clone(),
            tcp_port: node.tcp_port,
            tls_port: node.tls_port,
            cport: node.cport,
            announced: node.announced.clone(),
            shard_id: Some(node.shard_id),
            flags: node.flags,
            primary: node.primary.map(|primary| self.node(primary).id),
            ping_sent: node.ping_sent,
            pong_received: node.pong_received,
            config_epoch: self.effective_epoch(index),
            connected: index == self.me || node.outbound.is_some(),
            slots: node.slots.ranges(),
            migrating: open(&self.migrating),
            importing: open(&self.importing),
        }
    }

    /// A node that has lived before.
    pub fn restore(saved: &Saved, settings: Settings, facts: Facts, seed: u64) -> Self {
        let mut machine = Self::new(settings, facts, seed);
        let placeholder = machine.me().id;
        machine.by_id.remove(&placeholder);
        machine.nodes.clear();
        let persistent = flag::MYSELF
            | flag::PRIMARY
            | flag::REPLICA
            | flag::PFAIL
            | flag::FAIL
            | flag::NOADDR
            | flag::NOFAILOVER;
        for line in &saved.nodes {
            let shard = line.shard_id.unwrap_or_else(|| NodeId::random(&mut machine.rng));
            let mut node = Node::new(line.id, shard, line.flags & persistent, facts.now);
            if node.has(flag::NOADDR) {
                node.flags |= flag::FAIL;
            }
            if node.failed() {
                node.flags &= !flag::PFAIL;
                node.fail_time = facts.now;
            }
            node.ip = line.ip.clone();
            (node.tcp_port, node.tls_port, node.cport) = (line.tcp_port, line.tls_port, line.cport);
            node.announced = line.announced.clone();
            let set = |time: i64| if time == 0 { 0 } else { facts.now };
            (node.ping_sent, node.pong_received) = (set(line.ping_sent), set(line.pong_received));
            if node.is_primary() {
                node.config_epoch = line.config_epoch;
            }
            let is_me = node.has(flag::MYSELF);
            let index = machine.add_node(node);
            if is_me {
                machine.me = index;
            }
        }
        for line in &saved.nodes {
            let Some(index) = machine.find(&line.id) else { continue };
            for &(start, end) in &line.slots {
                (start..=end).for_each(|slot| machine.set_owner(Slot(slot), Some(index)));
            }
            if let Some(primary) = &line.primary {
                let primary = match machine.find(primary) {
                    Some(primary) => primary,
                    // Named but not described: it is filled in by gossip.
                    None => {
                        let shard = NodeId::random(&mut machine.rng);
                        machine.add_node(Node::new(*primary, shard, flag::NOADDR, facts.now))
                    }
                };
                if primary != index && machine.node(index).is_replica() {
                    // A damaged file may describe a node twice.
                    if let Some(old) = machine.node(index).primary {
                        machine.remove_replica(old, index);
                    }
                    machine.node_mut(index).primary = Some(primary);
                    machine.add_replica(primary, index);
                    let shard = machine.node(primary).shard_id;
                    machine.node_mut(index).shard_id = shard;
                }
            }
            for (open, importing) in [(&line.migrating, false), (&line.importing, true)] {
                for (slot, other) in open.iter() {
                    if let Some(other) = machine.find(other) {
                        let slots = if importing { &mut machine.importing } else { &mut machine.migrating };
                        slots.insert(*slot, other);
                    }
                }
            }
        }
        // A replica that does not know its primary could tell nobody whom it follows.
        for index in machine.indices() {
            let node = machine.node_mut(index);
            if node.is_primary() == node.is_replica() || node.is_replica() && node.primary.is_none() {
                node.flags &= !flag::REPLICA;
                node.flags |= flag::PRIMARY;
            }
        }
        machine.last_vote_epoch = saved.last_vote_epoch;
        machine.current_epoch =
            saved.nodes.iter().map(|node| node.config_epoch).fold(saved.current_epoch, u64::max);
        machine.todo = Todo { update_state: true, changed: true, ..Todo::default() };
        machine.apply_settings();
        if let Some(primary) = machine.me().primary {
            machine.replicate_from(primary, false);
        }
        machine
    }

    /// Ends the construction: what it led to becomes outputs.
    pub fn start(&mut self, facts: Facts) {
        self.facts = facts;
        self.todo.save = true;
        self.todo.changed = true;
        self.finish();
    }

    /// The owners as places of the snapshot. Most snapshots differ from the one before in something else.
    fn shown_owners(&mut self, indices: Vec<NodeIndex>, places: &[usize]) -> Arc<[u16]> {
        if let Some((nodes, owners)) = self.shown_owners.as_ref()
            && *nodes == indices
        {
            return owners.clone();
        }
        let place = |owner: Option<NodeIndex>| owner.map_or(NO_OWNER, |index| places[index] as u16);
        let owners: Arc<[u16]> = self.owners.iter().map(place).collect();
        self.shown_owners = Some((indices, owners.clone()));
        owners
    }

    /// The snapshot of now.
    pub fn topology(&mut self) -> Topology {
        let generation = self.next_generation();
        let indices = self.indices();
        let mut places = vec![usize::MAX; self.nodes.len()];
        for (place, index) in indices.iter().enumerate() {
            places[*index] = place;
        }
        let nodes = indices
            .iter()
            .map(|index| {
                let node = self.node(*index);
                TopologyNode {
                    id: node.id,
                    shard_id: node.shard_id,
                    role: if node.is_replica() { Role::Replica } else { Role::Primary },
                    primary: node.primary.map(|primary| places[primary]),
                    flags: node.flags,
                    config_epoch: self.effective_epoch(*index),
                    ip: node.ip.clone(),
                    tcp_port: node.tcp_port,
                    tls_port: node.tls_port,
                    cport: node.cport,
                    announced: node.announced.clone(),
                    slots: node.slot_count,
                }
            })
            .collect();
        let open = |slots: &BTreeMap<u16, NodeIndex>| {
            slots.iter().map(|(slot, index)| (*slot, places[*index])).collect()
        };
        Topology {
            generation,
            nodes,
            me: places[self.me],
            owners: self.shown_owners(indices, &places),
            migrating: open(&self.migrating),
            importing: open(&self.importing),
            state: self.state,
            size: self.size,
            current_epoch: self.current_epoch,
        }
    }
}

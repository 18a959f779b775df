//! Making packets.

use super::*;
use crate::cluster::packet::{Body, Extension, GossipEntry, Header, Packet, encode, message_flag};

impl Machine {
    /// The header this node sends now.
    pub(super) fn header(&self, kind: Kind) -> Header {
        let me = self.me();
        let speaks_for = self.node(self.my_primary_or_me());
        let (port, other_port) =
            if self.settings.tls_cluster { (me.tls_port, me.tcp_port) } else { (me.tcp_port, me.tls_port) };
        let mut message_flags = 0;
        if matches!(kind, Kind::Ping | Kind::Pong | Kind::Meet) {
            message_flags |= message_flag::EXTENSIONS;
        }
        if me.is_primary() && self.manual.is_pausing() {
            message_flags |= message_flag::PAUSED;
        }
        Header {
            sender: me.id,
            port,
            other_port,
            cport: me.cport,
            ip: self.settings.announce_ip.clone(),
            current_epoch: self.current_epoch,
            config_epoch: speaks_for.config_epoch,
            offset: self.facts.offset,
            slots: self.claimed_by(self.my_primary_or_me()),
            replica_of: me.primary.map(|primary| self.node(primary).id),
            flags: me.flags,
            state_fail: self.state == ClusterState::Fail,
            message_flags,
        }
    }

    pub(super) fn send(&mut self, link: LinkId, kind: Kind, bytes: Arc<[u8]>) {
        if !self.links.contains_key(&link) {
            return;
        }
        if self.settings.logs_packets {
            self.log_sending(link, kind);
        }
        self.stats.sent[kind as usize] += 1;
        let size = bytes.len() as u64;
        self.stats.bytes_sent += size;
        match kind {
            Kind::Publish | Kind::PublishShard => self.stats.publish_bytes_sent += size,
            Kind::Module => self.stats.module_bytes_sent += size,
            _ => {}
        }
        self.out.push(Output::Send { link, kind, bytes });
    }

    fn log_sending(&mut self, link: LinkId, kind: Kind) {
        let Some(link) = self.links.get(&link) else { return };
        let direction = if link.inbound { "inbound" } else { "outbound" };
        let name = link.node.map_or_else(|| "<unknown> ()".to_owned(), |index| self.name(index));
        self.log(Level::Debug, format!("Sending {} packet to node {name} on {direction} link", kind.name()));
    }

    fn encoded(&self, kind: Kind, body: Body) -> Arc<[u8]> {
        encode(&Packet { kind, header: Some(Box::new(self.header(kind))), body }).into()
    }

    /// Sends a packet on the connection this node has opened to another, if it has.
    pub(super) fn send_to(&mut self, index: NodeIndex, kind: Kind, body: Body) {
        if let Some(link) = self.node(index).outbound {
            let bytes = self.encoded(kind, body);
            self.send(link, kind, bytes);
        }
    }

    /// Sends the same packet to all known nodes.
    pub(super) fn broadcast(&mut self, kind: Kind, body: Body) {
        let bytes = self.encoded(kind, body);
        self.broadcast_bytes(kind, &bytes);
    }

    pub(super) fn broadcast_bytes(&mut self, kind: Kind, bytes: &Arc<[u8]>) {
        for index in self.indices() {
            let node = self.node(index);
            if node.has(flag::MYSELF | flag::HANDSHAKE) {
                continue;
            }
            if let Some(link) = node.outbound {
                self.send(link, kind, bytes.clone());
            }
        }
    }

    /// Tells everybody what this node is now.
    pub(super) fn broadcast_pong(&mut self) {
        for index in self.indices() {
            let node = self.node(index);
            if let Some(link) = node.outbound.filter(|_| !node.has(flag::MYSELF | flag::HANDSHAKE)) {
                self.send_ping(link, Kind::Pong);
            }
        }
    }

    /// Tells the other replicas of this node's primary.
    pub(super) fn pong_to_siblings(&mut self) {
        let Some(primary) = self.me().primary else { return };
        for index in self.node(primary).replicas.clone() {
            let node = self.node(index);
            if let Some(link) = node.outbound.filter(|_| !node.has(flag::MYSELF | flag::HANDSHAKE)) {
                self.send_ping(link, Kind::Pong);
            }
        }
    }

    /// Sends PING, PONG or MEET, with gossip.
    pub(super) fn send_ping(&mut self, id: LinkId, kind: Kind) {
        let Some(link) = self.links.get(&id) else { return };
        let (receiver, inbound, link_extensions) = (link.node, link.inbound, link.extensions);
        let now = self.facts.now;
        if let Some(index) = receiver.filter(|_| !inbound) {
            match kind {
                Kind::Ping => self.node_mut(index).ping_sent = now,
                Kind::Meet => self.node_mut(index).meet_sent = now,
                _ => {}
            }
        }
        let entries = self.choose_gossip(receiver);
        let understands =
            link_extensions || receiver.is_some_and(|index| self.node(index).has(flag::EXTENSIONS));
        let extensions = if understands { self.extensions() } else { Vec::new() };
        let bytes = self.encoded(kind, Body::Gossip { entries, extensions });
        self.send(id, kind, bytes);
    }

    fn gossip_entry(&self, index: NodeIndex) -> GossipEntry {
        let node = self.node(index);
        let (port, other_port) = if self.settings.tls_cluster {
            (node.tls_port, node.tcp_port)
        } else {
            (node.tcp_port, node.tls_port)
        };
        GossipEntry {
            id: node.id.0,
            ping_sent: (node.ping_sent / 1000) as u32,
            pong_received: (node.pong_received / 1000) as u32,
            ip: node.ip.clone(),
            port,
            cport: node.cport,
            flags: node.flags & !flag::MYSELF,
            other_port,
        }
    }

    /// A random sample of what this node knows, and everybody under suspicion.
    fn choose_gossip(&mut self, receiver: Option<NodeIndex>) -> Vec<GossipEntry> {
        let known = self.known_nodes();
        let wanted =
            (known * self.settings.gossip_percent as usize / 100).max(3).min(known.saturating_sub(2));
        let mut candidates: Vec<NodeIndex> = self
            .nodes()
            .filter(|(index, node)| {
                *index != self.me
                    && Some(*index) != receiver
                    && !node.has(flag::PFAIL | flag::HANDSHAKE | flag::NOADDR)
                    && (node.outbound.is_some() || node.slot_count > 0)
            })
            .map(|(index, _)| index)
            .collect();
        let mut entries = Vec::with_capacity(wanted);
        while entries.len() < wanted && !candidates.is_empty() {
            let pick = self.rng.below(candidates.len() as u64) as usize;
            let index = candidates.swap_remove(pick);
            entries.push(self.gossip_entry(index));
        }
        let suspects: Vec<NodeIndex> = self
            .nodes()
            .filter(|(index, node)| {
                *index != self.me && node.has(flag::PFAIL) && !node.has(flag::HANDSHAKE | flag::NOADDR)
            })
            .map(|(index, _)| index)
            .collect();
        entries.extend(suspects.into_iter().map(|index| self.gossip_entry(index)));
        entries.truncate(usize::from(u16::MAX));
        entries
    }

    fn extensions(&mut self) -> Vec<Extension> {
        let me = self.me();
        let announced = &me.announced;
        let mut all = Vec::new();
        let text =
            |text: &str, make: fn(String) -> Extension| (!text.is_empty()).then(|| make(text.to_owned()));
        all.extend(text(&announced.hostname, Extension::Hostname));
        all.extend(text(&announced.human_name, Extension::HumanName));
        all.extend(text(&announced.client_ipv4, Extension::ClientIpv4));
        all.extend(text(&announced.client_ipv6, Extension::ClientIpv6));
        all.extend((announced.client_port != 0).then_some(Extension::ClientPort(announced.client_port)));
        all.extend(
            (announced.client_tls_port != 0).then_some(Extension::ClientTlsPort(announced.client_tls_port)),
        );
        all.extend(text(&announced.availability_zone, Extension::AvailabilityZone));
        let shard_id = me.shard_id.0;
        let now = self.facts.now;
        self.blacklist.retain(|_, until| *until > now);
        all.extend(self.blacklist.iter().map(|(id, until)| Extension::Forgotten {
            id: id.0,
            // Whole seconds, and at least one: 0 would mean forever to nobody.
            ttl_s: (until - now).max(1000) as u64 / 1000,
        }));
        all.push(Extension::ShardId(shard_id));
        all
    }

    /// Publishes to the other nodes: to all, or to those of this shard.
    pub fn publish(&mut self, facts: Facts, sharded: bool, channel: &[u8], message: &[u8]) {
        self.facts = facts;
        let kind = if sharded { Kind::PublishShard } else { Kind::Publish };
        let body = Body::Publish { channel: channel.to_vec(), message: message.to_vec() };
        let mut light: Option<Arc<[u8]>> = None;
        let mut full: Option<Arc<[u8]>> = None;
        for index in self.indices() {
            let node = self.node(index);
            if node.has(flag::MYSELF | flag::HANDSHAKE) || (sharded && !self.same_shard(index, self.me)) {
                continue;
            }
            let Some(link) = node.outbound else { continue };
            let bound = self.links.get(&link).is_some_and(|link| node.pong_received >= link.created);
            let is_light = bound && node.has(flag::LIGHT_PUBLISH);
            let form = if is_light { &mut light } else { &mut full };
            let bytes = match form {
                Some(bytes) => bytes.clone(),
                None => {
                    let header = (!is_light).then(|| Box::new(self.header(kind)));
                    let bytes: Arc<[u8]> = encode(&Packet { kind, header, body: body.clone() }).into();
                    form.insert(bytes).clone()
                }
            };
            self.send(link, kind, bytes);
        }
        self.finish();
    }
}

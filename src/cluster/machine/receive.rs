//! What a packet does (spec page cluster-bus.md, section 8).

use super::*;
use crate::cluster::config_file::is_safe_text;
use crate::cluster::packet::{Body, Extension, Header, Invalid, LIGHT_BIT, Packet, decode, message_flag};

impl Machine {
    /// A whole packet has arrived.
    pub fn packet(&mut self, facts: Facts, link: LinkId, bytes: &[u8]) {
        self.facts = facts;
        self.receive(link, bytes);
        self.finish();
    }

    fn receive(&mut self, link: LinkId, bytes: &[u8]) {
        if !self.links.contains_key(&link) {
            return;
        }
        let size = bytes.len() as u64;
        let number = if bytes.len() >= 14 { u16::from_be_bytes([bytes[12], bytes[13]]) } else { 0 };
        self.stats.bytes_received += size;
        if let Some(kind) = Kind::from_number(number & !LIGHT_BIT) {
            self.stats.received[kind as usize] += 1;
            match kind {
                Kind::Publish | Kind::PublishShard => self.stats.publish_bytes_received += size,
                Kind::Module => self.stats.module_bytes_received += size,
                _ => {}
            }
        }
        if self.settings.debug.drop.matches(number & !LIGHT_BIT) {
            let name = Kind::from_number(number & !LIGHT_BIT).map_or("unknown", Kind::name);
            self.log(
                Level::Warning,
                format!("Dropping packet of type {name} that matches debug drop filter"),
            );
            if self.settings.debug.close_on_drop {
                self.log(Level::Warning, format!("Closing link for matching packet type {name}"));
                self.close_link(link);
            }
            return;
        }
        match decode(bytes) {
            Ok(packet) => self.process(link, packet),
            Err(Invalid::Version(_) | Invalid::Short) => {}
            Err(unknown @ Invalid::UnknownKind(_)) => self.log(Level::Warning, unknown.to_string()),
            Err(invalid) => self.log(Level::Warning, invalid.to_string()),
        }
    }

    fn process(&mut self, link: LinkId, packet: Packet) {
        let Packet { kind, header, body } = packet;
        let Some(header) = header else { return self.process_light(link, kind, body) };
        let Some(state) = self.links.get(&link) else { return };
        let sender = match state.node.filter(|index| !self.node(*index).in_handshake()) {
            Some(index) => Some(index),
            None => {
                let found = self.find(&header.sender);
                if let Some(index) = found.filter(|index| state.inbound && *index != self.me) {
                    self.bind(link, index);
                }
                found
            }
        };
        // A packet that claims to be from this node itself is from nobody.
        let sender = sender.filter(|index| *index != self.me);
        let now = self.facts.now;
        if let Some(index) = sender {
            if header.message_flags & message_flag::EXTENSIONS != 0 {
                if let Some(link) = self.links.get_mut(&link) {
                    link.extensions = true;
                }
                self.node_mut(index).flags |= flag::EXTENSIONS;
            }
            let copied = flag::LIGHT_PUBLISH | flag::LIGHT_MODULE | flag::MY_PRIMARY_FAIL;
            let node = self.node_mut(index);
            node.flags = node.flags & !copied | header.flags & copied;
            node.data_received = now;
        } else if header.message_flags & message_flag::EXTENSIONS != 0
            && let Some(link) = self.links.get_mut(&link)
        {
            link.extensions = true;
        }
        let known = sender.filter(|index| !self.node(*index).in_handshake());
        if self.settings.logs_packets {
            let peer = self.links.get(&link).map(|link| link.peer_ip.clone()).unwrap_or_default();
            let name = sender.map_or_else(|| format!("{} ()", header.sender), |index| self.name(index));
            let text = format!("{} packet received from: {name} from client: {peer}", kind.name());
            self.log(Level::Debug, text);
        }
        if let Some(index) = known {
            self.note_epochs(index, &header);
        }
        match kind {
            Kind::Ping | Kind::Pong | Kind::Meet => {
                let Body::Gossip { entries, extensions } = body else { return };
                self.process_ping(link, kind, sender, &header, &entries, &extensions);
            }
            Kind::Fail => {
                let Body::Fail { id } = body else { return };
                self.process_fail(known, &header, &id);
            }
            Kind::Publish | Kind::PublishShard => {
                let Body::Publish { channel, message } = body else { return };
                if known.is_some() {
                    let sharded = kind == Kind::PublishShard;
                    self.out.push(Output::Publish { sharded, channel, message });
                }
            }
            Kind::AuthRequest => {
                if let Some(index) = known {
                    self.process_auth_request(index, &header);
                }
            }
            Kind::AuthAck => {
                if let Some(index) = known {
                    self.process_auth_ack(index, &header);
                }
            }
            Kind::ManualFailoverStart => {
                if let Some(index) = known {
                    self.process_manual_failover_start(link, index);
                }
            }
            Kind::Update => {
                let Body::Update { config_epoch, id, slots } = body else { return };
                if let Some(index) = known {
                    self.process_update(index, config_epoch, &id, &slots);
                }
            }
            // There are no modules here that could want it.
            Kind::Module => {}
        }
    }

    fn process_light(&mut self, link: LinkId, kind: Kind, body: Body) {
        let node = self.links.get(&link).and_then(|link| link.node);
        match node.filter(|index| !self.node(*index).in_handshake()) {
            None => {
                let name = node.map_or_else(|| " ()".to_owned(), |index| self.name(index));
                self.log(
                    Level::Warning,
                    format!(
                        "Closing link for node {name} that sent a lightweight message of type {} as its first message on the link",
                        kind.name()
                    ),
                );
                self.close_link(link);
            }
            Some(index) => {
                self.node_mut(index).data_received = self.facts.now;
                if let Body::Publish { channel, message } = body {
                    let sharded = kind == Kind::PublishShard;
                    self.out.push(Output::Publish { sharded, channel, message });
                }
            }
        }
    }

    /// Epochs and offsets of a known sender, whatever the packet is.
    fn note_epochs(&mut self, sender: NodeIndex, header: &Header) {
        if header.current_epoch > self.current_epoch {
            self.current_epoch = header.current_epoch;
            self.todo.changed = true;
        }
        if header.replica_of.is_none() && header.config_epoch > self.node(sender).config_epoch {
            self.node_mut(sender).config_epoch = header.config_epoch;
            self.save_safely();
            self.claim_against_election(sender, header.config_epoch);
        }
        self.node_mut(sender).offset = header.offset;
        let paused = header.message_flags & message_flag::PAUSED != 0;
        if paused && self.me().is_replica() && self.me().primary == Some(sender) {
            self.note_paused_offset(header.offset);
        }
    }

    fn process_ping(
        &mut self,
        link: LinkId,
        kind: Kind,
        sender: Option<NodeIndex>,
        header: &Header,
        entries: &[crate::cluster::packet::GossipEntry],
        extensions: &[Extension],
    ) {
        let mut sender = sender;
        if matches!(kind, Kind::Ping | Kind::Meet) {
            self.discover_own_address(link, kind);
            if kind == Kind::Meet {
                match sender {
                    // Whoever introduces a node to itself learns by the answer who that is.
                    None if header.sender == self.me().id => {}
                    None => {
                        let unbound = self.links.get(&link).is_some_and(|link| link.node.is_none());
                        if unbound && !self.begin_handshake_of_caller(link, header) {
                            return;
                        }
                        self.process_gossip(None, entries);
                    }
                    Some(index) => self.meet_again(link, index),
                }
            }
            self.send_ping(link, Kind::Pong);
        }
        let inbound = self.links.get(&link).is_none_or(|link| link.inbound);
        if let Some(index) = sender
            && self.node(index).has(flag::MEET)
        {
            self.node_mut(index).flags &= !flag::MEET;
            self.todo.changed = true;
        }
        if !inbound && !self.verify_outbound(link, header, &mut sender) {
            return;
        }
        let peer =
            self.links.get(&link).and_then(|link| link.node).filter(|_| kind == Kind::Pong && !inbound);
        if let Some(index) = peer {
            // Also of the answer that ends a handshake: a PING that seems unanswered would be the last for a long time.
            let now = self.facts.now;
            let node = self.node_mut(index);
            node.pong_received = now;
            node.ping_sent = 0;
            if node.has(flag::PFAIL) {
                node.flags &= !flag::PFAIL;
                self.save_later();
                self.update_state_later();
            } else if node.failed() {
                self.clear_failure_if_possible(index);
            }
        }
        let Some(index) = sender else { return };
        if self.node(index).in_handshake() {
            return;
        }
        let before = self.node(index).flags;
        let node = self.node_mut(index);
        node.flags = node.flags & !flag::NOFAILOVER | header.flags & flag::NOFAILOVER;
        if node.flags != before {
            self.todo.changed = true;
        }
        if kind == Kind::Ping && self.update_address(link, index, header) {
            self.update_state_later();
            self.save_later();
        }
        if !self.process_role(index, header) {
            return;
        }
        self.process_claims(index, header);
        if self.me().is_primary()
            && header.replica_of.is_none()
            && header.config_epoch == self.me().config_epoch
        {
            self.resolve_collision(index);
        }
        self.process_gossip(Some(index), entries);
        self.process_extensions(index, extensions);
    }

    /// What peers see of this node's address tells it its own.
    fn discover_own_address(&mut self, link: LinkId, kind: Kind) {
        if (kind == Kind::Meet || self.me().ip.is_empty()) && self.settings.announce_ip.is_empty() {
            let ip = self.links.get(&link).map(|link| link.local_ip.clone()).unwrap_or_default();
            if !ip.is_empty() && ip != self.me().ip {
                self.notice(format!("IP address for this node updated to {ip}"));
                self.me_mut().ip = ip;
                self.save_later();
            }
        }
    }

    /// A MEET of somebody unknown: it is taken for a node under a made-up name until it answers a PING with its own.
    fn begin_handshake_of_caller(&mut self, link: LinkId, header: &Header) -> bool {
        let peer = self.links.get(&link).map(|link| link.peer_ip.clone()).unwrap_or_default();
        let ip = if header.ip.is_empty() { peer } else { header.ip.clone() };
        if ip.is_empty() || ip.parse::<std::net::IpAddr>().is_err() && !is_safe_text(&ip) {
            self.log(
                Level::Debug,
                "Closing cluster link due to failure to retrieve IP from the connection, possibly caused by a closed connection."
                    .to_owned(),
            );
            self.close_link(link);
            return false;
        }
        let index = self.add_handshake_node(ip, header.cport, 0);
        self.set_ports(index, header.port, header.other_port, header.cport);
        self.bind(link, index);
        self.save_later();
        true
    }

    pub(super) fn set_ports(&mut self, index: NodeIndex, port: u16, other: u16, cport: u16) {
        let tls = self.settings.tls_cluster;
        let node = self.node_mut(index);
        (node.tcp_port, node.tls_port) = if tls { (other, port) } else { (port, other) };
        node.cport = cport;
    }

    /// A MEET of a node that is known: it misses this node's connection to it.
    fn meet_again(&mut self, link: LinkId, index: NodeIndex) {
        let outbound = self.node(index).outbound.filter(|outbound| *outbound != link);
        let settled = self.facts.now - self.node(index).created > self.handshake_timeout();
        if let Some(outbound) = outbound.filter(|_| settled) {
            let name = self.name(index);
            self.log(
                Level::Notice,
                format!(
                    "Freeing outbound link to node {name} after receiving a MEET packet from this known node"
                ),
            );
            self.close_link(outbound);
        }
    }

    /// Whether who answers on a connection of ours is who was called. False ends the processing of the packet.
    fn verify_outbound(&mut self, link: LinkId, header: &Header, sender: &mut Option<NodeIndex>) -> bool {
        let Some(index) = self.links.get(&link).and_then(|link| link.node) else { return false };
        if self.node(index).in_handshake() {
            let existing = self.find(&header.sender);
            if let Some(existing) = existing {
                let name = self.name(existing);
                self.log(
                    Level::Verbose,
                    format!("Handshake: we already know node {name}, updating the address if needed."),
                );
                if existing != self.me && self.update_address(link, existing, header) {
                    self.update_state_later();
                    self.save_later();
                }
                self.remove_node(index);
                return false;
            }
            if NodeId::parse(header.sender.as_bytes()).is_none() {
                self.remove_node(index);
                return false;
            }
            let old = self.node(index).id;
            self.log(
                Level::Debug,
                format!("Renaming node {old} ({}) into {}", self.node(index).shown_name(), header.sender),
            );
            self.by_id.remove(&old);
            self.by_id.insert(header.sender, index);
            let node = self.node_mut(index);
            node.id = header.sender;
            node.flags &= !flag::HANDSHAKE;
            node.flags |= if header.replica_of.is_some() { flag::REPLICA } else { flag::PRIMARY };
            self.open_slots_of_stranger(index);
            let name = self.name(index);
            self.log(Level::Debug, format!("Handshake with node {name} completed."));
            self.save_later();
            self.update_state_later();
            // The rest of this packet is of nobody known.
            *sender = None;
            return true;
        }
        if self.node(index).id != header.sender {
            let node = self.node(index);
            let text = format!(
                "PONG contains mismatching sender ID. About node {} ({}) in shard {} added {} ms ago, having flags {}",
                node.id,
                node.shown_name(),
                node.shard_id,
                self.facts.now - node.created,
                node.flags
            );
            self.log(Level::Notice, text);
            let node = self.node_mut(index);
            node.flags |= flag::NOADDR;
            node.ip.clear();
            (node.tcp_port, node.tls_port, node.cport) = (0, 0, 0);
            self.close_link(link);
            self.mark_failed(index);
            let id = self.node(index).id.0;
            self.broadcast(Kind::Fail, Body::Fail { id });
            self.save_later();
            return false;
        }
        true
    }

    /// Takes the address of a node from a packet on a connection it has opened. True if it is a new one.
    fn update_address(&mut self, link: LinkId, index: NodeIndex, header: &Header) -> bool {
        if self.node(index).outbound == Some(link) {
            return false;
        }
        let peer = self.links.get(&link).map(|link| link.peer_ip.clone()).unwrap_or_default();
        let ip = if header.ip.is_empty() { peer } else { header.ip.clone() };
        if ip.is_empty() || !is_safe_text(&ip) {
            return false;
        }
        let tls = self.settings.tls_cluster;
        let (tcp, tls_port) =
            if tls { (header.other_port, header.port) } else { (header.port, header.other_port) };
        let node = self.node(index);
        if node.ip == ip && node.tcp_port == tcp && node.tls_port == tls_port && node.cport == header.cport {
            return false;
        }
        self.move_node(index, ip, header.port, header.other_port, header.cport);
        let text = format!(
            "Address updated for node {}, now {}:{}",
            self.name(index),
            self.node(index).ip,
            header.port
        );
        self.log(Level::Notice, text);
        true
    }

    /// Gives a node another address and calls it there.
    pub(super) fn move_node(&mut self, index: NodeIndex, ip: String, port: u16, other: u16, cport: u16) {
        self.node_mut(index).ip = ip;
        self.set_ports(index, port, other, cport);
        if let Some(outbound) = self.node(index).outbound {
            self.close_link(outbound);
        }
        self.node_mut(index).flags &= !flag::NOADDR;
        if self.me().is_replica() && self.me().primary == Some(index) {
            self.replicate_from(index, false);
        }
    }

    pub(super) fn replicate_from(&mut self, index: NodeIndex, full_sync: bool) {
        let node = self.node(index);
        let primary = Primary {
            id: node.id,
            ip: node.ip.clone(),
            tcp_port: node.tcp_port,
            tls_port: node.tls_port,
            full_sync,
        };
        self.out.push(Output::Replicate(primary));
    }

    /// What the sender announces; what it does not announce any more is forgotten.
    fn process_extensions(&mut self, index: NodeIndex, extensions: &[Extension]) {
        let mut announced = Announced::default();
        let mut shard = None;
        let mut forgotten = Vec::new();
        let safe = |text: &String| if is_safe_text(text) { text.clone() } else { String::new() };
        for extension in extensions {
            match extension {
                Extension::Hostname(text) => announced.hostname = safe(text),
                Extension::HumanName(text) => announced.human_name = safe(text),
                Extension::ClientIpv4(text) => announced.client_ipv4 = safe(text),
                Extension::ClientIpv6(text) => announced.client_ipv6 = safe(text),
                Extension::ClientPort(port) => announced.client_port = *port,
                Extension::ClientTlsPort(port) => announced.client_tls_port = *port,
                Extension::AvailabilityZone(text) => announced.availability_zone = safe(text),
                Extension::ShardId(id) => shard = NodeId::parse(id),
                Extension::Forgotten { id, ttl_s } => forgotten.push((*id, *ttl_s)),
                Extension::Unknown(number) => {
                    self.log(Level::Warning, format!("Received unknown extension type {number}"));
                }
            }
        }
        if self.node(index).announced != announced {
            self.node_mut(index).announced = announced;
            self.save_later();
        }
        let shard = shard.or_else(|| {
            let primary = self.node(index).primary?;
            Some(self.node(primary).shard_id)
        });
        if let Some(shard) = shard {
            self.learn_shard(index, shard);
        }
        for (id, ttl_s) in forgotten {
            let Some(id) = NodeId::parse(&id) else { continue };
            let Some(gone) = self.find(&id) else { continue };
            if gone == self.me || self.me().primary == Some(gone) || gone == index {
                continue;
            }
            // A day is longer than anybody means to ban a node.
            let ttl_ms = ttl_s.min(86_400) as i64 * 1000;
            self.blacklist.insert(id, self.facts.now + ttl_ms);
            self.remove_node(gone);
            self.save_later();
            self.update_state_later();
        }
    }

    fn learn_shard(&mut self, index: NodeIndex, shard: NodeId) {
        if self.node(index).shard_id == shard {
            return;
        }
        if let Some(primary) = self.node(index).primary
            && self.node(primary).shard_id != shard
        {
            let text = format!(
                "Shard id {shard} update request for node id {} diverges from existing primary shard id {}, rejecting!",
                self.node(index).id,
                self.node(primary).shard_id
            );
            return self.log(Level::Notice, text);
        }
        self.node_mut(index).shard_id = shard;
        self.notice(format!("Node {} is now part of shard {shard}", self.name(index)));
        self.save_later();
        if self.me().primary == Some(index) {
            self.me_mut().shard_id = shard;
        }
    }
}

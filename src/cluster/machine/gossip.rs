//! What nodes tell of each other (spec page cluster-bus.md, section 5.2).

use super::*;
use crate::cluster::config_file::is_safe_text;
use crate::cluster::packet::GossipEntry;

/// A gossiped pong may be so many milliseconds ahead of this node's clock.
const CLOCK_SKEW_MS: i64 = 500;

impl Machine {
    /// Takes what a sender tells. Without a sender it is that of a node that introduces itself.
    pub(super) fn process_gossip(&mut self, sender: Option<NodeIndex>, entries: &[GossipEntry]) {
        let bad = entries.iter().filter(|entry| NodeId::parse(&entry.id).is_none()).count();
        if bad > 0 {
            let text = match sender {
                Some(index) => format!("Node {} gossiped {bad} nodes with invalid IDs.", self.name(index)),
                None => format!("Unknown node gossiped {bad} nodes with invalid IDs."),
            };
            return self.log(Level::Warning, text);
        }
        for entry in entries {
            let Some(id) = NodeId::parse(&entry.id) else { continue };
            match self.find(&id) {
                Some(index) if index == self.me => {}
                Some(index) => self.gossip_about(sender, index, entry),
                None => self.hear_of(id, entry),
            }
        }
    }

    fn gossip_about(&mut self, sender: Option<NodeIndex>, index: NodeIndex, entry: &GossipEntry) {
        let failing = entry.flags & (flag::PFAIL | flag::FAIL) != 0;
        if let Some(sender) = sender.filter(|sender| *sender != index) {
            if failing {
                if self.node(sender).votes() {
                    self.report_failure(index, sender);
                }
                self.mark_failed_if_agreed(index);
            } else if self.node_mut(index).fail_reports.remove(&sender).is_some() {
                let text =
                    format!("Node {} reported node {} is back online.", self.name(sender), self.name(index));
                self.log(Level::Verbose, text);
            }
        }
        let now = self.facts.now;
        let suspect = flag::PFAIL | flag::FAIL;
        let node = self.node_mut(index);
        if !failing
            && !node.has(flag::HANDSHAKE | flag::MEET | suspect)
            && node.ping_sent == 0
            && node.fail_reports.is_empty()
        {
            let pong = i64::from(entry.pong_received) * 1000;
            if pong > node.pong_received && pong <= now + CLOCK_SKEW_MS {
                node.pong_received = pong;
            }
        }
        let (tcp, tls) = if self.settings.tls_cluster {
            (entry.other_port, entry.port)
        } else {
            (entry.port, entry.other_port)
        };
        let node = self.node(index);
        let moved =
            node.ip != entry.ip || node.tcp_port != tcp || node.tls_port != tls || node.cport != entry.cport;
        if node.has(suspect)
            && !failing
            && entry.flags & flag::NOADDR == 0
            && moved
            && !entry.ip.is_empty()
            && is_safe_text(&entry.ip)
        {
            self.move_node(index, entry.ip.clone(), entry.port, entry.other_port, entry.cport);
            self.save_later();
        }
    }

    /// A node is heard of for the first time.
    fn hear_of(&mut self, id: NodeId, entry: &GossipEntry) {
        let banned = self.blacklist.get(&id).is_some_and(|until| *until > self.facts.now);
        if entry.flags & flag::NOADDR != 0 || banned || entry.ip.is_empty() || !is_safe_text(&entry.ip) {
            return;
        }
        let shard = NodeId::random(&mut self.rng);
        let flags = entry.flags & !(flag::MYSELF | flag::HANDSHAKE);
        let index = self.add_node(Node::new(id, shard, flags, self.facts.now));
        self.node_mut(index).ip = entry.ip.clone();
        self.set_ports(index, entry.port, entry.other_port, entry.cport);
        self.save_later();
        self.update_state_later();
    }
}

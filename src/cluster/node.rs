//! What one node knows of another, and of itself.

use std::collections::BTreeMap;

use super::bitmap::SlotBitmap;
use super::id::NodeId;
use super::packet::flag;

/// The place of a node in its cluster's list. Places of removed nodes are used again.
pub type NodeIndex = usize;

/// Names a connection of the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What a node announces of itself for its clients, beside its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    pub hostname: String,
    pub human_name: String,
    pub availability_zone: String,
    pub client_ipv4: String,
    pub client_ipv6: String,
    /// 0: the port itself.
    pub client_port: u16,
    pub client_tls_port: u16,
}

/// A node. Times are Unix milliseconds, 0 for never.
#[derive(Clone, Debug)]
pub struct Node {
    pub id: NodeId,
    pub shard_id: NodeId,
    pub flags: u16,
    pub config_epoch: u64,
    pub slots: SlotBitmap,
    pub slot_count: usize,
    /// Its primary, if it is a replica and that is known.
    pub primary: Option<NodeIndex>,
    /// Its replicas, in the order they were learnt.
    pub replicas: Vec<NodeIndex>,
    pub created: i64,
    pub ping_sent: i64,
    pub pong_received: i64,
    pub data_received: i64,
    pub meet_sent: i64,
    pub fail_time: i64,
    pub offset: u64,
    /// When it lost its last working replica.
    pub orphaned_since: i64,
    /// When its inbound link went away, or when the node was made.
    pub inbound_gone: i64,
    pub last_attempt: i64,
    pub ip: String,
    pub tcp_port: u16,
    pub tls_port: u16,
    pub cport: u16,
    pub announced: Announced,
    pub outbound: Option<LinkId>,
    pub inbound: Option<LinkId>,
    /// Who reports it as failing, and when they last did.
    pub fail_reports: BTreeMap<NodeIndex, i64>,
}

impl Node {
    /// A node that was just heard of.
    pub fn new(id: NodeId, shard_id: NodeId, flags: u16, now: i64) -> Self {
        Self {
            id,
            shard_id,
            flags,
            config_epoch: 0,
            slots: SlotBitmap::default(),
            slot_count: 0,
            primary: None,
            replicas: Vec::new(),
            created: now,
            ping_sent: 0,
            pong_received: 0,
            data_received: 0,
            meet_sent: 0,
            fail_time: 0,
            offset: 0,
            orphaned_since: 0,
            inbound_gone: now,
            last_attempt: 0,
            ip: String::new(),
            tcp_port: 0,
            tls_port: 0,
            cport: 0,
            announced: Announced::default(),
            outbound: None,
            inbound: None,
            fail_reports: BTreeMap::new(),
        }
    }

    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    pub fn is_primary(&self) -> bool {
        self.has(flag::PRIMARY)
    }

    pub fn is_replica(&self) -> bool {
        self.has(flag::REPLICA)
    }

    pub fn failed(&self) -> bool {
        self.has(flag::FAIL)
    }

    pub fn in_handshake(&self) -> bool {
        self.has(flag::HANDSHAKE)
    }

    /// A primary with slots has a vote.
    pub fn votes(&self) -> bool {
        self.is_primary() && self.slot_count > 0
    }

    /// The name people gave it, or its address, for the log.
    pub fn shown_name(&self) -> String {
        match self.announced.human_name.as_str() {
            "" => {
                let port = if self.tcp_port == 0 { self.tls_port } else { self.tcp_port };
                // An IPv6 address has colons of its own.
                if self.ip.contains(':') {
                    format!("[{}]:{port}", self.ip)
                } else {
                    format!("{}:{port}", self.ip)
                }
            }
            name => name.to_owned(),
        }
    }
}

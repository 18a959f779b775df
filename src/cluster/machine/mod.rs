//! The state machine of a cluster node.
//!
//! ```text
//!   packet(link, bytes) \                          / Send, Connect, Close     (the bus)
//!   tick()               >--- [ Machine ] --->    |  TopologyChanged, Save    (always first)
//!   commands, links     /        facts             \ Replicate, DeleteKeys, ...  (the rest of the server)
//! ```
//!
//! Every entry point takes the [`Facts`] of now, and ends with the work that was put off until the end, as the
//! reference server does before it waits for events again; [`Machine::take_outputs`] then tells what to do, in order.
//!
//! Invariant: what must survive a crash comes out as `Save` before any packet that tells of it.
//! Invariant: a packet of a node that is not known changes nothing but what MEET is for.

mod commands;
mod election;
mod failure;
mod gossip;
mod links;
mod manual;
mod owners;
mod receive;
mod replica_migration;
mod restore;
mod roles;
mod send;
mod setslot;
mod slots;
mod state;
mod timer;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bitmap::SlotBitmap;
use super::id::NodeId;
use super::node::{Announced, LinkId, Node, NodeIndex};
use super::packet::{Kind, flag};
use super::topology::ClusterState;
use crate::rng::Rng;
use crate::slot::{SLOTS, Slot};

pub use commands::{FailoverKind, Refusal};
pub use election::CannotFailOver;
pub use links::Link;
pub use setslot::SetSlot;
pub use timer::CALM_TICKS;

/// What the configuration says. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Settings {
    pub node_timeout: i64,
    /// 0: half the node timeout.
    pub ping_interval: i64,
    pub gossip_percent: u32,
    /// Empty: what peers see.
    pub announce_ip: String,
    /// As announced: `port` and `tls-port`, 0 if not served.
    pub tcp_port: u16,
    pub tls_port: u16,
    pub cport: u16,
    pub tls_cluster: bool,
    pub announced: Announced,
    pub replica_validity_factor: i64,
    pub migration_barrier: usize,
    pub allow_replica_migration: bool,
    pub require_full_coverage: bool,
    pub no_failover: bool,
    pub manual_failover_timeout: i64,
    pub blacklist_ttl_s: i64,
    pub replica_ping_period_s: i64,
    /// Every packet is to be logged.
    pub logs_packets: bool,
    pub debug: DebugHooks,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node_timeout: 15_000,
            ping_interval: 0,
            gossip_percent: 10,
            announce_ip: String::new(),
            tcp_port: 6379,
            tls_port: 0,
            cport: 16_379,
            tls_cluster: false,
            announced: Announced::default(),
            replica_validity_factor: 10,
            migration_barrier: 1,
            allow_replica_migration: true,
            require_full_coverage: true,
            no_failover: false,
            manual_failover_timeout: 5000,
            blacklist_ttl_s: 60,
            replica_ping_period_s: 10,
            logs_packets: false,
            debug: DebugHooks::default(),
        }
    }
}

/// What DEBUG can disturb.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugHooks {
    /// DROP-CLUSTER-PACKET-FILTER: packets of this type are dropped unread.
    pub drop: DropFilter,
    /// CLOSE-CLUSTER-LINK-ON-PACKET-DROP.
    pub close_on_drop: bool,
    /// DISABLE-CLUSTER-RECONNECTION.
    pub no_reconnection: bool,
    /// DISABLE-CLUSTER-RANDOM-PING.
    pub no_random_ping: bool,
}

/// Which packets DEBUG has dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DropFilter {
    #[default]
    None,
    Only(u16),
    All,
}

impl DropFilter {
    fn matches(self, number: u16) -> bool {
        match self {
            Self::None => false,
            Self::Only(only) => only == number,
            Self::All => true,
        }
    }
}

/// What the machine cannot know by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Unix milliseconds.
    pub now: i64,
    /// Own replication offset: of the stream made here, or of the stream of the primary as far as it is executed.
    pub offset: u64,
    /// As a replica: milliseconds since the primary was last heard, if it ever was.
    pub primary_silent_ms: Option<i64>,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Verbose,
    Notice,
    Warning,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Make and publish a new snapshot.
    TopologyChanged,
    /// Write `nodes.conf`, down to the disk if `fsync`.
    Save {
        fsync: bool,
    },
    /// Open a connection to that address, under that name.
    Connect {
        link: LinkId,
        ip: String,
        port: u16,
    },
    Send {
        link: LinkId,
        kind: Kind,
        bytes: Arc<[u8]>,
    },
    /// The machine has forgotten that connection.
    Close {
        link: LinkId,
    },
    Log(Level, String),
    /// Deliver to the subscribers of this node.
    Publish {
        sharded: bool,
        channel: Vec<u8>,
        message: Vec<u8>,
    },
    /// Follow this primary, from now on or at a new address.
    Replicate(Primary),
    /// Follow nobody any more.
    StopReplicating,
    /// Delete all keys (this node left its shard).
    FlushAll,
    /// Delete the keys of slots that now belong to others.
    DeleteKeys {
        slots: Vec<Slot>,
    },
    /// Hold back clients that write, until that time or until `Unpause`; then call [`Machine::paused`].
    Pause {
        until: i64,
    },
    Unpause,
}

/// Whom to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primary {
    pub id: NodeId,
    pub ip: String,
    pub tcp_port: u16,
    pub tls_port: u16,
    /// The data have nothing in common with those here.
    pub full_sync: bool,
}

/// Packets counted by type, and bytes.
#[derive(Clone, Debug, Default)]
pub struct BusStats {
    pub sent: [u64; 11],
    pub received: [u64; 11],
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub publish_bytes_sent: u64,
    pub publish_bytes_received: u64,
    pub module_bytes_sent: u64,
    pub module_bytes_received: u64,
    /// Connections closed because their peer did not read.
    pub buffer_limit_exceeded: u64,
}

/// What is put off until the end of an entry point.
#[derive(Clone, Copy, Debug, Default)]
struct Todo {
    handle_failover: bool,
    handle_manual: bool,
    update_state: bool,
    save: bool,
    fsync: bool,
    broadcast: bool,
    changed: bool,
}

/// The machine.
pub struct Machine {
    pub settings: Settings,
    pub facts: Facts,
    rng: Rng,
    nodes: Vec<Option<Node>>,
    by_id: BTreeMap<NodeId, NodeIndex>,
    me: NodeIndex,
    owners: owners::Owners,
    /// The nodes and owners of the last snapshot, as long as no slot has another owner.
    shown_owners: Option<(Vec<NodeIndex>, Arc<[u16]>)>,
    /// Slots whose owner has stopped claiming them.
    unclaimed: SlotBitmap,
    migrating: BTreeMap<u16, NodeIndex>,
    importing: BTreeMap<u16, NodeIndex>,
    /// Those of this replica's primary whose other node is not known yet.
    strangers: Vec<setslot::OpenSlot>,
    /// Slots that this node has handed over by an atomic migration: their next claim is believed whatever its epoch.
    granted: SlotBitmap,
    /// Slots it has taken by atomic migrations, as long as their sources may not have heard of that.
    taken: Vec<slots::Taken>,
    pub current_epoch: u64,
    pub last_vote_epoch: u64,
    state: ClusterState,
    /// Primaries with slots.
    size: usize,
    generation: u64,
    /// Until when, Unix milliseconds, an id must not come back by gossip.
    blacklist: BTreeMap<NodeId, i64>,
    links: BTreeMap<LinkId, Link>,
    next_link: u64,
    election: election::Election,
    manual: manual::ManualFailover,
    state_checks: state::StateChecks,
    ticks: u64,
    pub stats: BusStats,
    todo: Todo,
    out: Vec<Output>,
}

impl Machine {
    /// A node that knows nobody yet, with a new random name.
    pub fn new(settings: Settings, facts: Facts, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let id = NodeId::random(&mut rng);
        let shard = NodeId::random(&mut rng);
        let mut machine = Self {
            settings,
            facts,
            rng,
            nodes: Vec::new(),
            by_id: BTreeMap::new(),
            me: 0,
            owners: owners::Owners::default(),
            shown_owners: None,
            unclaimed: SlotBitmap::default(),
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            strangers: Vec::new(),
            granted: SlotBitmap::default(),
            taken: Vec::new(),
            current_epoch: 0,
            last_vote_epoch: 0,
            state: ClusterState::Fail,
            size: 1,
            generation: 0,
            blacklist: BTreeMap::new(),
            links: BTreeMap::new(),
            next_link: 0,
            election: election::Election::default(),
            manual: manual::ManualFailover::default(),
            state_checks: state::StateChecks::default(),
            ticks: 0,
            stats: BusStats::default(),
            todo: Todo::default(),
            out: Vec::new(),
        };
        machine.me = machine.add_node(Node::new(id, shard, flag::MYSELF | flag::PRIMARY, facts.now));
        machine.apply_settings();
        machine
    }

    /// Takes new settings.
    pub fn configure(&mut self, facts: Facts, settings: Settings) {
        self.facts = facts;
        self.settings = settings;
        self.apply_settings();
        self.finish();
    }

    /// Copies into this node's own record what the settings say of it.
    fn apply_settings(&mut self) {
        let Settings { announced, tcp_port, tls_port, cport, announce_ip, no_failover, .. } = &self.settings;
        let (announced, ip) = (announced.clone(), announce_ip.clone());
        let (tcp_port, tls_port, cport, no_failover) = (*tcp_port, *tls_port, *cport, *no_failover);
        let me = self.me_mut();
        let before = (me.flags, me.announced.clone(), me.ip.clone(), me.tcp_port, me.tls_port, me.cport);
        me.announced = announced;
        (me.tcp_port, me.tls_port, me.cport) = (tcp_port, tls_port, cport);
        if !ip.is_empty() {
            me.ip = ip;
        }
        me.flags |= flag::EXTENSIONS | flag::LIGHT_PUBLISH | flag::LIGHT_MODULE;
        me.flags &= !flag::NOFAILOVER;
        if no_failover {
            me.flags |= flag::NOFAILOVER;
        }
        let after = (me.flags, me.announced.clone(), me.ip.clone(), me.tcp_port, me.tls_port, me.cport);
        if before != after {
            self.todo.save = true;
            self.todo.changed = true;
        }
        // Whether all slots are needed is asked anew.
        self.todo.update_state = true;
    }

    /// What is to be done since the last call, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    pub fn me(&self) -> &Node {
        self.node(self.me)
    }

    fn me_mut(&mut self) -> &mut Node {
        self.node_mut(self.me)
    }

    pub fn me_index(&self) -> NodeIndex {
        self.me
    }

    /// The node at a place.
    ///
    /// # Panics
    /// If there is none: indices are dropped with their nodes.
    pub fn node(&self, index: NodeIndex) -> &Node {
        self.nodes[index].as_ref().expect("indices of removed nodes are dropped with them")
    }

    fn node_mut(&mut self, index: NodeIndex) -> &mut Node {
        self.nodes[index].as_mut().expect("indices of removed nodes are dropped with them")
    }

    /// All nodes, in the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeIndex, &Node)> {
        self.by_id.values().map(|&index| (index, self.node(index)))
    }

    fn indices(&self) -> Vec<NodeIndex> {
        self.by_id.values().copied().collect()
    }

    /// The node of that name.
    pub fn find(&self, id: &NodeId) -> Option<NodeIndex> {
        self.by_id.get(id).copied()
    }

    pub fn known_nodes(&self) -> usize {
        self.by_id.len()
    }

    pub fn state(&self) -> ClusterState {
        self.state
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn owner(&self, slot: Slot) -> Option<NodeIndex> {
        self.owners.of(slot)
    }

    pub fn migrating(&self) -> &BTreeMap<u16, NodeIndex> {
        &self.migrating
    }

    pub fn importing(&self) -> &BTreeMap<u16, NodeIndex> {
        &self.importing
    }

    /// The number of the next snapshot.
    pub fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// This node's primary, or itself.
    fn my_primary_or_me(&self) -> NodeIndex {
        self.me().primary.unwrap_or(self.me)
    }

    /// The epoch a node speaks for: its primary's, if it is a replica.
    pub fn effective_epoch(&self, index: NodeIndex) -> u64 {
        let node = self.node(index);
        self.node(node.primary.unwrap_or(index)).config_epoch
    }

    fn same_shard(&self, a: NodeIndex, b: NodeIndex) -> bool {
        self.node(a).shard_id == self.node(b).shard_id
    }

    fn log(&mut self, level: Level, text: String) {
        self.out.push(Output::Log(level, text));
    }

    fn notice(&mut self, text: String) {
        self.log(Level::Notice, text);
    }

    /// `id (human name)`, or `id (ip:port)`, as log lines name nodes.
    fn name(&self, index: NodeIndex) -> String {
        let node = self.node(index);
        format!("{} ({})", node.id, node.shown_name())
    }

    fn save_later(&mut self) {
        self.todo.save = true;
        self.todo.changed = true;
    }

    fn save_safely(&mut self) {
        self.todo.save = true;
        self.todo.fsync = true;
        self.todo.changed = true;
    }

    fn update_state_later(&mut self) {
        self.todo.update_state = true;
        self.todo.changed = true;
    }

    fn add_node(&mut self, node: Node) -> NodeIndex {
        let id = node.id;
        let index = match self.nodes.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.nodes.push(None);
                self.nodes.len() - 1
            }
        };
        self.nodes[index] = Some(node);
        self.by_id.insert(id, index);
        self.todo.changed = true;
        if !self.strangers.is_empty() {
            self.open_slots_of_stranger(index);
        }
        index
    }

    /// Forgets a node and everything that refers to it.
    fn remove_node(&mut self, index: NodeIndex) {
        debug_assert_ne!(index, self.me);
        let text = format!("Deleting node {} from cluster view", self.name(index));
        self.log(Level::Debug, text);
        self.drop_slots_of(index);
        self.migrating.retain(|_, node| *node != index);
        self.importing.retain(|_, node| *node != index);
        self.taken.retain(|taken| taken.from != index);
        for other in self.indices() {
            self.node_mut(other).fail_reports.remove(&index);
        }
        for replica in std::mem::take(&mut self.node_mut(index).replicas) {
            self.node_mut(replica).primary = None;
        }
        if let Some(primary) = self.node(index).primary {
            self.remove_replica(primary, index);
        }
        let (outbound, inbound, id) = {
            let node = self.node(index);
            (node.outbound, node.inbound, node.id)
        };
        for link in [outbound, inbound].into_iter().flatten() {
            self.close_link(link);
        }
        if self.manual.replica == Some(index) {
            self.manual.replica = None;
        }
        self.election.forget_voter(index);
        self.by_id.remove(&id);
        self.nodes[index] = None;
        self.todo.changed = true;
    }

    /// Fails unless everything that is kept twice agrees.
    ///
    /// # Panics
    /// If it does not.
    pub fn assert_consistent(&self) {
        for (index, node) in self.nodes() {
            assert_eq!(node.slots.len(), node.slot_count);
            for slot in node.slots.iter() {
                assert_eq!(self.owners.of(slot), Some(index));
            }
            if let Some(primary) = node.primary {
                assert!(primary != index && self.node(primary).replicas.contains(&index));
            }
            for replica in &node.replicas {
                assert_eq!(self.node(*replica).primary, Some(index));
            }
            for link in [node.outbound, node.inbound].into_iter().flatten() {
                assert!(self.links.contains_key(&link));
            }
        }
        assert!(self.me().is_primary() != self.me().is_replica());
        let owned = self.owners.iter().flatten().count();
        assert_eq!(owned, self.nodes().map(|(_, node)| node.slot_count).sum::<usize>());
    }

    /// Does what was put off, and puts what must come first in front.
    fn finish(&mut self) {
        if std::mem::take(&mut self.todo.handle_manual) && self.me().is_replica() {
            self.handle_manual_failover();
            if self.manual.can_start {
                self.handle_failover();
            }
            self.todo.handle_failover = false;
        }
        if std::mem::take(&mut self.todo.handle_failover) {
            self.handle_failover();
        }
        if std::mem::take(&mut self.todo.update_state) {
            self.update_state();
        }
        if std::mem::take(&mut self.todo.broadcast) {
            self.broadcast_pong();
        }
        let Todo { save, fsync, changed, .. } = std::mem::take(&mut self.todo);
        if save {
            self.out.insert(0, Output::Save { fsync });
        }
        if changed {
            self.out.insert(0, Output::TopologyChanged);
        }
    }
}

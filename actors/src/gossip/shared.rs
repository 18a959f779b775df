//! What everybody may know of the cluster without asking: the latest snapshot, and the way to the actor.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use actix::Addr;
use arc_swap::ArcSwap;
use skuld::cluster::machine::{DebugHooks, Facts};
use skuld::cluster::{ClusterState, Machine, NodeId, Role, Topology};
use skuld::commands::context::NodeOfCluster;
use skuld::slot::{SLOTS, Slot};
use tokio::sync::mpsc;

use super::{Gossip, WithMachine};
use crate::envelope::tell;
use crate::slot_stats::SlotStats;

/// What happened in the cluster, for those who subscribed.
#[derive(Clone, Debug, PartialEq)]
pub enum ClusterEvent {
    /// Were this node's. Their keys are being deleted, unless this node was demoted by the same change.
    SlotsLost {
        slots: Vec<Slot>,
        to: Option<NodeId>,
    },
    SlotsGained {
        slots: Vec<Slot>,
    },
    /// Slots of any node changed hands.
    OwnershipChanged {
        slots: Vec<Slot>,
    },
    RoleChanged {
        role: Role,
        primary: Option<NodeId>,
    },
    NodeFailed(NodeId),
    NodeRecovered(NodeId),
    NodeRemoved(NodeId),
    StateChanged(ClusterState),
}

/// The cluster as the rest of the server sees it.
pub struct ClusterShared {
    topology: ArcSwap<Topology>,
    /// That of the snapshot: tells cheaply whether it is another one.
    generation: AtomicU64,
    /// Some slot is being moved: commands must look at keys to know where they run.
    open: AtomicBool,
    gossip: OnceLock<Addr<Gossip>>,
    subscribers: Mutex<Vec<mpsc::UnboundedSender<ClusterEvent>>>,
    /// Atomic slot migrations under way, set by them: CLUSTER SETSLOT is refused meanwhile.
    pub imports: AtomicU32,
    pub exports: AtomicU32,
    /// The text of CLUSTER INFO when it was last asked for, for INFO.
    info: Mutex<String>,
    /// Has a permit once the data are loaded.
    loaded: tokio::sync::Semaphore,
    /// What DEBUG has set.
    pub debug: Mutex<DebugHooks>,
    /// What commands cost, by slot.
    pub slot_stats: SlotStats,
    /// Bytes for other nodes that have not left, on all connections of the bus.
    pub waiting_bytes: AtomicU64,
}

impl NodeOfCluster for ClusterShared {
    fn served_until(&self, slot: Slot) -> usize {
        let topology = self.topology.load();
        (slot.index()..SLOTS).find(|&at| !topology.is_of_my_shard(Slot(at as u16))).unwrap_or(SLOTS)
    }
}

impl ClusterShared {
    pub fn new(topology: Topology) -> Self {
        Self {
            generation: AtomicU64::new(topology.generation),
            open: AtomicBool::new(!topology.migrating.is_empty() || !topology.importing.is_empty()),
            topology: ArcSwap::from_pointee(topology),
            gossip: OnceLock::new(),
            subscribers: Mutex::default(),
            imports: AtomicU32::new(0),
            exports: AtomicU32::new(0),
            info: Mutex::default(),
            loaded: tokio::sync::Semaphore::new(0),
            debug: Mutex::default(),
            slot_stats: SlotStats::default(),
            waiting_bytes: AtomicU64::new(0),
        }
    }

    /// What so many bytes for every other node come to.
    pub fn for_all_peers(&self, bytes: u64) -> u64 {
        bytes * (self.topology.load().nodes.len() as u64 - 1)
    }

    /// Memory of the connections of the bus and of what waits to be sent on them, bytes.
    pub fn link_memory(&self) -> u64 {
        /// A connection's own, on each side of a node, with its empty queue.
        const LINK_BYTES: u64 = 1024 + super::wire::QUEUE_BYTES as u64;
        let peers = self.topology.load().nodes.len() as u64 - 1;
        2 * peers * LINK_BYTES + self.waiting_bytes.load(Ordering::Relaxed)
    }

    /// The snapshot of now.
    pub fn topology(&self) -> Arc<Topology> {
        self.topology.load_full()
    }

    /// Its number.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether some slot is being moved.
    #[inline]
    pub fn has_open_slots(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    pub fn gossip(&self) -> &Addr<Gossip> {
        self.gossip.get().expect("set before the first connection")
    }

    /// Set once, before the first connection.
    pub fn set_gossip(&self, address: Addr<Gossip>) {
        assert!(self.gossip.set(address).is_ok(), "the address is set once");
    }

    /// Events from now on, in order.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<ClusterEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// The data of the last life are loaded: from now on they may be replaced by a primary's.
    pub fn data_loaded(&self) {
        self.loaded.add_permits(1);
    }

    /// Waits for that.
    pub async fn wait_for_data(&self) {
        // Never closed.
        let _ = self.loaded.acquire().await;
    }

    /// Asks for the text of CLUSTER INFO and keeps it.
    pub async fn renew_info(&self) {
        let text = self.with(|machine, _, _| skuld::cluster::describe::info_text(machine)).await;
        *self.info.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// The text that was kept.
    pub fn last_info(&self) -> String {
        self.info.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn publish(&self, topology: Topology) -> Arc<Topology> {
        let topology = Arc::new(topology);
        let open = !topology.migrating.is_empty() || !topology.importing.is_empty();
        self.topology.store(topology.clone());
        self.open.store(open, Ordering::Release);
        self.generation.store(topology.generation, Ordering::Release);
        topology
    }

    pub(super) fn announce(&self, events: &[ClusterEvent]) {
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| events.iter().all(|event| subscriber.send(event.clone()).is_ok()));
    }

    /// Has the node do or tell something, whether or not the answer is waited for. What it leads to is done before the
    /// answer comes.
    pub fn with<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Machine, Facts, &Topology) -> T + Send + 'static,
    ) -> impl Future<Output = T> + 'static {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let job = Box::new(move |machine: &mut Machine, facts: Facts, topology: &Topology| {
            let result = job(machine, facts, topology);
            // Who asked may have gone.
            let tell: Box<dyn FnOnce() + Send> = Box::new(move || drop(reply.send(result)));
            tell
        });
        tell(self.gossip(), WithMachine { job });
        async move { answer.await.expect("the actor lives as long as the process") }
    }
}

/// What changed from one snapshot to the next.
pub(super) fn events_between(old: &Topology, new: &Topology) -> Vec<ClusterEvent> {
    let mut events = Vec::new();
    let (mut changed, mut gained) = (Vec::new(), Vec::new());
    let mut lost: Vec<(Option<NodeId>, Vec<Slot>)> = Vec::new();
    // Most changes are of nodes, and leave the owners alone.
    let same_places = old.nodes.iter().map(|node| node.id).eq(new.nodes.iter().map(|node| node.id));
    if !same_places || old.owners != new.owners {
        // Where the nodes of the old snapshot are in the new one.
        let place = |id: &NodeId| new.nodes.iter().position(|node| node.id == *id);
        let places: Vec<Option<usize>> = old.nodes.iter().map(|node| place(&node.id)).collect();
        for slot in (0..skuld::slot::SLOTS as u16).map(Slot) {
            let (before, after) = (old.owner_index(slot), new.owner_index(slot));
            if before.is_none() && after.is_none()
                || before.is_some_and(|b| places[b].is_some() && places[b] == after)
            {
                continue;
            }
            changed.push(slot);
            if after == Some(new.me) {
                gained.push(slot);
            }
            if before == Some(old.me) {
                let to = after.map(|after| new.nodes[after].id);
                match lost.iter_mut().find(|(other, _)| *other == to) {
                    Some((_, slots)) => slots.push(slot),
                    None => lost.push((to, vec![slot])),
                }
            }
        }
    }
    if (old.me().role, old.my_primary().map(|p| p.id)) != (new.me().role, new.my_primary().map(|p| p.id)) {
        let primary = new.my_primary().map(|primary| primary.id);
        events.push(ClusterEvent::RoleChanged { role: new.me().role, primary });
    }
    events.extend(lost.into_iter().map(|(to, slots)| ClusterEvent::SlotsLost { slots, to }));
    if !gained.is_empty() {
        events.push(ClusterEvent::SlotsGained { slots: gained });
    }
    if !changed.is_empty() {
        events.push(ClusterEvent::OwnershipChanged { slots: changed });
    }
    for node in &old.nodes {
        match new.node(&node.id) {
            None => events.push(ClusterEvent::NodeRemoved(node.id)),
            Some(now) if now.failed() && !node.failed() => events.push(ClusterEvent::NodeFailed(node.id)),
            Some(now) if !now.failed() && node.failed() => events.push(ClusterEvent::NodeRecovered(node.id)),
            Some(_) => {}
        }
    }
    if old.state != new.state {
        events.push(ClusterEvent::StateChanged(new.state));
    }
    events
}

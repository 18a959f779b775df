//! The node of the cluster: runs the state machine of [`skuld::cluster`] on a thread of its own, with its bus.
//!
//! ```text
//!  sockets --BusPacket--> [ Gossip: Machine ] --Output--> sockets, nodes.conf, snapshot, shards, replication
//!  clients --WithMachine-->      ^ Tick every 100 ms
//! ```
//!
//! Invariant: what a machine wants saved is on the disk, and its snapshot published, before its packets leave.

mod file;
mod keys;
mod seam;
mod settings;
mod shared;
pub mod wire;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use skuld::cluster::machine::{CALM_TICKS, Facts, Level, Primary};
use skuld::cluster::redirect::Elsewhere;
use skuld::cluster::{ClusterState, LinkId, Machine, NodeId, Output, SlotBitmap, Topology};
use skuld::config::{ClusterConfigSaveBehavior, Config, LogLevel};
use skuld::slot::Slot;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::blocked;
use crate::clock;
use crate::connection::EndShardChannels;
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, outside_event, tell};
use crate::gate::cluster::view;
use crate::pause::Paused;
use crate::server::ServerRef;
use crate::server_commands::tell_all_shards;
use crate::shard::{Controlled, DeleteSlots};
use crate::subscriptions::Kind;

use file::NodesFile;
pub use keys::{key_counts, match_slots_with_keys};
pub use settings::{bus_port, check};
pub use shared::ClusterEvent;
pub use shared::ClusterShared;
use shared::events_between;
use wire::{Surroundings, Wire};

/// Between two ticks.
const TICK: Duration = Duration::from_millis(100);
/// While a replica waits for the last bytes of a manual failover.
const SHORT_TICK: Duration = Duration::from_millis(5);

/// Between two log lines that the file could not be written, milliseconds.
const SAVE_FAILURE_RELOG_MS: i64 = 60_000;

/// A packet of the bus.
pub struct BusPacket {
    pub link: LinkId,
    pub bytes: Vec<u8>,
    /// Given back when the packet is processed.
    pub turn: tokio::sync::OwnedSemaphorePermit,
}

/// A node has called.
pub struct BusAccepted {
    pub stream: TcpStream,
}

/// A call was answered.
pub struct LinkConnected {
    pub link: LinkId,
    pub peer_ip: String,
    pub local_ip: String,
}

/// A connection is gone.
pub struct LinkClosed {
    pub link: LinkId,
    /// What went wrong, unless it has been told.
    pub why: Option<String>,
}

/// Time passes.
pub struct Tick;

/// Do what the packets led to that were waiting together; the actor's note to itself.
pub struct Perform;

/// Writers are held back and the offset stands still.
pub struct Frozen;

/// Tells what a job found out, once what it led to is done.
pub type Finisher = Box<dyn FnOnce() + Send>;

/// What [`WithMachine`] has the node do.
pub type Job = Box<dyn FnOnce(&mut Machine, Facts, &Topology) -> Finisher + Send>;

/// Do or tell something; see [`ClusterShared::with`].
pub struct WithMachine {
    pub job: Job,
}

/// Take slots that an atomic migration has brought.
pub struct ClaimSlots {
    pub slots: Vec<Slot>,
    /// The epoch of the claim, or why there is none.
    pub reply: tokio::sync::oneshot::Sender<Result<u64, String>>,
}

/// Let another node have slots whatever its epoch, or, with nobody, no longer.
pub struct GrantSlots {
    pub slots: Vec<Slot>,
    pub to: Option<NodeId>,
}

/// Publish to the other nodes.
pub struct PublishToNodes {
    pub sharded: bool,
    pub channel: Vec<u8>,
    pub message: Vec<u8>,
    /// What it counts until it is handed to the connections, bytes.
    pub waiting: u64,
}

/// What CLUSTER LINKS tells.
pub struct DescribeLinks {
    pub reply: tokio::sync::oneshot::Sender<Vec<LinkDescription>>,
}

/// One connection of the bus.
pub struct LinkDescription {
    pub inbound: bool,
    pub node: NodeId,
    pub created_ms: i64,
    pub waiting: usize,
}

/// What a message for other nodes takes until the actor has it, bytes.
pub fn waiting_bytes(channel: &[u8], message: &[u8]) -> u64 {
    /// Header of the packet, and the lengths.
    const HEAD_BYTES: usize = 24;
    (HEAD_BYTES + channel.len() + message.len()) as u64
}

crate::receives!(Gossip:
    BusPacket = 0,
    BusAccepted = 1,
    LinkConnected = 2,
    LinkClosed = 3,
    Tick = 4,
    WithMachine = 5,
    ClaimSlots = 6,
    GrantSlots = 7,
    PublishToNodes = 8,
    DescribeLinks = 9,
    Frozen = 10,
    Perform = 11,
);

/// What the node starts with: made before the listening ports open, so that a bad file ends the process early.
pub struct Prepared {
    machine: Machine,
    file: NodesFile,
    bus: Vec<std::net::TcpListener>,
}

/// Reads `nodes.conf` and binds the bus.
///
/// # Errors
/// The text to log before the process ends.
pub fn prepare(config: &Config, seed: u64) -> Result<(Prepared, ClusterShared), String> {
    let (file, saved) = NodesFile::open(&config.cluster_config_file.to_str())?;
    check(config)?;
    let facts = Facts { now: clock::unix_ms(), ..Facts::default() };
    let settings = settings::settings_of(config, Default::default());
    let mut machine = match &saved {
        Some(saved) => {
            let machine = Machine::restore(saved, settings, facts, seed);
            tracing::info!("Node configuration loaded, I'm {}", machine.me().id);
            machine
        }
        None => {
            let machine = Machine::new(settings, facts, seed);
            tracing::info!("No cluster configuration found, I'm {}", machine.me().id);
            machine
        }
    };
    let bus = crate::listener::bind_bus(config, bus_port(config))?;
    file.write(&machine.saved().write(), true)?;
    let shared = ClusterShared::new(machine.topology());
    Ok((Prepared { machine, file, bus }, shared))
}

/// The actor.
pub struct Gossip {
    id: ActorId,
    server: ServerRef,
    shared: Arc<ClusterShared>,
    machine: Machine,
    file: NodesFile,
    wires: HashMap<LinkId, Wire>,
    bus: Vec<std::net::TcpListener>,
    config: Arc<Config>,
    topology: Arc<Topology>,
    short_ticks: bool,
    last_tick_ms: i64,
    /// The next tick, and whether it is a late one because nothing is going on.
    next_tick: Option<(SpawnHandle, bool)>,
    /// Where changes of the role are made, in order.
    roles: Option<mpsc::UnboundedSender<seam::Change>>,
    /// What is still to be done when this node leads.
    after_lead: Vec<Output>,
    /// [`Perform`] is on its way.
    will_perform: bool,
    /// When it was last logged that the file could not be written, Unix milliseconds.
    save_failure_told_ms: i64,
}

impl Gossip {
    pub fn new(server: ServerRef, shared: Arc<ClusterShared>, prepared: Prepared) -> Self {
        let Prepared { machine, file, bus } = prepared;
        Self {
            id: next_actor(ActorKind::Gossip),
            config: server.config.load_full(),
            topology: shared.topology(),
            server,
            shared,
            machine,
            file,
            wires: HashMap::new(),
            bus,
            short_ticks: false,
            last_tick_ms: 0,
            next_tick: None,
            roles: None,
            after_lead: Vec::new(),
            will_perform: false,
            save_failure_told_ms: 0,
        }
    }

    fn facts(&self) -> Facts {
        let (offset, primary_silent_ms) = seam::facts(&self.server);
        Facts { now: clock::unix_ms(), offset, primary_silent_ms }
    }

    /// Follows the configuration.
    fn refresh(&mut self) {
        let current = self.server.config.load();
        let debug = *self.shared.debug.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if Arc::ptr_eq(&current, &self.config) {
            self.machine.settings.debug = debug;
            return;
        }
        self.config = Arc::clone(&current);
        let facts = self.facts();
        self.machine.configure(facts, settings::settings_of(&self.config, debug));
    }

    /// Whether the next tick may come late.
    fn is_calm(&self) -> bool {
        self.config.cluster_link_sendbuf_limit == 0 && self.machine.is_calm()
    }

    /// Has the next tick come when it is due; late, if nothing is going on.
    fn schedule_tick(&mut self, ctx: &mut Context<Self>) {
        let late = self.is_calm();
        let delay = if late { TICK * CALM_TICKS as u32 } else { clock::until_next(TICK) };
        let handle = clock::after(ctx, delay, |gossip: &mut Self, ctx| {
            gossip.next_tick = None;
            tell(&ctx.address(), Tick);
        });
        if let Some((former, _)) = self.next_tick.replace((handle, late)) {
            ctx.cancel_future(former);
        }
    }

    /// Does what the machine wants.
    fn perform(&mut self, ctx: &mut Context<Self>) {
        loop {
            let outputs = put_together(self.machine.take_outputs());
            if outputs.is_empty() {
                break;
            }
            if !self.after_lead.is_empty() {
                // In order, behind what waits already.
                self.after_lead.extend(outputs);
                continue;
            }
            if outputs.contains(&Output::StopReplicating) {
                // Clients are not sent here, by the snapshot or by the other nodes, before their writes are taken here.
                self.after_lead = outputs;
                self.lead(ctx);
                continue;
            }
            self.perform_all(outputs, ctx);
        }
        if matches!(self.next_tick, Some((_, true))) && !self.is_calm() {
            self.schedule_tick(ctx);
        }
        if self.machine.awaits_offset() && !self.short_ticks {
            self.short_ticks = true;
            ctx.run_later(SHORT_TICK, |gossip, ctx| {
                outside_event(gossip.id, clock::tick());
                gossip.short_ticks = false;
                tell(&ctx.address(), Tick);
            });
        }
    }

    /// Keys of slots that were lost are deleted as soon as clients are sent elsewhere for them, before the disk is
    /// waited for: the slots may come back soon.
    fn perform_all(&mut self, mut outputs: Vec<Output>, ctx: &mut Context<Self>) {
        outputs.sort_by_key(|output| match output {
            Output::TopologyChanged => 0,
            Output::DeleteKeys { .. } => 1,
            _ => 2,
        });
        for output in outputs {
            self.perform_one(output, ctx);
        }
    }

    fn perform_one(&mut self, output: Output, ctx: &mut Context<Self>) {
        match output {
            Output::TopologyChanged => self.publish_topology(),
            Output::Save { fsync } => self.save(fsync),
            Output::Connect { link, ip, port } => {
                let around = self.surroundings(ctx);
                let id = self.machine.links().get(&link).and_then(|link| link.node);
                let id = id.map(|index| self.machine.node(index).id.to_string()).unwrap_or_default();
                let wire = Wire::dial(link, (id, ip, port), self.bind_source(), around, clock::unix_ms());
                self.wires.insert(link, wire);
            }
            Output::Send { link, bytes, .. } => {
                if let Some(wire) = self.wires.get(&link) {
                    wire.send(bytes);
                }
            }
            Output::Close { link } => {
                self.wires.remove(&link);
            }
            Output::Log(level, text) => match level {
                Level::Debug => tracing::trace!("{text}"),
                Level::Verbose => tracing::debug!("{text}"),
                Level::Notice => tracing::info!("{text}"),
                Level::Warning => tracing::warn!("{text}"),
            },
            Output::Publish { sharded, channel, message } => {
                let kind = if sharded { Kind::ShardChannel } else { Kind::Channel };
                let receivers = self.server.subscriptions.publish(kind, &channel, &message);
                if sharded {
                    crate::slot_stats::add_message(&self.server, &channel, &message, receivers);
                }
            }
            Output::Replicate(primary) => self.replicate(primary),
            // Done before the others.
            Output::StopReplicating => {}
            Output::FlushAll => self.delete_keys((0..skuld::slot::SLOTS as u16).map(Slot).collect()),
            Output::DeleteKeys { slots } => {
                keys::tell_of_dirty_slots(&self.server, slots.clone());
                self.delete_keys(slots);
            }
            Output::Pause { until } => self.pause(until, ctx),
            Output::Unpause => {
                self.server.replication.stream_stands_still.store(false, Ordering::Relaxed);
                self.server.pause.end();
                let server = self.server.clone();
                actix::spawn(async move { tell_all_shards(&server, Controlled::EndPause).await });
            }
        }
    }

    fn surroundings(&self, ctx: &Context<Self>) -> Surroundings {
        Surroundings {
            actor: ctx.address(),
            shared: self.shared.clone(),
            tls: self.config.tls_cluster.then(|| self.server.clone()),
        }
    }

    /// The address calls are made from: the first one that is configured to listen on.
    fn bind_source(&self) -> Option<IpAddr> {
        let first = self.config.bind.first()?.to_str();
        let ip: IpAddr = first.trim_start_matches('-').parse().ok()?;
        (!ip.is_unspecified()).then_some(ip)
    }

    fn publish_topology(&mut self) {
        let new = self.shared.publish(self.machine.topology());
        let events = events_between(&self.topology, &new);
        self.leave_slots(&new, &events);
        self.topology = new;
        self.shared.announce(&events);
        self.end_waits();
    }

    /// Slots have another owner than before: what was counted for them is over, and so are subscriptions to their
    /// channels.
    fn leave_slots(&self, new: &Topology, events: &[ClusterEvent]) {
        let old = &self.topology;
        let changed = events.iter().find_map(|event| match event {
            ClusterEvent::OwnershipChanged { slots } => Some(slots.as_slice()),
            _ => None,
        });
        let mut left = SlotBitmap::default();
        for slot in changed.unwrap_or_default().iter().filter(|slot| old.owner_index(**slot).is_some()) {
            left.insert(*slot);
            self.shared.slot_stats.reset_slot(*slot);
        }
        let moved = old.my_primary().map(|primary| primary.id) != new.my_primary().map(|primary| primary.id);
        if !moved && left.is_empty() || self.server.subscriptions.len(Kind::ShardChannel) == 0 {
            return;
        }
        let ends = |channel: &[u8]| {
            let slot = skuld::slot::slot_of(channel);
            left.contains(slot) || moved && !new.is_of_my_shard(slot)
        };
        for (client, channels) in self.server.subscriptions.holders_of_channels(ends) {
            tell(&client.connection, EndShardChannels { channels });
        }
    }

    /// Clients that wait for keys which are served elsewhere now, or nowhere, are sent there.
    fn end_waits(&self) {
        let topology = &self.topology;
        blocked::end_where(&self.server, |waiter| {
            let slot = *waiter.slots.first()?;
            let elsewhere = if topology.state == ClusterState::Fail {
                Elsewhere::Down
            } else if topology.is_mine(slot)
                || topology.importing.contains_key(&slot.0)
                || topology.is_of_my_shard(slot) && waiter.reads_on_replicas()
            {
                return None;
            } else {
                topology.owner_index(slot).map_or(Elsewhere::Unbound, |owner| Elsewhere::Moved(slot, owner))
            };
            let view = view(waiter.client.tls, &waiter.client.peer);
            Some(elsewhere.error(topology, &self.config, view).to_string())
        });
    }

    fn save(&mut self, fsync: bool) {
        let Err(error) = self.file.write(&self.machine.saved().write(), fsync) else { return };
        tracing::warn!("{error}");
        if self.config.cluster_config_save_behavior == ClusterConfigSaveBehavior::Sync {
            tracing::warn!("Fatal: can't update cluster config file.");
            std::process::exit(1);
        }
        // Every change would say so otherwise.
        let now = clock::unix_ms();
        if now - self.save_failure_told_ms >= SAVE_FAILURE_RELOG_MS {
            self.save_failure_told_ms = now;
            tracing::warn!(
                "Cluster config updated even though writing the cluster config file to disk failed."
            );
        }
    }

    fn replicate(&self, primary: Primary) {
        self.server.replication.stream_stands_still.store(false, Ordering::Relaxed);
        if primary.full_sync {
            // From now on, not from when the link has been told.
            self.server.replication.has_no_data.store(true, Ordering::Relaxed);
        }
        let port = if self.config.tls_replication { primary.tls_port } else { primary.tcp_port };
        self.change_role(seam::Change::Follow { host: primary.ip, port, full_sync: primary.full_sync });
    }

    fn change_role(&self, change: seam::Change) {
        if let Some(roles) = &self.roles {
            // The task lives as long as the actor.
            let _ = roles.send(change);
        }
    }

    /// Becomes a primary, and then does what waits for that.
    fn lead(&mut self, ctx: &mut Context<Self>) {
        let (done, leads) = tokio::sync::oneshot::channel();
        self.change_role(seam::Change::Lead { done });
        let leads = async move {
            // The task lives as long as the actor.
            let _ = leads.await;
        };
        ctx.wait(leads.into_actor(self).map(|(), gossip, ctx| {
            let outputs = std::mem::take(&mut gossip.after_lead);
            gossip.perform_all(outputs, ctx);
            gossip.perform(ctx);
        }));
    }

    fn delete_keys(&self, slots: Vec<Slot>) {
        let slots: Arc<[Slot]> = slots.into();
        for shard in self.server.shards() {
            tell(shard, DeleteSlots { slots: slots.clone(), done: None });
        }
    }

    /// Holds writers back; when nothing of theirs is on its way any more, the offset is final.
    fn pause(&self, until: i64, ctx: &mut Context<Self>) {
        self.server.pause.begin(Paused::Writes, until);
        self.server.replication.stream_stands_still.store(true, Ordering::Relaxed);
        let server = self.server.clone();
        let frozen = async move {
            tell_all_shards(&server, Controlled::ConfirmPause).await;
            seam::settle(&server).await;
        };
        ctx.spawn(frozen.into_actor(self).map(|(), _, ctx| tell(&ctx.address(), Frozen)));
    }

    /// Closes connections whose peers do not read.
    fn limit_buffers(&mut self) {
        let limit = self.config.cluster_link_sendbuf_limit as usize;
        if limit == 0 {
            return;
        }
        let over: Vec<(LinkId, usize)> = self
            .wires
            .iter()
            .map(|(link, wire)| (*link, wire.used()))
            .filter(|(_, waiting)| *waiting > limit)
            .collect();
        for (link, waiting) in over {
            let facts = self.facts();
            self.machine.buffer_exceeded(facts, link, waiting);
        }
    }
}

/// One snapshot and one write of the file for all changes, ahead of everything that tells of them.
fn put_together(outputs: Vec<Output>) -> Vec<Output> {
    let is_save = |output: &Output| matches!(output, Output::Save { .. });
    let saves = outputs.iter().filter(|output| is_save(output)).count();
    let changes = outputs.iter().filter(|output| **output == Output::TopologyChanged).count();
    if saves.max(changes) <= 1 {
        return outputs;
    }
    let fsync = outputs.contains(&Output::Save { fsync: true });
    let mut all = Vec::with_capacity(outputs.len());
    all.extend((changes > 0).then_some(Output::TopologyChanged));
    all.extend((saves > 0).then_some(Output::Save { fsync }));
    let others = outputs.into_iter();
    all.extend(others.filter(|output| !is_save(output) && *output != Output::TopologyChanged));
    all
}

impl Actor for Gossip {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        for std in std::mem::take(&mut self.bus) {
            let address = ctx.address();
            let timeout = self.config.cluster_node_timeout;
            let listener = match TcpListener::from_std(std) {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::warn!("Unrecoverable error creating Cluster socket accept handler: {error}");
                    std::process::exit(1);
                }
            };
            actix::spawn(async move {
                loop {
                    match listener.accept().await {
                        Ok((stream, peer)) => {
                            tracing::debug!("Accepting cluster node connection from {peer}");
                            wire::prepare(&stream, timeout);
                            tell(&address, BusAccepted { stream });
                        }
                        Err(error) => {
                            tracing::debug!("Error accepting cluster node: {error}");
                            tokio::time::sleep(TICK).await;
                        }
                    }
                }
            });
        }
        self.roles = Some(seam::start(self.server.clone()));
        let facts = self.facts();
        self.machine.start(facts);
        self.perform(ctx);
        self.schedule_tick(ctx);
    }
}

impl TracedActor for Gossip {
    const KIND: ActorKind = ActorKind::Gossip;

    fn id(&self) -> ActorId {
        self.id
    }
}

impl Receive<BusPacket> for Gossip {
    fn receive(&mut self, BusPacket { link, bytes, turn }: BusPacket, ctx: &mut Context<Self>) {
        // What CONFIG SET has answered holds for the next packet.
        self.refresh();
        let facts = self.facts();
        self.machine.packet(facts, link, &bytes);
        drop(turn);
        // With those that wait already: one look at the whole, one write of the file.
        if !std::mem::replace(&mut self.will_perform, true) {
            tell(&ctx.address(), Perform);
        }
    }
}

impl Receive<Perform> for Gossip {
    fn receive(&mut self, _: Perform, ctx: &mut Context<Self>) {
        self.will_perform = false;
        self.perform(ctx);
    }
}

impl Receive<BusAccepted> for Gossip {
    fn receive(&mut self, BusAccepted { stream }: BusAccepted, ctx: &mut Context<Self>) {
        let facts = self.facts();
        let (peer_ip, local_ip) = wire::ends(&stream);
        let link = self.machine.accepted(facts, peer_ip, local_ip);
        self.wires.insert(link, Wire::accept(link, stream, self.surroundings(ctx), facts.now));
    }
}

impl Receive<LinkConnected> for Gossip {
    fn receive(&mut self, message: LinkConnected, ctx: &mut Context<Self>) {
        let LinkConnected { link, peer_ip, local_ip } = message;
        let facts = self.facts();
        self.machine.connected(facts, link, peer_ip, local_ip);
        self.perform(ctx);
    }
}

impl Receive<LinkClosed> for Gossip {
    fn receive(&mut self, LinkClosed { link, why }: LinkClosed, ctx: &mut Context<Self>) {
        let facts = self.facts();
        if let Some(why) = why
            && self.config.loglevel == LogLevel::Debug
        {
            let (number, name) = self.machine.name_of_link(link);
            tracing::trace!("I/O error reading from node link ({number}) ({name}): {why}");
            tracing::trace!("Freeing cluster link for node: {number} ({name})");
        }
        self.wires.remove(&link);
        self.machine.disconnected(facts, link);
        self.perform(ctx);
    }
}

impl Receive<Tick> for Gossip {
    fn receive(&mut self, _: Tick, ctx: &mut Context<Self>) {
        self.refresh();
        self.limit_buffers();
        let facts = self.facts();
        if facts.now - self.last_tick_ms < TICK.as_millis() as i64 / 2 && self.last_tick_ms <= facts.now {
            // A short tick: only the manual failover is looked after.
            self.machine.look_after_manual_failover(facts);
        } else {
            let passed = (facts.now - self.last_tick_ms) / TICK.as_millis() as i64;
            self.last_tick_ms = facts.now;
            self.machine.tick_after(facts, (passed - 1).clamp(0, CALM_TICKS as i64 - 1) as u64);
        }
        self.perform(ctx);
        if self.next_tick.is_none() {
            self.schedule_tick(ctx);
        }
    }
}

impl Receive<Frozen> for Gossip {
    fn receive(&mut self, _: Frozen, ctx: &mut Context<Self>) {
        let facts = self.facts();
        self.machine.paused(facts);
        self.perform(ctx);
    }
}

impl Receive<WithMachine> for Gossip {
    fn receive(&mut self, WithMachine { job }: WithMachine, ctx: &mut Context<Self>) {
        self.refresh();
        self.perform(ctx);
        let facts = self.facts();
        self.machine.facts = facts;
        let topology = self.topology.clone();
        let finish = job(&mut self.machine, facts, &topology);
        self.perform(ctx);
        finish();
    }
}

impl Receive<ClaimSlots> for Gossip {
    fn receive(&mut self, ClaimSlots { slots, reply }: ClaimSlots, ctx: &mut Context<Self>) {
        let facts = self.facts();
        let claimed = self.machine.claim_slots(facts, &slots);
        self.perform(ctx);
        // Who asked may have gone.
        let _ = reply.send(claimed);
    }
}

impl Receive<GrantSlots> for Gossip {
    fn receive(&mut self, GrantSlots { slots, to }: GrantSlots, _: &mut Context<Self>) {
        self.machine.grant_slots(&slots, to.is_some());
    }
}

impl Receive<PublishToNodes> for Gossip {
    fn receive(&mut self, message: PublishToNodes, ctx: &mut Context<Self>) {
        self.shared.waiting_bytes.fetch_sub(message.waiting, Ordering::Relaxed);
        let facts = self.facts();
        self.machine.publish(facts, message.sharded, &message.channel, &message.message);
        self.perform(ctx);
    }
}

impl Receive<DescribeLinks> for Gossip {
    fn receive(&mut self, DescribeLinks { reply }: DescribeLinks, _: &mut Context<Self>) {
        let mut links = Vec::new();
        for (_, node) in self.machine.nodes() {
            for (link, inbound) in [(node.outbound, false), (node.inbound, true)] {
                if let Some(wire) = link.and_then(|link| self.wires.get(&link)) {
                    links.push(LinkDescription {
                        inbound,
                        node: node.id,
                        created_ms: wire.created_ms,
                        waiting: wire.used(),
                    });
                }
            }
        }
        // Who asked may have gone.
        let _ = reply.send(links);
    }
}

//! The replication log: the one ordered stream of effects.
//!
//! ```text
//!                      +--> framer --> stream: offsets, backlog, replicas (see [`serving`])
//! Shards --Append-->  [log]
//!                      +--> framer --> commands: the append-only file
//! ReplicaLink --Relay--+    (on a replica the stream is the primary's bytes, unchanged)
//! ```
//!
//! Invariant: a shard's appends are ordered as it executed them; a unit's effects are contiguous.
//! Invariant: whoever is told of something after a shard sent an `Append` finds the log to have handled that `Append`.

mod serving;
mod two_channels;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use skuld::effects::{Audience, Event, Propagation};
use skuld::replication::backlog::Backlog;
use skuld::replication::framing::Framer;
use skuld::replication::history::History;

pub use self::serving::{
    Acknowledged, AwaitAcknowledged, DescribeReplication, DescribeSnapshotMembers, Facts, Follow,
    FollowerFacts, FollowerLost, Following, Member, Reached, SnapshotCut, SnapshotEnded, SnapshotSent, Want,
};
use crate::clock;
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, tell};
use crate::replication::bit;
use crate::replication::followers::Follower;
use crate::server::ServerRef;

/// Most bytes of effects kept for ACTOR EFFECTS; older ones are dropped.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// Events kept for ACTOR EVENTS; the oldest go first.
const KEPT_EVENTS_MAX: usize = 100_000;

/// Effects of one batch slice or unit.
pub struct Append {
    /// From [`crate::replication::Replication::issue`].
    pub sequence: u64,
    pub propagation: Propagation,
    pub events: Vec<Event>,
}

/// Take the stream collected so far (ACTOR EFFECTS, ACTOR EVENTS).
pub struct DrainStream {
    pub what: Drain,
    pub reply: tokio::sync::oneshot::Sender<Drained>,
}

/// Which of the two collections to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    Commands,
    Events,
}

/// What was collected since the last drain.
#[derive(Debug, Default)]
pub struct Drained {
    /// Encoded commands, with SELECT where the database changes and MULTI/EXEC around units of several.
    pub commands: Vec<Vec<u8>>,
    pub events: Vec<Event>,
}

/// Give every executed command to this consumer too, from now on. First [`crate::replication::listen`] with
/// [`bit::COMMANDS`], so that shards record.
pub struct AttachCommands {
    pub consumer: CommandConsumer,
    /// Told where the consumer's first piece begins.
    pub reply: tokio::sync::oneshot::Sender<Position>,
}

/// No more commands for the consumer; dropping it tells it so.
pub struct DetachCommands;

/// The consumer begins a new file: hand out what there is, then select the database again.
pub struct ReselectCommands {
    pub reply: tokio::sync::oneshot::Sender<Position>,
}

/// Say where the stream is: sent by a cut while it holds all slots, so that everything before is before.
pub struct DescribePosition {
    pub reply: tokio::sync::oneshot::Sender<Position>,
}

/// Bytes of the primary's stream that have been executed here.
pub struct Relay {
    pub bytes: Vec<u8>,
}

/// We follow a primary from now on; every shard has confirmed that it executes nothing else.
pub struct BecomeReplica;

/// We follow nobody any more. Answered when the history has its new name; then the role may change.
pub struct BecomePrimary {
    pub reply: tokio::sync::oneshot::Sender<()>,
}

/// The primary answered PSYNC: its stream goes on from here, under this name if it gave one.
pub struct HistoryContinued {
    pub name: Option<String>,
}

/// The data is about to be replaced by a primary's: what we knew is worth nothing to others.
pub struct HistoryLost;

/// A snapshot of a primary was loaded.
pub struct HistoryAdopted {
    pub name: String,
    pub offset: i64,
    pub reply: tokio::sync::oneshot::Sender<()>,
}

/// What a data file that was loaded at the start says about its history.
pub struct HistoryRestored {
    pub name: String,
    pub offset: i64,
    /// The database its stream was in.
    pub db: u32,
    /// We are a primary: the history goes on under a new name, and these keys were not loaded because they had expired.
    pub dropped: Option<Vec<(u32, Vec<u8>)>>,
}

/// Another name for the history from now on (DEBUG CHANGE-REPL-ID), and no memory of the one before.
pub struct RenameHistory;

/// Put this command into the stream (DEBUG REPLICATE and the like).
pub struct Inject {
    pub words: Vec<Vec<u8>>,
}

/// The append-only file has this much of the stream on the disk; `None` if there is no such file any more.
pub struct Fsynced {
    pub offset: Option<i64>,
}

/// Time to look after replicas.
pub struct Beat;

/// Hand out what is framed; the log's note to itself, handled once the mailbox is empty.
struct HandOut;

/// Receives pieces of what was executed. Called on the log's thread: pass them on and return.
pub type CommandConsumer = Box<dyn FnMut(CommandPiece) + Send>;

/// Commands in the form of the stream, with SELECT and MULTI/EXEC of their own (no PING, no GETACK).
#[derive(Clone, Debug)]
pub struct CommandPiece {
    pub bytes: Bytes,
    /// All `Append`s up to this number are in the pieces so far.
    pub sequence: u64,
    /// Offset of the stream behind this piece.
    pub offset: i64,
}

/// A point of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub replication_id: String,
    pub offset: i64,
    /// The database the stream is in, or -1.
    pub db: i64,
    /// All `Append`s up to this number are before.
    pub sequence: u64,
    /// There is a backlog: somebody may want to go on from here.
    pub is_kept: bool,
}

crate::receives!(ReplicationLog:
    Append = 0,
    DrainStream = 1,
    AttachCommands = 2,
    DetachCommands = 3,
    ReselectCommands = 4,
    DescribePosition = 5,
    HandOut = 6,
    Relay = 7,
    BecomeReplica = 8,
    BecomePrimary = 9,
    HistoryContinued = 10,
    HistoryLost = 11,
    HistoryAdopted = 12,
    RenameHistory = 13,
    Inject = 14,
    Fsynced = 15,
    Beat = 16,
    Follow = 17,
    FollowerLost = 18,
    Acknowledged = 19,
    SnapshotCut = 20,
    DescribeSnapshotMembers = 21,
    SnapshotSent = 22,
    SnapshotEnded = 23,
    DescribeReplication = 24,
    AwaitAcknowledged = 25,
    HistoryRestored = 26,
);

/// Which `Append`s have come: messages of different shards may overtake each other by a little.
#[derive(Debug, Default)]
struct Frontier {
    reached: u64,
    ahead: BinaryHeap<Reverse<u64>>,
}

impl Frontier {
    fn arrived(&mut self, sequence: u64) {
        self.ahead.push(Reverse(sequence));
        while self.ahead.peek() == Some(&Reverse(self.reached + 1)) {
            self.ahead.pop();
            self.reached += 1;
        }
    }
}

/// Commands for one consumer.
struct Commands {
    framer: Framer,
    framed: Vec<u8>,
    consumer: CommandConsumer,
    /// Sequence and offset of the last piece.
    told: u64,
    told_offset: i64,
}

/// What ACTOR EFFECTS and EVENTS take.
#[derive(Default)]
struct Kept {
    framer: Framer,
    commands: VecDeque<Vec<u8>>,
    bytes: usize,
    events: VecDeque<Event>,
}

impl Kept {
    fn keep(&mut self, propagation: &Propagation, events: Vec<Event>) {
        let mut framed = Vec::new();
        self.framer.frame(propagation, Audience::All, &mut framed);
        let mut rest = framed.as_slice();
        while let Some(length) = command_length(rest) {
            let (command, behind) = rest.split_at(length);
            self.bytes += command.len();
            self.commands.push_back(command.to_vec());
            rest = behind;
        }
        while self.bytes > KEPT_BYTES_MAX {
            let Some(oldest) = self.commands.pop_front() else { break };
            self.bytes -= oldest.len();
        }
        self.events.extend(events);
        self.events.drain(..self.events.len().saturating_sub(KEPT_EVENTS_MAX));
    }
}

/// Bytes of the first of several commands, which we have encoded ourselves.
fn command_length(bytes: &[u8]) -> Option<usize> {
    fn number(bytes: &[u8], at: &mut usize) -> Option<usize> {
        let end = *at + bytes.get(*at..)?.iter().position(|&b| b == b'\r')?;
        let digits = std::str::from_utf8(bytes.get(*at + 1..end)?).ok()?;
        *at = end + 2;
        digits.parse().ok()
    }
    let mut at = 0;
    for _ in 0..number(bytes, &mut at)? {
        let length = number(bytes, &mut at)?;
        at += length + 2;
    }
    Some(at)
}

/// A buffer larger than this is given back when it is empty.
const KEEP_BYTES: usize = 256 << 10;

/// The actor.
pub struct ReplicationLog {
    id: ActorId,
    server: ServerRef,
    history: History,
    /// What the stream has selected.
    framer: Framer,
    /// Framed and not handed out yet; its bytes count in the offset already.
    framed: Vec<u8>,
    handing_out: bool,
    backlog: Option<Backlog>,
    commands: Option<Commands>,
    kept: Kept,
    frontier: Frontier,
    followers: Vec<Follower>,
    serving: serving::Serving,
}

/// Seconds that a replica has for asking for the stream after its snapshot's connection was closed.
const RDB_CLIENT_GRACE_S: i64 = 5;

/// Between two looks at the replicas.
const BEAT: Duration = Duration::from_millis(100);

impl ReplicationLog {
    pub fn new(server: ServerRef) -> Self {
        server.replication.rdb_client_grace_s.store(RDB_CLIENT_GRACE_S, Ordering::Relaxed);
        // There is no append-only file yet.
        server.replication.file_offset.store(-1, Ordering::Relaxed);
        Self {
            id: next_actor(ActorKind::ReplicationLog),
            history: History::new(server.replication_id.load().to_string()),
            server,
            framer: Framer::default(),
            framed: Vec::new(),
            handing_out: false,
            backlog: None,
            commands: None,
            kept: Kept::default(),
            frontier: Frontier::default(),
            followers: Vec::new(),
            serving: serving::Serving::default(),
        }
    }

    fn position(&self) -> Position {
        Position {
            replication_id: self.history.name.clone(),
            offset: self.history.offset,
            db: self.framer.db().map_or(-1, i64::from),
            sequence: self.frontier.reached,
            is_kept: self.backlog.is_some(),
        }
    }

    fn hand_out_soon(&mut self, ctx: &mut Context<Self>) {
        if !self.handing_out {
            self.handing_out = true;
            tell(&ctx.address(), HandOut);
        }
    }

    /// Gives consumers what is framed for them.
    fn hand_out(&mut self) {
        self.ask_for_acknowledgements();
        if !self.framed.is_empty() {
            let wanted_from = self.wanted_from();
            if let Some(backlog) = &mut self.backlog {
                backlog.keep(self.server.config.load().repl_backlog_size, wanted_from);
                backlog.push(&self.framed);
            }
            if !self.followers.is_empty() || !self.serving.awaiting.is_empty() {
                let piece: Arc<[u8]> = self.framed.as_slice().into();
                self.stream_to_followers(&piece);
            }
            self.framed.clear();
            if self.framed.capacity() > KEEP_BYTES {
                self.framed = Vec::new();
            }
        }
        self.hand_out_commands();
        self.publish();
    }

    /// Lets others see where the stream is.
    fn publish(&self) {
        self.server.replication.offset.store(self.history.offset, Ordering::Relaxed);
        if !self.followers.is_empty() {
            self.note_held();
        }
    }

    /// What the backlog keeps for replicas does not count for eviction.
    fn note_held(&self) {
        self.server.eviction.set_held(self.held_bytes());
    }

    /// Bytes that the backlog keeps beyond its size, for replicas that cannot take them yet.
    fn held_bytes(&self) -> u64 {
        self.backlog.as_ref().map_or(0, |backlog| backlog.beyond_size() as u64)
    }

    /// Keeps the end of the stream from here on.
    fn create_backlog(&mut self) {
        let size = self.server.config.load().repl_backlog_size;
        self.backlog = Some(Backlog::new(size, self.history.offset + 1));
        self.server.replication.set(bit::STREAM);
    }

    fn free_backlog(&mut self) {
        self.hand_out();
        self.backlog = None;
        self.server.replication.clear(bit::STREAM);
    }

    fn rename(&mut self, name: String) {
        self.server.replication_id.store(Arc::new(name.clone()));
        self.history.rename(name);
    }

    fn branch(&mut self, name: String) {
        self.server.replication_id.store(Arc::new(name.clone()));
        self.history.branch(name);
        let (former, end) = self.history.shown_former();
        tracing::info!(
            "Setting secondary replication ID to {former}, valid up to offset: {end}. New replication ID is {}",
            self.history.name
        );
    }

    fn hand_out_commands(&mut self) {
        let (sequence, offset) = (self.frontier.reached, self.history.offset);
        // A piece without bytes says that what it numbers had nothing for the file.
        let new = |c: &&mut Commands| !c.framed.is_empty() || c.told < sequence || c.told_offset != offset;
        if let Some(commands) = self.commands.as_mut().filter(new) {
            commands.told = sequence;
            commands.told_offset = offset;
            let bytes = Bytes::from(std::mem::take(&mut commands.framed));
            (commands.consumer)(CommandPiece { bytes, sequence, offset });
        }
    }

    /// Whether the stream is made here and somebody may want it.
    fn makes_stream(&self, flags: u8) -> bool {
        flags & bit::REPLICA == 0 && self.backlog.is_some()
    }
}

impl Actor for ReplicationLog {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        clock::every(ctx, BEAT, |_, ctx| tell(&ctx.address(), Beat));
    }
}

impl TracedActor for ReplicationLog {
    const KIND: ActorKind = ActorKind::ReplicationLog;

    fn id(&self) -> ActorId {
        self.id
    }
}

impl Receive<Append> for ReplicationLog {
    fn receive(&mut self, append: Append, ctx: &mut Context<Self>) {
        let flags = self.server.replication.flags();
        let propagation = &append.propagation;
        if self.makes_stream(flags) {
            let before = self.framed.len();
            self.framer.frame(propagation, Audience::Replicas, &mut self.framed);
            self.history.offset += (self.framed.len() - before) as i64;
            self.serving.mark(append.sequence, self.history.offset);
        } else if flags & bit::REPLICA == 0 && self.commands.is_some() {
            // Nobody follows: the offset only serves to tell what is in the file.
            self.history.offset += propagation.commands.len() as i64;
            self.serving.mark(append.sequence, self.history.offset);
        }
        if let Some(commands) = &mut self.commands {
            commands.framer.frame(propagation, Audience::File, &mut commands.framed);
        }
        if flags & bit::TESTS != 0 {
            self.kept.keep(propagation, append.events);
        }
        self.frontier.arrived(append.sequence);
        self.hand_out_soon(ctx);
    }
}

impl Receive<Relay> for ReplicationLog {
    fn receive(&mut self, Relay { bytes }: Relay, ctx: &mut Context<Self>) {
        self.history.offset += bytes.len() as i64;
        if self.framed.is_empty() {
            self.framed = bytes;
        } else {
            self.framed.extend_from_slice(&bytes);
        }
        self.publish();
        self.hand_out_soon(ctx);
    }
}

impl Receive<BecomeReplica> for ReplicationLog {
    fn receive(&mut self, _: BecomeReplica, _: &mut Context<Self>) {
        self.hand_out();
        if self.backlog.is_none() {
            self.create_backlog();
        }
    }
}

impl Receive<BecomePrimary> for ReplicationLog {
    fn receive(&mut self, BecomePrimary { reply }: BecomePrimary, _: &mut Context<Self>) {
        self.hand_out();
        self.branch(crate::start::random_hex(20));
        self.drop_followers();
        self.framer.set_db(None);
        self.serving.alone_since_ms = clock::unix_ms();
        // Who asked may have gone.
        let _ = reply.send(());
    }
}

impl Receive<HistoryContinued> for ReplicationLog {
    fn receive(&mut self, HistoryContinued { name }: HistoryContinued, _: &mut Context<Self>) {
        self.hand_out();
        if let Some(name) = name.filter(|name| *name != self.history.name) {
            self.branch(name);
            tracing::info!("Primary replication ID changed to {}", self.history.name);
            self.drop_followers();
        }
        if self.backlog.is_none() {
            self.create_backlog();
        }
        self.publish();
    }
}

impl Receive<HistoryLost> for ReplicationLog {
    fn receive(&mut self, _: HistoryLost, _: &mut Context<Self>) {
        self.drop_followers();
        self.free_backlog();
    }
}

impl Receive<HistoryAdopted> for ReplicationLog {
    fn receive(&mut self, HistoryAdopted { name, offset, reply }: HistoryAdopted, _: &mut Context<Self>) {
        self.framed.clear();
        self.rename(name);
        self.history.offset = offset;
        self.create_backlog();
        self.publish();
        // Who asked may have gone.
        let _ = reply.send(());
    }
}

impl Receive<HistoryRestored> for ReplicationLog {
    fn receive(&mut self, restored: HistoryRestored, ctx: &mut Context<Self>) {
        let HistoryRestored { name, offset, db, dropped } = restored;
        self.history.offset = offset;
        let Some(dropped) = dropped else {
            self.rename(name);
            self.framer.set_db(Some(db));
            self.create_backlog();
            return self.publish();
        };
        self.history.former = Some((name, offset + 1));
        self.create_backlog();
        self.serving.alone_since_ms = clock::unix_ms();
        let verb = if self.server.config.load().lazyfree_lazy_expire { b"UNLINK".as_slice() } else { b"DEL" };
        let mut propagation = Propagation::default();
        for (db, key) in &dropped {
            propagation.push(*db, &[verb, key]);
            propagation.close_group(skuld::effects::Grouping::Apart);
        }
        let before = self.framed.len();
        self.framer.frame(&propagation, Audience::Replicas, &mut self.framed);
        self.history.offset += (self.framed.len() - before) as i64;
        self.publish();
        self.hand_out_soon(ctx);
    }
}

impl Receive<RenameHistory> for ReplicationLog {
    fn receive(&mut self, _: RenameHistory, _: &mut Context<Self>) {
        self.rename(crate::start::random_hex(20));
    }
}

impl Receive<Inject> for ReplicationLog {
    fn receive(&mut self, Inject { words }: Inject, ctx: &mut Context<Self>) {
        if self.makes_stream(self.server.replication.flags()) {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let mut bytes = Vec::new();
            skuld::effects::encode_command(&mut bytes, &words);
            self.history.offset += bytes.len() as i64;
            self.framed.extend_from_slice(&bytes);
            self.hand_out_soon(ctx);
        }
    }
}

impl Receive<HandOut> for ReplicationLog {
    fn receive(&mut self, _: HandOut, _: &mut Context<Self>) {
        self.handing_out = false;
        self.hand_out();
    }
}

impl Receive<AttachCommands> for ReplicationLog {
    fn receive(&mut self, AttachCommands { consumer, reply }: AttachCommands, _: &mut Context<Self>) {
        self.hand_out();
        self.commands = Some(Commands {
            framer: Framer::default(),
            framed: Vec::new(),
            consumer,
            told: 0,
            told_offset: -1,
        });
        // Says what has been before.
        self.hand_out_commands();
        // Who asked may have gone.
        let _ = reply.send(self.position());
    }
}

impl Receive<DetachCommands> for ReplicationLog {
    fn receive(&mut self, _: DetachCommands, _: &mut Context<Self>) {
        self.hand_out();
        self.commands = None;
        self.server.replication.clear(bit::COMMANDS);
    }
}

impl Receive<ReselectCommands> for ReplicationLog {
    fn receive(&mut self, ReselectCommands { reply }: ReselectCommands, _: &mut Context<Self>) {
        self.hand_out();
        if let Some(commands) = &mut self.commands {
            commands.framer.set_db(None);
        }
        // Who asked may have gone.
        let _ = reply.send(self.position());
    }
}

impl Receive<DescribePosition> for ReplicationLog {
    fn receive(&mut self, DescribePosition { reply }: DescribePosition, _: &mut Context<Self>) {
        self.hand_out();
        // Who asked may have gone.
        let _ = reply.send(self.position());
    }
}

impl Receive<DrainStream> for ReplicationLog {
    fn receive(&mut self, DrainStream { what, reply }: DrainStream, _: &mut Context<Self>) {
        let mut drained = Drained::default();
        match what {
            Drain::Commands => {
                self.kept.bytes = 0;
                self.kept.framer.set_db(None);
                drained.commands = std::mem::take(&mut self.kept.commands).into();
            }
            Drain::Events => drained.events = std::mem::take(&mut self.kept.events).into(),
        }
        // The asker may have gone; then nobody wants the answer.
        let _ = reply.send(drained);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frontier_waits_for_what_was_overtaken() {
        let mut frontier = Frontier::default();
        for (sequence, reached) in [(1, 1), (3, 1), (4, 1), (2, 4), (6, 4), (5, 6)] {
            frontier.arrived(sequence);
            assert_eq!(frontier.reached, reached);
        }
    }

    #[test]
    fn commands_are_told_apart_by_their_lengths() {
        let mut bytes = Vec::new();
        skuld::effects::encode_command(&mut bytes, &[b"SET", b"a\r\n*1", b""]);
        let first = bytes.len();
        skuld::effects::encode_command(&mut bytes, &[b"PING"]);
        assert_eq!(command_length(&bytes), Some(first));
        assert_eq!(command_length(&bytes[first..]), Some(bytes.len() - first));
        assert_eq!(command_length(b""), None);
    }
}

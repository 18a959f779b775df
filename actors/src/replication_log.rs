//! The replication log: the one ordered stream of effects.
//!
//! ```text
//!                      +--> framer --> stream: offsets, backlog, replicas
//! Shards --Append-->  [log]
//!                      +--> framer --> commands: the append-only file
//! ReplicaLink --Relay--+    (on a replica the stream is the primary's bytes, unchanged)
//! ```
//!
//! Invariant: a shard's appends are ordered as it executed them; a unit's effects are contiguous.
//! Invariant: whoever is told of something after a shard sent an `Append` finds the log to have handled that `Append`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::atomic::Ordering;

use actix::prelude::*;
use bytes::Bytes;
use skuld::effects::{Event, Propagation};
use skuld::replication::backlog::Backlog;
use skuld::replication::framing::Framer;
use skuld::replication::history::History;

use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, tell};
use crate::replication::bit;
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
}

crate::receives!(ReplicationLog:
    Append = 0,
    DrainStream = 1,
    AttachCommands = 2,
    DetachCommands = 3,
    ReselectCommands = 4,
    DescribePosition = 5,
    HandOut = 6,
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
    /// The sequence of the last piece.
    told: u64,
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
        self.framer.frame(propagation, &mut framed);
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
}

impl ReplicationLog {
    pub fn new(server: ServerRef) -> Self {
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
        }
    }

    fn position(&self) -> Position {
        Position {
            replication_id: self.history.name.clone(),
            offset: self.history.offset,
            db: self.framer.db().map_or(-1, i64::from),
            sequence: self.frontier.reached,
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
        if !self.framed.is_empty() {
            if let Some(backlog) = &mut self.backlog {
                backlog.push(&self.framed);
                self.server.replication.buffer_bytes.store(backlog.memory_bytes() as u64, Ordering::Relaxed);
            }
            self.framed.clear();
        }
        self.hand_out_commands();
        self.server.replication.offset.store(self.history.offset, Ordering::Relaxed);
    }

    fn hand_out_commands(&mut self) {
        let (sequence, offset) = (self.frontier.reached, self.history.offset);
        // A piece without bytes says that what it numbers had nothing for the file.
        let new = |c: &&mut Commands| !c.framed.is_empty() || c.told < sequence;
        if let Some(commands) = self.commands.as_mut().filter(new) {
            commands.told = sequence;
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
            self.framer.frame(propagation, &mut self.framed);
            self.history.offset += (self.framed.len() - before) as i64;
        } else if flags & bit::REPLICA == 0 && self.commands.is_some() {
            // Nobody follows: the offset only serves to tell what is in the file.
            self.history.offset += propagation.commands.len() as i64;
        }
        if let Some(commands) = &mut self.commands {
            commands.framer.frame(propagation, &mut commands.framed);
        }
        if flags & bit::TESTS != 0 {
            self.kept.keep(propagation, append.events);
        }
        self.frontier.arrived(append.sequence);
        self.hand_out_soon(ctx);
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
        self.commands = Some(Commands { framer: Framer::default(), framed: Vec::new(), consumer, told: 0 });
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

//! The replication log: the one ordered stream of effects. Today its consumers are tests and curious operators
//! (`ACTOR EFFECTS`, `ACTOR EVENTS`); replicas and the append-only file attach here.
//!
//! Invariant: a shard's appends are ordered as it executed them; a unit's effects are contiguous.

use std::collections::VecDeque;

use actix::prelude::*;
use skuld::effects::{Event, Propagation, encode_command};

use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor};

/// Most bytes of effects kept for a reader that does not come; older ones are dropped and counted.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// Events kept for ACTOR EVENTS; the oldest go first.
const KEPT_EVENTS_MAX: usize = 100_000;

/// Effects of one batch slice or unit.
pub struct Append {
    pub propagation: Propagation,
    pub events: Vec<Event>,
}

/// Take the stream collected so far.
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

crate::receives!(ReplicationLog: Append = 0, DrainStream = 1);

/// The actor.
pub struct ReplicationLog {
    id: ActorId,
    commands: VecDeque<Vec<u8>>,
    bytes: usize,
    events: VecDeque<Event>,
    db: Option<u32>,
}

impl Default for ReplicationLog {
    fn default() -> Self {
        Self {
            id: next_actor(ActorKind::ReplicationLog),
            commands: VecDeque::new(),
            bytes: 0,
            events: VecDeque::new(),
            db: None,
        }
    }
}

impl ReplicationLog {
    fn push(&mut self, command: Vec<u8>) {
        self.bytes += command.len();
        self.commands.push_back(command);
        while self.bytes > KEPT_BYTES_MAX {
            let Some(oldest) = self.commands.pop_front() else { break };
            self.bytes -= oldest.len();
        }
    }

    fn push_words(&mut self, words: &[&[u8]]) {
        let mut command = Vec::new();
        encode_command(&mut command, words);
        self.push(command);
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
    fn receive(&mut self, append: Append, _: &mut Context<Self>) {
        for group in append.propagation.groups() {
            let several = group.len() > 1;
            if several {
                self.push_words(&[b"MULTI"]);
            }
            for (db, command) in group {
                if self.db != Some(db) {
                    self.push_words(&[b"SELECT", db.to_string().as_bytes()]);
                    self.db = Some(db);
                }
                self.push(command.to_vec());
            }
            if several {
                self.push_words(&[b"EXEC"]);
            }
        }
        self.events.extend(append.events);
        self.events.drain(..self.events.len().saturating_sub(KEPT_EVENTS_MAX));
    }
}

impl Receive<DrainStream> for ReplicationLog {
    fn receive(&mut self, DrainStream { what, reply }: DrainStream, _: &mut Context<Self>) {
        let mut drained = Drained::default();
        match what {
            Drain::Commands => {
                self.bytes = 0;
                self.db = None;
                drained.commands = std::mem::take(&mut self.commands).into();
            }
            Drain::Events => drained.events = std::mem::take(&mut self.events).into(),
        }
        // The asker may have gone; then nobody wants the answer.
        let _ = reply.send(drained);
    }
}

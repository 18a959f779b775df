//! The reaper frees what is too large to free on a shard's thread. It has a thread of its own and works in slices, so
//! that it can be asked how much is left.
//!
//! Invariant: what is here is unreachable: no client can see it, no shard will ask for it back.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use skuld::effects::{Freeing, Garbage};
use skuld::keyspace::Entry;
use skuld::keyspace::table::Table;

use crate::continue_later::continue_later;
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, tell};
use crate::server::ServerRef;
use crate::shard::{KeepExporting, Shard};

/// Entries freed before other messages get a turn.
const SLICE_ENTRIES: usize = 4096;

/// Free these.
pub struct Reap {
    pub garbage: Vec<Garbage>,
    /// Whom to tell when it is done, and the ticket to name.
    pub done: Option<(Addr<Shard>, u64)>,
}

/// All garbage of a [`Reap`] with this ticket is freed.
pub struct Reaped {
    pub ticket: u64,
}

/// Go on freeing.
pub struct ContinueReaping;

crate::receives!(Reaper: Reap = 0, ContinueReaping = 1);

enum Work {
    Table(Table<Entry>, Freeing),
    Garbage(Garbage, Freeing),
    Tell(Addr<Shard>, u64),
}

/// The actor.
pub struct Reaper {
    id: ActorId,
    server: ServerRef,
    queue: VecDeque<Work>,
    /// A `ContinueReaping` is on its way.
    running: bool,
}

impl Reaper {
    pub fn new(server: ServerRef) -> Self {
        Self { id: next_actor(ActorKind::Reaper), server, queue: VecDeque::new(), running: false }
    }

    fn freed(&self, objects: u64, freeing: Freeing) {
        if freeing == Freeing::Uncounted {
            return;
        }
        self.server.stats.lazyfree_pending_objects.fetch_sub(objects, Ordering::Relaxed);
        self.server.stats.lazyfreed_objects.fetch_add(objects, Ordering::Relaxed);
    }

    fn enqueue(&mut self, item: Garbage, freeing: Freeing) {
        let objects = match item {
            Garbage::Uncounted(inner) => return self.enqueue(*inner, Freeing::Uncounted),
            // Its shard keeps it until no export needs it; then its tables come here.
            Garbage::Exporting(shard, database) => {
                return tell(self.server.shard(shard), KeepExporting { database, freeing });
            }
            Garbage::Tables(tables) => {
                let objects: usize = tables.iter().map(Table::len).sum();
                self.queue.extend(tables.into_iter().map(|table| Work::Table(table, freeing)));
                objects as u64
            }
            other => {
                self.queue.push_back(Work::Garbage(other, freeing));
                1
            }
        };
        if freeing == Freeing::Counted {
            self.server.stats.lazyfree_pending_objects.fetch_add(objects, Ordering::Relaxed);
        }
    }

    fn step(&mut self, ctx: &mut Context<Self>) {
        match self.queue.pop_front() {
            None => {}
            Some(Work::Tell(shard, ticket)) => tell(&shard, Reaped { ticket }),
            Some(Work::Garbage(garbage, freeing)) => {
                drop(garbage);
                self.freed(1, freeing);
            }
            Some(Work::Table(mut table, freeing)) => {
                let mut freed = 0;
                let more = table.take_some(SLICE_ENTRIES, &mut |entry| {
                    freed += 1;
                    drop(entry);
                });
                self.freed(freed, freeing);
                if more {
                    self.queue.push_front(Work::Table(table, freeing));
                }
            }
        }
        self.running = !self.queue.is_empty();
        if self.running {
            continue_later(self, ContinueReaping, ctx);
        }
    }
}

impl Actor for Reaper {
    type Context = Context<Self>;
}

impl TracedActor for Reaper {
    const KIND: ActorKind = ActorKind::Reaper;

    fn id(&self) -> ActorId {
        self.id
    }
}

impl Receive<Reap> for Reaper {
    fn receive(&mut self, Reap { garbage, done }: Reap, ctx: &mut Context<Self>) {
        for item in garbage {
            self.enqueue(item, Freeing::Counted);
        }
        self.queue.extend(done.map(|(shard, ticket)| Work::Tell(shard, ticket)));
        if !self.running {
            self.step(ctx);
        }
    }
}

impl Receive<ContinueReaping> for Reaper {
    fn receive(&mut self, _: ContinueReaping, ctx: &mut Context<Self>) {
        self.step(ctx);
    }
}

//! The reaper frees what is too large to free on a shard's thread. It has a thread of its own and works in slices, so
//! that it can be asked how much is left.
//!
//! Invariant: what is here is unreachable: no client can see it, no shard will ask for it back.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use skuld::commands::memory_usage::{bytes_of, bytes_of_value};
use skuld::effects::{Freeing, Garbage};
use skuld::keyspace::Entry;
use skuld::keyspace::table::Table;

use crate::continue_later::continue_later;
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, tell};
use crate::scheduling::give_way;
use crate::server::{Server, ServerRef};
use crate::shard::{KeepExporting, Shard};

/// Entries freed before other messages get a turn.
const SLICE_ENTRIES: usize = 1024;

/// Entries that are looked at to estimate how many bytes a table's take.
const SAMPLED_ENTRIES: usize = 16;

/// Free these. Sent by [`give`] alone, which counts them.
pub struct Reap {
    garbage: Vec<Weighed>,
    /// Whom to tell when it is done, and the ticket to name.
    done: Option<(Addr<Shard>, u64)>,
}

/// Garbage with what is counted of it.
struct Weighed {
    garbage: Garbage,
    freeing: Freeing,
    /// Of one object (an entry of a table, or all of it), by estimate.
    bytes_each: u64,
}

/// Hands garbage to the reaper. From now on it is pending: whoever asks INFO after the reply to FLUSHALL ASYNC, and
/// whoever needs room, knows of it though the reaper has not seen it yet.
pub fn give(server: &Server, garbage: Vec<Garbage>, done: Option<(Addr<Shard>, u64)>) {
    let garbage = garbage.into_iter().map(|item| weigh(item, Freeing::Counted)).collect::<Vec<_>>();
    for item in &garbage {
        let objects = item.objects();
        server.stats.reaper_pending_bytes.fetch_add(objects * item.bytes_each, Ordering::Relaxed);
        if item.freeing == Freeing::Counted {
            server.stats.lazyfree_pending_objects.fetch_add(objects, Ordering::Relaxed);
        }
    }
    tell(server.reaper(), Reap { garbage, done });
}

fn weigh(item: Garbage, freeing: Freeing) -> Weighed {
    /// Elements of a collection that are looked at.
    const SAMPLES: usize = 5;
    let bytes_each = match &item {
        Garbage::Uncounted(_) | Garbage::Exporting(..) | Garbage::Other(_) => 0,
        // A name in a table, roughly.
        Garbage::Names(..) => 128,
        Garbage::Entry(entry) => bytes_of(entry, SAMPLES),
        Garbage::Value(value) => bytes_of_value(value, SAMPLES),
        Garbage::Tables(tables) => {
            let entries = tables.iter().flat_map(|table| table.iter().take(4)).take(SAMPLED_ENTRIES);
            let (sum, count) =
                entries.fold((0, 0), |(sum, count), entry| (sum + bytes_of(entry, SAMPLES), count + 1));
            usize::checked_div(sum, count).unwrap_or(0)
        }
    };
    match item {
        Garbage::Uncounted(inner) => weigh(*inner, Freeing::Uncounted),
        garbage => Weighed { garbage, freeing, bytes_each: bytes_each as u64 },
    }
}

impl Weighed {
    fn objects(&self) -> u64 {
        match &self.garbage {
            Garbage::Tables(tables) => tables.iter().map(Table::len).sum::<usize>() as u64,
            // Counted when its tables come.
            Garbage::Exporting(..) => 0,
            other => objects_of(other),
        }
    }
}

/// All garbage of a [`Reap`] with this ticket is freed.
pub struct Reaped {
    pub ticket: u64,
}

/// Go on freeing.
pub struct ContinueReaping;

crate::receives!(Reaper: Reap = 0, ContinueReaping = 1);

/// Places kept for work while there is none.
const KEEP_WORK: usize = 64;

enum Work {
    /// Freed from the last one on.
    Tables {
        tables: Vec<Table<Entry>>,
        freeing: Freeing,
        bytes_each: u64,
    },
    Garbage(Weighed),
    Tell(Addr<Shard>, u64),
}

fn objects_of(garbage: &Garbage) -> u64 {
    if let Garbage::Names(_, objects) = garbage { *objects } else { 1 }
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

    fn freed(&self, objects: u64, freeing: Freeing, bytes_each: u64) {
        let stats = &self.server.stats;
        stats.reaper_pending_bytes.fetch_sub(objects * bytes_each, Ordering::Relaxed);
        if freeing == Freeing::Counted {
            stats.lazyfree_pending_objects.fetch_sub(objects, Ordering::Relaxed);
            stats.lazyfreed_objects.fetch_add(objects, Ordering::Relaxed);
        }
    }

    fn enqueue(&mut self, item: Weighed) {
        let Weighed { freeing, bytes_each, .. } = item;
        match item.garbage {
            // Its shard keeps it until no export needs it; then its tables come here.
            Garbage::Exporting(shard, database) => {
                tell(self.server.shard(shard), KeepExporting { database, freeing });
            }
            Garbage::Tables(tables) => self.queue.push_back(Work::Tables { tables, freeing, bytes_each }),
            garbage => self.queue.push_back(Work::Garbage(Weighed { garbage, freeing, bytes_each })),
        }
    }

    fn step(&mut self, ctx: &mut Context<Self>) {
        match self.queue.pop_front() {
            None => {}
            Some(Work::Tell(shard, ticket)) => tell(&shard, Reaped { ticket }),
            Some(Work::Garbage(Weighed { garbage, freeing, bytes_each })) => {
                let objects = objects_of(&garbage);
                drop(garbage);
                self.freed(objects, freeing, bytes_each);
            }
            Some(Work::Tables { mut tables, freeing, bytes_each }) => {
                let mut freed = 0;
                // A look at a table costs about as much as an entry.
                let mut looks = 0;
                while looks < SLICE_ENTRIES
                    && let Some(table) = tables.last_mut()
                {
                    let before = freed;
                    let more = table.take_some(SLICE_ENTRIES - looks, &mut |entry| {
                        freed += 1;
                        drop(entry);
                    });
                    looks += (freed - before) as usize + 1;
                    if !more {
                        tables.pop();
                    }
                }
                self.freed(freed, freeing, bytes_each);
                if !tables.is_empty() {
                    self.queue.push_front(Work::Tables { tables, freeing, bytes_each });
                }
            }
        }
        self.running = !self.queue.is_empty();
        if !self.running && self.queue.capacity() > KEEP_WORK {
            self.queue = VecDeque::new();
        }
        if self.running {
            give_way();
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
            self.enqueue(item);
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

//! Watches memory. Shards refuse commands and evict keys themselves before each command; this actor sees to it that
//! they do so also when no command comes, as after CONFIG SET maxmemory.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use skuld::config::MaxmemoryPolicy;

use crate::clock;
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, outside_event, tell};
use crate::memory;
use crate::server::ServerRef;
use crate::shard::EvictSome;

/// Time to look at memory.
pub struct MeasureMemory;

crate::receives!(Evictor: MeasureMemory = 0);

/// Between two looks, milliseconds.
const PERIOD_MS: u64 = 100;

/// The actor.
pub struct Evictor {
    id: ActorId,
    server: ServerRef,
}

impl Evictor {
    pub fn new(server: ServerRef) -> Self {
        Self { id: next_actor(ActorKind::Evictor), server }
    }
}

impl Actor for Evictor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let id = self.id;
        ctx.run_interval(Duration::from_millis(PERIOD_MS), move |_, ctx| {
            outside_event(id, clock::tick());
            tell(&ctx.address(), MeasureMemory);
        });
    }
}

impl TracedActor for Evictor {
    const KIND: ActorKind = ActorKind::Evictor;

    fn id(&self) -> ActorId {
        self.id
    }
}

impl Receive<MeasureMemory> for Evictor {
    fn receive(&mut self, _: MeasureMemory, _: &mut Context<Self>) {
        clock::resync();
        let server = &self.server;
        let used = memory::used();
        server.stats.peak_memory.fetch_max(used, Ordering::Relaxed);
        let config = server.config.load();
        if config.maxmemory == 0 || used <= config.maxmemory {
            return server.eviction.has_room(&server.stats);
        }
        server.eviction.lacks_room();
        if config.maxmemory_policy != MaxmemoryPolicy::NoEviction && !config.import_mode {
            server.eviction.ask_others(u16::MAX, |shard| tell(server.shard(shard), EvictSome));
        }
    }
}

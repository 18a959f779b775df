//! Watches memory. Shards refuse commands and evict keys themselves before each command; this actor sees to it that
//! they do so also when no command comes, as after CONFIG SET maxmemory, and that the shards with the best victims do
//! it first.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use skuld::config::MaxmemoryPolicy;

use crate::clock;
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, tell};
use crate::memory;
use crate::server::ServerRef;
use crate::shard::EvictSome;

/// Time to look at memory.
pub struct MeasureMemory;

/// Import mode was turned on or off.
pub struct ImportModeChanged {
    pub on: bool,
}

crate::receives!(Evictor: MeasureMemory = 0, ImportModeChanged = 1);

/// Between two looks, milliseconds.
const PERIOD_MS: u64 = 100;

/// What the actor does about memory above the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Evicting,
    /// Nothing: data is being imported. `warned`: the log says so since memory passed the limit.
    Importing {
        warned: bool,
    },
}

/// The actor.
pub struct Evictor {
    id: ActorId,
    server: ServerRef,
    mode: Mode,
}

impl Evictor {
    pub fn new(server: ServerRef) -> Self {
        Self { id: next_actor(ActorKind::Evictor), server, mode: Mode::Evicting }
    }

    fn measure(&mut self) {
        let server = &self.server;
        let used = memory::used();
        server.stats.peak_memory.fetch_max(used, Ordering::Relaxed);
        let config = server.config.load();
        let counted = used.saturating_sub(server.memory_not_counted());
        let is_replica = server.replication.is_replica();
        let ignores_limit = config.maxmemory == 0 || (is_replica && config.replica_ignore_maxmemory);
        if ignores_limit || counted <= config.maxmemory {
            if let Mode::Importing { warned } = &mut self.mode {
                *warned = false;
            }
            return server.eviction.has_room(&server.stats);
        }
        server.eviction.lacks_room();
        match &mut self.mode {
            // Import mode is a primary's.
            Mode::Importing { warned: true } if !is_replica => {}
            Mode::Importing { warned } if !is_replica => {
                *warned = true;
                tracing::warn!(
                    "Import mode is on, so nothing is evicted although used memory ({counted} bytes) is above \
                     maxmemory ({} bytes). Commands that may need memory are refused until there is room or \
                     import mode is turned off.",
                    config.maxmemory
                );
            }
            _ if config.maxmemory_policy != MaxmemoryPolicy::NoEviction => {
                server.eviction.ask_others(u16::MAX, |shard| tell(server.shard(shard), EvictSome));
            }
            _ => {}
        }
    }
}

impl Actor for Evictor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        clock::every(ctx, Duration::from_millis(PERIOD_MS), |_, ctx| tell(&ctx.address(), MeasureMemory));
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
        self.measure();
    }
}

impl Receive<ImportModeChanged> for Evictor {
    fn receive(&mut self, ImportModeChanged { on }: ImportModeChanged, _: &mut Context<Self>) {
        self.mode = if on { Mode::Importing { warned: false } } else { Mode::Evicting };
        self.measure();
    }
}

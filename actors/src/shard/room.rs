//! `maxmemory`: what a shard does before a command while memory is full.

use actix::prelude::*;
use skuld::config::MaxmemoryPolicy;

use super::Shard;
use crate::clock;
use crate::continue_later::continue_later;
use crate::envelope::{Receive, tell};
use crate::memory;

/// Evict keys while memory is full.
pub struct EvictSome;

impl Shard {
    /// Makes room if more memory is used than `maxmemory` (which is set), for as long as the configuration allows and
    /// later once more. True if there is no room and nothing left that may give way on any shard.
    pub(super) fn lacks_memory(&mut self, ctx: &mut Context<Self>) -> bool {
        use std::sync::atomic::Ordering;
        let server = self.server.clone();
        let eviction = &server.eviction;
        let config = &self.executor.config;
        let limit = config.maxmemory;
        if memory::used() <= limit {
            eviction.has_room(&server.stats);
            return false;
        }
        eviction.lacks_room();
        if server.pause.state().is_some() {
            return false;
        }
        if config.maxmemory_policy == MaxmemoryPolicy::NoEviction || config.import_mode {
            return true;
        }
        if !self.collecting.is_empty() {
            // A KEYS under way has not seen all keys yet.
            return false;
        }
        if server.stats.lazyfree_pending_objects.load(Ordering::Relaxed) > 0 {
            // What is being freed may be enough.
            self.evict_soon(ctx);
            return false;
        }
        let budget_us = skuld::eviction::budget_us(config.maxmemory_eviction_tenacity);
        let started = clock::tick();
        loop {
            if !self.executor.evict_one(&mut self.keyspace) {
                let freeing = server.stats.lazyfree_pending_objects.load(Ordering::Relaxed) > 0;
                if freeing || !self.held.is_empty() || !self.executor.effects.garbage.is_empty() {
                    self.perform_effects();
                    return false;
                }
                eviction.set_empty(self.index, true);
                eviction.ask_others(self.index, |other| tell(server.shard(other), EvictSome));
                return eviction.all_empty();
            }
            eviction.set_empty(self.index, false);
            if memory::used() <= limit {
                eviction.has_room(&server.stats);
                return false;
            }
            let over = clock::micros_between(started, clock::tick()) >= budget_us;
            if !self.executor.effects.garbage.is_empty() {
                // A large value is freed elsewhere: memory does not show yet that it is gone.
                self.perform_effects();
                self.evict_soon(ctx);
                return false;
            }
            if over {
                self.perform_effects();
                eviction.ask_others(self.index, |other| tell(server.shard(other), EvictSome));
                if eviction.ask(self.index) {
                    continue_later(self, EvictSome, ctx);
                }
                return false;
            }
        }
    }

    /// Looks at memory again when the reaper has had time.
    fn evict_soon(&self, ctx: &mut Context<Self>) {
        const WAIT: std::time::Duration = std::time::Duration::from_millis(1);
        if self.server.eviction.ask(self.index) {
            ctx.run_later(WAIT, |_, ctx| tell(&ctx.address(), EvictSome));
        }
    }
}

impl Receive<EvictSome> for Shard {
    fn receive(&mut self, _: EvictSome, ctx: &mut Context<Self>) {
        self.server.eviction.heard(self.index);
        self.executor.refresh();
        if self.executor.config.maxmemory != 0 {
            self.lacks_memory(ctx);
            self.perform_effects();
        }
    }
}

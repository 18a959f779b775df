//! `maxmemory`: what a shard does before a command while memory is full.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use skuld::config::MaxmemoryPolicy;

use super::Shard;
use crate::batch::Batch;
use crate::clock;
use crate::continue_later::continue_later;
use crate::envelope::{Receive, tell};
use crate::memory;

/// Evict keys while memory is full.
pub struct EvictSome;

/// Whether there is room for a command that may need memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is, or keys are giving way.
    Enough,
    /// Memory that nobody can reach any more is being freed, and will be enough: such commands wait for it.
    Soon,
    /// There is none, and nothing left that may give way on any shard.
    None,
}

/// A shard whose victims are worse than another's leaves eviction to that one while memory is over the limit by no
/// more than this part of it.
const DEFERENCE: u64 = 1024;

/// After so many evicted keys those who have read them are told.
const TOLD_AT_ONCE: u32 = 8;
/// While memory has been full for less than this, what evicted clients take counts as free, milliseconds.
const LEAVING_MS_MAX: u64 = 1000;

impl Shard {
    /// Makes room if more memory is used than `maxmemory` (which is set), for as long as the configuration allows and
    /// later once more.
    pub(super) fn make_room(&mut self, ctx: &mut Context<Self>) -> Room {
        let server = self.server.clone();
        let eviction = &server.eviction;
        let is_replica = self.executor.is_replica;
        let ignores_limit = is_replica && self.executor.config.replica_ignore_maxmemory;
        if ignores_limit || self.server.persistence.is_loading() {
            return Room::Enough;
        }
        let limit = self.executor.config.maxmemory.saturating_add(server.memory_not_counted());
        let used = memory::used();
        if used <= limit {
            eviction.has_room(&server.stats);
            return Room::Enough;
        }
        eviction.lacks_room();
        if server.pause.state().is_some() || self.executor.frozen {
            return Room::Enough;
        }
        // Clients that were evicted leave at once, and messages about keys that have gone are written at once; who waits for
        // them waits for no more than a moment.
        let leave = eviction.exceeded_ms() < LEAVING_MS_MAX;
        let leaving = || {
            let clients = server.clients.leaving.load(Ordering::Relaxed);
            if leave { clients + server.tracking.bytes_under_way() } else { 0 }
        };
        let pending = || server.stats.reaper_pending_bytes.load(Ordering::Relaxed) + leaving();
        // What was evicted since its readers were last told of it: as much is noted about it.
        let mut untold = 0;
        if pending() > 0 && used.saturating_sub(pending()) <= limit {
            self.evict_soon(ctx);
            return Room::Soon;
        }
        let policy = self.executor.config.maxmemory_policy;
        let importing = self.executor.config.import_mode && !is_replica;
        if policy == MaxmemoryPolicy::NoEviction || importing {
            return Room::None;
        }
        if !self.collecting.is_empty() {
            // A KEYS under way has not seen all keys yet.
            return Room::Enough;
        }
        let budget_us = skuld::eviction::budget_us(self.executor.config.maxmemory_eviction_tenacity);
        let started = clock::tick();
        loop {
            let best = self.executor.best_victim(&mut self.keyspace);
            if server.workers > 1 {
                eviction.set_best(self.index, best.unwrap_or(0));
                let over = memory::used().saturating_sub(limit);
                if let Some(score) = best
                    && over <= limit / DEFERENCE
                    && let Some(other) = eviction.better_than(self.index, score)
                {
                    if eviction.ask(other) {
                        tell(server.shard(other), EvictSome);
                    }
                    self.perform_effects();
                    return Room::Enough;
                }
            }
            if !self.executor.evict_one(&mut self.keyspace) {
                let own_garbage = !self.executor.effects.garbage.is_empty();
                if own_garbage || pending() > 0 || !self.held.is_empty() {
                    self.perform_effects();
                    self.evict_soon(ctx);
                    return Room::Enough;
                }
                if untold > 0 {
                    self.tell_of_evicted();
                }
                eviction.set_empty(self.index, true);
                eviction.ask_others(self.index, |other| tell(server.shard(other), EvictSome));
                return if eviction.all_empty() { Room::None } else { Room::Enough };
            }
            eviction.set_empty(self.index, false);
            untold += 1;
            if untold >= TOLD_AT_ONCE && self.executor.effects.listening.modified {
                untold = 0;
                self.perform_effects();
            }
            if !self.executor.effects.garbage.is_empty() {
                // A large value is freed elsewhere: from now on it counts as pending.
                self.perform_effects();
            }
            let used = memory::used();
            if used <= limit {
                eviction.has_room(&server.stats);
                self.tell_of_evicted();
                return Room::Enough;
            }
            if used.saturating_sub(pending()) <= limit {
                self.tell_of_evicted();
                self.evict_soon(ctx);
                return Room::Soon;
            }
            if clock::micros_between(started, clock::tick()) >= budget_us {
                self.perform_effects();
                eviction.ask_others(self.index, |other| tell(server.shard(other), EvictSome));
                if eviction.ask(self.index) {
                    continue_later(self, EvictSome, ctx);
                }
                return Room::Enough;
            }
        }
    }

    /// Tells those who have read evicted keys before the command runs that needed their room.
    fn tell_of_evicted(&mut self) {
        if self.executor.effects.listening.modified {
            self.perform_effects();
        }
    }

    /// Looks at memory again when the reaper has had time.
    fn evict_soon(&self, ctx: &mut Context<Self>) {
        const WAIT: Duration = Duration::from_millis(1);
        if self.server.eviction.ask(self.index) {
            clock::after(ctx, WAIT, |_, ctx| tell(&ctx.address(), EvictSome));
        }
    }

    /// Keeps a batch until what is being freed is enough for its next command.
    pub(super) fn wait_for_room(&mut self, batch: Box<Batch>, ctx: &mut Context<Self>) {
        self.perform_effects();
        self.waiting_for_room.push_back(batch);
        self.evict_soon(ctx);
    }
}

impl Receive<EvictSome> for Shard {
    fn receive(&mut self, _: EvictSome, ctx: &mut Context<Self>) {
        self.server.eviction.heard(self.index);
        self.executor.refresh();
        if self.executor.minds_memory() {
            self.make_room(ctx);
            self.perform_effects();
        }
        for batch in std::mem::take(&mut self.waiting_for_room) {
            self.advance(batch, ctx);
        }
    }
}

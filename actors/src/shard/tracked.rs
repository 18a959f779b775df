//! Keys that this shard of a writable replica expires itself, because one of our clients has set their deadlines.

use std::sync::atomic::Ordering;

use actix::prelude::*;
use skuld::effects::{Freeing, Garbage};
use skuld::expiry::tracked::{Look, TrackedKeys};
use skuld::slot::slot_of;

use super::Shard;
use crate::clock::{self, Tick};
use crate::envelope::{Receive, tell};
use crate::executor::Scanned;
use crate::reaper;
use crate::server::ServerRef;

/// A unit that another shard ran has set deadlines of keys that live here.
pub struct RememberDeadlines {
    pub deadlines: Vec<(u32, Box<[u8]>, i64)>,
}

/// Nothing is tracked any more.
pub struct ForgetTracked {
    pub freeing: Freeing,
}

/// More names than this are freed in the background, and counted.
const INLINE_MAX: usize = 64;
/// Names looked at in passing.
const NAMES_PER_SCAN: usize = 64;

/// Has all shards forget what they track: the data is another one, or we are a primary now.
pub fn forget_everywhere(server: &ServerRef, freeing: Freeing) {
    if server.replication.tracked_keys.load(Ordering::Relaxed) > 0 {
        server.shards().iter().for_each(|shard| tell(shard, ForgetTracked { freeing }));
    }
}

impl Shard {
    /// Takes note of the deadlines that the commands run so far have set.
    pub(super) fn track_deadlines(&mut self) {
        let deadlines = std::mem::take(&mut self.executor.effects.deadlines);
        let workers = self.server.workers;
        let (own, others): (Vec<_>, Vec<_>) =
            deadlines.into_iter().partition(|(_, key, _)| slot_of(key).0 % workers == self.index);
        self.remember_deadlines(own);
        for (db, key, deadline) in others {
            let home = slot_of(&key).0 % workers;
            tell(self.server.shard(home), RememberDeadlines { deadlines: vec![(db, key, deadline)] });
        }
    }

    fn remember_deadlines(&mut self, deadlines: Vec<(u32, Box<[u8]>, i64)>) {
        let before = self.tracked.len();
        for (db, key, deadline) in deadlines {
            self.tracked.remember(db, &key, deadline);
        }
        self.count_tracked(before);
    }

    fn count_tracked(&self, before: usize) {
        let (now, count) = (self.tracked.len(), &self.server.replication.tracked_keys);
        if now >= before {
            count.fetch_add((now - before) as u64, Ordering::Relaxed);
        } else {
            count.fetch_sub((before - now) as u64, Ordering::Relaxed);
        }
    }

    /// Removes tracked keys that have expired, and forgets those that have no deadline any more.
    pub(super) fn scan_tracked(&mut self, within: impl Fn(Tick) -> bool) -> Scanned {
        let mut scanned = Scanned { removed: 0, more_due: false, some_held: !self.held.is_empty() };
        if self.tracked.is_empty() || scanned.some_held {
            return scanned;
        }
        let before = self.tracked.len();
        let mut tracked = std::mem::take(&mut self.tracked);
        let now = clock::unix_ms();
        self.executor.with_access(&mut self.keyspace, |access| {
            let mut look = |db: u32, key: &[u8]| match access.peek(db, key).map(|entry| entry.expiry()) {
                None | Some(None) => Look::Gone,
                Some(Some(deadline)) if now > deadline => {
                    access.expire_key(db, key);
                    scanned.removed += 1;
                    Look::Expired
                }
                Some(Some(deadline)) => Look::Later(deadline),
            };
            while tracked.look_at_due(now, &mut look) {
                if !within(clock::tick()) {
                    scanned.more_due = true;
                    return;
                }
            }
            tracked.look_around(NAMES_PER_SCAN, &mut look);
        });
        self.executor.effects.propagation.close_group(skuld::effects::Grouping::Apart);
        self.tracked = tracked;
        self.count_tracked(before);
        scanned
    }

    /// Nothing of what was flushed needs to be expired.
    pub(super) fn forget_tracked(&mut self, freeing: Freeing) {
        let tracked: TrackedKeys = std::mem::take(&mut self.tracked);
        let names = tracked.len();
        if names == 0 {
            return;
        }
        self.server.replication.tracked_keys.fetch_sub(names as u64, Ordering::Relaxed);
        if names > INLINE_MAX {
            let garbage = vec![freeing.apply(Garbage::Names(Box::new(tracked), names as u64))];
            reaper::give(&self.server, garbage, None);
        }
    }
}

impl Receive<RememberDeadlines> for Shard {
    fn receive(&mut self, RememberDeadlines { deadlines }: RememberDeadlines, _: &mut Context<Self>) {
        self.remember_deadlines(deadlines);
    }
}

impl Receive<ForgetTracked> for Shard {
    fn receive(&mut self, ForgetTracked { freeing }: ForgetTracked, _: &mut Context<Self>) {
        self.forget_tracked(freeing);
    }
}

//! What shards know of each other while more memory is used than `maxmemory`: who has nothing to evict, who has been
//! asked to, whose keys are the better victims. Each shard evicts keys of its own; commands are refused when none has
//! any left.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::clock;
use crate::stats::Stats;

#[derive(Default)]
struct OfShard {
    /// It found nothing to evict the last time.
    empty: AtomicBool,
    /// An `EvictSome` is on its way to it.
    asked: AtomicBool,
    /// Score of the best victim it knows; 0 if it knows none.
    best: AtomicU64,
}

/// Shared by all shards.
pub struct Eviction {
    shards: Box<[OfShard]>,
    /// Since when too much is used, Unix milliseconds; 0 if it is not.
    since_ms: AtomicU64,
    /// What connections of replicas have not sent yet, and what is kept for replicas that cannot take it yet; bytes.
    /// It does not count, since eviction could not make it less: it would make it more.
    unsent_to_replicas: AtomicI64,
    held_for_replicas: AtomicU64,
    /// What slot exports have not sent yet, bytes; for the same reason.
    held_for_exports: AtomicU64,
}

impl Eviction {
    pub fn new(workers: u16) -> Self {
        Self {
            shards: (0..workers).map(|_| OfShard::default()).collect(),
            since_ms: AtomicU64::new(0),
            unsent_to_replicas: AtomicI64::new(0),
            held_for_replicas: AtomicU64::new(0),
            held_for_exports: AtomicU64::new(0),
        }
    }

    /// The buffers of a replica's connection have grown by so many bytes.
    pub fn note_unsent(&self, by: i64) {
        self.unsent_to_replicas.fetch_add(by, Ordering::Relaxed);
    }

    /// So much of the stream is kept for replicas now, bytes.
    pub fn set_held(&self, bytes: u64) {
        self.held_for_replicas.store(bytes, Ordering::Relaxed);
    }

    /// So much waits on the links of slot exports now, bytes.
    pub fn set_held_for_exports(&self, bytes: u64) {
        self.held_for_exports.store(bytes, Ordering::Relaxed);
    }

    /// Memory for replicas and slot exports, which does not count; bytes.
    #[inline]
    pub fn not_counted(&self) -> u64 {
        let unsent = u64::try_from(self.unsent_to_replicas.load(Ordering::Relaxed)).unwrap_or(0);
        unsent
            + self.held_for_replicas.load(Ordering::Relaxed)
            + self.held_for_exports.load(Ordering::Relaxed)
    }

    /// Memory was found to be below the limit (or unlimited).
    #[inline]
    pub fn has_room(&self, stats: &Stats) {
        if self.since_ms.load(Ordering::Relaxed) != 0 {
            let since = self.since_ms.swap(0, Ordering::Relaxed);
            if since != 0 {
                let spent = (clock::unix_ms() as u64).saturating_sub(since);
                stats.eviction_exceeded_ms.fetch_add(spent, Ordering::Relaxed);
            }
            self.forget();
        }
    }

    /// Memory was found to be above the limit.
    pub fn lacks_room(&self) {
        if self.since_ms.load(Ordering::Relaxed) == 0 {
            let now = clock::unix_ms() as u64;
            // Another shard may have been first.
            let _ = self.since_ms.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// How long memory has been above the limit, milliseconds.
    pub fn exceeded_ms(&self) -> u64 {
        match self.since_ms.load(Ordering::Relaxed) {
            0 => 0,
            since => (clock::unix_ms() as u64).saturating_sub(since),
        }
    }

    /// What shards found may have changed.
    pub fn forget(&self) {
        for shard in &self.shards {
            shard.empty.store(false, Ordering::Relaxed);
            shard.best.store(0, Ordering::Relaxed);
        }
    }

    /// Whether the shard found nothing to evict just now.
    pub fn set_empty(&self, shard: u16, empty: bool) {
        self.shards[usize::from(shard)].empty.store(empty, Ordering::Relaxed);
    }

    pub fn all_empty(&self) -> bool {
        self.shards.iter().all(|s| s.empty.load(Ordering::Relaxed))
    }

    /// Publishes the score of the shard's best victim; 0 if it has none.
    pub fn set_best(&self, shard: u16, score: u64) {
        self.shards[usize::from(shard)].best.store(score, Ordering::Relaxed);
    }

    /// The other shard that knows a better victim than this score, the best of those.
    pub fn better_than(&self, shard: u16, score: u64) -> Option<u16> {
        let others = (0..self.shards.len() as u16).filter(|&other| other != shard);
        let scored =
            others.map(|other| (self.shards[usize::from(other)].best.load(Ordering::Relaxed), other));
        scored.filter(|&(best, _)| best > score).max().map(|(_, other)| other)
    }

    /// True if the shard is to be sent an `EvictSome`, false if one is on its way.
    pub fn ask(&self, shard: u16) -> bool {
        !self.shards[usize::from(shard)].asked.swap(true, Ordering::Relaxed)
    }

    /// Calls `send` for the other shards that have not been asked.
    pub fn ask_others(&self, shard: u16, send: impl Fn(u16)) {
        (0..self.shards.len() as u16).filter(|&other| other != shard && self.ask(other)).for_each(send);
    }

    /// The shard's `EvictSome` has arrived.
    pub fn heard(&self, shard: u16) {
        self.shards[usize::from(shard)].asked.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_with_the_best_victim_is_found() {
        let eviction = Eviction::new(3);
        assert_eq!(eviction.better_than(0, 0), None);
        eviction.set_best(1, 7);
        eviction.set_best(2, 9);
        assert_eq!((eviction.better_than(0, 8), eviction.better_than(0, 9)), (Some(2), None));
        assert_eq!(eviction.better_than(2, 6), Some(1));
        eviction.forget();
        assert_eq!(eviction.better_than(0, 0), None);
    }

    #[test]
    fn what_does_not_count_is_added_up() {
        let eviction = Eviction::new(1);
        eviction.note_unsent(5);
        eviction.set_held(2);
        eviction.note_unsent(-2);
        assert_eq!(eviction.not_counted(), 5);
    }
}

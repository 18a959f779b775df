//! What shards know of each other while more memory is used than `maxmemory`: who has nothing to evict, who has been
//! asked to. Each shard evicts keys of its own; commands are refused when none has any left.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock;
use crate::stats::Stats;

#[derive(Default)]
struct OfShard {
    /// It found nothing to evict the last time.
    empty: AtomicBool,
    /// An `EvictSome` is on its way to it.
    asked: AtomicBool,
}

/// Shared by all shards.
pub struct Eviction {
    shards: Box<[OfShard]>,
    /// Since when too much is used, Unix milliseconds; 0 if it is not.
    since_ms: AtomicU64,
}

impl Eviction {
    pub fn new(workers: u16) -> Self {
        Self { shards: (0..workers).map(|_| OfShard::default()).collect(), since_ms: AtomicU64::new(0) }
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
        self.shards.iter().for_each(|s| s.empty.store(false, Ordering::Relaxed));
    }

    /// Whether the shard found nothing to evict just now.
    pub fn set_empty(&self, shard: u16, empty: bool) {
        self.shards[usize::from(shard)].empty.store(empty, Ordering::Relaxed);
    }

    pub fn all_empty(&self) -> bool {
        self.shards.iter().all(|s| s.empty.load(Ordering::Relaxed))
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

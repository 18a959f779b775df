//! Which keys give way when memory is full, and how. Whoever knows how much memory is used calls
//! [`Chooser::evict_one`] until it is enough. Spec page key-lifetime.md, section 5.

mod sample;

use crate::config::{Config, MaxmemoryPolicy};
use crate::effects::{Freeing, class};
use crate::keyspace::access::lfu_decayed;
use crate::keyspace::{Access, Entry, Touch};
use crate::rng::Rng;
pub use sample::sample;

/// Candidates remembered from one sample to the next.
const POOL: usize = 16;

/// A key that may be evicted.
struct Candidate {
    /// The higher, the better to lose.
    score: u64,
    db: u32,
    key: Box<[u8]>,
}

/// Chooses victims by policy. Remembers the best candidates it has seen, so that few samples at a time come close to
/// the true order.
#[derive(Default)]
pub struct Chooser {
    /// The policy that `pool` was filled for.
    policy: Option<MaxmemoryPolicy>,
    /// By score, ascending.
    pool: Vec<Candidate>,
    /// Where random choice goes on, so that all databases give in turn.
    next_db: u32,
    /// `pool` has been filled since the last eviction.
    has_looked: bool,
}

impl Chooser {
    /// Evicts one key: event `evicted`, counter, UNLINK or DEL in the stream. False if the policy leaves no victim.
    pub fn evict_one(&mut self, access: &mut Access<'_>, config: &Config, rng: &mut Rng) -> bool {
        let policy = config.maxmemory_policy;
        let victim = match policy {
            MaxmemoryPolicy::NoEviction => None,
            MaxmemoryPolicy::AllkeysRandom | MaxmemoryPolicy::VolatileRandom => {
                self.random(access, policy.is_volatile(), rng)
            }
            _ => {
                if !std::mem::take(&mut self.has_looked) {
                    self.look(access, config, rng);
                    self.has_looked = false;
                }
                self.take_best(access, policy)
            }
        };
        let Some((db, key)) = victim else { return false };
        evict(access, db, &key, config.lazyfree_lazy_eviction)
    }

    /// Looks at a sample of the keys. Returns the score of the best victim known, by which those of several keyspaces
    /// can be compared under one policy: the higher, the better to lose. None where the policy has no order, or no
    /// victim. The next [`Chooser::evict_one`] evicts what was found here without looking again.
    pub fn look(&mut self, access: &Access<'_>, config: &Config, rng: &mut Rng) -> Option<u64> {
        let policy = config.maxmemory_policy;
        if self.policy != Some(policy) {
            self.policy = Some(policy);
            self.pool.clear();
        }
        if matches!(
            policy,
            MaxmemoryPolicy::NoEviction | MaxmemoryPolicy::AllkeysRandom | MaxmemoryPolicy::VolatileRandom
        ) {
            return None;
        }
        let samples = (config.maxmemory_samples as usize).max(1);
        for db in 0..databases(access) {
            for part in access.keyspace.parts() {
                let Some(database) = part.database(db) else { continue };
                let mut consider =
                    |entry: &Entry| self.consider(db, entry, score(entry, policy, access.touch));
                sample(database, part.index(), samples, policy.is_volatile(), rng, &mut consider);
            }
        }
        self.has_looked = true;
        self.pool.last().map(|candidate| candidate.score)
    }

    fn random(&mut self, access: &Access<'_>, volatile: bool, rng: &mut Rng) -> Option<(u32, Box<[u8]>)> {
        let databases = databases(access);
        (0..databases).find_map(|step| {
            let db = (self.next_db.wrapping_add(step)) % databases;
            let mut found = None;
            for part in access.keyspace.parts() {
                if let Some(database) = part.database(db) {
                    let mut take = |entry: &Entry| found = Some((db, entry.key().into()));
                    sample(database, part.index(), 1, volatile, rng, &mut take);
                }
            }
            if found.is_some() {
                self.next_db = db + 1;
            }
            found
        })
    }

    fn take_best(&mut self, access: &Access<'_>, policy: MaxmemoryPolicy) -> Option<(u32, Box<[u8]>)> {
        while let Some(Candidate { db, key, .. }) = self.pool.pop() {
            // It may have gone, or lost its deadline, since it was seen.
            let still = access.peek(db, &key).is_some_and(|e| !policy.is_volatile() || e.expiry().is_some());
            if still {
                return Some((db, key));
            }
        }
        None
    }

    fn consider(&mut self, db: u32, entry: &Entry, score: u64) {
        if let Some(known) = self.pool.iter().position(|c| c.db == db && *c.key == *entry.key()) {
            self.pool.remove(known);
        } else if self.pool.len() == POOL {
            if self.pool[0].score >= score {
                return;
            }
            self.pool.remove(0);
        }
        let place = self.pool.partition_point(|c| c.score < score);
        self.pool.insert(place, Candidate { score, db, key: entry.key().into() });
    }
}

fn databases(access: &Access<'_>) -> u32 {
    access.keyspace.parts().iter().map(|part| part.databases()).max().unwrap_or(0)
}

/// How good it would be to lose the entry.
fn score(entry: &Entry, policy: MaxmemoryPolicy, touch: Touch) -> u64 {
    let word = entry.access_word() & 0xff_ffff;
    if policy.is_lfu() {
        u64::from(255 - lfu_decayed(word, touch).min(255))
    } else if policy.is_lru() {
        // Seconds without use; the clock wraps.
        u64::from(touch.clock.wrapping_sub(word) & 0xff_ffff)
    } else {
        // The sooner it expires anyway, the better.
        u64::MAX - entry.expiry().map_or(u64::MAX, |deadline| deadline.max(0) as u64)
    }
}

fn evict(access: &mut Access<'_>, db: u32, key: &[u8], lazy: bool) -> bool {
    let Some(entry) = access.take_in(db, key) else { return false };
    access.effects.counters.evicted_keys += 1;
    access.effects.modified(db, crate::slot::slot_of(key), key);
    access.effects.notify(class::EVICTED, "evicted", db, key);
    access.propagate_deletion(db, key, lazy);
    access.discard_entry_as(entry, Freeing::counted_if(lazy));
    true
}

/// Longest time to evict at a stretch, microseconds, by `maxmemory-eviction-tenacity` (0 to 100).
pub fn budget_us(tenacity: u32) -> u64 {
    match tenacity {
        0..=10 => 50 * u64::from(tenacity),
        // A geometric progression: about two minutes at 99.
        11..=99 => (500.0 * 1.15f64.powi(tenacity as i32 - 10)) as u64,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests;
